"""Frames from beats of one width to beats of another."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .layouts import RxError
from .stream import frame_layout

__all__ = ["FrameWidth"]


class FrameWidth(wiring.Component):
    """Gathers narrow beats into wide ones, or splits wide ones into as many narrow ones as the frame has.

    Latency none: ``valid`` and ``ready`` pass through combinationally. The narrow side has a beat a cycle, the wide one
    a beat for all of those. So a frame takes as many cycles as it has narrow beats, whatever its length.

    ``empty`` must be zero in all but last beats, and is so at the output. What is in the unused lanes of a last beat
    has no meaning.

    Parameters
    ----------
    i_width, o_width : int
        Bits of a beat, a power of two, 8 at least. If they are equal, there is no logic.

    Attributes
    ----------
    i, o : streams of frame_layout
        Frames in beats of ``i_width`` and of ``o_width`` bits.
    """

    def __init__(self, i_width: int, o_width: int) -> None:
        self._i_width, self._o_width = i_width, o_width
        super().__init__({"i": In(stream.Signature(frame_layout(i_width))),
                          "o": Out(stream.Signature(frame_layout(o_width)))})

    def elaborate(self, platform):
        m = Module()
        if self._i_width == self._o_width:
            connect(m, flipped(self.i), flipped(self.o))
        elif self._i_width < self._o_width:
            self._gather(m)
        else:
            self._split(m)
        return m

    def _gather(self, m: Module) -> None:
        i, o = self.i, self.o
        count = self._o_width // self._i_width
        part = Signal(range(count))     # of the beat that comes next
        held = Signal(self._o_width - self._i_width)
        whole = Signal()
        m.d.comb += [
            whole.eq(i.payload.last | part.all()),
            o.valid.eq(i.valid & whole),
            i.ready.eq(o.ready | ~whole),
            o.payload.data.eq(Cat(*(Mux(part > k, held.word_select(k, self._i_width), i.payload.data)
                                    for k in range(count - 1)), i.payload.data)),
            o.payload.last.eq(i.payload.last),
            o.payload.empty.eq(Mux(i.payload.last, Cat(i.payload.empty, ~part), 0)),
            o.payload.error.eq(i.payload.error),
        ]
        with m.If(i.valid & i.ready):
            m.d.sync += part.eq(Mux(whole, 0, part + 1))
            with m.If(~whole):
                m.d.sync += held.word_select(part, self._i_width).eq(i.payload.data)

    def _split(self, m: Module) -> None:
        i, o = self.i, self.o
        part = Signal(range(self._i_width // self._o_width))    # of the beat, to go next
        lane_bits = exact_log2(self._o_width // 8)
        final = Signal()
        m.d.comb += [
            final.eq(part == ~i.payload.empty[lane_bits:]),
            o.valid.eq(i.valid),
            i.ready.eq(o.ready & final),
            o.payload.data.eq(i.payload.data.word_select(part, self._o_width)),
            o.payload.last.eq(i.payload.last & final),
            o.payload.empty.eq(Mux(o.payload.last, i.payload.empty[:lane_bits], 0)),
            o.payload.error.eq(Mux(o.payload.last, i.payload.error, RxError.NONE)),
        ]
        with m.If(o.valid & o.ready):
            m.d.sync += part.eq(Mux(final, 0, part + 1))
