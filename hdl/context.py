"""Context registers: what a frame's virtual router is and may do."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import CONTEXT_ROW, RouterMode
from .pieces import context_pieces
from .ports import includes
from .records import META, TableSignature
from .serialtable import SerialTable
from .table import table_addr_bits

__all__ = ["ContextLookup"]

#: Fields of the row that the record has by the same name, and the one that it has by another.
_COPIED = {name: name for name in (
    "mode", "ports", "fib_base", "fib_size", "ipv4_root", "ipv6_root", "adj_base", "adj_size", "mirror", "learn",
    "tunnels", "filter_base", "filter_size", "policer_base", "policer_size", "mac_base", "mac_size")}
_COPIED["takes_multicast"] = "multicast"


class ContextLookup(wiring.Component):
    """Reads the context row of the frame's router into its record.

    Nothing is written while a row is read, so a frame sees all of a write or nothing. A router that does not exist
    (``no_router``) has a row of zeros.

    A row is read in ``context_words`` cycles, and a record leaves one cycle after it, one every ``context_words + 1``
    cycles. If a row is more than one word, a record stays at ``i`` until it was read. An access of the control port
    comes between two records and takes as long as one; each waits for one of the other at most. Without
    ``stage_registers``, ``o`` is what stays at ``i``, with the row beside it, and is there a cycle sooner.

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
    piece : PieceSignature
        What is read by it, as the memory delivers it.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        # Attributes for the sake of proofs: the record whose row the memory delivers.
        self.rows = SerialTable(config.routers, CONTEXT_ROW.size, config.context_words,
                                config.access_bits if context_pieces(config) else 1)
        self.meta = Signal(META)
        self.exists = Signal()
        #: The row of the record at ``i`` is asked for.
        self.begins = Signal()
        super().__init__({
            "i": In(stream.Signature(META)),
            "o": Out(stream.Signature(META)),
            "o_seed": Out(CONTEXT_ROW["ecmp_seed"].width),
            "disable": In(1),
            "table": In(TableSignature(table_addr_bits(config.routers), CONTEXT_ROW.size)),
            "piece": Out(self.rows.piece.signature),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = self.rows
        wiring.connect(m, wiring.flipped(self.table), rows.table)
        wiring.connect(m, rows.piece, wiring.flipped(self.piece))

        meta, exists = self.meta, self.exists
        row = Signal(CONTEXT_ROW)
        leaves = rows.o.valid & rows.o.ready
        if rows.words == 1:
            m.d.comb += [rows.i.valid.eq(self.i.valid), self.i.ready.eq(rows.i.ready)]
            with m.If(self.begins):
                m.d.sync += meta.eq(self.i.payload)
        else:
            waits = (rows.step != 0) & ~rows.access         # the record at ``i``, for its row
            m.d.comb += [rows.i.valid.eq(self.i.valid & ~waits), self.i.ready.eq(leaves), meta.eq(self.i.payload)]
        m.d.comb += [
            self.begins.eq(rows.i.valid & rows.i.ready),
            rows.i.payload.row.eq(self.i.payload.router),
            rows.i.payload.read.eq(self.i.payload.router < self.config.routers),
            row.eq(Mux(exists, rows.o.payload, 0)),
            rows.o.ready.eq(~self.o.valid if self.config.stage_registers else self.o.ready),
        ]
        with m.If(self.begins):
            m.d.sync += exists.eq(rows.i.payload.read)

        # Without a reset, flip-flops can be cleared for a router that does not exist: no logic is ahead of them.
        out = Signal(META, reset_less=True)
        seed = Signal.like(self.o_seed, reset_less=True)
        disable = self.disable if self.config.stage_registers else Signal()
        found = [
            out.eq(meta),
            *(out[name].eq(row[source]) for name, source in _COPIED.items()),
            out.enable.eq(row.enable & (row.mode <= max(RouterMode)) & ~disable),
            out.guarded.eq(includes(self.config, row.guard, meta.port) | meta.segment_guard),
            out.asks.eq(includes(self.config, row.group, meta.port)),
            seed.eq(row.ecmp_seed),
        ]
        m.d.comb += [self.o.payload.eq(out), self.o_seed.eq(seed)]
        if self.config.stage_registers:
            with m.If(self.o.ready):
                m.d.sync += self.o.valid.eq(0)
            with m.If(leaves):
                m.d.sync += [self.o.valid.eq(1), *found]
        else:
            m.d.comb += [self.o.valid.eq(rows.o.valid), *found]
            # What is offered stays as it is until it is taken.
            with m.If(~self.o.valid):
                m.d.sync += disable.eq(self.disable)
        return m
