"""Loop-backs and forwarding, by frames that the host sends and gets back."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from ....hdl.layouts import Reason
from ..driver import Driver
from ..registers import BoardRegisters, MdioError
from .exchange import Exchange, Expected
from .frames import echo_frames, forwarded, ipv4_frames
from .phys import has_link, phy_loopback
from .result import CheckResult, failed, passed, skipped
from .router import mac_of, route_to
from .waiting import afterwards, wait_for

__all__ = ["Traffic"]

#: For auto-negotiation of both ends, after their loop-backs; at 1000 Mb/s it takes up to 4 s.
_LINK_SECONDS = 10.0
_PHY, _MAC, _FORWARDING = "PHY loop-back", "MAC loop-back", "forwarding"


class Traffic:
    """Checks with frames; the router of the self-test is on all ports that are checked.

    Parameters
    ----------
    driver : Driver
    registers : BoardRegisters
    exchange : Exchange
    frames : int
        How many each check sends.
    tell : callable
        Is told what is being done.
    """

    def __init__(self, driver: Driver, registers: BoardRegisters, exchange: Exchange, frames: int,
                 tell: Callable[[str], None]):
        self._driver = driver
        self._registers = registers
        self._exchange = exchange
        self._frames = frames
        self._tell = tell
        self._loops: dict[int, str] = {}        # by port: the loop-back that works

    def check_loopbacks(self, ports: Sequence[int]) -> Iterator[CheckResult]:
        """PHY and MAC loop-back of each port. While the MAC's is checked, the PHY's keeps the frames from the line."""
        for port in ports:
            with phy_loopback(self._driver, self._registers, port) as phy:
                if phy.why_not is not None:
                    yield failed(_PHY, f"port {port}", phy.why_not)
                else:
                    yield self._echo(_PHY, port)
                with self._mac_loopback({port}):
                    yield self._echo(_MAC, port)

    @contextmanager
    def _mac_loopback(self, ports: set[int]) -> Iterator[None]:
        before = self._registers.loopback()
        with afterwards(self._driver, lambda: self._registers.set_loopback(before)):
            self._registers.set_loopback(before | ports)
            yield

    def _echo(self, check: str, port: int) -> CheckResult:
        """Frames for the router itself, sent out of a port, come in again."""
        subject = f"port {port}"
        self._tell(f"{check} of {subject}")
        frames = echo_frames(port, self._frames)
        if not self._exchange.settle(port, frames[0]):
            return failed(check, subject, "nothing comes back: check the PHY's clocks and the RGMII delays of the "
                                          "board file (docs/boards.md)")
        host = self._driver.info().config.host_port
        wrong = self._exchange.wrong(port, frames, Expected(frames, port, Reason.PUNT_NOT_IP, {
            (host, Reason.INJECTED): len(frames), (port, Reason.PUNT_NOT_IP): len(frames)}), [port])
        if wrong:
            return failed(check, subject, f"{wrong}: check the RGMII delays of the board file (docs/boards.md)")
        self._loops.setdefault(port, check)
        return passed(check, subject, f"{len(frames)} frames came back as they were sent")

    def check_forwarding(self, ports: Sequence[int]) -> Iterator[CheckResult]:
        """From each port to the next one, all of them in loop-back: what leaves by a port comes in again there."""
        for port, following in zip(ports, [*ports[1:], *ports[:1]], strict=True):
            subject = f"port {port} to {following}"
            lacking = [number for number in {port, following} if number not in self._loops]
            if lacking:
                yield skipped(_FORWARDING, subject, f"port {lacking[0]} has no loop-back that works; use a cable, and "
                                                    "--loop")
                continue
            with ExitStack() as stack:
                for number in sorted({port, following}):
                    if self._loops[number] == _PHY:
                        stack.enter_context(phy_loopback(self._driver, self._registers, number))
                    else:
                        stack.enter_context(self._mac_loopback({number}))
                yield self._forward(subject, {port: port, following: following}, port, following)

    def check_cable(self, first: int, second: int) -> Iterator[CheckResult]:
        """Over a cable between two ports: in at the one, and out by it again, for both."""
        peers = {first: second, second: first}

        def without_link() -> list[int]:
            return [number for number in peers if not self._has_link(number)]

        self._tell(f"link between ports {first} and {second}")
        wait_for(lambda: not without_link(), _LINK_SECONDS)
        for port in (first, second):
            subject = f"port {port} to {port}, cable to {peers[port]}"
            if down := without_link():
                yield failed(_FORWARDING, subject, f"port {down[0]} has no link: is the cable in?")
                continue
            yield self._forward(subject, peers, peers[port], port)

    def _has_link(self, port: int) -> bool:
        """By its PHY, and by the board, which takes the speed from it."""
        try:
            return has_link(self._registers, port) and self._registers.phys()[port].link
        except MdioError:
            return False

    def _forward(self, subject: str, peers: dict[int, int], sent: int, out: int) -> CheckResult:
        """Send IPv4 packets out of port ``sent``; they are forwarded where they come in, by port ``out``, and come in
        once more, with a TTL of 1.

        ``peers`` says where what leaves by a port comes in.
        """
        self._tell(f"{_FORWARDING}, {subject}")
        arrives, ends = peers[sent], peers[out]
        frames = ipv4_frames(arrives, self._frames)
        route_to(self._driver, out, mac_of(ends))
        if not self._exchange.settle(sent, frames[0]):
            return failed(_FORWARDING, subject, "nothing comes back: check the loop-backs of these ports, or the cable")
        counters: dict[tuple[int, Reason], int] = {(self._driver.info().config.host_port, Reason.INJECTED): len(frames)}
        for key in ((arrives, Reason.FORWARDED), (ends, Reason.PUNT_TTL)):
            counters[key] = counters.get(key, 0) + len(frames)
        expected = Expected([forwarded(frame, out, ends) for frame in frames], ends, Reason.PUNT_TTL, counters)
        wrong = self._exchange.wrong(sent, frames, expected, {arrives, ends})
        if wrong:
            return failed(_FORWARDING, subject, f"{wrong}: check the loop-backs of these ports, or the cable")
        return passed(_FORWARDING, subject, f"{len(frames)} frames forwarded, counted exactly")
