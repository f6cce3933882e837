"""A small FIFO whose output is a register."""

from amaranth.hdl import Module
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FallThroughFifo"]


class FallThroughFifo(wiring.Component):
    """FIFO in distributed RAM; ``o`` is a register that an item reaches in one cycle if the FIFO is empty.

    One item in and one out a cycle. Whoever writes keeps count: there is no ``ready``, and no more than ``depth``
    items may be inside.

    Parameters
    ----------
    shape : ShapeLike
        Of an item.
    depth : int
        Items that fit.

    Attributes
    ----------
    en, data
        An item to be put in.
    o : stream
        Items in their order.
    """

    def __init__(self, shape, depth: int) -> None:
        self._depth = depth
        super().__init__({"en": In(1), "data": In(shape), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = buffer = fifo.SyncFIFO(width=len(self.data.as_value()), depth=max(1, self._depth - 1))
        move = ~self.o.valid | self.o.ready
        m.d.comb += [
            buffer.w_data.eq(self.data),
            buffer.w_en.eq(self.en & ~(move & ~buffer.r_rdy)),
            buffer.r_en.eq(move),
        ]
        with m.If(move):
            m.d.sync += self.o.valid.eq(buffer.r_rdy | self.en)
            with m.If(buffer.r_rdy):
                m.d.sync += self.o.payload.eq(buffer.r_data)
            with m.Elif(self.en):
                m.d.sync += self.o.payload.eq(self.data)
        return m
