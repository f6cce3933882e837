"""The layouts have the sizes that the specification gives, and pack and unpack are each other's inverse."""

from enum import IntEnum

import pytest
from amaranth.lib import data
from hypothesis import given
from hypothesis import strategies as st
from polyrouter.hdl import layouts
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    ADJACENCY_ROW,
    CONTEXT_ROW,
    CONTROL_OP,
    ROWS,
    Reason,
    Table,
    pack,
    row_words,
    unpack,
)
from polyrouter.hdl.regmap import register_map

LAYOUTS = {name: value for name, value in vars(layouts).items() if isinstance(value, data.StructLayout)}
ENUMS = [value for value in vars(layouts).values() if isinstance(value, type) and issubclass(value, IntEnum)
         and value is not IntEnum]


@pytest.mark.parametrize("name, bits", [
    ("HOST_HEADER", 32 * 8), ("CONTROL_OP", 16 * 8), ("VMAC_ROW", 78), ("CONTEXT_ROW", 340), ("PORT_ROW", 60),
    ("FIB_BRANCH", 72), ("FIB_LEAF", 72), ("FIB_RESULTS", 72), ("ADJACENCY_ROW", 81), ("ADJACENCY_ECMP", 81),
    ("ADJACENCY_MULTICAST", 81), ("FILTER_KEY", 244), ("FILTER_ROW", 489), ("ACTION_ROW", 251), ("POLICER_ROW", 51),
    ("SHAPER_ROW", 69), ("QUOTA_ROW", 33), ("MAC_ROW", 68), ("LINK_ROW", 159),
    ("BOARD_IDENTITY", 30), ("BOARD_MDIO", 35), ("BOARD_WATCHDOG", 19), ("BOARD_PORT_BITS", 16), ("BOARD_LEDS", 32),
    ("BOARD_PHY", 64), ("TERMINATION_KEY", 75), ("TERMINATION_ROW", 88), ("TUNNEL", 113),
])
def test_sizes(name, bits):
    assert getattr(layouts, name).size == bits


def test_rows():
    assert {table: row_words(table) for table in Table if row_words(table) > 1} == {
        Table.VMAC: 2, Table.CONTEXT: 6, Table.FIB: 2, Table.ADJACENCY: 2, Table.FILTER: 8, Table.ACTION: 4,
        Table.SHAPER: 2, Table.MAC: 2, Table.LINK: 3, Table.TERMINATION: 2}
    assert max(Reason) < layouts.REASONS


def test_rows_of_a_board():
    assert max(layouts.BoardRow) + layouts.BOARD_PORTS == layouts.BOARD_ROWS
    assert all(layout.size <= ROWS[Table.BOARD] for layout in layouts.BOARD_LAYOUTS.values())
    assert set(layouts.BOARD_LAYOUTS) >= layouts.BOARD_WRITABLE
    assert 2 * ROWS[Table.BOARD] == 8 * layouts.BOARD_NAME_BYTES


def test_adjacency_kinds_are_one_row():
    """What a kind calls its fields is another matter, but kind, port, MTU and VLAN are in one place."""
    for variant in (layouts.ADJACENCY_ECMP, layouts.ADJACENCY_MULTICAST):
        for name in ("kind", "port", "mtu", "vid"):
            if name in dict(variant):
                assert variant[name] == ADJACENCY_ROW[name]
    assert {"mtu", "vid"} <= set(dict(layouts.ADJACENCY_MULTICAST))


def test_fields_of_an_access_have_room():
    """For any row of any core that can be built."""
    most = CoreConfig(ports=8, routers=1024, vmac_slots=16384, fib_words=1 << 20, adjacencies=1 << 18,
                      filter_rules=2048, mac_rows=1 << 18, policers=4095, circuits=4096)
    assert set(ROWS) == set(Table)
    assert max(Table) < 1 << CONTROL_OP["table"].width
    assert max(row_words(table) for table in Table) <= 1 << CONTROL_OP["word"].width
    assert most.routers < 1 << CONTROL_OP["router"].width
    for base, size, rows, window in (
            ("fib_base", "fib_size", most.fib_words, 1 << 18), ("adj_base", "adj_size", most.adjacencies, 1 << 18),
            ("filter_base", "filter_size", most.filter_rules, most.filter_rules),
            ("policer_base", "policer_size", most.policers, most.policers),
            ("mac_base", "mac_size", most.mac_rows, most.mac_rows)):
        assert rows <= 1 << CONTEXT_ROW[base].width
        assert window < 1 << CONTEXT_ROW[size].width
    for layout, name in ((layouts.LINK_ROW, "peer"), (layouts.LINK_ROW, "next"), (layouts.TERMINATION_ROW, "circuit"),
                         (ADJACENCY_ROW, "vid"), (layouts.MAC_ROW, "vid"), (layouts.PORT_ROW, "vid")):
        assert most.circuits <= 1 << layout[name].width


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@given(draws=st.data())
def test_pack_unpack(layout, draws):
    values = {name: draws.draw(st.integers(0, (1 << entry.width) - 1)) for name, entry in layout}
    bits = pack(layout, values)
    assert bits < 1 << layout.size
    assert unpack(layout, bits) == values
    assert layout.from_bits(bits).as_bits() == bits


def test_pack_refuses():
    with pytest.raises(ValueError, match="port must fit 4 bits, not 16"):
        pack(ADJACENCY_ROW, {"port": 16})
    with pytest.raises(KeyError):
        pack(ADJACENCY_ROW, {"colour": 1})


def test_register_map_names_everything():
    page = register_map()
    for name, layout in LAYOUTS.items():
        section = page.split(f"### {name}\n")[1].split("\n#")[0]
        for field, entry in layout:
            assert f"| {entry.offset + entry.width - 1}:{entry.offset} | `{field}` |" in section
    for enum in ENUMS:
        section = page.split(f"### {enum.__name__}\n")[1].split("\n#")[0]
        for member in enum:
            assert f"| {member.value} | {member.name} |" in section
    for table in Table:
        line = next(line for line in page.splitlines() if line.startswith(f"| {table.value} | {table.name} | "))
        assert line.split("|")[5].strip(), f"rows of {table.name} have no description"
    for member in Reason:
        line = next(line for line in page.splitlines() if line.startswith(f"| {member.value} | {member.name} |"))
        assert line.split("|")[3].strip(), f"{member.name} has no description"
