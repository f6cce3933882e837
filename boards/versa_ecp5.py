"""Lattice ECP5 Versa: LFE5UM-45F, two RGMII ports with an 88E1512 each on an MDIO bus of its own."""

from amaranth_boards.versa_ecp5 import VersaECP5Platform

from .description import Board, BoardPort, Led
from .hostlink import HostLinkKind
from .rgmii.ecp5 import SCLK_CENTERED_NS

__all__ = ["BOARD"]

_PORTS = tuple(
    BoardPort(phy="88E1512", phy_address=0, mdio=bus, phy_rx_delay=True, phy_tx_delay=True,
              fpga_rx_delay_ns=SCLK_CENTERED_NS)
    for bus in range(2))

BOARD = Board(
    name="versa_ecp5",
    title="Lattice ECP5 Versa (LFE5UM-45F)",
    platform=VersaECP5Platform,
    ports=_PORTS,
    host_link=HostLinkKind.UART,
    # The least of the PLL's at which two ports of shortest frames may all have the longest IPv6 walks: 17 cycles each.
    core_hz=625e6 / 12,
    # Without filter, whose look-up tables would bring it to some 70 % of what there is.
    core={"routers": 32, "fib_words": 2048, "adjacencies": 256, "buffer_bytes": 16384, "filter_rules": 0,
          "vmac_cycles": 2, "context_words": 4, "headers": 4, "slices": 0, "access_bits": 16},
    leds=(Led("led", 0), Led("led", 1)),
    uart="uart",
    openfpgaloader=("--cable", "ft2232"),
)
