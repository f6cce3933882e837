"""What a router's routes point at, against the golden model's look-ups."""

import random

import pytest
from polyrouter.hdl.layouts import ADJACENCY_ECMP, Table, pack
from polyrouter.host.tables.adjacency import glean, group, next_hop
from polyrouter.host.tables.prefix import Prefix
from polyrouter.host.tables.windows import Window
from polyrouter.sim.golden_tables import Adjacency

from ....table_board import TableBoard
from .tables_of_a_router import (
    HOPS,
    KNOWN,
    ROUTER,
    TARGETS,
    K,
    check,
    ip,
    make,
    meet,
    net,
    outcomes,
    random_routes,
    tell,
    without_halves,
)


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
        assert board.adjacency(ROUTER, ip("20.0.7.1")) == Adjacency(kind, 0, mac or 0, 1500 if mac else 0, 0)
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
