"""Link LEDs: on with the link, blinking with traffic, or as the host wants them."""

from math import ceil

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from polyrouter.hdl.config import ConfigError

__all__ = ["LinkLeds"]


class LinkLeds(wiring.Component):
    """An LED for each port: lit while there is a link, and dark for ``blink_ms`` at a time while there is activity.

    All ports blink in step, so one timer does for all. A pulse of activity darkens the LED at the next of its ticks,
    at most ``blink_ms`` later, for exactly ``blink_ms``; then it is lit for at least as long. Pulses in the meantime
    are one.

    Parameters
    ----------
    clock_hz : float
        Clock of ``sync``, in Hz.
    ports : int
    blink_ms : float
        In ms. 50 can be seen well, and lets ten blinks a second show.

    Attributes
    ----------
    link, activity : Signal, in
        A bit for each port: there is a link; high for a cycle for each frame, received or sent.
    override, value : Signal, in
        A bit for each port: the LED is the host's; what it shows then.
    leds : Signal, out
        A bit for each port, high for lit; one cycle after the inputs.

    Raises
    ------
    ConfigError
        If there is no port, or a blink is shorter than a cycle.
    """

    def __init__(self, clock_hz: float, ports: int, *, blink_ms: float = 50) -> None:
        if ports < 1:
            raise ConfigError(f"link LEDs are of at least one port, not {ports}")
        if not blink_ms * 1e-3 * clock_hz >= 1:
            raise ConfigError(f"a blink of {blink_ms} ms is shorter than a cycle of a clock of {clock_hz} Hz")
        self._blink_cycles = ceil(blink_ms * 1e-3 * clock_hz)
        super().__init__({
            "link": In(ports),
            "activity": In(ports),
            "override": In(ports),
            "value": In(ports),
            "leds": Out(ports),
        })

    def elaborate(self, platform):
        m = Module()
        timer = Signal(range(self._blink_cycles))
        waiting = Signal.like(self.activity)        # there was activity that was not shown yet
        dark = Signal.like(self.activity)
        m.d.sync += [
            timer.eq(timer + 1),
            waiting.eq(waiting | self.activity),
            # Each port has its own override.
            self.leds.eq(self.override & self.value | ~self.override & self.link & ~dark),
        ]
        with m.If(timer == self._blink_cycles - 1):
            m.d.sync += [timer.eq(0), dark.eq(waiting & ~dark), waiting.eq(waiting & dark | self.activity)]
        return m
