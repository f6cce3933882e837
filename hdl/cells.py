"""Cells of the frame buffer: which are free, and how a frame's cells go back."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from .stream import LENGTH_BITS
from .table import table_addr_bits

__all__ = ["CellAllocator", "ChainReleaser"]


class CellAllocator(wiring.Component):
    """Hands out free cells, one a cycle.

    Cells that were never used come from a counter, so nothing has to be initialised; those that came back wait in a
    FIFO. A cell counts as available two cycles after it was freed, when the FIFO can surely deliver it; so whoever
    reserves no more than ``available`` may take one every cycle from then on, without asking.

    Parameters
    ----------
    cells : int
        Cells of the buffer.

    Attributes
    ----------
    available : Signal, out
        Free cells that are not reserved.
    reserve : Signal, in
        Take ``count`` from ``available``, which must be large enough.
    cell, take
        The next free cell; it is handed out in a cycle with ``take``, which must have been reserved for.
    free : Signal, in
        ``freed`` comes back.
    """

    def __init__(self, cells: int) -> None:
        self._cells = cells
        bits = table_addr_bits(cells)
        super().__init__({
            "available": Out(range(cells + 1), init=cells),
            "reserve": In(1),
            "count": In(range(cells + 1)),
            "take": In(1),
            "cell": Out(bits),
            "free": In(1),
            "freed": In(bits),
        })

    def elaborate(self, platform):
        m = Module()
        # One entry more than there are cells: the FIFO's output register is filled a cycle late.
        m.submodules.returned = returned = fifo.SyncFIFOBuffered(width=len(self.cell), depth=self._cells + 1)
        unused = Signal(range(self._cells + 1))
        returning = Signal()
        m.d.comb += [
            returned.w_en.eq(self.free),
            returned.w_data.eq(self.freed),
        ]
        with m.If(unused != self._cells):
            m.d.comb += self.cell.eq(unused)
            m.d.sync += unused.eq(unused + self.take)
        with m.Else():
            m.d.comb += [self.cell.eq(returned.r_data), returned.r_en.eq(self.take)]
        m.d.sync += [
            returning.eq(self.free),
            self.available.eq(self.available + returning - Mux(self.reserve, self.count, 0)),
        ]
        return m


class ChainReleaser(wiring.Component):
    """Frees the cells of a frame that nobody reads, following the links: two cycles a cell when not held up.

    Parameters
    ----------
    cells, cell_bytes : int
        Of the frame buffer.

    Attributes
    ----------
    i : stream
        First cell and length of a frame.
    link_addr, link_en, link_data
        Read port of the memory of next-cell pointers, one cycle latency.
    free, freed, wait
        ``freed`` goes back in a cycle with ``free``; not while ``wait`` is high.
    """

    def __init__(self, cells: int, cell_bytes: int) -> None:
        self._cell_bytes = cell_bytes
        bits = table_addr_bits(cells)
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({"cell": bits, "length": LENGTH_BITS}))),
            "link_addr": Out(bits),
            "link_en": Out(1),
            "link_data": In(bits),
            "wait": In(1),
            "free": Out(1),
            "freed": Out(bits),
        })

    def elaborate(self, platform):
        m = Module()
        cell = Signal.like(self.freed)
        left = Signal(LENGTH_BITS)
        m.d.comb += [self.freed.eq(cell), self.link_addr.eq(cell)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [cell.eq(self.i.payload.cell), left.eq(self.i.payload.length)]
                    m.next = "FREE"
            with m.State("FREE"), m.If(~self.wait):
                m.d.comb += [self.free.eq(1), self.link_en.eq(1)]
                with m.If(left <= self._cell_bytes):
                    m.next = "IDLE"
                with m.Else():
                    m.next = "FOLLOW"
            with m.State("FOLLOW"):
                m.d.sync += [cell.eq(self.link_data), left.eq(left - self._cell_bytes)]
                m.next = "FREE"
        return m
