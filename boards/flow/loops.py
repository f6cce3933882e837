"""Finds combinational loops in a netlist of an ECP5.

A design with ring oscillators must be placed with ``--ignore-loops``, and then nobody else would tell of others.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import networkx as nx

__all__ = ["combinational_loops"]

#: Cells whose outputs follow their inputs at once.
_COMBINATIONAL = frozenset({"LUT4", "PFUMX", "L6MUX21", "CCU2C", "TRELLIS_DPR16X4", "MULT18X18D", "ALU54B"})
#: Inputs that are taken over by a clock all the same.
_CLOCKED = {"TRELLIS_DPR16X4": frozenset({"WAD", "DI", "WRE", "WCK"})}


def combinational_loops(netlist: Mapping[str, Any], top: str = "top") -> list[set[str]]:
    """Cells that are on a loop without a register, one set for each group of loops.

    Parameters
    ----------
    netlist : mapping
        Of yosys (``write_json``), flat and mapped to an ECP5.
    top : str
        Its module.
    """
    cells = {name: cell for name, cell in netlist["modules"][top]["cells"].items() if cell["type"] in _COMBINATIONAL}
    drivers = {bit: name for name, cell in cells.items() for bit in _bits(cell, "output")}
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_edges_from((drivers[bit], name) for name, cell in cells.items() for bit in _bits(cell, "input")
                         if bit in drivers)
    return [group for group in nx.strongly_connected_components(graph)
            if len(group) > 1 or graph.has_edge(*2 * tuple(group))]


def _bits(cell: Mapping[str, Any], direction: str) -> Iterator[int | str]:
    clocked = _CLOCKED.get(cell["type"], frozenset())
    for port, bits in cell["connections"].items():
        if cell["port_directions"][port] == direction and port not in clocked:
            yield from bits
