"""How yosys synthesizes a core for an ECP5: in as few look-up tables as the clock allows."""

import re

__all__ = ["ECP5_COARSE", "ECP5_FINE", "ECP5_SYNTHESIS", "PREPARE", "without_brackets"]

#: Read ports that a memory has at most.
_READ_PORTS = 4
#: Logic and estimated wires between two registers up to which abc looks for few look-up tables and not for speed. Its
#: wires are short: what it makes has 10 levels at most, and only place and route tells whether a clock is kept.
_LONGEST_LOGIC_PS = 5500
#: Adders and comparators of up to so many bits are made of look-up tables. Carry chains are faster, but each takes two
#: look-up tables a bit, and up to four more at its ends.
_MOST_PLAIN_BITS = 16

#: Memories of which hdl/memories.py says that their ports never meet; yosys has no attribute for that, but masks of as
#: many bits as there are pairs of ports. Those with several write ports are left as they are.
PREPARE = "\n".join([
    "proc", "memory_collect",
    *(f"setparam -set RD_COLLISION_X_MASK {ports}'b{'1' * ports} -set RD_TRANSPARENCY_MASK {ports}'b{'0' * ports} "
      f"t:$mem_v2 a:rw_addr_collision=no %i r:RD_PORTS={ports} %i r:WR_PORTS=1 %i"
      for ports in range(1, _READ_PORTS + 1)),
    ""])
#: The first part of the synthesis of a module ``top``, and the option of ``synth_ecp5`` for the second.
ECP5_COARSE = f"""scratchpad -set abc9.D {_LONGEST_LOGIC_PS}
synth_ecp5 -top top -run begin:map_gates
techmap -map +/techmap.v t:$alu r:Y_WIDTH<={_MOST_PLAIN_BITS} %i
"""
ECP5_FINE = "-run map_gates:"
ECP5_SYNTHESIS = f"{ECP5_COARSE}synth_ecp5 -top top {ECP5_FINE}"
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
