"""What a walk of the FIB finds depends on its request and on the words of its own window, and on nothing else."""

from amaranth.hdl import Assert, Assume, Cover, Module, Signal, Value
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.fib_ring import RING, FibRing

from .runner import AnyConst, AnySeq, cover, prove

CONFIG = CoreConfig(fib_words=100)


def two_rings() -> Module:
    """Two rings with whatever requests, of which one walk, the same in both, is watched: its reads deliver the same.

    :mod:`.test_fib_window` shows that these reads are in the walk's window. So the pools may differ in all that
    belongs to other routers, and so may all other requests. A read that the control engine takes away is taken away
    from both.
    """
    m = Module()
    m.submodules.one = one = FibRing(CONFIG)
    m.submodules.two = two = FibRing(CONFIG)
    for ring in (one, two):
        m.d.comb += [
            ring.i.valid.eq(AnySeq(1)),
            ring.i.payload.as_value().eq(AnySeq(ring.i.payload.shape().size)),
            ring.o.ready.eq(AnySeq(1)),
            ring.read.data.eq(AnySeq(len(ring.read.data))),
            ring.read.miss.eq(AnySeq(1)),
        ]
    slot = Signal(range(RING))
    m.d.comb += [
        slot.eq(AnyConst(len(slot))), Assume(slot < RING), Assert(one.turn == two.turn), Assert(one.turn < RING),
    ]

    def in_stage(stage: int) -> Value:
        return (one.turn == slot + stage) | (one.turn + RING == slot + stage)

    watched = Signal()
    with m.If(in_stage(RING - 1)):
        with m.If(one.deal & two.deal & (one.waiting == two.waiting)):
            m.d.sync += watched.eq(1)
        with m.Elif(one.deal | two.deal):
            m.d.sync += watched.eq(0)
    with m.If(in_stage(0) & (one.collect | two.collect)):
        m.d.sync += watched.eq(0)

    read_once = Signal()
    with m.If(watched):
        for stage in range(RING):
            with m.If(in_stage(stage)):
                m.d.comb += Assert(one.stages[stage].as_value() == two.stages[stage].as_value())
        m.d.comb += [
            Assume(~in_stage(0) | (one.read.miss == two.read.miss)),
            Assume(~(in_stage(1) & one.stages[1].active) | one.stages[1].missed | (one.read.data == two.read.data)),
            Assert(~in_stage(0) | (one.read.en == two.read.en)),
            Assert(~(in_stage(0) & one.read.en) | (one.read.addr == two.read.addr)),
            Cover(in_stage(0) & one.collect & two.collect & read_once & one.stages[0].ipv6),
        ]
        with m.If(in_stage(0) & one.read.en):
            m.d.sync += read_once.eq(1)
    return m


def test_a_walk_s_fate_is_its_own(tmp_path):
    prove(two_rings(), tmp_path, depth=RING - 1, timeout=900)


def test_a_watched_walk_can_end(tmp_path):
    cover(two_rings(), tmp_path, depth=12)
