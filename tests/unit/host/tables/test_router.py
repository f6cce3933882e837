"""A router's tables, against the golden model's look-ups."""

import random
from ipaddress import ip_network

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import AdjacencyKind, Table
from polyrouter.host.tables.adjacency import BLACKHOLE, LOCAL, UNREACHABLE, glean, next_hop
from polyrouter.host.tables.router import RouterTables
from polyrouter.host.tables.windows import Window
from polyrouter.sim.golden_tables import Adjacency, RouteFault

from ....table_board import BoardGone, TableBoard

CONFIG = CoreConfig(routers=4, fib_words=16384, adjacencies=256)
WINDOW = Window(4000, 3000, 64, 64)
MACS = {0: 0x020000000010, 1: 0x020000000011, 2: 0x020000000012}
ROUTER = 2
K = AdjacencyKind


def net(text: str) -> tuple[int, int]:
    network = ip_network(text)
    return int(network.network_address), network.prefixlen


def ip(text: str) -> int:
    return net(text)[0]


def make(window: Window = WINDOW, board: TableBoard | None = None) -> tuple[RouterTables, TableBoard]:
    board = board or TableBoard(CONFIG)
    tables = RouterTables(board, ROUTER, window, MACS, guard=[1])
    return tables, board


def random_routes(source: random.Random, count: int, targets: list) -> dict:
    routes = {}
    while len(routes) < count:
        length = source.choice([0, 8, 12, 16, 20, 22, 24, 24, 24, 28, 30, 32])
        address = source.getrandbits(10) << 22 | source.getrandbits(22) & source.getrandbits(22)
        routes[address >> 32 - length << 32 - length, length] = source.choice(targets)
    return routes


def expected(routes: dict, address: int):
    for length in range(32, -1, -1):
        found = routes.get((address >> 32 - length << 32 - length, length))
        if found is not None:
            return found
    return None


def check(board: TableBoard, tables: RouterTables, routes: dict, macs: dict, source: random.Random) -> None:
    """Look-ups at the edges of all prefixes and at random give what the routes say."""
    addresses = [source.getrandbits(32) for _ in range(200)]
    for address, length in routes:
        addresses += [address, address | (1 << 32 - length) - 1, max(0, address - 1)]
    for address in addresses:
        target, found = expected(routes, address), board.adjacency(ROUTER, address)
        if target is None:
            assert found is None
        elif target.kind != K.FORWARD:
            assert found is not None and found.kind == target.kind
        else:
            mac = macs.get((target.port, target.address))
            assert found == (Adjacency(K.UNRESOLVED, target.port, 0, 0) if mac is None
                             else Adjacency(K.FORWARD, target.port, mac, 1500))
    assert tables.route_count() == len(routes)


TARGETS = [LOCAL, BLACKHOLE, UNREACHABLE, glean(0), glean(1), *(next_hop(k % 3, 0x0A000001 + k) for k in range(20))]
KNOWN = {(k % 3, 0x0A000001 + k): 0x02AA00000000 + k for k in range(0, 20, 2)}


def test_program_all_writes_context_last():
    tables, board = make()
    tables.set_route(net("10.0.0.0/8"), next_hop(1, ip("10.0.0.1")))
    tables.set_neighbour(1, ip("10.0.0.1"), 0x02AA00000001)
    tables.program_all()
    assert board.adjacency(ROUTER, ip("10.1.2.3")) == Adjacency(K.FORWARD, 1, 0x02AA00000001, 1500)
    context = board.tables.context(ROUTER)
    assert (context.enable, context.ports, context.group, context.guard) == (1, 7, 7, 2)
    assert [board.tables.own_mac(ROUTER, port) for port in range(3)] == list(MACS.values())
    assert board.log[-1][0] == Table.CONTEXT
    assert sum(entry[0] == Table.CONTEXT for entry in board.log) == 2


def test_random_changes():
    source = random.Random(4)
    tables, board = make()
    for key, mac in KNOWN.items():
        tables.set_neighbour(*key, mac)
    tables.program_all()
    routes: dict = {}
    for _ in range(12):
        for prefix, target in random_routes(source, 60, TARGETS).items():
            tables.set_route(prefix, target)
            routes[prefix] = target
        for prefix in source.sample(sorted(routes), len(routes) // 3):
            tables.set_route(prefix, None)
            del routes[prefix]
        tables.commit()
        check(board, tables, routes, KNOWN, source)
    assert tables.problems() == []


def test_every_single_write_shows_old_or_new():
    source = random.Random(5)
    tables, board = make()
    for key, mac in KNOWN.items():
        tables.set_neighbour(*key, mac)
    tables.program_all()
    before = random_routes(source, 80, TARGETS)
    tables.resync(before)
    after = {prefix: source.choice(TARGETS) for prefix in before if source.random() < 0.6}
    after |= random_routes(source, 40, TARGETS)
    addresses = [source.getrandbits(32) for _ in range(20)] + [prefix[0] for prefix in list(before)[:40]]

    def what(routes, address):
        target = expected(routes, address)
        if target is None or target.kind != K.FORWARD:
            return None if target is None else (target.kind, 0, 0)
        mac = KNOWN.get((target.port, target.address))
        return (K.UNRESOLVED, target.port, 0) if mac is None else (K.FORWARD, target.port, mac)

    allowed = {address: {what(before, address), what(after, address)} for address in addresses}
    writes = 0

    def look() -> None:
        nonlocal writes
        writes += 1
        for address, outcomes in allowed.items():
            found = board.adjacency(ROUTER, address)
            assert (None if found is None else (found.kind, found.port, found.mac)) in outcomes

    board.on_write = look
    tables.resync(after)
    board.on_write = lambda: None
    assert writes > 50
    check(board, tables, after, KNOWN, source)


def test_neighbour_changes_are_one_row_write_each():
    tables, board = make()
    tables.program_all()
    hop = next_hop(0, ip("10.0.0.9"))
    for k in range(50):
        tables.set_route((ip("20.0.0.0") + (k << 8), 24), hop)
    tables.commit()
    assert tables.take_unresolved() == [hop]
    assert tables.take_unresolved() == []
    for mac, kind in ((0x02AA00000001, K.FORWARD), (0x02AA00000002, K.FORWARD), (None, K.UNRESOLVED)):
        before = len(board.log)
        tables.set_neighbour(0, ip("10.0.0.9"), mac)
        tables.commit()
        assert [entry[0] for entry in board.log[before:]] == [Table.ADJACENCY]
        assert board.adjacency(ROUTER, ip("20.0.7.1")) == Adjacency(kind, 0, mac or 0, 1500 if mac else 0)
    tables.set_neighbour(0, ip("10.0.0.9"), 0x02AA00000003)
    tables.set_mtu(0, 9000)
    tables.commit()
    assert board.adjacency(ROUTER, ip("20.0.7.1")).mtu == 9000


def test_a_released_row_is_cleared_after_a_fence():
    tables, board = make()
    tables.program_all()
    tables.set_route(net("10.0.0.0/8"), glean(0))
    tables.commit()
    tables.set_route(net("10.0.0.0/8"), glean(1))
    before = len(board.log)
    tables.commit()
    log = board.log[before:]
    assert log[-2] == "fence"
    assert log[-1][0] == Table.ADJACENCY and log[-1][3] == 0
    fib = next(k for k, entry in enumerate(log) if entry[0] == Table.FIB)
    assert any(entry[0] == Table.ADJACENCY for entry in log[:fib])


def test_nothing_to_do_writes_nothing():
    tables, board = make()
    tables.program_all()
    routes = random_routes(random.Random(1), 100, TARGETS)
    tables.resync(routes)
    before = len(board.log)
    tables.resync(routes)
    tables.commit()
    assert len(board.log) == before


def test_adopt_continues_without_a_change():
    source = random.Random(9)
    tables, board = make()
    for key, mac in KNOWN.items():
        tables.set_neighbour(*key, mac)
    tables.program_all()
    routes = random_routes(source, 300, TARGETS)
    tables.resync(routes)

    again = make(board=board)[0]
    before = len(board.log)
    assert again.adopt()
    assert set(again.prefixes()) == set(routes)
    again.commit()          # nobody has said anything yet
    for key, mac in KNOWN.items():
        again.set_neighbour(*key, mac)
    again.resync(routes)
    assert {entry[0] for entry in board.log[before:]} <= {Table.PORT, Table.CONTEXT, "f"}
    check(board, again, routes, KNOWN, source)

    for prefix in source.sample(sorted(routes), 100):
        del routes[prefix]
    routes |= random_routes(source, 100, TARGETS)
    again.resync(routes)
    check(board, again, routes, KNOWN, source)
    assert again.problems() == []


@pytest.mark.parametrize("damage", ["disabled", "moved", "fault", "loop"])
def test_adopt_refuses_what_is_not_usable(damage):
    tables, board = make()
    tables.program_all()
    tables.resync(random_routes(random.Random(2), 50, TARGETS))
    again = make(Window(0, 3000, 64, 64) if damage == "moved" else WINDOW, board)[0]
    if damage == "disabled":
        board.tables.write(Table.CONTEXT, ROUTER, 0, board.tables.read(Table.CONTEXT, ROUTER, 0) & ~1)
    elif damage == "fault":
        board.tables.write(Table.FIB, ROUTER, 0, 3 << 16 | 2999 << 32)
    elif damage == "loop":
        board.tables.write(Table.FIB, ROUTER, 0, 1 << 16)
    before = len(board.log)
    assert not again.adopt()
    assert len(board.log) == before
    assert not again.synchronize()
    assert board.adjacency(ROUTER, ip("10.0.0.1")) is None


@pytest.mark.parametrize("accesses", range(0, 60, 3))
def test_a_board_that_fails_in_between(accesses):
    """What is written up to there is old or new; afterwards the rest is done, without a gap."""
    source = random.Random(accesses)
    tables, board = make()
    for key, mac in KNOWN.items():
        tables.set_neighbour(*key, mac)
    tables.program_all()
    routes = random_routes(source, 60, TARGETS)
    tables.resync(routes)
    changed = random_routes(source, 30, TARGETS)
    board.fail_after = accesses
    with pytest.raises(BoardGone):
        tables.resync(changed)
    assert tables.out_of_step
    assert "until it is synchronized" in tables.problems()[0]
    before = len(board.log)
    tables.commit()
    assert len(board.log) == before
    board.fail_after = None
    assert tables.synchronize()
    check(board, tables, changed, KNOWN, source)
    assert tables.problems() == []


def test_a_board_that_was_reset_is_written_again():
    tables, _ = make()
    tables.program_all()
    routes = random_routes(random.Random(3), 60, TARGETS)
    tables.resync(routes)
    blank = TableBoard(CONFIG)
    tables.driver = blank
    assert not tables.synchronize()
    check(blank, tables, routes, {}, random.Random(0))


def test_full_fib_punts_what_would_go_wrong_and_heals():
    source = random.Random(11)
    tables, board = make(Window(0, 120, 0, 64))
    tables.program_all()
    hop, other = next_hop(0, ip("10.0.0.1")), next_hop(1, ip("10.0.1.1"))
    tables.set_neighbour(0, ip("10.0.0.1"), 0x02AA00000001)
    tables.set_neighbour(1, ip("10.0.1.1"), 0x02AA00000002)
    routes = {net("0.0.0.0/0"): hop, net("20.0.0.0/8"): hop, net("30.0.0.0/8"): hop}
    tables.resync(routes)
    routes |= {(20 << 24 | source.getrandbits(24) & 0xFFFFFF00, 24): other for _ in range(400)}
    tables.resync(routes)
    installed = tables.route_count()
    assert 50 < installed < len(routes)
    assert f"{len(routes) - installed} routes" in tables.problems()[0]
    assert set(tables.prefixes()) == set(routes)

    def verify() -> int:
        right = 0
        for address, _ in routes:
            found = board.adjacency(ROUTER, address + 1)
            target = expected(routes, address + 1)
            assert found.kind == K.LOCAL or (found.port, found.kind) == (target.port, K.FORWARD)
            right += found.kind == K.FORWARD
        return right

    assert verify() == installed - 1        # all but 20.0.0.0/8
    assert board.kind(ROUTER, ip("20.255.255.1")) == K.LOCAL or (ip("20.255.255.0"), 24) in routes
    assert board.kind(ROUTER, ip("30.1.1.1")) == K.FORWARD
    assert board.kind(ROUTER, ip("99.1.1.1")) == K.FORWARD

    # Withdrawals work although nothing is free, and make room for the rest.
    many = [prefix for prefix in routes if prefix[1] == 24]
    keep = set(source.sample(many, 60))
    for prefix in many:
        if prefix not in keep:
            tables.set_route(prefix, None)
            del routes[prefix]
    tables.commit()
    tables.commit()
    verify()
    assert tables.problems() == []
    check(board, tables, routes, {(0, ip("10.0.0.1")): 0x02AA00000001, (1, ip("10.0.1.1")): 0x02AA00000002}, source)


def test_no_room_for_next_hops():
    tables, board = make(Window(0, 1000, 0, 4))
    tables.program_all()
    routes = {(20 << 24 | k << 8, 24): next_hop(0, ip("10.0.0.0") + k) for k in range(10)}
    for k in range(10):
        tables.set_neighbour(0, ip("10.0.0.0") + k, 0x02AA00000000 + k)
    tables.resync(routes)
    kinds = [board.kind(ROUTER, prefix[0]) for prefix in routes]
    assert sorted(kinds) == [K.FORWARD] * 3 + [K.LOCAL] * 7
    assert "7 routes have no room for their next hop in the 4 adjacencies" in tables.problems()[0]
    for prefix, kind in list(zip(routes, kinds, strict=True)):
        if kind == K.FORWARD:
            tables.set_route(prefix, None)
            del routes[prefix]
    tables.commit()
    kinds = [board.kind(ROUTER, prefix[0]) for prefix in routes]
    assert sorted(kinds) == [K.FORWARD] * 3 + [K.LOCAL] * 4


def test_all_adjacencies_replaced_in_a_window_that_is_full():
    tables, board = make(Window(0, 1000, 0, 4))
    tables.program_all()
    for generation in range(3):
        hops = [next_hop(0, generation * 10 + k) for k in range(3)]
        for k, hop in enumerate(hops):
            tables.set_neighbour(0, hop.address, 0x02AA00000000 + hop.address)
            tables.set_route((20 << 24 | k << 8, 24), hop)
        tables.commit()
        tables.commit()
        assert tables.problems() == []
        assert [board.adjacency(ROUTER, 20 << 24 | k << 8).mac & 0xFF for k in range(3)] == [h.address for h in hops]


def test_remove():
    tables, board = make()
    tables.program_all()
    tables.resync(random_routes(random.Random(3), 20, TARGETS))
    tables.remove()
    with pytest.raises(RouteFault):
        board.adjacency(ROUTER, 1)
    assert board.tables.read(Table.CONTEXT, ROUTER, 0) == 0
    assert [board.tables.own_mac(ROUTER, port) for port in range(3)] == [0, 0, 0]


def test_ports_change_at_once():
    tables, board = make()
    tables.program_all()
    tables.set_ports({0: 5, 3: 6}, group=[3], guard=[])
    context = board.tables.context(ROUTER)
    assert (context.ports, context.group, context.guard, context.enable) == (9, 8, 0, 1)
    assert board.tables.own_mac(ROUTER, 3) == 6


def test_descriptions():
    tables, _ = make()
    tables.set_neighbour(1, ip("10.0.0.1"), 0x02AA00000001)
    tables.program_all()
    hop = next_hop(1, ip("10.0.0.1"))
    tables.resync({net("10.0.0.0/24"): glean(1), net("0.0.0.0/0"): hop, net("9.0.0.0/8"): LOCAL})
    assert [(route["prefix"], route["target"]) for route in tables.describe_routes()] == [
        ("0.0.0.0/0", "10.0.0.1 port 1"), ("9.0.0.0/8", "local"), ("10.0.0.0/24", "port 1")]
    rows = {row["kind"]: row for row in tables.describe_adjacencies()}
    assert rows["FORWARD"] | {"row": 0} == {"row": 0, "kind": "FORWARD", "port": 1, "mac": 0x02AA00000001, "mtu": 1500,
                                            "users": 1, "next_hop": ip("10.0.0.1")}
    assert tables.statistics().routes == 3
