"""What a board file declares: the board, its ports, and the core that it gets by default."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from amaranth.build.plat import Platform
from amaranth.build.res import ResourceError
from polyrouter.hdl.config import ConfigError, CoreConfig
from polyrouter.hdl.layouts import BOARD_NAME_BYTES

from .devices import Device, device_named
from .hostlink import HostLinkChoice, HostLinkKind
from .phy import phy_named
from .topport import TopPort

__all__ = ["Board", "BoardError", "BoardPort", "Led", "link_name"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")
#: Parameters of a core that follow from other parts of a description.
_DERIVED = ("ports", "clock_hz")
#: Clocks that a core of some board might have: what is outside of this was given in another unit.
_HZ = 20e6, 250e6


class BoardError(ConfigError):
    """A description is wrong, or a core is not one for this board; the message says what, and what to do."""


def link_name(kind: HostLinkKind) -> str:
    """What people call a host link: ``port``, ``authenticated`` or ``uart``."""
    return kind.name.lower()


@dataclass(frozen=True, kw_only=True)
class BoardPort:
    """An RGMII port of a board.

    Each clock is delayed against its data once: by the PHY, or by the FPGA (``docs/boards.md``, "Delays").

    Parameters
    ----------
    phy : str
        Kind of its PHY, a name of :data:`boards.phy.PHYS`.
    phy_address : int
        Of the PHY on its MDIO bus, 0 to 31.
    resource : str
        Name of the platform's resource.
    number : int or None
        Number of the resource; None: that of the port.
    mdio : int
        Number of the MDIO bus. Its pins MDC and MDIO are those of the first of its ports that has them; the pins
        ``rst`` of all its ports are its reset.
    phy_rx_delay, phy_tx_delay : bool or None
        Whether the PHY delays RXC, and TXC; None: as strapped.
    fpga_rx_delay_ns, fpga_tx_delay_ns, fpga_txc_delay_ns : float
        Delays in the FPGA of RXD and RX_CTL, of TXD and TX_CTL, and of TXC. A 7-series FPGA has no
        ``fpga_tx_delay_ns``, and 0 or 2 ns of ``fpga_txc_delay_ns``.
    rxc_buffer : str
        7-series: clock buffer of RXC, ``BUFG`` or ``BUFR``.

    Raises
    ------
    ConfigError
        If there is no such PHY, or it can't make these delays.
    BoardError
        If the address is out of range, or TXC would be delayed twice.
    """

    phy: str
    phy_address: int
    resource: str = "eth_rgmii"
    number: int | None = None
    mdio: int = 0
    phy_rx_delay: bool | None = None
    phy_tx_delay: bool | None = None
    fpga_rx_delay_ns: float = 0
    fpga_tx_delay_ns: float = 0
    fpga_txc_delay_ns: float = 0
    rxc_buffer: str = "BUFG"

    def __post_init__(self) -> None:
        phy_named(self.phy).setup(self.phy_rx_delay, self.phy_tx_delay)
        if not 0 <= self.phy_address < 32:
            raise BoardError(f"phy_address must be 0 to 31, not {self.phy_address}")
        if self.phy_tx_delay and self.fpga_txc_delay_ns:
            raise BoardError("TXC would be delayed twice, by the PHY (phy_tx_delay) and by the FPGA "
                             f"(fpga_txc_delay_ns={self.fpga_txc_delay_ns:g}): leave one of them out")

    def for_top(self) -> TopPort:
        """What the top level need know of it."""
        return TopPort(phy=phy_named(self.phy), phy_address=self.phy_address, mdio=self.mdio,
                       phy_rx_delay=self.phy_rx_delay, phy_tx_delay=self.phy_tx_delay)


@dataclass(frozen=True)
class Led:
    """A light of a platform: its resource, and the pin's name if that has several."""

    resource: str
    number: int = 0
    pin: str | None = None


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board.

    Parameters
    ----------
    name : str
        Small letters, digits and underscores, up to 16 characters; the board tells it to its host.
    title : str
        What people call it.
    platform : callable
        Makes the Amaranth platform: pins, clocks, FPGA.
    ports : tuple of BoardPort
        In order, 1 to 8. If the host has one of its own, it is the last.
    host_link : HostLinkKind
        How the host gets to it, if the one who builds it doesn't say otherwise.
    core_hz : float
        Clock of the core.
    core : mapping
        Parameters of :class:`.CoreConfig` that are not left at their defaults, without ``ports`` and ``clock_hz``.
    clock : str or None
        The platform's resource of the clock that everything is made of; None: its ``default_clk``.
    clock_number : int
    leds : tuple of Led
        One for each port, as far as there are any.
    uart : str or None
        The platform's resource of a UART, with pins ``rx`` and ``tx``.
    watchdog_disables : bool
        Whether all routers stop once the host has been silent for so long as it said; else they go on.
    watchdog_seconds : float
        The time until then after power-up; 0: there is none until the host says so.
    slow_speeds : bool
        10 and 100 Mb/s, too.
    openfpgaloader : tuple of str
        Arguments that tell openFPGALoader which board, or which cable, it is; or by which bootloader (``--dfu``), which
        writes the flash memory.
    line_rate : bool
        The core must carry all ports at once. If False it may be slower, as on a small FPGA: what it can't carry is
        dropped, whole, where it comes in, and counted.
    figures_only : bool
        No board but an FPGA, whose pins could be others too. For figures only: there is no bitstream.

    Raises
    ------
    BoardError
        If something is missing or out of range.
    """

    name: str
    title: str
    platform: Callable[[], Platform]
    ports: tuple[BoardPort, ...]
    host_link: HostLinkKind
    core_hz: float
    core: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    clock: str | None = None
    clock_number: int = 0
    leds: tuple[Led, ...] = ()
    uart: str | None = None
    watchdog_disables: bool = False
    watchdog_seconds: float = 0
    slow_speeds: bool = True
    openfpgaloader: tuple[str, ...] = ()
    line_rate: bool = True
    figures_only: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.name) > BOARD_NAME_BYTES:
            raise BoardError(f"the name of a board must be small letters, digits and underscores, at most "
                             f"{BOARD_NAME_BYTES} of them, not {self.name!r}")
        if not 1 <= len(self.ports) <= 8:
            raise self._wrong(f"it must have 1 to 8 ports, not {len(self.ports)}")
        if not _HZ[0] <= self.core_hz <= _HZ[1]:
            raise self._wrong(f"core_hz must be {_HZ[0] / 1e6:g} to {_HZ[1] / 1e6:g} MHz, not {self.core_hz / 1e6:g}")
        if derived := [name for name in _DERIVED if name in self.core]:
            raise self._wrong(f"{derived[0]} is no parameter to give: it follows from ports, host_link and core_hz")
        buses = sorted({port.mdio for port in self.ports})
        if buses != list(range(len(buses))):
            raise self._wrong(f"its MDIO buses must be numbered from 0 on, not {', '.join(map(str, buses))}")
        places = [(port.mdio, port.phy_address) for port in self.ports]
        if twice := [place for place in places if places.count(place) > 1]:
            raise self._wrong(f"two PHYs have address {twice[0][1]} on MDIO bus {twice[0][0]}")

    def _wrong(self, what: str) -> BoardError:
        return BoardError(f"board {self.name}: {what}")

    @property
    def buses(self) -> int:
        """MDIO buses."""
        return max(port.mdio for port in self.ports) + 1

    @property
    def device(self) -> Device:
        """Its FPGA."""
        return device_named(self.platform().device)

    def resource_of(self, port: int) -> tuple[str, int]:
        """Name and number of the resource of a port."""
        entry = self.ports[port]
        return entry.resource, port if entry.number is None else entry.number

    def clock_hz(self) -> float:
        """Frequency of the clock that comes from outside, in Hz.

        Raises
        ------
        BoardError
            If the platform has no such resource, or it is no clock.
        """
        platform = self.platform()
        name = self.clock or platform.default_clk
        if name is None:
            raise self._wrong("its platform has no default_clk, so clock must be given")
        try:
            resource = platform.lookup(name, self.clock_number)
        except ResourceError as error:
            raise self._wrong(f"{error}, which is to be its clock") from None
        if resource.clock is None:
            raise self._wrong(f"the resource {name} {self.clock_number} has no Clock, so its frequency is not known")
        return resource.clock.frequency

    def data_ports(self, kind: HostLinkKind) -> int:
        """Ports that are not the host's alone.

        Raises
        ------
        BoardError
            If this host link is not to be had.
        """
        count = len(self.ports) - (kind is HostLinkKind.PORT)
        if not count:
            raise self._wrong("it has one port, which can't be both the host's alone and for data; take the host link "
                              f"{link_name(HostLinkKind.AUTHENTICATED)} or {link_name(HostLinkKind.UART)}")
        if kind is HostLinkKind.UART and self.uart is None:
            raise self._wrong("it has no UART; take another host link")
        return count

    def config(self, kind: HostLinkKind, **parameters: int) -> CoreConfig:
        """Parameters of its core.

        Parameters
        ----------
        kind : HostLinkKind
            Decides how many ports are left for data.
        **parameters : int
            Those of :class:`.CoreConfig` that differ from the board's own.

        Raises
        ------
        ConfigError
            If one is out of range, or the core can't carry its ports as ``line_rate`` says.
        """
        if derived := [name for name in _DERIVED if name in parameters]:
            raise self._wrong(f"{derived[0]} can't be chosen: it follows from the board and its host link")
        chosen: dict[str, Any] = {**self.core, **parameters}
        ports = self.data_ports(kind) + bool(chosen.get("circuits"))
        try:
            config = CoreConfig(ports=ports, clock_hz=self.core_hz, **chosen)
        except TypeError:
            known = set(CoreConfig.__dataclass_fields__)
            raise self._wrong(f"a core has no parameter {', '.join(sorted(chosen.keys() - known))}; it has "
                              f"{', '.join(sorted(known - set(_DERIVED)))}") from None
        if self.line_rate:
            config.check_line_rate()
        config.check_port_rate()
        return config

    def top_ports(self) -> tuple[TopPort, ...]:
        """What the top level need know of the ports."""
        return tuple(port.for_top() for port in self.ports)

    def check(self, choice: HostLinkChoice) -> None:
        """Check that the host can get to it so.

        Raises
        ------
        BoardError
            If not.
        """
        ports = self.data_ports(choice.kind)
        if choice.kind is HostLinkKind.AUTHENTICATED and not 0 <= choice.port < ports:
            raise self._wrong(f"the host link must be on one of the ports 0 to {ports - 1}, not {choice.port}")
