"""Adjacency look-up: what to do with a frame that has a route."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import ADJACENCY_ROW, PORT_ROW
from .records import META, FibOutcome, TableSignature
from .table import TableMemory, port_index_bits, port_table_rows, table_addr_bits

__all__ = ["AdjacencyLookup"]


class AdjacencyLookup(wiring.Component):
    """Reads the adjacency that the FIB gave, and the router's own MAC address on the adjacency's port.

    A row is read only if it is inside the router's window and the table, else ``adj_fault`` is set. Without a route
    nothing is read, and all fields are zero. The row of the PORT table is ``router << port_index_bits | port``; it is
    read for ports that the core has, else ``own_mac`` is zero.

    Takes a record with a route every 7 cycles, with a latency of 7 cycles; others sooner, at
    best every 2 cycles.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i, o : stream of META
        ``o`` has ``adj_fault``, the ``adj_*`` fields of the row and ``own_mac`` set.
    table, port_table : TableSignature
        Control ports of the adjacency table and of the PORT table.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(META)),
            "o": Out(stream.Signature(META)),
            "table": In(TableSignature(table_addr_bits(config.adjacencies), ADJACENCY_ROW.size)),
            "port_table": In(TableSignature(table_addr_bits(port_table_rows(config)), PORT_ROW.size)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = TableMemory(self.config.adjacencies, ADJACENCY_ROW.size)
        m.submodules.ports = ports = TableMemory(port_table_rows(self.config), PORT_ROW.size)
        wiring.connect(m, wiring.flipped(self.table), rows.table)
        wiring.connect(m, wiring.flipped(self.port_table), ports.table)

        meta = Signal(META)
        below_size = Signal()
        index = Signal(20)                      # base + result, without wrapping
        allowed = Signal()
        row = Signal(ADJACENCY_ROW)
        port_exists = Signal()
        own_mac = Signal(48)
        m.d.comb += [
            allowed.eq(below_size & (index < self.config.adjacencies)),
            rows.addr.eq(index),
            port_exists.eq(row.port < self.config.ports),
            ports.addr.eq(Cat(row.port[:port_index_bits(self.config)], meta.router)),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("ACCEPT"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [
                    meta.eq(self.i.payload),
                    meta.adj_fault.eq(0),
                    row.eq(0),
                    own_mac.eq(0),
                ]
                with m.If(self.i.valid):
                    m.next = "EMIT"
                    with m.If(self.i.payload.fib == FibOutcome.HIT):
                        m.next = "WINDOW"
            with m.State("WINDOW"):
                m.d.sync += [
                    below_size.eq(meta.result < meta.adj_size),
                    index.eq(meta.adj_base + meta.result),
                ]
                m.next = "READ"
            with m.State("READ"):
                m.d.comb += rows.en.eq(allowed)
                m.d.sync += meta.adj_fault.eq(~allowed)
                m.next = "ROW"
            with m.State("ROW"):
                m.next = "EMIT"
                with m.If(~meta.adj_fault):
                    m.d.sync += row.eq(rows.data)
                    m.next = "READ-PORT"
            with m.State("READ-PORT"):
                m.d.comb += ports.en.eq(port_exists)
                m.next = "PORT"
            with m.State("PORT"):
                with m.If(port_exists):
                    m.d.sync += own_mac.eq(ports.data)
                m.next = "EMIT"
            with m.State("EMIT"), m.If(~self.o.valid | self.o.ready):
                m.d.sync += [
                    self.o.valid.eq(1),
                    self.o.payload.eq(meta),
                    *(self.o.payload["adj_" + name].eq(row[name]) for name in ("kind", "port", "mac", "mtu")),
                    self.o.payload.own_mac.eq(own_mac),
                ]
                m.next = "ACCEPT"
        return m
