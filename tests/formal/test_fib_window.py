"""No walk of the FIB reads a row outside the window that came with its record, whatever the pool holds."""

from amaranth.hdl import Array, Assert, Assume, Cover, Module, Signal
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
        ring.read_data.eq(AnySeq(len(ring.read_data))),
    ]
    slot = Signal(range(RING))
    m.d.comb += slot.eq(AnyConst(len(slot)))
    base, size = Signal.like(ring.i.payload.base), Signal.like(ring.i.payload.size)
    walking = Signal()
    with m.If(ring.i.valid & ring.i.ready & (ring.turn == slot)):
        m.d.sync += [base.eq(ring.i.payload.base), size.eq(ring.i.payload.size), walking.eq(ring.i.payload.walk)]

    # The slot is in stage 7 in its turn, and moves on with each cycle: stage k holds slot ``turn - 1 - k``.
    reader = Signal(range(RING))
    m.d.comb += reader.eq(ring.turn - 2)
    with m.If(ring.read_en & (reader == slot)):
        m.d.comb += [
            Assert(walking),
            Assert(ring.read_addr >= base),
            Assert(ring.read_addr < base + size),
            Assert(ring.read_addr < CONFIG.fib_words),
            Cover(ring.read_addr == CONFIG.fib_words - 1),
        ]

    # What makes it inductive: the walk in the slot is the one that was given.
    walk = Array(ring.stages)[(ring.turn - 1 - slot)[:len(slot)]]
    with m.If(walk.busy):
        m.d.comb += [Assert(walk.base == base), Assert(walk.size == size), Assert(~walk.active | walking)]
    with m.Else():
        m.d.comb += Assert(~walk.active)
    return m


def test_reads_stay_in_the_window(tmp_path):
    prove(window_harness(), tmp_path, depth=4)


def test_last_row_can_be_read(tmp_path):
    cover(window_harness(), tmp_path, depth=12)


def stage_harness() -> Module:
    """The whole stage, with the pool being written at will."""
    m = Module()
    m.submodules.dut = dut = FibLookup(CONFIG)
    m.submodules.contract = StreamContract(dut.o)
    m.submodules.rule = StreamContract(dut.i, assume=True)
    arrival, request = dut.i.payload, dut.ring.i.payload
    m.d.comb += [
        dut.i.valid.eq(AnySeq(1)),
        arrival.as_value().eq(AnySeq(arrival.shape().size)),
        dut.o.ready.eq(AnySeq(1)),
        dut.table.stb.eq(AnySeq(1)),
        dut.table.write.eq(AnySeq(1)),
        dut.table.addr.eq(AnySeq(len(dut.table.addr))),
        dut.table.w_data.eq(AnySeq(len(dut.table.w_data))),
        Assume(dut.table.addr < CONFIG.fib_words),
    ]
    # The ring is given the window of the record that is taken, and only of a record that is for a router.
    with m.If(dut.i.valid & dut.i.ready):
        m.d.comb += [
            Assert(dut.ring.i.valid & dut.ring.i.ready),
            Assert(request.base == arrival.fib_base),
            Assert(request.size == arrival.fib_size),
            Assert(~request.walk | (arrival.own & arrival.enable)),
        ]
    with m.Else():
        m.d.comb += Assert(~(dut.ring.i.valid & dut.ring.i.ready))
    return m


def test_stage_keeps_the_stream_rules(tmp_path):
    prove(stage_harness(), tmp_path, depth=3)
