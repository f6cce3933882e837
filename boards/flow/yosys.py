"""How yosys synthesizes a core for an ECP5: in as few look-up tables as the clock allows."""

import re
from collections.abc import Sequence

__all__ = ["ECP5_CELLS", "ECP5_SYNTHESIS", "PREPARE", "ecp5_mapped", "fast_modules", "without_brackets"]

#: Read ports that a memory has at most.
_READ_PORTS = 4
#: Logic and estimated wires between two registers up to which abc looks for few look-up tables and not for speed, as a
#: part of the core clock's period. Its wires are short: only place and route tells whether a clock is kept.
_LONGEST_LOGIC = 0.245
#: The same of logic at 125 MHz, and the modules of a board that have such a clock
#: (``boards/toplogic.py``).
_FAST_LOGIC_PS = 3000
_FAST = re.compile(r"^module \\(\S+\.line\d+)$", re.MULTILINE)
#: Adders and comparators of up to so many bits are made of look-up tables. Carry chains are faster, but each takes two
#: look-up tables a bit, and up to four more at its ends.
_MOST_PLAIN_BITS = 16
#: What ``synth_ecp5`` does to registers, but clock enables and resets of fewer than so many are made of look-up tables.
#: Each set of registers with a clock enable and a reset of its own takes a slice at least, and keeps all others off it:
#: of a core's 700 sets half were of four registers and fewer.
_LEAST_CONTROL_SET = 5
_LARGE_CONTROL_SETS = (
    "dfflegalize -cell $_DFF_?_ 01 -cell $_DFF_?P?_ r -cell $_SDFF_?P?_ r -cell $_DFFE_??_ 01 -cell $_DFFE_?P??_ r "
    f"-cell $_SDFFE_?P??_ r -cell $_DLATCH_?_ x -mince {_LEAST_CONTROL_SET} -minsrst {_LEAST_CONTROL_SET}")

#: Memories of which hdl/memories.py says that their ports never meet; yosys has no attribute for that, but masks of as
#: many bits as there are pairs of ports. Those with several write ports are left as they are.
PREPARE = "\n".join([
    "proc", "memory_collect",
    *(f"setparam -set RD_COLLISION_X_MASK {ports}'b{'1' * ports} -set RD_TRANSPARENCY_MASK {ports}'b{'0' * ports} "
      f"t:$mem_v2 a:rw_addr_collision=no %i r:RD_PORTS={ports} %i r:WR_PORTS=1 %i"
      for ports in range(1, _READ_PORTS + 1)),
    ""])
#: Option of ``synth_ecp5`` for what is left to be done after :func:`ecp5_mapped`.
ECP5_CELLS = "-run map_cells:"


def ecp5_mapped(clock_hz: float, fast: Sequence[str] = ()) -> str:
    """Script that synthesizes a module ``top`` up to its look-up tables, as ``synth_lattice`` does.

    Parameters
    ----------
    clock_hz : float
        The core's clock. Abc9 knows one limit for all that it works on.
    fast : sequence of str
        Modules whose logic is mapped by itself, for a clock of 125 MHz.
    """
    apart = [line for number, module in enumerate(fast) for line in (
        f"hierarchy -top {module}", "abc9 -W 300", f"design -stash fast{number}", "design -load all")]
    together = [line for number, module in enumerate(fast) for line in (
        f"delete {module}", f"design -copy-from fast{number} -as {module} {module}",
        f"setattr -mod -unset keep_hierarchy {module}")]
    return "\n".join([
        *(f"setattr -mod -set keep_hierarchy 1 {module}" for module in fast),
        "synth_ecp5 -top top -run begin:map_gates",
        f"techmap -map +/techmap.v t:$alu r:Y_WIDTH<={_MOST_PLAIN_BITS} %i",
        "synth_ecp5 -top top -run map_gates:map_ffs",
        "opt_clean",
        _LARGE_CONTROL_SETS,
        "synth_ecp5 -top top -run map_ffs:map_luts",
        "techmap -map +/lattice/latches_map.v",
        *(["design -save all", f"scratchpad -set abc9.D {_FAST_LOGIC_PS}", *apart] if fast else []),
        *(f"blackbox {module}" for module in fast),
        f"scratchpad -set abc9.D {_LONGEST_LOGIC * 1e12 / clock_hz:.0f}",
        "abc9 -W 300",
        *together, "flatten", "clean", ""])


#: The whole synthesis of a module ``top``, at the clock of a small board.
ECP5_SYNTHESIS = f"{ecp5_mapped(625e6 / 12)}synth_ecp5 -top top {ECP5_CELLS}"


def fast_modules(rtlil: str) -> list[str]:
    """Modules of a board's RTLIL whose clock is 125 MHz."""
    return _FAST.findall(rtlil)

#: A name in RTLIL with an index in it. Bits of a wire are different: there is a space ahead of their bracket.
_INDEXED = re.compile(r"(?<=\s)\\\S*\[\S*")


def without_brackets(rtlil: str) -> str:
    """RTLIL without ``[`` and ``]`` in names.

    Amaranth calls the fields of an array ``name[0]``, ``name[1]``. What goes through abc9 gets its names back by such
    an index, so yosys takes bit 1 of ``name`` for the first one of ``name[1]``, and two drivers meet in one net.

    Parameters
    ----------
    rtlil : str
        What Amaranth has written.
    """
    return _INDEXED.sub(lambda found: found[0].replace("[", "<").replace("]", ">"), rtlil)
