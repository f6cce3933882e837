"""A board's top level as a live board: what it is made of, and its executable."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polyrouter import boards
from polyrouter.boards.phy import phy_named
from polyrouter.boards.top import BoardTop, HostLinkChoice, HostLinkKind, TopPort
from polyrouter.hdl.config import CoreConfig

from ..verilated.build import HERE, Progress, cached, source_key, verilate
from .toppins import top_headers

__all__ = ["LiveTop", "two_port_top"]

_LIVE = Path(__file__).parent
#: Of a live top, besides those of the core.
_SOURCES = ((Path(boards.__path__[0]), "**/*.py"), (HERE, "*.py"), (HERE, "*.h"), (_LIVE, "top.py"),
            (_LIVE, "toppins.py"), (_LIVE, "*.h"), (_LIVE, "*.cpp"))


@dataclass(frozen=True, kw_only=True)
class LiveTop:
    """Parameters of :class:`.BoardTop`, and what is around it in simulation: PHYs that have a link at 1000 Mb/s.

    All clocks run in step, a byte of a line in each cycle of the core, whatever its ``clock_hz``; that only says how
    many cycles a bit of a UART, or an access to a PHY, takes.
    """

    name: str
    config: CoreConfig
    ports: tuple[TopPort, ...]
    host_link: HostLinkChoice
    watchdog_disables: bool = False
    watchdog_seconds: float = 0
    slow_speeds: bool = True
    time_scale: float = 0.01

    def make(self) -> BoardTop:
        """The top level."""
        return BoardTop(self.name, self.config, self.ports, self.host_link, watchdog_disables=self.watchdog_disables,
                        watchdog_seconds=self.watchdog_seconds, slow_speeds=self.slow_speeds,
                        time_scale=self.time_scale)

    def build(self, *, trace: bool = False, progress: Progress | None = None) -> Path:
        """The executable, made if there is none yet for these sources and parameters; see :meth:`.Harness.build`.

        Raises
        ------
        BuildError
            If a step fails.
        """
        link = self.host_link
        parameters = [
            self.name, self.config.as_dict(), self.watchdog_disables, self.watchdog_seconds, self.slow_speeds,
            self.time_scale, trace, [link.kind, link.port, link.baud, link.key_bits, link.mac_bits],
            [(port.phy.name, port.phy_address, port.mdio, port.phy_rx_delay, port.phy_tx_delay) for port in self.ports],
        ]
        sources = [path for folder, pattern in _SOURCES for path in sorted(folder.glob(pattern))]

        def make(directory: Path) -> None:
            top = self.make()
            verilate(top, directory, top_headers(top, self.ports, link), sorted(_LIVE.glob("*.cpp")),
                     includes=[_LIVE, HERE], trace=trace, progress=progress)

        return cached("tops", source_key(parameters, sources), make, progress)


def two_port_top(host_link: HostLinkChoice, config: CoreConfig | None = None, *, phys: Sequence[str] = ("88E1512",),
                 data_width: int = 64, **more) -> LiveTop:
    """A small board with two data ports, for tests; a third port for the host, if it has one of its own."""
    config = config or CoreConfig(
        ports=2, data_width=data_width, routers=2, fib_words=64, adjacencies=16, buffer_bytes=8192, queue_frames=16,
        filter_rules=4, policers=4, mac_rows=16, clock_hz=32e6)
    count = config.wired_ports + (host_link.kind == HostLinkKind.PORT)
    ports = tuple(TopPort(phy=phy_named(phys[number % len(phys)]), phy_address=number) for number in range(count))
    return LiveTop(name="two_ports", config=config, ports=ports, host_link=host_link, **more)
