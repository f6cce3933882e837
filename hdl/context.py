"""Context registers: what a frame's virtual router is and may do."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import CONTEXT_ROW, RouterMode
from .ports import includes
from .records import META, TableSignature
from .table import TableMemory, table_addr_bits

__all__ = ["ContextLookup"]

#: Fields of the row that the record has by the same name, and the one that it has by another.
_COPIED = {name: name for name in (
    "mode", "ports", "fib_base", "fib_size", "ipv4_root", "ipv6_root", "adj_base", "adj_size", "mirror", "learn",
    "tunnels", "filter_base", "filter_size", "policer_base", "policer_size", "mac_base", "mac_size")}
_COPIED["takes_multicast"] = "multicast"


class ContextLookup(wiring.Component):
    """Reads the context row of the frame's router into its record.

    The row is read at once, so a frame sees all of a write or nothing. A router that does not exist (``no_router``)
    has a row of zeros.

    Takes a record every cycle; latency 2 cycles.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i, o : stream of META
        ``o`` has the fields of the context set; ``enable`` is not, if the mode is unknown.
    disable : Signal, in
        No router is enabled.
    o_seed
        Beside ``o``'s payload: the key of the router's flow hash.
    table : TableSignature
        Control port of the rows.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(META)),
            "o": Out(stream.Signature(META)),
            "o_seed": Out(CONTEXT_ROW["ecmp_seed"].width),
            "disable": In(1),
            "table": In(TableSignature(table_addr_bits(config.routers), CONTEXT_ROW.size)),
        })
        # Attributes for the sake of proofs: the record whose row the memory delivers.
        self.rows = TableMemory(config.routers, CONTEXT_ROW.size)
        self.busy = Signal()
        self.meta = Signal(META)
        self.exists = Signal()

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = self.rows
        wiring.connect(m, wiring.flipped(self.table), rows.table)

        meta, busy, exists = self.meta, self.busy, self.exists
        row = Signal(CONTEXT_ROW)
        take, leave = Signal(), Signal()
        m.d.comb += [
            leave.eq(busy & (~self.o.valid | self.o.ready)),
            self.i.ready.eq(~busy | leave),
            take.eq(self.i.valid & self.i.ready),
            rows.addr.eq(self.i.payload.router),
            rows.en.eq(take & (self.i.payload.router < self.config.routers)),
            row.eq(Mux(exists, rows.data, 0)),
        ]
        with m.If(self.i.ready):
            m.d.sync += busy.eq(self.i.valid)
        with m.If(take):
            m.d.sync += [meta.eq(self.i.payload), exists.eq(self.i.payload.router < self.config.routers)]

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(leave):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.payload.eq(meta),
                *(self.o.payload[name].eq(row[source]) for name, source in _COPIED.items()),
                self.o.payload.enable.eq(row.enable & (row.mode <= max(RouterMode)) & ~self.disable),
                self.o.payload.guarded.eq(includes(self.config, row.guard, meta.port) | meta.segment_guard),
                self.o.payload.asks.eq(includes(self.config, row.group, meta.port)),
                self.o_seed.eq(row.ecmp_seed),
            ]
        return m
