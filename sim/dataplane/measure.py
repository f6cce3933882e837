"""The measurements: each makes tables and traffic, runs them through a Verilated core, and judges what comes out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random

from ...hdl.config import MAX_FRAME_STANDARD, CoreConfig
from ...hdl.mac import gmii
from ...host.tables.windows import most_filter_rules
from .build import HARNESS
from .filters import FilteredTraffic, costly_rules
from .script import PARTS, BenchFrame, Fate, Phase, PhaseResult, run_script
from .tables import BenchRouter, Hop, Prefix, Requests, deep_pairs, fill, nested, router_config, table_writes
from .traffic import SHORTEST, Destinations, line_bytes, line_rate_frames, routed

__all__ = ["LINE_HZ", "LINE_MPPS", "Headroom", "Isolation", "Latency", "Prefixes", "Throughput", "filled_routers",
           "filter_limit", "hitless", "hitless_wrong", "headroom", "ipv6_worst", "isolation", "latency", "throughput"]

#: Clock of a GMII, a byte a cycle.
LINE_HZ = gmii.LINE_RATE / 8
#: Shortest frames a second that the lines of a core with four ports carry, in millions.
LINE_MPPS = 4 * LINE_HZ / line_bytes(SHORTEST) / 1e6
_NS = 1e9 / LINE_HZ
_SEED = 1

Progress = Callable[[str], None]


class Prefixes:
    """Prefixes of a table, real or made, of which every router gets a part of its own.

    Parameters
    ----------
    ipv4, ipv6 : Sequence[Prefix]
        In order of their addresses.
    """

    def __init__(self, ipv4: Sequence[Prefix], ipv6: Sequence[Prefix]):
        self.ipv4, self.ipv6 = ipv4, ipv6

    def part(self, number: int, parts: int, *, ipv6: bool = False) -> Iterable[Prefix]:
        """All of them, beginning at a place of its own for each part, and going on at the start behind the end."""
        table = self.ipv6 if ipv6 else self.ipv4
        begin = number * len(table) // parts
        return (table[(begin + k) % len(table)] for k in range(len(table)))


def filled_routers(config: CoreConfig, prefixes: Callable[[int], Iterable[Prefix]], rng: Random, *,
                   ipv6: bool = False, part: float = 1.0, progress: Progress | None = None) -> list[BenchRouter]:
    """All routers of a core, with ``prefixes(number)`` in each as far as there is room, or ``part`` of that."""
    routers = []
    for number in range(config.routers):
        if progress and number % 64 == 0:
            progress(f"compiling routes, router {number + 1} of {config.routers}")
        router = BenchRouter(number, config, ipv6)
        # No more are looked at than could ever fit: a route takes at least one result, a quarter of a word.
        fill(router, islice(prefixes(number), 4 * router.window), rng, part)
        routers.append(router)
    return routers


def _run(executable: Path, routers: list[BenchRouter], rng: Random, phases: list[Phase]) -> list[PhaseResult]:
    """What became of phases, after the tables were loaded through the host port."""
    load = Phase(requests=Requests().rows(table_writes(routers, rng)))
    return run_script(executable, [load, *phases])[1:]


@dataclass(frozen=True)
class Throughput:
    """Frames at line rate on all ports."""

    routers: int
    routes: int
    fib_used: float             # part of the pool
    frames: int
    mpps: float                 # as they left, all ports, of the part of the run in which none is dropped
    lost: int
    wrong: int
    rules: int = 0              # filter rules of each router
    matched: int = 0            # frames that matched a rule
    dropped: int = 0            # frames that a rule dropped, as it had to
    wrong_hits: int = 0         # hit counters that were not as they had to be


def throughput(routers: int, prefixes: Prefixes, slots: int, progress: Progress,
               config: CoreConfig | None = None) -> Throughput:
    """Shortest frames with least gap on all ports, random routers and destinations, the FIB full of IPv4 routes.

    Every router has as many filter rules as there is room for. A second part, a quarter as long, has frames that rules
    drop. Then the hit counters are read.
    """
    rng = Random(_SEED)
    config = config or router_config(routers)
    filled = filled_routers(config, lambda number: prefixes.part(number, config.routers), rng, progress=progress)
    executable = HARNESS.build(config, macs=True, progress=progress)
    traffic = FilteredTraffic(filled, rng)
    progress(f"{config.routers} routers: making {config.wired_ports * (slots + slots // 4)} frames")
    even, gaps = list(traffic.frames(slots, drops=False)), list(traffic.frames(slots // 4, drops=True))
    progress(f"{config.routers} routers: {len(even) + len(gaps)} frames at line rate")
    first, second, hits = _run(executable, filled, rng, [
        Phase(even), Phase(gaps), Phase(requests=Requests().operations(traffic.reads()))])
    return replace(
        _throughput(filled, even, first), frames=len(even) + len(gaps), lost=first.lost + second.lost,
        wrong=first.wrong + second.wrong + first.punted + second.punted, rules=filled[0].filter_room,
        matched=traffic.hits.total(), dropped=traffic.dropped, wrong_hits=traffic.wrong(hits.reads))


def _throughput(routers: list[BenchRouter], frames: list[BenchFrame], result: PhaseResult) -> Throughput:
    config = routers[0].config
    used = sum(router.fib.statistics().words_used for router in routers)
    return Throughput(
        config.routers, sum(len(router.routes) for router in routers), used / config.fib_words, len(frames),
        sum(result.spacing(frames, LINE_HZ).values()) / 1e6, result.lost, result.wrong)


def ipv6_worst(slots: int, progress: Progress, config: CoreConfig | None = None) -> Throughput:
    """The same with IPv6 routes of 128 bits, each walked to its last node, without filter rules."""
    rng = Random(_SEED)
    config = config or router_config(8)
    routers = filled_routers(config, lambda _: deep_pairs(rng, 128), rng, ipv6=True)
    executable = HARNESS.build(config, macs=True, progress=progress)
    frames = list(line_rate_frames([Destinations(router, rng) for router in routers], slots, rng))
    progress(f"IPv6: {len(frames)} frames at line rate")
    result, = _run(executable, routers, rng, [Phase(frames)])
    return _throughput(routers, frames, result)


def filter_limit(prefixes: Prefixes, slots: int, progress: Progress, config: CoreConfig | None = None) -> int:
    """Rules that every router may have so that shortest frames at line rate on all ports still pass.

    From a few less than the host allows on, numbers are tried up to the first one with which a frame is lost, or a
    queue grows: the last frames are so much later than with the least number. None of the rules matches, so that only
    the time of their scan counts. 0 if the least number is too many already.
    """
    rng = Random(_SEED)
    config = config or router_config(8)
    allowed = most_filter_rules(config)
    tried = range(max(1, allowed - 2), allowed + 3)
    routers = filled_routers(config, lambda number: prefixes.part(number, config.routers), rng)
    # Fewer routers, so that each has room for more rules than it should have.
    routers = routers[:config.filter_rules // tried[-1]]
    for router in routers:
        router.filter_room = tried[-1]
        router.rules = list(islice(costly_rules(router, rng), router.filter_room))
    executable = HARNESS.build(config, macs=True, progress=progress)
    frames = list(line_rate_frames([Destinations(router, rng) for router in routers], slots, rng))
    phases: list[Phase] = []
    for rules in tried:
        phases += [Phase(requests=Requests().rows(router.context(rules) for router in routers)), Phase(frames)]
    progress(f"{tried[0]} to {tried[-1]} filter rules, {len(frames)} frames at line rate each")
    found = 0
    results = _run(executable, routers, rng, phases)[1::2]
    usual = _last_delay(results[0])
    for rules, result in zip(tried, results, strict=True):
        if result.lost or result.wrong or _last_delay(result) > usual + Phase.slack:
            break
        found = rules
    return found


def _last_delay(result: PhaseResult) -> int:
    """Cycles from the end of what came in to that of what went out."""
    return result.last_out - result.last_in


@dataclass(frozen=True)
class Headroom:
    """How fast the bare core takes shortest frames."""

    mpps: float
    frames: int


def headroom(prefixes: Prefixes, slots: int, progress: Progress, config: CoreConfig | None = None) -> Headroom:
    """The highest rate at which the core, without MACs, loses no frame; 0 if it loses some at any."""
    rng = Random(_SEED)
    config = config or router_config(8)
    routers = filled_routers(config, lambda number: prefixes.part(number, config.routers), rng)
    executable = HARNESS.build(config, macs=False, progress=progress)
    frames = list(line_rate_frames([Destinations(router, rng) for router in routers], slots, rng))
    progress(f"searching for the highest rate of the bare core, {len(frames)} frames at a time")
    beats = -(-SHORTEST // config.beat_bytes)
    slowest = 2 * line_bytes(SHORTEST)
    result, = _run(executable, routers, rng, [Phase(frames, search=(beats * PARTS, slowest * PARTS))])
    rate = config.clock_hz * config.wired_ports * PARTS / result.interval if result.interval else 0.0
    return Headroom(rate / 1e6, len(frames))


@dataclass(frozen=True)
class Latency:
    """From the first byte of preamble in to the first one out, in nanoseconds, with nothing else under way."""

    least_ns: float
    most_ns: float
    mean_ns: float
    frames: int
    lost: int
    wrong: int


def latency(count: int, prefixes: Prefixes, progress: Progress, *, ipv6: bool = False,
            config: CoreConfig | None = None) -> Latency:
    """One shortest frame at a time, at random times, by routes of all lengths."""
    rng = Random(_SEED)
    config = config or router_config(8)
    bits = 128 if ipv6 else 32

    def mixed(number: int) -> Iterable[Prefix]:
        window = config.fib_words // config.routers
        yield 0, 0
        yield from islice(deep_pairs(rng, bits), max(2, window // 128))
        yield from islice(nested(rng, bits), window // 16)
        yield from prefixes.part(number, config.routers, ipv6=ipv6)

    routers = filled_routers(config, mixed, rng, ipv6=ipv6)
    executable = HARNESS.build(config, macs=True, progress=progress)
    progress(f"IPv{6 if ipv6 else 4} latency of {count} frames")
    # Equally often by each length that there is, not by each route.
    lengths = {router.number: _by_length(router) for router in routers}
    frames, at = [], 1000
    for _ in range(count):
        router = rng.choice(routers)
        address = router.inside(rng.choice(rng.choice(lengths[router.number])), rng)
        if ipv6 and (address >> 118 == 0xFE80 >> 6 or address >> 120 == 0xFF):
            address ^= 1 << 127         # link-local addresses and groups are not forwarded as others are
        hop = router.lookup(address)
        assert hop is not None
        frames.append(routed(router, rng.randrange(config.wired_ports), address, [hop], at=at))
        at += 1000 + rng.randrange(400)
    result, = _run(executable, routers, rng, [Phase(frames)])
    times = _latencies(result.frames)
    return Latency(min(times, default=0.0), max(times, default=0.0), sum(times) / max(1, len(times)), count,
                   result.lost, result.wrong)


def _by_length(router: BenchRouter) -> list[list[Prefix]]:
    found: dict[int, list[Prefix]] = {}
    for prefix in router.routes:
        found.setdefault(prefix[1], []).append(prefix)
    return list(found.values())


def _latencies(fates: Iterable[Fate]) -> list[float]:
    return [(fate.left - fate.entered) * _NS for fate in fates if fate.fate > 0]


@dataclass(frozen=True)
class Isolation:
    """A stream of one router, while another floods the same egress port from all ports."""

    stream_frames: int
    stream_lost: int
    added_ns: float | None      # most, of any frame; None if none came through both times
    flood_frames: int
    wrong: int


def isolation(cycles: int, prefixes: Prefixes, progress: Progress, *, flood_longest: bool = False,
              config: CoreConfig | None = None) -> Isolation:
    """100 Mb/s of frames of 64 and 1518 bytes of one router, alone, and with line rate of another on all ports.

    The flood is of the shortest frames, or of the longest ones.
    """
    rng = Random(_SEED)
    config = config or router_config(8)
    routers = filled_routers(config, lambda number: prefixes.part(number, config.routers), rng)
    executable = HARNESS.build(config, macs=True, progress=progress)
    progress("isolation: making frames")
    flooder, victim = routers[:2]
    egress, ingress = 0, config.wired_ports - 1
    flood_pool = Destinations(flooder, rng).by_port[egress]
    stream_pool = Destinations(victim, rng).by_port[egress]
    longest = _longest(config)
    stream: list[BenchFrame] = []
    at = 2000.0
    while at < cycles:
        length = (SHORTEST, longest)[len(stream) % 2]
        address, hop = rng.choice(stream_pool)
        stream.append(routed(victim, ingress, address, [hop], length=length, at=int(at)))
        at += 10 * line_bytes(length) * rng.uniform(0.8, 1.2)       # a tenth of the line
    flood: list[BenchFrame] = []
    waiting = list(reversed(stream))
    for port in range(config.wired_ports):
        now = 0
        while now < cycles:
            if port == ingress and waiting and waiting[-1].at <= now:
                frame = waiting.pop()
            else:
                address, hop = rng.choice(flood_pool)
                frame = routed(flooder, port, address, [hop], length=longest if flood_longest else SHORTEST)
            flood.append(frame)
            now += line_bytes(len(frame.frame))
    flood += reversed(waiting)
    progress(f"isolation: {len(stream)} frames, alone and among {len(flood) - len(stream)}")
    alone, among = _run(executable, routers, rng, [Phase(stream), Phase(flood)])
    identities = {id(frame) for frame in stream}
    mine = [fate for frame, fate in zip(flood, among.frames, strict=True) if id(frame) in identities]
    lost = sum(fate.fate <= 0 for fate in mine)
    added = [(fate.left - fate.entered) - (before.left - before.entered)
             for before, fate in zip(alone.frames, mine, strict=True) if fate.fate > 0 and before.fate > 0]
    return Isolation(len(stream), lost + alone.lost, max(added) * _NS if added else None, len(flood) - len(stream),
                     alone.wrong + among.wrong)


def _longest(config: CoreConfig) -> int:
    """Longest frame of the Ethernet standard that the core takes, without FCS."""
    return min(config.max_frame, MAX_FRAME_STANDARD) - gmii.FCS_BYTES


def hitless(changes: int, prefixes: Prefixes, progress: Progress, config: CoreConfig | None = None
            ) -> tuple[int, int, int, int]:
    """Routes that change and vanish and come back, by the host port, under line rate on all ports.

    Returns frames, lost ones, those that neither the table before nor the one after a change can explain, and changes
    of routes that were made.
    """
    rng = Random(_SEED)
    config = config or router_config(8)
    # Room for what changes: a block is used again only after a fence.
    routers = filled_routers(config, lambda number: prefixes.part(number, config.routers), rng, part=0.875)
    executable = HARNESS.build(config, macs=True, progress=progress)
    load = Requests()
    phases = [Phase(requests=load.rows(table_writes(routers, rng)))]
    plans = [_Flips.choose(router, rng) for router in routers]
    requests: list[tuple[int, int, bytes]] = []
    groups: list[range] = []
    period = 0
    for change in range(changes):
        begin = len(requests)
        at = 2000 + change * period
        for plan in plans:
            requests += load.fib(plan.router.number, plan.flip(), at)
        groups.append(range(begin, len(requests)))
        # Long enough for the requests at the speed of the host port, and then some for frames that see the new state.
        period = period or sum(line_bytes(len(octets)) for _, _, octets in requests) * 2 + 4000
    slots = (2000 + changes * period) // line_bytes(SHORTEST)
    frames = list(_flipping_frames(config, plans, slots, rng))
    flips = sum(len(plan.changes) for plan in plans) * changes
    progress(f"hitless: {flips} changes of routes under {len(frames)} frames at line rate")
    result = run_script(executable, [*phases, Phase(frames, requests)])[1]
    return len(frames), result.lost, hitless_wrong(frames, result, groups), flips


class _Flips:
    """A router whose table goes to and fro between two states; every address stays behind the same port."""

    def __init__(self, router: BenchRouter, changes: dict[Prefix, int | None], addresses: list[int]):
        self.router = router
        self.changes = changes
        self.addresses = addresses
        self._back = {prefix: router.routes[prefix] for prefix in changes}
        self._flipped = False
        before = {address: self._hop(address) for address in addresses}
        self.flip()
        after = {address: self._hop(address) for address in addresses}
        self.flip()
        self.hops: dict[int, tuple[Hop, Hop]] = {
            address: (before[address], after[address]) for address in addresses
            if before[address].port == after[address].port}

    def _hop(self, address: int) -> Hop:
        hop = self.router.lookup(address)
        assert hop is not None
        return hop

    @classmethod
    def choose(cls, router: BenchRouter, rng: Random, most: int = 24) -> "_Flips":
        """Half of the routes that are changed get another next hop behind the same port, half are withdrawn."""
        prefixes = list(router.routes)
        rng.shuffle(prefixes)
        hops = router.hops
        changes: dict[Prefix, int | None] = {}
        addresses: list[int] = []
        for prefix in prefixes:
            old = router.routes[prefix]
            address = router.inside(prefix, rng)
            shorter = _covering(router, prefix)
            if len(addresses) < most // 2 and shorter is not None and hops[shorter].port == hops[old].port:
                changes[prefix] = None
            else:
                others = [row for row, hop in enumerate(hops) if hop.port == hops[old].port and row != old]
                if not others:
                    continue
                changes[prefix] = rng.choice(others)
            addresses.append(address)
            if len(addresses) == most:
                break
        addresses += [router.inside(prefix, rng) for prefix in prefixes[:200]]
        return cls(router, changes, addresses)

    def flip(self) -> list:
        """Change to the other state; what is to be written."""
        self._flipped = not self._flipped
        return self.router.change(self.changes.items() if self._flipped else self._back.items())


def _covering(router: BenchRouter, prefix: Prefix) -> int | None:
    address, length = prefix
    for shorter in range(length - 1, -1, -1):
        found = router.routes.get((address >> router.bits - shorter << router.bits - shorter, shorter))
        if found is not None:
            return found
    return None


def _flipping_frames(config: CoreConfig, plans: list[_Flips], slots: int, rng: Random) -> Iterable[BenchFrame]:
    pools = {port: [(plan, address) for plan in plans for address, hops in plan.hops.items() if hops[0].port == port]
             for port in range(config.wired_ports)}
    egress = list(range(config.wired_ports))
    for _ in range(slots):
        rng.shuffle(egress)
        for port in range(config.wired_ports):
            plan, address = rng.choice(pools[egress[port]])
            yield routed(plan.router, port, address, plan.hops[address])


def hitless_wrong(frames: Sequence[BenchFrame], result: PhaseResult, groups: Sequence[range]) -> int:
    """Frames that went as in neither of the states that the table was in while they were inside.

    ``groups`` are the requests of each change; changes go to and fro between the first state and the second.
    """
    begun = [result.requests[group[0]][0] for group in groups]
    ended = [result.requests[group[-1]][1] for group in groups]
    wrong = result.wrong
    for frame, fate in zip(frames, result.frames, strict=True):
        if fate.fate > 0 and len(frame.outcomes) > 1:
            least = sum(time < fate.entered for time in ended)
            most = sum(time <= fate.left for time in begun)
            wrong += (fate.fate - 1) not in {state % 2 for state in range(least, most + 1)}
    return wrong
