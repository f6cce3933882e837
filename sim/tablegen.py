"""Table contents for tests, as row writes: what a host would set up, made without the host's code."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    ADDRESS_BITS,
    ADJACENCY_ROW,
    CONTEXT_ROW,
    FIB_BRANCH,
    FIB_LEAF,
    MAX_OPS,
    PORT_ROW,
    RESULTS_PER_WORD,
    VMAC_ROW,
    AdjacencyKind,
    Register,
    Role,
    Table,
    pack,
    row_words,
)

from .golden_tables import vmac_hash, vmac_key
from .host_frames import HostFrame, Op

__all__ = ["FibImage", "Route", "RouterSetup", "RowWrite", "Scenario", "VmacTable", "adjacency_row", "fib_image",
           "random_scenario", "requests", "simple_scenario"]

WORD_MASK = (1 << 64) - 1
RESULT_BITS = 18
LEAF_BITS = FIB_LEAF["bits"].width
FIB_STRIDE = 4
NO_SUCH_KINDS = (6, 7)


class RowWrite(NamedTuple):
    """A row to be written whole through the control engine."""

    table: Table
    router: int
    row: int
    value: int

    def ops(self) -> list[Op]:
        """The accesses that write it, lowest word first."""
        return [Op.write(self.table, self.router, self.row, self.value >> 64 * word & WORD_MASK, word)
                for word in range(row_words(self.table))]


def requests(writes: Iterable[RowWrite], *, sequence: int, source: bytes, sync: bool = False) -> Iterator[HostFrame]:
    """REQUEST frames that make all writes, rows never split between frames."""
    ops: list[Op] = []
    for write in writes:
        more = write.ops()
        if len(ops) + len(more) > MAX_OPS:
            yield HostFrame.request(sequence, ops, source=source, sync=sync)
            sequence, sync, ops = sequence + 1 & 0xFFFFFFFF, False, []
        ops += more
    if ops:
        yield HostFrame.request(sequence, ops, source=source, sync=sync)


class VmacTable:
    """Places entries in the VMAC-VE table by random-walk cuckoo hashing, all at once.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.
    seeds : tuple[int, int]
        Hash seeds.
    """

    MOST_MOVES = 500

    def __init__(self, config: CoreConfig, seeds: tuple[int, int]):
        self.config = config
        self.seeds = seeds
        self.slots: dict[int, tuple[int, int]] = {}         # row -> (key, router)

    def candidates(self, key: int) -> list[int]:
        """The four rows that a key may be in."""
        bits = self.config.vmac_index_bits
        return [(k * 2 + way) << bits | vmac_hash(self.seeds[k], key, bits) for k in (0, 1) for way in (0, 1)]

    def insert(self, mac: int, port: int, role: Role, router: int) -> None:
        """Add an entry.

        Raises
        ------
        OverflowError
            If no place was found.
        """
        entry = vmac_key(mac, port, role), router
        for move in range(self.MOST_MOVES):
            rows = self.candidates(entry[0])
            free = next((row for row in rows if row not in self.slots), None)
            if free is not None:
                self.slots[free] = entry
                return
            victim = rows[(entry[0] + move) % 4]
            self.slots[victim], entry = entry, self.slots[victim]
        raise OverflowError(f"no slot found after {self.MOST_MOVES} moves with {len(self.slots)} entries in "
                            f"{self.config.vmac_slots} slots")

    def writes(self) -> list[RowWrite]:
        """Hash seeds and all entries."""
        result = [RowWrite(Table.REGISTER, 0, Register.HASH_SEED_0, self.seeds[0]),
                  RowWrite(Table.REGISTER, 0, Register.HASH_SEED_1, self.seeds[1])]
        for row, (key, router) in sorted(self.slots.items()):
            value = pack(VMAC_ROW, {"mac": key & (1 << 48) - 1, "port": key >> 48 & 15, "role": key >> 52,
                                    "valid": 1, "router": router})
            result.append(RowWrite(Table.VMAC, 0, row, value))
        return result


class Route(NamedTuple):
    """A prefix, left-aligned in 32 bits (IPv6: in 128), and the adjacency that it points at.

    A multicast group (or many, by prefix) has ``sources``, prefixes of the same family, in place of an adjacency.
    """

    prefix: int
    length: int
    adjacency: int
    ipv6: bool = False
    sources: "tuple[Route, ...] | None" = None

    @property
    def bits(self) -> int:
        """Bits of an address."""
        return 128 if self.ipv6 else 32


#: First root word of IPv6 in a :class:`FibImage`; the two of IPv4 are rows 0 and 1.
IPV6_ROOT = 2


@dataclass
class FibImage:
    """Words of a router's FIB window from its start; two root words of IPv4, two of IPv6, then the rest."""

    words: list[int]

    def writes(self, router: int) -> list[RowWrite]:
        """All words but the roots, then the roots."""
        order = [*range(2 * IPV6_ROOT, len(self.words)), *range(2 * IPV6_ROOT)]
        return [RowWrite(Table.FIB, router, row, self.words[row]) for row in order]


def fib_image(routes: Iterable[Route], rng: Random | None = None) -> FibImage:
    """Tree bitmap of ``routes``, built breadth first without any reuse of words.

    A subtree with a single prefix becomes a leaf; with ``rng``, half of them become branches instead, so that both
    ways are walked.
    """
    families: list[list[Route]] = [[], []]
    for route in {(route.prefix, route.length, route.ipv6): route for route in routes}.values():
        families[route.ipv6].append(route)
    # Nodes, and what is yet to be put into them; first all that have fixed places: roots, those of sources too.
    nodes: list[dict[str, int]] = []
    queue: list[tuple[int, list[Route]]] = []
    tries = [*families]
    for family in families:
        for k, route in enumerate(family):
            if route.sources is not None:
                family[k] = route._replace(adjacency=2 * len(tries))
                tries.append(list({(source.prefix, source.length): source for source in route.sources}.values()))
    for members in tries:
        for half in (0, 1):
            queue.append((len(nodes), _half(members, half)))
            nodes.append({})
    results: list[int] = []
    while queue:
        number, members = queue.pop(0)
        if len(members) == 1 and members[0].length <= LEAF_BITS and not (rng and rng.random() < 0.5):
            route = members[0]
            nodes[number] = {"leaf": 1, "length": route.length, "bits": route.prefix >> ADDRESS_BITS - LEAF_BITS,
                             "result": route.adjacency}
            continue
        short = {(1 << route.length) - 1 + (route.prefix >> ADDRESS_BITS - route.length): route.adjacency
                 for route in members if route.length < FIB_STRIDE}
        subtrees: dict[int, list[Route]] = {}
        for route in members:
            if route.length >= FIB_STRIDE:
                rest = Route(route.prefix << FIB_STRIDE & (1 << ADDRESS_BITS) - 1, route.length - FIB_STRIDE,
                             route.adjacency)
                subtrees.setdefault(route.prefix >> ADDRESS_BITS - FIB_STRIDE, []).append(rest)
        nodes[number] = {"internal": sum(1 << position for position in short), "result": len(results),
                         "external": sum(1 << value for value in subtrees), "child": len(nodes)}
        results += [short[position] for position in sorted(short)]
        for value in sorted(subtrees):
            queue.append((len(nodes), subtrees[value]))
            nodes.append({})
    words = []
    for node in nodes:
        if node.get("leaf"):
            words.append(pack(FIB_LEAF, node))
        elif node["internal"] or node["external"]:
            words.append(pack(FIB_BRANCH, {**node, "result": node["result"] + len(nodes) * RESULTS_PER_WORD}))
        else:
            words.append(0)
    for i in range(0, len(results), RESULTS_PER_WORD):
        words.append(sum(result << RESULT_BITS * k for k, result in enumerate(results[i:i + RESULTS_PER_WORD])))
    return FibImage(words)


def _half(routes: list[Route], half: int) -> list[Route]:
    """What the root word of one value of the first bit is about: prefixes without that bit, in ADDRESS_BITS.

    A prefix of no bits is for both, but one of one bit hides it.
    """
    found: dict[tuple[int, int], Route] = {}
    for route in sorted(routes, key=lambda route: route.length):
        prefix = route.prefix << ADDRESS_BITS - route.bits
        if not route.length or prefix >> ADDRESS_BITS - 1 == half:
            rest = Route(prefix << 1 & (1 << ADDRESS_BITS) - 1, max(0, route.length - 1), route.adjacency)
            found[rest.prefix, rest.length] = rest
    return list(found.values())


def adjacency_row(kind: int, port: int = 0, mac: int = 0, mtu: int = 1500) -> int:
    """Row of the adjacency table."""
    return pack(ADJACENCY_ROW, {"kind": kind, "port": port, "mac": mac, "mtu": mtu})


@dataclass
class RouterSetup:
    """What a test has to know of a router to make frames for it."""

    number: int
    context: dict[str, int]
    own: dict[int, int] = field(default_factory=dict)               # port -> MAC address
    peers: dict[int, list[int]] = field(default_factory=dict)       # port -> MAC addresses
    routes: list[Route] = field(default_factory=list)
    adjacencies: list[int] = field(default_factory=list)            # rows

    def context_write(self) -> RowWrite:
        """The context row."""
        return RowWrite(Table.CONTEXT, self.number, 0, pack(CONTEXT_ROW, self.context))

    def writes(self, config: CoreConfig) -> list[RowWrite]:
        """All rows of the router but its VMAC-VE entries, context first."""
        result = [self.context_write()]
        result += [RowWrite(Table.PORT, self.number, port, pack(PORT_ROW, {"mac": mac}))
                   for port, mac in sorted(self.own.items()) if port < config.ports]
        result += [RowWrite(Table.ADJACENCY, self.number, row, value) for row, value in enumerate(self.adjacencies)]
        return result


@dataclass
class Scenario:
    """Contents of all tables of a core."""

    config: CoreConfig
    routers: list[RouterSetup]
    writes: list[RowWrite]


def _own_mac(router: int, port: int) -> int:
    return 0x02_00_00_00_00_00 | router << 8 | port


def _peer_mac(router: int, port: int, number: int = 0) -> int:
    return 0x06_00_00_00_00_00 | number << 24 | router << 8 | port


def _assemble(config: CoreConfig, rng: Random, routers: list[RouterSetup], images: dict[int, FibImage]) -> Scenario:
    vmac = VmacTable(config, (rng.getrandbits(64), rng.getrandbits(64)))
    for router in routers:
        for port, mac in router.own.items():
            vmac.insert(mac, port, Role.OWN, router.number)
        for port, macs in router.peers.items():
            for mac in macs:
                vmac.insert(mac, port, Role.PEER, router.number)
    writes = []
    for router in routers:
        writes += router.writes(config)
        writes += images[router.number].writes(router.number)
    # A VMAC comes last: no frame reaches a router before its other rows are there
    return Scenario(config, routers, writes + vmac.writes())


def simple_scenario(config: CoreConfig, *, mtu: int | None = None, seed: int = 1) -> Scenario:
    """Every router is on every port; a /8 for each port (10 + port) leads to a neighbour on it, with no guard.

    10.0.0.0/8 leaves by port 0, 11.0.0.0/8 by port 1 and so on; likewise fd0a::/16, fd0b::/16.
    """
    rng = Random(seed)
    mtu = config.max_frame - 18 if mtu is None else mtu
    all_ports = (1 << config.ports) - 1
    window, rows = config.fib_words // config.routers, config.adjacencies // config.routers
    routers, images = [], {}
    for number in range(config.routers):
        routes = [Route(10 + port << 24, 8, port % rows) for port in range(config.ports)]
        routes += [Route(0xFD0A + port << 112, 16, port % rows, True) for port in range(config.ports)]
        images[number] = fib_image(routes)
        routers.append(RouterSetup(
            number,
            {"enable": 1, "ports": all_ports, "group": all_ports, "fib_base": number * window, "fib_size": window,
             "ipv6_root": IPV6_ROOT, "adj_base": number * rows, "adj_size": rows},
            own={port: _own_mac(number, port) for port in range(config.ports)},
            routes=routes,
            adjacencies=[adjacency_row(AdjacencyKind.FORWARD, port, _peer_mac(number, port), mtu)
                         for port in range(min(config.ports, rows))]))
    return _assemble(config, rng, routers, images)


def _random_routes(rng: Random, count: int, adjacencies: int) -> list[Route]:
    routes: list[Route] = []
    for ipv6, bits, usual in ((False, 32, (0, 1, 5, 8, 16, 24, 24, 24, 32)), (True, 128, (0, 16, 32, 48, 48, 64, 128))):
        family: list[Route] = []
        for _ in range(count // 2):
            length = rng.choice((*usual, rng.randint(0, bits)))
            # Half of the prefixes are inside of one that exists, so that longest match matters
            base = rng.choice(family).prefix if family and rng.random() < 0.5 else rng.getrandbits(bits)
            noise = rng.getrandbits(bits) >> rng.randint(0, bits)
            prefix = (base ^ noise) & (1 << bits) - 1 >> bits - length << bits - length
            family.append(Route(prefix, length, rng.randrange(adjacencies), ipv6))
        routes += family
    return routes


def _random_adjacency(config: CoreConfig, rng: Random, number: int, ports: int) -> int:
    kind = rng.choices((AdjacencyKind.FORWARD, AdjacencyKind.LOCAL, AdjacencyKind.UNRESOLVED, AdjacencyKind.BLACKHOLE,
                        AdjacencyKind.UNREACHABLE, AdjacencyKind.INVALID, rng.choice(NO_SUCH_KINDS)),
                       (20, 2, 1, 1, 1, 1, 1))[0]
    mine = [port for port in range(config.ports) if ports >> port & 1]
    port = rng.choice(mine) if mine and rng.random() < 0.9 else rng.randrange(16)
    mtu = rng.choice((1500, 1500, 1500, 68, rng.randint(20, 1500), config.max_frame - 18))
    return adjacency_row(kind, port, _peer_mac(number, port, rng.randrange(256)), mtu)


def random_scenario(config: CoreConfig, rng: Random, *, routes: int = 40, faults: bool = True) -> Scenario:
    """Tables with everything in them: routers that are off, guarded ports, all kinds of adjacencies, short windows.

    Parameters
    ----------
    routes : int
        Routes for each router, as far as its window goes.
    faults : bool
        Also routers whose windows are too short for what their tables say, or that are disabled.
    """
    window, rows = config.fib_words // config.routers, config.adjacencies // config.routers
    everywhere = (1 << config.ports) - 1
    routers, images = [], {}
    for number in range(config.routers):
        broken = faults and rng.random() < 0.25
        ports = everywhere if rng.random() < 0.5 else rng.randint(1, everywhere)
        adjacencies = min(rows, 16)
        count = routes
        while len((image := fib_image(chosen := _random_routes(rng, count, adjacencies), rng)).words) > window:
            count //= 2
        context = {
            "enable": int(not (broken and rng.random() < 0.25)), "mode": int(broken and rng.random() < 0.15),
            "ports": ports, "group": rng.randint(0, everywhere), "guard": rng.randint(0, everywhere) & rng.randint(
                0, everywhere),
            "fib_base": number * window, "fib_size": window, "ipv6_root": IPV6_ROOT, "adj_base": number * rows,
            "adj_size": rows,
        }
        setup = RouterSetup(
            number, context,
            own={port: _own_mac(number, port) for port in range(config.ports)},
            peers={port: [_peer_mac(number, port)] for port in range(config.ports) if context["guard"] >> port & 1},
            routes=chosen,
            adjacencies=[_random_adjacency(config, rng, number, ports) for _ in range(adjacencies)])
        routers.append(setup)
        images[number] = image
    scenario = _assemble(config, rng, routers, images)
    for router in routers if faults else ():
        # Cut after everything is in place, as nothing can be written outside of a window
        if rng.random() < 0.3:
            router.context["fib_size"] = rng.randint(1, len(images[router.number].words))
        if rng.random() < 0.3:
            router.context["adj_size"] = rng.randint(1, len(router.adjacencies))
        scenario.writes.append(router.context_write())
    return scenario
