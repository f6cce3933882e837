"""Write side of the frame buffer: takes a frame whole, or drops it whole."""

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .cells import release_layout, share_bits
from .config import CoreConfig
from .queues import cell_count_bits, copy_layout, queue_row_bits
from .records import ROUTER_BITS, queued_layout
from .replicator import group_layout
from .table import table_addr_bits

__all__ = ["Admission"]

#: Cycles from a beat's arrival until it is written: the time in which the quota is looked up.
_DELAY = 3


class Admission(wiring.Component):
    """Decides at the first beat whether a frame is stored, writes its cells, and puts its copies into queues.

    The length is known at the first beat, so cells are reserved there and nothing ever has to be undone. A beat is
    written, and the first copy offered, three cycles after it was accepted; further copies three cycles apart. ``i``
    is stopped before a first beat only: a frame with one copy takes 4 cycles at least, and copies of one frame are
    queued while the next one comes.

    The beats of a frame must come without gaps after its first one. Then a copy may be read as soon as it is queued:
    at one beat a cycle a reader cannot overtake. A pointer to the next cell is written one cycle after the first beat
    of a cell, for the same reason.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    i : stream of queued_layout
        Frames to be sent; ``length`` agrees with the number of beats.
    data_en, data_addr, data
        Write port of the cells.
    link_en, link_addr, link_data
        Write port of the next-cell pointers.
    take, take_router, take_ready, need, allow, decide, accept
        Of the quotas.
    available, reserve, pop, cell
        Of the cell allocator: ``need`` cells are reserved, one is taken.
    copy : stream of copy_layout
        Copies for the queues, or to be counted as refused.
    done, refused : in
        A copy is in its queue, or was refused.
    share_en, share_cell, share_count : out
        A frame of several copies is stored.
    writing, writing_cell : out
        A frame that begins with this cell is not whole yet.
    release : stream of release_layout
        Copies that were refused of a frame that is stored.
    group_room : Signal, in
        The replicator's FIFO has room for two frames.
    group, group_payload : out
        A group frame is stored.
    idle : Signal, out
        No frame is under way.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        self._beat_bits = exact_log2(config.cell_bytes // config.beat_bytes)
        cell_bits = table_addr_bits(config.cells)
        super().__init__({
            "i": In(stream.Signature(queued_layout(config.data_width))),
            "data_en": Out(1),
            "data_addr": Out(cell_bits + self._beat_bits),
            "data": Out(config.data_width),
            "link_en": Out(1),
            "link_addr": Out(cell_bits),
            "link_data": Out(cell_bits),
            "take": Out(1),
            "take_router": Out(ROUTER_BITS),
            "take_ready": In(1),
            "need": Out(cell_count_bits(config)),
            "allow": Out(1),
            "decide": In(1),
            "accept": In(1),
            "available": In(range(config.cells + 1)),
            "reserve": Out(1),
            "pop": Out(1),
            "cell": In(cell_bits),
            "copy": Out(stream.Signature(copy_layout(config))),
            "done": In(1),
            "refused": In(1),
            "share_en": Out(1),
            "share_cell": Out(cell_bits),
            "share_count": Out(share_bits(config)),
            "writing": Out(1),
            "writing_cell": Out(cell_bits),
            "release": Out(stream.Signature(release_layout(config))),
            "group_room": In(1),
            "group": Out(1),
            "group_payload": Out(group_layout(config)),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        host = config.host_port
        ways = len(self.i.payload.copies) + 1       # data ports, existing or not, and the host port

        # What came with the first beat. The job, which is to put its copies into queues, takes it over as soon as the
        # one before is done.
        layout = queued_layout(config.data_width)
        frame = Signal(data.StructLayout({name: field.shape for name, field in layout if name not in ("data", "last")}))
        step = Signal(_DELAY)       # cycles since the first beat, one-hot
        wanted = Signal(ways)       # copies
        some = Signal()             # any
        fits = Signal()
        present = Signal()          # the job has not taken it over
        free = Signal()
        move = Signal()
        m.d.comb += [
            wanted.eq(Mux(frame.group, 1 << ways - 1, Cat(frame.copies, frame.host))),
            free.eq(~present & (step == 0)),
            self.allow.eq(fits & Mux(frame.group, self.group_room, some)),
        ]

        # Beats on their way to the cells.
        first = Signal(init=1)      # the beat at ``i`` is a frame's first
        accepted, started = Signal(), Signal()
        stages = [Signal(data.StructLayout({"valid": 1, "last": 1, "data": config.data_width}), name=f"stage_{k}")
                  for k in range(_DELAY)]
        i = self.i.payload
        m.d.comb += [
            self.take.eq(self.i.valid & first & free),
            self.take_router.eq(Mux(i.group, config.no_router, i.router)),
            self.i.ready.eq(~first | (free & self.take_ready)),
            accepted.eq(self.i.valid & self.i.ready),
            started.eq(accepted & first),
        ]
        m.d.sync += [
            stages[0].valid.eq(accepted),
            stages[0].last.eq(i.last),
            stages[0].data.eq(i.data),
            step.eq(Cat(started, step[:-1])),
            some.eq(wanted != 0),
            fits.eq(self.need <= self.available),
        ]
        m.d.sync += [after.eq(before) for before, after in pairwise(stages)]
        with m.If(accepted):
            m.d.sync += first.eq(i.last)
        with m.If(started):
            m.d.sync += [
                *(frame[name].eq(i[name]) for name in frame.shape().members),
                self.need.eq((i.length + config.cell_bytes - 1) >> exact_log2(config.cell_bytes)),
                present.eq(1),
            ]
        with m.Elif(move):
            m.d.sync += present.eq(0)

        beat = stages[-1]
        begin = Signal(init=1)                          # ``beat`` is a frame's first; then the answer is there
        stored = Signal()                               # what it was
        head = Signal.like(self.cell)
        write = Signal()
        position = Signal(max(1, self._beat_bits))      # beat within the cell
        cell_begins = Signal()
        left = Signal.like(self.need)                   # cells that follow on this one
        current, following = Signal.like(self.cell), Signal.like(self.cell)
        now = Signal.like(self.cell)
        follow = Signal()                               # the cell that follows on ``current`` is taken in this cycle
        m.d.comb += [
            write.eq(beat.valid & Mux(begin, self.accept, stored)),
            cell_begins.eq(position == 0),
            now.eq(Mux(cell_begins, Mux(begin | follow, self.cell, following), current)),
            self.data_en.eq(write),
            self.data_addr.eq(Cat(position[:self._beat_bits], now)),
            self.data.eq(beat.data),
            self.reserve.eq(write & begin),
            self.pop.eq(self.reserve | follow),
            self.link_en.eq(follow),
            self.link_addr.eq(current),
            self.link_data.eq(self.cell),
            self.writing_cell.eq(head),
        ]
        m.d.sync += follow.eq(0)
        with m.If(follow):
            m.d.sync += following.eq(self.cell)
        with m.If(write):
            m.d.sync += [current.eq(now), self.writing.eq(~beat.last)]
            if self._beat_bits:
                m.d.sync += position.eq(Mux(beat.last, 0, position + 1))
            with m.If(cell_begins):
                remaining = Signal.like(left)
                m.d.comb += remaining.eq(Mux(begin, self.need, left) - 1)
                m.d.sync += [left.eq(remaining), follow.eq(remaining != 0)]
        with m.If(beat.valid):
            m.d.sync += begin.eq(beat.last)
            with m.If(begin):
                m.d.sync += [stored.eq(self.accept), head.eq(self.cell)]

        # The job: copies, one after the other.
        job = Signal.like(frame)
        job_cell = Signal.like(self.cell)
        job_stored, decided = Signal(), Signal()
        waiting = Signal(ways)              # those not offered yet
        choose = Signal(ways)
        port = Signal(range(ways))
        count = Signal(range(ways + 1))
        row = Signal(queue_row_bits(config))
        router = Signal(ROUTER_BITS)
        to_host, nowhere, shared = Signal(), Signal(), Signal()
        owed = Signal(range(ways + 1))      # offered, and not in a queue
        lost = Signal(range(ways + 1))      # refused of a frame that is stored
        counted = Signal()                  # it is known how many copies there are
        ok, pick = Signal(), Signal()
        m.d.comb += [
            to_host.eq(port == ways - 1),
            nowhere.eq(~to_host & (port >= config.ports)),
            shared.eq(job.group | (count != 1)),
            ok.eq(Mux(decided, job_stored, self.accept)),
            router.eq(Mux(job.group, config.no_router, job.router)),
            choose.eq(Mux(move, wanted, waiting)),
            self.share_en.eq(decided & job_stored & shared & ~counted),
            self.share_cell.eq(job_cell),
            self.share_count.eq(Mux(job.group, config.routers + 1, count)),
        ]
        m.d.sync += [
            owed.eq(owed + (self.copy.valid & self.copy.ready) - self.done),
            lost.eq(lost + (self.done & self.refused & job_stored)),
        ]
        with m.If(self.share_en):
            m.d.sync += counted.eq(1)
        with m.If(move):
            m.d.sync += [
                job.eq(frame),
                waiting.eq(wanted),
                count.eq(sum(wanted)),
                lost.eq(0),
                counted.eq(0),
                job_cell.eq(Mux(step[-1], self.cell, head)),
                job_stored.eq(Mux(step[-1], self.accept, stored)),
                decided.eq(step[-1] | (step == 0)),
            ]
        with m.Elif(step[-1] & ~present):
            m.d.sync += [job_cell.eq(self.cell), job_stored.eq(self.accept), decided.eq(1)]

        copy = self.copy.payload
        query = self.group_payload.query
        m.d.comb += [
            copy.row.eq(row),
            copy.port.eq(Mux(to_host, host, Mux(nowhere, 0, port))),
            copy.traffic_class.eq(Mux(to_host, job.host_class, job.traffic_class)),
            copy.refused.eq(~ok | nowhere),
            copy.nowhere.eq(nowhere),
            copy.reason.eq(Mux(to_host, job.host_reason, job.reason)),
            copy.descriptor.cell.eq(Mux(decided, job_cell, self.cell)),
            copy.descriptor.length.eq(job.length),
            copy.descriptor.sole.eq(~shared),
            copy.descriptor.router.eq(router),
            copy.descriptor.port.eq(job.port),
            copy.descriptor.reason.eq(job.host_reason),
            *(copy.descriptor[name].eq(job[name]) for name in ("tagged", "keep_tag", "own_source")),
            copy.descriptor.tci.eq(Mux(to_host, job.host_tci, job.tci)),
            *([copy.descriptor.from_link.eq(job.port == config.link_port), copy.descriptor.entropy.eq(job.entropy)]
              if config.circuits else []),
            self.group_payload.cell.eq(job_cell),
            self.group_payload.length.eq(job.length),
            self.group_payload.tagged.eq(job.tagged),
            self.group_payload.tci.eq(job.host_tci),
            query.port.eq(job.port),
            query.vid.eq(Mux(job.tagged, job.tci[:len(query.vid)], 0)),
            *(query[name].eq(job[name]) for name in ("peer", "peer_router", "segment", "segment_router")),
            self.release.payload.cell.eq(job_cell),
            self.release.payload.length.eq(job.length),
            self.release.payload.owner.eq(job.router),
            self.release.payload.shared.eq(shared),
            self.release.payload.count.eq(lost),
            self.release.payload.walk.eq(1),
        ]
        for k in reversed(range(ways)):
            with m.If(choose[k] & (move | pick)):
                m.d.sync += port.eq(k)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [move.eq(present), self.idle.eq(~present & (step == 0))]
                with m.If(present):
                    m.next = "ROW"
            with m.State("PICK"):
                m.d.comb += pick.eq(1)
                m.next = "ROW"
            with m.State("ROW"):
                m.d.sync += [
                    row.eq(router * config.all_ports + Mux(to_host, host, Mux(nowhere, 0, port))),
                    waiting.eq(waiting & ~(Const(1, ways) << port)),
                ]
                m.next = "OFFER"
                with m.If(job.group):
                    m.next = "GROUP"
                with m.Elif(waiting == 0):
                    m.next = "NONE"
            with m.State("GROUP"), m.If(decided):
                m.d.comb += self.group.eq(job_stored)
                m.next = "OFFER"
                with m.If(job_stored):
                    m.next = "IDLE"
            with m.State("NONE"), m.If(decided):
                m.next = "IDLE"
            with m.State("OFFER"):
                # Not before the answer, which comes in the third cycle after the first beat.
                m.d.comb += self.copy.valid.eq(decided | step[-1])
                with m.If(self.copy.valid & self.copy.ready):
                    m.next = "WAIT"
                    with m.If(waiting != 0):
                        m.next = "PICK"
            with m.State("WAIT"), m.If(owed == self.done):
                m.next = "IDLE"
                with m.If((lost != 0) | (self.done & self.refused & job_stored)):
                    m.next = "RELEASE"
            with m.State("RELEASE"):
                m.d.comb += self.release.valid.eq(1)
                with m.If(self.release.ready):
                    m.next = "IDLE"
        return m
