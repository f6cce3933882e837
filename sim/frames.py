"""Seeded random frames for a scenario: every path through the pipeline, and every way for a frame to be bad."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple

from polyrouter.hdl.config import MAX_FRAME_STANDARD
from polyrouter.hdl.layouts import ADJACENCY_MULTICAST, HostFrameType, RouterMode, RxError, TunnelKind, unpack
from polyrouter.hdl.mac.gmii import FCS_BYTES

from .golden_packet import GRE, UDP, VXLAN_PORT, untagged
from .host_frames import HostFrame
from .packets import ETHERNET_BYTES, IPV4_BYTES, IPV6_BYTES, LEAST, ethernet, ipv4, ipv6, l4_bytes, segment, with_tag
from .random_filter import ETHERTYPES, L4_PORTS, PROTOCOLS, TOS
from .random_links import ENDS, KEYS, tunnel_end
from .tablegen import Group, RouterSetup, Scenario

__all__ = ["FrameGenerator", "RxFrame", "ethernet", "ipv4", "ipv6"]

TAG_BYTES = 4
SERIAL_BYTES = 4
GROUP_BIT = 1 << 40
BROADCAST = (1 << 48) - 1
RESERVED_GROUP = 0x0180C2000000
LINK_LOCAL = 0xFE80 << 112
MOST_STANDARD = MAX_FRAME_STANDARD - FCS_BYTES


class RxFrame(NamedTuple):
    """A frame that arrives at a port, without FCS, and what the MAC found wrong with it."""

    port: int
    frame: bytes
    error: RxError = RxError.NONE


class FrameGenerator:
    """Makes frames for the routers of a scenario.

    Every frame carries a serial number at the start of its innermost payload, as far as there is room, and random bytes
    thereafter, so that hardly any two frames are alike.

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
            (self.routed, 40), (self.any_length, 8), (self.bad_ipv4, 14), (self.options, 5), (self.fragment, 4),
            (self.other_ethertype, 4), (self.group, 6), (self.arp, 2), (self.ipv6, 30), (self.bad_ipv6, 8),
            (self.multicast, 20), (self.stranger, 4),
        ]
        if short_frames:
            self._kinds.append((self.truncated, 6))
        if errors:
            self._kinds.append((self.bad_at_mac, 6))
        #: Frames for which there is always a router, whatever the port.
        self._usual = [(self.routed, 4), (self.ipv6, 3), (self.other_ethertype, 1), (self.group, 2), (self.arp, 1),
                       (self.multicast, 4)]
        if scenario.links.links:
            self._kinds += [(self.bridged, 30), (self.tunnel, 30)]
        self._aim: RouterSetup | None = None

    def frames(self, count: int) -> Iterator[RxFrame]:
        """``count`` frames at random ports."""
        functions, weights = zip(*self._kinds, strict=True)
        for _ in range(count):
            yield self.rng.choices(functions, weights)[0](self.rng.randrange(self.config.wired_ports))

    # Parts

    def router(self, port: int | None = None) -> RouterSetup:
        """Any router; with ``port``, mostly one that is on it, and a routed one more often than others."""
        if self._aim is not None:
            return self._aim
        if port is None or self.rng.random() < 0.1:
            return self.rng.choice(self.scenario.routers)
        here = [router for router in self.scenario.routers if router.context["ports"] >> port & 1 and (
            router.mode == RouterMode.ROUTED or (port in dict(router.segments) and self.rng.random() < 0.5))]
        return self.rng.choice(here or self.scenario.routers)

    def source_mac(self, router: RouterSetup, port: int) -> int:
        """A neighbour's address: mostly the router's peer if there is one, else anything, also another's peer."""
        choice = self.rng.random()
        if choice < 0.8 and router.peers.get(port):
            return self.rng.choice(router.peers[port])
        other = self.router()
        if choice < 0.9 and other.peers.get(port):
            return self.rng.choice(other.peers[port])
        if choice < 0.95 and router.known:
            return self.rng.choice(sorted(router.known))
        return self.rng.getrandbits(48) & ~GROUP_BIT

    def group_mac(self) -> int:
        """Broadcast, or a group that may be one of IP, or of bridges."""
        return self.rng.choice((BROADCAST, 0x01005E000005, 0x333300000001, RESERVED_GROUP | self.rng.getrandbits(4),
                                self.rng.getrandbits(48) | GROUP_BIT))

    def destination_mac(self, router: RouterSetup, port: int) -> int:
        """The router's own address; for a bridge or a switch mostly another."""
        if router.mode == RouterMode.ROUTED or self.rng.random() < 0.1:
            return router.own[port]
        if router.known and self.rng.random() < 0.5:
            return self.rng.choice(sorted(router.known))
        return self.group_mac() if self.rng.random() < 0.4 else self.rng.getrandbits(48) & ~GROUP_BIT

    def tagged(self, router: RouterSetup, port: int, frame: bytes) -> bytes:
        """The frame with the tag that it needs to reach a router, or with another, or two."""
        if len(frame) + 2 * TAG_BYTES > self.config.max_frame - FCS_BYTES:
            return frame
        vid, choice = self.rng.choice(router.places(port) or [0]), self.rng.random()
        if router.mode != RouterMode.ROUTED or choice < 0.2:
            vid = self.rng.choice([vid, *(other for at, other in router.segments if at == port)])
        if choice < 0.06:
            vid = self.rng.choice((0, 1, 2, 100, self.rng.getrandbits(12)))
        if vid == 0 and choice < 0.88:
            return frame
        frame = with_tag(frame, vid | self.rng.getrandbits(4) << 12)
        return with_tag(frame, vid) if choice > 0.98 else frame

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
        return (self.serial.to_bytes(SERIAL_BYTES, "big") + self.rng.randbytes(max(0, length - SERIAL_BYTES)))[:length]

    def transport(self, protocol: int, source: int, destination: int, length: int, *, ipv6: bool = False) -> bytes:
        """A segment of ``length`` bytes, with its header if there is room for it and a serial number."""
        header = l4_bytes(protocol)
        if length < header + SERIAL_BYTES:
            return self.payload(length)
        return segment(protocol, source, destination, (self.rng.choice(L4_PORTS), self.rng.choice(L4_PORTS)),
                       self.payload(length - header), ipv6=ipv6, has_checksum=self.rng.random() < 0.9)

    def length(self) -> int:
        """A frame length: the short ones and the longest more often than those between."""
        most = self.config.max_frame - FCS_BYTES
        return self.rng.choice((LEAST, LEAST, self.rng.randint(LEAST, 128), self.rng.randint(LEAST, MOST_STANDARD),
                                MOST_STANDARD, most))

    def usual_length(self) -> int:
        """Mostly short."""
        return self.length() if self.rng.random() < 0.3 else self.rng.randint(LEAST, 140)

    # Frames for a router

    def emit(self, router: RouterSetup, port: int, ethertype: int, payload: bytes, *, least: int = LEAST,
             dmac: int | None = None) -> RxFrame:
        """A frame for a router."""
        destination = self.destination_mac(router, port) if dmac is None else dmac
        frame = ethernet(destination, self.source_mac(router, port), ethertype, payload, least=least)
        return RxFrame(port, self.tagged(router, port, frame))

    def ip_to(self, router: RouterSetup, port: int, length: int, *, source: int | None = None,
              destination: int | None = None, padding: int = 0, dmac: int | None = None, **fields) -> RxFrame:
        """An IPv4 frame of ``length`` bytes and a tag to a router; further arguments as :func:`.packets.ipv4`."""
        source = self.rng.getrandbits(32) if source is None else source
        destination = self.destination_ip(router) if destination is None else destination
        fields.setdefault("protocol", self.rng.choice(PROTOCOLS))
        fields.setdefault("tos", self.rng.choice(TOS))
        room = length - ETHERNET_BYTES - IPV4_BYTES - len(fields.get("options", b"")) - padding
        if padding:
            fields["total_length"] = length - ETHERNET_BYTES - padding
        payload = self.transport(fields["protocol"], source, destination, room) + self.rng.randbytes(padding)
        fields.setdefault("identification", self.serial & 0xFFFF)
        packet = ipv4(source, destination, payload, **fields)
        return self.emit(router, port, 0x0800, packet, least=0, dmac=dmac)

    def ipv6_to(self, router: RouterSetup, port: int, length: int, *, source: int | None = None,
                destination: int | None = None, padding: int = 0, dmac: int | None = None, **fields) -> RxFrame:
        """An IPv6 frame of ``length`` bytes and a tag to a router; further arguments as :func:`.packets.ipv6`."""
        source = self.rng.getrandbits(128) if source is None else source
        destination = self.destination_ip(router, ipv6=True) if destination is None else destination
        fields.setdefault("next_header", self.rng.choice((6, 17, *PROTOCOLS[:5], 43, 44, 60)))
        room = length - ETHERNET_BYTES - IPV6_BYTES - padding
        if padding:
            fields["payload_length"] = room
        payload = self.transport(fields["next_header"], source, destination, room, ipv6=True)
        flow = self.rng.choice(TOS) << 20 | self.rng.getrandbits(20)
        packet = ipv6(source, destination, payload + self.rng.randbytes(padding), flow=flow, **fields)
        return self.emit(router, port, 0x86DD, packet, least=0, dmac=dmac)

    def _padding(self, length: int, header: int) -> int:
        return self.rng.choice((0, 0, 0, self.rng.randint(0, length - ETHERNET_BYTES - header)))

    def routed(self, port: int) -> RxFrame:
        """A good IPv4 frame, mostly with a short payload and sometimes with trailing padding."""
        length = self.usual_length()
        return self.ip_to(self.router(port), port, length, ttl=self.rng.choice((2, 64, 255, self.rng.randint(2, 255))),
                          padding=self._padding(length, IPV4_BYTES))

    def any_length(self, port: int) -> RxFrame:
        """A good IPv4 frame of any length that is allowed."""
        return self.ip_to(self.router(port), port, self.rng.randint(LEAST, MOST_STANDARD))

    def fragment(self, port: int) -> RxFrame:
        """A fragment: the first, a later or the last one."""
        return self.ip_to(self.router(port), port, self.usual_length(),
                          fragment=self.rng.choice((0x2000, 0x2000 | self.rng.getrandbits(13),
                                                    self.rng.randint(1, 0x1FFF))))

    def bad_ipv4(self, port: int) -> RxFrame:
        """An IPv4 frame with one thing wrong."""
        length = self.rng.randint(LEAST, 100)
        total = length - ETHERNET_BYTES
        fields: dict[str, int] = self.rng.choice((
            {"ttl": 0}, {"ttl": 1}, {"version": self.rng.choice((0, 5, 6, 15))}, {"ihl": self.rng.randint(0, 4)},
            *[{"checksum_error": self.rng.choice((1, 0xFFFE, 0x100, self.rng.randint(1, 0xFFFE)))}] * 3,
            {"total_length": total + self.rng.randint(1, 2000)}, {"total_length": self.rng.randint(0, 19)},
            {"ihl": 15, "total_length": self.rng.randint(20, 59)}, {"total_length": 20}, {"total_length": 65535},
            {"total_length": self.rng.randint(20, 40)}, {"ttl": 1, "checksum_error": 1},
        ))
        return self.ip_to(self.router(port), port, length, **fields)

    def options(self, port: int) -> RxFrame:
        """An IPv4 frame with options, TTL and checksum sometimes wrong too."""
        words = self.rng.randint(1, 10)
        return self.ip_to(self.router(port), port, self.rng.randint(LEAST + 40, 200), ihl=5 + words,
                          options=self.rng.randbytes(4 * words), ttl=self.rng.choice((0, 1, 64)),
                          checksum_error=self.rng.choice((0, 1)))

    def ipv6(self, port: int) -> RxFrame:
        """A good IPv6 frame, sometimes with trailing padding, or of any length."""
        length = self.usual_length()
        return self.ipv6_to(self.router(port), port, length,
                            hop_limit=self.rng.choice((2, 64, 255, self.rng.randint(2, 255))),
                            padding=self._padding(length, IPV6_BYTES))

    def bad_ipv6(self, port: int) -> RxFrame:
        """An IPv6 frame with something that is not for the fast path, or wrong."""
        length = self.rng.randint(LEAST, 100)
        link_local = LINK_LOCAL | self.rng.getrandbits(118)
        return self.ipv6_to(self.router(port), port, length, **self.rng.choice((
            {"hop_limit": 0}, {"hop_limit": 1}, {"version": self.rng.choice((0, 4, 5, 7, 15))}, {"next_header": 0},
            {"payload_length": length - ETHERNET_BYTES - IPV6_BYTES + self.rng.randint(1, 2000)},
            {"payload_length": 65535}, {"payload_length": 0}, {"destination": link_local}, {"source": link_local},
            {"next_header": 0, "hop_limit": 1}, {"source": link_local, "destination": link_local ^ 1 << 118},
            {"destination": link_local, "hop_limit": 0}, {"payload_length": self.rng.randint(0, 4)},
        )))

    def other_ethertype(self, port: int) -> RxFrame:
        """A frame for a router that isn't IP, or that is not even long enough for an EtherType to mean much."""
        ethertype = self.rng.choice((*ETHERTYPES, 0x8100, 0x0801, 0x0008, 0x0800, self.rng.getrandbits(16)))
        return self.emit(self.router(port), port, ethertype, self.payload(self.rng.randint(46, 200)))

    # Frames for several, or for none

    def group(self, port: int) -> RxFrame:
        """A broadcast or multicast frame, of IP or not."""
        router, length = self.router(port), self.rng.choice((LEAST, LEAST, self.rng.randint(LEAST, 300)))
        make = self.rng.choice((self.ip_to, self.ipv6_to))
        return make(router, port, length, dmac=self.group_mac(), destination=self.rng.choice((
            None, 0xE0000005, 0xEF010203, 0xFF02 << 112 | 1, 0xFF05 << 112 | 2)) if make == self.ipv6_to else
            self.rng.choice((None, 0xE0000005, 0xEF010203, 0xFFFFFFFF)))

    def arp(self, port: int) -> RxFrame:
        """An ARP request to everyone."""
        router = self.router(port)
        body = bytes.fromhex("0001080006040001") + self.payload(20)
        return self.emit(router, port, 0x0806, body, dmac=BROADCAST)

    def multicast(self, port: int) -> RxFrame:
        """An IP multicast packet for a group of a router, mostly from a right source, and often on the right port."""
        having = [router for router in self.scenario.routers if router.groups and self._aim in (None, router)]
        fit = [router for router in having if router.mode == RouterMode.ROUTED and router.context.get("multicast")]
        having = fit if fit and self.rng.random() < 0.9 else having
        if not having:
            return self.group(port)
        router = self.rng.choice(having)
        group = self.rng.choice(router.groups)
        route = self.rng.choice(group.sources)
        bits = route.bits
        source = route.prefix | self.rng.getrandbits(bits) >> route.length
        if self.rng.random() < 0.1:
            source = LINK_LOCAL if group.ipv6 else self.rng.getrandbits(bits)
        destination = group.address | self.rng.getrandbits(bits) >> group.length
        # Where it finds the router at all
        there = [at for at in range(self.config.wired_ports) if router.context["ports"] >> at & 1
                 and (router.peers.get(at) or at in dict(router.segments))]
        right = unpack(ADJACENCY_MULTICAST, router.adjacencies[route.adjacency])["port"]
        if port == self.config.link_port:
            pass
        elif right in there and self.rng.random() < 0.5:
            port = right
        elif there and self.rng.random() < 0.8:
            port = self.rng.choice(there)
        return self._to_group(router, port, group, source, destination)

    def _to_group(self, router: RouterSetup, port: int, group: Group, source: int, destination: int) -> RxFrame:
        length = self.usual_length()
        hops = self.rng.choice((1, 2, 64, 64, 64, 255))
        if group.ipv6:
            return self.ipv6_to(router, port, length, source=source, destination=destination, hop_limit=hops,
                                padding=self._padding(length, IPV6_BYTES),
                                dmac=0x3333 << 32 | destination & 0xFFFFFFFF)
        return self.ip_to(router, port, length, source=source, destination=destination, ttl=hops,
                          dmac=0x01005E << 24 | destination & 0x7FFFFF,
                          checksum_error=self.rng.choice((0, 0, 0, 0, 0, 1)),
                          fragment=self.rng.choice((0x4000, 0, 0, 0x2000)))

    # Frames for the link port

    def bridged(self, port: int) -> RxFrame:
        """A frame for a router that owns a VLAN of the port: a bridge, most often."""
        here = [router for router in self.scenario.routers
                if router.mode != RouterMode.ROUTED and any(at == port for at, _ in router.segments)]
        if not here:
            return self.routed(port)
        return self.aimed(self.rng.choice(here), port)

    def aimed(self, router: RouterSetup, port: int) -> RxFrame:
        """A frame of any usual kind for a router."""
        functions, weights = zip(*self._usual, strict=True)
        self._aim, before = router, self._aim
        try:
            return self.rng.choices(functions, weights)[0](port)
        finally:
            self._aim = before

    def inner(self, circuit: int | None) -> bytes:
        """A frame as it comes in on a circuit, without a tag of its own more often than not."""
        link_port = self.config.link_port
        assert link_port is not None
        taker = self.scenario.links.takers.get(circuit or 0, self.rng.randrange(self.config.routers))
        frame = self.aimed(self.scenario.routers[taker], link_port).frame
        return frame if self.rng.random() < 0.05 else untagged(frame)[0]

    def tunnel(self, port: int) -> RxFrame:
        """A packet of a tunnel that ends at a router, or one with something wrong."""
        rng, ends = self.rng, self.scenario.links.ends
        if not ends:
            return self.routed(port)
        (number, kind, key, remote), circuit = rng.choice(sorted(ends.items()))
        router = self.scenario.routers[number]
        on = [at for at in range(self.config.wired_ports) if router.context["ports"] >> at & 1]
        port = rng.choice(on) if on and rng.random() < 0.9 else port
        wrong = rng.random() < 0.3
        if wrong and rng.random() < 0.3:
            key, remote = rng.choice(((rng.choice(KEYS), remote), (key ^ 1 << rng.randrange(32), remote),
                                      (key, remote ^ 1), (key, rng.getrandbits(32))))
            wrong = False
        inner = self.inner(circuit)
        if wrong and rng.random() < 0.2:
            inner, wrong = inner[:rng.randrange(16)], False
        padding = rng.randbytes(rng.choice((0, 0, 1, 20)))
        payload = self._outer(kind, key, inner, wrong=wrong and rng.random() < 0.7)
        fields: dict[str, Any] = {}
        if wrong:
            fields = rng.choice(({}, {"fragment": 0x2000}, {"fragment": rng.randint(1, 0x1FFF)}, {"checksum_error": 1},
                                 {"ttl": 0}, {"protocol": rng.choice(PROTOCOLS)}, {"options": bytes(4), "ihl": 6},
                                 {"total_length": 5000}))
        fields = {"protocol": GRE if kind == TunnelKind.GRE else UDP, "ttl": rng.choice((1, 64)),
                  "total_length": IPV4_BYTES + len(fields.get("options", b"")) + len(payload), **fields}
        packet = ipv4(remote, tunnel_end(number, rng.randrange(ENDS)), payload + padding, **fields)
        room = self.config.max_frame - FCS_BYTES - ETHERNET_BYTES
        return self.emit(router, port, 0x0800, packet[:room], dmac=router.own[port])

    def _outer(self, kind: int, key: int, inner: bytes, *, wrong: bool) -> bytes:
        """What is behind the IPv4 header of a tunnel's packet; with ``wrong``, one bit or field of it may be wrong."""
        rng = self.rng
        ignored = rng.getrandbits(32) if rng.random() < 0.3 else 0
        if kind == TunnelKind.GRE:
            flags, protocol = 0x2000 | ignored & 0x03F8, 0x6558
            if wrong:
                flags, protocol = rng.choice(((flags ^ 1 << rng.randrange(16), protocol), (flags, 0x0800), (0, 0x6558)))
            return flags.to_bytes(2, "big") + protocol.to_bytes(2, "big") + key.to_bytes(4, "big") + inner
        flags, port = 0x08 | ignored & 0xF7, VXLAN_PORT
        if wrong:
            flags, port = rng.choice(((flags & 0xF7, port), (flags, port + 1)))
        head = b"".join(part.to_bytes(2, "big") for part in (rng.getrandbits(16), port, 16 + len(inner),
                                                             rng.choice((0, rng.getrandbits(16)))))
        return b"".join((head, bytes((flags,)), (ignored >> 8).to_bytes(3, "big"),
                         (key & 0xFFFFFF).to_bytes(3, "big"), bytes((ignored & 0xFF,)), inner))

    def injected_at_link(self, source: bytes) -> bytes:
        """A frame that the host injects at the link port, mostly on a circuit of its sender."""
        rng, link_port, links = self.rng, self.config.link_port, self.scenario.links.links
        assert link_port is not None
        circuit = rng.choice(sorted(links))
        sender = links[circuit]["router"] if rng.random() < 0.9 else rng.randrange(self.config.routers)
        frame = self.inner(links[circuit].get("peer"))
        if rng.random() < 0.05:
            circuit = rng.getrandbits(12)
        if rng.random() < 0.9:
            frame = with_tag(frame, circuit | rng.getrandbits(4) << 12)
        frame = frame[:self.config.max_frame - FCS_BYTES]
        return HostFrame.inject(sender, link_port, frame, source=source).to_bytes()

    def stranger(self, port: int) -> RxFrame:
        """A frame for a MAC address that no router has on this port."""
        router = self.router()
        elsewhere = [mac for at, mac in router.own.items() if at != port] or [0x02FFFFFFFFFF]
        destination = self.rng.choice((self.rng.getrandbits(48) & ~GROUP_BIT, self.rng.choice(elsewhere),
                                       router.own[port] ^ 1 << self.rng.randrange(40)))
        return self.emit(router, port, 0x0800, self.payload(46), dmac=destination)

    def truncated(self, port: int) -> RxFrame:
        """An IP frame cut anywhere before the 60 bytes that a wire can carry."""
        make = self.rng.choice((self.ip_to, self.ipv6_to))
        return RxFrame(port, make(self.router(port), port, LEAST).frame[:self.rng.randint(1, LEAST - 1)])

    def bad_at_mac(self, port: int) -> RxFrame:
        """A frame that a MAC marks: wrong FCS, error from the PHY, too short or too long."""
        frame = self.routed(port).frame
        error = self.rng.choice((RxError.FCS, RxError.PHY, RxError.LENGTH))
        if error == RxError.LENGTH:
            if self.rng.random() < 0.7:
                frame = frame[:self.rng.randint(1, LEAST - 1)]
            else:
                frame = frame.ljust(self.config.max_frame - FCS_BYTES + self.rng.randint(1, 30), b"\x55")
        return RxFrame(port, frame, error)

    def host_frame(self, source: bytes) -> bytes:
        """Mostly an INJECT, tagged or not, sometimes something malformed."""
        rng, config = self.rng, self.config
        if self.scenario.links.links and rng.random() < 0.6:
            return self.injected_at_link(source)
        frame = self.payload(rng.choice((14, 60, rng.randint(14, 300))))
        if rng.random() < 0.4:
            frame = with_tag(frame, rng.getrandbits(16))
        inject = HostFrame.inject(rng.randrange(config.routers), rng.randrange(config.ports), frame, source=source)
        if rng.random() < 0.3:
            for name, value in rng.choice((
                {"version": 2}, {"ethertype": 0x0800}, {"type": HostFrameType.PUNT}, {"type": 9},
                {"port": config.ports}, {"length": len(frame) + 100}, {"length": 13}, {"router": config.routers},
                {"router": 65535}, {"type": HostFrameType.REQUEST, "length": 8},
                {"type": HostFrameType.REQUEST, "length": 0}, {"type": HostFrameType.RESPONSE},
            )).items():
                setattr(inject, name, value)
        octets = inject.to_bytes()
        return octets if rng.random() < 0.9 else octets[:rng.randint(14, 31)]
