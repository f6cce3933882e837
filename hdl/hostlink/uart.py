"""A UART: bytes of eight bits without parity and with one stop bit, at any rate well below the clock's."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from ..config import ConfigError
from .layouts import DEFAULT_BAUD

__all__ = ["UartReceiver", "UartTransmitter", "baud_step"]

#: Bits of the phase in a bit time; its step is off by at most half a unit, 0.005 % of 3 Mb/s at 125 MHz.
_PHASE_BITS = 18
#: Clocks that a bit must have at least, so that a sample is near enough to its middle.
_LEAST_CLOCKS = 8
_DATA_BITS = 8


def baud_step(clock_hz: float, baud: int) -> int:
    """What the phase, of ``2**18`` to a bit time, moves on in a clock.

    Raises
    ------
    ConfigError
        If a bit has too few clocks, or so many that the rate is off by more than 1 %.
    """
    step = round((1 << _PHASE_BITS) * baud / clock_hz)
    if clock_hz < _LEAST_CLOCKS * baud:
        raise ConfigError(f"a UART at {baud} b/s needs a clock of at least {_LEAST_CLOCKS * baud / 1e6:g} MHz, not "
                          f"{clock_hz / 1e6:g}: choose a lower rate in the board file")
    if step < 50:
        raise ConfigError(f"a UART at {baud} b/s can't be made from {clock_hz / 1e6:g} MHz to within 1 %: choose a "
                          "higher rate in the board file")
    return step


class UartReceiver(wiring.Component):
    """Bytes from a line, sampled in the middle of each bit.

    The level of a bit is what two of three successive clocks saw. A byte whose stop bit is low is given as broken, and
    the line must be high before the next one.

    Parameters
    ----------
    clock_hz : float
        Of ``sync``.
    baud : int
        Bits a second. A sender may be off by 2 %.

    Attributes
    ----------
    rxd : Signal, in
        The line, asynchronous; high while nothing is sent.
    data : Signal(8), out
        A byte, while ``strobe``.
    strobe : Signal, out
        High for a cycle for each byte, in the middle of its stop bit.
    broken : Signal, out
        With ``strobe``: there was no stop bit.

    Raises
    ------
    ConfigError
        If the clock does not suit the rate.
    """

    def __init__(self, clock_hz: float, baud: int = DEFAULT_BAUD) -> None:
        self._step = baud_step(clock_hz, baud)
        super().__init__({"rxd": In(1, init=1), "data": Out(8), "strobe": Out(1), "broken": Out(1)})

    def elaborate(self, platform):
        m = Module()
        line = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rxd, line, init=1)
        before = Signal(2, init=3)
        level = Signal(init=1)
        phase = Signal(_PHASE_BITS)
        left = Signal(range(_DATA_BITS + 2))        # samples to come: start bit, data, stop bit
        following = Signal(_PHASE_BITS + 1)
        m.d.comb += following.eq(phase + self._step)
        m.d.sync += [
            before.eq(Cat(line, before[0])),
            level.eq((line & before[0]) | (line & before[1]) | (before[0] & before[1])),
            self.strobe.eq(0),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [left.eq(_DATA_BITS + 1), phase.eq(1 << _PHASE_BITS - 1)]
                with m.If(~level):
                    m.next = "BITS"
            with m.State("BITS"):
                m.d.sync += phase.eq(following)
                with m.If(following[_PHASE_BITS]):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 0):
                        m.d.sync += [self.strobe.eq(1), self.broken.eq(~level)]
                        m.next = "STOP"
                    with m.Elif((left == _DATA_BITS + 1) & level):
                        m.next = "IDLE"             # too short for a start bit
                    with m.Else():
                        m.d.sync += self.data.eq(Cat(self.data[1:], level))
            with m.State("STOP"), m.If(level):
                m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Bytes to a line, one right after the other if they are there in time.

    Parameters
    ----------
    clock_hz : float
        Of ``sync``.
    baud : int
        Bits a second, on average; an edge is up to a clock late.

    Attributes
    ----------
    i : stream of 8 bits
        Bytes.
    txd : Signal, out
        The line.

    Raises
    ------
    ConfigError
        If the clock does not suit the rate.
    """

    def __init__(self, clock_hz: float, baud: int = DEFAULT_BAUD) -> None:
        self._step = baud_step(clock_hz, baud)
        super().__init__({"i": In(stream.Signature(8)), "txd": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        phase = Signal(_PHASE_BITS)
        following = Signal(_PHASE_BITS + 1)
        bits = Signal(_DATA_BITS + 1, init=-1)      # what is to be sent after this bit
        left = Signal(range(_DATA_BITS + 3))        # bits under way: start bit, data, stop bit
        m.d.comb += [
            following.eq(Mux(left == 0, 0, phase) + self._step),
            self.i.ready.eq((left == 0) | ((left == 1) & following[_PHASE_BITS])),
        ]
        m.d.sync += phase.eq(following)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [bits.eq(Cat(self.i.payload, 1)), self.txd.eq(0), left.eq(_DATA_BITS + 2)]
        with m.Elif(following[_PHASE_BITS] & (left != 0)):
            m.d.sync += [self.txd.eq(bits[0]), bits.eq(Cat(bits[1:], 1)), left.eq(left - 1)]
        return m
