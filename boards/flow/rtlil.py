"""What a design in RTLIL has, before it is synthesized: memories, and operations by their kind and width."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["REGISTERS", "Design", "DesignMemory", "read_design"]

#: Kinds of cells that are registers.
REGISTERS = "$dff", "$adff", "$dffe", "$sdff"

_MODULE = re.compile(r"module \\(\S+)")
_MEMORY = re.compile(r"  memory width (\d+) size (\d+) \\(\S+)")
_IN_BLOCKS = '  attribute \\ram_style "block"'
_CELL = re.compile(r"  cell (\S+) ")
_PARAMETER = re.compile(r"    parameter (?:signed )?\\(\w+) (.+)")
#: An assignment, with the bits of its target if it is a slice; those in a branch of a process are indented by more.
_ASSIGN = re.compile(r"\s+assign (\S+)(?: \[(\d+)(?::(\d+))?\])? ")
_WIRE = re.compile(r"  wire width (\d+) .*?([\\$]\S+)$")
_NUMBERED = re.compile(r"\$\d+(?=\.|$)")


@dataclass
class DesignMemory:
    """A memory.

    Attributes
    ----------
    name : str
        Its path.
    width, rows : int
    reads, unclocked_reads, writes : int
        Ports.
    in_blocks : bool
        It is to be block RAM, whatever is cheaper.
    """

    name: str
    width: int
    rows: int
    reads: int = 0
    unclocked_reads: int = 0
    writes: int = 0
    in_blocks: bool = False


@dataclass
class Design:
    """A design.

    Attributes
    ----------
    memories : list of DesignMemory
    bits : Counter
        Bits of the results of all operations, by their kind in RTLIL; of assignments that depend on something as
        ``assign``.
    """

    memories: list[DesignMemory] = field(default_factory=list)
    bits: Counter[str] = field(default_factory=Counter)


def read_design(text: str) -> Design:
    """Read what Amaranth has written.

    Parameters
    ----------
    text : str
        RTLIL in which each module is used once, as Amaranth's are.
    """
    found = Design()
    for name, lines in _modules(text):
        _read_module(found, name, lines)
    return found


def _modules(text: str) -> Iterator[tuple[str, list[str]]]:
    name = ""
    lines: list[str] = []
    for line in text.splitlines():
        if match := _MODULE.match(line):
            name, lines = match[1], []
        elif line == "end":
            yield name, lines
        else:
            lines.append(line)


def _read_module(found: Design, module: str, lines: list[str]) -> None:
    memories: dict[str, DesignMemory] = {}
    widths: dict[str, int] = {}
    cell = ""
    parameters: dict[str, str] = {}
    in_blocks = False
    for line in lines:
        if match := _CELL.match(line):
            cell, parameters = match[1], {}
        elif match := _PARAMETER.match(line):
            parameters[match[1]] = match[2]
        elif line == "  end" and cell:
            _count_cell(found, memories, cell, parameters)
            cell = ""
        elif match := _WIRE.match(line):
            widths[match[2]] = int(match[1] or 1)
        elif match := _MEMORY.match(line):
            path = _NUMBERED.sub("", f"{module}.{match[3]}")
            memories[match[3]] = DesignMemory(path.removeprefix("top."), int(match[1]), int(match[2]),
                                              in_blocks=in_blocks)
            in_blocks = False
        elif line == _IN_BLOCKS:
            in_blocks = True
        elif line.startswith("      ") and (match := _ASSIGN.match(line)):
            high, low = match[2], match[3]
            found.bits["assign"] += (widths.get(match[1], 1) if high is None else
                                     1 if low is None else int(high) - int(low) + 1)
    found.memories += memories.values()


def _count_cell(found: Design, memories: dict[str, DesignMemory], cell: str, parameters: dict[str, str]) -> None:
    if cell in ("$memrd_v2", "$memwr_v2"):
        memory = memories[parameters["MEMID"].strip('"').lstrip("\\")]
        if cell == "$memwr_v2":
            memory.writes += 1
        elif parameters["CLK_ENABLE"] == "1":
            memory.reads += 1
        else:
            memory.unclocked_reads += 1
    elif cell.startswith("$") and "Y_WIDTH" in parameters:
        # A comparison or a reduction has one bit, but works on many.
        width = max(int(parameters.get(name, 0)) for name in ("A_WIDTH", "B_WIDTH", "Y_WIDTH"))
        found.bits[cell] += width
    elif cell == "$mux" or cell in REGISTERS:
        found.bits[cell] += int(parameters["WIDTH"])
    elif not cell.startswith("$"):
        found.bits[cell] += 1
