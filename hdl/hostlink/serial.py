"""The host link of a board by a UART."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..config import CoreConfig
from ..slice import RegisterSlice
from ..stream import FrameSignature
from .counters import LinkCounters
from .layouts import DEFAULT_BAUD, SlipEvent
from .slip import SlipReceiver, SlipTransmitter
from .uart import UartReceiver, UartTransmitter

__all__ = ["UartLink"]


class UartLink(wiring.Component):
    """Carries host frames as they are; who has the cable has the board (``docs/boards.md``, "Host link").

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core; ``clock_hz`` is that of ``sync``.
    baud : int
        Bits a second.

    Attributes
    ----------
    rxd, txd : Signal, in and out
        The lines; ``rxd`` is asynchronous.
    host_rx, host_tx : FrameSignature
        The host port of the core.
    counter, count : Signal, in and out
        Which :class:`.layouts.SlipEvent` to show, and how often it happened, in the next cycle.

    Raises
    ------
    ConfigError
        If the clock does not suit the rate.
    """

    def __init__(self, config: CoreConfig, baud: int = DEFAULT_BAUD) -> None:
        self.config = config
        self._receiver = UartReceiver(config.clock_hz, baud)
        self._transmitter = UartTransmitter(config.clock_hz, baud)
        self._deframer = SlipReceiver(config)
        self._enframer = SlipTransmitter(config)
        super().__init__({
            "rxd": In(1, init=1), "txd": Out(1, init=1),
            "host_rx": Out(FrameSignature(config)), "host_tx": In(FrameSignature(config)),
            "counter": In(range(len(SlipEvent))), "count": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = self._receiver
        m.submodules.transmitter = transmitter = self._transmitter
        m.submodules.deframer = deframer = self._deframer
        m.submodules.enframer = enframer = self._enframer
        m.submodules.counters = counters = LinkCounters(len(SlipEvent))
        connect(m, flipped(self.host_tx), enframer.i)
        # The transmitter's ``ready`` is the carry of its phase; from here on it would go as far as the core's queues.
        m.submodules.byte = byte = RegisterSlice(8, cuts_ready=True)
        connect(m, enframer.o, byte.i)
        connect(m, byte.o, transmitter.i)
        connect(m, deframer.o, flipped(self.host_rx))
        m.d.comb += [
            receiver.rxd.eq(self.rxd), self.txd.eq(transmitter.txd),
            deframer.data.eq(receiver.data), deframer.strobe.eq(receiver.strobe), deframer.broken.eq(receiver.broken),
            counters.events.eq(deframer.events),
            counters.row.eq(self.counter), self.count.eq(counters.value),
        ]
        return m
