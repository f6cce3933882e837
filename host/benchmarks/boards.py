"""Whether the core of each board, with its parameters and at its clock, carries its ports at line rate."""

from collections.abc import Callable, Sequence
from typing import Any

from polyrouter.boards.registry import BOARD_NAMES, board_named
from polyrouter.sim.dataplane.measure import LINE_HZ, Prefixes, Throughput, throughput
from polyrouter.sim.dataplane.traffic import SHORTEST, line_bytes

from .fib import TABLE, TABLE_IPV6, full_table, synthetic_table, synthetic_table_ipv6

__all__ = ["line_mpps", "run_boards_bench", "verdict"]

#: Of the line rate; less than one frame in a thousand is lost to where a run begins and ends.
_LEAST = 0.9995
_SLOTS, _QUICK_SLOTS = 5000, 1000


def line_mpps(ports: int) -> float:
    """Shortest frames a second that so many lines of 1 Gb/s carry, in millions."""
    return ports * LINE_HZ / line_bytes(SHORTEST) / 1e6


def verdict(board: str, ports: int, found: Throughput) -> dict[str, Any]:
    """A row of the results: frames a second, the bar, and whether all of them came through as they should."""
    bar = round(_LEAST * line_mpps(ports), 3)
    value = round(found.mpps, 3)
    return {"name": board, "value": value, "unit": "Mpps", "bar": bar, "lost": found.lost, "wrong": found.wrong,
            "ok": value >= bar and not found.lost and not found.wrong}


def run_boards_bench(*, board: Sequence[str] = (), quick: bool = False,
                     progress: Callable[[str], None] | None = None) -> dict[str, Any]:
    """``bench``, ``machine``, and ``results``: a row of :func:`verdict` for each board.

    The core is Verilated with its MACs, each at its own clock, with the board's own parameters and host link; shortest
    frames come at all its ports. Boards whose cores are the same are measured once.

    Parameters
    ----------
    board : Sequence[str]
        Names; by default all boards.
    quick : bool
        Fewer frames.
    progress : Callable[[str], None]
        Is told what is being done.

    Raises
    ------
    ConfigError
        If there is no such board.
    """
    tell = progress or (lambda _: None)
    chosen = [board_named(name) for name in board or BOARD_NAMES]
    tell("reading route tables")
    prefixes = Prefixes(full_table(None, TABLE, synthetic_table)[0],
                        full_table(None, TABLE_IPV6, synthetic_table_ipv6)[0])
    measured: dict[Any, Throughput] = {}
    rows = []
    for entry in chosen:
        config = entry.config(entry.host_link)
        if config not in measured:
            tell(f"{entry.name}: shortest frames at {config.wired_ports} ports")
            measured[config] = throughput(config.routers, prefixes, _QUICK_SLOTS if quick else _SLOTS, tell, config)
        rows.append(verdict(entry.name, config.wired_ports, measured[config]))
    return {"bench": "boards", "machine": "Verilated cores at their boards' clocks", "results": rows}
