"""What yosys is told before it synthesizes a core for an ECP5."""

import re

__all__ = ["LONGEST_LOGIC_PS", "PREPARE", "RELAX", "without_brackets"]

#: Read ports that a memory has at most.
_READ_PORTS = 4
#: Logic and estimated wires between two registers up to which abc looks for few look-up tables and not for speed. Its
#: wires are short: what it makes has 13 levels at most, and only place and route tells whether a clock is kept.
LONGEST_LOGIC_PS = 7000

#: Memories of which hdl/memories.py says that their ports never meet; yosys has no attribute for that, but masks of as
#: many bits as there are pairs of ports. Those with several write ports are left as they are.
PREPARE = "\n".join([
    "proc", "memory_collect",
    *(f"setparam -set RD_COLLISION_X_MASK {ports}'b{'1' * ports} -set RD_TRANSPARENCY_MASK {ports}'b{'0' * ports} "
      f"t:$mem_v2 a:rw_addr_collision=no %i r:RD_PORTS={ports} %i r:WR_PORTS=1 %i"
      for ports in range(1, _READ_PORTS + 1)),
    ""])
#: The same design in fewer look-up tables.
RELAX = f"scratchpad -set abc9.D {LONGEST_LOGIC_PS}\n"
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
