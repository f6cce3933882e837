"""An LFE5UM5G-85F with four RGMIIs, and no board: for figures. Its pins are free, so there are no DDR cells at them."""

from itertools import count
from typing import ClassVar

from amaranth.build import Clock, Pins, Resource, Subsignal
from amaranth.vendor import LatticeECP5Platform

from .description import Board, BoardPort
from .freepins import FREE_PINS
from .hostlink import HostLinkKind

__all__ = ["BOARD", "FreePlatform"]

_PORTS = 4


def _resources() -> list[Resource]:
    numbers = count()

    def pins(width: int, direction: str) -> Pins:
        return Pins(" ".join(f"free{next(numbers)}" for _ in range(width)), dir=direction)

    return [
        Resource("clk100", 0, pins(1, "i"), Clock(100e6)),
        Resource("uart", 0, Subsignal("rx", pins(1, "i")), Subsignal("tx", pins(1, "o"))),
        *(Resource("eth_rgmii", port,
                   Subsignal("rst", pins(1, "o")), Subsignal("mdc", pins(1, "o")), Subsignal("mdio", pins(1, "io")),
                   *(Subsignal(name, pins(width, direction)) for name, width, direction in FREE_PINS))
          for port in range(_PORTS)),
    ]


class FreePlatform(LatticeECP5Platform):
    """An FPGA whose pins nextpnr chooses (it must be told so, by ``--lpf-allow-unconstrained``)."""

    device = "LFE5UM5G-85F"
    package = "BG756"
    speed = "8"
    default_clk = "clk100"
    resources: ClassVar = _resources()
    connectors: ClassVar[list] = []

    def iter_port_constraints_bits(self):
        """No pin has a place."""
        return iter(())


BOARD = Board(
    name="ecp5_85f_4port",
    title="generic LFE5UM5G-85F, out of context",
    platform=FreePlatform,
    ports=tuple(BoardPort(phy="generic", phy_address=0, mdio=bus) for bus in range(_PORTS)),
    host_link=HostLinkKind.UART,
    # The least that carries four lines: shortest frames leave 10.5 cycles for each.
    core_hz=62.5e6,
    core={"routers": 32, "fib_words": 8192, "adjacencies": 1024, "buffer_bytes": 65536, "vmac_cycles": 2,
          "context_words": 2},
    uart="uart",
    out_of_context=True,
)
