"""Table contents for tests, as row writes: what a host would set up, made without the host's code."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    ACTION_ROW,
    ADDRESS_BITS,
    ADJACENCY_ROW,
    CONTEXT_ROW,
    FIB_BRANCH,
    FIB_LEAF,
    FILTER_KEY,
    FILTER_ROW,
    PORT_ROW,
    RESULTS_PER_WORD,
    AdjacencyKind,
    Role,
    RouterMode,
    Table,
    pack,
)

from .golden_tables import vmac_key
from .hash_tables import VmacEntry, VmacTable
from .link_tables import LinkTables
from .rows import RowWrite, requests

__all__ = ["IPV6_ROOT", "FibImage", "FilterRule", "Group", "Route", "RouterSetup", "RowWrite", "Scenario", "VmacTable",
           "adjacency_row", "assemble", "fib_image", "own_mac", "peer_mac", "placed", "requests",
           "simple_scenario"]

RESULT_BITS = 18
LEAF_BITS = FIB_LEAF["bits"].width
FIB_STRIDE = 4
#: Pairs of hash seeds that are tried.
MOST_SEEDS = 20


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


def adjacency_row(kind: int, port: int = 0, mac: int = 0, mtu: int = 1500, vid: int = 0) -> int:
    """Row of the adjacency table."""
    return pack(ADJACENCY_ROW, {"kind": kind, "port": port, "mac": mac, "mtu": mtu, "vid": vid})


@dataclass
class FilterRule:
    """A rule: bits of the key, which of them count, and what it does; each by field."""

    value: dict[str, int]
    mask: dict[str, int]
    action: dict[str, int]
    valid: int = 1

    def writes(self, router: int, row: int) -> list[RowWrite]:
        """Its rows, the action first."""
        rule = {"value": pack(FILTER_KEY, self.value), "mask": pack(FILTER_KEY, self.mask), "valid": self.valid}
        return [RowWrite(Table.ACTION, router, row, pack(ACTION_ROW, self.action)),
                RowWrite(Table.FILTER, router, row, pack(FILTER_ROW, rule))]


class Group(NamedTuple):
    """A multicast group; of the routes, the prefix is the source's, the adjacency the group's for it."""

    address: int
    length: int
    sources: list[Route]
    ipv6: bool = False


@dataclass
class RouterSetup:
    """What a test has to know of a router to make frames for it."""

    number: int
    context: dict[str, int]
    own: dict[int, int] = field(default_factory=dict)               # port -> MAC address
    peers: dict[int, list[int]] = field(default_factory=dict)       # port -> MAC addresses
    routes: list[Route] = field(default_factory=list)
    adjacencies: list[int] = field(default_factory=list)            # rows
    vids: dict[int, int] = field(default_factory=dict)              # port -> VLAN id, where it is not 0
    segments: list[tuple[int, int]] = field(default_factory=list)   # ports and VLAN ids that are all its own
    guarded: set[tuple[int, int]] = field(default_factory=set)      # of these, those that have ``guard``
    circuits: dict[int, list[int]] = field(default_factory=dict)    # link port -> where its addresses are, and peers'
    groups: list[Group] = field(default_factory=list)
    rules: list[FilterRule] = field(default_factory=list)
    policers: list[int] = field(default_factory=list)               # rows
    macs: dict[int, int] = field(default_factory=dict)              # row of the MAC table's window -> row
    known: dict[int, int] = field(default_factory=dict)             # MAC address -> port, of the same
    silent: set[int] = field(default_factory=set)                   # ports where its address is not in the VMAC-VE

    @property
    def mode(self) -> int:
        """What it does with frames."""
        return self.context.get("mode", RouterMode.ROUTED)

    def context_write(self) -> RowWrite:
        """The context row."""
        return RowWrite(Table.CONTEXT, self.number, 0, pack(CONTEXT_ROW, self.context))

    def writes(self, config: CoreConfig) -> list[RowWrite]:
        """All rows of the router but its VMAC-VE entries, context first."""
        result = [self.context_write()]
        result += [RowWrite(Table.PORT, self.number, port,
                            pack(PORT_ROW, {"mac": mac, "vid": self.vids.get(port, 0)}))
                   for port, mac in sorted(self.own.items()) if port < config.ports]
        for table, rows in (Table.ADJACENCY, self.adjacencies), (Table.POLICER, self.policers):
            result += [RowWrite(table, self.number, row, value) for row, value in enumerate(rows)]
        for row, rule in enumerate(self.rules):
            result += rule.writes(self.number, row)
        result += [RowWrite(Table.MAC, self.number, row, value) for row, value in sorted(self.macs.items())]
        return result

    def vmac_entries(self) -> Iterator[tuple[int, int, Role, int]]:
        """Keys of its entries: MAC address, port, role and VLAN id."""
        for port, mac in self.own.items():
            if port not in self.silent:
                for vid in self.places(port):
                    yield mac, port, Role.OWN, vid
        for port, macs in self.peers.items():
            for mac in macs:
                for vid in self.places(port):
                    yield mac, port, Role.PEER, vid
        for port, vid in self.segments:
            yield 0, port, Role.SEGMENT, vid

    def places(self, port: int) -> list[int]:
        """VLAN ids of a port where its addresses are, and its peers'."""
        return self.circuits.get(port, [self.vids.get(port, 0)])

    def entries(self) -> Iterator[VmacEntry]:
        """Its VMAC-VE entries."""
        for mac, port, role, vid in self.vmac_entries():
            guard = int(role == Role.SEGMENT and (port, vid) in self.guarded)
            yield VmacEntry(vmac_key(mac, port, role, vid), self.number, guard)


@dataclass
class Scenario:
    """Contents of all tables of a core."""

    config: CoreConfig
    routers: list[RouterSetup]
    writes: list[RowWrite]
    vmac: VmacTable
    links: LinkTables = field(default_factory=LinkTables)


def own_mac(router: int, port: int) -> int:
    """A router's own address."""
    return 0x02_00_00_00_00_00 | router << 8 | port


def peer_mac(router: int, port: int, number: int = 0) -> int:
    """A neighbour's address."""
    return 0x06_00_00_00_00_00 | number << 24 | router << 8 | port


def placed(config: CoreConfig, rng: Random, routers: list[RouterSetup], links: LinkTables | None = None) -> VmacTable:
    """A table with all entries; a linear hash maps some sets of addresses badly, so that it takes other seeds.

    With ``links``, their ends of tunnels find places with these seeds too.
    """
    for _ in range(MOST_SEEDS):
        vmac = VmacTable(config, (rng.getrandbits(64), rng.getrandbits(64)))
        try:
            for router in routers:
                for entry in router.entries():
                    vmac.place(entry)
            if links is not None and config.circuits:
                links.terminations(config, vmac.seeds)
        except OverflowError:
            continue
        return vmac
    raise OverflowError(f"no place for all entries with {MOST_SEEDS} pairs of seeds")


def assemble(config: CoreConfig, rng: Random, routers: list[RouterSetup], images: dict[int, FibImage]) -> Scenario:
    """All rows of all routers, with random hash seeds."""
    vmac = placed(config, rng, routers)
    writes = []
    for router in routers:
        writes += router.writes(config)
        writes += images[router.number].writes(router.number)
    # A VMAC comes last: no frame reaches a router before its other rows are there
    return Scenario(config, routers, writes + vmac.writes(), vmac)


def simple_scenario(config: CoreConfig, *, mtu: int | None = None, seed: int = 1) -> Scenario:
    """Every router is on every port; a /8 for each port (10 + port) leads to a neighbour on it, with no guard.

    10.0.0.0/8 leaves by port 0, 11.0.0.0/8 by port 1 and so on; likewise fd0a::/16, fd0b::/16. Nothing is on the link
    port.
    """
    rng = Random(seed)
    mtu = config.max_frame - 18 if mtu is None else mtu
    ports, everywhere = range(config.wired_ports), (1 << config.wired_ports) - 1
    window, rows = config.fib_words // config.routers, config.adjacencies // config.routers
    routers, images = [], {}
    for number in range(config.routers):
        routes = [Route(10 + port << 24, 8, port % rows) for port in ports]
        routes += [Route(0xFD0A + port << 112, 16, port % rows, True) for port in ports]
        images[number] = fib_image(routes)
        routers.append(RouterSetup(
            number,
            {"enable": 1, "ports": everywhere, "group": everywhere, "fib_base": number * window, "fib_size": window,
             "ipv6_root": IPV6_ROOT, "adj_base": number * rows, "adj_size": rows},
            own={port: own_mac(number, port) for port in ports},
            routes=routes,
            adjacencies=[adjacency_row(AdjacencyKind.FORWARD, port, peer_mac(number, port), mtu)
                         for port in ports[:rows]]))
    return assemble(config, rng, routers, images)
