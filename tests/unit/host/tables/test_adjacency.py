"""Adjacency rows."""

import pytest
from polyrouter.hdl.layouts import ADJACENCY_MULTICAST, ADJACENCY_ROW, AdjacencyKind, unpack
from polyrouter.host.ports import logical
from polyrouter.host.tables.adjacency import (
    BLACKHOLE,
    LOCAL,
    UNREACHABLE,
    AdjacencyFull,
    AdjacencyManager,
    content,
    describe,
    glean,
    next_hop,
)
from polyrouter.host.tables.groups import multicast

MAC = 0x02AABBCCDDEE


def test_equal_targets_share_a_row():
    manager = AdjacencyManager(4)
    rows = [manager.acquire(target, bits) for target, bits in (
        (next_hop(1, 10), (5,)), (next_hop(1, 10), (5,)), (LOCAL, (6,)))]
    assert rows[0] == rows[1] != rows[2]
    assert manager.take_writes() == [(rows[0], 5), (rows[2], 6)]
    assert manager.take_writes() == []
    assert len(manager) == 2


def test_a_row_is_free_only_after_the_last_user_and_a_fence():
    manager = AdjacencyManager(1)
    row = manager.acquire(glean(0), (7,))
    manager.acquire(glean(0), (7,))
    manager.take_writes()
    manager.release(row)
    assert not manager.needs_fence
    manager.release(row)
    assert manager.needs_fence
    with pytest.raises(AdjacencyFull, match="all 1 adjacencies"):
        manager.acquire(glean(1), (8,))
    assert manager.fenced() == [(row, 0)]
    assert manager.acquire(glean(1), (8,)) == row
    assert manager.take_writes() == [(row, 8)]


def test_update_in_place_writes_the_row_once():
    manager = AdjacencyManager(4)
    row = manager.acquire(next_hop(0, 1), (1,))
    manager.take_writes()
    assert not manager.update(next_hop(0, 1), (1,))
    assert not manager.update(next_hop(0, 2), (9,))
    assert manager.update(next_hop(0, 1), (2,))
    assert manager.update(next_hop(0, 1), (3,))
    assert manager.take_writes() == [(row, 3)]
    assert manager.image() == {row: 3}


def test_adopted_rows_go_to_targets_with_the_same_content():
    manager = AdjacencyManager(5)
    manager.adopt({1: ((100,), 2, 0), 3: ((100,), 1, 0), 4: ((200,), 1, 0)})
    assert manager.acquire(next_hop(0, 1), (100,), prefer=3) == 3
    assert manager.acquire(next_hop(0, 2), (100,)) == 1
    fresh = manager.acquire(next_hop(0, 3), (100,))
    assert fresh in (0, 2)
    assert manager.take_writes() == [(fresh, 100)]
    for row in (3, 3, 1, 1, 1, 4):
        manager.release(row)
    assert sorted(row for row, _ in manager.fenced()) == [1, 3, 4]
    assert manager.image() == {fresh: 100}


@pytest.mark.parametrize(("target", "mac", "expected"), [
    (LOCAL, None, {"kind": AdjacencyKind.LOCAL}),
    (BLACKHOLE, None, {"kind": AdjacencyKind.BLACKHOLE}),
    (UNREACHABLE, None, {"kind": AdjacencyKind.UNREACHABLE}),
    (glean(2), None, {"kind": AdjacencyKind.UNRESOLVED, "port": 2}),
    (next_hop(2, 9), None, {"kind": AdjacencyKind.UNRESOLVED, "port": 2}),
    (next_hop(2, 9), MAC, {"kind": AdjacencyKind.FORWARD, "port": 2, "mac": MAC, "mtu": 1400}),
    (next_hop(logical(3, 4095), 9), MAC, {"kind": AdjacencyKind.FORWARD, "port": 3, "vid": 4095, "mac": MAC,
                                          "mtu": 1400}),
    (glean(logical(3, 1)), None, {"kind": AdjacencyKind.UNRESOLVED, "port": 3, "vid": 1}),
])
def test_content(target, mac, expected):
    fields = unpack(ADJACENCY_ROW, content(target, mac, 1400))
    assert fields == {"kind": 0, "port": 0, "mac": 0, "mtu": 0, "vid": 0} | expected


def test_multicast_leaves_by_physical_ports_and_comes_in_by_a_logical_one():
    target = multicast(logical(3, 7), [0, logical(3, 7), logical(3, 9)], host=True)
    assert unpack(ADJACENCY_MULTICAST, content(target, None, 1400)) == {
        "kind": AdjacencyKind.MULTICAST, "port": 3, "vid": 7, "ports": 0b1001, "host": 1, "mtu": 1400, "reserved": 0}
    assert describe(target) == "circuit 7 to port 0, port 3, host"
    assert multicast(logical(3, 7), [logical(3, 7)]).ports == 0
    assert describe(next_hop(logical(3, 7), 0x0A000001)) == "10.0.0.1 circuit 7"


def test_mtu_is_cut_to_what_the_row_holds():
    assert unpack(ADJACENCY_ROW, content(next_hop(0, 1), MAC, 65535))["mtu"] == 16383
