"""LambdaConcept ECPIX-5 with an LFE5UM5G-85F: one RGMII port with a KSZ9031; more ports are VLANs of that one."""

from amaranth_boards.ecpix5 import ECPIX585Platform

from .description import Board, BoardPort, Led
from .hostlink import HostLinkKind
from .rgmii.ecp5 import SCLK_CENTERED_NS

__all__ = ["BOARD"]

BOARD = Board(
    name="ecpix5",
    title="LambdaConcept ECPIX-5 (LFE5UM5G-85F)",
    platform=ECPIX585Platform,
    ports=(BoardPort(phy="KSZ9031RNX", phy_address=0, phy_rx_delay=True, phy_tx_delay=True,
                     fpga_rx_delay_ns=SCLK_CENTERED_NS),),
    host_link=HostLinkKind.UART,
    core_hz=50e6,
    # Without filter, with which the core is routed once in four times, and with half of the tables only.
    core={"routers": 32, "fib_words": 8192, "adjacencies": 512, "buffer_bytes": 49152, "filter_rules": 0,
          "vmac_cycles": 2, "context_words": 4, "access_bits": 16},
    leds=(Led("rgb_led", 0, "g"),),
    uart="uart",
    openfpgaloader=("--board", "ecpix5"),
)
