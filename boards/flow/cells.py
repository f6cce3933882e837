"""What a netlist of yosys takes of an FPGA, and which memory takes which part of it."""

import re
from typing import NamedTuple

from .yosys import ECP5_SYNTHESIS

__all__ = ["FAMILIES", "YOSYS_PASS", "Family", "Resources", "memory_of", "resources_of"]


class Family(NamedTuple):
    """A kind of FPGA: how yosys is told, and what its cells count as."""

    name: str
    synthesis: str
    luts: dict[str, int]            # look-up tables that a cell takes
    registers: frozenset[str]
    block_rams: dict[str, int]      # blocks of 18 kbit that a cell takes
    distributed: dict[str, int]     # the same as luts, of memories made of look-up tables
    dsp: str                        # cell of a multiplier


#: The wide multiplexers of both families are beside the look-up tables, and not counted.
FAMILIES = (
    Family("ecp5", ECP5_SYNTHESIS,
           {"LUT4": 1, "CCU2C": 2}, frozenset({"TRELLIS_FF"}), {"DP16KD": 1, "PDPW16KD": 1},
           {"TRELLIS_DPR16X4": 6}, "MULT18X18D"),
    Family("xc7", "synth_xilinx -family xc7 -top top -flatten -noiopad -noclkbuf",
           {**{f"LUT{inputs}": 1 for inputs in range(1, 7)}, "SRL16E": 1, "SRLC32E": 1, "INV": 0},
           frozenset({"FDRE", "FDSE", "FDCE", "FDPE"}), {"RAMB18E1": 1, "RAMB36E1": 2},
           {"RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8, "RAM32M": 4, "RAM64M": 4, "RAM32X1S": 1,
            "RAM64X1S": 1}, "DSP48E1"),
)

#: What memory_libmap puts behind a memory's name to make that of a cell, and mapping to slices behind that; and numbers
#: by which Amaranth tells a name from another of the same module, which change with every change of the design.
_CELL_NUMBERS = re.compile(r"\.\d+(\..*)?$|\$\d+")
#: What says that one pass of yosys begins.
YOSYS_PASS = re.compile(r"^[\d.]+\. Executing (\S+) pass")


class Resources(NamedTuple):
    """Of a synthesized core."""

    luts: int
    registers: int
    block_rams: int
    dsps: int
    memories: dict[str, int]        # block RAMs by memory
    small_memories: dict[str, int]  # look-up tables by memory, of those that are too small for block RAM


def memory_of(cell: str) -> str:
    """The memory that a block RAM is part of: ``fib.table.memory`` of ``fib.table.memory.0.3``."""
    return _CELL_NUMBERS.sub("", cell)


def resources_of(netlist: dict, family: Family) -> Resources:
    """Count the cells of a flat netlist, as yosys' ``write_json`` has it."""
    cells = netlist["modules"]["top"]["cells"]
    luts = registers = dsps = 0
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
        elif kind == family.dsp:
            dsps += 1
        else:
            luts += family.luts.get(kind, 0)
    return Resources(luts, registers, sum(memories.values()), dsps, _by_size(memories), _by_size(small))


def _add(counts: dict[str, int], name: str, count: int) -> None:
    counts[name] = counts.get(name, 0) + count


def _by_size(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))
