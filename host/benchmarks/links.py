"""Link virtualization, cycle by cycle: tunnels at line rate, limits of VNICs, and how many VNICs pass traffic at once.

Verilated cores, as in :mod:`.dataplane`: the figures do not depend on the machine, nor on how busy it is.
"""

from collections.abc import Callable, Iterator
from typing import Any

from polyrouter.hdl.layouts import TunnelKind
from polyrouter.sim.dataplane.links import Limit, limits, tunnel_line_mpps, tunnels, vnics

__all__ = ["VNICS", "run_links_bench"]

#: VNICs that one node must have at once.
VNICS = 256
#: Line time over which limits are looked at, in seconds, and what they may be off beyond one frame, in percent.
_SECONDS, _ERROR = 0.1, 2.0
#: Of the line rate; less than one frame in a thousand is lost to where a run begins and ends.
_PART = 0.9995


def run_links_bench(*, quick: bool = False, progress: Callable[[str], None] | None = None) -> list[dict[str, Any]]:
    """Rows of ``name``, ``value``, ``unit``, ``bar``, ``ok``.

    Parameters
    ----------
    quick : bool
        Fewer frames into tunnels, and fewer VNICs; limits are looked at for as long as ever.
    progress : callable, optional
        Is told what is being done.
    """
    tell = progress or (lambda _: None)
    return [*_tunnels(500 if quick else 5000, tell), *_limits(tell), *_vnics(16 if quick else VNICS, tell)]


def _row(name: str, value: float, unit: str, *, least: float | None = None, most: float | None = None
         ) -> dict[str, Any]:
    ok = (least is None or value >= least) and (most is None or value <= most)
    return {"name": name, "value": round(value, 3), "unit": unit, "bar": least if most is None else most, "ok": ok}


def _tunnels(count: int, tell: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    for kind in TunnelKind:
        found = tunnels(kind, count, tell)
        name = kind.name.lower()
        yield _row(f"{name}_throughput_mpps", found.mpps, "Mpps", least=round(_PART * tunnel_line_mpps(kind), 3))
        yield _row(f"{name}_lost_frames", found.lost, "frames", most=0)
        yield _row(f"{name}_wrong_frames", found.wrong, "frames", most=0)
        yield _row(f"{name}_frames", found.frames, "frames")


def _limits(tell: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    found = limits(_SECONDS, tell)
    yield _row("limit_error_percent_max", max(limit.error_percent for limit in found), "%", most=_ERROR)
    yield _row("limit_wrong_frames", found[0].wrong, "frames", most=0)
    for limit in found:
        yield _row(_limit_name(limit), limit.bits / limit.seconds if limit.seconds else 0.0, "bit/s")


def _limit_name(limit: Limit) -> str:
    return f"limit_{limit.rate}_{'in' if limit.inbound else 'out'}"


def _vnics(count: int, tell: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    found = vnics(count, 4, tell)
    yield _row("vnics", found.passed, "VNICs", least=count)
    yield _row("vnics_wrong_frames", found.wrong, "frames", most=0)
