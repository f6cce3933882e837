"""MDIO master: reads and writes registers of PHYs by management frames of IEEE 802.3 clause 22."""

from math import ceil

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out
from polyrouter.hdl.config import ConfigError
from polyrouter.hdl.mdio import MDIO_COMMAND, MDIO_RESPONSE

__all__ = ["MDC_HZ", "MdioMaster", "MdioSignature", "half_period"]

#: 22.2.2.11: the fastest MDC that every PHY must bear.
MDC_HZ = 2.5e6
#: 22.3.4: the longest time from a rising MDC until the PHY has put its bit on MDIO, in seconds.
_PHY_DELAY = 300e-9
#: Cycles from MDIO to what is sampled, at most: the synchronizer, and where in a cycle MDIO changed.
_SYNC_CYCLES = 3
_PREAMBLE_BITS = 32
_FRAME_BITS = 32
#: First bit of the turnaround, and the one that the PHY drives low.
_TURNAROUND = _PREAMBLE_BITS + 14
_TURNAROUND_LOW = _TURNAROUND + 1
#: A frame is followed by a bit in which nobody drives MDIO: the PHY lets go of it after its last bit.
_BITS = _PREAMBLE_BITS + _FRAME_BITS + 1

#: MDC, and MDIO as the pad has it. MDIO has a pull-up: what nobody drives reads as one.
MdioSignature = wiring.Signature({"mdc": Out(1), "o": Out(1), "oe": Out(1), "i": In(1, init=1)})


def half_period(clock_hz: float, mdc_hz: float = MDC_HZ) -> int:
    """Cycles for which MDC is low, and high: what ``mdc_hz`` asks for, more if the PHY's bit came too late else."""
    return max(ceil(clock_hz / (2 * mdc_hz)), ceil((_PHY_DELAY * clock_hz + _SYNC_CYCLES) / 2))


class MdioMaster(wiring.Component):
    """Sends one frame for each command: 32 ones, then the 32 bits of 22.2.4.5, then one idle bit.

    MDIO changes with the falling MDC, half a period before and after the edge that the PHY samples it with (22.3.4: at
    least 10 ns each), and is sampled with the rising one. MDC stands still between frames. A frame takes 130 half
    periods of MDC, 26 us at 2.5 MHz.

    Parameters
    ----------
    clock_hz : float
        Clock of ``sync``, in Hz.
    mdc_hz : float
        Highest frequency of MDC, in Hz. 2.5 MHz suits every PHY.

    Attributes
    ----------
    i : stream of MDIO_COMMAND
        The next one is accepted when the response to the one before was.
    o : stream of MDIO_RESPONSE
        One for each command.
    bus : MdioSignature
        To the pads.

    Raises
    ------
    ConfigError
        If a frequency is not positive.
    """

    def __init__(self, clock_hz: float, mdc_hz: float = MDC_HZ) -> None:
        for name, value in ("clock_hz", clock_hz), ("mdc_hz", mdc_hz):
            if not value > 0:
                raise ConfigError(f"{name} must be positive, not {value!r}")
        self._half = half_period(clock_hz, mdc_hz)
        super().__init__({
            "i": In(stream.Signature(MDIO_COMMAND)),
            "o": Out(stream.Signature(MDIO_RESPONSE)),
            "bus": Out(MdioSignature),
        })

    def elaborate(self, platform):
        m = Module()
        mdio = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.bus.i, mdio, init=1)

        command = self.i.payload
        frame = Signal(_FRAME_BITS)         # what is left to send; on the right, what was received
        write = Signal()
        bit = Signal(range(_BITS))
        timer = Signal(range(self._half))
        end = Signal()                      # of a half period
        in_frame = Signal()
        m.d.comb += [
            end.eq(timer == self._half - 1),
            in_frame.eq((bit >= _PREAMBLE_BITS) & (bit < _PREAMBLE_BITS + _FRAME_BITS)),
            self.o.payload.data.eq(frame),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [self.bus.o.eq(1), self.bus.oe.eq(0), bit.eq(0), timer.eq(0)]
                with m.If(self.i.valid):
                    m.d.sync += [
                        write.eq(command.write),
                        # Most significant bit first: 01, operation, addresses, 10, data.
                        frame.eq(Cat(command.data, Const(0b10, 2), command.register, command.phy,
                                     Mux(command.write, Const(0b01, 2), Const(0b10, 2)), Const(0b01, 2))),
                        self.bus.oe.eq(1),
                    ]
                    m.next = "LOW"
            with m.State("LOW"):
                m.d.sync += timer.eq(timer + 1)
                with m.If(end):
                    m.d.sync += [timer.eq(0), self.bus.mdc.eq(1)]
                    with m.If(in_frame):
                        m.d.sync += frame.eq(Cat(mdio, frame))
                    with m.If(bit == _TURNAROUND_LOW):
                        m.d.sync += self.o.payload.ok.eq(write | ~mdio)
                    m.next = "HIGH"
            with m.State("HIGH"):
                m.d.sync += timer.eq(timer + 1)
                with m.If(end):
                    m.d.sync += [
                        timer.eq(0), self.bus.mdc.eq(0), bit.eq(bit + 1),
                        self.bus.o.eq(Mux(bit >= _PREAMBLE_BITS - 1, frame[-1], 1)),
                    ]
                    m.next = "LOW"
                    # What follows is not the station's.
                    with m.If(((bit == _TURNAROUND - 1) & ~write) | (bit == _BITS - 2)):
                        m.d.sync += self.bus.oe.eq(0)
                    with m.If(bit == _BITS - 1):
                        m.next = "RESPOND"
            with m.State("RESPOND"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "IDLE"
        return m
