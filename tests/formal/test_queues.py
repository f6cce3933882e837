"""No frame is merged, split, reordered, or lost without a count, and no cell is handed out twice.

The frame buffer is checked part by part, each against what the next one relies on: admission (a frame is written whole
into cells that it reserved, or counted as dropped), the allocator, the queues of descriptors, and the read side. Each
check is bounded: every trace of ``depth`` cycles after power-on, in the smallest configuration in which queues and
cells run out and are used again.
"""

import pytest
from amaranth.hdl import Array, Assert, Assume, Cat, Cover, Module, Mux, Signal
from amaranth.lib import fifo
from polyrouter.hdl.admission import Admission
from polyrouter.hdl.cells import CellAllocator
from polyrouter.hdl.dequeue import Dequeuer
from polyrouter.hdl.layouts import Reason
from polyrouter.hdl.queues import OutputQueues

from .contract import StreamContract
from .runner import AnyConst, AnySeq, cover, prove
from .small import small_config

CELLS = 2
LENGTH = 4          # bits of a frame's length
CONFIG = small_config(ports=1, routers=1, data_width=16, cell_bytes=4, buffer_bytes=16, queue_frames=2)


def admission() -> Module:
    """Frames of 1 to 10 bytes, whose beats carry marks as data, and any answers of the allocator and the queues."""
    m = Module()
    m.submodules.dut = dut = Admission(CONFIG)
    m.submodules.rule = StreamContract(dut.i, assume=True)
    i = dut.i
    first, length_held, left, group_held = Signal(init=1), Signal(LENGTH), Signal(LENGTH), Signal()
    length, group = Signal(LENGTH), Signal()
    m.d.comb += [
        i.valid.eq(AnySeq(1)),
        length.eq(Mux(first, AnySeq(LENGTH), length_held)),
        group.eq(Mux(first, AnySeq(1), group_held)),
        Assume((length > 0) & (length <= 10)),
        i.payload.last.eq(Mux(first, length, left) <= 2),
        i.payload.data.eq(Cat(first, i.payload.last, length)),
        i.payload.length.eq(length),
        i.payload.group.eq(group),
        dut.event.ready.eq(AnySeq(1)),
        dut.available.eq(AnySeq(len(dut.available))),
        dut.full.eq(AnySeq(len(dut.full))),
        dut.group_room.eq(AnySeq(1)),
        dut.cell.eq(AnySeq(len(dut.cell))),
    ]
    frames, outcomes = Signal(5), Signal(5)
    with m.If(i.valid & i.ready):
        m.d.sync += [first.eq(i.payload.last), left.eq(Mux(first, length, left) - 2), length_held.eq(length),
                     group_held.eq(group), frames.eq(frames + i.payload.last)]

    # Exactly one outcome for each frame.
    drop, event = Signal(), dut.event
    stored = dut.push | dut.group
    m.d.comb += [
        drop.eq(event.valid & event.ready & (event.payload.reason != Reason.FORWARDED)),
        Assert(~(dut.push & dut.group)),
        Assert(~(drop & stored)),
        Assert((event.valid & event.ready & ~drop) == dut.push),
        Assert(dut.dropped == drop),
        Assert((outcomes == frames) | (outcomes + 1 == frames)),
    ]
    m.d.sync += outcomes.eq(outcomes + (stored | drop))

    # A stored frame lies whole in the cells that were taken for it, linked in their order.
    begin, beats, taken, owed, cell, head = (
        Signal(init=1), Signal(3), Signal(3), Signal(3), Signal.like(dut.cell), Signal.like(dut.cell))
    mark_first, mark_last, mark_length = dut.data[0], dut.data[1], dut.data[2:2 + LENGTH]
    here = Mux(dut.take, dut.cell, cell)
    descriptor = Mux(dut.group, dut.group_payload.cell, dut.push_descriptor.cell)
    descriptor_length = Mux(dut.group, dut.group_payload.length, dut.push_descriptor.length)
    with m.If(dut.data_en):
        m.d.comb += [
            Assert(mark_first == begin),
            Assert(mark_last == stored),
            Assert(dut.take == ~Mux(begin, 0, beats[0])),
            Assert(dut.data_addr == Cat(Mux(begin, 0, beats[0]), here)),
            Assert(dut.reserve_cells == begin),
            Assert(dut.link_en == (dut.take & ~begin)),
        ]
        m.d.sync += [begin.eq(mark_last), beats.eq(Mux(begin, 1, beats + 1)), cell.eq(here),
                     taken.eq(Mux(begin, 1, taken + dut.take))]
        with m.If(begin):
            m.d.comb += [Assert(dut.cell_count <= dut.available), Assert(dut.cell_count == (mark_length + 3) >> 2)]
            m.d.sync += [owed.eq(dut.cell_count), head.eq(dut.cell)]
        with m.If(mark_last):
            m.d.comb += [
                Assert(Mux(begin, 1, taken + dut.take) == Mux(begin, dut.cell_count, owed)),
                Assert(descriptor == Mux(begin, dut.cell, head)),
                Assert(descriptor_length == mark_length),
            ]
    with m.Else():
        m.d.comb += [Assert(~dut.take), Assert(~dut.link_en), Assert(~stored), Assert(~dut.reserve_cells)]
    with m.If(dut.link_en):
        m.d.comb += [Assert(dut.link_addr == cell), Assert(dut.link_data == dut.cell)]
    m.d.comb += [Cover(dut.push & (outcomes == 2) & (beats == 4)), Cover(drop & (outcomes == 1) & group_held)]
    return m


def allocator() -> Module:
    """A user that reserves before it takes, and frees only what it has; one cell, any, is watched."""
    m = Module()
    m.submodules.dut = dut = CellAllocator(CELLS)
    watched, owned = Signal(range(CELLS)), Signal()
    reserved, taken = Signal(range(2 * CELLS)), Signal(range(2 * CELLS))
    returning, used = Signal(), Signal()
    m.d.comb += [
        watched.eq(AnyConst(len(watched))),
        dut.reserve.eq(AnySeq(1)),
        dut.count.eq(AnySeq(len(dut.count))),
        dut.take.eq(AnySeq(1)),
        dut.free.eq(AnySeq(1)),
        dut.freed.eq(AnySeq(len(dut.freed))),
        Assume(~dut.reserve | (dut.count <= dut.available)),
        Assume(~dut.take | (reserved + Mux(dut.reserve, dut.count, 0) > 0)),
        # It has the watched cell, or another one, to give back.
        Assume(~dut.free | Mux(dut.freed == watched, owned, taken > owned)),
    ]
    m.d.sync += [
        reserved.eq(reserved + Mux(dut.reserve, dut.count, 0) - dut.take),
        taken.eq(taken + dut.take - dut.free),
        returning.eq(dut.free),
    ]
    with m.If(dut.take & (dut.cell == watched)):
        m.d.comb += Assert(~owned)
        m.d.sync += owned.eq(1)
    with m.If(dut.free & (dut.freed == watched)):
        m.d.sync += [owned.eq(0), used.eq(1)]
    m.d.comb += [
        Assert(dut.available + returning + reserved + taken == CELLS),
        Cover(dut.take & (taken == CELLS - 1) & (dut.cell == watched) & used),
    ]
    return m


def queues() -> Module:
    """Reserve, fill, fetch and give back in any order that is allowed; one descriptor of one queue is watched."""
    m = Module()
    m.submodules.dut = dut = OutputQueues(CONFIG)
    watched_queue, watched, mark = Signal(), Signal(), Signal()
    m.d.comb += [
        watched_queue.eq(AnyConst(1)),
        dut.reserve.eq(AnySeq(1)),
        dut.reserve_queue.eq(AnySeq(1)),
        dut.push.eq(AnySeq(1)),
        dut.push_queue.eq(AnySeq(1)),
        mark.eq(AnySeq(1) & ~watched & (dut.push_queue == watched_queue)),
        dut.push_descriptor.length.eq(mark),
        dut.done.eq(AnySeq(1)),
        dut.done_queue.eq(AnySeq(1)),
        Assume(~dut.reserve | ~dut.full.bit_select(dut.reserve_queue, 1)),
    ]
    for q in range(2):
        owed, out = Signal(2, name=f"owed_{q}"), Signal(2, name=f"out_{q}")
        reserve, push = dut.reserve & (dut.reserve_queue == q), dut.push & (dut.push_queue == q)
        pop, done = dut.o[q].valid & dut.o[q].ready, dut.done & (dut.done_queue == q)
        m.d.comb += [
            dut.o[q].ready.eq(AnySeq(1)),
            Assume(~push | (owed + reserve > 0)),
            Assume(~done | (out > 0)),
            Assert(dut.depth[q] <= CONFIG.queue_frames),
        ]
        m.d.sync += [owed.eq(owed + reserve - push), out.eq(out + pop - done)]
        m.submodules[f"rule_{q}"] = StreamContract(dut.o[q])
    pushed, popped, place, seen = Signal(4), Signal(4), Signal(4), Signal()
    o = Array(dut.o[q].payload.length[0] for q in range(2))[watched_queue]
    pop = Array(dut.o[q].valid & dut.o[q].ready for q in range(2))[watched_queue]
    with m.If(dut.push & (dut.push_queue == watched_queue)):
        m.d.sync += pushed.eq(pushed + 1)
        with m.If(mark):
            m.d.sync += [watched.eq(1), place.eq(pushed)]
    with m.If(pop):
        m.d.sync += [popped.eq(popped + 1), seen.eq(seen | o)]
        m.d.comb += [Assert(popped < pushed), Assert(o == (watched & (place == popped)))]
    m.d.comb += Cover(seen & (place == 2))
    return m


def read_side() -> Module:
    """Any descriptors; cells contain their own address and any cell may follow on any, so the data tells the path."""
    m = Module()
    m.submodules.dut = dut = Dequeuer(CONFIG)
    links = Array(AnyConst(2) for _ in range(4))
    # The number of frames that have been accepted and not sent is limited by the FIFO behind the port.
    m.submodules.expected = expected = fifo.SyncFIFO(width=2 + LENGTH, depth=16)
    i, o = dut.i[0], dut.o[0]
    link, content = Signal(2), Signal(3)
    with m.If(dut.link_en):
        m.d.sync += link.eq(links[dut.link_addr])
    with m.If(dut.data_en):
        m.d.sync += content.eq(dut.data_addr)
    m.d.comb += [dut.link_data.eq(link), dut.data.eq(content)]
    for q in range(2):
        stream = dut.i[q]
        m.submodules[f"rule_{q}"] = StreamContract(stream, assume=True)
        length = AnySeq(LENGTH)
        m.d.comb += [
            stream.valid.eq(AnySeq(1)),
            stream.payload.cell.eq(AnySeq(2)),
            stream.payload.length.eq(length),
            stream.payload.keep.eq(AnySeq(1)),
            Assume(length > 0),
        ]
    m.d.comb += [
        o.ready.eq(AnySeq(1)),
        dut.o_host.ready.eq(AnySeq(1)),
        expected.w_en.eq(i.valid & i.ready),
        expected.w_data.eq(Cat(i.payload.cell, i.payload.length[:LENGTH])),
    ]
    begin, cell, position, left = Signal(init=1), Signal(2), Signal(), Signal(LENGTH)
    now_cell, now_left = Signal(2), Signal(LENGTH)
    sent = Signal(4)
    m.d.comb += [
        now_cell.eq(Mux(begin, expected.r_data[:2], cell)),
        now_left.eq(Mux(begin, expected.r_data[2:], left)),
    ]
    with m.If(o.valid):
        m.d.comb += [
            Assert(expected.r_rdy),
            Assert(o.payload.data == Cat(position, now_cell)),
            Assert(o.payload.last == (now_left <= 2)),
            Assert(o.payload.empty == (now_left == 1)),
        ]
    with m.If(o.valid & o.ready):
        m.d.comb += expected.r_en.eq(o.payload.last)
        m.d.sync += [
            begin.eq(o.payload.last),
            left.eq(now_left - 2),
            position.eq(Mux(o.payload.last, 0, ~position)),
            cell.eq(Mux(position, links[now_cell], now_cell)),
            sent.eq(sent + o.payload.last),
        ]
    m.d.comb += Cover((sent == 2) & position)
    return m


@pytest.mark.parametrize(("harness", "depth"), [(admission, 8), (allocator, 10), (queues, 8), (read_side, 8)])
def test_part(tmp_path, harness, depth):
    prove(harness(), tmp_path, depth=depth, induction=False)


@pytest.mark.slow
@pytest.mark.parametrize(("harness", "depth"), [(admission, 12), (allocator, 12), (queues, 11), (read_side, 9)])
def test_part_deeper(tmp_path, harness, depth):
    prove(harness(), tmp_path, depth=depth, induction=False)


@pytest.mark.parametrize(("harness", "depth"), [(admission, 12), (allocator, 11), (queues, 12), (read_side, 12)])
def test_part_can_do_its_work_within_the_bound(tmp_path, harness, depth):
    cover(harness(), tmp_path, depth=depth)
