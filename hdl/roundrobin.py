"""Round-robin choice among requesters."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RoundRobin"]


class RoundRobin(wiring.Component):
    """Picks the requester that comes first after the one picked last.

    The choice is combinational (latency 0). A requester that keeps asking is picked within ``count`` picks.

    Parameters
    ----------
    count : int
        Requesters.

    Attributes
    ----------
    requests : Signal(count), in
        One bit each.
    advance : Signal, in
        The choice of this cycle is used: the next one starts behind it.
    valid : Signal, out
        There is a request.
    grant : Signal(range(count)), out
        Number of the requester; holds while neither ``requests`` nor the requester picked last changes.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        super().__init__({
            "requests": In(count),
            "advance": In(1),
            "valid": Out(1),
            "grant": Out(range(max(2, count))),
        })

    def elaborate(self, platform):
        m = Module()
        picked = Signal(range(max(2, self._count)))
        m.d.comb += [self.valid.eq(self.requests.any()), self.grant.eq(picked)]
        with m.Switch(picked):
            for k in range(self._count):
                with m.Case(k):
                    for distance in reversed(range(1, self._count + 1)):
                        candidate = (k + distance) % self._count
                        with m.If(self.requests[candidate]):
                            m.d.comb += self.grant.eq(candidate)
        with m.If(self.advance & self.valid):
            m.d.sync += picked.eq(self.grant)
        return m
