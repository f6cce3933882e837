"""The FIB engine: longest-prefix match in a router's own window of the node pool."""

from amaranth.hdl import Array, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .fib_pool import FibPool
from .fib_ring import OUTCOME, REQUEST, RING, FibRing
from .layouts import FIB_WORD_BITS
from .records import TableSignature
from .table import table_addr_bits

__all__ = ["MOST_REQUESTS", "FibLookup"]

#: Requests of each ring: in it, in its entrance, and their outcomes.
_OF_RING = RING + 1 + RING
#: The most requests that an engine holds.
MOST_REQUESTS = 2 * _OF_RING


class FibLookup(wiring.Component):
    """Walks the FIB for a stream of requests; outcomes come in the order of the requests.

    Requests go to one or two :class:`.fib_ring.FibRing`, in turn, each with a port of the pool. One that is not to be
    walked gives MISS in its place.

    Latency is that of a ring: 39 cycles for IPv4 unicast if the engine is idle. Sustained, two rings take an IPv4
    request every 5 cycles, IPv4 multicast at worst (18 words read) every 10, an IPv6 request of the longest walk
    (33 words) every 17; one ring half as many. It holds up to :attr:`capacity` requests whose outcomes were not taken.

    Parameters
    ----------
    config : CoreConfig
        ``fib_words`` and ``fib_rings`` are used.

    Attributes
    ----------
    i : stream of REQUEST
    o : stream of OUTCOME
    table : TableSignature
        The pool, one 72-bit word a row.
    """

    def __init__(self, config: CoreConfig) -> None:
        super().__init__({
            "i": In(stream.Signature(REQUEST)),
            "o": Out(stream.Signature(OUTCOME)),
            "table": In(TableSignature(table_addr_bits(config.fib_words), FIB_WORD_BITS)),
        })
        self.rings = [FibRing(config) for _ in range(config.fib_rings)]
        #: Who keeps a record for each is never the first to be full if there is room for as many.
        self.capacity = config.fib_rings * _OF_RING
        self._pool = FibPool(config, rest=RING)

    def elaborate(self, platform):
        m = Module()
        m.submodules.pool = pool = self._pool
        wiring.connect(m, wiring.flipped(self.table), pool.table)
        for k, (ring, port) in enumerate(zip(self.rings, pool.ports, strict=True)):
            m.submodules[f"ring{k}"] = ring
            wiring.connect(m, ring.read, port)

        count = len(self.rings)
        entering, leaving = Signal(range(count)), Signal(range(count))      # whose turn it is
        m.d.comb += [
            self.i.ready.eq(Array(ring.i.ready for ring in self.rings)[entering]),
            self.o.payload.eq(Array(ring.o.payload.as_value() for ring in self.rings)[leaving]),
            self.o.valid.eq(Array(ring.o.valid for ring in self.rings)[leaving]),
        ]
        for k, ring in enumerate(self.rings):
            m.d.comb += [
                ring.i.payload.eq(self.i.payload),
                ring.i.valid.eq(self.i.valid & (entering == k)),
                ring.o.ready.eq(self.o.ready & (leaving == k)),
            ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += entering.eq(entering + 1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += leaving.eq(leaving + 1)
        return m
