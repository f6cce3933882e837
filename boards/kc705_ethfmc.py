"""Xilinx KC705 (XC7K325T) with an Opsero Ethernet FMC at its LPC connector."""

from typing import ClassVar

from amaranth.build import Attrs, Clock, Connector, DiffPairs, Resource
from amaranth_boards.kc705 import KC705Platform

from .description import Board, Led
from .ethernet_fmc import PORTS, ethernet_fmc_resources
from .hostlink import HostLinkKind

__all__ = ["BOARD", "Kc705FmcPlatform"]

#: Xilinx UG810, table 1-27, as far as the Ethernet FMC goes.
_LPC = {
    "la00_cc_p": "AD23", "la00_cc_n": "AE24", "la02_p": "AF20", "la02_n": "AF21", "la03_p": "AG20", "la03_n": "AH20",
    "la04_n": "AJ21", "la07_n": "AH25", "la04_p": "AH21", "la08_p": "AJ22", "la08_n": "AJ23", "la07_p": "AG25",
    "la05_p": "AG22", "la06_n": "AK21", "la05_n": "AH22", "la01_cc_p": "AE23", "la01_cc_n": "AF23", "la06_p": "AK20",
    "la09_p": "AK23", "la10_n": "AK25", "la09_n": "AK24", "la11_n": "AF25", "la15_p": "AC24", "la12_n": "AB20",
    "la11_p": "AE25", "la16_p": "AC22", "la16_n": "AD22", "la13_n": "AC25", "la14_n": "AE21", "la15_n": "AD24",
    "la17_cc_p": "AB27", "la20_p": "AF26", "la20_n": "AF27", "la19_p": "AJ26", "la23_p": "AH26", "la23_n": "AH27",
    "la21_p": "AG27", "la25_p": "AC26", "la19_n": "AK26", "la22_p": "AJ27", "la22_n": "AK28", "la21_n": "AG28",
    "la24_p": "AG30", "la25_n": "AD26", "la24_n": "AH30", "la18_cc_p": "AD27", "la18_cc_n": "AD28", "la26_p": "AK29",
    "la27_p": "AJ28", "la26_n": "AK30", "la27_n": "AJ29", "la28_n": "AF30", "la30_p": "AB29", "la29_n": "AF28",
    "la28_p": "AE30", "la31_p": "AD29", "la31_n": "AE29", "la30_n": "AB30", "la32_p": "Y30", "la32_n": "AA30",
}


class Kc705FmcPlatform(KC705Platform):
    """The platform, with the 200 MHz oscillator and the LPC connector (Xilinx UG810)."""

    default_clk = "clk200"
    resources: ClassVar = [
        *KC705Platform.resources,
        Resource("clk200", 0, DiffPairs("AD12", "AD11", dir="i"), Clock(200e6), Attrs(IOSTANDARD="LVDS")),
        *ethernet_fmc_resources("lpc"),
    ]
    connectors: ClassVar = [Connector("lpc", 0, _LPC)]


BOARD = Board(
    name="kc705_ethfmc",
    title="Xilinx KC705 with an Opsero Ethernet FMC",
    platform=Kc705FmcPlatform,
    ports=PORTS,
    host_link=HostLinkKind.AUTHENTICATED,
    core_hz=100e6,
    core={"routers": 64, "fib_words": 16384, "adjacencies": 1024, "buffer_bytes": 262144},
    leds=tuple(Led("led", port) for port in range(len(PORTS))),
    openfpgaloader=("--board", "kc705"),
)
