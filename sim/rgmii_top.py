"""A board's top level behind its RGMII pins, for simulation: what stands for the cells of an FPGA, and its clocks."""

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from polyrouter.boards.mdio import MdioSignature
from polyrouter.boards.phy import phy_named
from polyrouter.boards.top import BoardTop, HostLinkChoice, HostLinkKind, TopPort
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.mac.domains import add_line_domain

from .rgmii_mac import PINS, SimulatedRgmiiPins

__all__ = ["KEY", "LINK_PORT", "RgmiiTop"]

#: Of the authenticated host link.
KEY = bytes(range(0x30, 0x40))
LINK_PORT = 0
#: As short as it can be: accesses to the PHYs take their time anyhow.
_TIME_SCALE = 1e-4


class RgmiiTop(wiring.Component):
    """A board with 88E1512 at one MDIO bus, whose host comes by an authenticated link on data port 0.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    rgmii0_rxd, rgmii0_rx_ctl, rgmii0_txd, rgmii0_tx_ctl, rgmii0_txc, ... : Signal
        Pins of each port.
    rgmii0_rxc, ... : Signal, in
        RXC of each port, which its PHY delays.
    tx_clk, tx90_clk : Signal, in
        125 MHz, and the same 90 degrees later.
    mdio0, phy_reset0, leds, entropy
        As those of :class:`.BoardTop`.
    """

    def __init__(self, config: CoreConfig):
        self._ports = config.wired_ports
        self._top = BoardTop(
            "rgmii", config, [TopPort(phy=phy_named("88E1512"), phy_address=port) for port in range(self._ports)],
            HostLinkChoice(kind=HostLinkKind.AUTHENTICATED, key=KEY, port=LINK_PORT), time_scale=_TIME_SCALE)
        super().__init__({
            **{f"rgmii{port}_{name}": member for port in range(self._ports) for name, member in PINS.items()},
            **{f"rgmii{port}_rxc": In(1) for port in range(self._ports)},
            "tx_clk": In(1), "tx90_clk": In(1), "mdio0": Out(MdioSignature), "phy_reset0": Out(1),
            "leds": Out(self._ports), "entropy": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.top = top = self._top
        add_line_domain(m, "pins_tx", self.tx_clk)
        m.domains.tx90 = ClockDomain(reset_less=True)
        m.d.comb += [
            ClockSignal("tx90").eq(self.tx90_clk), top.eth_clk.eq(self.tx_clk), top.entropy.eq(self.entropy),
            self.phy_reset0.eq(top.phy_reset0), self.leds.eq(top.leds),
        ]
        connect(m, top.mdio0, flipped(self.mdio0))
        for port in range(self._ports):
            rxc = getattr(self, f"rgmii{port}_rxc")
            add_line_domain(m, f"pins{port}_rx", rxc)
            pins = SimulatedRgmiiPins()
            m.submodules[f"pins{port}"] = DomainRenamer({"rx": f"pins{port}_rx", "tx": "pins_tx"})(pins)
            connect(m, getattr(top, f"rgmii{port}"), pins.ddr)
            m.d.comb += getattr(top, f"rgmii{port}_rx_clk").eq(rxc)
            for name, member in PINS.items():
                outer, inner = getattr(self, f"rgmii{port}_{name}"), getattr(pins, name)
                m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
        return m
