"""Xilinx AC701 (XC7A200T) with an Opsero Ethernet FMC. The free edition of Vivado covers this FPGA."""

from typing import ClassVar

from amaranth.build import Attrs, Clock, Connector, DiffPairs, Resource
from amaranth.vendor import XilinxPlatform
from amaranth_boards.resources import LEDResources

from .description import Board, Led
from .ethernet_fmc import PORTS, ethernet_fmc_resources
from .hostlink import HostLinkKind

__all__ = ["BOARD", "Ac701Platform"]

#: Xilinx UG952, FMC1 HPC connector, as far as the Ethernet FMC goes.
_HPC = {
    "la00_cc_p": "D18", "la00_cc_n": "C18", "la02_p": "H14", "la02_n": "H15", "la03_p": "G17", "la03_n": "F17",
    "la04_n": "F19", "la07_n": "G16", "la04_p": "F18", "la08_p": "C17", "la08_n": "B17", "la07_p": "H16",
    "la05_p": "G15", "la06_n": "F20", "la05_n": "F15", "la01_cc_p": "E17", "la01_cc_n": "E18", "la06_p": "G19",
    "la09_p": "E16", "la10_n": "A18", "la09_n": "D16", "la11_n": "A19", "la15_p": "B22", "la12_n": "D20",
    "la11_p": "B19", "la16_p": "E21", "la16_n": "D21", "la13_n": "A20", "la14_n": "B21", "la15_n": "A22",
    "la17_cc_p": "K21", "la20_p": "M16", "la20_n": "M17", "la19_p": "M14", "la23_p": "K20", "la23_n": "J20",
    "la21_p": "J19", "la25_p": "G22", "la19_n": "L14", "la22_p": "L17", "la22_n": "L18", "la21_n": "H19",
    "la24_p": "J18", "la25_n": "F22", "la24_n": "H18", "la18_cc_p": "G20", "la18_cc_n": "G21", "la26_p": "J24",
    "la27_p": "F23", "la26_n": "H24", "la27_n": "E23", "la28_n": "K23", "la30_p": "E25", "la29_n": "F24",
    "la28_p": "K22", "la31_p": "E26", "la31_n": "D26", "la30_n": "D25", "la32_p": "H26", "la32_n": "G26",
}


class Ac701Platform(XilinxPlatform):
    """Xilinx UG952: the 200 MHz oscillator, LEDs, and the FMC connector."""

    device = "xc7a200t"
    package = "fbg676"
    speed = "2"
    default_clk = "clk200"
    resources: ClassVar = [
        Resource("clk200", 0, DiffPairs("R3", "P3", dir="i"), Clock(200e6), Attrs(IOSTANDARD="LVDS_25")),
        *LEDResources(pins="M26 T24 T25 R26", attrs=Attrs(IOSTANDARD="LVCMOS33")),
        *ethernet_fmc_resources("hpc"),
    ]
    connectors: ClassVar = [Connector("hpc", 0, _HPC)]


BOARD = Board(
    name="ac701_ethfmc",
    title="Xilinx AC701 with an Opsero Ethernet FMC",
    platform=Ac701Platform,
    ports=PORTS,
    host_link=HostLinkKind.AUTHENTICATED,
    core_hz=100e6,
    core={"routers": 32, "fib_words": 16384, "adjacencies": 1024, "buffer_bytes": 262144},
    leds=tuple(Led("led", port) for port in range(len(PORTS))),
    openfpgaloader=("--board", "ac701"),
)
