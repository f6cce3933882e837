"""A board for the self-test: the golden models of core and registers, PHYs, loop-backs and cables, and faults."""

from collections import deque
from collections.abc import Callable

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import HostLinkKind, RxError
from polyrouter.host.board.driver import Driver
from polyrouter.host.board.hostport import HostPort
from polyrouter.sim.golden import GoldenModel
from polyrouter.sim.golden_board import GoldenBoard, MdioAccess
from polyrouter.sim.mdio_phy import LinkPartner, PagedPhy

from ..link import Link

__all__ = ["CONFIG", "LoopedBoard"]

CONFIG = CoreConfig(ports=3, routers=2, fib_words=64, adjacencies=8, filter_rules=4, policers=4, mac_rows=16)
IDENTIFIER = 0x01410DD1
_SPEEDS = {10: 0, 100: 1, 1000: 2}


class _Registers(GoldenBoard):
    """Registers whose PHY rows are what the PHYs say."""

    def __init__(self, phys: list[PagedPhy], **more):
        self.ports = phys
        super().__init__("looped", [(0, number) for number in range(len(phys))], self._reach, **more)

    def _reach(self, wanted: MdioAccess) -> tuple[int, bool]:
        phy = self.ports[wanted.phy] if wanted.phy < len(self.ports) else None
        if phy is None or getattr(phy, "absent", False):
            return 0xFFFF, wanted.write
        if wanted.write:
            phy.write(wanted.register, wanted.data)
            return 0, True
        return phy.read(wanted.register), True

    def read(self, row: int) -> int:
        self.status = [self._status(phy) for phy in self.ports]
        return super().read(row)

    def _status(self, phy: PagedPhy) -> dict[str, int]:
        if getattr(phy, "absent", False):
            return {"id": 0xFFFFFFFF}
        best = phy.forced() if phy.loopback else phy.technology()
        return {"link": int(best is not None), "speed": _SPEEDS[best[0]] if best else 2, "full_duplex": 1,
                "present": int(phy.identifier == IDENTIFIER), "id": phy.identifier}


class LoopedBoard:
    """A driver, and what it drives.

    Parameters
    ----------
    link, link_port
        How the host gets there.
    host_ports : int
        PHYs besides those of the data ports.
    config : CoreConfig
        Of the core, with as many ports as CONFIG.

    Attributes
    ----------
    phys : list[PagedPhy]
        An attribute ``absent`` makes one so; ``deaf``: it does not loop back, whatever it says.
    cables : dict[int, int]
        Ports that hear each other.
    line : Callable[[int, bytes], bytes | None]
        What becomes of a frame that comes in at a port.
    memory : Callable[[bytes], bytes]
        What becomes of a response.
    """

    def __init__(self, link: HostLinkKind = HostLinkKind.UART, link_port: int = 0, *, host_ports: int = 0,
                 config: CoreConfig = CONFIG):
        self.phys = [PagedPhy(IDENTIFIER, 22) for _ in range(CONFIG.ports + host_ports)]
        for phy in self.phys:
            phy.connect(LinkPartner())
        self.cables: dict[int, int] = {}
        self.line: Callable[[int, bytes], bytes | None] = lambda _, frame: frame
        self.registers = _Registers(self.phys, link=link, link_port=link_port)
        self.model = GoldenModel(config, has_macs=True, board=self.registers)
        self.link = _LoopedLink(self)
        self.driver = Driver(HostPort(self.link), timeout=0.5, retries=3)

    def heard_at(self, port: int) -> int | None:
        """Where what a port sends comes in."""
        if self.registers.loopback >> port & 1:
            return port
        if self.phys[port].loopback:
            return None if getattr(self.phys[port], "deaf", False) else port
        return self.cables.get(port)

    def __enter__(self) -> "LoopedBoard":
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.close()


class _LoopedLink(Link):
    """A link that also carries what comes in again."""

    def __init__(self, board: LoopedBoard):
        super().__init__(board.model)
        self._board = board
        self.memory: Callable[[bytes], bytes] = lambda frame: frame

    def send(self, frame: bytes) -> int:
        outputs = deque(self.model.host_receive(frame))
        while outputs:
            output = outputs.popleft()
            if output.port == CONFIG.host_port:
                self.deliver(self.memory(output.frame))
                continue
            port = self._board.heard_at(output.port)
            if port is None:
                continue
            heard = self._board.line(port, output.frame.ljust(60, b"\0"))
            if heard is None:
                self.model.receive(port, output.frame, RxError.FCS)
            else:
                outputs.extend(self.model.receive(port, heard))
        return len(frame)
