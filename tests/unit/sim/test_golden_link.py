"""The link port: where frames go that leave there, and how they come in again."""

from dataclasses import replace

import pytest
from polyrouter.hdl.layouts import (
    ADJACENCY_MULTICAST,
    MAC_ROW,
    AdjacencyKind,
    FilterAction,
    LinkKind,
    OpStatus,
    QueueStat,
    Reason,
    RouterMode,
    Table,
    TrafficClass,
    pack,
)
from polyrouter.sim.golden import EndlessError, GoldenModel
from polyrouter.sim.golden_bridge import find
from polyrouter.sim.host_frames import HostFrame, Op
from polyrouter.sim.link_tables import LinkTables, link_write
from polyrouter.sim.packets import ethernet, ipv4, with_tag
from polyrouter.sim.tablegen import FilterRule, Group, Route, adjacency_row, fib_image

from .board import load, update
from .link_board import (
    CONFIG,
    EVERYONE,
    GRE,
    HOST_PORT,
    NONE,
    OTHER,
    STATION,
    UNDERLAY,
    VNIC,
    VNIC_MAC,
    A,
    B,
    X,
    a_list,
    board,
    bridge,
    counted,
    direct,
    inject,
    tunnel,
    underlay,
    vnic,
)

FRAME = ethernet(EVERYONE, STATION, 0x88CC, b"payload" * 8)
TO_VNIC = ethernet(VNIC_MAC, STATION, 0x88CC, b"payload" * 8)
INJECTED_A = (A, HOST_PORT, Reason.INJECTED)


# Circuits

def test_a_frame_comes_in_on_the_peer_with_its_priority():
    model = board(LinkTables({1: direct(A, 7)}), bridge(A, [1]), vnic(7))
    (output,) = inject(model, A, with_tag(TO_VNIC, 0xB001))
    punt = HostFrame.from_bytes(output.frame)
    assert (punt.router, punt.port, punt.reason, punt.tci) == (VNIC, X, Reason.PUNT_LOCAL, 0xB007)
    assert punt.payload == TO_VNIC
    assert counted(model) == {INJECTED_A: 1, (VNIC, X, Reason.PUNT_LOCAL): 1}
    assert output.path == ((HOST_PORT, A, TrafficClass.CONTROL),)
    assert model.queue_stat(A, X, QueueStat.ENQUEUED) == model.queue_stat(VNIC, HOST_PORT, QueueStat.ENQUEUED) == 1


def test_its_tag_counts_for_its_length():
    router = vnic(7)
    router.context |= {"filter_size": 1}
    router.rules = [FilterRule({}, {}, {"action": FilterAction.PERMIT})]
    model = board(LinkTables({1: direct(A, 7)}), bridge(A, [1]), router)
    inject(model, A, with_tag(TO_VNIC, 1))
    assert model.tables.hits == {0: 1, 1: len(TO_VNIC) + 4}


@pytest.mark.parametrize("circuit", [0, 2, 3, 16, 4095])
def test_only_circuits_of_the_sender_can_be_left_by(circuit):
    model = board(LinkTables({0: direct(A, 7), 1: direct(A, 7), 2: direct(B, 7),
                              3: {"router": A, "kind": LinkKind.NONE, "peer": 7}}),
                  bridge(A, [1]), bridge(B, [2]), vnic(7))
    assert inject(model, A, with_tag(TO_VNIC, circuit)) == []
    assert counted(model) == {INJECTED_A: 1, (A, X, Reason.DROP_FAULT): 1}


def test_a_circuit_that_is_nobodys_leads_nowhere():
    model = board(LinkTables({1: direct(A, 5)}), bridge(A, [1]), vnic(7))
    assert inject(model, A, with_tag(TO_VNIC, 1)) == []
    assert counted(model) == {INJECTED_A: 1, (NONE, X, Reason.DROP_NO_ROUTER): 1}


def test_the_tag_of_its_circuit_does_not_count_for_the_longest_frame():
    model = board(LinkTables({1: direct(A, 7)}), bridge(A, [1], vid=1), vnic(7))
    model.receive(A, ethernet(VNIC_MAC, STATION, 0x88CC, bytes(1504)))
    assert counted(model) == {(A, A, Reason.BRIDGED): 1, (VNIC, X, Reason.PUNT_LOCAL): 1}


# Lists

def switch(links: dict, *setups, **context: int) -> GoldenModel:
    """Bridge A, whose flood goes to circuit 8, a list; what is on 11 to 14 comes to bridge B."""
    far = {number: {"router": B, "kind": LinkKind.NONE} for number in (11, 12, 13, 14)}
    return board(LinkTables({8: a_list(A, 1), **far, **links}), bridge(A, [1, 2, 3, 4], vid=8, **context),
                 bridge(B, [11, 12, 13, 14], ports=1 << B), *setups)


def arrivals(model: GoldenModel) -> list[int]:
    """Circuits by which frames came in again, and 0 for what was given to an underlay."""
    return [frame.vid for frame in model.passes if frame.port == X]


MEMBERS = {1: direct(A, 11, 2), 2: direct(A, 12, 3), 3: direct(A, 13, 4), 4: direct(A, 14)}


def test_a_list_goes_to_its_members_in_their_order():
    model = switch(MEMBERS)
    model.receive(A, FRAME)
    assert arrivals(model) == [11, 12, 13, 14]
    # ``next`` of the head is the first
    model = switch({**MEMBERS, 8: a_list(A, 3)})
    model.receive(A, FRAME)
    assert arrivals(model) == [13, 14]


@pytest.mark.parametrize(("change", "expected"), [
    ({2: {"router": A, "kind": LinkKind.NONE, "next": 3}}, [11, 13, 14]),
    ({2: {**a_list(A, 3), "peer": 12}}, [11, 13, 14]),
    ({2: direct(B, 12, 3)}, [11, 13, 14]),
    ({2: direct(A, 12, 16)}, [11, 12]), ({2: direct(A, 12, 4095)}, [11, 12]), ({8: a_list(A, 0)}, []),
    ({2: direct(A, 12)}, [11, 12]),
    ({2: direct(A, 12, 1)}, [11, 12] * 8),
    ({2: {"router": A, "kind": LinkKind.NONE, "next": 2}}, [11]),
], ids=str)
def test_members_that_do_not_count_and_ends_of_a_list(change, expected):
    model = switch({**MEMBERS, **change})
    model.receive(A, FRAME)
    assert arrivals(model) == expected


def test_drops_of_members_are_counted_each():
    model = switch({1: tunnel(A, GRE, 2), 2: tunnel(A, GRE, 3), 3: direct(A, 13)}, underlay())
    model.receive(A, ethernet(EVERYONE, STATION, 0x88CC, bytes(1480)))
    # Bridge B is not at the link port
    assert counted(model) == {(A, A, Reason.BRIDGED): 1, (A, X, Reason.DROP_LENGTH): 2,
                              (NONE, X, Reason.DROP_NO_ROUTER): 1}
    assert arrivals(model) == [13]


def came_in(model: GoldenModel, by: int, frame: bytes = FRAME) -> list[int]:
    """Where a frame goes that came in by a circuit of bridge A."""
    model.tables.write(*link_write(15, **direct(VNIC, by)))
    inject(model, VNIC, with_tag(frame, 15))
    assert arrivals(model)[0] == by
    return arrivals(model)[1:]


def test_a_frame_does_not_go_back_to_the_circuit_that_it_came_from():
    for by, expected in (1, [12, 13, 14]), (3, [11, 12, 14]):
        assert came_in(switch(MEMBERS, vnic(0), ports=1 << X), by) == expected


def test_nor_to_one_that_is_none_of_a_list():
    """Bridge A has one circuit, by which its flood leaves too; it is not a way back."""
    model = board(LinkTables({1: direct(A, 11)}), bridge(A, [1], vid=1, ports=1 << X), vnic(0))
    assert came_in(model, 1) == []
    assert counted(model) == {(VNIC, HOST_PORT, Reason.INJECTED): 1, (A, X, Reason.BRIDGED): 1}
    model = board(LinkTables({1: tunnel(A, GRE)}), bridge(A, [1, 2], vid=1, ports=1 << X), vnic(0), underlay())
    assert came_in(model, 1) == []
    assert came_in(model, 2) == [0]


def test_what_came_from_a_tunnel_does_not_go_into_another():
    links = {1: tunnel(A, GRE, 2), 2: direct(A, 12, 3), 3: tunnel(A, {**GRE, "key": 1}, 4), 4: direct(A, 14)}
    # 0: given to the underlay
    for by, expected in (1, [12, 14]), (2, [0, 0, 14]):
        assert came_in(switch(links, vnic(0), underlay(), ports=1 << X), by) == expected


@pytest.mark.parametrize(("action", "tag", "expected"), [
    ({"action": FilterAction.PERMIT, "set_pcp": 1, "pcp": 5}, 1, [12, 13, 14]),
    ({"action": FilterAction.PERMIT, "set_vid": 1, "vid": 8}, 1, [11, 12, 13, 14]),
    ({"action": FilterAction.SEND, "ports": 1 << X, "set_vid": 1, "vid": 8}, 1, [11, 12, 13, 14]),
    ({"action": FilterAction.SEND, "ports": 1 << X}, 8, [11, 12, 13, 14]),
], ids=str)
def test_who_has_another_tag_goes_to_all(action, tag, expected):
    setup = bridge(A, [1, 2, 3, 4, 8], vid=8, ports=1 << X, filter_size=1)
    setup.rules = [FilterRule({}, {}, action)]
    model = board(LinkTables({8: a_list(A, 1), **MEMBERS}), setup, bridge(B, [11, 12, 13, 14], ports=1 << B), vnic(0))
    assert came_in(model, tag) == expected


def test_the_tag_of_a_known_address_replaces_that_of_the_frame():
    model = switch(MEMBERS, vnic(0), ports=1 << X, learn=0)
    for row in range(16):
        model.tables.write(Table.MAC, A, row, pack(MAC_ROW, {"mac": OTHER, "port": X, "age": 1, "vid": 8}))
    assert came_in(model, 1, ethernet(OTHER, STATION, 0x88CC, bytes(46))) == [11, 12, 13, 14]


def test_injected_frames_with_a_tag_of_a_list_go_to_all():
    model = switch(MEMBERS)
    inject(model, A, with_tag(FRAME, 8))
    assert arrivals(model) == [11, 12, 13, 14]
    # Without one they have that of PORT
    inject(model, A, FRAME)
    assert arrivals(model) == [11, 12, 13, 14]


def test_priority_and_dei_are_kept_by_every_member():
    model = switch(MEMBERS)
    inject(model, A, with_tag(FRAME, 0xF008))
    assert [frame.tci for frame in model.passes if frame.port == X] == [0xF00B, 0xF00C, 0xF00D, 0xF00E]


def test_a_loop_is_not_followed_for_ever():
    """Two bridges that two wires join."""
    model = board(LinkTables({1: direct(A, 2, 3), 3: direct(A, 4), 8: a_list(A, 1),
                              2: direct(B, 1, 4), 4: direct(B, 3), 9: a_list(B, 2)}),
                  bridge(A, [1, 3], vid=8), bridge(B, [2, 4], vid=9))
    with pytest.raises(EndlessError, match="more than 1024 times"):
        model.receive(A, FRAME)
    # What was under way is forgotten
    assert model.receive(2, FRAME) == []


# Bridges at the link port

def pair() -> GoldenModel:
    """Bridges A and B, joined by a list of one circuit at each end."""
    return board(LinkTables({1: direct(A, 2), 8: a_list(A, 1), 2: direct(B, 1), 9: a_list(B, 2)}),
                 bridge(A, [1], vid=8), bridge(B, [2], vid=9))


def test_bridges_learn_circuits():
    model = pair()
    (output,) = model.receive(A, FRAME)
    assert (output.port, output.frame) == (B, FRAME)
    assert output.path == ((A, A, TrafficClass.NORMAL),)
    entry = find(model.tables, model.tables.context(B), STATION)
    assert entry is not None and (entry.port, entry.vid) == (X, 2)
    entry = find(model.tables, model.tables.context(A), STATION)
    assert entry is not None and (entry.port, entry.vid) == (A, 0)
    # Twice: to the wire, and to the list, where it ends
    assert counted(model) == {(A, A, Reason.BRIDGED): 1, (B, X, Reason.BRIDGED): 2}
    (output,) = model.receive(B, ethernet(STATION, OTHER, 0x88CC, bytes(46)))
    assert output.port == A and [frame.vid for frame in model.passes] == [0, 1]


@pytest.mark.parametrize(("entry", "expected"), [
    ({"port": X, "vid": 1}, Reason.DROP_NO_PORT), ({"port": X, "vid": 2}, [12]), ({"port": X}, [12, 13, 14]),
    ({"port": A, "vid": 0}, []),
])
def test_a_known_address_is_not_where_the_frame_came_from(entry, expected):
    model = switch(MEMBERS, vnic(0), learn=0)
    for row in range(16):
        model.tables.write(Table.MAC, A, row, pack(MAC_ROW, {"mac": OTHER, "age": 1, **entry}))
    found = came_in(model, 1, ethernet(OTHER, STATION, 0x88CC, bytes(46)))
    if expected == Reason.DROP_NO_PORT:
        assert found == [] and counted(model)[A, X, Reason.DROP_NO_PORT] == 1
    else:
        assert found == expected and counted(model)[A, X, Reason.BRIDGED] == 1


def test_the_vlan_of_a_known_address_is_that_of_its_copy_on_any_port():
    model = board(LinkTables(), bridge(A, [], ports=3, learn=0))
    for row in range(16):
        model.tables.write(Table.MAC, A, row, pack(MAC_ROW, {"mac": OTHER, "port": 1, "age": 1, "vid": 77}))
    frame = ethernet(OTHER, STATION, 0x88CC, bytes(46))
    (output,) = model.receive(A, with_tag(frame, 0xB000))
    assert output.frame == with_tag(frame, 0xA04D)


# Guards and groups

def guarded(router, peers: list[int], circuit: int = 7):
    router.guarded = {(X, circuit)}
    router.peers = {X: peers}
    router.circuits = {X: [circuit]}
    return router


@pytest.mark.parametrize(("peers", "reason"), [([STATION], Reason.PUNT_LOCAL), ([OTHER], Reason.DROP_SOURCE)])
def test_a_guarded_segment_takes_frames_from_peers_only(peers, reason):
    model = board(LinkTables({1: direct(A, 7)}), bridge(A, [1]), guarded(vnic(7), peers))
    inject(model, A, with_tag(TO_VNIC, 1))
    assert counted(model) == {INJECTED_A: 1, (VNIC, X, reason): 1}


@pytest.mark.parametrize(("peers", "keys"), [
    ([STATION], [(VNIC, X, Reason.PUNT_GROUP), (VNIC, X, Reason.BRIDGED)]),
    ([OTHER], [(VNIC, X, Reason.DROP_SOURCE)])])
def test_so_does_it_for_group_frames(peers, keys):
    # The flood of a VNIC has a list of its only circuit
    model = board(LinkTables({1: direct(A, 7), 6: a_list(VNIC, 7), 7: direct(VNIC, 1)}), bridge(A, [1]),
                  guarded(vnic(7, flood=6), peers))
    outputs = inject(model, A, with_tag(FRAME, 1))
    assert counted(model) == {INJECTED_A: 1, **dict.fromkeys(keys, 1)}
    assert [output.port for output in outputs] == [HOST_PORT] * (len(keys) - 1)


def test_a_segment_is_guarded_on_a_wire_too():
    router = bridge(B, [])
    router.guarded, router.peers = {(B, 0)}, {B: [OTHER]}
    model = board(LinkTables(), router)
    assert model.receive(B, ethernet(STATION, STATION, 0x88CC, bytes(46))) == []
    assert counted(model) == {(B, B, Reason.DROP_SOURCE): 1}


@pytest.mark.parametrize(("context", "reason"), [
    ({"group": 1 << X}, Reason.PUNT_GROUP), ({"group": 0}, Reason.DROP_NO_ROUTER),
    ({"group": 1 << X, "enable": 0}, Reason.DROP_NO_ROUTER), ({"group": 1 << X, "ports": 3}, Reason.DROP_NO_ROUTER),
    ({"group": 1 << X, "guard": 1 << X}, Reason.DROP_SOURCE), ({"guard": 1 << X}, Reason.DROP_SOURCE),
    ({"guard": 1 << X, "enable": 0}, Reason.DROP_NO_ROUTER), ({"guard": 1 << X, "ports": 3}, Reason.DROP_NO_ROUTER),
])
def test_group_frames_are_the_routers_whose_circuit_it_is(context, reason):
    everyone = bridge(B, [], group=1 << X, mode=RouterMode.ROUTED)
    everyone.vids = {X: 9}
    model = board(LinkTables({1: direct(A, 9)}), bridge(A, [1]), everyone, underlay(**context))
    outputs = inject(model, A, with_tag(FRAME, 1))
    if reason != Reason.PUNT_GROUP:
        router = UNDERLAY if reason == Reason.DROP_SOURCE else NONE
        assert outputs == [] and counted(model) == {INJECTED_A: 1, (router, X, reason): 1}
        return
    (output,) = outputs
    punt = HostFrame.from_bytes(output.frame)
    assert (punt.router, punt.port, punt.reason, punt.tci, output.traffic_class) == (
        UNDERLAY, X, Reason.PUNT_GROUP, 9, TrafficClass.CONTROL)


# Routers at the link port

def test_an_adjacency_says_by_which_circuit_a_packet_leaves():
    frame = ethernet(0x020000000303, 5, 0x0800, ipv4(1, 0xC0000202, bytes(30), ttl=9))
    router = underlay()
    model = board(LinkTables({9: direct(UNDERLAY, 7)}), router)
    outputs = model.receive(UNDERLAY, with_tag(frame, 0xB000))
    assert outputs == [] and counted(model) == {(UNDERLAY, UNDERLAY, Reason.FORWARDED): 1,
                                                (NONE, X, Reason.DROP_NO_ROUTER): 1}
    (_, frame) = model.passes
    assert (frame.tci, frame.dmac, frame.smac) == (0xA007, 0x060000000304, 0x020000000304)
    assert frame.packet.ttl == 8 and frame.packet.checksum_ok


def test_an_adjacency_says_by_which_vlan_a_packet_leaves_a_wire():
    model = board(LinkTables(), underlay())
    model.tables.write(Table.ADJACENCY, UNDERLAY, 0, adjacency_row(AdjacencyKind.FORWARD, UNDERLAY, 5, vid=55))
    frame = ethernet(0x020000000303, 5, 0x0800, ipv4(1, 0xC6336401, bytes(30)))
    (output,) = model.receive(UNDERLAY, frame)
    assert output.frame[12:16] == bytes.fromhex("81000037")


def multicast(vid: int, ports: int = 1 << X) -> GoldenModel:
    """The underlay's group 239.1.1.1, from the link port, circuit ``vid``."""
    group = Group(0xEF010101, 32, [Route(0, 0, 3)])
    router = underlay(multicast=1)
    router.peers = {X: [STATION]}
    router.vids = {X: 10}
    router.adjacencies.append(pack(ADJACENCY_MULTICAST, {
        "kind": AdjacencyKind.MULTICAST, "port": X, "ports": ports | 1 << UNDERLAY, "mtu": 1500, "vid": vid}))
    model = board(LinkTables({1: direct(A, 9), 9: direct(UNDERLAY, 7), 10: a_list(UNDERLAY, 9),
                              11: direct(UNDERLAY, 7)}), bridge(A, [1]), router, vnic(7))
    load(model, fib_image([Route(group.address, group.length, 3, sources=tuple(group.sources))]).writes(UNDERLAY))
    return model


TO_GROUP = ethernet(0x01005E010101, STATION, 0x0800, ipv4(0x0A000001, 0xEF010101, bytes(30)))


@pytest.mark.parametrize(("vid", "reason"), [(9, Reason.FORWARDED), (8, Reason.DROP_RPF), (0, Reason.DROP_RPF)])
def test_the_right_way_to_a_source_is_a_circuit(vid, reason):
    model = multicast(vid, ports=0)
    outputs = inject(model, A, with_tag(TO_GROUP, 1))
    assert counted(model) == {INJECTED_A: 1, (UNDERLAY, X, reason): 1}
    assert [output.port for output in outputs] == [UNDERLAY] * (reason == Reason.FORWARDED)


def test_a_group_may_leave_by_the_link_port_that_it_came_from():
    model = multicast(9)
    outputs = inject(model, A, with_tag(TO_GROUP, 1))
    assert counted(model) == {INJECTED_A: 1, (UNDERLAY, X, Reason.FORWARDED): 2}
    assert [output.port for output in outputs] == [UNDERLAY]
    # It was the list's only member by which it came in
    assert [frame.vid for frame in model.passes] == [9]


# Control

@pytest.mark.parametrize(("op", "status"), [
    (Op.read(Table.LINK, 4095, 15, 2), OpStatus.OK), (Op.read(Table.LINK, 0, 16), OpStatus.BAD_ROW),
    (Op.read(Table.LINK, 0, 0, 3), OpStatus.BAD_WORD), (Op.write(Table.TERMINATION, 4095, 15, 1, 1), OpStatus.OK),
    (Op.read(Table.TERMINATION, 0, 16), OpStatus.BAD_ROW), (Op.read(Table.TERMINATION, 0, 0, 2), OpStatus.BAD_WORD),
    (Op.read(Table.INFO, 0, 18), OpStatus.OK), (Op.read(Table.PORT, 0, 4), OpStatus.OK),
])
def test_accesses(op, status):
    model = GoldenModel(CONFIG)
    model.control.execute(op)
    assert op.status == status
    if op.table == Table.INFO:
        assert op.data == 16


def test_rows_are_read_back():
    model = board(LinkTables({3: tunnel(A, GRE, 5)}, {(UNDERLAY, 0, 5, 6): 7}), bridge(A, [1]), underlay())
    assert model.tables.link(3)[:5] == (A, LinkKind.TUNNEL, 5, 0, UNDERLAY)
    assert tuple(model.tables.link(3).headers) == (0, 0xA1B2C3D4, 0xC0000201, 0xC6336407, 0xB8, 65)
    assert model.tables.termination(UNDERLAY, 0, 5, 6).circuit == 7
    for key in (A, 0, 5, 6), (UNDERLAY, 1, 5, 6), (UNDERLAY, 0, 4, 6), (UNDERLAY, 0, 5, 7):
        assert model.tables.termination(*key) is None


def test_without_circuits_there_is_no_link_port():
    config = replace(CONFIG, circuits=0)
    assert config.link_port is None
    model = GoldenModel(config)
    setup = bridge(A, [], ports=1 << A | 1 << 4)
    load(model, setup.writes(config))
    (output,) = inject(model, A, FRAME, port=4)
    assert output.port == 4 and model.passes == []
    update(model, setup, ports=1 << A)
    assert inject(model, A, FRAME, port=4) == []
