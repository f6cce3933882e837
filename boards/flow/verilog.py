"""Verilog as yosys writes it, made shorter for the tools that read it."""

import re
from itertools import count

__all__ = ["with_memory_loops"]

#: Assignments in a loop at most: Vivado gives up at 65,536 rounds of one.
_LONGEST_LOOP = 32768
#: What a memory starts with: a block in which nothing but its rows are set, from row 0 on, to one value.
_BLOCK = re.compile(
    r"^  initial begin\n"
    r"    (?P<name>\S+ ?)\[0\] = (?P<value>[^;\n]+);\n"
    r"(?P<others>(?:    (?P=name)\[\d+\] = (?P=value);\n)+)"
    r"  end\n", re.MULTILINE)


def with_memory_loops(verilog: str) -> str:
    """The same design, in which each memory that starts with the same value in all rows says so once.

    Yosys writes an assignment for each row, which is two thirds of what it writes of a core.

    Parameters
    ----------
    verilog : str
        Of yosys' ``write_verilog``.
    """
    numbers = count()

    def block(found: re.Match) -> str:
        rows = [int(row) for row in re.findall(r"\[(\d+)\] = ", found["others"])]
        if rows != list(range(1, len(rows) + 1)):
            return found[0]
        depth = len(rows) + 1
        loops = (f"    for (row = {first}; row < {min(first + _LONGEST_LOOP, depth)}; row = row + 1)\n"
                 f"      {found['name']}[row] = {found['value']};\n" for first in range(0, depth, _LONGEST_LOOP))
        return f"  initial begin : polyrouter_rows_{next(numbers)}\n    integer row;\n{''.join(loops)}  end\n"

    return _BLOCK.sub(block, verilog)
