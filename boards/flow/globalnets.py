"""Puts resets with many registers onto the clock network of an ECP5, where they take none of the fabric's wires.

nextpnr does so with clocks only. In the fabric, the reset of a core is a tree to most of its registers. The router
takes it up again whenever another net wants one of its wires, and it may be the longest path of its clock domain.
"""

from collections import Counter
from typing import Any

__all__ = ["FEWEST_REGISTERS", "promote_resets"]

#: A reset with fewer registers stays in the fabric, where it is faster.
FEWEST_REGISTERS = 2000
#: Global nets that reach more than clock inputs, less those that nextpnr may have given to clocks before: 4 RGMIIs, 125
#: MHz and the core's.
_MOST = 2


def promote_resets(netlist: dict[str, Any], top: str = "top") -> list[int]:
    """Give each such reset a buffer (``DCCA``) of its own; what else the net drives stays in the fabric.

    Parameters
    ----------
    netlist : dict
        Of yosys (``write_json``), flat and mapped to an ECP5; it is changed.
    top : str
        Its module.

    Returns
    -------
    list of int
        Registers of each that was put there.
    """
    module = netlist["modules"][top]
    resets = [cell["connections"] for cell in module["cells"].values()
              if cell["type"] == "TRELLIS_FF" and isinstance(cell["connections"].get("LSR", [""])[0], int)]
    counts = [(net, count) for net, count in Counter(ports["LSR"][0] for ports in resets).most_common(_MOST)
              if count >= FEWEST_REGISTERS]
    fresh = 1 + max((bit for cell in module["cells"].values() for bits in cell["connections"].values() for bit in bits
                     if isinstance(bit, int)), default=0)
    moved = {}
    for number, (net, _) in enumerate(counts):
        moved[net] = fresh + number
        name = f"global_reset{number}"
        module["netnames"][name] = {"hide_name": 0, "bits": [moved[net]], "attributes": {}}
        module["cells"][name + "_buffer"] = {
            "hide_name": 0, "type": "DCCA", "parameters": {}, "attributes": {},
            "port_directions": {"CLKI": "input", "CE": "input", "CLKO": "output"},
            "connections": {"CLKI": [net], "CE": ["1"], "CLKO": [moved[net]]}}
    for ports in resets:
        ports["LSR"] = [moved.get(ports["LSR"][0], ports["LSR"][0])]
    return [count for _, count in counts]
