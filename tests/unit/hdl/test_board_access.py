"""The control engine with the registers of a board at its port, as the board's top level has them."""

from collections import defaultdict

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect
from polyrouter.hdl.boardregs import BoardRegisters
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import BOARD_ROWS, BOARD_WRITABLE, Opcode, OpStatus, Table
from polyrouter.sim.golden_board import GoldenBoard

from .bench import simulate, sink
from .test_control import Bench, op


class WithBoard(wiring.Component):
    """Both, joined."""

    def __init__(self, engine, registers):
        self.engine, self.registers = engine, registers
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = self.engine
        m.submodules.registers = self.registers
        connect(m, self.engine.board, self.registers.table)
        return m


def test_rows_through_requests():
    """Every row is written and read; the model says what has to come back."""
    name, phys = "versa_ecp5", [(0, 0), (0, 1)]
    bench = Bench(CoreConfig(), seed=1)
    registers = BoardRegisters(name, phys, timeout=5)
    model = GoldenBoard(name, phys, lambda access: (0, False), timeout=5)
    values = {row: bench.rng.getrandbits(64) & ~(1 << 27) for row in range(BOARD_ROWS)}     # no access to a PHY begins
    writes = [op(Opcode.WRITE, Table.BOARD, row, data=value) for row, value in values.items()]
    reads = [op(Opcode.READ, Table.BOARD, row) for row in values]
    answers = defaultdict(list)

    async def main(ctx):
        for sequence, (kind, ops) in enumerate([("fresh", reads), ("write", writes), ("read", reads)]):
            got, _, _ = await bench.request(ctx, ops, sequence)
            answers[kind] = got
            if kind == "fresh":
                assert [o["data"] for o in got] == [model.read(row) for row in values]

    simulate(WithBoard(bench.dut, registers), [main], [sink(bench.dut.o, bench.out)])
    assert [o["status"] for o in answers["write"]] == [
        OpStatus.OK if row in BOARD_WRITABLE else OpStatus.READ_ONLY for row in values]
    for row in BOARD_WRITABLE:
        model.write(row, values[row])
    assert [o["data"] for o in answers["read"]] == [model.read(row) for row in values]
    assert {o["status"] for o in answers["read"]} == {OpStatus.OK}
