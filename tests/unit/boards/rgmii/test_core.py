"""The core's MACs, adapters and pins go together, by the domains that the core makes of its clocks."""

import re

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, Signal
from amaranth.lib.wiring import connect
from polyrouter.boards.rgmii.adapter import RgmiiAdapter
from polyrouter.boards.rgmii.ecp5 import Ecp5RgmiiPins
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.gmii_core import GmiiCore

from .test_cells import WIDTHS, Ecp5, cells, ports

CONFIG = CoreConfig(ports=1, routers=1, data_width=32, fib_words=64, adjacencies=4, filter_rules=0)


def test_core_with_clock_enables_behind_rgmii():
    m = Module()
    clocks = [Signal(name=name) for name in ("sync_clk", "eth_clk")]
    m.domains.sync = ClockDomain(reset_less=True)
    m.d.comb += ClockSignal().eq(clocks[0])
    m.submodules.core = core = GmiiCore(CONFIG, clock_enables=True)
    outside = list(clocks)
    for port in range(CONFIG.wired_ports + 1):
        rgmii = ports()
        domains = {"rx": f"gmii{port}_rx", "tx": f"gmii{port}_tx"}
        pins = Ecp5RgmiiPins(rgmii, txc_delay_ns=2)
        adapter = RgmiiAdapter(slow_speeds=True)
        m.submodules[f"pins{port}"] = DomainRenamer(domains)(pins)
        m.submodules[f"adapter{port}"] = DomainRenamer(domains)(adapter)
        connect(m, getattr(core, f"gmii{port}"), adapter.gmii)
        connect(m, adapter.ddr, pins.ddr)
        m.d.comb += [
            getattr(core, f"gmii{port}_rx_clk").eq(pins.rx_clk), getattr(core, f"gmii{port}_tx_clk").eq(clocks[1]),
            getattr(core, f"gmii{port}_rx_clk_enable").eq(adapter.rx_clk_enable),
            getattr(core, f"gmii{port}_tx_clk_enable").eq(adapter.tx_clk_enable),
        ]
        outside += [getattr(rgmii, name).io for name in WIDTHS]
    text = rtlil.convert(m, ports=outside, platform=Ecp5(), emit_src=False)
    kinds = [kind for kind, _, _ in cells(text)]
    assert kinds.count("IDDRX1F") == 10 and kinds.count("ODDRX1F") == 12
    # The registers of each half have a clock of its port
    assert {f"gmii{port}_{side}_clk" for port in (0, 1) for side in ("rx", "tx")} <= set(
        re.findall(r"\\(gmii\d_\w\w_clk)\b", text))
