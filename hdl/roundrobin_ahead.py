"""Round-robin choice among requesters, a cycle ahead."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RoundRobinAhead"]


class RoundRobinAhead(wiring.Component):
    """Picks the requester that comes first after the one served last, in a register.

    Latency 1 cycle. For where what follows the choice takes long. Until the choice is used it is made anew every cycle,
    so that nobody waits for an old one. In the cycle in which one is served, the next choice still counts from the one
    before; so a requester that keeps asking is served within twice ``count`` turns.

    Parameters
    ----------
    count : int
        Requesters.

    Attributes
    ----------
    requests : Signal(count), in
        One bit each; it holds until it is served.
    serve : Signal, in
        The requester that is ``chosen`` is served. It may ask again in the next cycle.
    choice : Signal(count), out
        What ``chosen`` will be in the next cycle: for what is to be in a register together with it.
    chosen : Signal(count), out
        One bit at most.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        super().__init__({"requests": In(count), "serve": In(1), "choice": Out(count), "chosen": Out(count)})

    def elaborate(self, platform):
        m = Module()
        asking = Signal(self._count)
        behind = Signal(self._count)        # the one served last
        first = Signal(self._count)
        m.d.comb += [
            asking.eq(self.requests & ~Mux(self.serve, self.chosen, 0)),
            first.eq(Mux((asking & behind).any(), asking & behind, asking)),
            self.choice.eq(Cat(first[k] & ~first[:k].any() for k in range(self._count))),
        ]
        m.d.sync += self.chosen.eq(self.choice)
        with m.If(self.serve):
            m.d.sync += behind.eq(~(self.chosen | (self.chosen - 1)))
        return m
