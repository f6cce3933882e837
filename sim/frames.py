"""Seeded random frames for a scenario: every path through the pipeline, and every way for a frame to be bad."""

from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from polyrouter.hdl.layouts import RxError

from .golden import checksum_words
from .tablegen import RouterSetup, Scenario

__all__ = ["FrameGenerator", "RxFrame", "ethernet", "ipv4", "ipv6"]

LEAST = 60
MOST_STANDARD = 1514
ETHERNET_BYTES = 14
IPV4_BYTES = 20
IPV6_BYTES = 40
LINK_LOCAL = 0xFE80 << 112


class RxFrame(NamedTuple):
    """A frame that arrives at a port, without FCS, and what the MAC found wrong with it."""

    port: int
    frame: bytes
    error: RxError = RxError.NONE


def ipv4(source: int, destination: int, payload: bytes, *, ttl: int = 64, ihl: int = 5, version: int = 4,
         options: bytes = b"", total_length: int | None = None, checksum_error: int = 0, identification: int = 0,
         protocol: int = 17) -> bytes:
    """An IPv4 packet; ``checksum_error`` is added to a checksum that would be right."""
    if total_length is None:
        total_length = IPV4_BYTES + len(options) + len(payload)
    header = b"".join((
        bytes((version << 4 | ihl, 0)), total_length.to_bytes(2, "big"), identification.to_bytes(2, "big"), b"\x40\x00",
        bytes((ttl, protocol)), b"\0\0", source.to_bytes(4, "big"), destination.to_bytes(4, "big"), options))
    checksum = (~checksum_words(header) & 0xFFFF) + checksum_error & 0xFFFF
    return header[:10] + checksum.to_bytes(2, "big") + header[12:] + payload


def ipv6(source: int, destination: int, payload: bytes, *, hop_limit: int = 64, version: int = 6,
         next_header: int = 17, payload_length: int | None = None, flow: int = 0) -> bytes:
    """An IPv6 packet; ``flow`` is traffic class and flow label."""
    length = len(payload) if payload_length is None else payload_length
    return b"".join(((version << 28 | flow).to_bytes(4, "big"), length.to_bytes(2, "big"),
                     bytes((next_header, hop_limit)), source.to_bytes(16, "big"), destination.to_bytes(16, "big"),
                     payload))


def ethernet(destination: int, source: int, ethertype: int, payload: bytes, *, least: int = LEAST) -> bytes:
    """An Ethernet frame without FCS, padded with zeros to ``least`` bytes."""
    frame = destination.to_bytes(6, "big") + source.to_bytes(6, "big") + ethertype.to_bytes(2, "big") + payload
    return frame.ljust(least, b"\0")


class FrameGenerator:
    """Makes frames for the routers of a scenario.

    Every frame carries a serial number as the IPv4 identification, or at the start of its payload, and random bytes
    thereafter, so that no two frames are alike.

    Parameters
    ----------
    scenario : Scenario
        Tables of the core under test.
    rng : Random
        Where all choices come from.
    errors : bool
        Also frames that a MAC marks as bad.
    short_frames : bool
        Also good frames that are shorter than Ethernet allows, as a stream without a MAC can deliver.
    """

    def __init__(self, scenario: Scenario, rng: Random, *, errors: bool = True, short_frames: bool = False):
        self.scenario = scenario
        self.config = scenario.config
        self.rng = rng
        self.serial = 0
        self._kinds: list[tuple[Callable[[int], RxFrame], int]] = [
            (self.routed, 40), (self.any_length, 8), (self.bad_ipv4, 12), (self.options, 4), (self.other_ethertype, 4),
            (self.group, 4), (self.arp, 2), (self.ipv6, 30), (self.bad_ipv6, 8), (self.stranger, 4),
        ]
        if short_frames:
            self._kinds.append((self.truncated, 6))
        if errors:
            self._kinds.append((self.bad_at_mac, 6))

    def frames(self, count: int) -> Iterator[RxFrame]:
        """``count`` frames at random ports."""
        functions, weights = zip(*self._kinds, strict=True)
        for _ in range(count):
            yield self.rng.choices(functions, weights)[0](self.rng.randrange(self.config.ports))

    def router(self) -> RouterSetup:
        """Any router."""
        return self.rng.choice(self.scenario.routers)

    def source_mac(self, router: RouterSetup, port: int) -> int:
        """A neighbour's address: mostly the router's peer if there is one, else anything, also another's peer."""
        choice = self.rng.random()
        if choice < 0.8 and router.peers.get(port):
            return self.rng.choice(router.peers[port])
        other = self.router()
        if choice < 0.9 and other.peers.get(port):
            return self.rng.choice(other.peers[port])
        return self.rng.getrandbits(48) & ~(1 << 40)

    def destination_ip(self, router: RouterSetup, *, ipv6: bool = False) -> int:
        """Mostly an address inside one of the router's prefixes."""
        routes = [route for route in router.routes if route.ipv6 == ipv6]
        bits = 128 if ipv6 else 32
        if routes and self.rng.random() < 0.9:
            route = self.rng.choice(routes)
            return route.prefix | self.rng.getrandbits(bits) >> route.length
        return self.rng.getrandbits(bits)

    def payload(self, length: int) -> bytes:
        """Random bytes after the serial number."""
        self.serial += 1
        return (self.serial.to_bytes(4, "big") + self.rng.randbytes(max(0, length - 4)))[:length]

    def _to(self, router: RouterSetup, port: int, ethertype: int, payload: bytes, least: int = LEAST) -> RxFrame:
        return RxFrame(port, ethernet(router.own[port], self.source_mac(router, port), ethertype, payload, least=least))

    def ip_to(self, router: RouterSetup, port: int, length: int, *, destination: int | None = None,
              **fields) -> RxFrame:
        """An IPv4 frame of ``length`` bytes to a router; further arguments as :func:`ipv4` has them."""
        if destination is None:
            destination = self.destination_ip(router)
        payload = self.payload(length - ETHERNET_BYTES - IPV4_BYTES - len(fields.get("options", b"")))
        fields.setdefault("identification", self.serial & 0xFFFF)
        packet = ipv4(self.rng.getrandbits(32), destination, payload, **fields)
        return self._to(router, port, 0x0800, packet, least=0)

    def length(self) -> int:
        """A frame length: the short ones and the longest more often than those between."""
        most = self.config.max_frame - 4
        return self.rng.choice((LEAST, LEAST, self.rng.randint(LEAST, 128), self.rng.randint(LEAST, MOST_STANDARD),
                                MOST_STANDARD, most))

    def routed(self, port: int) -> RxFrame:
        """A good IPv4 frame, mostly with a short payload and sometimes with trailing padding."""
        length = self.length() if self.rng.random() < 0.3 else self.rng.randint(LEAST, 140)
        padding = self.rng.choice((0, 0, 0, self.rng.randint(0, length - ETHERNET_BYTES - IPV4_BYTES)))
        return self.ip_to(self.router(), port, length, ttl=self.rng.choice((2, 64, 255, self.rng.randint(2, 255))),
                          total_length=length - ETHERNET_BYTES - padding)

    def any_length(self, port: int) -> RxFrame:
        """A good IPv4 frame of any length that is allowed."""
        return self.ip_to(self.router(), port, self.rng.randint(LEAST, MOST_STANDARD))

    def bad_ipv4(self, port: int) -> RxFrame:
        """An IPv4 frame with one thing wrong."""
        length = self.rng.randint(LEAST, 100)
        total = length - ETHERNET_BYTES
        fields: dict[str, int] = self.rng.choice((
            {"ttl": 0}, {"ttl": 1}, {"version": self.rng.choice((0, 5, 6, 15))}, {"ihl": self.rng.randint(0, 4)},
            {"checksum_error": self.rng.choice((1, 0xFFFE, 0x100, self.rng.randint(1, 0xFFFE)))},
            {"total_length": total + self.rng.randint(1, 2000)}, {"total_length": self.rng.randint(0, 19)},
            {"ihl": 15, "total_length": self.rng.randint(20, 59)}, {"total_length": 20}, {"total_length": 65535},
            {"ttl": 1, "checksum_error": 1},
        ))
        return self.ip_to(self.router(), port, length, **fields)

    def options(self, port: int) -> RxFrame:
        """An IPv4 frame with options, TTL and checksum sometimes wrong too."""
        words = self.rng.randint(1, 10)
        return self.ip_to(self.router(), port, self.rng.randint(LEAST + 40, 200), ihl=5 + words,
                          options=self.rng.randbytes(4 * words), ttl=self.rng.choice((0, 1, 64)),
                          checksum_error=self.rng.choice((0, 1)))

    def other_ethertype(self, port: int) -> RxFrame:
        """A frame for a router that isn't IP, or that is not even long enough for an EtherType to mean much."""
        ethertype = self.rng.choice((0x0806, 0x8100, 0x88CC, 0x0801, 0x0008, 0x0800, self.rng.getrandbits(16)))
        return self._to(self.router(), port, ethertype, self.payload(self.rng.randint(46, 200)))

    def group(self, port: int) -> RxFrame:
        """A broadcast or multicast frame."""
        destination = self.rng.choice(((1 << 48) - 1, 0x01005E000005, 0x333300000001,
                                       self.rng.getrandbits(48) | 1 << 40))
        payload = self.payload(self.rng.choice((46, 46, self.rng.randint(46, 300))))
        return RxFrame(port, ethernet(destination, self.source_mac(self.router(), port), 0x0800, payload))

    def arp(self, port: int) -> RxFrame:
        """An ARP request to everyone."""
        source = self.source_mac(self.router(), port)
        body = bytes.fromhex("0001080006040001") + source.to_bytes(6, "big") + self.payload(14)
        return RxFrame(port, ethernet((1 << 48) - 1, source, 0x0806, body))

    def ipv6_to(self, router: RouterSetup, port: int, length: int, *, source: int | None = None,
                destination: int | None = None, **fields) -> RxFrame:
        """An IPv6 frame of ``length`` bytes to a router; further arguments as :func:`ipv6`."""
        if destination is None:
            destination = self.destination_ip(router, ipv6=True)
        payload = self.payload(length - ETHERNET_BYTES - IPV6_BYTES)
        packet = ipv6(self.rng.getrandbits(128) if source is None else source, destination, payload,
                      flow=self.rng.getrandbits(28), **fields)
        return self._to(router, port, 0x86DD, packet, least=0)

    def ipv6(self, port: int) -> RxFrame:
        """A good IPv6 frame, sometimes with trailing padding, or of any length."""
        length = self.length() if self.rng.random() < 0.3 else self.rng.randint(LEAST, 140)
        padding = self.rng.choice((0, 0, 0, self.rng.randint(0, length - ETHERNET_BYTES - IPV6_BYTES)))
        hop_limit = self.rng.choice((2, 64, 255, self.rng.randint(2, 255)))
        return self.ipv6_to(self.router(), port, length, hop_limit=hop_limit,
                            payload_length=length - ETHERNET_BYTES - IPV6_BYTES - padding,
                            next_header=self.rng.choice((6, 17, 43, 44, 58, 60)))

    def bad_ipv6(self, port: int) -> RxFrame:
        """An IPv6 frame with something that is not for the fast path, or wrong."""
        length = self.rng.randint(LEAST, 100)
        link_local = LINK_LOCAL | self.rng.getrandbits(118)
        return self.ipv6_to(self.router(), port, length, **self.rng.choice((
            {"hop_limit": 0}, {"hop_limit": 1}, {"version": self.rng.choice((0, 4, 5, 7, 15))}, {"next_header": 0},
            {"payload_length": length - ETHERNET_BYTES - IPV6_BYTES + self.rng.randint(1, 2000)},
            {"payload_length": 65535}, {"payload_length": 0}, {"destination": link_local}, {"source": link_local},
            {"next_header": 0, "hop_limit": 1}, {"source": link_local, "destination": link_local ^ 1 << 118},
            {"destination": link_local, "hop_limit": 0},
        )))

    def stranger(self, port: int) -> RxFrame:
        """A frame for a MAC address that no router has on this port."""
        router = self.router()
        elsewhere = [mac for at, mac in router.own.items() if at != port] or [0x02FFFFFFFFFF]
        destination = self.rng.choice((self.rng.getrandbits(48) & ~(1 << 40), self.rng.choice(elsewhere),
                                       router.own[port] ^ 1 << self.rng.randrange(40)))
        return RxFrame(port, ethernet(destination, self.source_mac(router, port), 0x0800, self.payload(46)))

    def truncated(self, port: int) -> RxFrame:
        """An IP frame cut anywhere before the 60 bytes that a wire can carry."""
        make = self.rng.choice((self.ip_to, self.ipv6_to))
        return RxFrame(port, make(self.router(), port, LEAST).frame[:self.rng.randint(1, LEAST - 1)])

    def bad_at_mac(self, port: int) -> RxFrame:
        """A frame that a MAC marks: wrong FCS, error from the PHY, too short or too long."""
        frame = self.routed(port).frame
        error = self.rng.choice((RxError.FCS, RxError.PHY, RxError.LENGTH))
        if error == RxError.LENGTH:
            if self.rng.random() < 0.7:
                frame = frame[:self.rng.randint(1, LEAST - 1)]
            else:
                frame = frame.ljust(self.config.max_frame - 4 + self.rng.randint(1, 30), b"\x55")
        return RxFrame(port, frame, error)
