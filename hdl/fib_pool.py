"""The FIB's node pool: a block RAM that is read twice a cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import FIB_WORD_BITS
from .records import TableSignature
from .table import table_addr_bits

__all__ = ["FibPool", "PoolReadSignature"]

#: Words up to which one ECP5 block RAM is deep enough at its natural width.
_SHALLOW = 2048
#: Bits of the memories side by side that make up a deeper pool. At 8 bits, without a use for the ninth, the block RAM's
#: narrow and deep shapes (up to 16384 x 1) cost as many blocks as wide and shallow ones, and yosys takes those that
#: need no multiplexer behind them: an eighth more block RAM, but nothing between it and the reader.
_SLICE_BITS = 8


def PoolReadSignature(config: CoreConfig) -> wiring.Signature:
    """A read port of the pool, which has the ``In`` side: ``data`` is the row of the cycle before with ``en``.

    In a cycle with ``miss`` the port serves somebody else, and the read is not carried out.
    """
    return wiring.Signature({
        "en": Out(1), "addr": Out(table_addr_bits(config.fib_words)), "data": In(FIB_WORD_BITS), "miss": In(1),
    })


class FibPool(wiring.Component):
    """Both ports of a true dual-port memory, one for each reader; the control engine takes the second one's cycles.

    A word that is written in the very cycle in which it is read reads as its new value, whole. The control port
    has its turn one cycle after it asked, if the second reader pauses, else ``rest`` cycles after it last took a turn
    away; it acknowledges in the cycle behind its turn.

    Up to 16384 words, ECP5 puts nothing but wires behind the block RAMs; each doubling beyond that is a level of
    multiplexers.

    Parameters
    ----------
    config : CoreConfig
        ``fib_words`` is used.
    rest : int
        Cycles from one read that misses to the next. A reader that comes back after fewer cycles can't miss each time.

    Attributes
    ----------
    first, second : PoolReadSignature
        Only ``second`` ever misses.
    table : TableSignature
        Control port; may not be given a row beyond the pool.
    """

    def __init__(self, config: CoreConfig, rest: int) -> None:
        self._words = config.fib_words
        self._rest = rest
        super().__init__({
            "first": In(PoolReadSignature(config)),
            "second": In(PoolReadSignature(config)),
            "table": In(TableSignature(table_addr_bits(config.fib_words), FIB_WORD_BITS)),
        })

    def elaborate(self, platform):
        m = Module()
        width = FIB_WORD_BITS if self._words <= _SHALLOW else _SLICE_BITS
        asked = Signal()
        start = Signal()
        resting = Signal(range(self._rest + 1))
        rested = Signal(init=1)
        addr = Signal.like(self.second.addr)    # one signal for reading and writing: one port of the memory
        m.d.comb += [
            start.eq(asked & (~self.second.en | rested)),
            addr.eq(Mux(start, self.table.addr, self.second.addr)),
            self.second.miss.eq(start & self.second.en),
        ]
        # What does not depend on the reader is ready a cycle ahead: the way to all block RAMs is long.
        m.d.sync += [
            asked.eq(self.table.stb & ~self.table.ack & ~start),
            self.table.ack.eq(start),
        ]
        with m.If(self.second.miss):
            m.d.sync += [resting.eq(self._rest), rested.eq(0)]
        with m.Elif(~rested):
            m.d.sync += [resting.eq(resting - 1), rested.eq(resting == 1)]

        delivered = [], []
        for low in range(0, FIB_WORD_BITS, width):
            # The attribute tells Vivado that both ports may address the same row at once (amaranth#1589).
            m.submodules[f"slice_{low // width}"] = mem = memory.Memory(
                shape=unsigned(width), depth=self._words, init=[], attrs={"rw_addr_collision": "yes"})
            write = mem.write_port()
            # Without transparency, yosys keeps a second copy of the memory on ECP5. The second port needs none: it
            # never reads and writes at once.
            first = mem.read_port(transparent_for=(write,))
            second = mem.read_port()
            m.d.comb += [
                first.addr.eq(self.first.addr),
                first.en.eq(self.first.en),
                second.addr.eq(addr),
                second.en.eq(Mux(start, ~self.table.write, self.second.en)),
                write.addr.eq(addr),
                write.data.eq(self.table.w_data[low:low + width]),
                write.en.eq(start & self.table.write),
            ]
            for port, parts in zip((first, second), delivered, strict=True):
                parts.append(port.data)
        m.d.comb += [
            self.first.data.eq(Cat(delivered[0])),
            self.second.data.eq(Cat(delivered[1])),
            self.table.r_data.eq(self.second.data),
        ]
        return m
