"""Greg Davill's ButterStick: LFE5UM5G-85F, one RGMII port with a KSZ9031RNX; more ports are VLANs of that one.

It has no UART and one port, so the host comes in by authenticated frames. Its LEDs are multiplexed, and not used. It is
loaded over USB by its bootloader, as which it starts if button 0 is held while it is plugged in.
"""

from amaranth_boards.butterstick import ButterStickPlatform

from .description import Board, BoardPort
from .hostlink import HostLinkKind
from .rgmii.ecp5 import SCLK_CENTERED_NS

__all__ = ["BOARD"]

BOARD = Board(
    name="butterstick",
    title="ButterStick (LFE5UM5G-85F)",
    platform=ButterStickPlatform,
    ports=(BoardPort(phy="KSZ9031RNX", phy_address=0, phy_rx_delay=True, phy_tx_delay=True,
                     fpga_rx_delay_ns=SCLK_CENTERED_NS),),
    host_link=HostLinkKind.AUTHENTICATED,
    core_hz=50e6,
    # Without filter, with which the core is routed once in four times, and with half of the tables only.
    core={"routers": 32, "fib_words": 8192, "adjacencies": 512, "buffer_bytes": 49152, "filter_rules": 0,
          "vmac_cycles": 2, "context_words": 4, "access_bits": 16},
    # firmware/usb_descriptors.c of butterstick-fpga/butterstick-bootloader: altsetting 0 is the flash of bitstreams.
    openfpgaloader=("--dfu", "--vid", "0x1209", "--pid", "0x5af1", "--altsetting", "0"),
)
