"""No walk of the FIB reads a row outside the window that came with its request, whatever the pool holds."""

from amaranth.hdl import Assert, Assume, Cat, Cover, Module, Mux, Signal, Value
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.fib import FibLookup
from polyrouter.hdl.fib_ring import RING, FibRing

from .contract import StreamContract
from .runner import AnyConst, AnySeq, cover, prove

CONFIG = CoreConfig(fib_words=100)      # not a power of two


def window_harness() -> Module:
    """A ring, of which one slot (any) is watched: what it was given, and what is read in its turn."""
    m = Module()
    m.submodules.ring = ring = FibRing(CONFIG)
    m.submodules.contract = StreamContract(ring.o)
    m.d.comb += [
        ring.i.valid.eq(AnySeq(1)),
        ring.i.payload.as_value().eq(AnySeq(ring.i.payload.shape().size)),
        ring.o.ready.eq(AnySeq(1)),
        ring.read.data.eq(AnySeq(len(ring.read.data))),
        ring.read.miss.eq(AnySeq(1)),
    ]
    slot = Signal(range(RING))
    m.d.comb += [slot.eq(AnyConst(len(slot))), Assume(slot < RING)]

    # Slot ``turn`` is in stage 0 and moves on with each cycle.
    def in_stage(stage: int) -> Value:
        return (ring.turn == slot + stage) | (ring.turn + RING == slot + stage)

    request = ring.waiting.request
    base, size = Signal.like(request.base), Signal.like(request.size)
    walking = Signal()
    with m.If(ring.deal & in_stage(RING - 1)):
        m.d.sync += [base.eq(request.base), size.eq(request.size), walking.eq(request.walk)]

    with m.If(ring.read.en & in_stage(0)):
        m.d.comb += [
            Assert(walking),
            Assert(ring.read.addr >= base),
            Assert(ring.read.addr < base + size),
            Assert(ring.read.addr < CONFIG.fib_words),
            Cover((ring.read.addr == CONFIG.fib_words - 1) & (ring.read.addr == base + size - 1)
                  & ring.stages[0].fetch & ~ring.stages[0].again),
        ]

    # What makes it inductive: the walk in the slot is the one that was given, and what waits was checked.
    def reach(first: Value) -> Value:
        return Mux(first < CONFIG.fib_words, CONFIG.fib_words - first, 0)

    m.d.comb += [
        Assert(ring.turn < RING),
        Assert(~ring.entrance.o.valid | (
            (ring.waiting.row == request.root + request.address[-1])
            & (ring.waiting.pool_row == request.base + ring.waiting.row)
            & (ring.waiting.reach == reach(request.base)))),
    ]
    limit = Signal.like(size)
    m.d.comb += limit.eq(Mux(reach(base) < size, reach(base), size))
    for stage in range(RING):
        walk = ring.stages[stage]

        def inside(row: Value) -> Value:
            return (row >= base) & (row - base < limit)

        with m.If(in_stage(stage)):
            with m.If(walk.busy):
                m.d.comb += [
                    Assert(walk.base == base),
                    Assert(walk.limit == limit),
                    Assert(walking | ~(walk.active | walk.restart)),
                    Assert(~walk.active | inside(walk.row)),
                    Assert(~walk.best_inside | inside(walk.best_row)),
                ]
            with m.Else():
                m.d.comb += Assert(~(walk.active | walk.restart))
    return m


def test_reads_stay_in_the_window(tmp_path):
    prove(window_harness(), tmp_path, depth=4)


def test_last_row_can_be_read(tmp_path):
    cover(window_harness(), tmp_path, depth=12)


def engine_harness() -> Module:
    """The whole engine, with the pool being written at will."""
    m = Module()
    m.submodules.dut = dut = FibLookup(CONFIG)
    m.submodules.contract = StreamContract(dut.o)
    m.submodules.rule = StreamContract(dut.i, assume=True)
    m.d.comb += [
        dut.i.valid.eq(AnySeq(1)),
        dut.i.payload.as_value().eq(AnySeq(dut.i.payload.shape().size)),
        dut.o.ready.eq(AnySeq(1)),
        dut.table.stb.eq(AnySeq(1)),
        dut.table.write.eq(AnySeq(1)),
        dut.table.addr.eq(AnySeq(len(dut.table.addr))),
        dut.table.w_data.eq(AnySeq(len(dut.table.w_data))),
        Assume(dut.table.addr < CONFIG.fib_words),
    ]
    # One ring is given the request that is taken, as it is.
    taken = [ring.i.valid & ring.i.ready for ring in dut.rings]
    with m.If(dut.i.valid & dut.i.ready):
        m.d.comb += Assert(Cat(taken).any() & ~Cat(taken).all())
    with m.Else():
        m.d.comb += Assert(~Cat(taken).any())
    for ring in dut.rings:
        with m.If(ring.i.valid):
            m.d.comb += Assert(ring.i.payload == dut.i.payload)
    return m


def test_engine_keeps_the_stream_rules(tmp_path):
    prove(engine_harness(), tmp_path, depth=3)
