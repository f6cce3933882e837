"""A table of wide rows, read and written a word at a time, so that it takes few block RAMs."""

from amaranth.hdl import Cat, Const, Module, Signal, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .memories import NEVER_MEET, delivered
from .pieces import PieceSignature, piece_bits
from .records import TableSignature
from .table import table_addr_bits

__all__ = ["SerialTable"]


class SerialTable(wiring.Component):
    """Rows of several words in simple dual-port memory, all zero when the FPGA is configured.

    A block RAM has few bits a row and many rows; a wide and short table fills its block RAMs if a row is several rows
    of theirs. Look-ups and the control engine take turns on one read port. An access by either is not interrupted, so
    rows are seen whole. The control engine waits for one look-up at most, and a look-up for one of its accesses.

    A row is at ``o`` ``words`` cycles after it was asked for, and as many cycles later there can be the next one. The
    control port acknowledges in the same time.

    Parameters
    ----------
    rows : int
        Rows of the table. Neither port may be given a row beyond them.
    row_bits : int
        Bits of a row.
    words : int
        Words that a row is made of, a power of two.
    part_bits : int
        No part of a row that has so many bits, from the first bit on, is in two words.

    Attributes
    ----------
    i : stream
        ``row`` to be looked up. Without ``read``, memory is not read, and what comes out has no meaning.
    o : stream
        The rows, in the order of ``i``.
    table : TableSignature
        Control port.
    piece : PieceSignature
        The words of a row that is read by the control port, one a cycle.
    """

    def __init__(self, rows: int, row_bits: int, words: int, part_bits: int = 1) -> None:
        self._rows = rows
        self.words = words
        self._word_bits = piece_bits(row_bits, words, part_bits)
        addr_bits = table_addr_bits(rows)
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({"read": 1, "row": addr_bits}))),
            "o": Out(stream.Signature(unsigned(row_bits))),
            "table": In(TableSignature(addr_bits, row_bits)),
            "piece": Out(PieceSignature(words, self._word_bits)),
        })
        # Attributes for the sake of proofs. Word ``step - 1`` of the row is delivered, for the control port's
        # ``access`` or for a look-up that is ``reading``; the words before it are kept.
        self.step = Signal(range(words + 1))
        self.access = Signal()
        self.reading = Signal()
        self.word = Signal(self._word_bits)
        self.kept = [Signal(self._word_bits, name=f"kept{k}", reset_less=True) for k in range(words - 1)]
        #: Memory is read, in this row of the table.
        self.en = Signal()
        self.row = Signal(addr_bits)
        self.row_begun = Signal(addr_bits)

    def elaborate(self, platform):
        m = Module()
        table, step, access, words = self.table, self.step, self.access, self.words
        m.submodules.memory = mem = memory.Memory(
            shape=unsigned(self._word_bits), depth=max(2, self._rows * words), init=[], attrs=NEVER_MEET)
        write, read = mem.write_port(), mem.read_port()

        last = Signal()         # the last word is delivered, or written
        free = Signal()
        asks = Signal()
        looks_up, accesses = Signal(), Signal()
        m.d.comb += [
            last.eq(step == words),
            free.eq((step == 0) | (last & (access | self.o.ready))),
            asks.eq(table.stb & ~table.ack),
            # In the cycle of an acknowledgement nothing is asked for, so that a look-up has its turn then.
            self.i.ready.eq(free & ~asks),
            looks_up.eq(self.i.valid & self.i.ready),
            accesses.eq(free & asks & ~looks_up),
            self.o.valid.eq(last & ~access),
            table.ack.eq(last & access),
        ]

        # What is read or written in this cycle: the first word of what begins, or the next one of what is under way.
        row, row_begun = self.row, self.row_begun
        number = Signal(range(max(2, words)))
        m.d.comb += row.eq(row_begun)
        with m.If(free):
            m.d.sync += [step.eq(looks_up | accesses), row_begun.eq(row)]
            m.d.comb += row.eq(table.addr)
            with m.If(looks_up):
                m.d.sync += [access.eq(0), self.reading.eq(self.i.payload.read)]
                m.d.comb += [row.eq(self.i.payload.row), self.en.eq(self.i.payload.read)]
            with m.Elif(accesses):
                m.d.sync += [access.eq(1), self.reading.eq(~table.write)]
                m.d.comb += [self.en.eq(~table.write), write.en.eq(table.write)]
        with m.Elif(~last):
            m.d.sync += step.eq(step + 1)
            m.d.comb += [
                number.eq(step),
                self.en.eq(self.reading),
                write.en.eq(access & table.write),
            ]
        padding = words * self._word_bits - len(table.w_data)
        addr = Cat(number[:exact_log2(words)], row)
        m.d.comb += [
            read.addr.eq(addr),
            read.en.eq(self.en),
            self.word.eq(delivered(m, platform, read, write)),
            write.addr.eq(addr),
            write.data.eq(Cat(table.w_data, Const(0, padding)).word_select(number, self._word_bits)),
            self.o.payload.eq(Cat(*self.kept, self.word)),
            table.r_data.eq(self.o.payload),
            self.piece.en.eq(access & self.reading & (step != 0)),
            self.piece.number.eq(step - 1),
            self.piece.data.eq(self.word),
        ]
        for k, kept in enumerate(self.kept):
            with m.If(step == k + 1):
                m.d.sync += kept.eq(self.word)
        return m
