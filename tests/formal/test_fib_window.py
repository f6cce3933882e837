"""No walk of the FIB reads a row outside the window that came with its request, whatever the pool holds."""

from dataclasses import replace

import pytest
from amaranth.hdl import Assert, Assume, Cat, Cover, Module, Mux, Signal, Value
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.fib import FibLookup
from polyrouter.hdl.fib_ring import RING, FibRing

from .contract import StreamContract
from .runner import AnyConst, AnySeq, cover, prove

CONFIG = CoreConfig(fib_words=100)      # not a power of two


def window_harness(step: int, config: CoreConfig = CONFIG) -> Module:
    """A ring, of which one slot (any) is watched: what it was given, and what is read in its turn.

    The proof has four steps, each of which may assume what those before it have shown: (1) a walk keeps the window
    that it was given; (2) what stage 2 says of the next row is true of that window; (3) so is what stage 3 says of it;
    (4) no other row is read.
    """
    m = Module()
    m.submodules.ring = ring = FibRing(config)
    if step == 1:
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

    def holds(in_step: int, *properties: Value) -> None:
        if in_step <= step:
            m.d.comb += [(Assert if in_step == step else Assume)(each) for each in properties]

    # Slot ``turn`` is in stage 0 and moves on with each cycle.
    def in_stage(stage: int) -> Value:
        return (ring.turn == slot + stage) | (ring.turn + RING == slot + stage)

    request = ring.waiting.request
    base, size = Signal.like(request.base), Signal.like(request.size)
    walking = Signal()
    with m.If(ring.deal & in_stage(RING - 1)):
        m.d.sync += [base.eq(request.base), size.eq(request.size), walking.eq(request.walk)]

    with m.If(ring.read.en & in_stage(0)):
        holds(4, walking, ring.read.addr >= base, ring.read.addr < base + size, ring.read.addr < CONFIG.fib_words)
        m.d.comb += Cover((ring.read.addr == CONFIG.fib_words - 1) & (ring.read.addr == base + size - 1)
                          & ring.stages[0].fetch)

    # What makes it inductive: the walk in the slot is the one that was given, and what waits was checked.
    def reach(first: Value) -> Value:
        return Mux(first < CONFIG.fib_words, CONFIG.fib_words - first, 0)

    holds(1, ring.turn < RING)
    with m.If(ring.entrance.o.valid):
        holds(1, ring.waiting.row == request.root + request.address[-1],
              ring.waiting.pool_row == request.base + ring.waiting.row, ring.waiting.reach == reach(request.base))
    limit = Signal.like(size)
    m.d.comb += limit.eq(Mux(reach(base) < size, reach(base), size))

    def inside(row: Value) -> Value:
        return (row >= base) & (row < base + limit)

    for stage in range(RING):
        walk = ring.stages[stage]
        with m.If(in_stage(stage)):
            with m.If(walk.busy):
                holds(1, walk.base == base, walk.limit == limit, walking | ~(walk.active | walk.restart))
                holds(4, ~walk.active | inside(walk.row), ~walk.best_inside | inside(walk.best_row))
            with m.Else():
                holds(1, ~(walk.active | walk.restart))

    # In stage 3, where the next row is made: the row that it counts from is as far from the window's end as it says.
    for first, room, numbers, row, row_inside in (
            (ring.child, ring.child_room, ring.children, ring.child_row, ring.child_inside),
            (ring.result, ring.result_room, ring.in_front, ring.result_row, ring.result_inside)):
        with m.If(in_stage(3) & ring.stages[3].busy):
            holds(2, first == (base + limit - room)[:len(first)], room[-1] | (room <= limit))
            holds(3, ~row_inside | inside(row))
        holds(2, numbers[0] <= 8, numbers[1] <= 7)
    return m


@pytest.mark.parametrize("step, slices", [*((step, 1) for step in (1, 2, 3, 4)), (1, 0)])
def test_reads_stay_in_the_window(tmp_path, step, slices):
    prove(window_harness(step, replace(CONFIG, slices=slices)), tmp_path, depth=2)


def test_last_row_can_be_read(tmp_path):
    cover(window_harness(1), tmp_path, depth=12)


def engine_harness(config: CoreConfig) -> Module:
    """The whole engine, with the pool being written at will."""
    m = Module()
    m.submodules.dut = dut = FibLookup(config)
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
        m.d.comb += Assert(sum(taken) == 1)
    with m.Else():
        m.d.comb += Assert(~Cat(taken).any())
    for ring in dut.rings:
        with m.If(ring.i.valid):
            m.d.comb += Assert(ring.i.payload == dut.i.payload)
    return m


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, fib_rings=1), replace(CONFIG, slices=0)],
                         ids=["two", "one", "wires"])
def test_engine_keeps_the_stream_rules(tmp_path, config):
    prove(engine_harness(config), tmp_path, depth=3)
