"""The load of the benchmarks: minimum-size frames that the hardware forwards, from every port to the next one."""

from collections.abc import Iterator

from .frames import RxFrame, ethernet, ipv4
from .tablegen import Scenario

__all__ = ["PAYLOAD_BYTES", "forwarding_frames"]

#: What fills a minimum-size frame after its headers.
PAYLOAD_BYTES = 26
_SOURCE_MAC = 0x06_00_00_00_00_00
_SOURCE_IP = 0x0A_00_00_01


def forwarding_frames(scenario: Scenario, count: int) -> Iterator[RxFrame]:
    """Frames for :func:`.tablegen.simple_scenario`: all ports take turns, and so do all routers.

    No two are alike: the serial number is in the destination address and in the payload.
    """
    config = scenario.config
    for serial in range(count):
        port = serial % config.wired_ports
        router = scenario.routers[serial // config.wired_ports % config.routers]
        destination = 10 + (port + 1) % config.wired_ports << 24 | serial & 0xFFFFFF
        packet = ipv4(_SOURCE_IP, destination, serial.to_bytes(PAYLOAD_BYTES, "big"))
        yield RxFrame(port, ethernet(router.own[port], _SOURCE_MAC, 0x0800, packet))
