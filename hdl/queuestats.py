"""Statistics of the output queues: the rows of the queue table."""

from amaranth.hdl import Array, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from .config import CoreConfig
from .layouts import QUEUE_STATS, QueueStat
from .records import TableSignature
from .table import table_addr_bits

__all__ = ["QueueStatistics"]

#: Bits of a count of frames: at 1 Gb/s of the shortest frames it takes six years to wrap.
_COUNT_BITS = 48


class QueueStatistics(wiring.Component):
    """Counts what the output queues accept and refuse, and answers the control engine one cycle after ``stb``.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    depth : array of Signal, in
        Frames in each queue now.
    enqueued, enqueued_queue, dropped, dropped_queue : in
        A frame was accepted or refused by a queue, in this cycle.
    copied, copy_dropped : Signal, in
        The same for a copy of a group frame and the host port's queue.
    underflow : Signal, in
        One bit a data port: the MAC aborted a frame, in this cycle.
    free_cells : Signal, in
        Free cells now.
    table : TableSignature
        Row ``port * 8 + stat``; writes are acknowledged without effect.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        queues = config.all_ports
        super().__init__({
            "depth": In(range(config.queue_frames + 1)).array(queues),
            "enqueued": In(1),
            "enqueued_queue": In(range(queues)),
            "dropped": In(1),
            "dropped_queue": In(range(queues)),
            "copied": In(1),
            "copy_dropped": In(1),
            "underflow": In(config.ports),
            "free_cells": In(range(config.cells + 1)),
            "table": In(TableSignature(table_addr_bits(queues * QUEUE_STATS), 64)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        rows: list = []
        for q in range(config.all_ports):
            high_water = Signal.like(self.depth[q], name=f"high_water_{q}")
            enqueued = Signal(_COUNT_BITS, name=f"enqueued_{q}")
            dropped = Signal(_COUNT_BITS, name=f"dropped_{q}")
            underflows = Signal(_COUNT_BITS, name=f"underflows_{q}")
            host = q == config.host_port
            with m.If(self.depth[q] > high_water):
                m.d.sync += high_water.eq(self.depth[q])
            m.d.sync += [
                enqueued.eq(enqueued + (self.enqueued & (self.enqueued_queue == q)) + (self.copied if host else 0)),
                dropped.eq(dropped + (self.dropped & (self.dropped_queue == q)) + (self.copy_dropped if host else 0)),
            ]
            if not host:
                m.d.sync += underflows.eq(underflows + self.underflow[q])
            stats = {
                QueueStat.DEPTH: self.depth[q],
                QueueStat.HIGH_WATER: high_water,
                QueueStat.ENQUEUED: enqueued,
                QueueStat.DROPPED: dropped,
                QueueStat.FREE_CELLS: self.free_cells,
                QueueStat.UNDERFLOW: underflows,
            }
            rows += [stats.get(stat, 0) for stat in range(QUEUE_STATS)]
        start = self.table.stb & ~self.table.ack
        m.d.sync += self.table.ack.eq(start)
        with m.If(start):
            m.d.sync += self.table.r_data.eq(Array(rows)[self.table.addr])
        return m
