"""Clock crossing of a value of several bits that seldom changes."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["SteadySynchronizer"]


class SteadySynchronizer(wiring.Component):
    """Takes a value over once two samples in a row are the same.

    Its bits cross one by one. Those that change together arrive at most a cycle apart, so a mixture of old and new
    lasts one sample and never gets out. A change is on ``o`` after at most 5 cycles of ``domain``, if it lasts so long.
    Between any two changes there must be an edge of ``domain`` that is near neither of them: or two samples in a row
    may be the same mixture.

    Parameters
    ----------
    width : int
        Bits of the value.
    domain : str
        Where the value is needed.
    init : int
        Value after reset.

    Attributes
    ----------
    i : Signal, in
        In any domain, from a register.
    o : Signal, out
        In ``domain``.
    """

    def __init__(self, width: int, *, domain: str, init: int = 0):
        self._domain = domain
        self._init = init
        super().__init__({"i": In(width), "o": Out(width, init=init)})

    def elaborate(self, platform):
        m = Module()
        sample, before = Signal.like(self.o), Signal.like(self.o)
        m.submodules.bits = FFSynchronizer(self.i, sample, o_domain=self._domain, init=self._init)
        m.d[self._domain] += before.eq(sample)
        with m.If(sample == before):
            m.d[self._domain] += self.o.eq(sample)
        return m
