"""The data plane with a gigabit MAC at every port."""

from amaranth.hdl import DomainRenamer, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .config import HOST_HEADER_BYTES, CoreConfig
from .core import Core, board_members
from .mac.domains import add_line_domain
from .mac.gmii import GmiiSignature
from .mac.mac import GmiiMac

__all__ = ["GmiiCore"]


class GmiiCore(wiring.Component):
    """:class:`Core` behind GMIIs, the host port's included.

    The core runs in ``sync``. Each half of each MAC runs in a domain of its own, made here from a clock input and reset
    together with ``sync``; one clock may drive several inputs.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.
    clock_enables : bool
        The MACs may run slower than their clocks, for 10 and 100 Mb/s.
    has_board : bool
        There are registers of a board, outside of the core.

    Attributes
    ----------
    gmii0, gmii1, ... : GmiiSignature, out
        A GMII for each data port that has a wire, and one more, with the highest number, for the host port.
    gmii0_rx_clk, gmii0_tx_clk, ... : Signal, in
        Clocks of each GMII, 125 MHz: RX_CLK from the PHY, and GTX_CLK from a local source.
    gmii0_rx_clk_enable, gmii0_tx_clk_enable, ... : Signal, in
        Only with ``clock_enables``: the cycles of these clocks that count; see :class:`GmiiMac`.
    board, host_alive, disable
        With ``has_board``: those of the core.

    Raises
    ------
    ConfigError
        If the core is too slow for its data ports.
    """

    def __init__(self, config: CoreConfig, *, clock_enables: bool = False, has_board: bool = False):
        config.check_line_rate()
        self.config = config
        self.has_board = has_board
        self._clock_enables = clock_enables
        members = dict(board_members()) if has_board else {}
        for port in range(config.wired_ports + 1):
            members[f"gmii{port}"] = Out(GmiiSignature)
            members[f"gmii{port}_rx_clk"] = In(1)
            members[f"gmii{port}_tx_clk"] = In(1)
            if clock_enables:
                members[f"gmii{port}_rx_clk_enable"] = In(1)
                members[f"gmii{port}_tx_clk_enable"] = In(1)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.core = core = Core(config, has_macs=True, has_board=self.has_board)
        if self.has_board:
            connect(m, core.board, flipped(self.board))
            m.d.comb += [self.host_alive.eq(core.host_alive), core.disable.eq(self.disable)]
        for port in range(config.wired_ports + 1):
            is_host = port == config.wired_ports
            max_frame = config.max_frame + (HOST_HEADER_BYTES if is_host else 0)
            domains = {side: f"gmii{port}_{side}" for side in ("rx", "tx")}
            for domain in domains.values():
                add_line_domain(m, domain, getattr(self, f"{domain}_clk"))
            mac = GmiiMac(config, max_frame, clock_enables=self._clock_enables)
            m.submodules[f"mac{port}"] = DomainRenamer(domains)(mac)
            connect(m, mac.gmii, flipped(getattr(self, f"gmii{port}")))
            if self._clock_enables:
                m.d.comb += [
                    mac.rx_clk_enable.eq(getattr(self, f"gmii{port}_rx_clk_enable")),
                    mac.tx_clk_enable.eq(getattr(self, f"gmii{port}_tx_clk_enable")),
                ]
            connect(m, mac.rx, core.host_rx if is_host else core.rx[port])
            connect(m, core.host_tx if is_host else core.tx[port], mac.tx)
            if not is_host:
                m.d.comb += core.underflow[port].eq(mac.underflow)
        return m
