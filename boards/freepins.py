"""An RGMII's double data rate boundary at pins that are anywhere, for figures of an FPGA without a board."""

from amaranth.hdl import Module, Signal
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In, Out

from .rgmii.ddr import RgmiiDdrSignature

__all__ = ["FREE_PINS", "FreeRgmiiPins"]

#: Pins of each boundary: name, width, direction.
FREE_PINS = (("rx_clk", 1, "i"), ("rx", 10, "i"), ("tx", 12, "o"))


class FreeRgmiiPins(wiring.Component):
    """Registers where the DDR cells would be, and two pins for each of the RGMII's: cells need pins that are known.

    The domains ``rx`` and ``tx`` are for the caller to rename. Latency: 1 cycle each.

    Parameters
    ----------
    pins : object
        With the ports of :data:`FREE_PINS`.

    Attributes
    ----------
    ddr : RgmiiDdrSignature
        From the logic.
    rx_clk : Signal, out
        RXC.
    """

    def __init__(self, pins) -> None:
        self._pins = pins
        super().__init__({"ddr": In(RgmiiDdrSignature), "rx_clk": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.clk = clk = io.Buffer("i", self._pins.rx_clk)
        m.submodules.rx = rx = io.Buffer("i", self._pins.rx)
        m.submodules.tx = tx = io.Buffer("o", self._pins.tx)
        received = Signal(len(rx.i))
        sent = Signal(len(tx.o))
        ddr = self.ddr
        m.d.comb += [self.rx_clk.eq(clk.i), tx.o.eq(sent)]
        m.d.rx += received.eq(rx.i)
        m.d.comb += [ddr.rxd.as_value().eq(received[:8]), ddr.rx_ctl.as_value().eq(received[8:])]
        m.d.tx += [sent[:8].eq(ddr.txd), sent[8:10].eq(ddr.tx_ctl), sent[10:].eq(ddr.txc)]
        return m
