"""Traffic of the bench, with what must become of each frame."""

from collections.abc import Iterator, Sequence
from random import Random

from ...hdl.mac import gmii
from ..frames import ETHERNET_BYTES, IPV4_BYTES, IPV6_BYTES, ethernet, ipv4, ipv6
from .script import SERIAL_BYTES, BenchFrame, Outcome
from .tables import BenchRouter, Hop

__all__ = ["SHORTEST", "SOURCE_IPV4", "SOURCE_MAC", "TTL", "Destinations", "line_bytes", "line_rate_frames",
           "line_rate_slots", "packet_frame", "routed"]

#: Shortest frame, without FCS.
SHORTEST = gmii.LEAST_FRAME - gmii.FCS_BYTES
#: What a packet begins with, unless it is made for something else.
TTL = 64
SOURCE_MAC = 0x0E_00_00_00_00_00
SOURCE_IPV4 = 0xC0_00_02_01
_SOURCE_IPV6 = 0x20010DB8 << 96 | 1


def line_bytes(length: int) -> int:
    """What a frame of ``length`` bytes without FCS takes of the line, with all that is around it: cycles of a GMII."""
    return length + gmii.LINE_OVERHEAD


def packet_frame(destination_mac: int, source_mac: int, destination: int, length: int, *, is_ipv6: bool,
                 ttl: int = TTL) -> bytes:
    """A UDP packet in a frame of ``length`` bytes; zeros are its payload."""
    if is_ipv6:
        payload = bytes(length - ETHERNET_BYTES - IPV6_BYTES)
        return ethernet(destination_mac, source_mac, 0x86DD, ipv6(_SOURCE_IPV6, destination, payload, hop_limit=ttl))
    payload = bytes(length - ETHERNET_BYTES - IPV4_BYTES)
    return ethernet(destination_mac, source_mac, 0x0800, ipv4(SOURCE_IPV4, destination, payload, ttl=ttl))


def routed(router: BenchRouter, port: int, destination: int, hops: Sequence[Hop], *, length: int = SHORTEST,
           at: int = 0) -> BenchFrame:
    """A frame for a router at a port, and that it must go to one of ``hops``: each is an outcome, in this order."""
    frame = packet_frame(router.own(port), SOURCE_MAC, destination, length, is_ipv6=router.ipv6)
    header = ETHERNET_BYTES + (IPV6_BYTES if router.ipv6 else IPV4_BYTES)
    outcomes = tuple(
        Outcome(hop.port, packet_frame(hop.mac, router.own(hop.port), destination, length, is_ipv6=router.ipv6,
                                       ttl=TTL - 1)[:min(header, length - SERIAL_BYTES)])
        for hop in dict.fromkeys(hops))
    return BenchFrame(port, at, frame, outcomes)


class Destinations:
    """Addresses that a router knows, by the port that they are behind: its routes take turns.

    Raises
    ------
    ValueError
        If there is a port without any.
    """

    def __init__(self, router: BenchRouter, rng: Random, most: int = 2000):
        self.router = router
        self.by_port: dict[int, list[tuple[int, Hop]]] = {port: [] for port in range(router.config.wired_ports)}
        prefixes = list(router.routes)
        for prefix in rng.sample(prefixes, min(most, len(prefixes))):
            address = router.inside(prefix, rng)
            hop = router.lookup(address)
            assert hop is not None
            self.by_port[hop.port].append((address, hop))

    def complete(self) -> bool:
        """Whether there are some behind every port."""
        return all(self.by_port.values())


def line_rate_slots(destinations: Sequence[Destinations], slots: int, rng: Random
                    ) -> Iterator[tuple[int, int, Destinations]]:
    """Ingress port, egress port and router of frames on all ports, in slots.

    In each slot every port gets one and sends one, so that none is oversubscribed.

    Raises
    ------
    ValueError
        If no router has routes to all ports.
    """
    usable = [entry for entry in destinations if entry.complete()]
    if not usable:
        raise ValueError("no router has routes to all ports")
    egress = list(range(usable[0].router.config.wired_ports))
    for _ in range(slots):
        rng.shuffle(egress)
        for port, leaves_by in enumerate(egress):
            yield port, leaves_by, rng.choice(usable)


def line_rate_frames(destinations: Sequence[Destinations], slots: int, rng: Random) -> Iterator[BenchFrame]:
    """Shortest frames on all ports, in slots."""
    for port, egress, pool in line_rate_slots(destinations, slots, rng):
        address, hop = rng.choice(pool.by_port[egress])
        yield routed(pool.router, port, address, [hop])
