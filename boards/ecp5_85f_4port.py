"""An LFE5UM5G-85F with four RGMIIs at pins that suit them, and no board around it: for figures of four ports."""

from typing import ClassVar

from amaranth.build import Attrs, Clock, Pins, Resource, Subsignal
from amaranth.vendor import LatticeECP5Platform

from .description import Board, BoardPort
from .hostlink import HostLinkKind
from .rgmii.ecp5 import SCLK_CENTERED_NS

__all__ = ["BOARD", "GenericPlatform"]

#: Pins of each port, side by side at an edge of the chip, from the clock input of banks 2, 3, 7 and 6 on. In the order
#: of :data:`_SIGNALS`.
_PINS = (
    "P27 P26 N27 N26 N30 N29 L26 L27 K27 K26 K28 L29 H27 H28 J26",
    "P28 P29 R26 T26 R27 T27 U27 U26 R29 T28 T29 U28 U29 V29 V27",
    "P6 P7 N6 N7 N3 N4 L7 L6 K6 K7 K5 L4 H6 H5 J7",
    "P5 P4 R7 T7 R6 T6 U6 U7 R4 T5 T4 U5 U4 V4 V6",
)
_SIGNALS = (("rx_clk", 1, "i"), ("rx_ctl", 1, "i"), ("rx_data", 4, "i"), ("tx_clk", 1, "o"), ("tx_ctl", 1, "o"),
            ("tx_data", 4, "o"), ("mdc", 1, "o"), ("mdio", 1, "io"), ("rst", 1, "o"))


def _rgmii(port: int) -> Resource:
    left = iter(_PINS[port].split())
    signals = [Subsignal(name, Pins(" ".join(next(left) for _ in range(width)), dir=direction))
               for name, width, direction in _SIGNALS]
    return Resource("eth_rgmii", port, *signals, Attrs(IO_TYPE="LVCMOS25"))


class GenericPlatform(LatticeECP5Platform):
    """An FPGA whose pins are all free. The clock is at a clock input of bank 0."""

    device = "LFE5UM5G-85F"
    package = "BG756"
    speed = "8"
    default_clk = "clk100"
    resources: ClassVar = [
        Resource("clk100", 0, Pins("C17", dir="i"), Clock(100e6), Attrs(IO_TYPE="LVCMOS33")),
        Resource("uart", 0, Subsignal("rx", Pins("C16", dir="i")), Subsignal("tx", Pins("D16", dir="o")),
                 Attrs(IO_TYPE="LVCMOS33")),
        *(_rgmii(port) for port in range(len(_PINS))),
    ]
    connectors: ClassVar[list] = []


BOARD = Board(
    name="ecp5_85f_4port",
    title="generic LFE5UM5G-85F, no board",
    platform=GenericPlatform,
    ports=tuple(BoardPort(phy="generic", phy_address=0, mdio=bus, fpga_rx_delay_ns=SCLK_CENTERED_NS)
                for bus in range(len(_PINS))),
    host_link=HostLinkKind.UART,
    # The least that carries four lines: shortest frames leave 10.5 cycles for each.
    core_hz=62.5e6,
    # Half of what its memories have room for, and no filter: with both it was never routed.
    core={"routers": 32, "fib_words": 4096, "adjacencies": 512, "buffer_bytes": 32768, "filter_rules": 0,
          "vmac_cycles": 2, "context_words": 4, "access_bits": 16},
    uart="uart",
    figures_only=True,
)
