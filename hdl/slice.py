"""A register between two stages."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RegisterSlice"]


class RegisterSlice(wiring.Component):
    """Stream register with a latency of one cycle and a throughput of one item a cycle, or no register at all.

    ``valid`` and ``payload`` are registered; ``ready`` passes through combinationally, or is that of an empty register.

    Parameters
    ----------
    shape : ShapeLike
        Payload of both streams.
    registers : int
        1, or 0 for wires: nothing takes a cycle then.
    cuts_ready : bool
        ``i.ready`` does not depend on ``o.ready``: an item every other cycle at most.
    """

    def __init__(self, shape, registers: int = 1, *, cuts_ready: bool = False) -> None:
        self._registers = registers
        self._cuts_ready = cuts_ready
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        if not self._registers:
            wiring.connect(m, wiring.flipped(self.i), wiring.flipped(self.o))
            return m
        m.d.comb += self.i.ready.eq(~self.o.valid | (self.o.ready & (not self._cuts_ready)))
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += self.o.payload.eq(self.i.payload)
        return m
