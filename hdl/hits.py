"""Frames and bytes that each filter rule matched."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, fifo, memory, stream, wiring
from amaranth.lib.wiring import In

from .config import CoreConfig
from .layouts import ROWS, HitStat, Table
from .memories import NEVER_MEET, delivered
from .records import HIT, TableSignature
from .stream import LENGTH_BITS
from .table import table_addr_bits

__all__ = ["HitCounters", "hit_rows"]

_EVENTS = 8


def hit_rows(config: CoreConfig) -> int:
    """Rows of the hit table: ``rule * 2 + HitStat``."""
    return config.filter_rules * len(HitStat)


class HitCounters(wiring.Component):
    """64-bit counters of every rule's frames and bytes.

    Events wait in a FIFO and are counted one in five cycles: read, register, add, write, for the frames and, a cycle
    later, for the bytes. An access to the table takes its turn between two events, so it never falls into such a
    sequence and nothing is lost; it is acknowledged after at most nine cycles. With accesses all the time, there is an
    event every nine cycles.

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
        self._config = config
        super().__init__({
            "i": In(stream.Signature(HIT)),
            "table": In(TableSignature(table_addr_bits(hit_rows(config)), ROWS[Table.HIT])),
        })

    def elaborate(self, platform):
        m = Module()
        table = self.table
        if not self._config.filter_rules:
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
        row = Signal(table_addr_bits(hit_rows(self._config)))
        first = Signal.like(row)
        length = Signal(LENGTH_BITS)
        value, total = Signal(ROWS[Table.HIT]), Signal(ROWS[Table.HIT])
        more = Signal.like(length)
        m.submodules.memory = mem = memory.Memory(
            shape=unsigned(ROWS[Table.HIT]), depth=hit_rows(self._config), init=[], attrs=NEVER_MEET)
        write, read = mem.write_port(), mem.read_port()
        m.d.comb += [
            # The cycle of ``ack`` is always an event's, so accesses can't keep events away.
            start.eq(table.stb & ~table.ack),
            first.eq(Mux(start, table.addr, Cat(Const(HitStat.FRAMES, 1), event.rule))),
            read.en.eq(read_en),
            read.addr.eq(row | HitStat.BYTES),
            write.en.eq(write_en),
            write.addr.eq(row),
            write.data.eq(total),
            more.eq(1),
            table.r_data.eq(value),
        ]
        # Block RAM is slow to deliver, so its output goes straight to a register. It stays if there was no second read.
        m.d.sync += [
            table.ack.eq(0),
            value.eq(delivered(m, platform, read, write)),
            total.eq(Mux(access, Mux(table.write, table.w_data, value), value + more)),
        ]
        with m.FSM():
            with m.State("READ"):
                m.d.comb += read.addr.eq(first)
                with m.If(start | events.r_rdy):
                    m.d.comb += [read_en.eq(1), events.r_en.eq(~start)]
                    m.d.sync += [row.eq(first), length.eq(event.length), access.eq(start)]
                    m.next = "READ_BYTES"
            with m.State("READ_BYTES"):
                m.d.comb += read_en.eq(~access)
                m.next = "ADD"
            with m.State("ADD"):
                m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += [write_en.eq(~access | table.write), more.eq(length)]
                m.d.sync += [table.ack.eq(access), row.eq(row | HitStat.BYTES)]
                m.next = "WRITE_BYTES"
                with m.If(access):
                    m.next = "READ"
            with m.State("WRITE_BYTES"):
                m.d.comb += write_en.eq(1)
                m.next = "READ"
        return m
