"""A router's tables, against the golden model's look-ups."""

import random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import ADJACENCY_ECMP, AdjacencyKind, Table, pack
from polyrouter.host.tables.adjacency import BLACKHOLE, LOCAL, UNREACHABLE, glean, group, next_hop
from polyrouter.host.tables.prefix import Prefix
from polyrouter.host.tables.router import RouterTables
from polyrouter.host.tables.windows import Window
from polyrouter.sim.golden_tables import Adjacency, RouteFault

from ....table_board import BoardGone, TableBoard

CONFIG = CoreConfig(routers=4, fib_words=16384, adjacencies=256)
WINDOW = Window(4000, 3000, 64, 64)
MACS = {0: 0x020000000010, 1: 0x020000000011, 2: 0x020000000012}
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
        return {Adjacency(target.kind, 0, 0, 0)}
    hops = target.members or (target,)
    return ({Adjacency(K.FORWARD, hop.port, macs[hop], 1500) for hop in hops if hop in macs}
            or {Adjacency(K.UNRESOLVED, hops[0].port, 0, 0)})


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
HOPS = [next_hop(k % 3, 0x0A000001 + k // 2, bool(k % 2)) for k in range(24)]
GROUPS = [group(dict.fromkeys(HOPS[:2], 1)), group(dict.fromkeys(HOPS[2:6], 1)), group({HOPS[7]: 1, HOPS[9]: 2})]
TARGETS = [LOCAL, BLACKHOLE, UNREACHABLE, glean(0), glean(1), *HOPS, *GROUPS, *GROUPS]
KNOWN = {hop: 0x02AA00000000 + k for k, hop in enumerate(HOPS) if k % 4 < 2}


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
    tell(tables, KNOWN)
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
    tell(tables, KNOWN)
    tables.program_all()
    before = random_routes(source, 80, TARGETS)
    tables.resync(before)
    after = {prefix: source.choice(TARGETS) for prefix in before if source.random() < 0.6}
    after |= random_routes(source, 40, TARGETS)
    addresses = some_addresses(source, 20) + [edge for prefix in list(before)[:30] for edge in edges(prefix)]
    allowed = {address: outcomes(expected(before, address), KNOWN) | outcomes(expected(after, address), KNOWN)
               for address in addresses}
    writes = 0

    def look() -> None:
        nonlocal writes
        writes += 1
        for address, results in allowed.items():
            assert meet(board, address) in results

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
        tables.set_route(Prefix(False, ip("20.0.0.0") + (k << 8), 24), hop)
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
    tell(tables, KNOWN)
    tables.program_all()
    routes = without_halves(random_routes(source, 300, TARGETS))
    tables.resync(routes)

    again = make(board=board)[0]
    before = len(board.log)
    assert again.adopt()
    assert set(again.prefixes()) == set(routes)
    again.commit()          # nobody has said anything yet
    tell(again, KNOWN)
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
    tell(tables, KNOWN)
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
    tables.writer.driver = blank
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
    routes |= {Prefix(False, 20 << 24 | source.getrandbits(24) & 0xFFFFFF00, 24): other for _ in range(400)}
    tables.resync(routes)
    installed = tables.route_count()
    assert 50 < installed < len(routes)
    assert f"{len(routes) - installed} routes" in tables.problems()[0]
    assert set(tables.prefixes()) == set(routes)

    def verify() -> int:
        right = 0
        for _, address, _ in routes:
            found = board.adjacency(ROUTER, address + 1)
            target = expected(routes, Prefix.host(address + 1, False))
            assert found.kind == K.LOCAL or (found.port, found.kind) == (target.port, K.FORWARD)
            right += found.kind == K.FORWARD
        return right

    assert verify() == installed - 1        # all but 20.0.0.0/8
    assert board.kind(ROUTER, ip("20.255.255.1")) == K.LOCAL or net("20.255.255.0/24") in routes
    assert board.kind(ROUTER, ip("30.1.1.1")) == K.FORWARD
    assert board.kind(ROUTER, ip("99.1.1.1")) == K.FORWARD

    # Withdrawals work although nothing is free, and make room for the rest.
    many = [prefix for prefix in routes if prefix.length == 24]
    keep = set(source.sample(many, 60))
    for prefix in many:
        if prefix not in keep:
            tables.set_route(prefix, None)
            del routes[prefix]
    tables.commit()
    tables.commit()
    verify()
    assert tables.problems() == []
    check(board, tables, routes, {hop: 0x02AA00000001, other: 0x02AA00000002}, source)


def test_no_room_for_next_hops():
    tables, board = make(Window(0, 1000, 0, 4))
    tables.program_all()
    routes = {Prefix(False, 20 << 24 | k << 8, 24): next_hop(0, ip("10.0.0.0") + k) for k in range(10)}
    for k in range(10):
        tables.set_neighbour(0, ip("10.0.0.0") + k, 0x02AA00000000 + k)
    tables.resync(routes)
    kinds = [board.kind(ROUTER, prefix.address) for prefix in routes]
    assert sorted(kinds) == [K.FORWARD] * 3 + [K.LOCAL] * 7
    assert "7 routes have no room for their next hop in the 4 adjacencies" in tables.problems()[0]
    for prefix, kind in list(zip(routes, kinds, strict=True)):
        if kind == K.FORWARD:
            tables.set_route(prefix, None)
            del routes[prefix]
    tables.commit()
    kinds = [board.kind(ROUTER, prefix.address) for prefix in routes]
    assert sorted(kinds) == [K.FORWARD] * 3 + [K.LOCAL] * 4


def test_all_adjacencies_replaced_in_a_window_that_is_full():
    tables, board = make(Window(0, 1000, 0, 4))
    tables.program_all()
    for generation in range(3):
        hops = [next_hop(0, generation * 10 + k) for k in range(3)]
        for k, hop in enumerate(hops):
            tables.set_neighbour(0, hop.address, 0x02AA00000000 + hop.address)
            tables.set_route(Prefix(False, 20 << 24 | k << 8, 24), hop)
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
    tables.resync({net("10.0.0.0/24"): glean(1), net("0.0.0.0/0"): hop, net("9.0.0.0/8"): LOCAL,
                   net("2001:db8::/32"): group({next_hop(0, ip("fe80::1"), True): 1, hop: 1})})
    assert [(route["prefix"], route["target"]) for route in tables.describe_routes()] == [
        ("0.0.0.0/0", "10.0.0.1 port 1"), ("9.0.0.0/8", "local"), ("10.0.0.0/24", "port 1"),
        ("2001:db8::/32", "10.0.0.1 port 1, fe80::1 port 0")]
    rows = {row["kind"]: row for row in tables.describe_adjacencies() if row["next_hop"] == ip("10.0.0.1")}
    assert rows["FORWARD"] | {"row": 0} == {"row": 0, "kind": "FORWARD", "port": 1, "mac": 0x02AA00000001, "mtu": 1500,
                                            "users": 1, "next_hop": ip("10.0.0.1")}
    assert tables.statistics().routes == 4


SOME = HOPS[:6]
ROUTE = net("2001:db8:1::/48")
INSIDE = Prefix.host(ROUTE.address + 5, True)
FLOWS = [source.getrandbits(96) for source in [random.Random(12)] for _ in range(300)]


def spread(board: TableBoard, flows=FLOWS) -> dict[int, int]:
    """Flows of each MAC address; all must be forwarded."""
    counts: dict[int, int] = {}
    for flow in flows:
        found = meet(board, INSIDE, flow)
        assert found.kind == K.FORWARD
        counts[found.mac] = counts.get(found.mac, 0) + 1
    return counts


def test_several_next_hops_share_the_flows():
    tables, board = make()
    tables.program_all()
    tables.set_route(ROUTE, group({hop: 1 for hop in SOME[:3]} | {SOME[3]: 3}))
    tables.commit()
    assert meet(board, INSIDE).kind == K.UNRESOLVED
    assert set(tables.take_unresolved()) == set(SOME[:4]) == tables.next_hops()
    macs = {hop: 0x02BB00000000 + k for k, hop in enumerate(SOME)}
    for hop in SOME[:4]:
        tell(tables, {hop: macs[hop]})
        tables.commit()
        known = {macs[other] for other in SOME[:SOME.index(hop) + 1]}
        assert spread(board).keys() == known
    counts = spread(board)
    assert 115 < counts[macs[SOME[3]]] < 185
    assert all(30 < counts[macs[hop]] < 75 for hop in SOME[:3])
    # One that is gone takes no part any more, and the others' rows are all that is in use.
    tell(tables, {SOME[3]: None})
    tables.commit()
    assert spread(board).keys() == {macs[hop] for hop in SOME[:3]}
    assert tables.adjacency_count() == 1 + 3 + 1
    # Another MAC address is one write for the group.
    before = len(board.log)
    tell(tables, {SOME[0]: 0x02CC00000000})
    tables.commit()
    assert len(board.log) == before + 1
    assert 0x02CC00000000 in spread(board)
    tables.set_mtu(SOME[1].port, 1400)
    tables.commit()
    assert {meet(board, INSIDE, flow).mtu for flow in FLOWS} == {1400, 1500}
    assert tables.problems() == []


def test_changes_of_a_group_show_each_flow_old_or_new():
    source = random.Random(6)
    tables, board = make()
    tables.program_all()
    macs: dict = {}
    flows = FLOWS[:40]

    def all_flows() -> list:
        return [meet(board, INSIDE, flow) for flow in flows]

    seen: list = []
    board.on_write = lambda: seen.append(all_flows())
    for _ in range(80):
        before = all_flows()
        for hop in source.sample(SOME, source.choice([1, 1, 2, 4])):
            mac = source.choice([None, source.getrandbits(40)])
            macs[hop] = mac
            tell(tables, {hop: mac})
        hops = source.sample(SOME, source.choice([1, 2, 3, 5]))
        target = source.choice([group({hop: source.choice([1, 1, 2]) for hop in hops}), None])
        if target is not None:
            tables.set_route(ROUTE, target)
        seen.clear()
        tables.commit()
        after = all_flows()
        known = {hop: mac for hop, mac in macs.items() if mac is not None}
        if target is not None:
            assert set(after) <= outcomes(target, known)
        # A MAC address and the route may change in two steps of one commit: then a flow may meet the old route's new
        # address in between.
        for now in seen:
            for old, mid, new in zip(before, now, after, strict=True):
                assert mid in (old, new) or (mid.kind == K.FORWARD and mid.mac in known.values()) or (
                    mid.kind == K.UNRESOLVED and target is not None)
    assert tables.adjacency_count() <= 1 + 1 + 16
    assert tables.problems() == []


def test_group_changes_only_by_a_new_run_and_one_write():
    """Without a change of the route, each flow meets exactly what it met before or what it meets after."""
    source = random.Random(7)
    tables, board = make()
    tables.program_all()
    macs = {hop: 0x02BB00000000 + k for k, hop in enumerate(SOME)}
    tell(tables, macs)
    tables.set_route(ROUTE, group(dict.fromkeys(SOME, 1)))
    tables.commit()
    for _ in range(40):
        before = [meet(board, INSIDE, flow) for flow in FLOWS]
        seen: list = []
        board.on_write = lambda seen=seen: seen.append([meet(board, INSIDE, flow) for flow in FLOWS])
        hop = source.choice(SOME)
        macs[hop] = None if macs[hop] else source.getrandbits(40)
        tell(tables, {hop: macs[hop]})
        start = len(board.log)
        tables.commit()
        board.on_write = lambda: None
        after = [meet(board, INSIDE, flow) for flow in FLOWS]
        for now in seen:
            assert all(mid in pair for mid, *pair in zip(now, before, after, strict=True))
        # Rows are not written again before a fence.
        log = board.log[start:]
        cleared = {entry[2] for entry in log[log.index("fence"):] if entry != "fence"} if "fence" in log else set()
        written = {entry[2] for entry in log[:log.index("fence")]} if "fence" in log else set()
        assert not cleared & written


def test_no_run_for_a_group_and_room_again():
    tables, board = make(Window(0, 1000, 0, 8))
    tables.program_all()
    macs = {hop: 0x02BB00000000 + k for k, hop in enumerate(SOME)}
    tell(tables, macs)
    blocker = net("9.0.0.0/8")
    tables.set_route(blocker, group({SOME[4]: 1, SOME[5]: 1}))
    tables.commit()
    tables.set_route(ROUTE, group(dict.fromkeys(SOME[:4], 1)))
    tables.commit()
    assert spread(board).keys() == {macs[SOME[0]]}
    assert "1 groups of next hops have no room in the 8 adjacencies" in tables.problems()[0]
    tables.set_route(blocker, None)
    tables.commit()
    assert tables.problems() == []
    assert len(spread(board)) == 4
    # One less has room only when the old run is free.
    tables.set_route(blocker, SOME[5])
    tell(tables, {SOME[2]: None})
    tables.commit()
    assert spread(board).keys() == {macs[hop] for hop in (SOME[0], SOME[1], SOME[3])}
    assert tables.problems() == []


def test_adopted_groups_stay_as_they_are():
    source = random.Random(10)
    tables, board = make(Window(0, 3000, 0, 128))
    tell(tables, KNOWN)
    tables.program_all()
    groups = [group({hop: source.choice([1, 1, 3]) for hop in source.sample(HOPS, size)}) for size in (2, 2, 3, 5, 9)]
    routes = without_halves(random_routes(source, 200, TARGETS + 3 * groups))
    tables.resync(routes)
    check(board, tables, routes, KNOWN, source)
    flows = [(address, flow) for address in map(lambda p: Prefix.host(p.address, p.ipv6), routes) for flow in FLOWS[:5]]
    before = [meet(board, *flow) for flow in flows]

    again = make(Window(0, 3000, 0, 128), board)[0]
    start = len(board.log)
    assert again.adopt()
    tell(again, KNOWN)
    again.resync(routes)
    assert [meet(board, *flow) for flow in flows] == before
    assert {entry[0] for entry in board.log[start:]} <= {Table.PORT, Table.CONTEXT, "f"}
    assert again.adjacency_count() == tables.adjacency_count()
    again.resync({})
    assert again.adjacency_count() == 1
    assert board.tables.read(Table.CONTEXT, ROUTER, 0) == tables._context_row(enable=True)[2]
    assert all(board.tables.read(Table.ADJACENCY, ROUTER, row) == 0 for row in range(1, 128)
               if row not in again._next_hops.adjacencies.image())


@pytest.mark.parametrize("bits", [{"first": 60, "count": 5}, {"first": 0, "count": 1}, {"first": 0, "count": 17},
                                  {"first": 60, "count": 3}])
def test_a_group_that_is_none_of_ours_is_not_adopted(bits):
    tables, board = make()
    tables.program_all()
    tell(tables, KNOWN)
    tables.resync({ROUTE: HOPS[0], net("9.0.0.0/8"): HOPS[1]})
    row = next(row for row in range(64) if board.tables.read(Table.ADJACENCY, ROUTER, row) & 7 == K.FORWARD)
    board.tables.write(Table.ADJACENCY, ROUTER, row, pack(ADJACENCY_ECMP, {"kind": K.ECMP, **bits}))
    assert not make(board=board)[0].adopt()


def test_both_families_in_a_window_that_is_full():
    source = random.Random(13)
    tables, board = make(Window(0, 300, 0, 64))
    tell(tables, KNOWN)
    tables.program_all()
    some = [hop for hop in HOPS if hop in KNOWN]
    routes = {net("0.0.0.0/0"): some[0], net("::/0"): some[1], net("2001:db8::/32"): some[2]}
    routes |= random_routes(source, 300, some)
    tables.resync(routes)
    assert 100 < tables.route_count() < len(routes)
    assert "do not fit the FIB window of 300 words" in tables.problems()[0]
    for prefix in routes:
        for address in edges(prefix):
            found = meet(board, address)
            assert found is None or found.kind == K.LOCAL or {found} == outcomes(expected(routes, address), KNOWN)
    for prefix in source.sample(sorted(routes), len(routes) - 60):
        tables.set_route(prefix, None)
        del routes[prefix]
    tables.commit()
    tables.commit()
    assert tables.problems() == []
    check(board, tables, routes, KNOWN, source)
