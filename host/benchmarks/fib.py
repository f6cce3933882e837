"""How densely and how fast routes are compiled into a FIB."""

import lzma
import os
import random
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

from polyrouter.hdl.layouts import FIB_WORD_BITS
from polyrouter.host.tables.fib import FENCE, FibCompiler

__all__ = ["TABLE", "TABLE_IPV6", "full_table", "read_table", "run_fib_bench", "synthetic_table",
           "synthetic_table_ipv6"]

#: Full tables: one prefix a line.
TABLE = "rib_v4_901899.txt.xz"
TABLE_IPV6 = "rib_v6_160147.txt.xz"
_WINDOW = 1 << 18           # words, the most that a router can have
_SLICE = 400_000            # routes that fit in such a window
_SPARSE = 1000
_UPDATES = 2000
_NEXT_HOPS = 64

_Route = tuple[int, int, int]


def read_table(path: Path) -> list[tuple[int, int]]:
    """Prefixes (address, length) of a file with one in each line, compressed by xz."""
    prefixes = []
    with lzma.open(path, "rt") as lines:
        for line in lines:
            address, length = line.split("/")
            prefixes.append((int(ip_address(address)), int(length)))
    return prefixes


def synthetic_table(count: int, seed: int = 1) -> list[tuple[int, int]]:
    """Prefixes with much the same lengths and clustering as in a full table: allocations, and parts of them."""
    rng = random.Random(seed)
    found: set[tuple[int, int]] = set()
    while len(found) < count:
        allocation = rng.choices((12, 14, 16, 18, 19, 20, 22), (1, 2, 12, 6, 8, 20, 50))[0]
        base = rng.randrange(1 << 24, 224 << 24) >> 32 - allocation << 32 - allocation
        found.add((base, allocation))
        part = rng.random()
        for k in range(1 << 24 - allocation):
            if rng.random() < part:
                found.add((base | k << 8, 24))
            elif k % 4 == 0 and rng.random() < part / 4:
                found.add((base | k << 8, 22))
    return sorted(found)[:count]


def synthetic_table_ipv6(count: int, seed: int = 1) -> list[tuple[int, int]]:
    """The same for IPv6: allocations of 29 to 48 bits in 2000::/3, and parts of them, most of 48 bits."""
    rng = random.Random(seed)
    found: set[tuple[int, int]] = set()
    while len(found) < count:
        allocation = rng.choices((29, 32, 36, 40, 44, 48), (10, 40, 10, 10, 5, 25))[0]
        base = (1 << 125 | rng.getrandbits(125)) >> 128 - allocation << 128 - allocation
        found.add((base, allocation))
        for _ in range(rng.choice((0, 0, 1, 3, 10, 40))):
            length = rng.choices((36, 40, 44, 48), (1, 2, 3, 10))[0]
            if length > allocation:
                found.add((base | rng.getrandbits(length - allocation) << 128 - length, length))
    return sorted(found)[:count]


def run_fib_bench(data_dir: Path | None = None) -> list[dict]:
    """Results: ``name``, ``value``, ``unit``, ``bar`` (None if there is none), ``ok``.

    Parameters
    ----------
    data_dir : Path or None
        Folder with the full tables, ``$POLYROUTER_DATA`` by default. Where a table is missing, a synthetic one of
        100,000 prefixes takes its place, and the names end in ``_synthetic``; bits a route then have no bar, for that
        comes from the full table.
    """
    rng = random.Random(1)
    prefixes, suffix = full_table(data_dir, TABLE, synthetic_table)
    dense_bar, sparse_bar = (None, None) if suffix else (43, 110)
    routes = [(prefix, length, rng.randrange(_NEXT_HOPS)) for prefix, length in prefixes]
    dense, sparse, seconds, fib, last = _density(rng, routes, 32)
    writes, fences = _updates(fib, rng.sample(last, _UPDATES))

    prefixes, suffix6 = full_table(data_dir, TABLE_IPV6, synthetic_table_ipv6)
    routes6 = [(prefix, length, rng.randrange(_NEXT_HOPS)) for prefix, length in prefixes]
    dense6, sparse6, seconds6, *_ = _density(rng, routes6, 128)
    return [
        _result("ipv4_bits_per_route_dense" + suffix, round(dense, 2), "bit", most=dense_bar),
        _result("ipv4_bits_per_route_sparse" + suffix, round(sparse, 2), "bit", most=sparse_bar),
        _result("routes_per_second" + suffix, round(len(routes) / seconds), "1/s", least=50_000),
        _result("writes_per_update" + suffix, round(writes / (2 * _UPDATES), 3), "words"),
        _result("fences_per_update" + suffix, round(fences / (2 * _UPDATES), 3), "fences"),
        _result("ipv6_bits_per_route_dense" + suffix6, round(dense6, 2), "bit"),
        _result("ipv6_bits_per_route_sparse" + suffix6, round(sparse6, 2), "bit"),
        _result("ipv6_routes_per_second" + suffix6, round(len(routes6) / seconds6), "1/s"),
    ]


def full_table(data_dir: Path | None, name: str, synthetic: Callable[[int], list[tuple[int, int]]]
               ) -> tuple[list[tuple[int, int]], str]:
    """A full table, and what its results' names end in: "_synthetic" if it had to be made.

    ``data_dir`` is the folder that it is looked for in, ``$POLYROUTER_DATA`` if None.
    """
    if data_dir is None and "POLYROUTER_DATA" in os.environ:
        data_dir = Path(os.environ["POLYROUTER_DATA"])
    path = data_dir / name if data_dir is not None else None
    if path is not None and path.exists():
        return read_table(path), ""
    return synthetic(100_000), "_synthetic"


def _density(rng: random.Random, routes: list[_Route], address_bits: int
             ) -> tuple[float, float, float, FibCompiler, list[_Route]]:
    """Bits a route of all and of a few, seconds that all took; the last compiler, and its routes."""
    words, seconds = 0, 0.0
    for start in range(0, len(routes), _SLICE):     # a full table is larger than a router's window can be
        last = routes[start:start + _SLICE]
        fib = FibCompiler(_WINDOW, address_bits)
        begin = time.process_time()
        fib.apply(last)
        seconds += time.process_time() - begin
        words += fib.statistics().words_used
    few = FibCompiler(_WINDOW, address_bits)
    few.apply(rng.sample(routes, _SPARSE))
    return words * FIB_WORD_BITS / len(routes), few.statistics().bits_per_route, seconds, fib, last


def _updates(fib: FibCompiler, routes: list[_Route]) -> tuple[int, int]:
    """Withdraw each route and bring it back, one at a time; writes and fences that it took."""
    writes = fences = 0
    for prefix, length, result in routes:
        for change in (None, result):
            made = fib.apply([(prefix, length, change)])
            fences += made.count(FENCE)
            writes += len(made)
    return writes - fences, fences


def _result(name: str, value: float, unit: str, *, most: float | None = None, least: float | None = None) -> dict:
    ok = (most is None or value <= most) and (least is None or value >= least)
    return {"name": name, "value": value, "unit": unit, "bar": most if least is None else least, "ok": ok}
