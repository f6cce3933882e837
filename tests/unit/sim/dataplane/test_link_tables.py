"""Tables of the link bench."""

from random import Random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import MAC_ROW, Register, Table, TunnelKind, unpack
from polyrouter.sim.dataplane.link_tables import LinkSite, static_macs


def test_addresses_are_where_the_board_looks_for_them():
    """In one of the four rows of docs/dataplane.md, "MAC table", and each in a row of its own."""
    rng = Random(1)
    places = [(rng.getrandbits(48), rng.randrange(4), rng.randrange(64)) for _ in range(20)]
    writes = list(static_macs(5, 64, places))
    assert len({write.row for write in writes}) == len(places)
    for (mac, port, circuit), write in zip(places, writes, strict=True):
        assert (write.table, write.router) == (Table.MAC, 5)
        start = (mac ^ mac >> 16 ^ mac >> 32) & 63
        assert write.row in {start ^ j for j in range(4)}
        assert unpack(MAC_ROW, write.value) == {
            "mac": mac, "port": port, "static": 1, "age": 7, "vid": circuit}


def test_an_address_without_a_row_is_refused():
    same = [(k << 32 | k << 16, 0, 1) for k in range(5)]        # all begin at row 0
    with pytest.raises(OverflowError, match="no row is left for 0x000400040000"):
        list(static_macs(0, 64, same))


def test_all_rows_of_a_site_and_the_buffers_parts():
    config = CoreConfig(ports=3, routers=8, circuits=64)
    site = LinkSite(config, Random(1))
    site.bridge(1, wires=[0], circuits=[1], flood=1)
    row = site.tunnel(1, 1, 0, TunnelKind.VXLAN, 7, 0x0A000001, 0x0A000002, ttl=65)
    assert (row["kind"], row["key"], row["ttl"]) == (TunnelKind.VXLAN, 7, 65)
    writes = site.writes()
    by_table = {table: [write for write in writes if write.table == table] for table in Table}
    assert len(by_table[Table.VMAC]) == 2
    assert [len(by_table[table]) for table in (Table.LINK, Table.TERMINATION, Table.CONTEXT)] == [1, 1, 1]
    shared, = (write.value for write in by_table[Table.REGISTER] if write.row == Register.SHARED_CELLS)
    assert shared + sum(write.value & 0xFFFF for write in by_table[Table.QUOTA]) == config.cells
