"""C++ headers that tell the harness what a board's top level is like: ports, PHYs, and what else is around it."""

from collections.abc import Sequence

from amaranth.hdl import Value
from polyrouter.boards.hostlink import HostLinkKind
from polyrouter.boards.top import BoardTop, HostLinkChoice, TopPort

from ..verilated.pins import config_header, flat_ports, pin, wires_header

__all__ = ["top_headers"]

#: Cycles after which a board sleeps: some rounds of polls of its PHYs, as :class:`.top.LiveTop` scales them. It polls
#: for ever, so that what moves does not tell whether it is done.
_QUIET_CYCLES = 1 << 16


def top_headers(top: BoardTop, ports: Sequence[TopPort], choice: HostLinkChoice) -> dict[str, str]:
    """Headers by name."""
    pins = flat_ports(top)
    more = f"constexpr double BITS_PER_CYCLE = {choice.baud / top.config.clock_hz!r};\n"     # of a UART
    return {
        "board_config.h": config_header(top.config, quiet_cycles=_QUIET_CYCLES,
                                        has_host=choice.kind == HostLinkKind.PORT, more=more),
        "board_pins.h": wires_header(
            pins, "RgmiiWire", "rgmii_wire.h", [_wire(port) for port in range(len(ports))],
            surroundings="surroundings.h", before=_phys(ports), after=_surroundings(pins)),
    }


def _wire(port: int) -> str:
    names = (f"rgmii{port}_{name}" for name in ("rxd", "rx_ctl", "txd", "tx_ctl"))
    return f"{', '.join(map(pin, names))}, &phys()[{port}]"


def _phys(ports: Sequence[TopPort]) -> str:
    phys = ", ".join(f"Phy({port.mdio}, {port.phy_address}, {port.phy.identifier:#x})" for port in ports)
    return f"""#include <array>
#include "phy.h"
class Vboard;
namespace board {{
constexpr std::size_t PHYS = {len(ports)};
inline std::array<Phy, PHYS> &phys() {{
    static std::array<Phy, PHYS> phys{{{phys}}};
    return phys;
}}
}}
"""


def _surroundings(pins: dict[str, Value]) -> str:
    lines = ["    SurroundingPins pins;"]
    for bus in range(sum(name.startswith("phy_reset") for name in pins)):
        names = [*(f"mdio{bus}_{name}" for name in ("mdc", "o", "oe")), f"phy_reset{bus}", f"mdio{bus}_i"]
        lines.append(f"    pins.mdio.push_back(MdioBus::Pins{{{bus}, {', '.join(map(pin, names))}}});")
    lines += [f"    pins.{name} = {pin(name)};" for name in ("uart_rxd", "uart_txd", "entropy") if name in pins]
    return "inline SurroundingPins surrounding_pins(Vboard &top) {\n" + "\n".join(lines) + "\n    return pins;\n}\n"
