"""Keeps a core from going on with what its memories had before a reset."""

from amaranth.hdl import Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ResetGuard"]


class ResetGuard(wiring.Component):
    """Makes the reset of a core out of that of ``sync``.

    Memories are zero when the FPGA is configured, and no reset clears them: not the tables, by which routers would go
    on forwarding, and not the queues, whose state would not fit that of the registers any more. So a reset after the
    core was used is for good: ``reset`` stays high until the FPGA is configured anew. Before it was used, as while a
    PLL still hunts for its lock, it may be reset at will.

    Attributes
    ----------
    used : Signal, in
        High when a memory may not be zero any more.
    wait : Signal, in
        The core is not to begin yet. It may rise only with a reset of ``sync``.
    reset : Signal, out
        At once with that of ``sync``.
    stale : Signal, out
        There was a reset after the core was used.
    """

    def __init__(self) -> None:
        super().__init__({"used": In(1), "wait": In(1), "reset": Out(1), "stale": Out(1)})

    def elaborate(self, platform):
        m = Module()
        was_used = Signal(reset_less=True)
        stale = Signal(reset_less=True)
        waits = Signal(init=1)
        asserted = ResetSignal("sync", allow_reset_less=True)
        m.d.sync += [waits.eq(self.wait), was_used.eq(was_used | self.used), stale.eq(stale | asserted & was_used)]
        m.d.comb += [self.stale.eq(stale), self.reset.eq(asserted | waits | stale)]
        return m
