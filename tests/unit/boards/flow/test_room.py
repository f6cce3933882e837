"""Look-up tables that stay empty: how many, where, and that nothing else changes."""

from collections import Counter
from copy import deepcopy

import pytest
from polyrouter.boards.flow.room import MOST_USED, keep_room, sites_used, slice_tiles
from polyrouter.boards.flow.tools import FlowError

#: Eight rows of ten tiles, 640 look-up tables; there are columns and rows without any.
TILES = [(column, row) for row in (2, 3, 4, 6, 7, 8, 9, 10) for column in range(5, 15)]


def netlist(luts: int, carries: int = 0, memories: int = 0) -> dict:
    kinds = ["LUT4"] * luts + ["CCU2C"] * carries + ["TRELLIS_DPR16X4"] * memories + ["TRELLIS_FF"] * 100
    return {"modules": {"top": {"cells": {f"cell{k}": {"type": kind} for k, kind in enumerate(kinds)}, "netnames": {}}}}


def places(found: dict) -> list[str]:
    return [cell["attributes"]["BEL"] for cell in found["modules"]["top"]["cells"].values()
            if cell["type"] == "TRELLIS_COMB"]


@pytest.mark.parametrize(("device", "luts"), [("LFE5U-25F", 24288), ("LFE5UM-45F", 43848), ("LFE5UM5G-85F", 83640)])
def test_tiles_of_a_device(device, luts):
    tiles = slice_tiles(device)
    assert len(set(tiles)) == len(tiles) == luts // 8


def test_a_device_that_is_not_known():
    with pytest.raises(FlowError, match="device LFE5U-99F is not in nextpnr's database"):
        slice_tiles("LFE5U-99F")


def test_what_cells_take():
    assert sites_used(netlist(5, carries=3, memories=2)) == 5 + 2 * 3 + 6 * 2


@pytest.mark.parametrize("luts", [0, 100, 350, 400, 430, 480, 500, 530, 555, 640])
def test_the_emptier_the_device_the_more_stays_empty(luts):
    found, before = netlist(luts), netlist(luts)
    count, crowded = keep_room(found, TILES)
    assert crowded == (luts > MOST_USED * 640)
    empty = places(found)
    assert len(set(empty)) == len(empty) == count
    assert luts <= MOST_USED * (640 - count) or count == 0
    fuller = keep_room(netlist(luts + 30), TILES).empty
    assert fuller <= count
    assert count == (120 if luts <= MOST_USED * 520 else 80 if luts <= MOST_USED * 560 else 0)
    cells = found["modules"]["top"]["cells"]
    assert {name: cells[name] for name in before["modules"]["top"]["cells"]} == before["modules"]["top"]["cells"]


@pytest.mark.parametrize("luts", [0, 350, 400, 430, 440])
def test_chains_and_small_memories_find_rows_of_their_own(luts):
    found = netlist(luts)
    assert keep_room(found, TILES).empty
    slices = Counter(place.split(".")[0] for place in places(found))
    assert set(slices.values()) == {2}          # both look-up tables of a slice, or none
    assert set(slices) <= {f"X{column}/Y{row}/SLICED" for column, row in TILES}
    assert not [name for name in slices if "/Y2/" in name or "/Y7/" in name]        # every fourth row with tiles


@pytest.mark.parametrize("luts", [0, 350, 400, 430, 440])
def test_the_same_in_all_columns(luts):
    found = netlist(luts)
    keep_room(found, TILES)
    by_tile = Counter(place.split("/SLICE")[0] for place in places(found))
    for row in {row for _, row in TILES}:
        assert len({by_tile[f"X{column}/Y{row}"] for column in range(5, 15)}) == 1


def test_it_is_the_same_each_time():
    one, other = netlist(400), netlist(400)
    keep_room(one, TILES)
    keep_room(other, deepcopy(TILES))
    assert one == other
