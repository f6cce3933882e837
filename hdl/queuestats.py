"""Statistics of the output queues: the rows of the queue table."""

from amaranth.hdl import Array, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import QUEUE_STATS, QueueStat
from .queues import COUNT_BITS, queue_rows
from .records import TableSignature
from .scheduler import ProbeSignature
from .table import table_addr_bits

__all__ = ["QueueStatistics"]


class QueueStatistics(wiring.Component):
    """Answers the control engine, which waits until the scheduler had a look at the row, and counts underflows.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    underflow : Signal, in
        One bit a data port: the MAC aborted a frame, in this cycle.
    free_cells : Signal, in
        Free cells now.
    probe : ProbeSignature
        To the scheduler.
    table : TableSignature
        Row ``(router * all_ports + port) * 8 + stat``; writes are acknowledged without effect.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        super().__init__({
            "underflow": In(config.ports),
            "free_cells": In(range(config.cells + 1)),
            "probe": Out(ProbeSignature(config)),
            "table": In(TableSignature(table_addr_bits(queue_rows(config) * QUEUE_STATS), 64)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        stat_bits = table_addr_bits(QUEUE_STATS)
        underflows = [Signal(COUNT_BITS, name=f"underflows_{port}") for port in range(config.ports)]
        for port, count in enumerate(underflows):
            m.d.sync += count.eq(count + self.underflow[port])

        # Whose underflows: the port is the remainder of the row number, found by long division.
        probe, table = self.probe, self.table
        steps = len(probe.row)
        rest = Signal.like(probe.row)
        divisor = Signal(steps + len(Const(config.all_ports)))
        step = Signal(range(steps + 1))
        stats = {
            QueueStat.DEPTH: probe.depth,
            QueueStat.HIGH_WATER: probe.high_water,
            QueueStat.ENQUEUED: probe.counts.enqueued,
            QueueStat.DROPPED: probe.counts.dropped,
            QueueStat.FREE_CELLS: self.free_cells,
            QueueStat.UNDERFLOW: Array([*underflows, Const(0)])[rest],
        }
        m.d.comb += probe.row.eq(table.addr[stat_bits:])
        m.d.sync += table.ack.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [rest.eq(probe.row), divisor.eq(config.all_ports << steps), step.eq(0)]
                with m.If(table.stb & ~table.ack):
                    m.next = "LOOK"
            with m.State("LOOK"):
                m.d.comb += probe.stb.eq(1)
                with m.If(probe.ack):
                    m.next = "DIVIDE"
            with m.State("DIVIDE"):
                m.d.sync += [divisor.eq(divisor >> 1), step.eq(step + 1)]
                with m.If(rest >= divisor):
                    m.d.sync += rest.eq(rest - divisor)
                with m.If(step == steps):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.sync += table.ack.eq(1)
                with m.Switch(table.addr[:stat_bits]):
                    for stat, value in stats.items():
                        with m.Case(stat):
                            m.d.sync += table.r_data.eq(value)
                    with m.Default():
                        m.d.sync += table.r_data.eq(0)
                m.next = "IDLE"
        return m
