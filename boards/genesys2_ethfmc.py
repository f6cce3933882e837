"""Digilent Genesys 2 (XC7K325T) with an Opsero Ethernet FMC; jumper JP6 at 2.5 V. The board's own port is not used."""

from typing import ClassVar

from amaranth_boards.genesys2 import Genesys2Platform

from .description import Board, Led
from .ethernet_fmc import PORTS, ethernet_fmc_resources
from .hostlink import HostLinkKind

__all__ = ["BOARD", "Genesys2FmcPlatform"]


class Genesys2FmcPlatform(Genesys2Platform):
    """The platform, with the RGMIIs of the FMC instead of its own."""

    resources: ClassVar = [*(resource for resource in Genesys2Platform.resources if resource.name != "eth_rgmii"),
                           *ethernet_fmc_resources("hpc")]


BOARD = Board(
    name="genesys2_ethfmc",
    title="Digilent Genesys 2 with an Opsero Ethernet FMC",
    platform=Genesys2FmcPlatform,
    ports=PORTS,
    host_link=HostLinkKind.AUTHENTICATED,
    core_hz=100e6,
    core={"routers": 64, "fib_words": 16384, "adjacencies": 1024, "buffer_bytes": 262144},
    leds=tuple(Led("led", port) for port in range(len(PORTS))),
    uart="uart",
    openfpgaloader=("--board", "genesys2"),
)
