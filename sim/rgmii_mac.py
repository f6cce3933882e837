"""A MAC behind an RGMII's pins, for simulation: what stands for the double data rate cells of an FPGA."""

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, Mux, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In, Out, connect, flipped
from polyrouter.boards.rgmii.adapter import RgmiiAdapter
from polyrouter.boards.rgmii.ddr import RgmiiDdrSignature
from polyrouter.boards.rgmii.shifted_clock import ShiftedClockPair
from polyrouter.boards.rgmii.status import InBandStatus, Speed
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.mac.mac import GmiiMac
from polyrouter.hdl.stream import FrameSignature

__all__ = ["PINS", "RgmiiMac", "SimulatedRgmiiPins"]

#: Pins of an RGMII but for RXC.
PINS = {"rxd": In(4), "rx_ctl": In(1), "txd": Out(4), "tx_ctl": Out(1), "txc": Out(1)}


class SimulatedRgmiiPins(wiring.Component):
    """Puts an RGMII's double data rate boundary on pins, as an FPGA's cells would, with RTL.

    The receive cells take each pin at both edges of ``rx`` and give both values at the next rising one, as IDDRX1F and
    IDDR do. The transmit cells are clocked by ``tx``, the one of TXC by the inverse of ``tx90``, 90 degrees behind. RXC
    is the clock of ``rx``, which the PHY delays.

    Attributes
    ----------
    ddr : RgmiiDdrSignature
        From the logic.
    rxd, rx_ctl, txd, tx_ctl, txc : Signal
        Pins.
    """

    def __init__(self):
        super().__init__({"ddr": In(RgmiiDdrSignature), **PINS})

    def elaborate(self, platform):
        m = Module()
        m.domains.rx_falling = ClockDomain(clk_edge="neg", reset_less=True, local=True)
        m.domains.tx90_falling = ClockDomain(clk_edge="neg", reset_less=True, local=True)
        m.d.comb += [
            ClockSignal("rx_falling").eq(ClockSignal("rx")), ClockSignal("tx90_falling").eq(ClockSignal("tx90"))]

        for pin, pairs in ((self.rxd, self.ddr.rxd), (self.rx_ctl, self.ddr.rx_ctl)):
            rising, falling, first, second = (Signal.like(pin, name=name)
                                              for name in ("rising", "falling", "first", "second"))
            m.d.rx += [rising.eq(pin), first.eq(rising), second.eq(falling)]
            m.d.rx_falling += falling.eq(pin)
            m.d.comb += [pairs[0].eq(first), pairs[1].eq(second)]

        for pin, pairs in ((self.txd, self.ddr.txd), (self.tx_ctl, self.ddr.tx_ctl)):
            first, second = Signal.like(pin, name="first"), Signal.like(pin, name="second")
            m.d.tx += [first.eq(pairs[0]), second.eq(pairs[1])]
            m.d.comb += pin.eq(Mux(ClockSignal("tx"), first, second))

        m.submodules.shifted = shifted = ShiftedClockPair()
        first, second = Signal(), Signal()
        m.d.tx90_falling += [first.eq(shifted.o[0]), second.eq(shifted.o[1])]
        m.d.comb += [shifted.i.eq(self.ddr.txc), self.txc.eq(Mux(ClockSignal("tx90"), second, first))]
        return m


class RgmiiMac(wiring.Component):
    """A MAC for all speeds, an adapter and simulated pins, with the clocks as a board makes them.

    Parameters
    ----------
    config : CoreConfig
        Gives the width of a beat, and how fast the core is.

    Attributes
    ----------
    rxc, tx_clk, tx90_clk : Signal, in
        RXC from the PHY; 125 MHz, and the same 90 degrees later.
    rxd, rx_ctl, txd, tx_ctl, txc : Signal
        The other pins.
    speed : Signal, in
        :class:`Speed`.
    status : InBandStatus, out
        In ``sync``.
    rx, tx : stream of frame_layout
        Frames, in ``sync``.
    underflow : Signal, out
        See :class:`GmiiMac`.
    """

    def __init__(self, config: CoreConfig):
        self._config = config
        super().__init__({
            "rxc": In(1), "tx_clk": In(1), "tx90_clk": In(1), **PINS, "speed": In(Speed), "status": Out(InBandStatus),
            "rx": Out(FrameSignature(config)), "tx": In(FrameSignature(config)), "underflow": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        for domain, clock in (("rgmii_rx", self.rxc), ("rgmii_tx", self.tx_clk)):
            m.domains += ClockDomain(domain)
            m.d.comb += ClockSignal(domain).eq(clock)
            m.submodules[f"{domain}_reset"] = ResetSynchronizer(ResetSignal("sync"), domain=domain)
        m.domains.tx90 = ClockDomain(reset_less=True)
        m.d.comb += ClockSignal("tx90").eq(self.tx90_clk)

        domains = {"rx": "rgmii_rx", "tx": "rgmii_tx"}
        mac = GmiiMac(self._config, clock_enables=True)
        adapter = RgmiiAdapter(slow_speeds=True)
        pins = SimulatedRgmiiPins()
        for name, part in (("mac", mac), ("adapter", adapter), ("pins", pins)):
            m.submodules[name] = DomainRenamer(domains)(part)
        connect(m, mac.gmii, adapter.gmii)
        connect(m, adapter.ddr, pins.ddr)
        connect(m, mac.rx, flipped(self.rx))
        connect(m, flipped(self.tx), mac.tx)
        m.d.comb += [
            mac.rx_clk_enable.eq(adapter.rx_clk_enable), mac.tx_clk_enable.eq(adapter.tx_clk_enable),
            adapter.speed.eq(self.speed), self.status.eq(adapter.status), self.underflow.eq(mac.underflow),
            pins.rxd.eq(self.rxd), pins.rx_ctl.eq(self.rx_ctl),
            self.txd.eq(pins.txd), self.tx_ctl.eq(pins.tx_ctl), self.txc.eq(pins.txc),
        ]
        return m
