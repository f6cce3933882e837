"""Write side of the frame buffer: takes a frame whole, or drops it whole."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from .cells import release_layout, share_bits
from .config import CoreConfig
from .layouts import Reason, TrafficClass
from .queues import cell_count_bits, copy_layout, queue_row_bits
from .records import ROUTER_BITS, queued_layout
from .replicator import group_layout
from .table import table_addr_bits

__all__ = ["Admission"]

#: Cycles from a beat's arrival until it is written: the time in which the quota is looked up.
_DELAY = 3


class Admission(wiring.Component):
    """Decides at the first beat whether a frame is stored, writes its cells, and puts its copies into queues.

    The length is known at the first beat, so cells are reserved there and nothing ever has to be undone. A beat is written, and the first
    copy offered, three cycles after it was accepted; further copies three cycles apart. ``i`` is stopped before
    a first beat only, while the copies of the frame before are queued; a frame with one copy takes 6 cycles at least.

    The beats of a frame must come without gaps after its first one. Then a copy may be read as soon as it is queued: at one beat
    a cycle a reader cannot overtake. A pointer to the next cell is written one cycle after the first beat of a cell, for the same reason.

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
        The replicator's FIFO has room.
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

        # What came with the first beat.
        layout = queued_layout(config.data_width)
        frame = Signal(data.StructLayout({name: field.shape for name, field in layout if name not in ("data", "last")}))
        head = Signal.like(self.cell)
        stored = Signal()
        shared = Signal()           # its copies are counted

        # Beats on their way to the cells.
        first = Signal(init=1)      # the beat at ``i`` is a frame's first
        free = Signal()             # the frame before has been dealt with
        accepted = Signal()
        stages = [Signal(data.StructLayout({"valid": 1, "last": 1, "data": config.data_width}), name=f"stage_{k}")
                  for k in range(_DELAY)]
        m.d.comb += [
            self.take.eq(self.i.valid & first & free),
            self.take_router.eq(Mux(self.i.payload.group, config.no_router, self.i.payload.router)),
            self.i.ready.eq(~first | (free & self.take_ready)),
            accepted.eq(self.i.valid & self.i.ready),
        ]
        m.d.sync += [
            stages[0].valid.eq(accepted),
            stages[0].last.eq(self.i.payload.last),
            stages[0].data.eq(self.i.payload.data),
        ]
        m.d.sync += [after.eq(before) for before, after in zip(stages[:-1], stages[1:], strict=True)]
        with m.If(accepted):
            m.d.sync += first.eq(self.i.payload.last)

        beat = stages[-1]
        begin = Signal(init=1)                          # ``beat`` is a frame's first; then the answer is there
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
        ]
        with m.If(beat.valid):
            m.d.sync += begin.eq(beat.last)
        m.d.sync += follow.eq(0)
        with m.If(follow):
            m.d.sync += following.eq(self.cell)
        with m.If(write):
            m.d.sync += current.eq(now)
            if self._beat_bits:
                m.d.sync += position.eq(Mux(beat.last, 0, position + 1))
            with m.If(cell_begins):
                remaining = Signal.like(left)
                m.d.comb += remaining.eq(Mux(begin, self.need, left) - 1)
                m.d.sync += [left.eq(remaining), follow.eq(remaining != 0)]
        with m.If(beat.valid & begin):
            m.d.sync += [stored.eq(self.accept), head.eq(self.cell)]
        with m.If(write):
            m.d.sync += self.writing.eq(~beat.last)
        m.d.comb += self.writing_cell.eq(head)

        # Copies, one after the other.
        waiting = Signal(ways)              # those not offered yet
        port = Signal(range(ways))
        count = Signal(range(ways + 1))
        row = Signal(queue_row_bits(config))
        to_host, nowhere = Signal(), Signal()
        owed = Signal(range(ways + 1))      # offered, and not in a queue
        lost = Signal(range(ways + 1))      # refused of a frame that is stored
        fits = Signal()
        decided = Signal()                  # ``stored`` is valid
        ok = Signal()
        offered = Signal()
        m.d.comb += [
            to_host.eq(port == ways - 1),
            nowhere.eq(~to_host & (port >= config.ports)),
            ok.eq(Mux(decided, stored, self.accept)),
            self.allow.eq(fits & Mux(frame.group, self.group_room, count != 0)),
            offered.eq(self.copy.valid & self.copy.ready),
        ]
        m.d.sync += [
            owed.eq(owed + offered - self.done),
            lost.eq(lost + (self.done & self.refused & stored)),
        ]
        copy = self.copy.payload
        m.d.comb += [
            copy.row.eq(row),
            copy.port.eq(Mux(to_host, host, Mux(nowhere, 0, port))),
            copy.traffic_class.eq(Mux(to_host, frame.host_class, frame.traffic_class)),
            copy.refused.eq(~ok | nowhere),
            copy.nowhere.eq(nowhere),
            copy.reason.eq(Mux(to_host, frame.host_reason, frame.reason)),
            copy.descriptor.cell.eq(Mux(decided, head, self.cell)),
            copy.descriptor.length.eq(frame.length),
            copy.descriptor.sole.eq(~shared),
            copy.descriptor.group.eq(0),
            copy.descriptor.router.eq(Mux(frame.group, config.no_router, frame.router)),
            copy.descriptor.port.eq(frame.port),
            copy.descriptor.reason.eq(frame.host_reason),
            *(copy.descriptor[name].eq(frame[name]) for name in ("tagged", "tci", "keep_tag", "own_source")),
        ]
        query = self.group_payload.query
        m.d.comb += [
            self.group_payload.cell.eq(head),
            self.group_payload.length.eq(frame.length),
            self.group_payload.tagged.eq(frame.tagged),
            self.group_payload.tci.eq(frame.tci),
            query.port.eq(frame.port),
            query.vid.eq(Mux(frame.tagged, frame.tci[:len(query.vid)], 0)),
            *(query[name].eq(frame[name]) for name in ("peer", "peer_router", "segment", "segment_router")),
            self.share_cell.eq(head),
            self.share_count.eq(Mux(frame.group, config.routers + 1, count)),
            self.release.payload.cell.eq(head),
            self.release.payload.length.eq(frame.length),
            self.release.payload.owner.eq(frame.router),
            self.release.payload.shared.eq(shared),
            self.release.payload.count.eq(lost),
            self.release.payload.walk.eq(1),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [free.eq(1), self.idle.eq(1)]
                i = self.i.payload
                with m.If(accepted & first):
                    m.d.sync += [
                        *(frame[name].eq(i[name]) for name in frame.shape().members),
                        self.need.eq((i.length + config.cell_bytes - 1) >> exact_log2(config.cell_bytes)),
                        waiting.eq(Mux(i.group, 1 << ways - 1, Cat(i.copies, i.host))),
                        lost.eq(0),
                        decided.eq(0),
                    ]
                    m.next = "PICK"
            with m.State("PICK"):
                for k in reversed(range(ways)):
                    with m.If(waiting[k]):
                        m.d.sync += port.eq(k)
                with m.If(~decided):
                    m.d.sync += count.eq(sum(waiting))
                m.next = "ROW"
            with m.State("ROW"):
                m.d.sync += [
                    row.eq(Mux(frame.group, config.no_router, frame.router) * config.all_ports
                           + Mux(to_host, host, Mux(nowhere, 0, port))),
                    fits.eq(self.need <= self.available),
                    waiting.eq(waiting & ~(Const(1, ways) << port)),
                ]
                with m.If(~decided):
                    m.d.sync += shared.eq(frame.group | (count != 1))
                m.next = "OFFER"
                with m.If(frame.group & ~decided):
                    m.next = "GROUP"
                with m.Elif(~decided & (count == 0)):
                    m.next = "WAIT"
            with m.State("GROUP"):
                # The answer comes in this cycle, and is in ``stored`` in the next one.
                m.d.sync += decided.eq(1)
                m.next = "DELIVER"
            with m.State("DELIVER"):
                m.d.comb += [self.group.eq(stored), self.share_en.eq(stored)]
                m.next = "OFFER"
                with m.If(stored):
                    m.next = "IDLE"
            with m.State("OFFER"):
                m.d.comb += self.copy.valid.eq(1)
                m.d.sync += decided.eq(1)
                with m.If(self.copy.ready):
                    m.next = "WAIT"
                    with m.If(waiting != 0):
                        m.next = "PICK"
            with m.State("WAIT"):
                with m.If(owed == self.done):
                    m.next = "IDLE"
                    with m.If((lost != 0) | (self.done & self.refused & stored)):
                        m.next = "RELEASE"
            with m.State("RELEASE"):
                m.d.comb += self.release.valid.eq(1)
                with m.If(self.release.ready):
                    m.next = "IDLE"
        shared_now = Signal()
        m.d.sync += shared_now.eq(write & begin & shared & ~frame.group)
        with m.If(shared_now):
            m.d.comb += self.share_en.eq(1)
        return m
