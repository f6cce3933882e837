"""Collects the words of a row, and brings it to its table."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import ROWS, Table, row_words
from .words import WORD_BITS

__all__ = ["RowWriter"]

_WORDS = max(row_words(table) for table in Table)


class RowWriter(wiring.Component):
    """Collects words in one row for all tables, and brings it to one of them.

    Words that were not put again are as they were put last, for whichever table.

    All tables need the row, and are all over the chip. So where ``access_bits`` is less than a word, the row is in a
    small memory, and goes from there in parts, to a shift register beside the table.

    Parameters
    ----------
    config : CoreConfig
        Gives ``access_bits``.
    tables : iterable of Table
        Those that there are.

    Attributes
    ----------
    table : Signal(Table), in
        Where a row goes; stays from ``put`` on until the row is there.
    word : Signal, in
        Which of the row's words ``i`` is.
    i : Signal(64), in
        The word. It and ``word`` stay for ``64 / access_bits`` cycles, that of ``put`` included.
    put : Signal, in
        Take the word; not while ``busy``.
    hand_over : Signal, in
        With ``put``: the row goes to its table.
    busy : Signal, out
        It is on its way: for a cycle more than it has parts, none if a part is a word.
    register, vmac, ... : Signal, out
        A row for each table, in lower case. From the end of ``busy`` until the next ``put`` that of the last table is
        what was put.
    """

    def __init__(self, config: CoreConfig, tables) -> None:
        self._bits = config.access_bits
        self._tables = tuple(tables)
        super().__init__({
            "table": In(Table), "word": In(range(_WORDS)), "i": In(WORD_BITS), "put": In(1), "hand_over": In(1),
            "busy": Out(1), **{table.name.lower(): Out(ROWS[table]) for table in self._tables},
        })

    def elaborate(self, platform):
        m = Module()
        if self._bits == WORD_BITS:
            row = Signal(WORD_BITS * _WORDS)
            with m.If(self.put):
                m.d.sync += row.word_select(self.word, WORD_BITS).eq(self.i)
            m.d.comb += [getattr(self, table.name.lower()).eq(row) for table in self._tables]
        else:
            self._in_parts(m)
        return m

    def _in_parts(self, m: Module) -> None:
        parts = WORD_BITS // self._bits
        m.submodules.row = store = memory.Memory(shape=unsigned(self._bits), depth=parts * _WORDS, init=[])
        write, read = store.write_port(), store.read_port(domain="comb")
        part = Signal(range(parts))                 # that is put away
        index, last = Signal(range(parts * _WORDS)), Signal(range(parts * _WORDS))
        reading, moving = Signal(), Signal()
        m.d.comb += [
            write.en.eq(self.put | (part != 0)),
            write.addr.eq(Cat(part, self.word)),
            write.data.eq(self.i.word_select(part, self._bits)),
            read.addr.eq(index),
            self.busy.eq(reading | moving),
        ]
        m.d.sync += moving.eq(reading)
        with m.If(write.en):
            m.d.sync += part.eq(part + 1)
        # A part is read a cycle after it was put away at the earliest, as the last word's are the last.
        with m.If(reading):
            m.d.sync += [index.eq(Mux(index == last, 0, index + 1)), reading.eq(index != last)]
        with m.Elif(self.put & self.hand_over):
            m.d.sync += reading.eq(1)
        with m.Switch(self.table):
            for table in self._tables:
                with m.Case(table):
                    m.d.comb += last.eq(-(-ROWS[table] // self._bits) - 1)
        moved = Signal(self._bits)
        m.d.sync += moved.eq(read.data)
        for table in self._tables:
            name = table.name.lower()
            chosen, row = Signal(name=f"chosen_{name}"), Signal(-(-ROWS[table] // self._bits) * self._bits, name=name)
            m.d.sync += chosen.eq(reading & (self.table == table))
            with m.If(chosen):
                m.d.sync += row.eq(Cat(row, moved)[self._bits:])
            m.d.comb += getattr(self, name).eq(row)
