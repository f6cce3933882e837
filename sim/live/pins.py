"""C++ headers that tell the harness what the core is like: its parameters, and where the model has its ports."""

from amaranth.hdl import Value, ValueCastable
from amaranth.lib import wiring

from ...hdl.config import CoreConfig
from ...hdl.stream import frame_layout

__all__ = ["config_header", "flat_ports", "pins_header"]

BITS_PER_SECOND = 1e9


def flat_ports(top: wiring.Component) -> dict[str, Value]:
    """Ports of a component, with names that Verilator keeps as they are.

    It escapes a double underscore, which is what Amaranth joins the parts of a name with.
    """
    ports = {}
    for path, _, value in top.signature.flatten(top):
        if isinstance(value, ValueCastable):
            value = value.as_value()
        if isinstance(value, Value):
            ports["_".join(map(str, path))] = value
    return ports


def config_header(config: CoreConfig, *, macs: bool, has_idle: bool) -> str:
    """``board_config.h``: constants."""
    layout = frame_layout(config.data_width)
    shifts = {name: layout[name].offset - config.data_width for name in ("empty", "last")}
    return f"""#pragma once
#include <cstddef>
namespace board {{
constexpr std::size_t PORTS = {config.ports};
constexpr std::size_t ALL_PORTS = {config.all_ports};
constexpr std::size_t BEAT_BYTES = {config.beat_bytes};
constexpr unsigned EMPTY_SHIFT = {shifts["empty"]};
constexpr unsigned LAST_SHIFT = {shifts["last"]};
constexpr double BYTES_PER_CYCLE = {BITS_PER_SECOND / 8 / config.clock_hz!r};
constexpr bool HAS_MACS = {str(macs).lower()};
constexpr bool HAS_IDLE = {str(has_idle).lower()};
}}
"""


def _stream_pins(rx: str, tx: str) -> str:
    def at(name: str) -> str:
        return f"reinterpret_cast<std::uint8_t *>(&top.{name})"
    return "{" + ", ".join(at(f"{stream}_{part}") for stream in (rx, tx)
                           for part in ("payload", "valid", "ready")) + "}"


def pins_header(ports: dict[str, Value], config: CoreConfig, *, macs: bool) -> str:
    """``board_pins.h``: functions that reach the model's ports."""
    lines = [f"ports.push_back(std::make_unique<StreamPort>(fds[{port}], StreamPins"
             f"{_stream_pins(f'rx_{port}', f'tx_{port}')}));" for port in range(config.ports)]
    lines.append(f"ports.push_back(std::make_unique<StreamPort>(fds[{config.host_port}], StreamPins"
                 f"{_stream_pins('host_rx', 'host_tx')}));")
    body = "\n    ".join(lines)
    return f"""#pragma once
#include <cstdint>
#include <memory>
#include <vector>
#include "Vboard.h"
#include "stream_port.h"
namespace board {{
inline std::vector<std::unique_ptr<Port>> make_ports(Vboard &top, const std::vector<int> &fds) {{
    std::vector<std::unique_ptr<Port>> ports;
    {body}
    return ports;
}}
inline void clock(Vboard &top, std::uint8_t level) {{ top.clk = level; }}
inline bool active(const Vboard &top) {{ (void)top; return {"!top.idle" if "idle" in ports else "false"}; }}
}}
"""

