"""Colorlight 5A-75B, hardware revision 7.0: LFE5U-25F, two RGMII ports with a B50612D each.

Both PHYs are on one MDIO bus and have one reset. There is room for one data port, so the second port is the host's
(``docs/boards.md``, "Cores for small FPGAs"). The UART is on the pins of the LED and of the button, connector J19.
"""

from typing import ClassVar

from amaranth.build import Attrs, Pins, Resource, Subsignal
from amaranth_boards.colorlight_5a75b_r7_0 import Colorlight_5A75B_R70Platform

from .description import Board, BoardPort
from .hostlink import HostLinkKind
from .rgmii.ecp5 import SCLK_CENTERED_NS

__all__ = ["BOARD", "ColorlightPlatform"]


class ColorlightPlatform(Colorlight_5A75B_R70Platform):
    """The platform, with MDIO and reset in the first port only: a pin can be requested once."""

    resources: ClassVar = [
        *(resource for resource in Colorlight_5A75B_R70Platform.resources
          if (resource.name, resource.number) != ("eth_rgmii", 1)),
        Resource(
            "eth_rgmii", 1,
            Subsignal("tx_clk", Pins("M12", dir="o")),
            Subsignal("tx_ctl", Pins("R15", dir="o")),
            Subsignal("tx_data", Pins("T14 R12 R13 R14", dir="o")),
            Subsignal("rx_clk", Pins("M16", dir="i")),
            Subsignal("rx_ctl", Pins("L15", dir="i")),
            Subsignal("rx_data", Pins("P13 N13 P14 M15", dir="i")),
            Attrs(IO_TYPE="LVCMOS33")),
    ]


BOARD = Board(
    name="colorlight_5a75b",
    title="Colorlight 5A-75B v7.0 (LFE5U-25F)",
    platform=ColorlightPlatform,
    ports=tuple(BoardPort(phy="B50612D", phy_address=address, phy_rx_delay=True, phy_tx_delay=True,
                          fpga_rx_delay_ns=SCLK_CENTERED_NS) for address in range(2)),
    host_link=HostLinkKind.PORT,
    # Speed grade 6. Enough for one port; two ports, with the host in band or at the UART, are slower than line rate.
    core_hz=125e6 / 3,
    line_rate=False,
    core={"data_width": 32, "routers": 4, "fib_words": 1024, "adjacencies": 64, "buffer_bytes": 8192,
          "filter_rules": 0, "mac_rows": 0, "fib_rings": 1, "vmac_cycles": 2, "context_words": 4, "hash_cycles": 12,
          "headers": 4, "record_rows": 64, "slices": 0, "stage_registers": 0, "access_bits": 16},
    uart="uart",
    openfpgaloader=("--board", "colorlight"),
)
