"""Ends of tunnels: each is found at any time, by all of its key."""

import random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import TERMINATION_KEY, Register, Table, TunnelKind, pack, unpack
from polyrouter.host.tables.terminations import TerminationsFull, TerminationTable

from ....table_board import TableBoard

CONFIG = CoreConfig(routers=8, circuits=64)
SEEDS = 0x6D5A56DA255B0EC2, 0x4167253D43A38FB0


def make() -> tuple[TerminationTable, TableBoard]:
    board = TableBoard(CONFIG)
    board.write_rows((Table.REGISTER, 0, register, seed)
                     for register, seed in zip((Register.HASH_SEED_0, Register.HASH_SEED_1), SEEDS, strict=True))
    board.log.clear()
    return TerminationTable(board, CONFIG, SEEDS), board


def random_key(source: random.Random) -> int:
    return pack(TERMINATION_KEY, {"router": source.randrange(8), "kind": source.choice(list(TunnelKind)),
                                  "key": source.getrandbits(24), "remote": source.getrandbits(32)})


def found(board: TableBoard, key: int) -> int | None:
    fields = unpack(TERMINATION_KEY, key)
    end = board.tables.termination(fields["router"], fields["kind"], fields["key"], fields["remote"])
    return None if end is None else end.circuit


@pytest.mark.parametrize("seed", range(5))
def test_who_stays_is_found_at_any_time(seed):
    source = random.Random(seed)
    table, board = make()
    wanted: dict[int, int] = {}
    for _ in range(30):
        kept = {key: circuit for key, circuit in wanted.items() if source.random() < 0.8}
        after = kept | {random_key(source): source.randrange(1, 64) for _ in range(source.randrange(12))}
        after = dict(list(after.items())[:40])
        stays = {key: circuit for key, circuit in kept.items() if key in after}

        def look(stays=stays) -> None:
            assert {key: found(board, key) for key in stays} == stays

        board.on_write = look
        table.release(after, ())
        table.put(after)
        assert {key: found(board, key) for key in after} == after == table.circuits
        assert not any(found(board, key) for key in wanted.keys() - after.keys())
        wanted = after


def test_another_circuit_is_one_write():
    table, board = make()
    key = random_key(random.Random(1))
    table.put({key: 5})
    board.log.clear()
    table.release({key: 6}, ())
    table.put({key: 6})
    assert len(board.log) == 1 and found(board, key) == 6
    assert not table.put({key: 6})


def test_what_leads_to_a_circuit_or_comes_in_at_a_router_that_goes_is_taken_out():
    table, board = make()
    source = random.Random(2)
    keys = [random_key(source) for _ in range(8)]
    wanted = {key: 10 + place for place, key in enumerate(keys)}
    table.put(wanted)
    router = unpack(TERMINATION_KEY, keys[3])["router"]
    table.release(wanted, {11, 12}, [router])
    for key, circuit in wanted.items():
        goes = circuit in (11, 12) or unpack(TERMINATION_KEY, key)["router"] == router
        assert found(board, key) == (None if goes else circuit)
    table.put(wanted)
    assert {key: found(board, key) for key in wanted} == wanted


def test_what_a_board_has_is_taken_over():
    table, board = make()
    source = random.Random(3)
    wanted = {random_key(source): source.randrange(1, 64) for _ in range(40)}
    table.put(wanted)
    again = TerminationTable(board, CONFIG, SEEDS)
    again.adopt()
    board.log.clear()
    assert again.circuits == wanted and not again.put(wanted) and board.log == []
    again.clear()
    assert not any(found(board, key) for key in wanted)


def test_full_is_refused_in_words():
    table, _ = make()
    source = random.Random(4)
    with pytest.raises(TerminationsFull, match=r"no row for the (GRE|VXLAN) tunnel with (key|VNI) \d+ from .* "
                                               r"of 64 are used .* remove tunnels, or build the core with more circ"):
        table.put({random_key(source): 1 for _ in range(65)})
