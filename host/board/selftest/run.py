"""The self-test of a board, check by check."""

from collections.abc import Callable, Generator, Iterator, Sequence

from ....hdl.layouts import HostLinkKind, Register, Table
from ..driver import Driver
from ..registers import BoardIdentity, BoardRegisters
from .exchange import Exchange
from .memory import check_memory, used_routers
from .phys import check_mdio, end_loopbacks
from .result import CheckResult, SelfTestError, failed, passed, skipped
from .router import self_test_router
from .traffic import Traffic
from .waiting import afterwards

__all__ = ["FRAMES", "PATIENCE", "run_self_test"]

#: What each check with frames sends, if nothing else is asked for.
FRAMES = 64
#: Longer than a PHY takes to loop back, in seconds.
PATIENCE = 4.0


def run_self_test(driver: Driver, *, force: bool = False, cables: Sequence[tuple[int, int]] = (), frames: int = FRAMES,
                  patience: float = PATIENCE, tell: Callable[[str], None] = lambda _: None
                  ) -> Generator[CheckResult, None, None]:
    """Check a board; results come one by one. When it ends, however it does, the board's tables are empty.

    Parameters
    ----------
    driver : Driver
        Of the board; nobody else may use it.
    force : bool
        Also if a router is enabled: it will not be any more.
    cables : Sequence[tuple[int, int]]
        Ports that a cable connects with each other; their forwarding is checked over it.
    frames : int
        How many each check with frames sends.
    patience : float
        Seconds after which a frame that did not come is taken to be lost.
    tell : callable
        Is told what is being done.

    Raises
    ------
    SelfTestError
        If a router is enabled, or a port of a cable can't be checked.
    BoardError
        If the board does not answer, or has no board registers.
    """
    registers = BoardRegisters(driver)
    identity = registers.identity()
    wired = driver.info().config.wired_ports
    _check_cables(cables, identity, wired)
    used = used_routers(driver)
    if used and not force:
        raise SelfTestError(f"router {used[0]} is enabled: the self-test empties all tables. Take the network down "
                            "first, or use --force")
    end_loopbacks(registers)
    registers.rearm_watchdog()      # an expired one keeps the routers of the checks from being enabled
    yield _check_identity(driver, identity)
    yield from check_mdio(registers)
    with afterwards(driver, lambda: _forget(driver)):
        yield from check_memory(driver, tell)
        _empty_rest(driver)
        ports = []
        for port in range(wired):
            if _is_host_link(identity, port):
                yield skipped("traffic", f"port {port}", "the host's frames come by it")
            else:
                ports.append(port)
        if ports:
            yield from _check_traffic(driver, registers, ports, cables, frames, patience, tell)


def _forget(driver: Driver) -> None:
    """As after a start of the board: whoever comes next writes the tables anew."""
    driver.epoch = 0


def _is_host_link(identity: BoardIdentity, port: int) -> bool:
    return identity.link == HostLinkKind.AUTHENTICATED and port == identity.link_port


def _check_cables(cables: Sequence[tuple[int, int]], identity: BoardIdentity, wired: int) -> None:
    seen: set[int] = set()
    for port in (port for cable in cables for port in cable):
        if not 0 <= port < wired:
            raise SelfTestError(f"there is no data port {port}: the board has ports 0 to {wired - 1}")
        if _is_host_link(identity, port):
            raise SelfTestError(f"the host's frames come by port {port}, so it can't have a cable to another port")
        if port in seen:
            raise SelfTestError(f"port {port} is at two ends of cables: a cable is between two ports")
        seen.add(port)


def _check_identity(driver: Driver, identity: BoardIdentity) -> CheckResult:
    config = driver.info().config
    wanted = config.wired_ports + (identity.link == HostLinkKind.PORT)
    found = (f"{config.routers} routers, {config.wired_ports} data ports, {config.data_width} bits at "
             f"{config.clock_hz / 1e6:g} MHz")
    if not identity.name.isprintable() or not identity.name:
        return failed("identity", identity.name, "the board's name is not text: the host link is not reliable")
    if identity.ports != wanted:
        return failed("identity", identity.name, f"the board has {identity.ports} ports with a PHY, but {found} need "
                                                 f"{wanted}: board registers and core are not of one build")
    return passed("identity", identity.name, found)


def _empty_rest(driver: Driver) -> None:
    """Empty what the check of the memory left as it was, quotas before the cells that they reserved are shared."""
    config = driver.info().config
    driver.write_rows([
        *((Table.SHAPER, router, port, 0) for router in range(config.routers) for port in range(config.all_ports)),
        *((Table.QUOTA, router, 0, 0) for router in range(config.routers + 1)),
        (Table.REGISTER, 0, Register.SHARED_CELLS, config.cells),
    ])


def _check_traffic(driver: Driver, registers: BoardRegisters, ports: Sequence[int], cables: Sequence[tuple[int, int]],
                   frames: int, patience: float, tell: Callable[[str], None]) -> Iterator[CheckResult]:
    with self_test_router(driver, ports), Exchange(driver, patience) as exchange:
        traffic = Traffic(driver, registers, exchange, frames, tell)
        yield from traffic.check_loopbacks(ports)
        connected = {port for cable in cables for port in cable}
        alone = [port for port in ports if port not in connected]
        if alone:
            yield from traffic.check_forwarding(alone)
        for first, second in cables:
            yield from traffic.check_cable(first, second)
