"""A top level with the members of a board's, which sends back what it receives: a design that is built in a minute."""

from amaranth.hdl import Cat, ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer, ResetSynchronizer
from amaranth.lib.wiring import In, Out, connect, flipped
from polyrouter.boards.hostlink import HostLinkKind
from polyrouter.boards.mdio import MdioSignature
from polyrouter.boards.phymanager import ManagedPhy, PhyManager
from polyrouter.boards.rgmii.adapter import RgmiiAdapter
from polyrouter.boards.rgmii.ddr import RgmiiDdrSignature
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.mac.mac import GmiiMac


class EchoTop(wiring.Component):
    """MACs, adapters and PHY managers of a board, without a core."""

    def __init__(self, board, kind: HostLinkKind):
        self.board = board
        ports = len(board.ports)
        super().__init__({
            **{f"rgmii{port}": Out(RgmiiDdrSignature) for port in range(ports)},
            **{f"rgmii{port}_rx_clk": In(1) for port in range(ports)},
            "eth_clk": In(1),
            **{f"mdio{bus}": Out(MdioSignature) for bus in range(board.buses)},
            **{f"phy_reset{bus}": Out(1) for bus in range(board.buses)},
            "leds": Out(ports),
            **({"uart_rxd": In(1), "uart_txd": Out(1)} if kind == HostLinkKind.UART else {}),
            **({"entropy": In(1)} if kind == HostLinkKind.AUTHENTICATED else {}),
        })

    def elaborate(self, platform):
        m = Module()
        config = CoreConfig(ports=len(self.board.ports), clock_hz=self.board.core_hz)
        more = Signal()
        for port in range(config.ports):
            domains = {"rx": f"rx{port}", "tx": f"tx{port}"}
            for half, clock in ("rx", getattr(self, f"rgmii{port}_rx_clk")), ("tx", self.eth_clk):
                m.domains += ClockDomain(domains[half])
                m.d.comb += ClockSignal(domains[half]).eq(clock)
                m.submodules[f"{domains[half]}_reset"] = ResetSynchronizer(ResetSignal("sync"), domain=domains[half])
            adapter = RgmiiAdapter()
            mac = GmiiMac(config)
            m.submodules[f"adapter{port}"] = DomainRenamer(domains)(adapter)
            m.submodules[f"mac{port}"] = DomainRenamer(domains)(mac)
            connect(m, mac.gmii, adapter.gmii)
            connect(m, adapter.ddr, flipped(getattr(self, f"rgmii{port}")))
            m.d.comb += [mac.tx.valid.eq(mac.rx.valid), mac.tx.payload.eq(mac.rx.payload),
                         mac.rx.ready.eq(mac.tx.ready), self.leds[port].eq(adapter.status.as_value()[0] ^ more)]
        for bus in range(self.board.buses):
            phys = [ManagedPhy(port.phy, port.phy_address, port.phy_rx_delay, port.phy_tx_delay)
                    for port in self.board.top_ports() if port.mdio == bus]
            m.submodules[f"manager{bus}"] = manager = PhyManager(config.clock_hz, phys)
            connect(m, manager.bus, flipped(getattr(self, f"mdio{bus}")))
            m.d.comb += getattr(self, f"phy_reset{bus}").eq(manager.reset)
        if hasattr(self, "uart_rxd"):
            m.submodules.rxd = FFSynchronizer(self.uart_rxd, self.uart_txd, init=1)
        if hasattr(self, "entropy"):
            seen = Signal(8)
            m.submodules.entropy = FFSynchronizer(self.entropy, seen[0])
            m.d.sync += seen[1:].eq(Cat(seen[:-1]))
            m.d.comb += more.eq(seen.xor())
        return m
