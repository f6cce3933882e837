"""The FIB's node pool: a block RAM that is read twice a cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import FIB_WORD_BITS
from .records import TableSignature
from .table import table_addr_bits

__all__ = ["FibPool", "PoolReadSignature"]

#: Words up to which ECP5 block RAMs are two deep at their natural width of 9 bits.
_SHALLOW = 4096
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
    """A memory with a port for each reader, one or two; the control engine takes the last one's cycles.

    A word that is written in the very cycle in which it is read reads as its new value, whole. The control port
    has its turn one cycle after it asked, if the last reader pauses, else ``rest`` cycles after it last took a turn
    away; it acknowledges in the cycle behind its turn.

    Up to 2048 words, and from 4097 to 16384, ECP5 puts nothing but wires behind the block RAMs; else there is a
    multiplexer, with a level for each doubling beyond 16384.

    Parameters
    ----------
    config : CoreConfig
        ``fib_words`` is used, and ``fib_rings``: there are as many readers.
    rest : int
        Cycles from one read that misses to the next. A reader that comes back after fewer cycles can't miss each time.

    Attributes
    ----------
    ports : array of PoolReadSignature
        Only the last one ever misses.
    table : TableSignature
        Control port; may not be given a row beyond the pool.
    """

    def __init__(self, config: CoreConfig, rest: int) -> None:
        self._words = config.fib_words
        self._rest = rest
        self._readers = config.fib_rings
        super().__init__({
            "ports": In(PoolReadSignature(config)).array(config.fib_rings),
            "table": In(TableSignature(table_addr_bits(config.fib_words), FIB_WORD_BITS)),
        })

    def elaborate(self, platform):
        m = Module()
        *others, last = self.ports
        width = FIB_WORD_BITS if self._words <= _SHALLOW else _SLICE_BITS
        asked = Signal()
        start = Signal()
        resting = Signal(range(self._rest + 1))
        rested = Signal(init=1)
        addr = Signal.like(last.addr)   # one signal for reading and writing: one port of the memory
        m.d.comb += [
            start.eq(asked & (~last.en | rested)),
            addr.eq(Mux(start, self.table.addr, last.addr)),
            last.miss.eq(start & last.en),
        ]
        # What does not depend on the reader is ready a cycle ahead: the way to all block RAMs is long.
        m.d.sync += [
            asked.eq(self.table.stb & ~self.table.ack & ~start),
            self.table.ack.eq(start),
        ]
        with m.If(last.miss):
            m.d.sync += [resting.eq(self._rest), rested.eq(0)]
        with m.Elif(~rested):
            m.d.sync += [resting.eq(resting - 1), rested.eq(resting == 1)]

        delivered = [[] for _ in range(self._readers)]
        for low in range(0, FIB_WORD_BITS, width):
            # The attribute tells Vivado that both ports may address the same row at once (amaranth#1589).
            m.submodules[f"slice_{low // width}"] = mem = memory.Memory(
                shape=unsigned(width), depth=self._words, init=[], attrs={"rw_addr_collision": "yes"})
            write = mem.write_port()
            # Without transparency, yosys keeps a second copy of the memory on ECP5. The last port needs none: it never
            # reads and writes at once.
            reads = [*(mem.read_port(transparent_for=(write,)) for _ in others), mem.read_port()]
            for read, reader in zip(reads, others, strict=False):
                m.d.comb += [read.addr.eq(reader.addr), read.en.eq(reader.en)]
            m.d.comb += [
                reads[-1].addr.eq(addr),
                reads[-1].en.eq(Mux(start, ~self.table.write, last.en)),
                write.addr.eq(addr),
                write.data.eq(self.table.w_data[low:low + width]),
                write.en.eq(start & self.table.write),
            ]
            for read, parts in zip(reads, delivered, strict=True):
                parts.append(read.data)
        m.d.comb += [
            *(port.data.eq(Cat(parts)) for port, parts in zip(self.ports, delivered, strict=True)),
            self.table.r_data.eq(last.data),
        ]
        return m
