"""Context registers: what a frame's virtual router is and may do."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import CONTEXT_ROW, RouterMode
from .ports import includes
from .records import META, TableSignature
from .table import TableMemory, table_addr_bits

__all__ = ["ContextLookup"]


class ContextLookup(wiring.Component):
    """Reads the context row of the frame's router into its record.

    The row is read at once, so a frame sees all of a write or nothing. A frame without a router gets a row of zeros.
    Takes a record every 3 cycles; latency 3 cycles.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i, o : stream of META
        ``o`` has the fields of the context set.
    table : TableSignature
        Control port of the rows.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(META)),
            "o": Out(stream.Signature(META)),
            "table": In(TableSignature(table_addr_bits(config.routers), CONTEXT_ROW.size)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = TableMemory(self.config.routers, CONTEXT_ROW.size)
        wiring.connect(m, wiring.flipped(self.table), rows.table)

        meta = Signal(META)
        row = Signal(CONTEXT_ROW)
        m.d.comb += rows.addr.eq(self.i.payload.router)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("ACCEPT"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.comb += rows.en.eq(self.i.payload.own | self.i.payload.injected)
                    m.d.sync += meta.eq(self.i.payload)
                    m.next = "READ"
            with m.State("READ"):
                m.d.sync += row.eq(0)
                with m.If(meta.own | meta.injected):
                    m.d.sync += row.eq(rows.data)
                m.next = "EMIT"
            with m.State("EMIT"), m.If(~self.o.valid | self.o.ready):
                m.d.sync += [
                    self.o.valid.eq(1),
                    self.o.payload.eq(meta),
                    self.o.payload.enable.eq(row.enable & (row.mode == RouterMode.ROUTED)),
                    self.o.payload.guarded.eq(includes(self.config, row.guard, meta.port)),
                    *(self.o.payload[name].eq(row[name])
                      for name in ("ports", "fib_base", "fib_size", "ipv4_root", "ipv6_root", "adj_base", "adj_size")),
                ]
                m.next = "ACCEPT"
        return m
