"""Cells of the frame buffer: which are free, and how a frame's cells go back."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from .config import CoreConfig
from .memories import NEVER_MEET, delivered
from .queues import cell_count_bits
from .quotas import give_layout
from .records import ROUTER_BITS
from .roundrobin import RoundRobin
from .stream import LENGTH_BITS
from .table import table_addr_bits

__all__ = ["CellAllocator", "Releaser", "release_layout", "share_bits"]


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


def release_layout(config: CoreConfig) -> data.StructLayout:
    """A frame of which copies are done with."""
    return data.StructLayout({
        "cell": table_addr_bits(config.cells),      # the first one
        "length": LENGTH_BITS,
        "owner": ROUTER_BITS,               # the router that holds the cells
        "shared": 1,                        # the copies of this frame are counted: take ``count`` off
        "count": share_bits(config),
        "walk": 1,                          # not shared, and its cells are not free yet
    })


def share_bits(config: CoreConfig) -> int:
    """Bits of a number of copies of a frame."""
    return bits_for(max(config.routers + 1, config.all_ports))


class Releaser(wiring.Component):
    """Counts the copies of a frame that are done with, frees its cells after the last one, and says whose they were.

    A frame whose cells were freed by its reader takes two cycles; one of several copies four; and a frame whose cells
    are still to be freed, following the links, two more for each cell.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    i : array of streams of release_layout
        Copies that are done with, from those that read them and those that refused them.
    share_en, share_cell, share_count : in
        A frame is stored that begins with this cell and has so many copies.
    writing, writing_cell : in
        The frame that begins with this cell is not whole yet, so its cells must stay.
    link_addr, link_en, link_data
        Read port of the memory of next-cell pointers, one cycle latency.
    free, freed, wait
        ``freed`` goes back in a cycle with ``free``; not while ``wait`` is high.
    give : stream of give_layout
        Cells that a router does not hold any longer.
    idle : Signal, out
        Nothing is to be given back.
    """

    def __init__(self, config: CoreConfig, inputs: int) -> None:
        self._config = config
        self._inputs = inputs
        bits = table_addr_bits(config.cells)
        super().__init__({
            "i": In(stream.Signature(release_layout(config))).array(inputs),
            "share_en": In(1),
            "share_cell": In(bits),
            "share_count": In(share_bits(config)),
            "writing": In(1),
            "writing_cell": In(bits),
            "link_addr": Out(bits),
            "link_en": Out(1),
            "link_data": In(bits),
            "wait": In(1),
            "free": Out(1),
            "freed": Out(bits),
            "give": Out(stream.Signature(give_layout(config))),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.shares = shares = memory.Memory(
            shape=unsigned(share_bits(config)), depth=config.cells, init=[], attrs=NEVER_MEET)
        write, read = shares.write_port(), shares.read_port()

        m.submodules.turn = turn = RoundRobin(self._inputs)
        item = Signal(release_layout(config))
        take = Signal()
        m.d.comb += [
            turn.requests.eq(Cat(i.valid for i in self.i)),
            turn.advance.eq(take),
        ]
        for k in range(self._inputs):
            m.d.comb += self.i[k].ready.eq(take & (turn.grant == k))

        cell = Signal.like(self.freed)
        left = Signal(cell_count_bits(config))
        shared = Signal(share_bits(config))
        cells = (item.length + config.cell_bytes - 1) >> exact_log2(config.cell_bytes)
        m.d.comb += [
            self.freed.eq(cell),
            self.link_addr.eq(cell),
            read.addr.eq(item.cell),
            write.addr.eq(item.cell),
            write.data.eq(shared),
            self.give.payload.router.eq(item.owner),
            self.give.payload.count.eq(cells),
        ]
        with m.If(self.share_en):
            m.d.comb += [write.en.eq(1), write.addr.eq(self.share_cell), write.data.eq(self.share_count)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [take.eq(1), self.idle.eq(~turn.valid)]
                with m.If(turn.valid):
                    m.d.sync += item.eq(Array(i.payload.as_value() for i in self.i)[turn.grant])
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.comb += read.en.eq(1)
                m.d.sync += [cell.eq(item.cell), left.eq(cells)]
                with m.If(item.shared):
                    m.next = "COUNT"
                with m.Elif(item.walk):
                    m.next = "WHOLE"
                with m.Else():
                    m.d.comb += self.give.valid.eq(1)
                    m.next = "GIVE"
                    with m.If(self.give.ready):
                        m.next = "IDLE"
            with m.State("COUNT"):
                m.d.sync += shared.eq(delivered(m, platform, read, write) - item.count)
                m.next = "STORE"
            with m.State("STORE"):
                with m.If(shared == 0):
                    m.next = "WHOLE"
                with m.Elif(~self.share_en):
                    m.d.comb += write.en.eq(1)
                    m.next = "IDLE"
            with m.State("WHOLE"), m.If(~self.writing | (self.writing_cell != cell)):
                m.next = "FREE"
            with m.State("FREE"), m.If(~self.wait):
                m.d.comb += [self.free.eq(1), self.link_en.eq(1)]
                m.d.sync += left.eq(left - 1)
                m.next = "FOLLOW"
                with m.If(left == 1):
                    m.next = "GIVE"
            with m.State("FOLLOW"):
                m.d.sync += cell.eq(self.link_data)
                m.next = "FREE"
            with m.State("GIVE"):
                m.d.comb += self.give.valid.eq(1)
                with m.If(self.give.ready):
                    m.next = "IDLE"
        return m
