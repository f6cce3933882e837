"""Frames and bytes that each filter rule matched."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, fifo, memory, stream, wiring
from amaranth.lib.wiring import In

from .config import CoreConfig
from .layouts import ROWS, HitStat, Table
from .records import HIT, TableSignature
from .stream import LENGTH_BITS
from .table import table_addr_bits

__all__ = ["HitCounters", "hit_rows"]

_EVENTS = 8


def hit_rows(config: CoreConfig) -> int:
    """Rows of the hit table: ``rule * 2 + HitStat``."""
    return config.filter_rules * len(HitStat)


class HitCounters(wiring.Component):
    """64-bit counters of every rule's frames and bytes, in two block RAMs, one for each :class:`.layouts.HitStat`.

    Events wait in a FIFO and are counted one in four cycles: read, register, add, write, in both memories at once. An
    access to the table takes its turn between two events, so it never falls into such a sequence and nothing is lost;
    it is acknowledged after at most eight cycles. With accesses all the time, there is an event every eight cycles.

    Parameters
    ----------
    config : CoreConfig
        ``filter_rules`` is used; without any, events are taken and forgotten.

    Attributes
    ----------
    i : stream of HIT
        Events; stopped while the FIFO is full.
    table : TableSignature
        Reads and writes by row.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._rules = config.filter_rules
        super().__init__({
            "i": In(stream.Signature(HIT)),
            "table": In(TableSignature(table_addr_bits(hit_rows(config)), ROWS[Table.HIT])),
        })

    def elaborate(self, platform):
        m = Module()
        table = self.table
        if not self._rules:
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += table.ack.eq(table.stb & ~table.ack)
            return m

        m.submodules.events = events = fifo.SyncFIFOBuffered(width=HIT.size, depth=_EVENTS)
        event = data.View(HIT, events.r_data)
        m.d.comb += [
            events.w_data.eq(self.i.payload), events.w_en.eq(self.i.valid), self.i.ready.eq(events.w_rdy),
        ]

        access = Signal()       # this turn is the table's
        start = Signal()
        read_en, write_en = Signal(), Signal()
        stat_bits = (len(HitStat) - 1).bit_length()
        accessed = table.addr[:stat_bits]
        rule = Signal(table_addr_bits(self._rules))
        read_rule = Signal.like(rule)
        length = Signal(LENGTH_BITS)
        m.d.comb += [
            # The cycle of ``ack`` is always an event's, so accesses can't keep events away.
            start.eq(table.stb & ~table.ack),
            read_rule.eq(Mux(start, table.addr >> stat_bits, event.rule)),
        ]
        m.d.sync += table.ack.eq(0)
        with m.FSM():
            with m.State("READ"), m.If(start | events.r_rdy):
                m.d.comb += [read_en.eq(1), events.r_en.eq(~start)]
                m.d.sync += [rule.eq(read_rule), length.eq(event.length), access.eq(start)]
                m.next = "REGISTER"
            with m.State("REGISTER"):
                m.next = "ADD"
            with m.State("ADD"):
                m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += write_en.eq(~access | table.write)
                m.d.sync += table.ack.eq(access)
                m.next = "READ"

        for stat in HitStat:
            m.submodules[stat.name.lower()] = mem = memory.Memory(
                shape=unsigned(ROWS[Table.HIT]), depth=max(2, self._rules), init=[],
                attrs={"rw_addr_collision": "yes"})
            write = mem.write_port()
            # They never meet. Yosys sees that only if the port's register is one of ours.
            read = mem.read_port(domain="comb")
            row = Signal(ROWS[Table.HIT], name=f"row_{stat.name.lower()}", reset_less=True)
            with m.If(read_en):
                m.d.sync += row.eq(read.data)
            value = Signal(ROWS[Table.HIT], name=f"value_{stat.name.lower()}")
            total = Signal.like(value, name=f"total_{stat.name.lower()}")
            more = length if stat == HitStat.BYTES else 1
            mine = accessed == stat
            # Block RAM is slow to deliver, so its output goes straight to a register.
            m.d.sync += [
                value.eq(row),
                total.eq(Mux(access, Mux(table.write, table.w_data, value), value + more)),
            ]
            m.d.comb += [
                read.addr.eq(read_rule),
                write.addr.eq(rule),
                write.data.eq(total),
                write.en.eq(write_en & (~access | mine)),
            ]
            with m.If(mine):
                m.d.comb += table.r_data.eq(value)
        return m
