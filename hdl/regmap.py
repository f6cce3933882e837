"""The register map as a Markdown page, made from :mod:`.layouts`: ``python -m polyrouter.hdl.regmap``.

Field and member descriptions are the comments beside their definitions, so that there is one place to write them.
"""

import inspect
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from enum import IntEnum

from amaranth.lib import data

from . import layouts
from .layouts import ROWS, Table, row_words

__all__ = ["register_map"]

_ENUMS = (layouts.Table, layouts.Info, layouts.Register, layouts.BoardRow, layouts.QueueStat, layouts.HitStat,
          layouts.Reason, layouts.Role, layouts.RouterMode, layouts.TrafficClass, layouts.AdjacencyKind,
          layouts.FilterAction, layouts.LinkKind, layouts.TunnelKind, layouts.RxError, layouts.Opcode,
          layouts.OpStatus, layouts.HostFrameType, layouts.HostStatus, layouts.HostLinkKind)
_LAYOUTS = ("HOST_HEADER", "CONTROL_OP", "VMAC_ROW", "CONTEXT_ROW", "PORT_ROW", "FIB_BRANCH", "FIB_LEAF",
            "ADJACENCY_ROW", "ADJACENCY_ECMP", "ADJACENCY_MULTICAST", "FILTER_KEY", "FILTER_ROW", "ACTION_ROW",
            "POLICER_ROW", "MAC_ROW", "SHAPER_ROW", "QUOTA_ROW", "TUNNEL", "LINK_ROW", "TERMINATION_KEY",
            "TERMINATION_ROW", "BOARD_IDENTITY", "BOARD_MDIO", "BOARD_WATCHDOG", "BOARD_PORT_BITS", "BOARD_LEDS",
            "BOARD_PHY")
_ROW_NUMBERS = {
    Table.INFO: "a member of Info",
    Table.REGISTER: "a member of Register",
    Table.VMAC: "`(hash * 2 + way) << vmac_index_bits \\| index`",
    Table.CONTEXT: "0; the router is in the access",
    Table.PORT: "port; the router is in the access",
    Table.FIB: "word, relative to the router's window",
    Table.ADJACENCY: "row, relative to the router's window",
    Table.COUNTER: "`port * 32 + reason`; the router is in the access",
    Table.QUEUE: "`port * 8 + stat`; the router is in the access",
    Table.FILTER: "rule, relative to the router's window",
    Table.ACTION: "rule, relative to the router's window",
    Table.HIT: "`rule * 2 + stat`, the rule relative to the router's window",
    Table.POLICER: "row, relative to the router's window",
    Table.MAC: "row, relative to the router's window",
    Table.SHAPER: "port, the host port included; the router is in the access",
    Table.QUOTA: "0; the router is in the access",
    Table.LINK: "circuit",
    Table.TERMINATION: "`(hash * 2 + way) << termination_index_bits \\| index`",
    Table.BOARD: "a member of BoardRow",
}


def _comments(source: str) -> dict[str, str]:
    """Description of each name that is defined on a line with a trailing comment, or below ``#:`` lines."""
    found: dict[str, str] = {}
    above: list[str] = []
    name = ""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    for token in tokens:
        if token.type == tokenize.COMMENT:
            text = token.string.lstrip("#: ").strip()
            if token.string.startswith("#:"):
                above.append(text)
            elif name:
                found[name] = text
        elif token.type in (tokenize.NEWLINE, tokenize.NL):
            name = ""
        elif not name and token.type in (tokenize.NAME, tokenize.STRING):
            name = token.string.strip('"')
            if above:
                found[name] = " ".join(above)
                above = []
    return found


def _class_source(enum: type[IntEnum]) -> dict[str, str]:
    return _comments(inspect.cleandoc(inspect.getsource(enum)))


def _layout_source(name: str) -> dict[str, str]:
    module = inspect.getsource(layouts)
    match = re.search(rf"^{name} = .*?\}}\)", module, re.MULTILINE | re.DOTALL)
    assert match, f"{name} is not defined at the top level of layouts.py"
    return _comments(match.group(0))


def _table(header: tuple[str, ...], rows: list[tuple[object, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"
    yield ""


def register_map() -> str:
    """The page."""
    lines = ["# Register map", "", "Made from `hdl/layouts.py` by `make docs`; how the accesses work is in "
             "`dataplane.md`.", "", "## Tables", ""]
    lines += _table(("number", "table", "row bits", "64-bit words", "row number"),
                    [(table.value, table.name, ROWS[table], row_words(table), _ROW_NUMBERS[table]) for table in Table])
    described = _comments(inspect.getsource(layouts))
    lines += ["## Rows and headers", ""]
    for name in _LAYOUTS:
        layout: data.StructLayout = getattr(layouts, name)
        comments = _layout_source(name)
        lines += [f"### {name}", ""]
        if name in described:
            lines += [described[name], ""]
        lines += _table(("bits", "field", "meaning"), [
            (f"{entry.offset + entry.width - 1}:{entry.offset}", f"`{key}`", comments.get(str(key), ""))
            for key, entry in layout])
    lines += ["## Enumerations", ""]
    for enum in _ENUMS:
        comments = _class_source(enum)
        lines += [f"### {enum.__name__}", "", (inspect.getdoc(enum) or "").strip(), ""]
        lines += _table(("value", "name", "meaning"), [(m.value, m.name, comments.get(m.name, "")) for m in enum])
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(register_map())
