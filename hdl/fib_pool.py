"""The FIB's node pool: a block RAM that is read twice a cycle."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import FIB_WORD_BITS
from .records import TableSignature
from .table import table_addr_bits

__all__ = ["FibPool", "PoolReadSignature"]


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
    acknowledges one cycle after it got its turn: at once if the second reader pauses, else ``rest`` cycles after it
    last took a turn away.

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
        # The attribute tells Vivado that both ports may address the same row at once (amaranth#1589).
        m.submodules.memory = mem = memory.Memory(
            shape=unsigned(FIB_WORD_BITS), depth=self._words, init=[], attrs={"rw_addr_collision": "yes"})
        write = mem.write_port()
        # Without transparency, yosys keeps a second copy of the memory on ECP5. The second port needs none: it never
        # reads and writes at once.
        first = mem.read_port(transparent_for=(write,))
        second = mem.read_port()

        start = Signal()
        resting = Signal(range(self._rest + 1))
        addr = Signal.like(second.addr)         # one signal for reading and writing: one port of the memory
        m.d.comb += [
            start.eq(self.table.stb & ~self.table.ack & (~self.second.en | (resting == 0))),
            addr.eq(Mux(start, self.table.addr, self.second.addr)),
            first.addr.eq(self.first.addr),
            first.en.eq(self.first.en),
            self.first.data.eq(first.data),
            second.addr.eq(addr),
            second.en.eq(Mux(start, ~self.table.write, self.second.en)),
            self.second.data.eq(second.data),
            self.second.miss.eq(start & self.second.en),
            write.addr.eq(addr),
            write.data.eq(self.table.w_data),
            write.en.eq(start & self.table.write),
            self.table.r_data.eq(second.data),
        ]
        m.d.sync += [self.table.ack.eq(start), resting.eq(Mux(resting == 0, 0, resting - 1))]
        with m.If(self.second.miss):
            m.d.sync += resting.eq(self._rest)
        return m
