"""C++ headers that tell a harness what the core is like: its parameters, and where the model has its ports."""

from amaranth.hdl import Const, Value, ValueCastable
from amaranth.lib import wiring

from ...hdl.config import CoreConfig
from ...hdl.mac import gmii
from ...hdl.stream import frame_layout

__all__ = ["config_header", "flat_ports", "pins_header"]


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


def config_header(config: CoreConfig, *, has_idle: bool) -> str:
    """``board_config.h``: constants."""
    layout = frame_layout(config.data_width)
    shifts = {name: layout[name].offset - config.data_width for name in ("empty", "last")}
    return f"""#pragma once
#include <cstddef>
#include <cstdint>
namespace board {{
constexpr std::size_t PORTS = {config.wired_ports};
constexpr std::size_t ALL_PORTS = {config.wired_ports + 1};
constexpr std::size_t BEAT_BYTES = {config.beat_bytes};
constexpr unsigned EMPTY_SHIFT = {shifts["empty"]};
constexpr unsigned LAST_SHIFT = {shifts["last"]};
constexpr double LINE_BYTES_PER_CYCLE = {gmii.LINE_RATE / 8 / config.clock_hz!r};
constexpr bool HAS_IDLE = {str(has_idle).lower()};
constexpr std::uint8_t PREAMBLE = {gmii.PREAMBLE}, SFD = {gmii.SFD};
constexpr std::size_t PREAMBLE_BYTES = {gmii.PREAMBLE_BYTES};
constexpr std::size_t FCS_BYTES = {gmii.FCS_BYTES};
constexpr std::size_t GAP_BYTES = {gmii.GAP_BYTES};
}}
"""


def pins_header(ports: dict[str, Value], config: CoreConfig, *, macs: bool) -> str:
    """``board_pins.h``: what is at the other end of the model's ports, and functions that reach its pins and clocks."""
    line_clocks = [name for name in ports if name.endswith("_clk")]
    pins = ",\n        ".join(f"Wire::Pins{{{', '.join(map(_pin, names))}}}" for names in _pin_names(config, macs=macs))
    return f"""#pragma once
#include <cstdint>
#include <vector>
#include "Vboard.h"
#include "{"gmii_wire.h" if macs else "stream_wire.h"}"
namespace board {{
using Wire = {"GmiiWire" if macs else "StreamWire"};
// Of each port, the host port last.
inline std::vector<Wire::Pins> pins(Vboard &top) {{
    return {{
        {pins},
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


def _pin(name: str) -> str:
    # The model's integers and arrays of words are little-endian in memory, so their bytes can be reached one by one.
    return f"reinterpret_cast<std::uint8_t *>(&top.{name})"
