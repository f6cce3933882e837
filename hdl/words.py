"""Width conversion between the beats of a frame and 64-bit words."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["WORD_BITS", "WordJoiner", "WordSplitter", "beat_layout"]

WORD_BITS = 64


def beat_layout(width: int) -> data.StructLayout:
    """A part of a frame, lowest bytes first."""
    return data.StructLayout({"data": width, "last": 1})


class WordSplitter(wiring.Component):
    """Beats to words. Latency 0: the last beat is accepted with its last word.

    A wide last beat is split into all its words, whatever part of it counts.

    Parameters
    ----------
    width : int
        Bits of a beat, 32 or a multiple of 64.

    Attributes
    ----------
    i, o : streams of beat_layout
        Beats of ``width`` bits, and words.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        super().__init__({
            "i": In(stream.Signature(beat_layout(width))),
            "o": Out(stream.Signature(beat_layout(WORD_BITS))),
        })

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        if self._width < WORD_BITS:
            low = Signal(self._width)
            half = Signal()
            m.d.comb += [
                o.valid.eq(i.valid & (half | i.payload.last)),
                o.payload.data.eq(Mux(half, Cat(low, i.payload.data), i.payload.data)),
                o.payload.last.eq(i.payload.last),
                i.ready.eq(o.ready | ~(half | i.payload.last)),
            ]
            with m.If(i.valid & i.ready):
                m.d.sync += [low.eq(i.payload.data), half.eq(~half & ~i.payload.last)]
        else:
            count = self._width // WORD_BITS
            part = Signal(range(max(2, count)))
            final = part == count - 1
            m.d.comb += [
                o.valid.eq(i.valid),
                o.payload.data.eq(i.payload.data.word_select(part, WORD_BITS)),
                o.payload.last.eq(i.payload.last & final),
                i.ready.eq(o.ready & final),
            ]
            with m.If(o.valid & o.ready):
                m.d.sync += part.eq(Mux(final, 0, part + 1))
        return m


class WordJoiner(wiring.Component):
    """Words to beats. A wide beat is offered the cycle after its last word was accepted, a narrow one at once.

    Words that the last beat lacks are zero.

    Parameters
    ----------
    width : int
        Bits of a beat, 32 or a multiple of 64.

    Attributes
    ----------
    i, o : streams of beat_layout
        Words, and beats of ``width`` bits.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        super().__init__({
            "i": In(stream.Signature(beat_layout(WORD_BITS))),
            "o": Out(stream.Signature(beat_layout(width))),
        })

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        if self._width <= WORD_BITS:
            count = WORD_BITS // self._width
            part = Signal(range(max(2, count)))
            final = part == count - 1
            m.d.comb += [
                o.valid.eq(i.valid),
                o.payload.data.eq(i.payload.data.word_select(part, self._width)),
                o.payload.last.eq(i.payload.last & final),
                i.ready.eq(o.ready & final),
            ]
            with m.If(o.valid & o.ready):
                m.d.sync += part.eq(Mux(final, 0, part + 1))
        else:
            count = self._width // WORD_BITS
            part = Signal(range(count))
            m.d.comb += i.ready.eq(~o.valid | o.ready)
            with m.If(i.ready):
                m.d.sync += o.valid.eq(0)
                with m.If(i.valid):
                    final = i.payload.last | (part == count - 1)
                    with m.If(part == 0):
                        m.d.sync += o.payload.data.eq(0)
                    m.d.sync += [
                        o.payload.data.word_select(part, WORD_BITS).eq(i.payload.data),
                        o.payload.last.eq(i.payload.last),
                        o.valid.eq(final),
                        part.eq(Mux(final, 0, part + 1)),
                    ]
        return m
