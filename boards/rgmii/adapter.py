"""GMII on one side, an RGMII's double data rate boundary on the other."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from polyrouter.hdl.mac.gmii import GmiiSignature

from .ddr import RgmiiDdrSignature
from .receiver import RgmiiReceiver
from .status import InBandStatus, Speed
from .steady import SteadySynchronizer
from .transmitter import RgmiiTransmitter

__all__ = ["RgmiiAdapter"]


class RgmiiAdapter(wiring.Component):
    """Reduces a GMII to an RGMII, 1.3 or 2.0 (the two differ in who delays the clocks, which is not done here).

    The domains ``rx`` (clock: RXC) and ``tx`` (125 MHz) are for the caller to rename to those of the port's MAC. Full
    duplex only. See :class:`RgmiiReceiver` and :class:`RgmiiTransmitter` for what happens in each half.

    Parameters
    ----------
    slow_speeds : bool
        There are 10 and 100 Mb/s, too. The MAC then needs ``clock_enables``.

    Attributes
    ----------
    gmii : GmiiSignature
        To the MAC.
    rx_clk_enable, tx_clk_enable : Signal, out
        Only with ``slow_speeds``: to the MAC; high in the cycles of ``rx`` and of ``tx`` that count for it.
    ddr : RgmiiDdrSignature
        To the cells at the pins.
    speed : Signal, in
        Only with ``slow_speeds``: :class:`Speed` of the link, in any domain, from a register. It may change at any
        time, and counts from the end of the frame on that is under way in each direction. ``RESERVED`` is ignored.
    status : InBandStatus, out
        In the domain ``sync``: what the PHY says between frames, seen in eight such cycles of RXC in a row. All zeros
        if the PHY does not say anything. If RXC stops, the last one stays.
    """

    def __init__(self, *, slow_speeds: bool = False):
        self._slow_speeds = slow_speeds
        super().__init__({
            "gmii": In(GmiiSignature), "ddr": Out(RgmiiDdrSignature), "status": Out(InBandStatus),
            **({"rx_clk_enable": Out(1), "tx_clk_enable": Out(1), "speed": In(Speed, init=Speed.GIGABIT)}
               if slow_speeds else {}),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.rx = rx = RgmiiReceiver(slow_speeds=self._slow_speeds)
        m.submodules.tx = tx = RgmiiTransmitter(slow_speeds=self._slow_speeds)
        m.submodules.status = status = SteadySynchronizer(InBandStatus.size, domain="sync")
        m.d.comb += [
            rx.i.rxd.eq(self.ddr.rxd), rx.i.rx_ctl.eq(self.ddr.rx_ctl),
            self.gmii.rxd.eq(rx.rxd), self.gmii.rx_dv.eq(rx.rx_dv), self.gmii.rx_er.eq(rx.rx_er),
            tx.txd.eq(self.gmii.txd), tx.tx_en.eq(self.gmii.tx_en), tx.tx_er.eq(self.gmii.tx_er),
            self.ddr.txd.eq(tx.o.txd), self.ddr.tx_ctl.eq(tx.o.tx_ctl), self.ddr.txc.eq(tx.o.txc),
            status.i.eq(rx.status), self.status.eq(status.o),
        ]
        if self._slow_speeds:
            for domain, half in (("rx", rx), ("tx", tx)):
                m.submodules[f"{domain}_speed"] = speed = SteadySynchronizer(
                    len(self.speed), domain=domain, init=Speed.GIGABIT)
                m.d.comb += [speed.i.eq(self.speed), half.speed.eq(speed.o)]
            m.d.comb += [self.rx_clk_enable.eq(rx.rx_clk_enable), self.tx_clk_enable.eq(tx.tx_clk_enable)]
        return m
