"""How many cells of the frame buffer each router holds, and whether it may have more."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import QUOTA_ROW
from .memories import ram_style
from .queues import cell_count_bits
from .records import ROUTER_BITS, TableSignature
from .table import table_addr_bits

__all__ = ["Quotas", "give_layout"]


def give_layout(config: CoreConfig) -> data.StructLayout:
    """Cells that a router gives back."""
    return data.StructLayout({"router": ROUTER_BITS, "count": cell_count_bits(config)})


class Quotas(wiring.Component):
    """Counts the cells of each router, and those of the shared ones that are used.

    A router's cells are its reserved ones first; all beyond them are shared ones. One access at a time, three cycles
    from one to the next; those that want one take turns. The answer to a ``take`` comes three cycles after it was
    accepted.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    take, take_ready : in, out
        A frame of ``take_router`` asks for cells. Not again before ``decide``.
    need : Signal, in
        How many: from the cycle after until ``decide``.
    allow : Signal, in
        In the cycle of ``decide``: so many cells are there, and nothing else is against it.
    decide, accept : out
        The answer; if ``accept`` is high they are taken.
    give : stream of give_layout
        Cells that are free again.
    shared_cells : Signal, in
        Cells besides all reserved ones.
    table : TableSignature
        QUOTA, a row for each router and for "none".
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        rows = config.routers + 1
        super().__init__({
            "take": In(1),
            "take_router": In(ROUTER_BITS),
            "take_ready": Out(1),
            "need": In(cell_count_bits(config)),
            "allow": In(1),
            "decide": Out(1),
            "accept": Out(1),
            "give": In(stream.Signature(give_layout(config))),
            "shared_cells": In(range(config.cells + 1)),
            "table": In(TableSignature(table_addr_bits(rows), QUOTA_ROW.size)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        layout = data.StructLayout({"quota": QUOTA_ROW, "held": range(config.cells + 1)})
        m.submodules.rows = rows = memory.Memory(
            shape=layout, depth=config.routers + 1, init=[], attrs=ram_style(config.routers + 1))
        write = rows.write_port()
        read = rows.read_port(transparent_for=(write,))

        # Steps: the memory delivers; sums; the end, in which the next access may start.
        loaded, sums, finish = Signal(), Signal(), Signal()
        taking, giving = Signal(), Signal()         # the access under way, or the last one
        ready, start = Signal(), Signal()
        take, give, access, wanted = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            ready.eq(~loaded & ~sums),
            wanted.eq(self.table.stb & ~self.table.ack & ~(finish & ~taking & ~giving)),
            take.eq(self.take & ~(taking & self.give.valid) & ~(giving & wanted)),
            give.eq(self.give.valid & ~take & ~(giving & wanted)),
            access.eq(wanted & ~take & ~give),
            self.take_ready.eq(ready & take),
            self.give.ready.eq(ready & give),
            start.eq(ready & (take | give | access)),
        ]
        addr = Signal.like(write.addr)
        count = Signal.like(self.need)
        new = Signal(QUOTA_ROW)
        writes = Signal()
        m.d.comb += [
            read.addr.eq(Mux(take, self.take_router, Mux(give, self.give.payload.router, self.table.addr))),
            read.en.eq(start),
        ]
        m.d.sync += [loaded.eq(start), sums.eq(loaded), finish.eq(sums)]
        with m.If(start):
            m.d.sync += [
                taking.eq(take),
                giving.eq(give),
                addr.eq(read.addr),
                count.eq(self.give.payload.count),
                new.eq(self.table.w_data),
                writes.eq(self.table.write),
            ]
        with m.Elif(finish):
            # The turn is over if nobody else wanted it.
            m.d.sync += [taking.eq(0), giving.eq(0)]

        old = Signal(layout)
        held = Signal(len(old.held) + 1)
        # Cells beyond the reserved ones, before and after; negative: below.
        width = max(len(held), len(old.quota.reserved)) + 1
        before, after = Signal(signed(width)), Signal(signed(width))
        amount = Signal(range(config.cells + 1))
        used = Signal(range(config.cells + 1))
        left = Signal(signed(len(used) + 1))
        with m.If(loaded):
            m.d.sync += old.eq(read.data)
        reserved = Mux(taking | giving, old.quota.reserved, new.reserved)
        total = Signal.like(held)
        m.d.comb += total.eq(Mux(taking, old.held + self.need, Mux(giving, old.held - count, old.held)))
        with m.If(sums):
            m.d.sync += [
                held.eq(total),
                before.eq(old.held - old.quota.reserved),
                after.eq(total - reserved),
                amount.eq(Mux(taking, self.need, count)),
                left.eq(self.shared_cells - used),
            ]
        taken = Signal.like(amount)         # shared cells that this access takes
        given = Signal.like(amount)
        with m.If(after > 0):
            m.d.comb += taken.eq(Mux(before >= 0, amount, after))
        with m.If(before > 0):
            m.d.comb += given.eq(Mux(after >= 0, amount, before))
        # Whether ``taken`` is left, with both comparisons made before it is known which of them counts.
        fits = Signal()
        m.d.comb += fits.eq(~(after > 0) | Mux(before >= 0, (amount == 0) | (amount <= left), after <= left))
        row = Signal(layout)
        m.d.comb += [
            self.decide.eq(finish & taking),
            self.accept.eq(self.decide & self.allow & fits & ~(old.quota.limited & (held > old.quota.limit))),
            row.held.eq(held),
            row.quota.eq(Mux(taking | giving, old.quota, new)),
            write.addr.eq(addr),
            write.data.eq(row),
            write.en.eq(finish & Mux(taking, self.accept, giving | writes)),
        ]
        with m.If(finish):
            with m.If(taking):
                m.d.sync += used.eq(used + Mux(self.accept, taken, 0))
            with m.Elif(giving):
                m.d.sync += used.eq(used - given)
            with m.Elif(writes):
                m.d.sync += used.eq(used + Mux(after > 0, after, 0) - Mux(before > 0, before, 0))
        m.d.sync += self.table.ack.eq(finish & ~taking & ~giving)
        with m.If(finish):
            m.d.sync += self.table.r_data.eq(old.quota)
        return m
