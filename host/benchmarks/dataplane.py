"""What the data plane does, cycle by cycle, in simulation: frames a second, latency, isolation, changes under load.

The core is Verilated with its MACs, and driven bit-true at its GMIIs (:mod:`polyrouter.sim.dataplane`); so the figures
do not depend on the machine that they are made on, nor on how busy it is.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from polyrouter.hdl.config import MAX_FRAME_STANDARD, ConfigError, CoreConfig
from polyrouter.hdl.mac.gmii import FCS_BYTES
from polyrouter.sim.dataplane.measure import (
    LINE_HZ,
    LINE_MPPS,
    Prefixes,
    Throughput,
    filter_limit,
    headroom,
    hitless,
    ipv6_worst,
    isolation,
    latency,
    throughput,
)
from polyrouter.sim.dataplane.script import BenchError
from polyrouter.sim.dataplane.traffic import line_bytes
from polyrouter.sim.verilated.build import BuildError

from ..tables.windows import most_filter_rules
from .fib import TABLE, TABLE_IPV6, full_table, synthetic_table, synthetic_table_ipv6

__all__ = ["BARS", "ROUTERS", "run_dataplane_bench"]

#: Virtual routers of the cores that throughput is measured of.
ROUTERS = (1, 8, 64, 256, 1024)
_QUICK_ROUTERS = (8,)

# Of the line rate; less than one frame in a thousand is lost to where a run begins and ends.
_LINE = round(LINE_MPPS * 0.9995, 3)
# What a frame waits at most for one that is being sent already, in nanoseconds.
_LONGEST_FRAME = line_bytes(MAX_FRAME_STANDARD - FCS_BYTES) * 1e9 / LINE_HZ
#: Result -> the least or the most that it has to be. What is not here has no bar.
BARS: dict[str, tuple[str, float]] = {
    "throughput_mpps": ("least", _LINE), "lost_frames": ("most", 0), "wrong_frames": ("most", 0),
    **{f"throughput_mpps_{routers}_routers": ("least", _LINE) for routers in ROUTERS},
    "headroom": ("least", 2.0),
    "latency_ns_max": ("most", 1200), "latency_spread_ns": ("most", 100),
    "filter_wrong_hits": ("most", 0), "filter_rules_at_line_rate": ("least", most_filter_rules(CoreConfig())),
    "isolation_lost_frames": ("most", 0), "isolation_added_latency_ns": ("most", _LONGEST_FRAME),
    "isolation_longest_lost_frames": ("most", 0),
    "ipv6_worst_throughput_mpps": ("least", _LINE), "ipv6_worst_lost_frames": ("most", 0),
    "hitless_wrong_frames": ("most", 0), "hitless_lost_frames": ("most", 0),
}


class _Results:
    """Collects rows; a run that can't be made leaves one that says why, and does not stop the others."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, name: str, value: float | None, unit: str, error: str | None = None) -> None:
        kind, bar = BARS.get(name, (None, None))
        if value is None:
            ok = False
        else:
            value = round(value, 3)
            ok = bar is None or (value >= bar if kind == "least" else value <= bar)
        row: dict[str, Any] = {"name": name, "value": value, "unit": unit, "bar": bar, "ok": ok}
        if error is not None:
            row["error"] = error
        self.rows.append(row)

    def run(self, name: str, unit: str, measure: Callable[[], Any]) -> Any:
        """What ``measure`` finds, or None and a row for ``name`` if it can't."""
        try:
            return measure()
        except (BenchError, BuildError, ConfigError, ValueError) as error:
            self.add(name, None, unit, str(error))
            return None


def run_dataplane_bench(*, quick: bool = False, vrs: Sequence[int] = (),
                        progress: Callable[[str], None] | None = None) -> dict:
    """``bench``, ``machine``, ``results`` (rows of ``name``, ``value``, ``unit``, ``bar``, ``ok``), and values by name.

    Parameters
    ----------
    quick : bool
        Fewer frames, and throughput of one core only.
    vrs : Sequence[int]
        Virtual routers of the cores that throughput is measured of; by default those of ``ROUTERS``.
    progress : Callable[[str], None]
        Is told what is being done.
    """
    tell = progress or (lambda _: None)
    tell("reading route tables")
    ipv4, suffix = full_table(None, TABLE, synthetic_table)
    ipv6, _ = full_table(None, TABLE_IPV6, synthetic_table_ipv6)
    prefixes = Prefixes(ipv4, ipv6)
    few = 5 if quick else 1
    results = _Results()

    _throughput(results, list(vrs) or list(_QUICK_ROUTERS if quick else ROUTERS), prefixes, 5000 // few, tell)

    limit = results.run("filter_rules_at_line_rate", "rules", lambda: filter_limit(prefixes, 5000 // few, tell))
    if limit is not None:
        results.add("filter_rules_at_line_rate", limit, "rules")

    found = results.run("headroom", "x", lambda: headroom(prefixes, 4000 // few, tell))
    if found is not None:
        results.add("headroom", found.mpps / LINE_MPPS, "x")
        results.add("headroom_mpps", found.mpps, "Mpps")

    for prefix, is_ipv6 in (("latency", False), ("latency_ipv6", True)):
        found = results.run(f"{prefix}_ns_max", "ns",
                            partial(latency, 500 // few, prefixes, tell, ipv6=is_ipv6))
        if found is not None:
            results.add(f"{prefix}_ns_min", found.least_ns, "ns")
            results.add(f"{prefix}_ns_max", found.most_ns, "ns")
            results.add(f"{prefix}_spread_ns", found.most_ns - found.least_ns, "ns")
            results.add(f"{prefix}_lost_frames", found.lost + found.wrong, "frames")

    for prefix, longest in (("isolation", False), ("isolation_longest", True)):
        found = results.run(f"{prefix}_lost_frames", "frames",
                            partial(isolation, 1_000_000 // few, prefixes, tell, flood_longest=longest))
        if found is not None:
            results.add(f"{prefix}_lost_frames", found.stream_lost, "frames")
            results.add(f"{prefix}_added_latency_ns", found.added_ns, "ns",
                        "no frame of the stream came through" if found.added_ns is None else None)
            results.add(f"{prefix}_stream_frames", found.stream_frames, "frames")
            results.add(f"{prefix}_wrong_frames", found.wrong, "frames")

    found = results.run("ipv6_worst_throughput_mpps", "Mpps", lambda: ipv6_worst(5000 // few, tell))
    if found is not None:
        results.add("ipv6_worst_throughput_mpps", found.mpps, "Mpps")
        results.add("ipv6_worst_lost_frames", found.lost + found.wrong, "frames")

    found = results.run("hitless_wrong_frames", "frames", lambda: hitless(20 // few, prefixes, tell))
    if found is not None:
        frames, lost, wrong, changes = found
        results.add("hitless_wrong_frames", wrong, "frames")
        results.add("hitless_lost_frames", lost, "frames")
        results.add("hitless_route_changes", changes, "routes")
        results.add("hitless_frames", frames, "frames")
    return {
        "bench": "dataplane", "machine": "Verilated core, 4 x 1GE",
        "routes": "synthetic" if suffix else "full tables of $POLYROUTER_DATA",
        "results": results.rows, **{row["name"]: row["value"] for row in results.rows}}


def _throughput(results: _Results, counts: Sequence[int], prefixes: Prefixes, slots: int,
                tell: Callable[[str], None]) -> None:
    runs: list[Throughput] = []
    for routers in counts:
        name = f"throughput_mpps_{routers}_routers"
        found = results.run(name, "Mpps", partial(throughput, routers, prefixes, slots, tell))
        if found is not None:
            results.add(name, found.mpps, "Mpps")
            runs.append(found)
    if len(runs) == len(counts):
        results.add("throughput_mpps", min(run.mpps for run in runs), "Mpps")
    else:
        results.add("throughput_mpps", None, "Mpps", "not all cores could be measured")
    if runs:
        results.add("lost_frames", sum(run.lost for run in runs), "frames")
        results.add("wrong_frames", sum(run.wrong for run in runs), "frames")
        results.add("throughput_frames", sum(run.frames for run in runs), "frames")
        for run in runs:
            results.add(f"filter_rules_{run.routers}_routers", run.rules, "rules a router")
        results.add("filter_matched_frames", sum(run.matched for run in runs), "frames")
        results.add("filter_dropped_frames", sum(run.dropped for run in runs), "frames")
        results.add("filter_wrong_hits", sum(run.wrong_hits for run in runs), "counters")
        results.add("fib_used", min(run.fib_used for run in runs), "of 1")
        results.add("routes", max(run.routes for run in runs), "routes")
