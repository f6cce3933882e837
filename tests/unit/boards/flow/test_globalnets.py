"""Resets on the clock network: whose registers are moved there, and whose are not."""

import json
from random import Random
from types import SimpleNamespace

import pytest
from polyrouter.boards.flow.ecp5 import Ecp5Flow
from polyrouter.boards.flow.globalnets import FEWEST_REGISTERS, promote_resets
from polyrouter.boards.registry import board_named


def netlist(resets: dict, lut_inputs=()) -> dict:
    """Registers of each reset, and look-up tables with an input each, in an order of their own."""
    nets = [reset for reset, count in resets.items() for _ in range(count)]
    Random(1).shuffle(nets)
    cells = {f"ff{number}": {"type": "TRELLIS_FF", "port_directions": {},
                             "connections": {"CLK": [2], "LSR": [net], "DI": [5 + number], "Q": [6 + number]}}
             for number, net in enumerate(nets)}
    cells |= {f"lut{number}": {"type": "LUT4", "port_directions": {}, "connections": {"A": [net], "Z": [4]}}
              for number, net in enumerate(lut_inputs)}
    cells["bare"] = {"type": "TRELLIS_FF", "port_directions": {}, "connections": {"CLK": [2]}}
    return {"modules": {"top": {"cells": cells, "netnames": {}}}}


def by_reset(found: dict) -> dict:
    counts: dict = {}
    for cell in found["modules"]["top"]["cells"].values():
        for net in cell["connections"].get("LSR", ()):
            counts[net] = counts.get(net, 0) + 1
    return counts


def buffers(found: dict) -> dict:
    return {cell["connections"]["CLKO"][0]: cell["connections"]["CLKI"][0]
            for cell in found["modules"]["top"]["cells"].values() if cell["type"] == "DCCA"}


def test_registers_of_a_large_reset_are_moved_and_nothing_else():
    found = netlist({3: FEWEST_REGISTERS, 4: FEWEST_REGISTERS - 1, "0": FEWEST_REGISTERS}, lut_inputs=[3, 4])
    used = {bit for cell in found["modules"]["top"]["cells"].values() for bits in cell["connections"].values()
            for bit in bits}
    assert promote_resets(found) == [FEWEST_REGISTERS]
    (new, old), = buffers(found).items()
    assert old == 3 and new not in used
    assert by_reset(found) == {new: FEWEST_REGISTERS, 4: FEWEST_REGISTERS - 1, "0": FEWEST_REGISTERS}
    cells = found["modules"]["top"]["cells"]
    assert [cells[f"lut{number}"]["connections"]["A"] for number in range(2)] == [[3], [4]]
    assert [name for name, net in found["modules"]["top"]["netnames"].items() if net["bits"] == [new]]


@pytest.mark.parametrize("resets", [{}, {3: FEWEST_REGISTERS - 1}, {"1": FEWEST_REGISTERS}])
def test_nothing_to_move(resets):
    found, same = netlist(resets), netlist(resets)
    assert promote_resets(found) == []
    assert found == same


def test_no_more_than_there_is_room_for_on_the_clock_network():
    found = netlist({net: FEWEST_REGISTERS + net for net in (3, 7, 4, 9)})
    assert promote_resets(found) == [FEWEST_REGISTERS + 9, FEWEST_REGISTERS + 7]
    assert sorted(buffers(found).values()) == [7, 9]


def test_the_flow_does_so(tmp_path):
    board = board_named("versa_ecp5")
    top = SimpleNamespace(inner=SimpleNamespace(signature=SimpleNamespace(members={})))
    told = []
    flow = Ecp5Flow(board, top, tmp_path, told.append)
    file = tmp_path / "top.json"
    file.write_text(json.dumps(netlist({3: FEWEST_REGISTERS})))
    empty, crowded = flow._finish(file)
    assert not crowded
    assert list(buffers(json.loads(file.read_text())).values()) == [3]
    assert told == [f"resets on the clock network: 1, with {FEWEST_REGISTERS} registers",
                    f"look-up tables that stay empty: {empty}"]
    cells = json.loads(file.read_text())["modules"]["top"]["cells"].values()
    assert empty == sum(cell["type"] == "TRELLIS_COMB" for cell in cells) > 0
