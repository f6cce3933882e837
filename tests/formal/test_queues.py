"""No frame is merged, split, reordered, or lost without a count, and no cell is handed out twice.

The frame buffer is checked part by part, each against what the next one relies on: admission (a frame is written whole
into cells that it reserved, and each of its copies is offered to the queues, or offered as refused), the allocator, and
the read side. What is in between, the queues, has a model in tests/unit/hdl/test_scheduler.py. Each check is bounded:
every trace of ``depth`` cycles after power-on, in the smallest configuration in which cells run out and are used again.
"""

import pytest
from amaranth.hdl import Array, Assert, Assume, Cat, Const, Cover, Module, Mux, Signal
from amaranth.lib import fifo
from polyrouter.hdl.admission import Admission
from polyrouter.hdl.cells import CellAllocator
from polyrouter.hdl.dequeue import Dequeuer

from .contract import StreamContract
from .runner import AnyConst, AnySeq, cover, prove
from .small import small_config

CELLS = 2
LENGTH = 4          # bits of a frame's length
CONFIG = small_config(ports=1, routers=1, data_width=16, cell_bytes=4, buffer_bytes=16, queue_frames=2)
#: Cycles from the question to the quotas to their answer.
ANSWER = 3


class Frames:
    """Frames of 1 to 10 bytes without gaps inside, of which one, any, is watched: it says to come from port 1.

    Data tell a beat's place: bit 0 the first, bit 1 the last, then the length. Copies go to port 0, to a port that is
    not there, and to the host.
    """

    def __init__(self, m: Module, i):
        beat = i.payload
        self.first = first = Signal(init=1)
        self.length = length = Signal(LENGTH)
        self.copies, self.host, self.group, self.mark = Signal(2), Signal(), Signal(), Signal()
        self.marked = Signal()                  # the watched frame has come, or comes
        fields = (length, self.copies, self.host, self.group, self.mark)
        before = Signal(sum(len(field) for field in fields))
        left = Signal(LENGTH)
        m.d.comb += [
            i.valid.eq(AnySeq(1) | ~first),
            Cat(fields).eq(Mux(first, AnySeq(len(before)), before)),
            Assume((length > 0) & (length <= 10)),
            Assume(~(first & self.mark & self.marked)),
            beat.last.eq(Mux(first, length, left) <= 2),
            beat.data.eq(Cat(first, beat.last, length)),
            beat.length.eq(length),
            beat.copies.eq(self.copies),
            beat.host.eq(self.host),
            beat.group.eq(self.group),
            beat.port.eq(self.mark),
        ]
        self.starts = Signal()
        m.d.comb += self.starts.eq(i.valid & i.ready & first)
        with m.If(i.valid & i.ready):
            m.d.sync += [first.eq(beat.last), left.eq(Mux(first, length, left) - 2), before.eq(Cat(fields)),
                         self.marked.eq(self.marked | self.mark)]


def admission() -> Module:
    """Any frames, and any answers of the quotas and the queues."""
    m = Module()
    m.submodules.dut = dut = Admission(CONFIG)
    m.submodules.rule = StreamContract(dut.copy)
    frames = Frames(m, dut.i)
    asked = Signal(ANSWER)
    available, reserved = Signal.like(dut.available), Signal.like(dut.available)
    m.d.comb += [
        Assert(dut.i.ready | frames.first),
        dut.take_ready.eq(AnySeq(1)),
        dut.decide.eq(asked[-1]),
        dut.accept.eq(dut.decide & dut.allow & AnySeq(1)),
        dut.available.eq(AnySeq(len(available))),
        # Nobody else reserves cells.
        reserved.eq(Mux(dut.reserve, dut.need, 0)),
        Assume(dut.available >= available),
        Assume(dut.available <= CELLS),
        dut.cell.eq(AnySeq(len(dut.cell))),
        dut.group_room.eq(AnySeq(1)),
        dut.copy.ready.eq(AnySeq(1)),
        dut.release.ready.eq(AnySeq(1)),
        dut.refused.eq(AnySeq(1)),
        dut.done.eq(AnySeq(1)),
    ]
    m.d.sync += [asked.eq(Cat(frames.starts, asked)), available.eq(dut.available - reserved)]

    # What is accepted is written whole, into cells that were reserved and are linked in their order.
    begin, part, cell, following, known, owed = (
        Signal(init=1), Signal(), Signal.like(dut.cell), Signal.like(dut.cell), Signal(), Signal.like(dut.need))
    mark_first, mark_last, mark_length = dut.data[0], dut.data[1], dut.data[2:2 + LENGTH]
    here = Signal.like(dut.cell)
    m.d.comb += here.eq(Mux(begin | (~part & dut.link_en), dut.cell, Mux(part, cell, following)))
    m.d.comb += [
        Assert(dut.reserve == (dut.data_en & begin)),
        Assert(dut.reserve == dut.accept),
        Assert(dut.pop == (dut.reserve | dut.link_en)),
    ]
    with m.If(dut.data_en):
        m.d.comb += [
            Assert(mark_first == begin),
            Assert(dut.data_addr == Cat(Mux(begin, 0, part), here)),
            Assert(begin | part | known | dut.link_en),
        ]
        m.d.sync += [begin.eq(mark_last), part.eq(~mark_last & ~Mux(begin, 0, part)), cell.eq(here)]
        with m.If(mark_last):
            m.d.comb += Assert(Mux(begin, dut.need == 1, owed == dut.link_en))
        with m.If(begin):
            m.d.comb += [Assert(dut.need <= dut.available), Assert(dut.need == (mark_length + 3) >> 2)]
    with m.Else():
        m.d.comb += Assert(begin)           # no gaps
    with m.If(dut.reserve):
        m.d.sync += [owed.eq(dut.need - 1), known.eq(0)]
    with m.Elif(dut.link_en):
        m.d.sync += [owed.eq(owed - 1), following.eq(dut.cell)]
    with m.If(dut.link_en):
        m.d.comb += [Assert(dut.link_addr == cell), Assert(dut.link_data == dut.cell), Assert(owed != 0)]
        m.d.sync += known.eq(~(dut.data_en & ~part))
    with m.Elif(dut.data_en & ~begin & ~part):
        m.d.sync += known.eq(0)

    # Each copy of the watched frame is offered once, as what it is.
    mine, stored, answered, head = Signal(ANSWER), Signal(), Signal(), Signal.like(dut.cell)
    length, wanted, group = Signal(LENGTH), Signal(3), Signal()
    m.d.sync += mine.eq(Cat(frames.starts & frames.mark, mine))
    with m.If(frames.starts & frames.mark):
        m.d.sync += [length.eq(frames.length), wanted.eq(Cat(frames.copies, frames.host)), group.eq(frames.group)]
    with m.If(mine[-1]):
        m.d.sync += [answered.eq(1), stored.eq(dut.accept), head.eq(dut.cell)]
    is_stored = Mux(answered, stored, dut.accept)
    first_cell = Mux(answered, head, dut.cell)
    copy = dut.copy.payload
    offered = Signal(3)
    handed, lost, grouped = Signal(), Signal(), Signal()
    m.d.comb += handed.eq(dut.copy.valid & dut.copy.ready & (copy.descriptor.port == 1))
    with m.If(handed):
        way = Signal(2)
        m.d.comb += [
            way.eq(Mux(copy.port == CONFIG.host_port, 2, copy.nowhere)),
            Assert(answered | mine[-1]),
            Assert(copy.refused == (~is_stored | copy.nowhere)),
            Assert(copy.descriptor.length == length),
            Assert(~is_stored | (copy.descriptor.cell == first_cell)),
        ]
        with m.If(group):       # its only copy is the one that is counted as refused
            m.d.comb += [Assert(~is_stored), Assert(offered == 0)]
            m.d.sync += offered.eq(1)
        with m.Else():
            m.d.comb += [
                Assert(wanted.bit_select(way, 1)), Assert(~offered.bit_select(way, 1)),
                Assert(copy.descriptor.sole == ((wanted & (wanted - 1)) == 0)),
            ]
            m.d.sync += offered.eq(offered | (Const(1, 3) << way))
    with m.If(dut.group & (dut.group_payload.query.port == 1)):
        m.d.comb += [Assert(answered & stored & group & ~grouped), Assert(dut.group_payload.cell == head),
                     Assert(dut.group_payload.length == length)]
        m.d.sync += grouped.eq(1)
    m.d.comb += lost.eq(dut.idle & answered & Mux(group, ~grouped & (offered == 0), offered != wanted))
    m.d.comb += Assert(~lost)
    # Copies are accounted for after they were handed over.
    waiting = Signal(4)
    m.d.comb += Assume(~dut.done | (waiting != 0))
    m.d.sync += waiting.eq(waiting + (dut.copy.valid & dut.copy.ready) - dut.done)
    m.d.comb += [
        Cover(handed & stored & (offered == 1) & (length > 6)),
        Cover(grouped & dut.idle), Cover(dut.release.valid & (dut.release.payload.count == 2)),
    ]
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
            stream.payload.sole.eq(AnySeq(1)),
            Assume(length > 0),
        ]
    m.d.comb += [
        o.ready.eq(AnySeq(1)),
        dut.o_host.ready.eq(AnySeq(1)),
        expected.w_en.eq(i.valid & i.ready),
        expected.w_data.eq(Cat(i.payload.cell, i.payload.length[:LENGTH])),
    ]
    begin, cell, position, left, length = Signal(init=1), Signal(2), Signal(), Signal(LENGTH), Signal(LENGTH)
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
            Assert(o.payload.length == Mux(begin, now_left, length)),
        ]
    with m.If(o.valid & o.ready):
        m.d.comb += expected.r_en.eq(o.payload.last)
        m.d.sync += [
            begin.eq(o.payload.last),
            left.eq(now_left - 2),
            length.eq(Mux(begin, now_left, length)),
            position.eq(Mux(o.payload.last, 0, ~position)),
            cell.eq(Mux(position, links[now_cell], now_cell)),
            sent.eq(sent + o.payload.last),
        ]
    m.d.comb += Cover((sent == 2) & position)
    return m


@pytest.mark.parametrize(("harness", "depth"), [(admission, 10), (allocator, 10), (read_side, 8)])
def test_part(tmp_path, harness, depth):
    prove(harness(), tmp_path, depth=depth, induction=False)


@pytest.mark.slow
@pytest.mark.parametrize(("harness", "depth"), [(admission, 14), (allocator, 12), (read_side, 9)])
def test_part_deeper(tmp_path, harness, depth):
    prove(harness(), tmp_path, depth=depth, induction=False)


@pytest.mark.parametrize(("harness", "depth"), [(admission, 14), (allocator, 11), (read_side, 12)])
def test_part_can_do_its_work_within_the_bound(tmp_path, harness, depth):
    cover(harness(), tmp_path, depth=depth)
