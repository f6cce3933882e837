"""TXC a quarter of a cycle late, by a clock of its own."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .ddr import PAIR_OF_BITS

__all__ = ["ShiftedClockPair"]


class ShiftedClockPair(wiring.Component):
    """Prepares TXC for a DDR cell that is clocked by the *inverse* of a clock 90 degrees behind ``tx``.

    A cell clocked by that clock itself would have to take, 2 ns after the edge of ``tx``, what was made by this edge.
    The inverse comes 6 ns after it. As it also swaps the halves of a cycle, each pair is put together of the second
    value of the cycle before and the first of this one. TXC is 2 ns later then than from a cell clocked by ``tx``.

    Attributes
    ----------
    i : pair of bits, in
        TXC of a cycle, in the domain ``tx``.
    o : pair of bits, out
        For the rising edges of the inverse clock, then for the falling ones; in the domain ``tx``.
    """

    def __init__(self):
        super().__init__({"i": In(PAIR_OF_BITS), "o": Out(PAIR_OF_BITS)})

    def elaborate(self, platform):
        m = Module()
        m.d.tx += self.o[0].eq(self.i[1])
        m.d.comb += self.o[1].eq(self.i[0])
        return m
