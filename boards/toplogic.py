# amaranth: UnusedElaboratable=no
# Whether a board fits is asked without building it.
"""What a board does: core, MACs, PHYs, host link, board registers and LEDs, put together."""

from collections.abc import Sequence
from math import ceil

from amaranth.hdl import Cat, DomainRenamer, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from polyrouter.hdl.boardregs import BoardRegisters
from polyrouter.hdl.config import HOST_HEADER_BYTES, ConfigError, CoreConfig
from polyrouter.hdl.core import Core
from polyrouter.hdl.hostlink.authenticated import AuthenticatedLink
from polyrouter.hdl.hostlink.layouts import AUTH_HEADER_BYTES, LinkEvent, SlipEvent
from polyrouter.hdl.hostlink.serial import UartLink
from polyrouter.hdl.layouts import BOARD_WATCHDOG, WATCHDOG_UNIT, BoardRow
from polyrouter.hdl.mac.domains import add_line_domain

from .hostlink import HostLinkChoice, HostLinkKind
from .leds import LinkLeds
from .mdio import MdioSignature
from .phymanager import PhyManager
from .rgmii.ddr import RgmiiDdrSignature
from .rgmii.macport import RgmiiMacPort
from .topport import TopPort, mdio_buses

__all__ = ["BoardLogic"]

_BLINK_MS = 50
#: Rows of the board table in which a UART link's counters are shown.
_SLIP_ROWS = {BoardRow.ACCEPTED: SlipEvent.ACCEPTED, BoardRow.FOREIGN: SlipEvent.LENGTH,
              BoardRow.OVERFLOW: SlipEvent.OVERFLOW, BoardRow.FRAMING: SlipEvent.DAMAGED}


class BoardLogic(wiring.Component):
    """:class:`.top.BoardTop` but for reset and nonce; parameters, ports and errors are the same.

    Attributes
    ----------
    host_alive : Signal, out
        High for a cycle for each valid frame from the host.
    nonce : Signal(64), in
        Only with an authenticated link: another one after each reset; constant.
    """

    def __init__(self, name: str, config: CoreConfig, ports: Sequence[TopPort], host_link: HostLinkChoice, *,
                 watchdog_disables: bool, watchdog_seconds: float, slow_speeds: bool, time_scale: float):
        config.check_port_rate()
        self._check_ports(config, ports, host_link)
        self.config = config
        self._ports = tuple(ports)
        self._choice = host_link
        self._slow_speeds = slow_speeds
        self._time_scale = time_scale
        self._buses = mdio_buses(ports)
        self._managers = [
            PhyManager(config.clock_hz, [ports[number].managed() for number in bus], time_scale=time_scale)
            for bus in self._buses]
        self._registers = BoardRegisters(
            name, [(port.mdio, port.phy_address) for port in ports], disables=watchdog_disables,
            timeout=_watchdog_units(config, watchdog_seconds), link=host_link.kind, link_port=self._link_port())
        self._link = self._make_link()
        super().__init__({
            **{f"rgmii{port}": Out(RgmiiDdrSignature) for port in range(len(ports))},
            **{f"rgmii{port}_rx_clk": In(1) for port in range(len(ports))},
            "eth_clk": In(1),
            **{f"mdio{bus}": Out(MdioSignature) for bus in range(len(self._buses))},
            **{f"phy_reset{bus}": Out(1) for bus in range(len(self._buses))},
            "leds": Out(len(ports)),
            "host_alive": Out(1),
            **({"uart_rxd": In(1, init=1), "uart_txd": Out(1, init=1)} if host_link.kind == HostLinkKind.UART else {}),
            **({"nonce": In(64)} if host_link.kind == HostLinkKind.AUTHENTICATED else {}),
        })

    @staticmethod
    def _check_ports(config: CoreConfig, ports: Sequence[TopPort], choice: HostLinkChoice) -> None:
        own = choice.kind == HostLinkKind.PORT
        wanted = config.wired_ports + own
        if len(ports) != wanted:
            raise ConfigError(f"the core has {config.wired_ports} data ports with a wire"
                              f"{', and the host has a port of its own' if own else ''}, so the board needs {wanted} "
                              f"RGMII ports, not {len(ports)}: change the parameter ports, or the board file")
        if choice.kind == HostLinkKind.AUTHENTICATED and not 0 <= choice.port < len(ports):
            raise ConfigError(f"the host link must be on one of the ports 0 to {len(ports) - 1}, not {choice.port}")

    def _link_port(self) -> int:
        match self._choice.kind:
            case HostLinkKind.PORT:
                return len(self._ports) - 1
            case HostLinkKind.AUTHENTICATED:
                return self._choice.port
            case _:
                return 0

    def _make_link(self) -> AuthenticatedLink | UartLink | None:
        match self._choice.kind:
            case HostLinkKind.AUTHENTICATED:
                return AuthenticatedLink(self.config)
            case HostLinkKind.UART:
                return UartLink(self.config, self._choice.baud)
            case _:
                return None

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = core = Core(self.config, has_macs=True, has_board=True)
        m.submodules.registers = registers = self._registers
        connect(m, core.board, registers.table)
        m.d.comb += [registers.host_alive.eq(core.host_alive), core.disable.eq(registers.disable),
                     self.host_alive.eq(core.host_alive)]
        lines = self._add_ports(m, core, registers)
        self._add_link(m, core, registers, lines)
        self._add_phys(m, registers, lines)
        m.submodules.leds = leds = LinkLeds(self.config.clock_hz, len(lines), blink_ms=_BLINK_MS * self._time_scale)
        m.d.comb += [
            leds.link.eq(Cat(phy.link for phy in registers.phy)),
            leds.activity.eq(Cat(line.activity for line in lines)),
            leds.override.eq(registers.led_override), leds.value.eq(registers.led_value),
            self.leds.eq(leds.leds),
        ]
        return m

    def _add_ports(self, m: Module, core: Core, registers: BoardRegisters) -> list[RgmiiMacPort]:
        """MACs and RGMIIs; their frame streams are connected with those of the core, or of the link that is between."""
        lines = []
        for number in range(len(self._ports)):
            add_line_domain(m, f"eth{number}_tx", self.eth_clk, after=f"eth{number - 1}_tx" if number else None)
            add_line_domain(m, f"rgmii{number}_rx", getattr(self, f"rgmii{number}_rx_clk"))
            data_port = number < self.config.wired_ports
            line = RgmiiMacPort(self.config, self.config.max_frame + self._more_bytes(number),
                                slow_speeds=self._slow_speeds, has_loopback=data_port)
            m.submodules[f"line{number}"] = DomainRenamer({"rx": f"rgmii{number}_rx", "tx": f"eth{number}_tx"})(line)
            connect(m, line.ddr, flipped(getattr(self, f"rgmii{number}")))
            m.d.comb += [
                *([line.loopback.eq(registers.loopback[number])] if data_port else []),
                registers.inband[number].eq(line.inband),
            ]
            if data_port:
                m.d.comb += core.underflow[number].eq(line.underflow)
                if not (self._choice.kind == HostLinkKind.AUTHENTICATED and number == self._choice.port):
                    connect(m, line.rx, core.rx[number])
                    connect(m, core.tx[number], line.tx)
            lines.append(line)
        return lines

    def _more_bytes(self, number: int) -> int:
        """By how much frames of a port may be longer than those of the core."""
        if self._choice.kind == HostLinkKind.AUTHENTICATED and number == self._choice.port:
            return 2 * AUTH_HEADER_BYTES
        return HOST_HEADER_BYTES if number >= self.config.wired_ports else 0

    def _add_link(self, m: Module, core: Core, registers: BoardRegisters, lines: list[RgmiiMacPort]) -> None:
        link = self._link
        if link is None:
            connect(m, lines[-1].rx, core.host_rx)
            connect(m, core.host_tx, lines[-1].tx)
            return
        m.submodules.link = link
        connect(m, link.host_rx, core.host_rx)
        connect(m, core.host_tx, link.host_tx)
        counter = registers.link_counter
        if isinstance(link, UartLink):
            m.d.comb += [link.rxd.eq(self.uart_rxd), self.uart_txd.eq(link.txd)]
            with m.Switch(counter):
                for row, event in _SLIP_ROWS.items():
                    with m.Case(row - BoardRow.ACCEPTED):
                        m.d.comb += [link.counter.eq(event), registers.link_count.eq(link.count)]
            return
        port = self._choice.port
        connect(m, lines[port].rx, link.rx)
        connect(m, link.tx, lines[port].tx)
        connect(m, link.core_rx, core.rx[port])
        connect(m, core.tx[port], link.core_tx)
        m.d.comb += [
            link.key.eq(self._choice.key_bits), link.mac.eq(self._choice.mac_bits), link.nonce.eq(self.nonce)]
        with m.If(counter < len(LinkEvent)):
            m.d.comb += [link.counter.eq(counter), registers.link_count.eq(link.count)]

    def _add_phys(self, m: Module, registers: BoardRegisters, lines: list[RgmiiMacPort]) -> None:
        for bus, (manager, numbers) in enumerate(zip(self._managers, self._buses, strict=True)):
            m.submodules[f"phys{bus}"] = manager
            connect(m, manager.bus, flipped(getattr(self, f"mdio{bus}")))
            connect(m, registers.mdio_command[bus], manager.i)
            connect(m, manager.o, registers.mdio_response[bus])
            m.d.comb += [
                manager.hold.eq(registers.mdio_hold),
                getattr(self, f"phy_reset{bus}").eq(manager.reset),
            ]
            for number, status in zip(numbers, manager.status, strict=True):
                m.d.comb += [registers.phy[number].eq(status), lines[number].speed.eq(status.speed)]


def _watchdog_units(config: CoreConfig, seconds: float) -> int:
    unit, most = WATCHDOG_UNIT / config.clock_hz, (1 << BOARD_WATCHDOG["timeout"].width) - 1
    if not 0 <= seconds <= most * unit:
        raise ConfigError(f"the watchdog's timeout must be 0 (off) to {most * unit:.0f} s, not {seconds}")
    return min(most, ceil(seconds / unit))
