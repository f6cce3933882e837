"""The FIB stage: longest-prefix match of the destination address in the router's own window of the node pool."""

from amaranth.hdl import Module
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .fib_ring import RING, FibRing
from .layouts import FIB_WORD_BITS
from .records import META, TableSignature
from .table import TableMemory, table_addr_bits

__all__ = ["FibLookup"]


class FibLookup(wiring.Component):
    """Sets ``fib`` and ``result`` of every record; records keep their order.

    A record that is to be routed is looked up by :class:`FibRing`; any other (injected, group, not for a router's
    address, not IPv4, malformed, router not enabled) passes in its place as a MISS. Records wait in a FIFO for their
    outcomes, so that they need not circulate. Latency is 8 cycles for each word that is read, 16 at least, and up to
    10 more for its turn; one worst-case record (10 words) is done every 10 cycles.

    Parameters
    ----------
    config : CoreConfig
        ``fib_words`` is used.

    Attributes
    ----------
    i, o : streams of META
    table : TableSignature
        The pool, one 72-bit word a row.
    """

    def __init__(self, config: CoreConfig) -> None:
        super().__init__({
            "i": In(stream.Signature(META)),
            "o": Out(stream.Signature(META)),
            "table": In(TableSignature(table_addr_bits(config.fib_words), FIB_WORD_BITS)),
        })
        self.ring = FibRing(config)
        self._pool = TableMemory(config.fib_words, FIB_WORD_BITS)

    def elaborate(self, platform):
        m = Module()
        m.submodules.ring = ring = self.ring
        m.submodules.pool = pool = self._pool
        # As many as the ring and its outcomes can hold, so that it is never full before they are.
        m.submodules.records = records = fifo.SyncFIFOBuffered(width=META.size, depth=2 * RING)

        wiring.connect(m, wiring.flipped(self.table), pool.table)
        m.d.comb += [pool.en.eq(ring.read_en), pool.addr.eq(ring.read_addr), ring.read_data.eq(pool.data)]

        arrival, request = self.i.payload, ring.i.payload
        m.d.comb += [
            request.walk.eq(~arrival.injected & ~arrival.group & arrival.own & arrival.ipv4 & ~arrival.malformed
                            & arrival.enable),
            request.address.eq(arrival.destination),
            request.base.eq(arrival.fib_base),
            request.size.eq(arrival.fib_size),
            request.root.eq(arrival.ipv4_root),
            records.w_data.eq(arrival),
            ring.i.valid.eq(self.i.valid & records.w_rdy),
            records.w_en.eq(self.i.valid & ring.i.ready),
            self.i.ready.eq(ring.i.ready & records.w_rdy),
        ]

        outcome = ring.o.payload
        m.d.comb += [
            self.o.payload.eq(data.View(META, records.r_data)),
            self.o.payload.fib.eq(outcome.fib),
            self.o.payload.result.eq(outcome.result),
            self.o.valid.eq(records.r_rdy & ring.o.valid),
            ring.o.ready.eq(records.r_rdy & self.o.ready),
            records.r_en.eq(ring.o.valid & self.o.ready),
        ]
        return m
