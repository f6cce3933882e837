"""Memory: every row of the tables keeps what is written to it, and nothing else changes it."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from ....hdl.config import CoreConfig
from ....hdl.layouts import CONTEXT_ROW, REASONS, ROWS, HitStat, Table, pack
from ..driver import Driver
from .result import CheckResult, failed, passed, skipped
from .waiting import afterwards

__all__ = ["check_memory", "used_routers"]

_CHECK = "memory"
#: Rows that are written, and read back, at a time: progress shows, and others may use the link.
_AT_ONCE = 1024
#: Tables of which a router has a window, with the fields of its context row, and the rows of each in the window's unit.
_WINDOWS = {
    Table.FIB: ("fib_base", "fib_size", "fib_words", 1),
    Table.ADJACENCY: ("adj_base", "adj_size", "adjacencies", 1),
    Table.FILTER: ("filter_base", "filter_size", "filter_rules", 1),
    Table.ACTION: ("filter_base", "filter_size", "filter_rules", 1),
    Table.HIT: ("filter_base", "filter_size", "filter_rules", len(HitStat)),
    Table.POLICER: ("policer_base", "policer_size", "policers", 1),
    Table.MAC: ("mac_base", "mac_size", "mac_rows", 1),
}
#: Why the others are left alone.
_LEFT_ALONE = {
    Table.QUOTA: "the frame buffer counts by it what is stored now",
    Table.SHAPER: "the scheduler serves the queues by it",
}


@dataclass(frozen=True)
class _Region:
    """Rows of a table that can be checked: (router, row), the bits of them, and where their window begins."""

    table: Table
    rows: tuple[tuple[int, int], ...]
    mask: int
    base: int = 0

    def __str__(self) -> str:
        return self.table.name


def used_routers(driver: Driver) -> list[int]:
    """Routers that are enabled."""
    rows = driver.read_rows((Table.CONTEXT, router, 0) for router in range(driver.info().config.routers))
    return [router for router, bits in enumerate(rows) if bits >> CONTEXT_ROW["enable"].offset & 1]


def check_memory(driver: Driver, tell: Callable[[str], None] = lambda _: None) -> Iterator[CheckResult]:
    """Check tables one after the other; at the end all of them are zero.

    Each row gets random bits, then the inverse of them, so that every bit was a one and a zero, and a row whose number
    is taken for another one's shows. No router is enabled meanwhile.

    Parameters
    ----------
    driver : Driver
    tell : callable
        Is told what is being done.
    """
    config = driver.info().config
    for region in _regions(config):
        tell(f"memory of {region}")
        yield _check_region(driver, region, config)
    for table, why in _LEFT_ALONE.items():
        yield skipped(_CHECK, table.name, f"left as it is: {why}")


def _regions(config: CoreConfig) -> Iterator[_Region]:
    def of(table: Table, rows: Iterator[tuple[int, int]], mask: int | None = None) -> Iterator[_Region]:
        found = tuple(rows)
        if found:
            yield _Region(table, found, (1 << ROWS[table]) - 1 if mask is None else mask)

    routers = range(config.routers)
    everything = (1 << CONTEXT_ROW.size) - 1
    yield from of(Table.CONTEXT, ((router, 0) for router in routers), everything ^ pack(CONTEXT_ROW, {"enable": 1}))
    yield from of(Table.VMAC, ((0, row) for row in range(config.vmac_slots)))
    yield from of(Table.PORT, ((router, port) for router in routers for port in range(config.ports)))
    for table, (_, size_name, rows_name, unit) in _WINDOWS.items():
        # A window may be smaller than the table; and of the MAC table it is a power of two.
        rows, most = getattr(config, rows_name), (1 << CONTEXT_ROW[size_name].width) - 1
        for base in range(0, rows, most):
            size = min(most, rows - base)
            mask = (1 << ROWS[table]) - 1
            yield _Region(table, tuple((0, row) for row in range(size * unit)), mask, base)
    yield from of(Table.COUNTER, ((router, port * REASONS + reason) for router in routers
                                  for port in range(config.all_ports) for reason in range(REASONS)))
    yield from of(Table.LINK, ((0, row) for row in range(config.circuits)))
    yield from of(Table.TERMINATION, ((0, row) for row in range(config.circuits)))


def _check_region(driver: Driver, region: _Region, config: CoreConfig) -> CheckResult:
    wrong: list[str] = []
    with _window(driver, region), afterwards(driver, lambda: wrong.extend(_pass(driver, region, "zeros"))):
        for pattern in ("pattern", "its inverse"):
            wrong += _pass(driver, region, pattern)
    subject = region.table.name
    if wrong:
        return failed(_CHECK, subject, f"{len(wrong)} of {3 * len(region.rows)} reads were wrong, the first: "
                                       f"{wrong[0]}. Check that the design met its timing, and the core's supply")
    return passed(_CHECK, subject, f"{len(region.rows)} rows of {ROWS[region.table]} bits")


@contextmanager
def _window(driver: Driver, region: _Region) -> Iterator[None]:
    """Router 0 may use the rows, if they are of a table with windows."""
    if region.table not in _WINDOWS:
        yield
        return
    base_name, size_name, _, unit = _WINDOWS[region.table]
    context = pack(CONTEXT_ROW, {base_name: region.base, size_name: len(region.rows) // unit})
    with afterwards(driver, lambda: driver.write_rows([(Table.CONTEXT, 0, 0, 0)])):
        driver.write_rows([(Table.CONTEXT, 0, 0, context)])
        yield


def _pass(driver: Driver, region: _Region, pattern: str) -> list[str]:
    """Write all rows, then read them; gives what is wrong with each."""
    wanted = {place: _bits(region, place, pattern) for place in region.rows}
    places = list(region.rows)
    for start in range(0, len(places), _AT_ONCE):
        driver.write_rows((region.table, router, row, wanted[router, row])
                          for router, row in places[start:start + _AT_ONCE])
    wrong = []
    for start in range(0, len(places), _AT_ONCE):
        part = places[start:start + _AT_ONCE]
        for (router, row), bits in zip(part, driver.read_rows((region.table, *place) for place in part), strict=True):
            if bits != wanted[router, row]:
                wrong.append(f"{region}[router {router}, row {region.base + row}] has {bits:#x}, not "
                             f"{wanted[router, row]:#x} ({pattern})")
    return wrong


def _bits(region: _Region, place: tuple[int, int], pattern: str) -> int:
    if pattern == "zeros":
        return 0
    seed = hashlib.sha256(f"{region.table}:{region.base}:{place}".encode()).digest()
    bits = Random(seed).getrandbits(ROWS[region.table])
    return (bits if pattern == "pattern" else ~bits) & region.mask
