"""Loops without a register are found, others are none."""

from hypothesis import given
from hypothesis import strategies as st
from polyrouter.boards.entropy import RING_CELL
from polyrouter.boards.flow.loops import combinational_loops


def netlist(cells: dict[str, tuple[str, list[int], list[int]]]) -> dict:
    """Cells by name: their kind, the nets at their inputs, and at their outputs."""
    return {"modules": {"top": {"cells": {
        name: {"type": kind, "connections": {"I": inputs, "O": outputs},
               "port_directions": {"I": "input", "O": "output"}}
        for name, (kind, inputs, outputs) in cells.items()}}}}


@given(st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_a_ring_is_a_loop_until_a_register_is_in_it(length, other, registered):
    cells = {f"ring0_{index}": ("LUT4", [index], [(index + 1) % length]) for index in range(length)}
    cells |= {f"chain_{index}": ("LUT4", [100 + index], [101 + index]) for index in range(other)}
    if registered:
        cells["ring0_0"] = ("TRELLIS_FF", *cells["ring0_0"][1:])
    found = combinational_loops(netlist(cells))
    assert found == ([] if registered else [{f"ring0_{index}" for index in range(length)}])


def test_the_clocked_inputs_of_a_memory_are_no_way_through():
    cells = {"memory": {"type": "TRELLIS_DPR16X4",
                        "connections": {"RAD": [1], "DI": [2], "WAD": [2], "WRE": [2], "WCK": [9], "DO": [3]},
                        "port_directions": {"RAD": "input", "DI": "input", "WAD": "input", "WRE": "input",
                                            "WCK": "input", "DO": "output"}},
             "logic": {"type": "LUT4", "connections": {"A": [3], "Z": [2]},
                       "port_directions": {"A": "input", "Z": "output"}}}
    assert combinational_loops({"modules": {"top": {"cells": cells}}}) == []
    cells["logic"]["connections"]["Z"] = [1]
    assert combinational_loops({"modules": {"top": {"cells": cells}}}) == [{"memory", "logic"}]


def test_names_of_rings():
    assert all(map(RING_CELL.search, ("entropy$86.ring0_0$27", "entropy.ring3_10")))
    assert not any(map(RING_CELL.search, ("core.string0_1x", "core.ring0_1.lut", "entropy.o_LUT4_Z")))
