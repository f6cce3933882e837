"""The FIB stage: longest-prefix match of the destination address in the router's own window of the node pool."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .fib_pool import FibPool
from .fib_ring import OUTCOME, RING, FibRing
from .layouts import FIB_WORD_BITS
from .records import META, TableSignature
from .table import table_addr_bits

__all__ = ["FibLookup"]

_RINGS = 2
#: As many as the rings, their entrances and their outcomes can hold, so that it is never full before they are.
_RECORDS = 2 * _RINGS * (RING + 1)


class FibLookup(wiring.Component):
    """Sets ``fib`` and ``result`` of every record; records keep their order.

    A record that is to be routed is looked up by one of two :class:`.fib_ring.FibRing`, in turn, each with a port of
    the pool; any other (injected, group, not for a router's address, not IP, malformed, router not enabled) passes in
    its place as a MISS. Records wait in a FIFO for their outcomes, so that they need not circulate.

    Latency is that of a ring: 63 cycles for IPv4 if the stage is idle. Sustained, an IPv4 record every 5 cycles, an
    IPv6 record of the longest walk (34 words) every 17.

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
        self.rings = [FibRing(config) for _ in range(_RINGS)]
        self._pool = FibPool(config, rest=RING)

    def elaborate(self, platform):
        m = Module()
        m.submodules.pool = pool = self._pool
        m.submodules.records = records = fifo.SyncFIFOBuffered(width=META.size, depth=_RECORDS)
        wiring.connect(m, wiring.flipped(self.table), pool.table)
        for k, (ring, port) in enumerate(zip(self.rings, (pool.first, pool.second), strict=True)):
            m.submodules[f"ring{k}"] = ring
            wiring.connect(m, ring.read, port)

        arrival = self.i.payload
        entering, leaving = Signal(range(_RINGS)), Signal(range(_RINGS))    # whose turn it is
        ready = Signal()
        m.d.comb += [
            ready.eq(Cat(ring.i.ready for ring in self.rings).bit_select(entering, 1)),
            records.w_data.eq(arrival),
            records.w_en.eq(self.i.valid & ready),
            self.i.ready.eq(ready & records.w_rdy),
        ]
        for k, ring in enumerate(self.rings):
            request = ring.i.payload
            m.d.comb += [
                request.walk.eq(~arrival.injected & ~arrival.group & arrival.own & (arrival.ipv4 | arrival.ipv6)
                                & ~arrival.malformed & arrival.enable),
                request.ipv6.eq(arrival.ipv6),
                request.address.eq(arrival.ip_destination),
                request.base.eq(arrival.fib_base),
                request.size.eq(arrival.fib_size),
                request.root.eq(Mux(arrival.ipv6, arrival.ipv6_root, arrival.ipv4_root)),
                ring.i.valid.eq(self.i.valid & records.w_rdy & (entering == k)),
            ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += entering.eq(entering + 1)

        outcome = Signal(OUTCOME)
        settled = Signal()
        m.d.comb += [
            outcome.eq(Array(ring.o.payload.as_value() for ring in self.rings)[leaving]),
            settled.eq(Cat(ring.o.valid for ring in self.rings).bit_select(leaving, 1)),
            self.o.payload.eq(data.View(META, records.r_data)),
            self.o.payload.fib.eq(outcome.fib),
            self.o.payload.result.eq(outcome.result),
            self.o.valid.eq(records.r_rdy & settled),
            records.r_en.eq(settled & self.o.ready),
        ]
        for k, ring in enumerate(self.rings):
            m.d.comb += ring.o.ready.eq(records.r_rdy & self.o.ready & (leaving == k))
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += leaving.eq(leaving + 1)
        return m
