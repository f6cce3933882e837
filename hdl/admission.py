"""Write side of the frame buffer: takes a frame whole, or drops it whole."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .config import CoreConfig
from .layouts import Reason
from .queues import descriptor_layout
from .records import EVENT, queued_layout
from .replicator import group_layout
from .table import table_addr_bits

__all__ = ["Admission"]


class Admission(wiring.Component):
    """Decides at the first beat whether a frame is stored, writes its cells, and hands it on at the last beat.

    The length is known at the first beat, so cells and a place in the queue are reserved there and nothing ever has
    to be undone. Full rate; a beat is written one cycle after it was accepted. Only a full event FIFO stops ``i``.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    i : stream of queued_layout
        Frames to be sent; ``length`` agrees with the number of beats.
    event : stream of EVENT
        One for each frame but those that go to the replicator.
    data_en, data_addr, data
        Write port of the cells.
    link_en, link_addr, link_data
        Write port of the next-cell pointers.
    available, reserve_cells, cell_count, take, cell
        Of the cell allocator.
    full, reserve, reserve_queue, push, push_queue, push_descriptor
        Of the output queues.
    dropped, dropped_queue : out
        For statistics: a frame was refused, by this queue.
    group_room : Signal, in
        The replicator's FIFO has room for a frame besides those of which ``group`` was raised.
    group, group_payload : out
        A group frame is whole.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        self._beat_bits = exact_log2(config.cell_bytes // config.beat_bytes)
        cell_bits = table_addr_bits(config.cells)
        queue = range(config.all_ports)
        super().__init__({
            "i": In(stream.Signature(queued_layout(config.data_width))),
            "event": Out(stream.Signature(EVENT)),
            "data_en": Out(1),
            "data_addr": Out(cell_bits + self._beat_bits),
            "data": Out(config.data_width),
            "link_en": Out(1),
            "link_addr": Out(cell_bits),
            "link_data": Out(cell_bits),
            "available": In(range(config.cells + 1)),
            "reserve_cells": Out(1),
            "cell_count": Out(range(config.cells + 1)),
            "take": Out(1),
            "cell": In(cell_bits),
            "full": In(config.all_ports),
            "reserve": Out(1),
            "reserve_queue": Out(queue),
            "push": Out(1),
            "push_queue": Out(queue),
            "push_descriptor": Out(descriptor_layout(config)),
            "dropped": Out(1),
            "dropped_queue": Out(queue),
            "group_room": In(1),
            "group": Out(1),
            "group_payload": Out(group_layout(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        host = config.host_port

        # One register stage, so that the number of cells is known when the decision is made.
        beat = Signal(self.i.payload.shape())
        valid = Signal()
        cells = Signal(range((1 << len(beat.length)) // config.cell_bytes + 2))
        ready = Signal()
        step = Signal()
        m.d.comb += [
            self.i.ready.eq(~valid | ready),
            ready.eq(~beat.last | self.event.ready),
            step.eq(valid & ready),
        ]
        with m.If(self.i.ready):
            m.d.sync += valid.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += [
                    beat.eq(self.i.payload),
                    cells.eq((self.i.payload.length + config.cell_bytes - 1) >> exact_log2(config.cell_bytes)),
                ]

        first = Signal(init=1)
        accepted = Signal()
        known = Signal()        # the egress port exists; a context row may name one that doesn't
        room = Signal()
        accept = Signal()
        m.d.comb += [
            known.eq(beat.egress <= host),
            room.eq(Mux(beat.group, self.group_room, known & ~self.full.bit_select(beat.egress, 1))),
            accept.eq(Mux(first, room & (cells <= self.available), accepted)),
            self.reserve_cells.eq(step & first & accept),
            self.cell_count.eq(cells),
            self.reserve.eq(self.reserve_cells & ~beat.group),
            self.reserve_queue.eq(beat.egress),
        ]
        with m.If(step):
            m.d.sync += [first.eq(beat.last), accepted.eq(accept)]

        position = Signal(max(1, self._beat_bits))      # beat within the cell
        previous = Signal.like(self.cell)
        current = Signal.like(self.cell)
        head = Signal.like(self.cell)
        begin = Signal()
        m.d.comb += [
            begin.eq(position == 0),
            current.eq(Mux(begin, self.cell, previous)),
            self.data_en.eq(step & accept),
            self.data_addr.eq(Cat(position[:self._beat_bits], current)),
            self.data.eq(beat.data),
            self.take.eq(self.data_en & begin),
            self.link_en.eq(self.take & ~first),
            self.link_addr.eq(previous),
            self.link_data.eq(self.cell),
        ]
        with m.If(self.data_en):
            m.d.sync += previous.eq(current)
            if self._beat_bits:
                m.d.sync += position.eq(Mux(beat.last, 0, position + 1))
        with m.If(first):
            m.d.sync += head.eq(self.cell)

        whole = Signal()
        head_now = Mux(first, self.cell, head)
        m.d.comb += [
            whole.eq(self.data_en & beat.last),
            self.push.eq(whole & ~beat.group),
            self.push_queue.eq(beat.egress),
            self.push_descriptor.cell.eq(head_now),
            self.push_descriptor.length.eq(beat.length),
            self.push_descriptor.keep.eq(0),
            self.push_descriptor.router.eq(beat.router),
            self.push_descriptor.port.eq(beat.port),
            self.push_descriptor.reason.eq(beat.reason),
            self.group.eq(whole & beat.group),
            self.group_payload.cell.eq(head_now),
            self.group_payload.length.eq(beat.length),
            self.group_payload.query.port.eq(beat.port),
            self.group_payload.query.peer.eq(beat.peer),
            self.group_payload.query.peer_router.eq(beat.peer_router),
        ]

        refused = Signal()
        to_host = Signal()
        m.d.comb += [
            refused.eq(~accept),
            to_host.eq(beat.group | (beat.egress == host)),
            self.event.valid.eq(valid & beat.last & (refused | ~beat.group)),
            self.event.payload.router.eq(Mux(beat.group, config.no_router, beat.router)),
            self.event.payload.port.eq(beat.port),
            self.event.payload.reason.eq(
                Mux(~refused, beat.reason, Mux(to_host, Reason.DROP_PUNT_QUEUE, Reason.DROP_QUEUE))),
            self.dropped.eq(step & beat.last & refused & (beat.group | known)),
            self.dropped_queue.eq(Mux(beat.group, host, beat.egress)),
        ]
        return m
