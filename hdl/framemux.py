"""Two streams of frames into one."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FrameMux"]


class FrameMux(wiring.Component):
    """Passes frames of two streams on, in turn if both have one; a frame is not interrupted.

    Latency none: ``valid`` and ``ready`` pass through combinationally.

    Parameters
    ----------
    shape : ShapeLike
        Payload of all streams: a layout with ``last``.

    Attributes
    ----------
    i : array of two streams
    o : stream
    """

    def __init__(self, shape) -> None:
        super().__init__({
            "i": In(stream.Signature(shape)).array(2), "o": Out(stream.Signature(shape)),
        })

    def elaborate(self, platform):
        m = Module()
        first, second = self.i
        busy = Signal()             # in the middle of a frame, or one was offered
        chosen = Signal()           # whose that is, or was
        now = Signal()
        m.d.comb += [
            now.eq(Mux(busy, chosen, Mux(chosen, ~first.valid, second.valid))),
            self.o.valid.eq(Mux(now, second.valid, first.valid)),
            self.o.payload.eq(Mux(now, second.payload.as_value(), first.payload.as_value())),
            first.ready.eq(self.o.ready & ~now),
            second.ready.eq(self.o.ready & now),
        ]
        with m.If(self.o.valid):
            m.d.sync += [busy.eq(~(self.o.ready & self.o.payload.last)), chosen.eq(now)]
        return m
