# amaranth: UnusedElaboratable=no
# Whether a board fits is asked without building it.
"""The top level of a board, without what differs between vendors: pins, PLL, clock buffers."""

from collections.abc import Sequence

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, Mux, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect, flipped
from polyrouter.hdl.config import CoreConfig

from .hostlink import HostLinkChoice, HostLinkKind
from .nonce import NonceCollector
from .resetguard import ResetGuard
from .toplogic import BoardLogic
from .topport import TopPort

__all__ = ["BoardTop", "HostLinkChoice", "HostLinkKind", "TopPort"]

#: Ports of the logic that lead to what is beside it.
_INTERNAL = ("host_alive", "nonce")


class BoardTop(wiring.Component):
    """Core, MACs, PHYs, host link, board registers and LEDs of a board.

    The core runs in ``sync``, whose clock is ``config.clock_hz`` and whose reset comes from outside. Around it are the
    cells of RGMII pins, MDIO pads, and whatever makes the clocks (``docs/boards.md``, "Board top").

    When the FPGA is configured all tables are zero: no router is enabled before the host does so. A reset after the
    first frame from the host is for good, with all PHYs in reset, as it would not clear the tables
    (:class:`.resetguard.ResetGuard`).

    With an authenticated host link all begins when there is a nonce, after some 8 ms. If there never is one, since
    ``entropy`` does not change, the board does nothing, and all LEDs blink together.

    Parameters
    ----------
    name : str
        What board this is: 1 to 16 characters of ASCII.
    config : CoreConfig
        Parameters of the core.
    ports : Sequence[TopPort]
        RGMII ports: the data ports that have a wire, then a dedicated host port, if that is the host link.
    host_link : HostLinkChoice
        How the host gets to the board.
    watchdog_disables : bool
        No router is enabled while the watchdog is expired; else forwarding goes on.
    watchdog_seconds : float
        Timeout of the watchdog after reset, rounded up to the next that it can have; 0: off.
    slow_speeds : bool
        There are 10 and 100 Mb/s, too.
    time_scale : float
        Times in ms, those of PHYs, LEDs and of the nonce, are multiplied by it: for simulation.

    Attributes
    ----------
    rgmii0, rgmii1, ... : RgmiiDdrSignature, out
        To the cells at each port's pins.
    rgmii0_rx_clk, ... : Signal, in
        RXC of each port.
    eth_clk : Signal, in
        125 MHz, of a local source: clock of all transmitters.
    mdio0, ... : MdioSignature, out
        To the pads of each MDIO bus.
    phy_reset0, ... : Signal, out
        Reset of the PHYs at each bus, active high.
    leds : Signal, out
        Link LED of each port, high for lit.
    uart_rxd, uart_txd : Signal, in and out
        Only with a UART.
    entropy : Signal, in
        Only with an authenticated link: a bit that nobody can predict, asynchronous, as of ring oscillators.

    Raises
    ------
    ConfigError
        If the parts don't fit together; the message says which.
    """

    def __init__(self, name: str, config: CoreConfig, ports: Sequence[TopPort], host_link: HostLinkChoice, *,
                 watchdog_disables: bool = False, watchdog_seconds: float = 0, slow_speeds: bool = True,
                 time_scale: float = 1):
        self.name = name
        self.config = config
        self._logic = BoardLogic(name, config, ports, host_link, watchdog_disables=watchdog_disables,
                                 watchdog_seconds=watchdog_seconds, slow_speeds=slow_speeds, time_scale=time_scale)
        self._collector = (NonceCollector(config.clock_hz, time_scale=time_scale)
                           if host_link.kind == HostLinkKind.AUTHENTICATED else None)
        members = dict(self._logic.signature.members)
        if self._collector is not None:
            members["entropy"] = In(1)
        super().__init__({name: member for name, member in members.items() if name not in _INTERNAL})

    def elaborate(self, platform):
        m = Module()
        logic = self._logic
        for name, member in logic.signature.members.items():
            if name in _INTERNAL:
                continue
            inner, outer = getattr(logic, name), getattr(self, name)
            if member.is_signature:
                connect(m, inner, flipped(outer))
            elif member.flow == In:
                m.d.comb += inner.eq(outer)
            else:
                m.d.comb += outer.eq(inner)
        m.submodules.guard = guard = ResetGuard()
        m.domains.core = ClockDomain("core")
        m.d.comb += [
            guard.used.eq(logic.host_alive),
            ClockSignal("core").eq(ClockSignal("sync")),
            ResetSignal("core").eq(guard.reset),
        ]
        m.submodules.logic = DomainRenamer("core")(logic)
        if self._collector is not None:
            m.submodules.nonce = collector = self._collector
            m.d.comb += [
                collector.entropy.eq(self.entropy),
                logic.nonce.eq(collector.nonce),
                guard.wait.eq(~collector.ready),
                self.leds.eq(Mux(collector.ready, logic.leds, collector.alarm.replicate(len(self.leds)))),
            ]
        return m
