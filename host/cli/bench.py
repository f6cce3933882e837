"""polyrouter bench"""

import importlib
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
}


def bench(
    name: Annotated[str | None, typer.Argument(help="Which one.", autocompletion=lambda: list(BENCHES))] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name them all.")] = False,
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
    with reporting(), progress(f"measuring {what}"):
        found = getattr(importlib.import_module(module), function)()
    result: dict[str, Any] = found if isinstance(found, dict) else {
        "bench": name, "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "results": found}
    if as_json:
        print_json(result)
    else:
        console.print(f"{result['bench']} on {result['machine']}", highlight=False)
        show_rows("Results", result["results"], as_json=False)
    if not all(row.get("ok", True) is not False for row in result["results"]):
        raise typer.Exit(FAILED)
