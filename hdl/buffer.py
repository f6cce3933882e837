"""The frame buffer that all ports share, with an output queue for each."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .admission import Admission
from .cells import CellAllocator, ChainReleaser
from .config import CoreConfig
from .dequeue import Dequeuer
from .layouts import QUEUE_STATS
from .membership import MemberWrite
from .queues import OutputQueues
from .queuestats import QueueStatistics
from .records import EVENT, TableSignature, punted_layout, queued_layout
from .replicator import Replicator
from .stream import FrameSignature
from .table import table_addr_bits

__all__ = ["FrameBuffer"]

_GROUP_FRAMES = 16
_EVENTS = 8


class FrameBuffer(wiring.Component):
    """Store-and-forward buffer: frames come one at a time and leave on the port they are for.

    A frame occupies linked cells of ``cell_bytes`` in one block RAM. It is queued when it is whole, or dropped whole.
    The first beat leaves 11 cycles after the last one was accepted, if the port is idle. Group frames go through a
    FIFO to the :class:`.replicator.Replicator` first, so their copies may be overtaken by later frames of the host
    port's queue, but the copies of one frame and of several group frames keep their order.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    i : stream of queued_layout
        Frames to be sent.
    o : array of FrameSignature
        Data ports.
    o_host : stream of punted_layout
        Host port.
    event : stream of EVENT
        What became of each frame and of each copy.
    stats : TableSignature
        Rows of the queue table.
    underflow : Signal, in
        One bit a data port, high for one cycle for each frame that the MAC aborted.
    member_write : MemberWrite
        Writes of context rows.
    busy : Signal, out
        A frame is in a queue, or with the replicator.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        super().__init__({
            "i": In(stream.Signature(queued_layout(config.data_width))),
            "o": Out(FrameSignature(config)).array(config.ports),
            "o_host": Out(stream.Signature(punted_layout(config.data_width))),
            "event": Out(stream.Signature(EVENT)),
            "stats": In(TableSignature(table_addr_bits(config.all_ports * QUEUE_STATS), 64)),
            "underflow": In(config.ports),
            "member_write": In(MemberWrite(config)),
            "busy": Out(1),
        })
        # Attributes, so that properties can be stated about them.
        self.allocator = CellAllocator(config.cells)
        self.queues = OutputQueues(config)

    def elaborate(self, platform):
        m = Module()
        config = self._config
        host = config.host_port
        m.submodules.allocator = allocator = self.allocator
        m.submodules.queues = queues = self.queues
        m.submodules.admission = admission = Admission(config)
        m.submodules.dequeuer = dequeuer = Dequeuer(config)
        m.submodules.replicator = replicator = Replicator(config)
        m.submodules.releaser = releaser = ChainReleaser(config.cells, config.cell_bytes)
        m.submodules.statistics = statistics = QueueStatistics(config)
        connect(m, flipped(self.i), admission.i)
        connect(m, flipped(self.member_write), replicator.write)
        connect(m, flipped(self.stats), statistics.table)

        beats = config.cells << exact_log2(config.cell_bytes // config.beat_bytes)
        m.submodules.cells = cells = memory.Memory(shape=unsigned(config.data_width), depth=beats, init=[])
        m.submodules.links = links = memory.Memory(shape=unsigned(len(allocator.cell)), depth=config.cells, init=[])
        cells_write, cells_read = cells.write_port(), cells.read_port()
        links_write, links_read, release_read = links.write_port(), links.read_port(), links.read_port()
        m.d.comb += [
            cells_write.en.eq(admission.data_en),
            cells_write.addr.eq(admission.data_addr),
            cells_write.data.eq(admission.data),
            links_write.en.eq(admission.link_en),
            links_write.addr.eq(admission.link_addr),
            links_write.data.eq(admission.link_data),
            cells_read.en.eq(dequeuer.data_en),
            cells_read.addr.eq(dequeuer.data_addr),
            dequeuer.data.eq(cells_read.data),
            links_read.en.eq(dequeuer.link_en),
            links_read.addr.eq(dequeuer.link_addr),
            dequeuer.link_data.eq(links_read.data),
            release_read.en.eq(releaser.link_en),
            release_read.addr.eq(releaser.link_addr),
            releaser.link_data.eq(release_read.data),
        ]

        # Cells: one writer takes them, the reader has priority over the releaser in giving them back.
        m.d.comb += [
            admission.available.eq(allocator.available),
            allocator.reserve.eq(admission.reserve_cells),
            allocator.count.eq(admission.cell_count),
            allocator.take.eq(admission.take),
            admission.cell.eq(allocator.cell),
            allocator.free.eq(dequeuer.free | releaser.free),
            allocator.freed.eq(Mux(dequeuer.free, dequeuer.freed, releaser.freed)),
            releaser.wait.eq(dequeuer.free),
        ]
        connect(m, replicator.o_release, releaser.i)

        # Queues.
        m.d.comb += [
            admission.full.eq(queues.full),
            queues.reserve.eq(admission.reserve),
            queues.reserve_queue.eq(admission.reserve_queue),
            queues.reserve_copy.eq(replicator.reserve),
            replicator.room.eq(~queues.full[host]),
            replicator.wait.eq(admission.reserve),
            queues.push.eq(admission.push),
            queues.push_queue.eq(admission.push_queue),
            queues.push_descriptor.eq(admission.push_descriptor),
            queues.done.eq(dequeuer.done),
            queues.done_queue.eq(dequeuer.done_queue),
        ]
        connect(m, replicator.o, queues.copy)
        for q in range(config.all_ports):
            connect(m, queues.o[q], dequeuer.i[q])
        for p in range(config.ports):
            connect(m, dequeuer.o[p], flipped(self.o[p]))
        connect(m, dequeuer.o_host, flipped(self.o_host))

        # Group frames wait here; the FIFO has room for what was accepted but is not whole yet, as frames come one
        # at a time.
        m.submodules.groups = groups = fifo.SyncFIFOBuffered(
            width=replicator.i.payload.shape().size, depth=_GROUP_FRAMES)
        m.d.comb += [
            admission.group_room.eq(groups.w_rdy),
            groups.w_en.eq(admission.group),
            groups.w_data.eq(admission.group_payload),
            replicator.i.valid.eq(groups.r_rdy),
            replicator.i.payload.eq(groups.r_data),
            groups.r_en.eq(replicator.i.ready),
        ]

        # Events: those of whole frames first, they would stop ``i``.
        m.submodules.events = events = fifo.SyncFIFOBuffered(width=EVENT.size, depth=_EVENTS)
        event = Signal(EVENT)
        m.d.comb += [
            event.eq(Mux(admission.event.valid, admission.event.payload, replicator.event.payload)),
            events.w_data.eq(event),
            events.w_en.eq(admission.event.valid | replicator.event.valid),
            admission.event.ready.eq(events.w_rdy),
            replicator.event.ready.eq(events.w_rdy & ~admission.event.valid),
            self.event.valid.eq(events.r_rdy),
            self.event.payload.eq(events.r_data),
            events.r_en.eq(self.event.ready),
        ]

        m.d.comb += [
            statistics.enqueued.eq(admission.push),
            statistics.enqueued_queue.eq(admission.push_queue),
            statistics.dropped.eq(admission.dropped),
            statistics.dropped_queue.eq(admission.dropped_queue),
            statistics.copied.eq(replicator.o.valid & replicator.o.ready),
            statistics.copy_dropped.eq(replicator.dropped),
            statistics.underflow.eq(self.underflow),
            statistics.free_cells.eq(allocator.available),
        ]
        for q in range(config.all_ports):
            m.d.comb += statistics.depth[q].eq(queues.depth[q])
        waiting = Cat(queues.depth[q] for q in range(config.all_ports))
        m.d.comb += self.busy.eq(waiting.any() | groups.r_rdy | ~replicator.i.ready)
        return m
