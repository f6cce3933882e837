"""Watchdog: notices that the host is gone."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .layouts import BOARD_WATCHDOG, WATCHDOG_UNIT

__all__ = ["Watchdog"]


class Watchdog(wiring.Component):
    """Counts core cycles since the last frame from the host.

    It is armed by the first frame after reset, so a board whose host was not there yet does not expire. Once it has,
    only ``rearm`` brings it back, not another frame: the tables may say what was right long ago, and whoever comes
    back has to look at them before they count again. A frame that was still on its way, or a host that only reads,
    must not do that.

    ``expired`` rises between ``timeout`` and ``timeout + 1`` units after the frame.

    Parameters
    ----------
    disables : bool
        The board's policy: no router is enabled while ``expired``. Else forwarding goes on as it was.
    unit : int
        Cycles that are one of ``timeout``, a power of two, at least 2.

    Attributes
    ----------
    frame : Signal, in
        High for a cycle for each frame from the host that was accepted.
    timeout : Signal, in
        In units; 0: off.
    rearm : Signal, in
        High for a cycle: start anew. It is the host who wants it, so it counts as a frame.
    armed, expired : Signal, out
    disable : Signal, out
        No router may be enabled.
    """

    def __init__(self, *, disables: bool, unit: int = WATCHDOG_UNIT) -> None:
        self._disables = disables
        self._unit = unit
        super().__init__({
            "frame": In(1),
            "timeout": In(BOARD_WATCHDOG["timeout"].shape),
            "rearm": In(1),
            "armed": Out(1),
            "expired": Out(1),
            "disable": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        prescaler = Signal(exact_log2(self._unit))
        units = Signal.like(self.timeout)
        m.d.sync += prescaler.eq(prescaler + 1)
        with m.If(self.armed & (self.timeout != 0) & ~self.expired & prescaler.all()):
            m.d.sync += units.eq(units + 1)
            # Not one before: the first unit is not a whole one.
            with m.If(units == self.timeout):
                m.d.sync += self.expired.eq(1)
        with m.If(self.frame & ~self.expired):
            m.d.sync += [self.armed.eq(1), units.eq(0), self.expired.eq(0)]
        with m.If(self.rearm):
            m.d.sync += [self.armed.eq(1), units.eq(0), self.expired.eq(0)]
        if self._disables:
            m.d.comb += self.disable.eq(self.expired)
        return m
