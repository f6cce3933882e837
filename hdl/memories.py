"""Block RAM whose two ports are never at the same row, so that no logic has to say what would happen then."""

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, memory

__all__ = ["IN_BLOCKS", "NEVER_MEET", "Synthesis", "delivered", "ram_style", "whole_blocks"]

#: Attribute of a memory of which nobody uses what is read of a row in the cycle in which it is written. Vivado knows it
#: by itself (UG901, RW_ADDR_COLLISION); for yosys, ``boards/flow/yosys.py`` translates it. Without it, yosys puts a
#: comparator and a bypass of the row's width beside each memory: block RAM promises nothing in this case.
NEVER_MEET = {"rw_addr_collision": "no"}
#: Attribute of a memory that is to be block RAM, also where a tool would find look-up tables cheaper.
IN_BLOCKS = {"ram_style": "block"}


class Synthesis:
    """A platform that stands for synthesis where no board is at hand."""


def ram_style(rows: int) -> dict[str, str]:
    """Attributes of a memory of narrow rows: block RAM if it is more rows than look-up tables have.

    In look-up tables, more than 16 rows are banks with a multiplexer behind them, and wires to each.
    """
    return IN_BLOCKS if rows > 16 else {}


def whole_blocks(rows: int) -> int:
    """Depth of a memory that has this many rows: the next power of two, if that is a third more at most.

    Of a depth between two powers of two, yosys makes banks of block RAM with a multiplexer of the row's width behind
    them, to save a few blocks. Narrower and deeper blocks need none, nor the wires to it.
    """
    power = 1 << max(rows - 1, 1).bit_length()
    return power if 3 * power <= 4 * rows else rows


def delivered(m: Module, platform: Any, read: memory.ReadPort, write: memory.WritePort) -> Any:
    """What a read port delivers; with the wrong value in the case that :data:`NEVER_MEET` excludes.

    All that is not synthesis has that: simulation and proof. So each of their tests checks that nobody uses it.

    Parameters
    ----------
    m : Module
    platform : object
        That of ``elaborate``; None where nothing is synthesized.
    read, write : memory.ReadPort and memory.WritePort
        Ports in ``sync`` of a memory with this attribute.

    Returns
    -------
    Value or View
        Instead of ``read.data``.
    """
    if platform is not None:
        return read.data
    # A module of its own: where this is called, a condition may hold.
    m.submodules += (guard := Module())
    met = Signal()
    with guard.If(read.en):
        guard.d.sync += met.eq(Value.cast(write.en).any() & (write.addr == read.addr))
    value = Value.cast(read.data) ^ met.replicate(len(Value.cast(read.data)))
    return data.View(read.data.shape(), value) if isinstance(read.data, data.View) else value
