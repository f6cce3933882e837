"""The frame buffer that all ports share, with queues for each router at each port."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .admission import Admission
from .cells import CellAllocator, Releaser, release_layout
from .config import CoreConfig
from .dequeue import Dequeuer
from .fallthrough import FallThroughFifo
from .layouts import QUEUE_STATS, QUOTA_ROW, SHAPER_ROW
from .membership import MemberWrite, PortWrite
from .memories import NEVER_MEET, delivered
from .queues import queue_rows, shaper_rows
from .queuestats import QueueStatistics
from .quotas import Quotas
from .records import EVENT, TableSignature, egress_layout, punted_layout, queued_layout
from .replicator import Replicator
from .scheduler import Scheduler
from .table import table_addr_bits

__all__ = ["FrameBuffer"]

_GROUP_FRAMES = 16
_EVENTS = 8
#: Events for which the FIFO must have room before a copy is begun: those of it and of the one before, and one of the
#: replicator.
_EVENTS_AHEAD = 3


class FrameBuffer(wiring.Component):
    """Stores each frame once, in linked cells of one block RAM, and sends its copies to the ports.

    Frames come one at a time; each is taken whole or dropped whole, which is decided at its first beat. Its copies are
    in their queues at once, while its other beats still come: they must come without gaps. On an idle buffer the first
    beat is offered at a port 9 cycles after it was accepted, 11 if other work is in the way. At a sustained load a
    frame of one copy takes 6 cycles, or its beats if they are more and up to 2 cycles between frames; one of more
    copies takes about 7.5 for each.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    i : stream of queued_layout
        Frames to be sent. ``ready`` does not fall in the middle of a frame.
    o : array of streams of egress_layout
        Data ports.
    o_host : stream of punted_layout
        Host port.
    event : stream of EVENT
        What became of each copy.
    stats : TableSignature
        QUEUE: rows ``(router * all_ports + port) * 8 + stat``, router "none" included.
    shaper : TableSignature
        SHAPER: rows ``router * all_ports + port``.
    quota : TableSignature
        QUOTA: a row for each router and for "none".
    shared_cells : Signal, in
        Cells besides those that quotas reserve.
    underflow : Signal, in
        One bit a data port, high for one cycle for each frame that the MAC aborted.
    member_write : MemberWrite
        Writes of context rows.
    port_write : PortWrite
        Writes of PORT rows.
    disable : Signal, in
        No router is enabled, so none takes a group frame.
    busy : Signal, out
        A frame is in the buffer.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        width = config.data_width
        super().__init__({
            "i": In(stream.Signature(queued_layout(width))),
            "o": Out(stream.Signature(egress_layout(width))).array(config.ports),
            "o_host": Out(stream.Signature(punted_layout(width))),
            "event": Out(stream.Signature(EVENT)),
            "stats": In(TableSignature(table_addr_bits(queue_rows(config) * QUEUE_STATS), 64)),
            "shaper": In(TableSignature(table_addr_bits(shaper_rows(config)), SHAPER_ROW.size)),
            "quota": In(TableSignature(table_addr_bits(config.routers + 1), QUOTA_ROW.size)),
            "shared_cells": In(range(config.cells + 1)),
            "underflow": In(config.ports),
            "member_write": In(MemberWrite(config)),
            "port_write": In(PortWrite(config)),
            "disable": In(1),
            "busy": Out(1),
        })
        # Attributes, so that properties can be stated about them.
        self.allocator = CellAllocator(config.cells)
        self.scheduler = Scheduler(config)

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.allocator = allocator = self.allocator
        m.submodules.scheduler = scheduler = self.scheduler
        m.submodules.admission = admission = Admission(config)
        m.submodules.quotas = quotas = Quotas(config)
        m.submodules.dequeuer = dequeuer = Dequeuer(config)
        m.submodules.replicator = replicator = Replicator(config)
        m.submodules.releaser = releaser = Releaser(config, inputs=3)
        m.submodules.statistics = statistics = QueueStatistics(config)
        connect(m, flipped(self.i), admission.i)
        connect(m, flipped(self.member_write), replicator.write)
        connect(m, flipped(self.port_write), replicator.port_write)
        m.d.comb += replicator.disable.eq(self.disable)
        connect(m, flipped(self.stats), statistics.table)
        connect(m, flipped(self.shaper), scheduler.table)
        connect(m, flipped(self.quota), quotas.table)

        beats = config.cells << exact_log2(config.cell_bytes // config.beat_bytes)
        m.submodules.cells = cells = memory.Memory(
            shape=unsigned(config.data_width), depth=beats, init=[], attrs=NEVER_MEET)
        m.submodules.links = links = memory.Memory(
            shape=unsigned(len(allocator.cell)), depth=config.cells, init=[], attrs=NEVER_MEET)
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
            dequeuer.data.eq(delivered(m, platform, cells_read, cells_write)),
            links_read.en.eq(dequeuer.link_en),
            links_read.addr.eq(dequeuer.link_addr),
            dequeuer.link_data.eq(delivered(m, platform, links_read, links_write)),
            release_read.en.eq(releaser.link_en),
            release_read.addr.eq(releaser.link_addr),
            releaser.link_data.eq(delivered(m, platform, release_read, links_write)),
        ]

        # Cells: one writer takes them, the reader has priority over the releaser in giving them back.
        m.d.comb += [
            quotas.take.eq(admission.take),
            quotas.take_router.eq(admission.take_router),
            quotas.need.eq(admission.need),
            quotas.allow.eq(admission.allow),
            quotas.shared_cells.eq(self.shared_cells),
            admission.take_ready.eq(quotas.take_ready),
            admission.decide.eq(quotas.decide),
            admission.accept.eq(quotas.accept),
            admission.available.eq(allocator.available),
            allocator.reserve.eq(admission.reserve),
            allocator.count.eq(admission.need),
            allocator.take.eq(admission.pop),
            admission.cell.eq(allocator.cell),
            allocator.free.eq(dequeuer.free | releaser.free),
            allocator.freed.eq(Mux(dequeuer.free, dequeuer.freed, releaser.freed)),
            releaser.wait.eq(dequeuer.free),
            releaser.share_en.eq(admission.share_en),
            releaser.share_cell.eq(admission.share_cell),
            releaser.share_count.eq(admission.share_count),
            releaser.writing.eq(admission.writing),
            releaser.writing_cell.eq(admission.writing_cell),
        ]
        connect(m, releaser.give, quotas.give)

        # Copies that were read wait for the releaser. None is handed to a port unless there will be room for it here,
        # so that a port never has to stop in the middle of a frame.
        most = 4 * config.all_ports
        m.submodules.read = read = FallThroughFifo(release_layout(config), most)
        reading = Signal(range(most + 1))
        m.d.comb += [
            read.en.eq(dequeuer.done),
            read.data.eq(dequeuer.done_frame),
            scheduler.hold.eq(reading > most - 3),
        ]
        m.d.sync += reading.eq(reading + scheduler.loaded - (read.o.valid & read.o.ready))
        connect(m, read.o, releaser.i[0])
        connect(m, admission.release, releaser.i[1])
        connect(m, replicator.release, releaser.i[2])

        # Queues.
        connect(m, admission.copy, scheduler.copy[0])
        connect(m, replicator.copy, scheduler.copy[1])
        m.d.comb += [
            admission.done.eq(scheduler.done[0]),
            admission.refused.eq(scheduler.refused),
            replicator.done.eq(scheduler.done[1]),
            replicator.refused.eq(scheduler.refused),
        ]
        m.d.comb += scheduler.want.eq(dequeuer.want)
        for q in range(config.all_ports):
            connect(m, scheduler.o[q], dequeuer.i[q])
        for p in range(config.ports):
            connect(m, dequeuer.o[p], flipped(self.o[p]))
        connect(m, dequeuer.o_host, flipped(self.o_host))

        # Group frames wait here. One that was accepted may not be in the FIFO yet when the next one is.
        m.submodules.groups = groups = fifo.SyncFIFOBuffered(
            width=replicator.i.payload.shape().size, depth=_GROUP_FRAMES)
        m.d.comb += [
            admission.group_room.eq(groups.w_level <= _GROUP_FRAMES - 2),
            groups.w_en.eq(admission.group),
            groups.w_data.eq(admission.group_payload),
            replicator.i.valid.eq(groups.r_rdy),
            replicator.i.payload.eq(groups.r_data),
            groups.r_en.eq(replicator.i.ready),
        ]

        # Events. Copies are only begun when there is room for theirs.
        m.submodules.events = events = fifo.SyncFIFOBuffered(width=EVENT.size, depth=_EVENTS)
        m.d.comb += [
            events.w_data.eq(Mux(scheduler.event_en, scheduler.event, replicator.event.payload)),
            events.w_en.eq(scheduler.event_en | replicator.event.valid),
            scheduler.event_room.eq(events.w_level <= _EVENTS - _EVENTS_AHEAD),
            replicator.event.ready.eq(events.w_rdy & ~scheduler.event_en),
            self.event.valid.eq(events.r_rdy),
            self.event.payload.eq(events.r_data),
            events.r_en.eq(self.event.ready),
        ]

        connect(m, statistics.probe, scheduler.probe)
        m.d.comb += [
            statistics.underflow.eq(self.underflow),
            statistics.free_cells.eq(allocator.available),
            self.busy.eq((allocator.available != config.cells) | ~admission.idle | ~scheduler.idle | (reading != 0)
                         | groups.r_rdy | ~replicator.i.ready | ~releaser.idle),
        ]
        return m
