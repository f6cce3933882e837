"""A gigabit Ethernet MAC, full duplex, at a GMII."""

from amaranth.hdl import Module
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

    Attributes
    ----------
    gmii : GmiiSignature
        To the PHY.
    rx : stream of frame_layout, out
        Frames received, in the domain ``sync``; see :class:`GmiiReceiver`.
    tx : stream of frame_layout, in
        Frames to send, in the domain ``sync``; see :class:`GmiiTransmitter`.
    underflow : Signal, out
        High for a cycle of ``sync`` for each frame that was aborted because a beat came too late.
    """

    def __init__(self, config: CoreConfig, max_frame: int | None = None):
        self._config = config
        self._max_frame = max_frame
        super().__init__({
            "gmii": Out(GmiiSignature), "rx": Out(FrameSignature(config)), "tx": In(FrameSignature(config)),
            "underflow": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.rx = rx = GmiiReceiver(self._config, self._max_frame)
        m.submodules.tx = tx = GmiiTransmitter(self._config, self._max_frame)
        m.d.comb += [
            rx.rxd.eq(self.gmii.rxd), rx.rx_dv.eq(self.gmii.rx_dv), rx.rx_er.eq(self.gmii.rx_er),
            self.gmii.txd.eq(tx.txd), self.gmii.tx_en.eq(tx.tx_en), self.gmii.tx_er.eq(tx.tx_er),
            self.underflow.eq(tx.underflow),
        ]
        connect(m, rx.o, flipped(self.rx))
        connect(m, flipped(self.tx), tx.i)
        return m
