"""Brings a word of a table's row to the control engine."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import ROWS, Table, row_words
from .pieces import context_pieces
from .words import WORD_BITS

__all__ = ["STILL", "Readback"]

#: Tables whose rows nobody but the control engine changes, so that a word can be read in parts.
STILL = frozenset({
    Table.INFO, Table.REGISTER, Table.VMAC, Table.CONTEXT, Table.PORT, Table.FIB, Table.ADJACENCY, Table.FILTER,
    Table.ACTION, Table.POLICER, Table.SHAPER, Table.QUOTA, Table.LINK, Table.TERMINATION,
})
_WORDS = max(row_words(table) for table in Table)


class Readback(wiring.Component):
    """Brings one of the words of a row here, ``access_bits`` of it at a time.

    The rows of all tables are wide, and their memories all over the chip: as one multiplexer, they are where an FPGA
    runs out of wires. So each table has a register of its own that is zero but for what was chosen of the row, and they
    meet behind it. Of a table in :data:`STILL` only a part is chosen, and the row is read again for the next one; of
    others, which change meanwhile, the whole word is kept beside the table, and sent in parts. A context row, one of
    the widest, comes from memory in pieces if ``context_words`` says so, and a part is chosen of one of them.

    Parameters
    ----------
    config : CoreConfig
        Gives ``access_bits`` and ``context_words``.
    tables : iterable of Table
        Those that there are.

    Attributes
    ----------
    table : Signal(Table), in
        Table of the access. This and ``word`` are there a cycle before ``take`` at least, and stay.
    word : Signal, in
        Word of the row.
    info, register, vmac, ... : Signal, in
        A row for each table, in lower case; must hold in the cycle of ``take``. No context, if it comes in pieces.
    context_piece : PieceSignature, in
        Of :func:`.context_pieces`: the row's pieces, the last one in the cycle of ``take`` at the latest; ``table`` and
        ``word`` are there a cycle before the first one.
    take : Signal, in
        The row is there.
    more : Signal, out
        With ``take``: the same row is to be read again, 2 cycles later at the earliest.
    busy : Signal, out
        Since the last ``take`` the word is not here, and will not be in the next cycle.
    o : Signal(64), out
        The word, 2 cycles after the last ``take``, of tables that change as many more as there are further parts. Stays
        until the next ``take``.
    """

    def __init__(self, config: CoreConfig, tables) -> None:
        self._bits = config.access_bits
        self._tables = tuple(tables)
        pieces = context_pieces(config) if Table.CONTEXT in self._tables else None
        self._in_pieces = {Table.CONTEXT} if pieces else frozenset()
        super().__init__({
            "table": In(Table), "word": In(range(_WORDS)), "take": In(1),
            **{table.name.lower(): In(ROWS[table]) for table in self._tables if table not in self._in_pieces},
            **({"context_piece": In(pieces)} if pieces else {}),
            "more": Out(1), "busy": Out(1), "o": Out(WORD_BITS),
        })

    def elaborate(self, platform):
        m = Module()
        parts = WORD_BITS // self._bits
        part = Signal(range(max(2, parts)))         # zero but in the midst of a row that is read in parts
        still = Signal()
        with m.Switch(self.table), m.Case(*STILL):
            m.d.comb += still.eq(1)
        m.d.comb += self.more.eq(still & (part != parts - 1))
        with m.If(self.take & still):
            m.d.sync += part.eq(Mux(self.more, part + 1, 0))

        # Parts on their way here.
        coming = Signal(range(parts + 1))
        m.d.comb += self.busy.eq(coming > 1)
        with m.If(self.take):
            m.d.sync += coming.eq(Mux(still, 1, parts))
        with m.Elif(coming != 0):
            m.d.sync += coming.eq(coming - 1)

        met = [self._of_pieces(m, part) if table in self._in_pieces
               else self._still(m, table, part) if table in STILL else self._changing(m, table)
               for table in self._tables]
        with m.If(coming != 0):
            m.d.sync += self.o.eq(Cat(self.o, reduce(or_, met))[self._bits:])
        return m

    def _chosen(self, m: Module, name: str, condition) -> Signal:
        """The condition, as a register: so that each bit of a row takes but half a look-up table."""
        chosen = Signal(name=f"chosen_{name}")
        m.d.sync += chosen.eq(condition)
        return chosen

    def _words(self, table: Table):
        """Words of a row, and whether it is the one that is asked for."""
        row = getattr(self, table.name.lower())
        for index in range(row_words(table)):
            yield (f"{table.name.lower()}_{index}", row[index * WORD_BITS:][:WORD_BITS],
                   (self.table == table) & (self.word == index))

    def _still(self, m: Module, table: Table, part: Signal) -> Signal:
        """A part of the word."""
        pieces = [
            Mux(self._chosen(m, f"{name}_{index}", here & (part == index)), word[first:][:self._bits], 0)
            for name, word, here in self._words(table)
            for index, first in enumerate(range(0, len(word), self._bits))]
        met = Signal(self._bits, name=f"met_{table.name.lower()}")
        m.d.sync += met.eq(reduce(or_, pieces))
        return met

    def _of_pieces(self, m: Module, part: Signal) -> Signal:
        """A part of the word of a context row, kept since its piece was there."""
        piece = self.context_piece
        here = self.table == Table.CONTEXT
        index = Cat(part, self.word)        # of the part in the row
        parts = range(-(-ROWS[Table.CONTEXT] // self._bits))
        in_piece = piece.signature.bits // self._bits
        chosen = [
            self._chosen(m, f"context_part_{k}", here & index.matches(*parts[k::in_piece])) for k in range(in_piece)]
        wanted = Cat(
            self._chosen(m, f"context_piece_{k}", index.matches(*parts[k * in_piece:][:in_piece]))
            for k in range(piece.signature.words))
        kept = self._chosen(m, "context_kept", here & index.matches(*parts))
        met = Signal(self._bits, name="met_context")
        # Of another table, and behind the row's end, nothing is chosen.
        with m.If(~kept | (piece.en & wanted.bit_select(piece.number, 1))):
            m.d.sync += met.eq(reduce(or_, (
                Mux(part_chosen, piece.data.word_select(k, self._bits), 0) for k, part_chosen in enumerate(chosen))))
        return met

    def _changing(self, m: Module, table: Table) -> Signal:
        """The word, whose parts follow each other."""
        whole = reduce(or_, (Mux(self._chosen(m, name, here), word, 0) for name, word, here in self._words(table)))
        kept = Signal(min(WORD_BITS, ROWS[table]), name=f"kept_{table.name.lower()}")
        m.d.sync += kept.eq(Mux(self.take, whole, kept >> self._bits))
        return kept[:self._bits]
