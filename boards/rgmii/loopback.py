"""Loop-back of a MAC: it hears what it sends, as if a neighbour had sent it."""

from amaranth.hdl import Const, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.fifo import AsyncFIFO
from amaranth.lib.wiring import In, Out
from polyrouter.hdl.mac.gmii import GmiiSignature

__all__ = ["GmiiLoopback"]

_BYTE = data.StructLayout({"data": 8, "error": 1, "valid": 1})
#: Byte times that a frame waits before its first byte goes on. The clocks are at most 200 ppm apart (IEEE 802.3,
#: 35.5.2.3), so that the longest frame gains or loses two bytes; the levels cross with up to two more.
_AHEAD = 5
_DEPTH = 16


class GmiiLoopback(wiring.Component):
    """Between a MAC and its line: lets the MAC hear the line, or itself.

    What the MAC sends goes to the line in any case. Its own frames cross from ``tx`` to ``rx`` through an elastic
    buffer, which is filled and emptied at each side's pace, and empty between frames; so RXC must be there, and as fast
    as ``speed`` says. If it is not, frames are damaged, and their FCS tells. A frame that is under way when the switch
    is turned is cut, likewise. A frame comes back 5 byte times later, and some cycles for the crossing.

    Parameters
    ----------
    clock_enables : bool
        The MAC has them.

    Attributes
    ----------
    mac : GmiiSignature
        To the MAC.
    line : GmiiSignature
        To the adapter.
    rx_clk_enable, tx_clk_enable : Signal, in
        Only with ``clock_enables``: those of the MAC.
    enable : Signal, in
        The MAC hears itself. In any domain, from a register.
    """

    def __init__(self, *, clock_enables: bool = False):
        self._clock_enables = clock_enables
        super().__init__({
            "mac": In(GmiiSignature), "line": Out(GmiiSignature), "enable": In(1),
            **({"rx_clk_enable": In(1), "tx_clk_enable": In(1)} if clock_enables else {}),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = AsyncFIFO(width=_BYTE.size, depth=_DEPTH, w_domain="tx", r_domain="rx")
        rx_step = self.rx_clk_enable if self._clock_enables else Const(1)
        tx_step = self.tx_clk_enable if self._clock_enables else Const(1)
        tx_enable, rx_enable = Signal(), Signal()
        m.submodules.to_tx = FFSynchronizer(self.enable, tx_enable, o_domain="tx")
        m.submodules.to_rx = FFSynchronizer(self.enable, rx_enable, o_domain="rx")

        # Whole frames, and a byte behind each that tells its end.
        sent = Signal(_BYTE)
        before, keeps, takes = Signal(), Signal(), Signal()
        m.d.comb += [
            sent.data.eq(self.mac.txd), sent.error.eq(self.mac.tx_er), sent.valid.eq(self.mac.tx_en),
            takes.eq(keeps | (tx_enable & self.mac.tx_en & ~before)),
            fifo.w_data.eq(sent), fifo.w_en.eq(takes & tx_step),
            self.line.txd.eq(self.mac.txd), self.line.tx_en.eq(self.mac.tx_en), self.line.tx_er.eq(self.mac.tx_er),
        ]
        with m.If(tx_step):
            m.d.tx += [before.eq(self.mac.tx_en), keeps.eq(takes & self.mac.tx_en)]

        looped, head = Signal(_BYTE), Signal(_BYTE)
        waited = Signal(range(_AHEAD))
        running = Signal()
        m.d.comb += [head.eq(fifo.r_data), fifo.r_en.eq(running & rx_step)]
        with m.If(rx_step):
            m.d.rx += looped.eq(0)
            with m.If(running):
                m.d.rx += looped.eq(head)
                with m.If(~fifo.r_rdy):
                    m.d.rx += [looped.valid.eq(1), looped.error.eq(1)]
                with m.Elif(~head.valid):
                    m.d.rx += [running.eq(0), waited.eq(0)]
            with m.Elif(fifo.r_rdy):
                m.d.rx += [waited.eq(waited + 1), running.eq(waited == _AHEAD - 1)]
        m.d.comb += [
            self.mac.rxd.eq(self.line.rxd), self.mac.rx_dv.eq(self.line.rx_dv), self.mac.rx_er.eq(self.line.rx_er)]
        with m.If(rx_enable):
            m.d.comb += [
                self.mac.rxd.eq(looped.data), self.mac.rx_dv.eq(looped.valid), self.mac.rx_er.eq(looped.error)]
        return m
