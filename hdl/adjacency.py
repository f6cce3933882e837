"""Adjacency look-up: what to do with a frame that has a route."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import ADJACENCY_ECMP, ADJACENCY_ROW, ECMP_HASH_BITS, AdjacencyKind
from .records import META, FibOutcome, TableSignature
from .table import TableMemory, table_addr_bits

__all__ = ["AdjacencyLookup"]

_STATES = ("ACCEPT", "READ", "ROW", "EMIT", "PICK", "WINDOW")


class AdjacencyLookup(wiring.Component):
    """Reads the adjacency that the FIB gave, and of one of kind ECMP the member that the flow hash picks.

    A row is read only if it is inside the router's window and the table, else ``adj_fault`` is set and the fields are
    zero. A row of kind ECMP that can't be followed sets ``adj_fault`` too: it has no members, or is a member itself, or
    the frame is a multicast one, which has no use for it. Without a route nothing is read, and all fields are zero. The
    members are picked by multiplication, as in "hash threshold" of RFC 2992.

    Latency and time for a record, if the output is taken at once: 3 cycles with a route, 8 if it is of kind ECMP,
    1 without a route.

    Parameters
    ----------
    config : CoreConfig
        ``adjacencies`` is used.

    Attributes
    ----------
    i, o : stream of META
        ``o`` has ``adj_fault`` and the ``adj_*`` fields of the row set; ``adj_mac`` is the row's 48 bits, whatever the
        kind.
    table : TableSignature
        Control port.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._rows = config.adjacencies
        super().__init__({
            "i": In(stream.Signature(META)),
            "o": Out(stream.Signature(META)),
            "table": In(TableSignature(table_addr_bits(config.adjacencies), ADJACENCY_ROW.size)),
        })
        # Attributes for the sake of proofs: what is known of the record under way, and which state it is in.
        self.rows = TableMemory(config.adjacencies, ADJACENCY_ROW.size)
        self.meta = Signal(META)
        self.row = Signal(ADJACENCY_ROW)
        self.final = Signal()                   # a row of kind ECMP is not followed
        self.below_size, self.fault = Signal(), Signal()
        group = data.View(ADJACENCY_ECMP, self.row.as_value())
        self.product = Signal(ECMP_HASH_BITS + len(group.count))
        self.member = Signal(len(group.first) + 1)      # first + count, without wrapping
        self.index = Signal(max(len(self.meta.adj_base), len(self.member)) + 1)
        self.states = Signal(len(_STATES))      # one bit each

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = self.rows
        wiring.connect(m, wiring.flipped(self.table), rows.table)

        arrival = self.i.payload
        meta, row, final, below_size, fault = self.meta, self.row, self.final, self.below_size, self.fault
        product, member, index = self.product, self.member, self.index
        group = data.View(ADJACENCY_ECMP, row.as_value())
        # ``row`` is what the record needs, but for a group that is to be followed.
        settled, is_group, allowed = Signal(), Signal(), Signal()
        m.d.comb += [
            is_group.eq(row.kind == AdjacencyKind.ECMP),
            allowed.eq(below_size & (index < self._rows)),
            rows.addr.eq(index),
            self.o.valid.eq(settled & (final | ~is_group)),
            self.o.payload.eq(meta),
            *(self.o.payload["adj_" + name].eq(row[name]) for name in ("kind", "port", "mac", "mtu", "vid")),
            self.o.payload.adj_fault.eq(fault | is_group),
        ]

        def accept():
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += [
                meta.eq(arrival),
                row.eq(0),
                fault.eq(0),
                final.eq(arrival.group),
                below_size.eq(arrival.result < arrival.adj_size),
                index.eq(arrival.adj_base + arrival.result),
            ]
            m.next = "ACCEPT"
            with m.If(self.i.valid):
                m.next = "EMIT"
                with m.If(arrival.fib == FibOutcome.HIT):
                    m.next = "READ"

        with m.FSM() as fsm:
            m.d.comb += self.states.eq(Cat(fsm.ongoing(state) for state in _STATES))
            with m.State("ACCEPT"):
                accept()
            with m.State("READ"):
                m.d.comb += rows.en.eq(allowed)
                m.d.sync += fault.eq(~allowed)
                m.next = "ROW"
            with m.State("ROW"):
                with m.If(fault):
                    m.d.sync += row.eq(0)
                with m.Else():
                    m.d.sync += row.eq(rows.data)
                m.next = "EMIT"
            with m.State("EMIT"):
                m.d.comb += settled.eq(1)
                m.d.sync += product.eq(meta.flow_hash * group.count)
                with m.If(is_group & ~final):
                    m.next = "PICK"
                with m.Elif(self.o.ready):
                    accept()
            with m.State("PICK"):
                m.d.sync += [final.eq(1), member.eq(group.first + product[ECMP_HASH_BITS:])]
                m.next = "EMIT"
                with m.If(group.count != 0):
                    m.next = "WINDOW"
            with m.State("WINDOW"):
                m.d.sync += [below_size.eq(member < meta.adj_size), index.eq(meta.adj_base + member)]
                m.next = "READ"
        return m
