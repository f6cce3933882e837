"""Circuits: what stays is met at any time, what goes leads nobody to others, and what an agent finds is taken over."""

import contextlib
import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import LINK_ROW, LinkKind, Table, pack, unpack
from polyrouter.host.tables.links import LinkError, LinkTable
from polyrouter.sim.golden_link import Departure, LinkEngine
from polyrouter.sim.packets import ethernet

from ....table_board import BoardGone, TableBoard

CONFIG = CoreConfig(routers=8, circuits=64)
FRAME = ethernet(0xFFFFFFFFFFFF, 0x02AA00000001, 0x1234, bytes(50))


def direct(router: int, peer: int, following: int = 0) -> int:
    return pack(LINK_ROW, {"router": router, "kind": LinkKind.DIRECT, "peer": peer, "next": following})


def listed(router: int, first: int) -> int:
    return pack(LINK_ROW, {"router": router, "kind": LinkKind.LIST, "next": first})


def tunnel(router: int, underlay: int, *, source: int = 0x0A000001, following: int = 0) -> int:
    return pack(LINK_ROW, {"router": router, "kind": LinkKind.TUNNEL, "underlay": underlay, "next": following,
                           "tunnel": source << 33})


def switch(router: int, head: int, members: list[int]) -> dict[int, int]:
    """A list of circuits, each with the peer 30 above it."""
    rows = {member: direct(router, member + 30, following) for member, following in pairwise([*members, 0])}
    return rows | {head: listed(router, members[0] if members else 0)}


def make() -> tuple[LinkTable, TableBoard]:
    board = TableBoard(CONFIG)
    return LinkTable(board, CONFIG), board


def change(table: LinkTable, wanted: dict[int, int]) -> set[int]:
    gone = table.release(wanted)
    table.put(wanted)
    return gone


def flooded(board: TableBoard, router: int, head: int) -> list[int]:
    """Circuits on which a frame comes in that leaves on a list."""
    arrivals = LinkEngine(board.tables).take(Departure(router, FRAME, tci=head, came_by=0, flow_hash=0, path=()))
    return [int.from_bytes(arrival.octets[14:16], "big") & 0xFFF for arrival in arrivals]


def on_board(board: TableBoard) -> dict[int, int]:
    rows = board.read_rows((Table.LINK, 0, number) for number in range(CONFIG.circuits))
    return {number: bits for number, bits in enumerate(rows) if bits}


def random_switches(source: random.Random) -> Iterator[tuple[dict[int, int], dict[int, list[int]]]]:
    while True:
        numbers = source.sample(range(3, 30), source.randint(0, 14))
        cut = source.randint(0, len(numbers))
        members = {1: numbers[:cut], 2: numbers[cut:]}
        yield switch(1, 1, members[1]) | switch(2, 2, members[2]), members


@pytest.mark.parametrize("seed", range(20))
def test_who_stays_is_always_flooded_and_nobody_else(seed):
    source = random.Random(seed)
    table, board = make()
    before: dict[int, list[int]] = {1: [], 2: []}
    steps = random_switches(source)
    for wanted, members in (next(steps) for _ in range(12)):
        def look(members=members, before=before) -> None:
            for head, present in before.items():
                seen = flooded(board, head, head)
                assert len(seen) == len(set(seen))
                assert set(seen) <= {number + 30 for number in {*present, *members[head]}}
                assert set(seen) >= {number + 30 for number in {*present} & {*members[head]}}

        board.on_write = look
        change(table, wanted)
        for head, present in members.items():
            assert sorted(flooded(board, head, head)) == sorted(number + 30 for number in present)
        assert on_board(board) == table.rows
        before = members


def test_a_member_that_goes_is_cleared_after_a_fence():
    table, board = make()
    change(table, switch(1, 1, [10, 11, 12]))
    board.log.clear()
    assert change(table, switch(1, 1, [10, 12])) == {11}
    assert board.log == [(Table.LINK, 0, 10, direct(1, 40, 12)), "fence", (Table.LINK, 0, 11, 0)]


def test_a_new_member_is_whole_before_the_list_has_it():
    table, board = make()
    change(table, switch(1, 1, [10]))
    board.log.clear()
    change(table, switch(1, 1, [11, 10]))       # that it is to be the first one means nothing
    assert board.log == [(Table.LINK, 0, 11, direct(1, 41)), (Table.LINK, 0, 10, direct(1, 40, 11))]
    board.log.clear()
    change(table, switch(1, 1, [11, 10]))
    assert board.log == []


def test_another_tunnel_or_peer_is_one_write():
    table, board = make()
    change(table, {5: tunnel(1, 3)} | switch(1, 1, [10, 11]))
    board.log.clear()
    change(table, {5: tunnel(1, 3, source=0x0A000002)} | switch(1, 1, [10, 11]) | {10: direct(1, 50, 11)})
    assert board.log == [(Table.LINK, 0, 5, tunnel(1, 3, source=0x0A000002)), (Table.LINK, 0, 10, direct(1, 50, 11))]


def test_a_number_with_another_owner_gets_no_frames_of_the_one_before():
    """Circuit 10 leads to 20; 20 is another owner's from now on, and 10 leads to 21."""
    table, board = make()
    change(table, {10: direct(1, 20), 20: direct(2, 10)})
    wanted = {10: direct(1, 21), 20: direct(3, 30), 21: direct(2, 10)}
    assert table.release(wanted) == {20}
    assert unpack(LINK_ROW, on_board(board)[10])["kind"] == LinkKind.NONE and 20 not in on_board(board)
    table.put(wanted)
    assert on_board(board) == wanted


def test_what_is_of_a_router_that_goes_goes_with_it():
    """Even if another router comes with the same number."""
    table, board = make()
    wanted = {10: direct(1, 11), 11: direct(2, 10), 12: tunnel(4, 1)}
    change(table, wanted)
    assert table.release(wanted, routers=[1]) == {10}
    kinds = {number: LinkKind(unpack(LINK_ROW, bits)["kind"]) for number, bits in on_board(board).items()}
    assert kinds == {11: LinkKind.NONE, 12: LinkKind.NONE}
    table.put(wanted)
    assert on_board(board) == wanted


def test_what_a_board_has_is_taken_over_and_only_the_rest_is_written():
    table, board = make()
    change(table, switch(1, 1, [10, 11, 12]) | {20: direct(3, 21)})
    again = LinkTable(board, CONFIG)
    again.adopt()
    board.log.clear()
    assert not again.put(switch(1, 1, [10, 11, 12]) | {20: direct(3, 21)})
    assert board.log == []
    assert change(again, switch(1, 1, [10, 12])) == {11, 20}
    assert sorted(flooded(board, 1, 1)) == [40, 42] and 20 not in on_board(board)


def test_a_list_that_an_agent_left_half_changed_is_mended():
    source = random.Random(5)
    first, second = [10, 11, 12, 13], [13, 14, 10]
    for accesses in range(1, 12):
        table, board = make()
        change(table, switch(1, 1, first))
        board.fail_after = accesses
        with contextlib.suppress(BoardGone):
            change(table, switch(1, 1, second))
        board.fail_after = None
        again = LinkTable(board, CONFIG)
        again.adopt()
        wanted = source.sample(range(10, 16), 4)
        change(again, switch(1, 1, wanted))
        assert sorted(flooded(board, 1, 1)) == sorted(number + 30 for number in wanted)
        assert on_board(board).keys() == {1, *wanted}


@pytest.mark.parametrize(("wanted", "message"), [
    ({64: direct(1, 2)}, "circuit 64: circuits of this board are 1 to 63"),
    ({0: direct(1, 2)}, "circuit 0"),
    ({1: listed(1, 2)}, "circuit 2 is in the list of circuit 1, and is none of its owner"),
    ({1: listed(1, 2), 2: direct(2, 3)}, "none of its owner"),
    ({1: listed(1, 2), 2: listed(1, 0)}, "none of its owner"),
    ({1: listed(1, 2), 2: direct(1, 9, 2)}, "circuit 2 is in the list of circuit 1, and in that of 1 already"),
    ({1: listed(1, 2), 2: direct(1, 9), 3: listed(1, 2)}, "in that of 1 already"),
])
def test_nonsense_is_refused_and_changes_nothing(wanted, message):
    table, board = make()
    change(table, {10: direct(1, 11)})
    board.log.clear()
    with pytest.raises(LinkError, match=message):
        table.release(wanted)
    assert board.log == []


def test_clear_writes_zeros_to_what_nobody_knows():
    table, board = make()
    board.write_rows([(Table.LINK, 0, 7, direct(1, 8))])
    table.clear()
    assert on_board(board) == {} == table.rows
