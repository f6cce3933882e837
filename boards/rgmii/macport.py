"""A port of a board: from the core's frames to the double data rate boundary of an RGMII."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.mac.mac import GmiiMac
from polyrouter.hdl.mdio import INBAND_STATUS
from polyrouter.hdl.stream import FrameSignature

from .adapter import RgmiiAdapter
from .ddr import RgmiiDdrSignature
from .loopback import GmiiLoopback
from .status import Speed

__all__ = ["RgmiiMacPort"]


class RgmiiMacPort(wiring.Component):
    """MAC, loop-back and RGMII adapter. The domains ``rx`` (RXC) and ``tx`` (125 MHz) are for the caller to rename.

    Parameters
    ----------
    config : CoreConfig
        Gives the width of a beat, and how fast the core is.
    max_frame : int
        Longest frame with FCS.
    slow_speeds : bool
        There are 10 and 100 Mb/s, too.
    has_loopback : bool
        The MAC can be made to hear what it sends.

    Attributes
    ----------
    ddr : RgmiiDdrSignature
        To the cells at the pins.
    rx, tx : FrameSignature
        Frames received and to send, in ``sync``.
    underflow : Signal, out
        High for a cycle of ``sync`` for each frame that was aborted because a beat came too late.
    speed : Signal, in
        :class:`.status.Speed` of the link, in any domain, from a register. Without ``slow_speeds`` it is ignored.
    loopback : Signal, in
        Only with ``has_loopback``: the MAC hears what it sends; from a register.
    inband : INBAND_STATUS, out
        In ``sync``. ``valid`` is low while all of it is zero, as it is of a PHY that sends none.
    activity : Signal, out
        High for a cycle of ``sync`` for each frame, received or sent.
    """

    def __init__(self, config: CoreConfig, max_frame: int, *, slow_speeds: bool, has_loopback: bool = True):
        self._config = config
        self._max_frame = max_frame
        self._slow_speeds = slow_speeds
        self._has_loopback = has_loopback
        super().__init__({
            "ddr": Out(RgmiiDdrSignature), "rx": Out(FrameSignature(config)), "tx": In(FrameSignature(config)),
            "underflow": Out(1), "speed": In(Speed, init=Speed.GIGABIT),
            **({"loopback": In(1)} if has_loopback else {}),
            "inband": Out(INBAND_STATUS), "activity": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        slow = self._slow_speeds
        m.submodules.mac = mac = GmiiMac(self._config, self._max_frame, clock_enables=slow)
        parts: list[GmiiMac | GmiiLoopback] = [mac]
        if self._has_loopback:
            m.submodules.loopback = loopback = GmiiLoopback(clock_enables=slow)
            parts.append(loopback)
        m.submodules.adapter = adapter = RgmiiAdapter(slow_speeds=slow)
        if self._has_loopback:
            connect(m, mac.gmii, loopback.mac)
            connect(m, loopback.line, adapter.gmii)
        else:
            connect(m, mac.gmii, adapter.gmii)
        connect(m, adapter.ddr, flipped(self.ddr))
        connect(m, mac.rx, flipped(self.rx))
        connect(m, flipped(self.tx), mac.tx)
        if slow:
            for part in parts:
                m.d.comb += [
                    part.rx_clk_enable.eq(adapter.rx_clk_enable), part.tx_clk_enable.eq(adapter.tx_clk_enable)]
            m.d.comb += adapter.speed.eq(self.speed)
        status = adapter.status
        if self._has_loopback:
            m.d.comb += loopback.enable.eq(self.loopback)
        m.d.comb += [
            self.underflow.eq(mac.underflow),
            self.inband.valid.eq(status.as_value().any()),
            self.inband.link.eq(status.link), self.inband.speed.eq(status.speed),
            self.inband.full_duplex.eq(status.full_duplex),
            self.activity.eq((self.rx.valid & self.rx.ready & self.rx.payload.last)
                             | (self.tx.valid & self.tx.ready & self.tx.payload.last)),
        ]
        return m
