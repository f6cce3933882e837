"""The layouts have the sizes that the specification gives, and pack and unpack are each other's inverse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from polyrouter.hdl import layouts
from polyrouter.hdl.layouts import ADJACENCY_ROW, CONTEXT_ROW, VMAC_ROW, Reason, Table, pack, row_words, unpack
from polyrouter.hdl.regmap import register_map


@pytest.mark.parametrize("name, bits", [
    ("HOST_HEADER", 32 * 8), ("CONTROL_OP", 16 * 8), ("VMAC_ROW", 64), ("FIB_BRANCH", 72), ("FIB_LEAF", 72),
    ("FIB_RESULTS", 72), ("PORT_ROW", 48),
])
def test_sizes(name, bits):
    assert getattr(layouts, name).size == bits


def test_rows():
    assert {table: row_words(table) for table in Table if row_words(table) > 1} == {
        Table.CONTEXT: 3, Table.FIB: 2, Table.ADJACENCY: 2}
    assert max(Reason) < layouts.REASONS


@pytest.mark.parametrize("layout", [VMAC_ROW, CONTEXT_ROW, ADJACENCY_ROW])
@given(data=st.data())
def test_pack_unpack(layout, data):
    values = {name: data.draw(st.integers(0, (1 << entry.width) - 1)) for name, entry in layout}
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
    for layout in (VMAC_ROW, CONTEXT_ROW, ADJACENCY_ROW, layouts.HOST_HEADER, layouts.CONTROL_OP):
        for name, entry in layout:
            assert f"| {entry.offset + entry.width - 1}:{entry.offset} | `{name}` |" in page
    for member in Reason:
        line = next(line for line in page.splitlines() if line.startswith(f"| {member.value} | {member.name} |"))
        assert line.split("|")[3].strip(), f"{member.name} has no description"
