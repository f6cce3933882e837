"""NetFPGA-1G-CML (XC7K325T): four RGMII ports with an RTL8211 each, on one MDIO bus.

The PHYs delay RXC; TXC is shifted here. Pins as in NetFPGA-1G-CML-live (``projects/reference_router_nf1_cml``) and in
satcat5 (``examples/netfpga``), which agree. The UART is on Pmod JB.
"""

from typing import ClassVar

from amaranth.build import Attrs, Clock, DiffPairs, Pins, PinsN, Resource, Subsignal
from amaranth.vendor import XilinxPlatform
from amaranth_boards.resources import LEDResources, UARTResource

from .description import Board, BoardPort, Led
from .hostlink import HostLinkKind

__all__ = ["BOARD", "NetFpga1GCmlPlatform"]

#: For each port: RXC, RX_CTL, RXD, TXC, TX_CTL, TXD, reset.
_PINS = (
    ("E10", "B12", "B11 A10 B10 A9", "B9", "H8", "A8 D8 G9 H9", "D18"),
    ("C12", "A12", "A13 C9 D11 C11", "J10", "F8", "D10 G10 D9 F9", "E25"),
    ("E11", "C13", "A14 B14 E12 D13", "E13", "F10", "G12 F13 F12 H11", "K21"),
    ("G11", "A15", "B15 F14 C14 H12", "D14", "J11", "J13 G14 H14 H13", "L23"),
)


def _rgmiis() -> list[Resource]:
    found = []
    for port, (rxc, rx_ctl, rxd, txc, tx_ctl, txd, reset) in enumerate(_PINS):
        bus = [Subsignal("mdc", Pins("V13", dir="o")), Subsignal("mdio", Pins("W13", dir="io"))]
        found.append(Resource(
            "eth_rgmii", port,
            Subsignal("rst", PinsN(reset, dir="o"), Attrs(IOSTANDARD="LVCMOS33")),
            *([] if port else bus),         # one for all
            Subsignal("tx_clk", Pins(txc, dir="o"), Attrs(SLEW="FAST")),
            Subsignal("tx_ctl", Pins(tx_ctl, dir="o"), Attrs(SLEW="FAST")),
            Subsignal("tx_data", Pins(txd, dir="o"), Attrs(SLEW="FAST")),
            Subsignal("rx_clk", Pins(rxc, dir="i")),
            Subsignal("rx_ctl", Pins(rx_ctl, dir="i")),
            Subsignal("rx_data", Pins(rxd, dir="i")),
            Attrs(IOSTANDARD="LVCMOS18")))
    return found


class NetFpga1GCmlPlatform(XilinxPlatform):
    """Clock, LEDs, UART and RGMIIs."""

    device = "xc7k325t"
    package = "ffg676"
    speed = "1"
    default_clk = "clk200"
    resources: ClassVar = [
        Resource("clk200", 0, DiffPairs("AA3", "AA2", dir="i"), Clock(200e6), Attrs(IOSTANDARD="LVDS")),
        *LEDResources(pins={0: "E17", 2: "F17"}, attrs=Attrs(IOSTANDARD="LVCMOS33")),
        *LEDResources(pins={1: "AF14", 3: "W19"}, attrs=Attrs(IOSTANDARD="LVCMOS18")),
        UARTResource(0, rx="H18", tx="E15", attrs=Attrs(IOSTANDARD="LVCMOS33")),
        *_rgmiis(),
    ]
    connectors: ClassVar[list] = []

    def toolchain_prepare(self, fragment, name, **kwargs):
        """The bank voltages of configuration."""
        constraints = (kwargs.pop("add_constraints", "") + "\nset_property CFGBVS VCCO [current_design]"
                       "\nset_property CONFIG_VOLTAGE 3.3 [current_design]"
                       "\nset_property CONFIG_MODE BPI16 [current_design]")
        return super().toolchain_prepare(fragment, name, add_constraints=constraints, **kwargs)


BOARD = Board(
    name="netfpga_1g_cml",
    title="NetFPGA-1G-CML",
    platform=NetFpga1GCmlPlatform,
    ports=tuple(BoardPort(phy="RTL8211E", phy_address=address, fpga_txc_delay_ns=2, rxc_buffer="BUFR")
                for address in range(1, len(_PINS) + 1)),
    host_link=HostLinkKind.AUTHENTICATED,
    core_hz=100e6,
    core={"routers": 64, "fib_words": 16384, "adjacencies": 1024, "buffer_bytes": 262144},
    leds=tuple(Led("led", port) for port in range(len(_PINS))),
    uart="uart",
    openfpgaloader=("--cable", "digilent"),
)
