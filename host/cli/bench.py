"""polyrouter bench"""

import importlib
import inspect
import os
import platform
from typing import Annotated, Any

import typer

from .common import FAILED, USAGE, Json, console, fail, print_json, progress, reporting, show_rows

__all__ = ["bench"]

#: Name -> module, function, what it measures.
BENCHES = {
    "sim": ("polyrouter.sim.live.bench", "run_sim_bench", "frames and cycles a second of the live board"),
    "fib": ("polyrouter.host.benchmarks.fib", "run_fib_bench", "routes a second and bits a route of the FIB compiler"),
    "dataplane": ("polyrouter.host.benchmarks.dataplane", "run_dataplane_bench",
                  "throughput, latency, isolation and changes under load of the data plane, cycle by cycle"),
    "boards": ("polyrouter.host.benchmarks.boards", "run_boards_bench",
               "whether the core of each board carries its ports at line rate, at the board's clock"),
    "links": ("polyrouter.host.benchmarks.links", "run_links_bench",
              "tunnels at line rate, limits of VNICs and how many VNICs pass traffic at once, cycle by cycle"),
    "migration": ("polyrouter.host.benchmarks.migration", "run_migration_bench",
                  "moves of a router between live boards: how long its routing stack stands still, and what is lost"),
    "resources": ("polyrouter.host.benchmarks.resources", "run_resources_bench",
                  "what the core takes of an FPGA, and each of its memories"),
    "timing": ("polyrouter.host.benchmarks.timing", "run_timing_bench",
               "the clock that each part of the core, and all of it, can have on an ECP5"),
}


def bench(
    name: Annotated[str | None, typer.Argument(help="Which one.", autocompletion=lambda: list(BENCHES))] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name them all.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter runs.")] = False,
    vrs: Annotated[list[int] | None, typer.Option("--vrs", help="Virtual routers of the core; repeatable.")] = None,
    part: Annotated[list[str] | None, typer.Option("--part", help="Part of the core; repeatable.")] = None,
    board: Annotated[list[str] | None, typer.Option("--board", help="Board; repeatable.")] = None,
    speed: Annotated[int | None, typer.Option("--speed", help="Speed grade of the FPGA.", min=6, max=8)] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the placement.")] = None,
    as_json: Json = False,
) -> None:
    """Measure something on this machine; fails if a figure is not as good as it must be."""
    if list_:
        rows = [{"name": key, "measures": what} for key, (_, _, what) in BENCHES.items()]
        show_rows("Benches", rows, as_json=as_json)
        return
    if name not in BENCHES:
        raise fail(f"there is no bench {name!r}; there are: {', '.join(BENCHES)}", USAGE)
    module, function, what = BENCHES[name]
    with reporting(), progress(f"measuring {what}") as step:
        run = getattr(importlib.import_module(module), function)
        takes = inspect.signature(run).parameters
        options: dict[str, Any] = {"quick": quick, "vrs": vrs or [], "part": part or [], "board": board or []}
        options.update({key: value for key, value in (("speed", speed), ("seed", seed)) if value is not None})
        for option, value in options.items():
            if value and option not in takes:
                raise fail(f"bench {name} takes no --{option}", USAGE)
        found = run(**{option: value for option, value in {**options, "progress": step}.items() if option in takes})
    result: dict[str, Any] = found if isinstance(found, dict) else {
        "bench": name, "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "results": found, **{row["name"]: row["value"] for row in found}}
    if as_json:
        print_json(result)
    else:
        console.print(f"{result['bench']} on {result['machine']}", highlight=False)
        show_rows("Results", result["results"], as_json=False)
    if not all(row.get("ok", True) is not False for row in result["results"]):
        raise typer.Exit(FAILED)
