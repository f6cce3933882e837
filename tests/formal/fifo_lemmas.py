"""What is proved of an ``AsyncFIFO``, and why it holds: properties that follow from each other by induction."""

from itertools import pairwise

from amaranth.hdl import Assert, Cat, Module, Signal, Value
from amaranth.lib.fifo import AsyncFIFO

from .clocks import Clocks
from .runner import AnySeq

__all__ = ["Pointers", "Words", "binary"]


def binary(gray: Value) -> Value:
    """What a Gray code stands for."""
    return Cat(gray[k:].xor() for k in range(len(gray)))


class Words:
    """The contract: a word that is written when there are so many in the FIFO is read after just so many, unchanged.

    As it is any word, none is lost, doubled, changed, or comes before another one. There are never more than ``depth``.
    A word, or room for one, is there two edges later on the other side.

    Parameters
    ----------
    m : Module
        The harness.
    fifo : AsyncFIFO
    write_tick, read_tick : Signal
        Clocks of both sides.
    reset : Signal
        Of the writing side. What was written before is forgotten, and nothing is read until there is something new.
    """

    def __init__(self, m: Module, fifo: AsyncFIFO, write_tick: Value, read_tick: Value, reset: Value):
        self.write, self.read = Signal(), Signal()
        #: How many words are in the FIFO.
        self.inside = inside = Signal(range(fifo.depth + 1))
        #: A word that is watched, how many are before it, and what it was.
        self.there, self.ahead, self.word = Signal(), Signal.like(inside), Signal(fifo.width)
        #: It is being written.
        self.begin = Signal()
        #: Edges of the one side since the other one left something to be seen; no more than 2.
        self.to_read, self.to_write = Signal(range(3)), Signal(range(3))
        m.d.comb += [
            self.write.eq(write_tick & fifo.w_en & fifo.w_rdy & ~reset),
            self.read.eq(read_tick & fifo.r_en & fifo.r_rdy),
            self.begin.eq(self.write & ~self.there & AnySeq(1)),
            Assert(inside <= fifo.depth),
            Assert(reset | ~fifo.w_rdy | (inside < fifo.depth)),
            Assert(~fifo.r_rdy | (inside != 0)),
            Assert(reset | (self.to_read != 2) | fifo.r_rdy),
            Assert(reset | (self.to_write != 2) | fifo.w_rdy),
        ]
        m.d.sync += inside.eq(inside + self.write - self.read)
        with m.If(reset | (inside == 0) | self.read):
            m.d.sync += self.to_read.eq(0)
        with m.Elif(read_tick & (self.to_read != 2)):
            m.d.sync += self.to_read.eq(self.to_read + 1)
        with m.If(reset | (inside == fifo.depth) | self.write):
            m.d.sync += self.to_write.eq(0)
        with m.Elif(write_tick & (self.to_write != 2)):
            m.d.sync += self.to_write.eq(self.to_write + 1)
        with m.If(self.begin):
            m.d.sync += [self.there.eq(1), self.ahead.eq(inside - self.read), self.word.eq(fifo.w_data)]
        with m.If(self.there & self.read):
            m.d.sync += self.ahead.eq(self.ahead - 1)
            with m.If(self.ahead == 0):
                m.d.sync += self.there.eq(0)
                m.d.comb += Assert(fifo.r_data == self.word)
        with m.If(reset):
            m.d.sync += [inside.eq(0), self.there.eq(0)]


class Pointers:
    """Where both sides of an ``AsyncFIFO`` are, and where each believes the other one to be; lemmas about that.

    Parameters
    ----------
    m : Module
        The harness.
    clocks : Clocks
    fifo : AsyncFIFO
        The only one of the design.
    signals : dict of Signal
        Those of the FIFO.
    reset : Signal
        Of the writing side: nothing is claimed while it is high.
    """

    def __init__(self, m: Module, clocks: Clocks, fifo: AsyncFIFO, signals: dict[str, Signal], reset: Value):
        self._m, self._fifo, self._reset, self._bits = m, fifo, reset, len(signals["produce_w_bin"])
        self.written, self.read = signals["produce_w_bin"], signals["consume_r_bin"]
        self.written_gray, there = clocks.synchronizer(signals["produce_w_gry"])
        self.read_gray, back = clocks.synchronizer(signals["consume_r_gry"])
        #: What was written and what was read, as far as the other side knows: after each stage.
        self.there = tuple(self._number(binary(stage)) for stage in there)
        self.back = tuple(self._number(binary(stage)) for stage in back)
        self.held, = clocks.held
        self.rows, = clocks.memories
        order = *reversed(self.back), self.read, *reversed(self.there), self.written
        missing = [self._number(self.written - place) for place in order]
        self.inside = missing[len(self.back)]
        self._claim(
            self.written_gray == self.written ^ self.written >> 1,
            self.read_gray == self.read ^ self.read >> 1,
            # None is ahead of the next one, and the last one is not too far behind.
            missing[0] <= fifo.depth,
            *(more >= less for more, less in pairwise(missing)),
            # Follows from these, and makes the solver quicker.
            *(self._number(after - place) <= rest
              for (place, after), rest in zip(pairwise(order), missing, strict=False)),
            # From power-on or a reset until it has had two edges, the reader is held.
            ~self.held[0] | (self.held[1] & (self.there[0] == 0)),
            ~self.held[1] | ((self.there[1] == 0) & (self.read == 0)),
        )

    def follow(self, words: Words) -> None:
        """Lemmas about the contract: which row a word has until it stands at the output, and who knows of it."""
        m, fifo = self._m, self._fifo
        place = Signal(self._bits)
        with m.If(words.begin):
            m.d.sync += place.eq(self.written)
        self._claim(
            words.inside == self.inside,
            ~words.there | ((self._number(self.written - place) <= self.inside) & (place != self.written)),
            ~words.there | (words.ahead == self._number(place - self.read)),
            ~words.there | (self.rows[place[:-1]] == words.word),
            ~(words.there & (place == self.read) & fifo.r_rdy) | (fifo.r_data == words.word),
            (words.to_read < 1) | ((self.there[0] != self.read) & ~self.held[0]),
            (words.to_read < 2) | ((self.there[1] != self.read) & ~self.held[1]),
            *((words.to_write < edges) | (self._number(self.written - back) != fifo.depth)
              for edges, back in enumerate(self.back, 1)),
        )

    def _claim(self, *lemmas: Value) -> None:
        self._m.d.comb += [Assert(self._reset | lemma) for lemma in lemmas]

    def _number(self, value: Value) -> Signal:
        """Modulo twice the depth."""
        number = Signal(self._bits)
        self._m.d.comb += number.eq(value)
        return number
