"""Opsero Ethernet FMC: four RGMII ports with an 88E1510 each, at any FMC connector that has its bank at 2.5 V.

Each PHY has an MDIO bus and a reset of its own. Places are Opsero's (OP031 and OP041, constraints of their reference
designs).
"""

from amaranth.build import Attrs, Pins, PinsN, Resource, Subsignal

from .description import BoardPort

__all__ = ["PORTS", "ethernet_fmc_resources"]

#: Pins of the connector, for each port: MDC, MDIO, reset; RXC, RX_CTL, RXD; TXC, TX_CTL, TXD.
_PINS = (
    ("la05_p la06_n la05_n", "la00_cc_p la00_cc_n", "la02_p la02_n la03_p la03_n",
     "la04_n la07_n", "la04_p la08_p la08_n la07_p"),
    ("la13_n la14_n la15_n", "la01_cc_p la01_cc_n", "la06_p la09_p la10_n la09_n",
     "la11_n la15_p", "la12_n la11_p la16_p la16_n"),
    ("la24_p la25_n la24_n", "la17_cc_p la20_p", "la20_n la19_p la23_p la23_n",
     "la21_p la25_p", "la19_n la22_p la22_n la21_n"),
    ("la30_n la32_p la32_n", "la18_cc_p la18_cc_n", "la26_p la27_p la26_n la27_n",
     "la28_n la30_p", "la29_n la28_p la31_p la31_n"),
)

#: The clocks are delayed by the PHYs. RXC comes by a regional buffer, whose delay is close to that of the pins.
PORTS = tuple(BoardPort(phy="88E1510", phy_address=0, mdio=bus, phy_rx_delay=True, phy_tx_delay=True,
                        rxc_buffer="BUFR") for bus in range(len(_PINS)))


def ethernet_fmc_resources(connector: str, number: int = 0) -> list[Resource]:
    """``eth_rgmii`` 0 to 3 at an FMC connector.

    Parameters
    ----------
    connector : str
        Name of the platform's connector, whose pins are called as in ANSI/VITA 57.1: ``la00_cc_p``.
    number : int
    """
    conn = (connector, number)
    found = []
    for port, (slow, rx, rxd, tx, txd) in enumerate(_PINS):
        (mdc, mdio, reset), (rxc, rx_ctl), (txc, tx_ctl) = slow.split(), rx.split(), tx.split()
        found.append(Resource(
            "eth_rgmii", port,
            Subsignal("rst", PinsN(reset, dir="o", conn=conn)),
            Subsignal("mdc", Pins(mdc, dir="o", conn=conn)),
            Subsignal("mdio", Pins(mdio, dir="io", conn=conn)),
            Subsignal("tx_clk", Pins(txc, dir="o", conn=conn), Attrs(SLEW="FAST")),
            Subsignal("tx_ctl", Pins(tx_ctl, dir="o", conn=conn), Attrs(SLEW="FAST")),
            Subsignal("tx_data", Pins(txd, dir="o", conn=conn), Attrs(SLEW="FAST")),
            Subsignal("rx_clk", Pins(rxc, dir="i", conn=conn)),
            Subsignal("rx_ctl", Pins(rx_ctl, dir="i", conn=conn)),
            Subsignal("rx_data", Pins(rxd, dir="i", conn=conn)),
            Attrs(IOSTANDARD="LVCMOS25")))
    return found
