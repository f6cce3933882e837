"""Receive half of an RGMII: two values a cycle to GMII."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from polyrouter.hdl.mac.gmii import PREAMBLE, SFD

from .ddr import RgmiiRxDdrSignature
from .status import InBandStatus, Speed

__all__ = ["RgmiiReceiver"]

#: Equal samples before an in-band status counts.
STATUS_SAMPLES = 8


class RgmiiReceiver(wiring.Component):
    """Makes GMII of what the receive pins deliver (RGMII 1.3 and 2.0, sections 3.2 to 3.4), in the domain ``rx``.

    At 1000 Mb/s a cycle of RXC is a byte. At 10 and 100 Mb/s it is a nibble, the low one first; the nibbles before the
    start frame delimiter may be odd in number, those after it are paired up from there. A byte counts as one of a frame
    if both its nibbles do, so an odd nibble at the end is left out (IEEE 802.3 clause 4.2.4.2.2), and a gap of one
    nibble is still one.

    A new speed is taken over between frames, where RX_CTL is low at both edges, and ends what GMII had of a frame.

    Latency: none without ``slow_speeds``, else a cycle.

    Parameters
    ----------
    slow_speeds : bool
        There are 10 and 100 Mb/s, too.

    Attributes
    ----------
    i : RgmiiRxDdrSignature
        From the pins.
    rxd, rx_dv, rx_er : Signal, out
        GMII.
    rx_clk_enable : Signal, out
        Only with ``slow_speeds``: high in a cycle with a new byte on GMII, also between frames. From a register.
    speed : Signal, in
        Only with ``slow_speeds``: :class:`Speed`. ``RESERVED`` leaves it as it was.
    status : InBandStatus, out
        What RXD said between frames, eight times in a row. After reset: no link.
    """

    def __init__(self, *, slow_speeds: bool = False):
        self._slow_speeds = slow_speeds
        super().__init__({
            "i": Out(RgmiiRxDdrSignature), "rxd": Out(8), "rx_dv": Out(1), "rx_er": Out(1), "status": Out(InBandStatus),
            **({"rx_clk_enable": Out(1, init=1), "speed": In(Speed, init=Speed.GIGABIT)} if slow_speeds else {}),
        })

    def elaborate(self, platform):
        m = Module()
        valid, error, idle = Signal(), Signal(), Signal()
        m.d.comb += [
            valid.eq(self.i.rx_ctl[0]),
            error.eq(self.i.rx_ctl[0] ^ self.i.rx_ctl[1]),
            idle.eq(~self.i.rx_ctl[0] & ~self.i.rx_ctl[1]),
        ]
        self._take_status(m, idle)
        if self._slow_speeds:
            self._all_speeds(m, valid, error, idle)
        else:
            m.d.comb += [
                self.rxd.eq(self.i.rxd.as_value()), self.rx_dv.eq(valid), self.rx_er.eq(error)]
        return m

    def _take_status(self, m: Module, idle: Signal) -> None:
        seen = Signal(InBandStatus)
        equal = Signal(range(STATUS_SAMPLES))
        with m.If(idle):
            m.d.rx += seen.eq(self.i.rxd[0])
            with m.If(self.i.rxd[0] != seen.as_value()):
                m.d.rx += equal.eq(0)
            with m.Elif(equal != STATUS_SAMPLES - 2):
                m.d.rx += equal.eq(equal + 1)
            with m.Else():
                m.d.rx += self.status.eq(seen)

    def _all_speeds(self, m: Module, valid: Signal, error: Signal, idle: Signal) -> None:
        speed = Signal(Speed, init=Speed.GIGABIT)
        nibble = self.i.rxd[0]
        low, low_valid, low_error = Signal(4), Signal(), Signal()
        is_high = Signal()      # this nibble is the second one of its byte
        may_be_sfd = Signal()   # the nibble before was the first half of a start frame delimiter
        aligned = Signal()      # there was one in this frame
        is_sfd, complete = Signal(), Signal()
        m.d.comb += [
            is_sfd.eq(may_be_sfd & valid & (nibble == SFD >> 4)),
            complete.eq(is_high | is_sfd),
        ]
        with m.If(speed == Speed.GIGABIT):
            m.d.rx += [
                self.rxd.eq(self.i.rxd.as_value()), self.rx_dv.eq(valid), self.rx_er.eq(error),
                self.rx_clk_enable.eq(1),
            ]
        with m.Else():
            m.d.rx += [
                low.eq(nibble), low_valid.eq(valid), low_error.eq(error),
                is_high.eq(~complete),
                may_be_sfd.eq(valid & (nibble == PREAMBLE & 0xf) & ~aligned),
                aligned.eq(valid & (aligned | is_sfd)),
                self.rx_clk_enable.eq(complete),
            ]
            with m.If(complete):
                m.d.rx += [
                    self.rxd.eq(Cat(low, nibble)), self.rx_dv.eq(valid & low_valid), self.rx_er.eq(error | low_error)]

        with m.If(idle & (self.speed != speed) & (self.speed != Speed.RESERVED)):
            # A byte time without RX_DV, lest GMII's frame go on with bytes of the new speed
            m.d.rx += [
                speed.eq(self.speed), is_high.eq(0), may_be_sfd.eq(0), aligned.eq(0),
                self.rx_dv.eq(0), self.rx_clk_enable.eq(1),
            ]
