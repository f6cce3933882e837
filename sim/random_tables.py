"""Random contents of all tables of a core, with everything in them that a host may write, and a few mistakes."""

from itertools import cycle
from random import Random
from typing import NamedTuple

from polyrouter.hdl.config import CoreConfig, power_of_two_at_most
from polyrouter.hdl.layouts import (
    ADJACENCY_ECMP,
    ADJACENCY_MULTICAST,
    ADJACENCY_ROW,
    CONTEXT_ROW,
    FIB_BRANCH,
    MAC_AGES,
    MAC_ROW,
    POLICER_ROW,
    RESULTS_PER_WORD,
    SHAPER_ROW,
    AdjacencyKind,
    RouterMode,
    Table,
    pack,
    unpack,
)

from .golden_bridge import places
from .link_tables import LinkTables
from .random_filter import random_rules
from .random_links import ENDS, OUTSIDE, OUTSIDE_BITS, random_links, tunnel_end
from .tablegen import (
    IPV6_ROOT,
    FibImage,
    Group,
    Route,
    RouterSetup,
    RowWrite,
    Scenario,
    adjacency_row,
    fib_image,
    own_mac,
    peer_mac,
    placed,
)

__all__ = ["RandomRouter", "random_router", "random_scenario", "relocated", "share_of"]

UNKNOWN_MODE = 3
MOST_ADJACENCIES = 24
MOST_RULES = 16
VIDS = (1, 2, 100, 4094)
ROUTES = 40


class RandomRouter(NamedTuple):
    """A router as it was drawn."""

    setup: RouterSetup              # with the context that it ends with
    whole: dict[str, int]           # context in which all of its rows can be written
    image: FibImage
    shaper: RowWrite                # neither limits nor shapes anything

    def rows(self, config: CoreConfig, *, enable: int = 1) -> list[RowWrite]:
        """All rows but its VMAC-VE entries; the context first, and once more at the end if it ends otherwise."""
        setup, last = self.setup, self.setup.context
        setup.context = {**self.whole, "enable": enable}
        result = [*setup.writes(config), *self.image.writes(setup.number), self.shaper]
        setup.context = {**last, "enable": last["enable"] & enable}
        if last != self.whole:
            result.append(setup.context_write())
        setup.context = last
        return result


def _share(config: CoreConfig) -> int:
    return config.fib_words // config.routers


def share_of(config: CoreConfig, context: dict[str, int]) -> int:
    """Which part of every table a router has its windows in; it may be another's number."""
    return context["fib_base"] // _share(config)


def relocated(words: list[int], offset: int) -> list[int]:
    """Words of a :class:`FibImage` whose first one is not at row 0 but at ``offset``."""
    words, nodes = list(words), list(range(2 * IPV6_ROOT))
    for row in nodes:
        node = unpack(FIB_BRANCH, words[row])
        if words[row] and not node["leaf"]:
            nodes += range(node["child"], node["child"] + node["external"].bit_count())
            words[row] = pack(FIB_BRANCH, {**node, "child": node["child"] + offset,
                                           "result": node["result"] + offset * RESULTS_PER_WORD})
    return words


def _random_routes(rng: Random, count: int, unicast: list[int], adjacencies: int) -> list[Route]:
    """Routes of both families, mostly to the unicast adjacencies in turn, so that there is one to most of them."""
    routes: list[Route] = []
    turn = cycle(rng.sample(unicast, len(unicast)))
    for ipv6, bits, usual in ((False, 32, (0, 1, 5, 8, 16, 24, 24, 24, 32)), (True, 128, (0, 16, 32, 48, 48, 64, 128))):
        family: list[Route] = []
        for _ in range(count // 2):
            length = rng.choice((*usual, rng.randint(0, bits)))
            # Half of the prefixes are inside of one that exists, so that longest match matters
            base = rng.choice(family).prefix if family and rng.random() < 0.5 else rng.getrandbits(bits)
            noise = rng.getrandbits(bits) >> rng.randint(0, bits)
            prefix = (base ^ noise) & (1 << bits) - 1 >> bits - length << bits - length
            adjacency = next(turn) if rng.random() < 0.95 else rng.randrange(adjacencies)
            family.append(Route(prefix, length, adjacency, ipv6))
        routes += family
    return routes


def _random_groups(rng: Random, multicast: list[int], adjacencies: int) -> list[Group]:
    """Groups with sources of their own, for any source, or both."""
    groups = []
    for ipv6, bits, base, lengths in ((False, 32, 0xE8 << 24, (32, 32, 8, 24)), (True, 128, 0xFF0E << 112, (32, 48))):
        for _ in range(rng.randint(1, 3)):
            length = rng.choice(lengths)
            address = (base | rng.getrandbits(24) << bits - 32) & (1 << bits) - 1 >> bits - length << bits - length
            sources = [Route(rng.getrandbits(bits) >> bits - size << bits - size, size,
                             rng.choice(multicast) if rng.random() < 0.85 else rng.randrange(adjacencies), ipv6)
                       for size in rng.choice(((0,), (bits // 4,), (0, bits // 4, 32), (32,)))]
            groups.append(Group(address, length, sources, ipv6))
    return groups


def _window_of(rng: Random, routes: list[Route], groups: list[Group]) -> tuple[list[int], int]:
    """Words of a FIB window with tries for the groups' sources below their routes, and the row of the roots."""
    words: list[int] = []
    for group in groups:
        root = len(words)
        words += relocated(fib_image(group.sources, rng).words, root)
        routes = [*routes, Route(group.address, group.length, root + IPV6_ROOT * group.ipv6, group.ipv6)]
    return words + relocated(fib_image(routes, rng).words, len(words)), len(words)


def _random_kinds(rng: Random, rows: int) -> list[AdjacencyKind]:
    """Each kind at least once, if there are enough rows."""
    least = (AdjacencyKind.FORWARD, AdjacencyKind.MULTICAST, AdjacencyKind.ECMP, AdjacencyKind.LOCAL,
             AdjacencyKind.UNRESOLVED, AdjacencyKind.BLACKHOLE, AdjacencyKind.UNREACHABLE)[:rows]
    more = rng.choices((*least, AdjacencyKind.INVALID), (*(20, 6, 4, 2, 2, 2, 1)[:rows], 1), k=rows - len(least))
    return rng.sample([*least, *more], rows)


def _random_adjacency(config: CoreConfig, rng: Random, number: int, kind: int, ports: int, rows: int,
                      links: LinkTables) -> int:
    mine = [port for port in range(config.ports) if ports >> port & 1]
    port = rng.choice(mine) if mine and rng.random() < 0.95 else rng.randrange(16)
    mtu = rng.choice((1500, 1500, 68, rng.randint(20, 1500), config.max_frame - 18))
    if kind == AdjacencyKind.ECMP:
        first = rng.randrange(rows)
        fitting = [rng.randint(1, rows - first) for _ in range(4)]
        count = rng.choice((0, 1, rows - first, *fitting, rng.randint(1, rows), 4095))
        return pack(ADJACENCY_ECMP, {"kind": kind, "first": first, "count": count})
    if kind == AdjacencyKind.MULTICAST:
        return pack(ADJACENCY_MULTICAST, {
            "kind": kind, "port": port, "host": int(rng.random() < 0.3), "mtu": mtu, "vid": rng.choice(
                [0, 1, *links.taken(number)]) if port == config.link_port or rng.random() < 0.1 else 0,
            "ports": rng.choice((rng.getrandbits(8), rng.getrandbits(8), 0, 1 << port & 255, 255))})
    vid = rng.choice(VIDS) if rng.random() < 0.1 else 0
    if port == config.link_port and links.owned(number) and rng.random() < 0.9:
        vid = rng.choice(links.owned(number))
        peer = links.takers.get(links.links[vid].get("peer", 0), number)
        return adjacency_row(kind, port, own_mac(peer, port), mtu, vid)
    return adjacency_row(kind, port, peer_mac(number, port, rng.randrange(256)), mtu, vid)


def _policer(rng: Random) -> int:
    """One that lets everything through or nothing, as both do not depend on the order of frames."""
    if rng.random() < 0.4:
        return pack(POLICER_ROW, {"limit": 1})
    return pack(POLICER_ROW, {"rate": rng.getrandbits(32), "burst": rng.getrandbits(18)})


def _add_macs(config: CoreConfig, rng: Random, setup: RouterSetup, links: LinkTables) -> None:
    """Fill a bridge's window to the half with addresses on its ports, and a few on others."""
    circuits = links.owned(setup.number)
    size = setup.context["mac_size"]
    for _ in range(min(size // 2, 40)):
        mac = 0x0A_00_00_00_00_00 | rng.getrandbits(40)
        port = rng.randrange(config.ports) if rng.random() < 0.9 else rng.randrange(16)
        free = [row for row in places(size, mac) if row not in setup.macs]
        if free:
            vid = rng.choice(VIDS) if rng.random() < 0.1 else 0
            if port == config.link_port and circuits and rng.random() < 0.9:
                vid = rng.choice(circuits)
            setup.macs[free[0]] = pack(MAC_ROW, {"mac": mac, "port": port, "static": rng.getrandbits(1),
                                                 "age": rng.randint(1, MAC_AGES), "vid": vid})
            setup.known[mac] = port


def _random_vlans(config: CoreConfig, rng: Random, setup: RouterSetup, owned: set[tuple[int, int]]) -> None:
    """VLANs on some ports, and pairs that are all the router's: nearly all of what a bridge or a switch is on."""
    setup.vids = {port: rng.choice(VIDS) for port in range(config.wired_ports) if rng.random() < 0.3}
    share = 0.15 if setup.mode == RouterMode.ROUTED else 0.8
    for port in range(config.wired_ports):
        for vid in {setup.vids.get(port, 0), rng.choice(VIDS)}:
            if rng.random() < share and (port, vid) not in owned:
                owned.add((port, vid))
                setup.segments.append((port, vid))
                if rng.random() < 0.1:
                    setup.guarded.add((port, vid))


def _attach(config: CoreConfig, rng: Random, setup: RouterSetup, links: LinkTables, owned: set[tuple[int, int]]
            ) -> None:
    """Put a router on the link port, with the circuits that are its."""
    link_port, context, taken = config.link_port, setup.context, links.taken(setup.number)
    assert link_port is not None
    context["tunnels"] = int(rng.random() < 0.85)
    if rng.random() < 0.9:
        context["ports"] |= 1 << link_port
    if rng.random() < 0.7:
        context["guard"] &= ~(1 << link_port)
    lists = [circuit for circuit in links.owned(setup.number) if circuit not in taken]
    setup.vids[link_port] = rng.choice([*lists * 5, *taken, 0])
    setup.circuits[link_port] = taken
    for circuit in taken:
        if (link_port, circuit) not in owned and rng.random() < 0.95:
            owned.add((link_port, circuit))
            setup.segments.append((link_port, circuit))
            if rng.random() < 0.2:
                setup.guarded.add((link_port, circuit))


def _tunnel_routes(config: CoreConfig, rng: Random, setup: RouterSetup) -> list[Route]:
    """To the ends of tunnels: its own, other routers', and those outside."""
    kinds: dict[int, list[int]] = {}
    for row, value in enumerate(setup.adjacencies):
        fields = unpack(ADJACENCY_ROW, value)
        if fields["kind"] != AdjacencyKind.FORWARD or fields["port"] < config.ports:
            kinds.setdefault(fields["kind"], []).append(row)
    forward = kinds.get(AdjacencyKind.FORWARD, [0])
    inside = [row for row in forward
              if unpack(ADJACENCY_ROW, setup.adjacencies[row])["port"] == config.link_port] or forward
    outside = [row for row in forward if row not in inside] or forward
    routes = [Route(OUTSIDE, OUTSIDE_BITS, rng.choice(outside))]
    for router in range(config.routers):
        rows = kinds.get(AdjacencyKind.LOCAL, [0]) if router == setup.number else inside
        routes += [Route(tunnel_end(router, number), 32, rng.choice(rows)) for number in range(ENDS)]
    return routes


def _context(config: CoreConfig, rng: Random, share: int, mode: int) -> dict[str, int]:
    everywhere = (1 << config.ports) - 1
    window, rows = _share(config), config.adjacencies // config.routers
    # Some windows begin later than they could
    unused, spare = rng.choice((0, rng.randrange(window // 4))), rng.choice((0, rng.randrange(rows // 4 + 1)))
    rules, policers = config.filter_rules // config.routers, config.policers // config.routers
    macs = power_of_two_at_most(config.mac_rows // config.routers)
    return {
        "enable": 1, "mode": mode, "ports": everywhere if rng.random() < 0.5 else rng.randint(1, everywhere),
        "group": rng.randint(0, everywhere), "guard": rng.randint(0, everywhere) & rng.randint(0, everywhere),
        "fib_base": share * window + unused, "fib_size": window - unused,
        "adj_base": share * rows + spare, "adj_size": rows - spare,
        "multicast": int(rng.random() < 0.85), "mirror": int(rng.random() < 0.2),
        "filter_base": share * rules, "filter_size": rules * int(mode == RouterMode.SWITCHED or rng.random() < 0.7),
        "policer_base": share * policers, "policer_size": policers, "mac_base": share * macs, "mac_size": macs,
        "ecmp_seed": rng.getrandbits(CONTEXT_ROW["ecmp_seed"].width),
    }


def random_router(config: CoreConfig, rng: Random, number: int, mode: int, *, share: int, owned: set[tuple[int, int]],
                  routes: int = ROUTES, faults: bool = True, links: LinkTables | None = None) -> RandomRouter:
    """Draw a router.

    Parameters
    ----------
    number : int
        Its number.
    mode : int
        What it does with frames.
    share : int
        Part of every table that its windows are in.
    owned : set[tuple[int, int]]
        Pairs of port and VLAN id that are another's; those that become this one's are added.
    routes : int
        How many, as far as its window goes.
    faults : bool
        Maybe with windows too short for what its tables say, or disabled.
    links : LinkTables
        Circuits, some of which are its.
    """
    context = _context(config, rng, share, mode)
    setup = RouterSetup(number, context, own={port: own_mac(number, port) for port in range(config.ports)})
    links = links or LinkTables()
    _random_vlans(config, rng, setup, owned)
    if config.circuits:
        _attach(config, rng, setup, links, owned)
    rows = min(context["adj_size"], MOST_ADJACENCIES)
    setup.adjacencies = [_random_adjacency(config, rng, number, kind, context["ports"], rows, links)
                         for kind in _random_kinds(rng, rows)]
    multicast = [row for row, value in enumerate(setup.adjacencies)
                 if value & (1 << ADJACENCY_MULTICAST["kind"].width) - 1 == AdjacencyKind.MULTICAST]
    unicast = [row for row in range(rows) if row not in multicast]
    while True:
        setup.routes = _random_routes(rng, routes, unicast or [0], rows)
        if config.circuits:
            setup.routes += _tunnel_routes(config, rng, setup)
        setup.groups = _random_groups(rng, multicast or [0], rows) if routes > 1 else []
        words, root = _window_of(rng, setup.routes, setup.groups)
        if len(words) <= context["fib_size"]:
            break
        routes //= 2
    context |= {"ipv4_root": root, "ipv6_root": root + IPV6_ROOT}
    setup.peers = {port: [peer_mac(number, port)] for port in range(config.ports)
                   if context["guard"] >> port & 1 or rng.random() < 0.5}
    if config.link_port in setup.peers:
        setup.peers[config.link_port].append(own_mac(rng.randrange(config.routers), config.link_port))
    _fit_vmac(config, rng, setup)
    setup.policers = [_policer(rng) if row or rng.random() < 0.15 else 0 for row in range(context["policer_size"])]
    if mode == RouterMode.BRIDGED:
        _add_macs(config, rng, setup, links)
    setup.rules = random_rules(config, rng, setup, min(context["filter_size"], MOST_RULES))
    whole = dict(context)
    if faults:
        _break(config, rng, setup, len(words))
    shaper = RowWrite(Table.SHAPER, number, rng.randrange(config.all_ports), pack(SHAPER_ROW, {
        "rate": rng.getrandbits(32), "burst": rng.getrandbits(18), "quantum": rng.randint(0, 4096)}))
    return RandomRouter(setup, whole, FibImage(words), shaper)


def _fit_vmac(config: CoreConfig, rng: Random, setup: RouterSetup) -> None:
    """Leave entries out, so that the table is not more than 60 % full."""
    most = config.vmac_slots * 6 // 10 // config.routers
    setup.silent = set(rng.sample(range(config.ports), max(0, config.ports - most // 2)))
    while len(list(setup.vmac_entries())) > most:
        if setup.segments and (not setup.peers or rng.random() < 0.5):
            setup.segments.pop(rng.randrange(len(setup.segments)))
        else:
            del setup.peers[rng.choice(sorted(setup.peers))]


def _modes(config: CoreConfig, rng: Random) -> list[int]:
    """Each mode at least once, if there are enough routers."""
    modes = [RouterMode.ROUTED, RouterMode.BRIDGED, RouterMode.SWITCHED, RouterMode.ROUTED][:config.routers]
    modes += rng.choices(tuple(RouterMode), (4, 2, 1), k=config.routers - len(modes))
    rng.shuffle(modes)
    return [int(mode) for mode in modes]


def _break(config: CoreConfig, rng: Random, setup: RouterSetup, words: int) -> None:
    """Windows that are too short, too long or beyond the table, and routers that are off."""
    context = setup.context
    changes: tuple[tuple[float, dict[str, int]], ...] = (
        (0.1, {"fib_size": rng.randint(1, words)}),
        (0.1, {"adj_size": rng.randint(1, len(setup.adjacencies))}),
        (0.07, {"filter_base": max(0, config.filter_rules - 2), "filter_size": 4095}),
        (0.1, {"filter_size": context["filter_size"] + 2}),
        (0.1, {"policer_base": config.policers - 1, "policer_size": 7}),
        (0.1, {"mac_size": rng.choice((0, 2, 3, context["mac_size"] + 1))}),
        (0.1, {"mac_base": max(0, config.mac_rows - 2)}),
        (0.05, {"enable": 0}),
        (0.05, {"mode": UNKNOWN_MODE}),
    )
    for probability, change in changes:
        if rng.random() < probability:
            context |= change


def random_scenario(config: CoreConfig, rng: Random, *, routes: int = ROUTES, faults: bool = True) -> Scenario:
    """Tables with everything in them.

    Parameters
    ----------
    routes : int
        Routes for each router, as far as its window goes.
    faults : bool
        Also routers whose windows are too short for what their tables say, or that are disabled.
    """
    owned = set[tuple[int, int]]()
    modes = _modes(config, rng)
    routed = [number for number, mode in enumerate(modes) if mode == RouterMode.ROUTED]
    links = random_links(config, rng, routed) if config.circuits else LinkTables()
    drawn = [random_router(config, rng, number, mode, share=number, owned=owned, routes=routes, faults=faults,
                           links=links)
             for number, mode in enumerate(modes)]
    vmac = placed(config, rng, [router.setup for router in drawn], links)
    writes = [write for router in drawn for write in router.rows(config)]
    if config.circuits:
        writes += links.writes(config, vmac.seeds)
    # A VMAC comes last: no frame reaches a router before its other rows are there
    return Scenario(config, [router.setup for router in drawn], writes + vmac.writes(), vmac, links)
