"""The control engine reaches FIB and adjacency rows only through the addressed router's window."""

from amaranth.hdl import Array, Assert, Cover, Module, Signal
from polyrouter.hdl.control import ControlEngine
from polyrouter.hdl.layouts import CONTEXT_ROW

from .runner import AnyConst, AnySeq, cover, prove
from .small import small_config
from .test_streams import drive, rules

ROUTERS = 2
FIB_WORDS, ADJACENCIES = 24, 12


def harness() -> Module:
    """The engine with a context table that holds any rows at first, and what the engine writes later."""
    m = Module()
    m.submodules.dut = dut = ControlEngine(small_config(
        data_width=64, routers=ROUTERS, ports=2, fib_words=FIB_WORDS, adjacencies=ADJACENCIES))
    tables = (dut.vmac, dut.context, dut.port, dut.fib, dut.adjacency, dut.counter, dut.queue)
    for table in tables:
        m.d.comb += table.ack.eq(table.stb & AnySeq(1))
        if table is not dut.context:
            drive(m, table.r_data)
    drive(m, dut.lookup_enter)
    drive(m, dut.lookup_leave)
    rules(m, [(dut.i, dut.request)], [])
    drive(m, dut.o.ready)

    start = [AnyConst(CONTEXT_ROW.size) for _ in range(ROUTERS)]
    changes = [Signal(CONTEXT_ROW.size, name=f"changes_{k}") for k in range(ROUTERS)]
    rows = Array(Signal(CONTEXT_ROW, name=f"row_{k}") for k in range(ROUTERS))
    for k in range(ROUTERS):
        m.d.comb += rows[k].eq(start[k] ^ changes[k])
        with m.If(dut.context.ack & dut.context.write & (dut.context.addr == k)):
            m.d.sync += changes[k].eq(start[k] ^ dut.context.w_data)
    m.d.comb += dut.context.r_data.eq(Array(row.as_value() for row in rows)[dut.context.addr])

    context = Signal(CONTEXT_ROW)
    m.d.comb += context.eq(Array(row.as_value() for row in rows)[dut.op.router[0]])
    for table, base, size, words in (
            (dut.fib, context.fib_base, context.fib_size, FIB_WORDS),
            (dut.adjacency, context.adj_base, context.adj_size, ADJACENCIES)):
        with m.If(table.stb):
            m.d.comb += [
                Assert(dut.op.router < ROUTERS),
                Assert(table.addr >= base),
                Assert(table.addr < base + size),
                Assert(table.addr < words),
                Assert(table.addr == base + dut.op.row),
            ]
        m.d.comb += Cover(table.stb & (base > 0) & (dut.op.router == 1))
    with m.If(dut.context.stb):
        m.d.comb += Assert(dut.context.addr == dut.op.router)
    return m


def test_window(tmp_path):
    # Whatever operations the engine finds in its buffer.
    prove(harness(), tmp_path, depth=6, free_memories=True)


def test_accesses_happen(tmp_path):
    cover(harness(), tmp_path, depth=14)
