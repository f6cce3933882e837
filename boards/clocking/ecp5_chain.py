# amaranth: UnusedElaboratable=no
# A wrong description is found while a design is put together; then its error is all that there is to say.
"""PLLs of an ECP5, one behind the other where one alone can't make the clocks."""

from collections.abc import Iterator, Sequence

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .ecp5 import OUTPUT_HZ, Ecp5Pll, ecp5_pll_setting
from .request import Output, PllError

__all__ = ["Ecp5PllChain", "between_hz"]

#: Of the clock between two PLLs: the input times one of these over another.
_FACTORS = range(1, 17)


def between_hz(input_hz: float, outputs: Sequence[Output]) -> float | None:
    """The clock between two PLLs that together make these clocks; None if one PLL does.

    Raises
    ------
    PllError
        If two can't either; the message is that of one.
    """
    try:
        ecp5_pll_setting(input_hz, outputs)
    except PllError as error:
        for hz in _between(input_hz):
            try:
                ecp5_pll_setting(input_hz, [Output("between", hz)])
                ecp5_pll_setting(hz, outputs)
            except PllError:
                continue
            return hz
        raise error
    return None


def _between(input_hz: float) -> Iterator[float]:
    # The fastest first: its detector has the least jitter.
    found = {input_hz * up / down for up in _FACTORS for down in _FACTORS}
    return iter(sorted((hz for hz in found if OUTPUT_HZ[0] <= hz <= OUTPUT_HZ[1]), reverse=True))


class Ecp5PllChain(wiring.Component):
    """One or two EHXPLLL, with the members of :class:`Ecp5Pll`. The second is held in reset until the first has locked.

    Parameters
    ----------
    input_hz : float
    outputs : sequence of Output
        One to four.

    Raises
    ------
    PllError
        If two can't make these clocks.
    """

    def __init__(self, input_hz: float, outputs: Sequence[Output]) -> None:
        between = between_hz(input_hz, outputs)
        self.plls = ([Ecp5Pll(input_hz, outputs)] if between is None else
                     [Ecp5Pll(input_hz, [Output("between", between)]), Ecp5Pll(between, outputs)])
        super().__init__({"clk": In(1), "reset": In(1), "o": Out(len(outputs)), "locked": Out(1)})

    def elaborate(self, platform):
        m = Module()
        clk, reset = self.clk, self.reset
        for number, pll in enumerate(self.plls):
            m.submodules[f"pll{number}"] = pll
            m.d.comb += [pll.clk.eq(clk), pll.reset.eq(reset)]
            clk, reset = pll.o[0], ~pll.locked
        m.d.comb += [self.o.eq(self.plls[-1].o), self.locked.eq(self.plls[-1].locked)]
        return m
