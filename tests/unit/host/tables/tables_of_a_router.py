"""What tests of a router's tables share: random routes, and what the golden model's look-ups must give for them."""

import random

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import AdjacencyKind
from polyrouter.host.ports import circuit, logical, physical
from polyrouter.host.tables.adjacency import BLACKHOLE, LOCAL, UNREACHABLE, glean, group, next_hop
from polyrouter.host.tables.prefix import Prefix
from polyrouter.host.tables.router import RouterTables
from polyrouter.host.tables.windows import Window
from polyrouter.sim.golden_tables import Adjacency

from ....table_board import TableBoard

CONFIG = CoreConfig(routers=4, fib_words=16384, adjacencies=256, circuits=64)
#: Two ports with a wire, and a circuit of the link port.
PORTS = 0, 1, logical(3, 17)
WINDOW = Window(4000, 3000, 64, 64)
MACS = {0: 0x020000000010, 1: 0x020000000011, 2: 0x020000000012, 3: 0x020000000013}
ROUTER = 2
K = AdjacencyKind
net = Prefix.parse


def ip(text: str) -> int:
    return net(text).address


def make(window: Window = WINDOW, board: TableBoard | None = None) -> tuple[RouterTables, TableBoard]:
    board = board or TableBoard(CONFIG)
    tables = RouterTables(board, ROUTER, window, MACS, guard=[1])
    return tables, board


def random_routes(source: random.Random, count: int, targets: list) -> dict:
    routes = {}
    while len(routes) < count:
        if source.random() < 0.5:
            length = source.choice([0, 1, 8, 12, 16, 20, 22, 24, 24, 24, 28, 30, 32])
            address = source.getrandbits(10) << 22 | source.getrandbits(22) & source.getrandbits(22)
        else:
            length = source.choice([0, 1, 12, 32, 44, 47, 48, 48, 48, 56, 64, 64, 64, 127, 128])
            address = source.choice([0, 0x20010DB8 << 96, source.getrandbits(128)])
            address |= source.getrandbits(8) << 76 | source.getrandbits(4) << 60 | source.getrandbits(2)
        prefix = Prefix.host(address, length > 32 or bool(address >> 32)).cut(length)
        routes[prefix] = source.choice(targets)
    return routes


def without_halves(routes: dict) -> dict:
    """Without routes of one bit: a default route behind two of them does not show in the FIB."""
    return {prefix: target for prefix, target in routes.items() if prefix.length != 1}


def expected(routes: dict, address: Prefix):
    return next((routes[address.cut(length)] for length in range(address.bits, -1, -1)
                 if address.cut(length) in routes), None)


def some_addresses(source: random.Random, count: int) -> list[Prefix]:
    return [Prefix.host(source.getrandbits(128 if k % 2 else 32), bool(k % 2)) for k in range(count)]


def edges(prefix: Prefix) -> list[Prefix]:
    return [Prefix.host(address, prefix.ipv6) for address in (prefix.address, prefix.last, max(0, prefix.address - 1))]


def outcomes(target, macs: dict) -> set:
    """What flows to a target may meet: kind, port, MAC address and MTU."""
    if target is None:
        return {None}
    if target.kind not in (K.FORWARD, K.ECMP):
        return {Adjacency(target.kind, 0, 0, 0, 0)}
    hops = target.members or (target,)
    return ({Adjacency(K.FORWARD, physical(hop.port), macs[hop], 1500, circuit(hop.port))
             for hop in hops if hop in macs}
            or {Adjacency(K.UNRESOLVED, physical(hops[0].port), 0, 0, circuit(hops[0].port))})


def meet(board: TableBoard, address: Prefix, flow: int = 0):
    return board.adjacency(ROUTER, address.address, ipv6=address.ipv6, flow=flow)


def tell(tables: RouterTables, macs: dict) -> None:
    for hop, mac in macs.items():
        tables.set_neighbour(hop.port, hop.address, mac, hop.ipv6)


def check(board: TableBoard, tables: RouterTables, routes: dict, macs: dict, source: random.Random) -> None:
    """Look-ups at the edges of all prefixes and at random give what the routes say."""
    addresses = some_addresses(source, 200)
    for prefix in routes:
        addresses += edges(prefix)
    for address in addresses:
        assert meet(board, address, source.getrandbits(96)) in outcomes(expected(routes, address), macs)
    assert tables.route_count() == len(routes)


# The same addresses in both families: they must not be mixed up.
HOPS = [next_hop(PORTS[k % 3], 0x0A000001 + k // 2, bool(k % 2)) for k in range(24)]
GROUPS = [group(dict.fromkeys(HOPS[:2], 1)), group(dict.fromkeys(HOPS[2:6], 1)), group({HOPS[7]: 1, HOPS[9]: 2})]
TARGETS = [LOCAL, BLACKHOLE, UNREACHABLE, glean(0), glean(1), *HOPS, *GROUPS, *GROUPS]
KNOWN = {hop: 0x02AA00000000 + k for k, hop in enumerate(HOPS) if k % 4 < 2}
