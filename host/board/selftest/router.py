"""The router of the self-test: number 0, with an address on each port, and one route."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ....hdl.config import CoreConfig
from ....hdl.layouts import (
    ADJACENCY_ROW,
    CONTEXT_ROW,
    FIB_LEAF,
    PORT_ROW,
    AdjacencyKind,
    Register,
    Role,
    RouterMode,
    Table,
    pack,
)
from ...tables.vmac import VmacTable, choose_seeds
from ..driver import Driver
from .waiting import afterwards

__all__ = ["ROUTER", "mac_of", "route_to", "self_test_router"]

ROUTER = 0
#: Locally administered; the last byte is the port.
_MAC = 0x02_70_73_74_00_00
_MTU = 1500
_SEEDS = (Register.HASH_SEED_0, Register.HASH_SEED_1)


def mac_of(port: int) -> int:
    """The router's address on a port."""
    return _MAC | port


@contextmanager
def self_test_router(driver: Driver, ports: Sequence[int]) -> Iterator[None]:
    """A router that is on these ports, and has a route for all of IPv4, whose next hop :func:`route_to` sets.

    All other tables are empty before. What was written is zero again afterwards, but the seeds, which are as before.
    """
    config = driver.info().config
    seeds = driver.read_rows((Table.REGISTER, 0, row) for row in _SEEDS)
    entries = [(mac_of(port), port, Role.OWN) for port in ports]
    table = VmacTable(config, choose_seeds(config, entries))
    vmac = [write for mac, port, role in entries for write in table.insert(mac, port, role, ROUTER)]
    rows = [
        *((Table.REGISTER, 0, row, seed) for row, seed in zip(_SEEDS, table.seeds, strict=True)),
        *((Table.FIB, ROUTER, row, pack(FIB_LEAF, {"leaf": 1})) for row in range(2)),
        *((Table.PORT, ROUTER, port, pack(PORT_ROW, {"mac": mac_of(port)})) for port in ports),
        *((Table.VMAC, 0, row, bits) for row, bits in vmac),
    ]

    def restore() -> None:
        driver.write_rows([(Table.CONTEXT, ROUTER, 0, _context(config, ports, enable=False))])
        driver.fence()
        driver.write_rows([
            *((table, router, row, 0) for table, router, row, _ in rows if table != Table.REGISTER),
            (Table.ADJACENCY, ROUTER, 0, 0),
            *((Table.REGISTER, 0, row, seed) for row, seed in zip(_SEEDS, seeds, strict=True)),
            (Table.CONTEXT, ROUTER, 0, 0)])
        driver.clear_counters(ROUTER)

    with afterwards(driver, restore):
        driver.write_rows([(Table.CONTEXT, ROUTER, 0, _context(config, ports, enable=False)), *rows,
                           (Table.CONTEXT, ROUTER, 0, _context(config, ports, enable=True))])
        yield


def route_to(driver: Driver, port: int, mac: int) -> None:
    """Let everything leave by a port, to an address."""
    driver.write_rows([(Table.ADJACENCY, ROUTER, 0, pack(ADJACENCY_ROW, {
        "kind": AdjacencyKind.FORWARD, "port": port, "mac": mac, "mtu": _MTU}))])
    driver.fence()


def _context(config: CoreConfig, ports: Sequence[int], *, enable: bool) -> int:
    return pack(CONTEXT_ROW, {
        "enable": int(enable), "mode": RouterMode.ROUTED, "ports": sum(1 << port for port in ports),
        "fib_size": 2, "adj_size": 1})
