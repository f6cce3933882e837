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


def find(tables: Tables, context: Context, mac: int) -> int | None:
    """Port of an address."""
    known = _known(tables, _rows(tables, context, mac), mac)
    return None if known is None else known[1].port


def learn(tables: Tables, context: Context, mac: int, port: int) -> None:
    """An address was seen as a source on a port."""
    rows = _rows(tables, context, mac)
    known = _known(tables, rows, mac)
    if known is not None:
        row, entry = known
        if not entry.static:
            _write(tables, row, mac, port)
        return
    ages = {row: tables.row(Table.MAC, MacEntry, row).age for row in rows}
    # A static entry whose age is 0 is none
    movable = [row for row in rows if not ages[row] or not tables.row(Table.MAC, MacEntry, row).static]
    if movable:
        _write(tables, min(movable, key=lambda row: ages[row]), mac, port)


def _write(tables: Tables, row: int, mac: int, port: int) -> None:
    tables.write_at(Table.MAC, row, pack(MAC_ROW, {"mac": mac, "port": port, "age": MAC_AGES}))


def bridged(tables: Tables, context: Context, frame: Frame, *, is_own: bool) -> Verdict:
    """A frame that a bridged router takes, and no rule decided about."""
    if is_own:
        return Verdict.punt(Reason.PUNT_LOCAL, control=True)
    if frame.reserved_group:
        return Verdict.punt(Reason.PUNT_GROUP, control=True)
    others = tables.data_ports(context.ports & ~(1 << frame.port))
    if not frame.group:
        port = find(tables, context, frame.dmac)
        if port is not None and port in tables.data_ports(context.ports):
            others = (port,) if port != frame.port else ()
    host = Reason.PUNT_GROUP if frame.group and context.group >> frame.port & 1 else None
    if not others and host is None:
        return Verdict.drop(Reason.DROP_NO_PORT)
    return Verdict(Reason.BRIDGED if others else None, others, host)
