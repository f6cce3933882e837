"""A router's tables as a whole: written, adopted, changed, removed."""

import random

import pytest
from polyrouter.hdl.layouts import MAC_ROW, RouterMode, Table, pack
from polyrouter.host.ports import logical
from polyrouter.host.tables.adjacency import LOCAL, glean, group, next_hop
from polyrouter.host.tables.policy import Policy
from polyrouter.host.tables.router import RouterTables
from polyrouter.host.tables.windows import Window
from polyrouter.sim.golden_tables import Adjacency, RouteFault

from ....table_board import BoardGone, TableBoard
from .tables_of_a_router import (
    CONFIG,
    KNOWN,
    MACS,
    ROUTER,
    TARGETS,
    WINDOW,
    K,
    check,
    ip,
    make,
    net,
    random_routes,
    tell,
    without_halves,
)


def test_program_all_writes_context_last():
    tables, board = make()
    tables.set_route(net("10.0.0.0/8"), next_hop(1, ip("10.0.0.1")))
    tables.set_neighbour(1, ip("10.0.0.1"), 0x02AA00000001)
    tables.program_all()
    assert board.adjacency(ROUTER, ip("10.1.2.3")) == Adjacency(K.FORWARD, 1, 0x02AA00000001, 1500, 0)
    context = board.tables.context(ROUTER)
    assert (context.enable, context.ports, context.group, context.guard) == (1, 15, 15, 2)
    assert [board.tables.own_mac(ROUTER, port) for port in MACS] == list(MACS.values())
    assert board.log[-1][0] == Table.CONTEXT
    assert sum(entry[0] == Table.CONTEXT for entry in board.log) == 2


def test_held_tables_have_all_and_take_nothing_until_they_are_released():
    board = TableBoard(CONFIG)
    tables = RouterTables(board, ROUTER, WINDOW, MACS, held=True)
    tables.program_all()
    tables.set_route(net("10.0.0.0/8"), next_hop(1, ip("10.0.0.1")))
    tables.set_neighbour(1, ip("10.0.0.1"), 0x02AA00000001)
    tables.commit()
    tables.set_ports(MACS, policy=Policy())     # what else is written to the context does not enable it
    assert tables.held and not board.tables.context(ROUTER).enable
    assert not tables.adopt()                   # it is on trial; who comes later begins anew
    tables.release()
    assert not tables.held and board.tables.context(ROUTER).enable
    assert board.adjacency(ROUTER, ip("10.1.2.3")) == Adjacency(K.FORWARD, 1, 0x02AA00000001, 1500, 0)
    written = len(board.log)
    tables.release()
    assert len(board.log) == written


def test_flags_of_the_policy_are_in_the_context():
    board = TableBoard(CONFIG)
    window = Window(4000, 16, 64, 2, mac_base=64, mac_size=16)
    flags = [(RouterMode.BRIDGED, True, False), (RouterMode.BRIDGED, False, False), (RouterMode.ROUTED, True, True)]
    tables = RouterTables(board, ROUTER, window, MACS, policy=Policy())
    tables.program_all()
    for mode, learn, tunnels in flags:
        tables.set_ports(MACS, policy=Policy(mode=mode, learn=learn, tunnels=tunnels, vids={3: 17}))
        context = board.tables.context(ROUTER)
        assert (context.mode, context.learn, context.tunnels) == (mode, learn and mode == RouterMode.BRIDGED, tunnels)
        assert board.tables.port(ROUTER, 3).vid == 17
    assert [tables.reaches(port) for port in (0, 2, logical(3, 17), logical(3, 18))] == [True, True, True, False]


def test_addresses_behind_a_circuit_that_went_are_forgotten():
    board = TableBoard(CONFIG)
    window = Window(4000, 16, 64, 2, mac_base=64, mac_size=16)
    tables = RouterTables(board, ROUTER, window, MACS, policy=Policy(mode=RouterMode.BRIDGED))
    tables.program_all()
    learned = {1: (0, 0), 5: (3, 17), 6: (3, 18), 7: (1, 0), 9: (3, 17)}
    board.write_rows((Table.MAC, ROUTER, row, pack(MAC_ROW, {"mac": row, "port": port, "vid": vid, "age": 5}))
                     for row, (port, vid) in learned.items())
    tables.forget_addresses({logical(3, 17), logical(3, 20), 1})
    left = [row for row in range(16) if board.read_rows([(Table.MAC, ROUTER, row)]) != [0]]
    assert left == [1, 6]


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


def test_remove():
    tables, board = make()
    tables.program_all()
    tables.resync(random_routes(random.Random(3), 20, TARGETS))
    tables.remove()
    with pytest.raises(RouteFault):
        board.adjacency(ROUTER, 1)
    assert board.tables.read(Table.CONTEXT, ROUTER, 0) == 0
    assert [board.tables.own_mac(ROUTER, port) for port in MACS] == [0, 0, 0, 0]


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
