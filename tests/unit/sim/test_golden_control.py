"""Control engine of the golden model: checks, shadow rows, sequence numbers, and what each table keeps."""

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    CONTEXT_ROW,
    INFO_MAGIC,
    HostStatus,
    Info,
    Opcode,
    OpStatus,
    QueueStat,
    Reason,
    Register,
    Table,
    pack,
)
from polyrouter.sim.golden import GoldenModel
from polyrouter.sim.host_frames import BOARD_MAC, HostFrame, Op
from polyrouter.sim.tablegen import simple_scenario
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from .board import CONFIG, HOST, OWN, load, receive

#: Windows of router 1, the last ones of their tables.
WINDOWS = {"filter_base": 60, "filter_size": 9, "policer_base": 2, "policer_size": 1, "mac_base": 1016, "mac_size": 16}


@pytest.fixture
def model() -> GoldenModel:
    model = GoldenModel(CONFIG, policer_cycles=64, shaper_cycles=160)
    load(model, simple_scenario(CONFIG, mtu=1500).writes)
    return model


def test_sequence_numbers():
    model = GoldenModel(CONFIG)
    op = Op.read(Table.INFO, 0, Info.MAGIC)

    def ask(sequence: int, **fields) -> HostFrame:
        (answer,) = model.host_receive(HostFrame.request(sequence, [op], source=HOST, **fields).to_bytes())
        return HostFrame.from_bytes(answer.frame)

    last = ask(0xFFFFFFFF, sync=True)
    assert (last.reason, last.sequence, last.expected) == (HostStatus.OK, 0xFFFFFFFF, 0)
    assert last.ops[0].data == INFO_MAGIC and last.destination == HOST and last.source == BOARD_MAC
    wrong = ask(7)
    assert (wrong.reason, wrong.expected, wrong.ops) == (HostStatus.OUT_OF_SEQUENCE, 0, [op])
    assert ask(0).expected == 1
    assert model.counters == {}


@pytest.mark.parametrize(("op", "status"), [
    (Op(0), OpStatus.BAD_OPCODE), (Op(4), OpStatus.BAD_OPCODE), (Op(Opcode.FENCE, 99, 99, 99, 9), OpStatus.OK),
    (Op(Opcode.READ, 19, 4000, 1 << 31, 15), OpStatus.BAD_TABLE),
    (Op.read(Table.BOARD, 999, 0), OpStatus.BAD_ROW),
    (Op.read(Table.CONTEXT, 2, 9, 9), OpStatus.BAD_ROUTER), (Op.read(Table.COUNTER, 3, 0), OpStatus.BAD_ROUTER),
    (Op.read(Table.COUNTER, 2, 159), OpStatus.OK), (Op.read(Table.COUNTER, 2, 160), OpStatus.BAD_ROW),
    (Op.read(Table.INFO, 999, 18), OpStatus.OK), (Op.read(Table.INFO, 0, 19), OpStatus.BAD_ROW),
    (Op.read(Table.REGISTER, 999, 4), OpStatus.OK), (Op.read(Table.REGISTER, 0, 5), OpStatus.BAD_ROW),
    (Op.read(Table.VMAC, 999, 31), OpStatus.OK), (Op.read(Table.VMAC, 0, 32, 2), OpStatus.BAD_ROW),
    (Op.read(Table.CONTEXT, 1, 1), OpStatus.BAD_ROW), (Op.read(Table.PORT, 1, 4), OpStatus.BAD_ROW),
    (Op.read(Table.QUEUE, 2, 4 * 8 + 5), OpStatus.OK),
    (Op.read(Table.QUEUE, 3, 0), OpStatus.BAD_ROUTER), (Op.read(Table.QUEUE, 0, 6), OpStatus.BAD_ROW),
    (Op.read(Table.QUEUE, 0, 40), OpStatus.BAD_ROW),
    (Op.read(Table.FIB, 0, 511, 1), OpStatus.OK), (Op.read(Table.FIB, 0, 512, 9), OpStatus.WINDOW),
    (Op.read(Table.FIB, 0, 0, 2), OpStatus.BAD_WORD), (Op.read(Table.ADJACENCY, 1, 32), OpStatus.WINDOW),
    (Op.read(Table.PORT, 1, 0, 1), OpStatus.BAD_WORD), (Op.write(Table.INFO, 0, 0, 0, 1), OpStatus.BAD_WORD),
    (Op.read(Table.SHAPER, 1, 4, 1), OpStatus.OK), (Op.read(Table.SHAPER, 2, 0), OpStatus.BAD_ROUTER),
    (Op.read(Table.SHAPER, 0, 5, 9), OpStatus.BAD_ROW), (Op.read(Table.SHAPER, 0, 0, 2), OpStatus.BAD_WORD),
    (Op.write(Table.QUOTA, 2, 0, 1), OpStatus.OK), (Op.read(Table.QUOTA, 3, 0), OpStatus.BAD_ROUTER),
    (Op.read(Table.QUOTA, 0, 1), OpStatus.BAD_ROW), (Op.read(Table.CONTEXT, 1, 0, 5), OpStatus.OK),
    (Op.read(Table.CONTEXT, 1, 0, 6), OpStatus.BAD_WORD), (Op.read(Table.FILTER, 2, 0), OpStatus.BAD_ROUTER),
    (Op.read(Table.LINK, 0, 0), OpStatus.BAD_ROW), (Op.read(Table.TERMINATION, 999, 0, 9), OpStatus.BAD_ROW),
    (Op.write(Table.INFO, 0, 0, 0), OpStatus.READ_ONLY), (Op.write(Table.QUEUE, 0, 0, 0), OpStatus.READ_ONLY),
])
def test_access_checks(model, op, status):
    model.control.execute(op)
    assert op.status == status


def test_rows_are_committed_whole(model):
    before = model.tables.read(Table.FIB, 0, 5)
    model.control.execute(Op.write(Table.FIB, 0, 5, 0x1111, 0))
    assert model.tables.read(Table.FIB, 0, 5) == before
    failing = Op.write(Table.FIB, 0, 1 << 20, 0x2222, 0)
    model.control.execute(failing)
    assert failing.status == OpStatus.WINDOW
    model.control.execute(Op.write(Table.FIB, 0, 5, 0xABCDEF, 1))
    assert model.tables.read(Table.FIB, 0, 5) == 0xEF << 64 | 0x1111
    read = Op.read(Table.FIB, 0, 5, 1)
    model.control.execute(read)
    assert read.data == 0xEF


def test_counters_and_queues_can_be_read_and_counters_cleared(model):
    receive(model, Ether(dst=OWN) / IP(dst="13.0.0.1") / UDP() / bytes(20))

    def access(op: Op) -> int:
        model.control.execute(op)
        assert op.status == OpStatus.OK
        return op.data

    row = 2 * 32 + Reason.FORWARDED
    assert access(Op.read(Table.COUNTER, 1, row)) == 1
    access(Op.write(Table.COUNTER, 1, row, 0))
    assert access(Op.read(Table.COUNTER, 1, row)) == 0
    stats = [access(Op.read(Table.QUEUE, 1, 3 * 8 + stat)) for stat in QueueStat]
    assert stats == [0, 1, 1, 0, CONFIG.cells, 0]
    access(Op.write(Table.REGISTER, 0, Register.EPOCH, 77))
    assert access(Op.read(Table.REGISTER, 0, Register.EPOCH)) == 77




@pytest.mark.parametrize(("op", "status"), [
    (Op.read(Table.FILTER, 1, 3, 7), OpStatus.OK), (Op.read(Table.FILTER, 1, 3, 8), OpStatus.BAD_WORD),
    (Op.read(Table.FILTER, 1, 4, 9), OpStatus.WINDOW), (Op.read(Table.ACTION, 1, 3, 3), OpStatus.OK),
    (Op.read(Table.ACTION, 1, 4), OpStatus.WINDOW), (Op.read(Table.HIT, 1, 7), OpStatus.OK),
    (Op.read(Table.HIT, 1, 8), OpStatus.WINDOW), (Op.write(Table.HIT, 1, 7, 5), OpStatus.OK),
    (Op.read(Table.POLICER, 1, 0), OpStatus.OK), (Op.read(Table.POLICER, 1, 1), OpStatus.WINDOW),
    (Op.read(Table.MAC, 1, 7), OpStatus.OK), (Op.read(Table.MAC, 1, 8), OpStatus.WINDOW),
    (Op.read(Table.FILTER, 0, 0), OpStatus.WINDOW), (Op.read(Table.HIT, 0, 0), OpStatus.WINDOW),
    (Op.read(Table.MAC, 0, 0), OpStatus.WINDOW), (Op.read(Table.POLICER, 0, 0), OpStatus.WINDOW),
])
def test_windows(model, op, status):
    model.tables.write(Table.CONTEXT, 1, 0, pack(CONTEXT_ROW, WINDOWS))
    model.control.execute(op)
    assert op.status == status


@pytest.mark.parametrize(("table", "router", "row", "address"), [
    (Table.FILTER, 1, 2, 62), (Table.ACTION, 1, 2, 62), (Table.HIT, 1, 3, 123), (Table.POLICER, 1, 0, 2),
    (Table.MAC, 1, 5, 1021), (Table.SHAPER, 1, 4, 9), (Table.QUOTA, 2, 0, 2),
])
def test_rows_of_windows_are_those_of_the_memory(model, table, router, row, address):
    model.tables.write(Table.CONTEXT, 1, 0, pack(CONTEXT_ROW, WINDOWS))
    assert model.tables.address(table, router, row) == address
    model.tables.write(table, router, row, 0x1234)
    assert model.tables.read(table, router, row) == 0x1234


def test_info_and_registers(model):
    config = CoreConfig(clock_hz=156.25e6)

    def access(model: GoldenModel, op: Op) -> int:
        model.control.execute(op)
        assert op.status == OpStatus.OK
        return op.data

    rows = {row: access(model, Op.read(Table.INFO, 0, row)) for row in Info}
    assert rows[Info.FILTER_RULES] == 64 and rows[Info.POLICERS] == 4 and rows[Info.MAC_ROWS] == 1024
    assert rows[Info.POLICER_CYCLES] == 64 and rows[Info.SHAPER_CYCLES] == 160
    assert access(GoldenModel(config), Op.read(Table.INFO, 0, Info.CLOCK_HZ)) == 156_250_000
    registers = {row: access(model, Op.read(Table.REGISTER, 0, row)) for row in Register}
    assert registers[Register.SHARED_CELLS] == CONFIG.cells and registers[Register.MAC_AGE_CYCLES] == 0
    access(model, Op.write(Table.REGISTER, 0, Register.SHARED_CELLS, 7))
    assert access(model, Op.read(Table.REGISTER, 0, Register.SHARED_CELLS)) == 7


def test_queues_are_those_of_a_router(model):
    receive(model, Ether(dst=OWN) / IP(dst="13.0.0.1") / UDP() / bytes(20))
    assert [model.queue_stat(router, 3, QueueStat.ENQUEUED) for router in range(3)] == [0, 1, 0]
