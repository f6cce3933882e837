"""What a design will take of an FPGA, before it is synthesized; what can't fit is refused.

Of a memory with one read port, or two of which one shares the write port's address, the block RAMs are what yosys makes
of it; with other ports it takes at least so many. Look-up tables and registers are guesses from the operations in the
design. Of a Versa with 32 routers and 64 bits they said 30,500 and 26,700 where there were 30,141 and 26,583 after
packing; of a Colorlight with 4 routers and 32 bits 22,100 and 20,900 where there were 21,460 and 19,868.
"""

import re
from dataclasses import dataclass
from math import ceil

from ..devices import ECP5, Device
from .rtlil import REGISTERS, Design, DesignMemory
from .tools import FlowError

__all__ = ["Estimate", "MemoryEstimate", "check_fit", "estimate"]

#: Width and rows of a block of 18 kbit, with the port that writes and one that reads; the first only if these two are
#: all ports that there are (Lattice FPGA-TN-02204, Xilinx UG473: alike).
_SHAPES = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))
#: Look-up tables of a memory of 16 rows and 4 bits, and its cost for yosys, to which a block RAM is 64. It prefers
#: look-up tables up to a bit more.
_LUT_RAM, _LUT_RAM_COST, _BLOCK_COST, _PREFERENCE = 6, 4, 64, 1.4
#: Look-up tables of a bit that is chosen or computed. Those of the 7-series have six inputs.
_LUTS_A_BIT = {ECP5: 0.22, "xc7": 0.16}
#: Of the registers in the design, what yosys leaves.
_REGISTERS_LEFT = 0.9
#: A guess may be off by so much before a design is refused for it.
_DOUBT = 1.05

#: Parameter of the core that a memory's rows follow from, by its path.
_PARAMETERS = tuple((re.compile(pattern), name) for pattern, name in (
    (r"\bfib\b", "fib_words"),
    (r"\bbuffer\.(?:cells|links|allocator|releaser)|\bscheduler\.(?:descriptors|links|free)\b", "buffer_bytes"),
    (r"\bmac_table\b", "mac_rows"),
    (r"\badjacency\b", "adjacencies"),
    (r"\bvmac\b", "vmac_slots, or routers"),
    (r"\b(?:filter|hits)\b", "filter_rules"),
    (r"\bpolicers\b", "policers, or routers"),
    (r"\b(?:circuits|terminations)\b", "circuits"),
    (r"\bstore\.data\b", "max_frame and ingress_bytes"),
    (r"\b(?:counters|context|scheduler|egress\d*|quotas|replicator|pairing)\b", "routers"),
))


@dataclass(frozen=True)
class MemoryEstimate:
    """A memory: its path, width and rows, and the blocks of 18 kbit that it takes; 0 if look-up tables are cheaper."""

    name: str
    width: int
    rows: int
    block_rams: int
    luts: int

    @property
    def parameter(self) -> str | None:
        """Parameter of the core that makes it smaller, if there is one."""
        return next((name for pattern, name in _PARAMETERS if pattern.search(self.name)), None)


@dataclass(frozen=True)
class Estimate:
    """Of a design: memories, the largest first, look-up tables with those of memories, and registers."""

    memories: tuple[MemoryEstimate, ...]
    luts: int
    registers: int

    @property
    def block_rams(self) -> int:
        """Blocks of 18 kbit."""
        return sum(memory.block_rams for memory in self.memories)


def estimate(design: Design, family: str) -> Estimate:
    """What a design takes.

    Parameters
    ----------
    design : Design
    family : str
        Of the FPGA.
    """
    memories = sorted((_memory(memory) for memory in design.memories),
                      key=lambda found: (-found.block_rams, -found.luts, found.name))
    # Multiplexers are what CRCs are written with; most of theirs have a constant input.
    bits = sum(count for kind, count in design.bits.items()
               if kind == "assign" or (kind.startswith("$") and kind not in ("$mux", *REGISTERS)))
    registers = sum(count for kind, count in design.bits.items() if kind in REGISTERS)
    return Estimate(tuple(memories), round(bits * _LUTS_A_BIT[family]) + sum(memory.luts for memory in memories),
                    round(registers * _REGISTERS_LEFT))


def _memory(memory: DesignMemory) -> MemoryEstimate:
    reads = memory.reads + memory.unclocked_reads
    in_luts = ceil(memory.rows / 16) * ceil(memory.width / 4) * max(reads, 1)
    copies = [max(reads, 1) * _blocks(memory, _SHAPES)]
    if reads > 1:
        copies.append(ceil(reads / 2) * _blocks(memory, _SHAPES[1:]))
    blocks = min(copies)
    small = not memory.in_blocks and in_luts * _LUT_RAM_COST <= blocks * _BLOCK_COST * _PREFERENCE
    if not memory.writes:
        in_luts, small = 0, small or not memory.reads       # a table of constants is logic
    if memory.unclocked_reads or small:
        return MemoryEstimate(memory.name, memory.width, memory.rows, 0, in_luts * _LUT_RAM)
    return MemoryEstimate(memory.name, memory.width, memory.rows, blocks, 0)


def _blocks(memory: DesignMemory, shapes: tuple[tuple[int, int], ...]) -> int:
    return min(ceil(memory.width / width) * ceil(memory.rows / rows) for width, rows in shapes)


def check_fit(board: str, device: Device, found: Estimate) -> None:
    """Refuse what can't fit.

    Raises
    ------
    FlowError
        If there are too few block RAMs, or by far too few look-up tables or registers; the message tells how many it
        takes and how many there are, and names the largest table and the parameter to lower.
    """
    if found.block_rams > device.block_rams:
        raise FlowError(
            f"{board}: the tables take {found.block_rams} block RAMs of 18 kbit, and its {device.name} has "
            f"{device.block_rams}. {_largest(found, 'block_rams', 'block RAMs')}")
    if found.luts > _DOUBT * device.luts:
        raise FlowError(
            f"{board}: the design takes about {found.luts:,} look-up tables, and its {device.name} has "
            f"{device.luts:,}. {_largest(found, 'luts', 'look-up tables')}")
    if found.registers > _DOUBT * device.registers:
        raise FlowError(
            f"{board}: the design takes about {found.registers:,} registers, and its {device.name} has "
            f"{device.registers:,}. They are not those of tables: take fewer ports, a smaller data_width, filter_rules "
            "0, or another board")


def _largest(found: Estimate, what: str, unit: str) -> str:
    """The largest table that a parameter makes smaller."""
    tables = [memory for memory in found.memories if memory.parameter]
    table = max(tables, key=lambda memory: getattr(memory, what), default=None)
    if table is None or not getattr(table, what):
        return "It has no table to speak of; take fewer ports, or another board"
    return (f"The largest table is {table.name}, {table.rows:,} rows of {table.width} bits, which takes "
            f"{getattr(table, what):,} {unit}: lower {table.parameter} (--set NAME=VALUE)")
