"""Filter rules of the bench, the traffic that they are for, and what they make of it."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count, islice
from random import Random
from typing import NamedTuple

from ...hdl.config import CoreConfig
from ...hdl.layouts import FILTER_KEY, POLICER_ROW, RATE_FRACTION, FilterAction, HitStat, Table, TrafficClass
from ...hdl.policers import policer_cycles
from ...host.tables.policy import Bucket, FilterRule, exact, prefix
from ...host.tables.rates import LARGEST_BURST
from ..golden_packet import ETHERTYPE_IPV4, ETHERTYPE_IPV6, TCP, UDP
from ..host_frames import Op
from ..packets import ETHERNET_BYTES, IPV4_BYTES, UDP_BYTES, ethernet, ipv4, segment
from ..tablegen import own_mac
from .script import BenchFrame, Outcome
from .tables import BenchRouter
from .traffic import SHORTEST, SOURCE_IPV4, SOURCE_MAC, TTL, Destinations, line_rate_slots

__all__ = ["FilteredTraffic", "Packet", "ample", "costly_rules", "live_rules", "outcomes"]

#: Ports of the traffic that no rule is for.
_USUAL_PORTS = range(1024, 32768)
#: Part of the traffic that is made for a rule.
_MARKED = 0.5
#: Of a router's rules, how many are for its traffic: one in so many, and at least one.
_LIVE = 3


class Packet(NamedTuple):
    """A UDP datagram over IPv4 in an untagged frame; the names are those of ``FILTER_KEY``."""

    port: int                   # that it comes in by
    dmac: int
    smac: int
    ip_source: int
    ip_destination: int
    tos: int
    l4_source: int
    l4_destination: int
    ttl: int = TTL

    def frame(self, length: int = SHORTEST) -> bytes:
        """The frame, of so many bytes without FCS. UDP's checksum is zero, none."""
        payload = bytes(length - ETHERNET_BYTES - IPV4_BYTES - UDP_BYTES)
        datagram = segment(UDP, self.ip_source, self.ip_destination, (self.l4_source, self.l4_destination), payload,
                           has_checksum=False)
        packet = ipv4(self.ip_source, self.ip_destination, datagram, ttl=self.ttl, tos=self.tos)
        return ethernet(self.dmac, self.smac, ETHERTYPE_IPV4, packet)

    def matches(self, rule: FilterRule) -> bool:
        """Whether it is as a rule says, field by field."""
        constant = {"ethertype": ETHERTYPE_IPV4, "protocol": UDP}
        return all(constant.get(name, getattr(self, name, 0)) & mask == value & mask
                   for name, value, mask in rule.match)


#: Bytes that a rule may change.
_HEADERS = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES


def outcomes(router: BenchRouter, packet: Packet, rule: FilterRule | None) -> tuple[Outcome, ...]:
    """What must become of a packet by the first rule that it matches; nothing if it is dropped."""
    if rule is not None and rule.action == FilterAction.DROP:
        return ()
    if rule is not None and rule.action == FilterAction.SEND:
        egress, = rule.ports
    else:
        hop = router.lookup(packet.ip_destination)
        assert hop is not None
        egress = hop.port
        packet = packet._replace(dmac=hop.mac, smac=router.own(egress), ttl=packet.ttl - 1)
    if rule is not None:
        packet = packet._replace(**dict(rule.changes))
    return Outcome(egress, packet.frame()[:_HEADERS]),


def ample(config: CoreConfig) -> Bucket:
    """A policer that lets pass twice what all lines bring, or as much as there is a rate for."""
    register = 2 * config.wired_ports * policer_cycles(config) << RATE_FRACTION
    return Bucket(min(register, (1 << POLICER_ROW["rate"].width) - 1), LARGEST_BURST)


def costly_rules(router: BenchRouter, rng: Random) -> Iterator[FilterRule]:
    """Rules of all kinds that none of the bench's packets matches; without end."""
    def random(name: str) -> int:
        return rng.getrandbits(FILTER_KEY[name].width)

    others = [own_mac(number, port) for number in range(router.config.routers) for port in
              range(router.config.wired_ports) if number != router.number] or [SOURCE_MAC]
    never: list[Callable[[], tuple[tuple[str, int, int], ...]]] = [
        lambda: (exact("dmac", rng.choice(others)),),
        lambda: (exact("smac", random("smac") | 1),),
        lambda: (exact("tagged", 1), exact("vid", random("vid"))),
        lambda: (prefix("ip_source", 10 << 24 | random("ip_source") >> 8, rng.randint(8, 32)),),
        lambda: (exact("ethertype", ETHERTYPE_IPV6),
                 prefix("ip_destination", random("ip_destination"), rng.randint(0, 32))),
        lambda: (exact("protocol", TCP), exact("l4_destination", random("l4_destination"))),
        lambda: (exact("l4_source", rng.randrange(_USUAL_PORTS.start)),),
    ]
    while True:
        match = {condition[0]: condition for condition in (*_sometimes(rng), *rng.choice(never)())}
        yield FilterRule(tuple(match.values()), rng.choice(list(FilterAction)),
                         ports=(rng.randrange(router.config.wired_ports),), changes=(("tos", random("tos")),))


def _sometimes(rng: Random) -> Iterator[tuple[str, int, int]]:
    """Conditions that a packet may meet, besides those that it never does."""
    if rng.random() < 0.3:
        yield prefix("ip_destination", rng.getrandbits(32), rng.randint(1, 4))
    if rng.random() < 0.3:
        yield prefix("tos", rng.getrandbits(8), rng.randint(1, 3))


def live_rules(router: BenchRouter, rng: Random, police: Bucket | None) -> Iterator[FilterRule]:
    """Rules that traffic is made for, every kind in turn; without end.

    They permit, count, and change class, type of service, addresses and ports; send; drop; and the first one polices if
    ``police`` is given.
    """
    kinds: list[Callable[[], FilterRule]] = [
        lambda: FilterRule(),
        lambda: FilterRule(traffic_class=TrafficClass.CONTROL),
        lambda: FilterRule(changes=(("tos", rng.getrandbits(8)),)),
        lambda: FilterRule(action=FilterAction.SEND, ports=(rng.randrange(router.config.wired_ports),),
                           changes=(("dmac", SOURCE_MAC | rng.getrandbits(16)),)),
        lambda: FilterRule(action=FilterAction.DROP),
        lambda: FilterRule(changes=(("ip_destination", rng.getrandbits(32)), ("l4_destination", rng.getrandbits(16)))),
        lambda: FilterRule(changes=(("ip_source", rng.getrandbits(32)), ("smac", SOURCE_MAC | rng.getrandbits(16)))),
    ]
    marks: list[Callable[[], tuple[tuple[str, int, int], ...]]] = [
        lambda: (exact("l4_destination", rng.randrange(_USUAL_PORTS.stop, 1 << 16)),),
        lambda: (exact("tos", rng.randrange(1, 256)),),
        lambda: (prefix("ip_source", rng.randrange(11, 224) << 24 | 1, rng.randint(24, 32)),),
        lambda: (prefix("tos", rng.randrange(1, 256), 6),
                 prefix("l4_source", rng.randrange(_USUAL_PORTS.stop, 1 << 16), 12)),
    ]
    for number in count(router.number):
        rule = replace(kinds[number % len(kinds)](), match=rng.choice(marks)())
        yield replace(rule, police=police) if number == router.number else rule


class FilteredTraffic:
    """Rules for all routers, and frames at line rate for them, with what the rules must have counted.

    Half of the frames are made for a rule; which one a frame really matches is found out by comparing it with all.

    Parameters
    ----------
    routers : Sequence[BenchRouter]
        Get their rules, as many as each has room for, and every other one policers.
    rng : Random
        Where all choices come from.

    Attributes
    ----------
    hits : Counter[tuple[int, int]]
        Frames made so far by router and rule that they match.
    dropped : int
        Frames made so far that a rule drops.
    """

    def __init__(self, routers: Sequence[BenchRouter], rng: Random):
        self._rng = rng
        self._routers = routers
        self._live: dict[int, list[FilterRule]] = {}
        self.hits: Counter[tuple[int, int]] = Counter()
        self.dropped = 0
        for router in routers:
            room = router.filter_room
            police = ample(router.config) if router.number % 2 == 0 else None
            live = list(islice(live_rules(router, rng, police), -(-room // _LIVE)))
            rules = [*live, *islice(costly_rules(router, rng), room - len(live))]
            rng.shuffle(rules)
            router.rules, router.policer, self._live[router.number] = rules, police, live

    def frames(self, slots: int, *, drops: bool) -> Iterator[BenchFrame]:
        """Shortest frames in slots, as :func:`.traffic.line_rate_frames`.

        Without ``drops``, none is dropped, and as many go out of every port as come in; with them, where one is
        dropped, its egress port has a gap.

        Raises
        ------
        ValueError
            If no router has routes to all ports.
        """
        for port, egress, pool in line_rate_slots([Destinations(router, self._rng) for router in self._routers], slots,
                                                  self._rng):
            yield self._frame(pool, port, egress, drops)

    def _frame(self, pool: Destinations, port: int, egress: int, drops: bool) -> BenchFrame:
        router, rng = pool.router, self._rng
        while True:
            address, _ = rng.choice(pool.by_port[egress])
            packet = Packet(port, router.own(port), SOURCE_MAC, SOURCE_IPV4, address, 0, rng.choice(_USUAL_PORTS),
                            rng.choice(_USUAL_PORTS))
            live = self._live[router.number]
            if live and rng.random() < _MARKED:
                # Often for two, of which the first one counts.
                for rule in rng.choices(live, k=2):
                    packet = packet._replace(**{name: value & mask | getattr(packet, name) & ~mask
                                                for name, value, mask in rule.match})
            row = next((row for row, rule in enumerate(router.rules) if packet.matches(rule)), None)
            found = outcomes(router, packet, None if row is None else router.rules[row])
            if found[0].port == egress if found else drops:
                break
        if row is not None:
            self.hits[router.number, row] += 1
        self.dropped += not found
        return BenchFrame(port, 0, packet.frame(), found)

    def reads(self) -> list[Op]:
        """Accesses that read all hit counters."""
        return [Op.read(Table.HIT, number, row * len(HitStat) + stat) for number, row, stat, _ in self._counters()]

    def wrong(self, found: Sequence[int]) -> int:
        """How many hit counters are not as they must be; ``found`` is what ``reads`` found."""
        return sum(value != wanted for value, (*_, wanted) in zip(found, self._counters(), strict=True))

    def _counters(self) -> Iterator[tuple[int, int, HitStat, int]]:
        for router in self._routers:
            for row in range(len(router.rules)):
                frames = self.hits[router.number, row]
                yield router.number, row, HitStat.FRAMES, frames
                yield router.number, row, HitStat.BYTES, frames * SHORTEST
