"""The bridges' MAC table: where a bridged router has seen an address (IEEE 802.1Q, 8.7 and 8.8)."""

from amaranth.hdl import Module
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import MAC_ROW
from .mactable_age import MacAgeClock
from .mactable_search import MAC_FOUND, MAC_SEARCH, MacSearch
from .mactable_update import MacUpdate
from .records import LEARN, TableSignature
from .table import table_addr_bits

__all__ = ["MacTable"]


class MacTable(wiring.Component):
    """One table for all bridged routers, each of which has a window of its own; an address may be in four rows of it.

    Look-ups have one port of the memory, everything else the other. A row that is written in the very cycle in which
    it is read reads as its new value, whole.

    A look-up every 7 cycles, latency 8; one with ``walk`` not set 2. Meanwhile an address is learned every 10 cycles:
    it is in the table 10 cycles after it was accepted, if neither ageing nor control come in between. The control port
    acknowledges after 1 to 12 cycles.

    Parameters
    ----------
    config : CoreConfig
        ``mac_rows`` is used. Without rows there is no memory, nothing is learned, and never a hit.

    Attributes
    ----------
    i : stream of MAC_SEARCH
    o : stream of MAC_FOUND
        In the order of ``i``.
    learn : stream of LEARN
    age_cycles
        Cycles after which rows that are not static get one step older; 0: never.
    table : TableSignature
        Control port; rows are absolute.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        super().__init__({
            "i": In(stream.Signature(MAC_SEARCH)),
            "o": Out(stream.Signature(MAC_FOUND)),
            "learn": In(stream.Signature(LEARN)),
            "age_cycles": In(64),
            "table": In(TableSignature(table_addr_bits(config.mac_rows), MAC_ROW.size)),
        })

    def elaborate(self, platform):
        m = Module()
        if not self._config.mac_rows:
            m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready), self.learn.ready.eq(1)]
            m.d.sync += self.table.ack.eq(self.table.stb & ~self.table.ack)
            return m
        m.submodules.search = search = MacSearch(self._config)
        m.submodules.update = update = MacUpdate(self._config)
        m.submodules.clock = clock = MacAgeClock(self._config)
        wiring.connect(m, wiring.flipped(self.i), search.i)
        wiring.connect(m, search.o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.learn), update.learn)
        wiring.connect(m, wiring.flipped(self.table), update.table)
        wiring.connect(m, clock.o, update.age)
        m.d.comb += clock.age_cycles.eq(self.age_cycles)

        # The attribute tells Vivado that both ports may address the same row at once (amaranth#1589).
        m.submodules.memory = mem = memory.Memory(
            shape=MAC_ROW, depth=self._config.mac_rows, init=[], attrs={"rw_addr_collision": "yes"})
        write = mem.write_port()
        # Without transparency, yosys keeps a second copy of the memory on ECP5. The second port needs none: it never
        # reads and writes at once.
        first = mem.read_port(transparent_for=(write,))
        second = mem.read_port()
        m.d.comb += [
            first.addr.eq(search.port.addr),
            first.en.eq(search.port.en),
            search.port.data.eq(first.data),
            second.addr.eq(update.port.addr),
            second.en.eq(update.port.en & ~update.port.write),
            update.port.data.eq(second.data),
            write.addr.eq(update.port.addr),
            write.data.eq(update.port.w_data),
            write.en.eq(update.port.en & update.port.write),
        ]
        return m
