"""The control engine reaches only the addressed router's rows: its window's, or those that bear its number."""

import pytest
from amaranth.hdl import Array, Assert, Cat, Cover, Module, Signal
from polyrouter.hdl.control import ControlEngine
from polyrouter.hdl.layouts import BOARD_ROWS, CONTEXT_ROW, QUEUE_STATS, REASONS, HitStat, Table
from polyrouter.hdl.table import port_index_bits

from .runner import AnyConst, AnySeq, cover, prove
from .small import small_config
from .test_streams import drive, rules, tables_of


def config(access_bits: int):
    """Nothing is a power of two that may be another number."""
    return small_config(data_width=64, routers=2, ports=2, fib_words=24, adjacencies=12, filter_rules=11, policers=5,
                        mac_rows=16, circuits=16, access_bits=access_bits)


CONFIG = config(64)
#: Windows: table, fields of the context row, rows of the table, rows of the table for one of the window.
WINDOWS = (
    ("fib", "fib", CONFIG.fib_words, 1), ("adjacency", "adj", CONFIG.adjacencies, 1),
    ("filter", "filter", CONFIG.filter_rules, 1), ("action", "filter", CONFIG.filter_rules, 1),
    ("hit", "filter", CONFIG.filter_rules, len(HitStat)), ("policer", "policer", CONFIG.policers, 1),
    ("mac", "mac", CONFIG.mac_rows, 1),
)
#: Tables in which each router has so many rows, from its number times that on.
BLOCKS = (
    ("context", 1), ("quota", 1), ("port", 1 << port_index_bits(CONFIG)), ("counter", CONFIG.all_ports * REASONS),
    ("queue", CONFIG.all_ports * QUEUE_STATS), ("shaper", CONFIG.all_ports),
)
#: Tables of no router, with their rows.
OF_THE_BOARD = (("vmac", CONFIG.vmac_slots), ("link", CONFIG.circuits), ("termination", CONFIG.circuits),
                ("board", BOARD_ROWS))


def harness(access_bits: int) -> Module:
    """The engine with a context table that holds any rows at first, and what the engine writes later."""
    m = Module()
    m.submodules.dut = dut = ControlEngine(config(access_bits), has_board=True)
    tables = tables_of(dut)
    assert {id(getattr(dut, name)) for name, *_ in (*WINDOWS, *BLOCKS, *OF_THE_BOARD)} == {
        id(table) for table in tables}
    for table in tables:
        m.d.comb += table.ack.eq(table.stb & AnySeq(1))
        if table is not dut.context:
            drive(m, table.r_data)
    drive(m, dut.lookup_enter, dut.lookup_leave)
    rules(m, [(dut.i, dut.request)], [])
    drive(m, dut.o.ready)

    start = [AnyConst(CONTEXT_ROW.size) for _ in range(CONFIG.routers)]
    changes = [Signal(CONTEXT_ROW.size, name=f"changes_{k}") for k in range(CONFIG.routers)]
    rows = Array(Signal(CONTEXT_ROW, name=f"row_{k}") for k in range(CONFIG.routers))
    for k in range(CONFIG.routers):
        m.d.comb += rows[k].eq(start[k] ^ changes[k])
        with m.If(dut.context.ack & dut.context.write & (dut.context.addr == k)):
            m.d.sync += changes[k].eq(start[k] ^ dut.context.w_data)
    m.d.comb += dut.context.r_data.eq(Array(row.as_value() for row in rows)[dut.context.addr])

    op = dut.op

    def accessed(name: str):
        """Now, or when the row is there, or after a pause in the midst of a read."""
        return getattr(dut, name).stb | (dut.pauses & (op.table == Table[name.upper()]))

    context = Signal(CONTEXT_ROW)
    m.d.comb += context.eq(Array(row.as_value() for row in rows)[op.router[0]])
    for name, window, rows_there, each in WINDOWS:
        table = getattr(dut, name)
        base, size = context[f"{window}_base"], context[f"{window}_size"]
        with m.If(accessed(name)):
            m.d.comb += [
                Assert(op.router < CONFIG.routers),
                Assert(table.addr >= base * each),
                Assert(table.addr < (base + size) * each),
                Assert(table.addr < rows_there * each),
                Assert(table.addr == base * each + op.row),
            ]
        m.d.comb += Cover(table.stb & table.write & (base > 0) & (op.router == 1))
    for name, block in BLOCKS:
        table = getattr(dut, name)
        most = CONFIG.routers + 1 if name in ("counter", "queue", "quota") else CONFIG.routers   # "none" has some too
        with m.If(accessed(name)):
            m.d.comb += [
                Assert(op.router < most),
                Assert(table.addr >= op.router * block),
                Assert(table.addr < (op.router + 1) * block),
            ]
    for name, rows_there in OF_THE_BOARD:
        table = getattr(dut, name)
        with m.If(accessed(name)):
            m.d.comb += [Assert(table.addr == op.row), Assert(op.row < rows_there)]
    # The context row is read for its windows, or for itself.
    asks = [op.table == table for table in (Table.CONTEXT, *(Table[name.upper()] for name, *_ in WINDOWS))]
    m.d.comb += Assert(~dut.context.stb | Cat(asks).any())
    # One at a time.
    stb = Cat(table.stb for table in tables)
    m.d.comb += Assert((stb & (stb - 1)) == 0)
    return m


@pytest.mark.parametrize("access_bits", [64, 16])
def test_window(tmp_path, access_bits):
    # Whatever operations the engine finds in its buffer.
    prove(harness(access_bits), tmp_path, depth=6, free_memories=True)


def test_accesses_happen(tmp_path):
    # What the last words of a row are is of no interest, but a row is written with its last word.
    cover(harness(64), tmp_path, depth=14, free_memories=True)
