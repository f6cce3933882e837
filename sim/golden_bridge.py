"""Bridging of the golden model: step 9 and "MAC table" of ``docs/dataplane.md``."""

from polyrouter.hdl.layouts import MAC_AGES, MAC_ROW, Reason, Table, pack

from .golden_packet import Frame
from .golden_rows import Context, MacEntry
from .golden_tables import Tables
from .golden_verdict import Verdict

__all__ = ["bridged", "find", "learn", "places"]

WAYS = 4
LEAST_ROWS = 4


def places(size: int, mac: int) -> list[int]:
    """Rows of a window that an address may be in, in the order in which they count."""
    if size < LEAST_ROWS or size & (size - 1):
        return []
    place = (mac ^ mac >> 16 ^ mac >> 32) & (size - 1)
    return [place ^ way for way in range(WAYS)]


def _rows(tables: Tables, context: Context, mac: int) -> list[int]:
    """The same rows of the memory, as far as it has them."""
    rows = (context.mac_base + place for place in places(context.mac_size, mac))
    return [row for row in rows if row < tables.config.mac_rows]


def _known(tables: Tables, rows: list[int], mac: int) -> tuple[int, MacEntry] | None:
    for row in rows:
        entry = tables.row(Table.MAC, MacEntry, row)
        if entry.age and entry.mac == mac:
            return row, entry
    return None


def find(tables: Tables, context: Context, mac: int) -> MacEntry | None:
    """What is known of an address."""
    known = _known(tables, _rows(tables, context, mac), mac)
    return None if known is None else known[1]


def learn(tables: Tables, context: Context, mac: int, port: int, vid: int = 0) -> None:
    """An address was seen as a source on a port; at the link port, on circuit ``vid``."""
    rows = _rows(tables, context, mac)
    known = _known(tables, rows, mac)
    if known is not None:
        row, entry = known
        if not entry.static:
            _write(tables, row, mac, port, vid)
        return
    ages = {row: tables.row(Table.MAC, MacEntry, row).age for row in rows}
    # A static entry whose age is 0 is none
    movable = [row for row in rows if not ages[row] or not tables.row(Table.MAC, MacEntry, row).static]
    if movable:
        _write(tables, min(movable, key=lambda row: ages[row]), mac, port, vid)


def _write(tables: Tables, row: int, mac: int, port: int, vid: int) -> None:
    tables.write_at(Table.MAC, row, pack(MAC_ROW, {"mac": mac, "port": port, "age": MAC_AGES, "vid": vid}))


def bridged(tables: Tables, context: Context, frame: Frame, *, is_own: bool) -> Verdict:
    """A frame that a bridged router takes, and no rule decided about."""
    if is_own:
        return Verdict.punt(Reason.PUNT_LOCAL, control=True)
    if frame.reserved_group:
        return Verdict.punt(Reason.PUNT_GROUP, control=True)
    others, vid = tables.other_ports(context.ports, frame.port), 0
    entry = None if frame.group else find(tables, context, frame.dmac)
    if entry is not None and entry.port in tables.data_ports(context.ports):
        came_from = entry.port == frame.port and (entry.port != tables.config.link_port or entry.vid == frame.vid)
        others, vid = () if came_from else (entry.port,), entry.vid
    host = Reason.PUNT_GROUP if frame.group and context.group >> frame.port & 1 else None
    if not others and host is None:
        return Verdict.drop(Reason.DROP_NO_PORT)
    return Verdict(Reason.BRIDGED if others else None, others, host, vid=vid)
