"""C++ headers that tell a harness what the core is like: its parameters, and where the model has its ports."""

from amaranth.hdl import Const, Value, ValueCastable
from amaranth.lib import wiring

from ...hdl.config import CoreConfig
from ...hdl.mac import gmii
from ...hdl.stream import frame_layout

__all__ = ["HAS_IDLE_CYCLES", "NO_IDLE_CYCLES", "config_header", "flat_ports", "pin", "pins_header", "wires_header"]

#: Cycles without anything moving after which nothing will: what ``Core.idle`` promises, or, where only the ports can be
#: watched, far more than a frame needs from one to another.
HAS_IDLE_CYCLES, NO_IDLE_CYCLES = 256, 4096


def flat_ports(top: wiring.Component) -> dict[str, Value]:
    """Ports of a component, with names that Verilator keeps as they are.

    It escapes a double underscore, which is what Amaranth joins the parts of a name with.
    """
    ports = {}
    for path, _, value in top.signature.flatten(top):
        if isinstance(value, ValueCastable):
            value = value.as_value()
        # A stream that is always ready has a constant there
        if isinstance(value, Value) and not isinstance(value, Const):
            ports["_".join(map(str, path))] = value
    return ports


def config_header(config: CoreConfig, *, quiet_cycles: int, has_host: bool = True, more: str = "") -> str:
    """``board_config.h``: constants.

    Parameters
    ----------
    config : CoreConfig
    quiet_cycles : int
        Cycles without anything moving after which nothing will.
    has_host : bool
        The host port is one of the ports.
    more : str
        Further lines.
    """
    layout = frame_layout(config.data_width)
    shifts = {name: layout[name].offset - config.data_width for name in ("empty", "last")}
    return f"""#pragma once
#include <cstddef>
#include <cstdint>
namespace board {{
constexpr std::size_t PORTS = {config.wired_ports};
constexpr std::size_t ALL_PORTS = {config.wired_ports + has_host};
constexpr bool HAS_HOST = {str(has_host).lower()};
constexpr std::size_t BEAT_BYTES = {config.beat_bytes};
constexpr unsigned EMPTY_SHIFT = {shifts["empty"]};
constexpr unsigned LAST_SHIFT = {shifts["last"]};
constexpr double LINE_BYTES_PER_CYCLE = {gmii.LINE_RATE / 8 / config.clock_hz!r};
constexpr std::uint64_t QUIET_CYCLES = {quiet_cycles};
constexpr std::uint8_t PREAMBLE = {gmii.PREAMBLE}, SFD = {gmii.SFD};
constexpr std::size_t PREAMBLE_BYTES = {gmii.PREAMBLE_BYTES};
constexpr std::size_t FCS_BYTES = {gmii.FCS_BYTES};
constexpr std::size_t GAP_BYTES = {gmii.GAP_BYTES};
{more}}}
"""


def pins_header(ports: dict[str, Value], config: CoreConfig, *, macs: bool) -> str:
    """``board_pins.h`` of a core: its ports, and nothing around them."""
    pins = [", ".join(map(pin, names)) for names in _pin_names(config, macs=macs)]
    return wires_header(ports, "GmiiWire" if macs else "StreamWire", "gmii_wire.h" if macs else "stream_wire.h", pins)


def wires_header(ports: dict[str, Value], wire: str, wire_header: str, pins: list[str], *,
                 surroundings: str = "no_surroundings.h", before: str = "", after: str = "") -> str:
    """``board_pins.h``: what is at the other end of the model's ports, and functions that reach its pins and clocks.

    Parameters
    ----------
    ports : dict[str, Value]
        Of :func:`flat_ports`.
    wire, wire_header : str
        Class of what is at each port, and where it is declared.
    pins : list[str]
        Initializers of each port's ``Wire::Pins``, the host port last.
    surroundings : str
        Header that declares what else is around the model.
    before, after : str
        Declarations before and after that header.
    """
    line_clocks = [name for name in ports if name.endswith("_clk")]
    all_pins = ",\n        ".join(f"Wire::Pins{{{of_port}}}" for of_port in pins)
    return f"""#pragma once
#include <cstdint>
#include <vector>
#include "Vboard.h"
#include "{wire_header}"
{before}#include "{surroundings}"
namespace board {{
{after}using Wire = {wire};
// Of each port, the host port last.
inline std::vector<Wire::Pins> pins(Vboard &top) {{
    return {{
        {all_pins},
    }};
}}
inline void core_clock(Vboard &top, std::uint8_t level) {{ top.clk = level; }}
// Of the ports, where these have clocks of their own.
inline void line_clock(Vboard &top, std::uint8_t level) {{
    (void)top, (void)level;
    {" ".join(f"top.{name} = level;" for name in line_clocks)}
}}
inline bool active(const Vboard &top) {{ (void)top; return {"!top.idle" if "idle" in ports else "false"}; }}
}}
"""


def _pin_names(config: CoreConfig, *, macs: bool) -> list[list[str]]:
    """Ports of the model in the order of a ``GmiiWire::Pins`` (with MACs) or ``StreamWire::Pins``."""
    if macs:
        return [[f"gmii{port}_{pin}" for pin in ("rxd", "rx_dv", "txd", "tx_en", "tx_er")]
                for port in range(config.wired_ports + 1)]
    streams = [*((f"rx_{port}", f"tx_{port}") for port in range(config.wired_ports)), ("host_rx", "host_tx")]
    return [[f"{rx}_payload", f"{rx}_valid", f"{rx}_ready", f"{tx}_payload", f"{tx}_valid"] for rx, tx in streams]


def pin(name: str) -> str:
    """C++ expression: where the model keeps a port."""
    # The model's integers and arrays of words are little-endian in memory, so their bytes can be reached one by one.
    return f"reinterpret_cast<std::uint8_t *>(&top.{name})"
