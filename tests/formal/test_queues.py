"""No frame is merged, split, reordered, or lost without a count, and no cell is handed out twice.

The frame buffer is checked part by part, each against what the next one relies on: admission (a frame is written whole
into cells that it reserved, and each copy is offered once), the allocator, the lists of routers, the scheduler's
queues, the releaser of cells, and the read side. Each check is bounded: every trace of ``depth`` cycles after power-on,
in the smallest configuration in which queues and cells run out and are used again.
"""

import pytest
from amaranth.hdl import Array, Assert, Assume, Cat, Cover, Module, Mux, Signal, Value
from amaranth.lib import fifo
from polyrouter.hdl.activelists import ActiveLists, Turn
from polyrouter.hdl.admission import Admission
from polyrouter.hdl.cells import CellAllocator, Releaser
from polyrouter.hdl.dequeue import Dequeuer
from polyrouter.hdl.scheduler import SOURCES, Scheduler

from .contract import StreamContract
from .runner import AnyConst, AnySeq, cover, prove
from .small import small_config

CELLS = 2
LENGTH = 4          # bits of a frame's length
CONFIG = small_config(ports=1, routers=1, data_width=16, cell_bytes=4, buffer_bytes=16, queue_frames=2)


def admission() -> Module:
    """Frames of 1 to 10 bytes without gaps, whose beats carry marks as data, and any answers of quotas and queues."""
    m = Module()
    m.submodules.dut = dut = Admission(CONFIG)
    m.submodules.rule = StreamContract(dut.i, assume=True)
    m.submodules.copy_rule = StreamContract(dut.copy)
    m.submodules.release_rule = StreamContract(dut.release)
    i = dut.i
    first, length_held, left = Signal(init=1), Signal(LENGTH), Signal(LENGTH)
    length = Signal(LENGTH)
    # For each frame: whether it is for the replicator, and for which ports.
    group_held, copies_held = Signal(), Signal(2)
    group, copies = Signal(), Signal(2)
    m.d.comb += [
        i.valid.eq(AnySeq(1) | ~first),
        length.eq(Mux(first, AnySeq(LENGTH), length_held)),
        group.eq(Mux(first, AnySeq(1), group_held)),
        copies.eq(Mux(first, AnySeq(2), copies_held)),
        Assume((length > 0) & (length <= 10)),
        i.payload.last.eq(Mux(first, length, left) <= 2),
        i.payload.data.eq(Cat(first, i.payload.last, length)),
        i.payload.length.eq(length),
        i.payload.group.eq(group),
        i.payload.copies.eq(copies[0]),
        i.payload.host.eq(copies[1]),
        dut.available.eq(AnySeq(len(dut.available))),
        dut.group_room.eq(AnySeq(1)),
        dut.cell.eq(AnySeq(len(dut.cell))),
        dut.take_ready.eq(AnySeq(1)),
        dut.copy.ready.eq(AnySeq(1)),
        dut.release.ready.eq(AnySeq(1)),
        # A frame is never stopped in its middle.
        Assert(first | i.ready),
    ]
    frames = Signal(4)
    with m.If(i.valid & i.ready):
        m.d.sync += [first.eq(i.payload.last), left.eq(Mux(first, length, left) - 2), length_held.eq(length),
                     group_held.eq(group), copies_held.eq(copies), frames.eq(frames + first)]

    # The quotas answer three cycles after they were asked, and queues two cycles after a copy, or any time later.
    asked, accept = Signal(3), AnySeq(1)
    started = Signal()
    owed = Signal(3)
    offered = Signal()
    m.d.comb += [
        started.eq(dut.take & dut.take_ready),
        Assert(started == (i.valid & i.ready & first)),
        dut.decide.eq(asked[2]),
        dut.accept.eq(asked[2] & accept & dut.allow),
        offered.eq(dut.copy.valid & dut.copy.ready),
        dut.done.eq(AnySeq(1) & (owed != 0)),
    ]
    m.d.sync += [asked.eq(Cat(started, asked[:2])), owed.eq(owed + offered - dut.done)]

    # Each frame has its copies, or its one group, one frame after the other.
    m.submodules.expected = expected = fifo.SyncFIFO(width=LENGTH + 3, depth=4)
    m.d.comb += [expected.w_en.eq(started), expected.w_data.eq(Cat(length, copies, group))]
    want_length, want_copies, want_group = (expected.r_data[:LENGTH], expected.r_data[LENGTH:LENGTH + 2],
                                            expected.r_data[-1])
    m.submodules.answers = answers = fifo.SyncFIFO(width=1 + len(dut.cell), depth=4)
    m.d.comb += answers.w_data.eq(Cat(dut.accept, dut.cell))
    answer = Mux(answers.r_rdy, answers.r_data, answers.w_data)
    there = answers.r_rdy | dut.decide
    got = Signal(2)
    copy = dut.copy.payload
    now = Signal(2)
    refused_last = Signal()
    outstanding = Signal(2)     # refused copies of the frame under way, if it is stored
    m.d.comb += now.eq(1 << copy.port)
    with m.If(dut.copy.valid):
        m.d.comb += [
            Assert(expected.r_rdy & there),
            Assert(copy.descriptor.length == want_length),
            Assert(copy.refused == ~answer[0]),
            Assert(copy.refused | (copy.descriptor.cell == answer[1:])),
            Assert(Mux(want_group, copy.refused & (now == 2), want_copies & now & ~got)),
            Assert(copy.descriptor.sole == (~want_group & (want_copies != 3))),
        ]
    ends = Signal()
    none = expected.r_rdy & there & ~want_group & (want_copies == 0)
    m.d.comb += [
        ends.eq((offered & (want_group | ((got | now) == want_copies))) | dut.group | none),
        expected.r_en.eq(ends),
        answers.r_en.eq(ends),
        answers.w_en.eq(dut.decide & ~(ends & ~answers.r_rdy)),
    ]
    with m.If(dut.group):
        m.d.comb += [Assert(expected.r_rdy & want_group & answer[0] & there),
                     Assert(dut.group_payload.cell == answer[1:]), Assert(dut.group_payload.length == want_length),
                     Assert(~offered)]
    m.d.sync += got.eq(Mux(ends, 0, Mux(offered, got | now, got)))

    # Refused copies of a stored frame are given back, together, when all of its copies are done.
    with m.If(dut.done & dut.refused):
        m.d.sync += outstanding.eq(outstanding + 1)
    m.d.comb += dut.refused.eq(AnySeq(1) | refused_last)
    m.d.sync += refused_last.eq(Mux(offered, copy.refused, refused_last))
    with m.If(dut.release.valid):
        m.d.comb += [Assert(owed == 0), Assert(dut.release.payload.count > 0)]

    # A stored frame lies whole in the cells that were taken for it, linked in their order.
    begin, beats, owes, cell = Signal(init=1), Signal(3), Signal(3), Signal.like(dut.cell)
    mark_first, mark_last, mark_length = dut.data[0], dut.data[1], dut.data[2:2 + LENGTH]
    fresh = Signal()            # a cell began in the cycle before
    chained, chain = Signal(), Signal.like(dut.cell)
    position = Mux(begin, 0, beats[0])
    here = Mux(begin, dut.cell, Mux(position == 0, chain, cell))
    with m.If(dut.data_en):
        m.d.comb += [
            Assert(mark_first == begin),
            Assert(~begin | dut.accept),
            Assert(dut.data_addr == Cat(position, here)),
            Assert(dut.reserve == begin),
            # The first cell is there, and each other one was linked before its first beat.
            Assert(begin | (position != 0) | chained),
        ]
        m.d.sync += [begin.eq(mark_last), beats.eq(Mux(begin, 1, beats + 1)), cell.eq(here)]
        with m.If(position == 0):
            m.d.sync += chained.eq(0)
        with m.If(begin):
            m.d.comb += [Assert(dut.need == (mark_length + 3) >> 2), Assert(dut.pop)]
            m.d.sync += owes.eq(dut.need - 1)
    with m.Else():
        m.d.comb += [Assert(~dut.reserve), Assert(begin | ~asked.any())]
    m.d.sync += fresh.eq(dut.data_en & (position == 0))
    m.d.comb += [
        Assert(dut.link_en == (fresh & (owes != 0))),
        Assert(dut.pop == (dut.link_en | (dut.data_en & begin))),
    ]
    with m.If(dut.link_en):
        m.d.comb += [Assert(dut.link_addr == cell), Assert(dut.link_data == dut.cell)]
        m.d.sync += [chained.eq(1), chain.eq(dut.cell), owes.eq(owes - 1)]
    with m.If(dut.data_en & mark_last):
        m.d.comb += Assert(Mux(begin, dut.need == 1, owes == 0))
    m.d.comb += [
        Cover(dut.release.valid & (frames == 2) & (beats == 5)),
        Cover(dut.group & (frames == 2)),
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


def lists() -> Module:
    """Any changes that are allowed: a router is in a list from its ``append`` to its ``POP``; one, any, is watched.

    Two routers and "none", at the host port alone.
    """
    m = Module()
    m.submodules.dut = dut = ActiveLists(small_config(ports=0, routers=2))
    rows = 3
    class_, watched = AnyConst(1), AnyConst(2)
    members = Signal(rows)
    head = Array(dut.head[0][c] for c in range(2))[class_]
    filled = dut.filled[0].bit_select(class_, 1)
    peeked = Signal()
    count = Signal(3)
    m.d.comb += [
        dut.append.eq(AnySeq(2)),
        dut.row.eq(AnySeq(2)),
        dut.serve.eq(AnySeq(1)),
        dut.serve_class.eq(AnySeq(1)),
        Value.cast(dut.turn).eq(AnySeq(2)),
        dut.peek.eq(AnySeq(1)),
        dut.peek_class.eq(class_),
        Assume((watched < rows) & (dut.row < rows)),
        Assume(~dut.serve | ~dut.append.any()),
        Assume(Value.cast(dut.turn) != 3),
        # The watched list is only used as it may be.
        Assume(~dut.append.bit_select(class_, 1) | ~members.bit_select(dut.row, 1)),
        Assume(~(dut.serve & (dut.serve_class == class_)) | (filled & peeked)),
        Assume(~dut.peek | (~dut.append.any() & ~dut.serve)),
        Assert(filled == members.any()),
        Assert(~filled | members.bit_select(head, 1)),
    ]
    m.d.sync += peeked.eq(dut.peek)
    append = dut.append.bit_select(class_, 1)
    serve = dut.serve & (dut.serve_class == class_)
    # How many routers are before the watched one: it comes to the head exactly when there is none.
    before = Signal(3)
    there = members.bit_select(watched, 1)
    pop = serve & (dut.turn == Turn.POP)
    rotate = serve & (dut.turn == Turn.ROTATE)
    m.d.comb += Assert(~there | ((head == watched) == (before == 0)))
    with m.If(append):
        m.d.sync += [members.eq(members | 1 << dut.row), count.eq(count + 1)]
        with m.If(dut.row == watched):
            m.d.sync += before.eq(count)
    with m.If(pop):
        m.d.sync += [members.eq(members & ~(1 << head)[:rows]), count.eq(count - 1), before.eq(before - 1)]
    with m.If(rotate):
        m.d.sync += before.eq(Mux(before == 0, count - 1, before - 1))
    m.d.comb += Cover(rotate & (count == 3) & (head == watched))
    return m


def queues() -> Module:
    """Copies for one router and class, and readers that take them at any time; one copy is watched."""
    m = Module()
    m.submodules.dut = dut = Scheduler(CONFIG)
    watched = Signal()
    number, place, popped = Signal(4), Signal(4), Signal(4)
    inside = Signal(4)
    seen = Signal()
    limit = CONFIG.queue_frames + 1             # besides, one is in the output
    marks = []
    for k in range(SOURCES):
        m.submodules[f"rule_{k}"] = StreamContract(dut.copy[k], assume=True)
        payload = dut.copy[k].payload
        m.d.comb += [
            dut.copy[k].valid.eq(AnySeq(1) if k == 0 else 0),
            payload.row.eq(0),
            payload.traffic_class.eq(0),
            payload.descriptor.length.eq(AnySeq(1)),
            payload.refused.eq(AnySeq(1)),
        ]
        marks.append(payload.descriptor.length[0])
    m.submodules.rule_o = StreamContract(dut.o[0])
    m.d.comb += [
        dut.o[0].ready.eq(AnySeq(1)),
        dut.hold.eq(AnySeq(1)),
        dut.want.eq(AnySeq(len(dut.want))),
        dut.event_room.eq(AnySeq(1)),
        Assert(~dut.o[1].valid),
        # One at a time; its mark is known until it is done.
        Assume(~dut.copy[0].valid | (inside <= limit)),
    ]
    marked, refused, busy = Signal(), Signal(), Signal()
    with m.If(dut.copy[0].valid & dut.copy[0].ready):
        m.d.comb += [Assert(~busy | dut.done[0]), Assume(~(marks[0] & (watched | (marked & busy))))]
        m.d.sync += [marked.eq(marks[0]), refused.eq(dut.copy[0].payload.refused), busy.eq(1)]
    with m.Elif(dut.done[0]):
        m.d.sync += busy.eq(0)
    entered = dut.done[0] & ~dut.refused
    pop = dut.o[0].valid & dut.o[0].ready
    m.d.comb += [Assert(~entered | (busy & ~refused)), Assert(dut.done[0] == dut.event_en), Assert(inside <= limit)]
    m.d.sync += inside.eq(inside + entered - pop)
    with m.If(entered):
        m.d.sync += number.eq(number + 1)
        with m.If(marked):
            m.d.sync += [watched.eq(1), place.eq(number)]
    with m.If(pop):
        mine = dut.o[0].payload.length[0]
        m.d.comb += [Assert(inside != 0), Assert(mine == (watched & (place == popped)))]
        m.d.sync += [popped.eq(popped + 1), seen.eq(seen | mine)]
    m.d.comb += [Cover(seen & (place == 1)), Cover(dut.done[0] & dut.refused & ~refused)]
    return m


def releaser() -> Module:
    """One frame of some copies, which are done with in any order, and another one whose cells are free already."""
    m = Module()
    m.submodules.dut = dut = Releaser(CONFIG, inputs=2)
    m.submodules.give_rule = StreamContract(dut.give)
    cells = 3
    start, stored = AnySeq(1), Signal()
    copies = Signal.like(dut.share_count)
    length, whole = AnyConst(LENGTH), AnySeq(1)
    owed = Signal.like(dut.share_count)             # copies not done with
    opened = Signal()
    m.d.comb += [
        copies.eq(AnyConst(2)),
        Assume((copies > 0) & (copies <= 2)),
        Assume((length > 0) & (length <= 4 * cells)),
        dut.share_en.eq(start & ~stored),
        dut.share_cell.eq(0),
        dut.share_count.eq(copies),
        dut.writing.eq(stored & opened),
        dut.writing_cell.eq(0),
        dut.wait.eq(AnySeq(1)),
        dut.give.ready.eq(AnySeq(1)),
        dut.link_data.eq(link := Signal.like(dut.link_data)),
    ]
    with m.If(dut.share_en):
        m.d.sync += [stored.eq(1), opened.eq(1), owed.eq(copies)]
    with m.If(stored & whole):
        m.d.sync += opened.eq(0)
    with m.If(dut.link_en):
        m.d.sync += link.eq(dut.link_addr + 1)
    for k in range(2):
        i = dut.i[k]
        m.submodules[f"rule_{k}"] = StreamContract(i, assume=True)
        m.d.comb += [
            i.valid.eq(AnySeq(1)),
            i.payload.cell.eq(0),
            i.payload.length.eq(length),
            i.payload.shared.eq(1),
            i.payload.count.eq(1),
            Assume(~i.valid | (stored & (owed > (dut.i[0].valid if k else 0)))),
        ]
    m.d.sync += owed.eq(Mux(dut.share_en, copies, owed - Cat(i.valid & i.ready for i in dut.i).any()))
    freed, given = Signal(3), Signal()
    need = Signal(3)
    m.d.comb += [need.eq((length + 3) >> 2), Assert(~dut.free | ~dut.wait)]
    with m.If(dut.free):
        m.d.comb += [Assert((owed == 0) & stored), Assert(~dut.writing), Assert(dut.freed == freed[:2]),
                     Assert(freed < need), Assert(~given)]
        m.d.sync += freed.eq(freed + 1)
    with m.If(dut.give.valid):
        m.d.comb += [Assert(freed == need), Assert(dut.give.payload.count == need), Assert(~given)]
    with m.If(dut.give.valid & dut.give.ready):
        m.d.sync += given.eq(1)
    m.d.comb += Cover(given & (copies == 2) & (need == 2))
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
    frames, done = Signal(5), Signal(5)
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
    m.d.sync += [
        frames.eq(frames + (dut.i[0].valid & dut.i[0].ready) + (dut.i[1].valid & dut.i[1].ready)),
        done.eq(done + dut.done),
    ]
    m.d.comb += [
        Assert(done + dut.done <= frames),
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
            Assert(o.payload.length == expected.r_data[2:]),
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


@pytest.mark.parametrize(("harness", "depth"), [
    (admission, 9), (allocator, 10), (lists, 8), (queues, 9), (releaser, 12), (read_side, 7)])
def test_part(tmp_path, harness, depth):
    prove(harness(), tmp_path, depth=depth, induction=False)


@pytest.mark.slow
@pytest.mark.parametrize(("harness", "depth"), [
    (admission, 12), (allocator, 12), (lists, 10), (queues, 12), (releaser, 16), (read_side, 8)])
def test_part_deeper(tmp_path, harness, depth):
    prove(harness(), tmp_path, depth=depth, induction=False)


@pytest.mark.parametrize(("harness", "depth"), [
    (admission, 18), (allocator, 11), (lists, 11), (queues, 24), (releaser, 18), (read_side, 12)])
def test_part_can_do_its_work_within_the_bound(tmp_path, harness, depth):
    cover(harness(), tmp_path, depth=depth)
