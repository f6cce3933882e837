"""A gigabit Ethernet MAC, full duplex, at a GMII."""

from amaranth.hdl import EnableInserter, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..config import CoreConfig
from ..stream import FrameSignature
from .gmii import GmiiSignature
from .rx import GmiiReceiver
from .tx import GmiiTransmitter

__all__ = ["GmiiMac"]


class GmiiMac(wiring.Component):
    """Both halves of a MAC (IEEE 802.3 clauses 4 and 35), without flow control.

    The clock domains ``rx`` and ``tx`` are for the caller to rename, with ``DomainRenamer``, to those of the port. They
    and ``sync`` must be reset together.

    Parameters
    ----------
    config : CoreConfig
        Gives the width of a beat, and how fast the core is.
    max_frame : int
        Longest frame with FCS; by default the one of ``config``.
    clock_enables : bool
        The halves may run slower than their clocks, for 10 and 100 Mb/s.

    Attributes
    ----------
    gmii : GmiiSignature
        To the PHY.
    rx_clk_enable, tx_clk_enable : Signal, in
        Only with ``clock_enables``: high in the cycles of ``rx`` and of ``tx`` that count; each is a byte time. Must be
        high during a reset, as the FIFOs need some cycles of each side then.
    rx : stream of frame_layout, out
        Frames received, in the domain ``sync``; see :class:`GmiiReceiver`.
    tx : stream of frame_layout, in
        Frames to send, in the domain ``sync``; see :class:`GmiiTransmitter`.
    underflow : Signal, out
        High for a cycle of ``sync`` for each frame that was aborted because a beat came too late.
    """

    def __init__(self, config: CoreConfig, max_frame: int | None = None, *, clock_enables: bool = False):
        self._config = config
        self._max_frame = max_frame
        self._clock_enables = clock_enables
        super().__init__({
            "gmii": Out(GmiiSignature), "rx": Out(FrameSignature(config)), "tx": In(FrameSignature(config)),
            "underflow": Out(1),
            **({"rx_clk_enable": In(1), "tx_clk_enable": In(1)} if clock_enables else {}),
        })

    def elaborate(self, platform):
        m = Module()
        rx = GmiiReceiver(self._config, self._max_frame)
        tx = GmiiTransmitter(self._config, self._max_frame)
        if self._clock_enables:
            # Of the FIFOs only the side of the line is slowed down: registers, and its port of the memory
            m.submodules.rx = EnableInserter({"rx": self.rx_clk_enable})(rx)
            m.submodules.tx = EnableInserter({"tx": self.tx_clk_enable})(tx)
        else:
            m.submodules.rx = rx
            m.submodules.tx = tx
        m.d.comb += [
            rx.rxd.eq(self.gmii.rxd), rx.rx_dv.eq(self.gmii.rx_dv), rx.rx_er.eq(self.gmii.rx_er),
            self.gmii.txd.eq(tx.txd), self.gmii.tx_en.eq(tx.tx_en), self.gmii.tx_er.eq(tx.tx_er),
            self.underflow.eq(tx.underflow),
        ]
        connect(m, rx.o, flipped(self.rx))
        connect(m, flipped(self.tx), tx.i)
        return m
