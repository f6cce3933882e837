"""VMAC-VE table: no look-up misses an entry at any time, whatever is inserted and removed."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import VMAC_ROW, Register, Role, Table, unpack
from polyrouter.host.tables.vmac import VmacEntry, VmacFull, VmacTable, VmacTaken, choose_seeds
from polyrouter.sim.golden_tables import Tables

from tests.effort import examples

CONFIG = CoreConfig(routers=8)
SEEDS = (0x0123456789ABCDEF, 0xFEDCBA9876543210)


class Hardware:
    """The golden model's table."""

    def __init__(self, config: CoreConfig, seeds: tuple[int, int]) -> None:
        self.tables = Tables(config)
        for register, seed in zip((Register.HASH_SEED_0, Register.HASH_SEED_1), seeds, strict=True):
            self.tables.write(Table.REGISTER, 0, register, seed)

    def write(self, row: int, bits: int) -> None:
        self.tables.write(Table.VMAC, 0, row, bits)

    def lookup(self, key: tuple[int, int, Role] | tuple[int, int, Role, int]) -> int | None:
        slot = self.tables.vmac(*key)
        return None if slot is None else slot.router

    def rows(self, config: CoreConfig) -> list[int]:
        return [self.tables.read(Table.VMAC, 0, row) for row in range(config.vmac_slots)]


KEYS = st.tuples(st.integers(1, 40), st.integers(0, 3), st.sampled_from(Role), st.sampled_from((0, 1, 100, 4094)))


def mac_of(number: int, role: Role) -> int:
    """An address; a segment has none."""
    return 0 if role == Role.SEGMENT else 0x020000000000 | number * 0x9E3779B1


@given(st.lists(st.tuples(st.booleans(), KEYS, st.integers(0, 7)), max_size=150), st.randoms(use_true_random=False))
@settings(max_examples=examples(40), deadline=None)
def test_no_entry_is_ever_missing(steps, source):
    config = CoreConfig(routers=2)
    seeds = (source.getrandbits(64), source.getrandbits(64))
    table, hardware = VmacTable(config, seeds), Hardware(config, seeds)
    known: dict[tuple, int] = {}
    for insert, (number, port, role, vid), router in steps:
        key, router = (mac_of(number, role), port, role, vid), router % 2
        others = {other: owner for other, owner in known.items() if other != key}
        if not insert:
            writes = table.remove(*key)
            known.pop(key, None)
        elif key in known and known[key] != router:
            with pytest.raises(VmacTaken):
                table.insert(*key[:3], router, vid)
            continue
        else:
            try:
                writes = table.insert(*key[:3], router, vid)
            except VmacFull:
                assert table.lookup(*key) is None
                assert table.image() == hardware.rows(config)
                continue
            known[key] = router
        for row, bits in writes:
            hardware.write(row, bits)
            for other, owner in others.items():
                assert hardware.lookup(other) == owner
        assert hardware.lookup(key) == known.get(key) == table.lookup(*key)
    assert table.image() == hardware.rows(config)
    assert len(table) == len(known)


@pytest.mark.parametrize("routers", [1, 8, 100])
@pytest.mark.parametrize("kind", ["random", "consecutive"])
def test_half_full_always_fits(routers, kind):
    config = CoreConfig(routers=routers)
    for number in range(8 if routers < 100 else 1):
        source = random.Random(number)
        table = VmacTable(config, choose_seeds(config, source=source))
        first = 0x02_00_00_00_00_00 | source.getrandbits(32)
        for index in range(config.vmac_slots // 2):
            mac = first + index // 8 if kind == "consecutive" else 0x02_00_00_00_00_00 | source.getrandbits(40)
            table.insert(mac, index % 4, Role(index // 4 % 2), index % routers)
        assert len(table) == config.vmac_slots // 2


def test_seeds_fit_what_is_known():
    config = CoreConfig(routers=1)
    entries = [(0x02_00_00_00_00_00 | random.Random(k).getrandbits(40), k % 4, Role.OWN) for k in range(14)]
    table = VmacTable(config, choose_seeds(config, entries, source=random.Random(1)))
    for entry in entries:
        table.insert(*entry, 0)
    assert [table.lookup(*entry) for entry in entries] == [0] * 14


def test_full_is_refused_and_nothing_changes():
    config = CoreConfig(routers=1)
    table = VmacTable(config, SEEDS)
    with pytest.raises(VmacFull, match="of 16 are used"):
        for number in range(17):
            before = table.image()
            table.insert(0x020000000000 | number * 0x9E3779B1, number % 4, Role.OWN, 0)
    assert table.image() == before


def test_seeds_for_too_many_are_refused():
    config = CoreConfig(routers=1)
    with pytest.raises(VmacFull, match="17 addresses do not fit the 16 slots"):
        choose_seeds(config, [(0x020000000000 + k, 0, Role.OWN) for k in range(17)])


@pytest.mark.parametrize(("mac", "port", "router", "message"), [
    (0x010000000001, 0, 0, "unicast"), (0, 0, 0, "unicast"), (1 << 48, 0, 0, "unicast"),
    (2, 4, 0, "port must be 0 to 3"), (2, 0, 8, "router must be 0 to 7"),
])
def test_nonsense_is_refused(mac, port, router, message):
    with pytest.raises(ValueError, match=message):
        VmacTable(CONFIG, SEEDS).insert(mac, port, Role.OWN, router)


@pytest.mark.parametrize(("mac", "role", "vid", "message"), [
    (2, Role.SEGMENT, 0, "a segment has no MAC address"), (2, Role.OWN, 4095, "VLAN id must be 0"),
])
def test_nonsense_of_vlans_is_refused(mac, role, vid, message):
    with pytest.raises(ValueError, match=message):
        VmacTable(CONFIG, SEEDS).insert(mac, 0, role, 0, vid)


def test_assign_is_one_write():
    table, hardware = VmacTable(CONFIG, SEEDS), Hardware(CONFIG, SEEDS)
    key = (0x02AA00000001, 2, Role.PEER)
    for write in table.insert(*key, 3):
        hardware.write(*write)
    assert table.insert(*key, 3) == []
    [write] = table.assign(*key, 5)
    hardware.write(*write)
    assert hardware.lookup(key) == 5
    assert table.assign(*key, 5) == []
    with pytest.raises(KeyError):
        table.assign(0x02AA00000002, 2, Role.PEER, 5)


def test_the_guard_of_a_segment_is_one_write_and_is_read_back():
    table, hardware = VmacTable(CONFIG, SEEDS), Hardware(CONFIG, SEEDS)
    key = (0, 2, Role.SEGMENT)

    def guarded() -> int:
        [entry] = [fields for row in hardware.rows(CONFIG) if (fields := unpack(VMAC_ROW, row))["valid"]]
        assert entry["router"] == 3 and entry["vid"] == 100
        return entry["guard"]

    for guard in (False, True, False, True):
        [write] = table.insert(*key, 3, 100, guard)
        hardware.write(*write)
        assert guarded() == guard
        assert table.insert(*key, 3, 100, guard) == []
    again = VmacTable(CONFIG, SEEDS)
    assert again.adopt(dict(enumerate(hardware.rows(CONFIG)))) == []
    assert again.of_router(3) == [VmacEntry(*key, 3, 100, True)] == list(again)
    assert again.insert(*key, 3, 100, True) == []
    with pytest.raises(ValueError, match="only a segment can be guarded"):
        table.insert(2, 2, Role.OWN, 3, 100, True)


def test_entries_of_a_router_are_those_that_it_has_now():
    table = VmacTable(CONFIG, SEEDS)
    table.insert(2, 0, Role.OWN, 1)
    table.insert(4, 0, Role.PEER, 1)
    table.assign(4, 0, Role.PEER, 2)
    table.insert(6, 0, Role.OWN, 1)
    table.remove(6, 0, Role.OWN)
    assert table.of_router(1) == [VmacEntry(2, 0, Role.OWN, 1)]
    assert table.of_router(2) == [VmacEntry(4, 0, Role.PEER, 2)]
    assert table.of_router(5) == []


def test_remove_router_leaves_the_others():
    table, hardware = VmacTable(CONFIG, SEEDS), Hardware(CONFIG, SEEDS)
    keys = [(0x02AA00000000 + k, k % 4, Role.OWN) for k in range(30)]
    for k, key in enumerate(keys):
        for write in table.insert(*key, k % 3):
            hardware.write(*write)
    for write in table.remove_router(1):
        hardware.write(*write)
    assert [hardware.lookup(key) for key in keys] == [None if k % 3 == 1 else k % 3 for k in range(30)]


def test_adopt_after_a_move_that_was_cut_short():
    source = random.Random(7)
    table, hardware = VmacTable(CONFIG, SEEDS), Hardware(CONFIG, SEEDS)
    known = {}
    for number in range(CONFIG.vmac_slots):
        key = (0x020000000000 | source.getrandbits(40), number % 4, Role.OWN)
        writes = table.insert(*key, number % 8)
        for write in writes[:-1]:
            hardware.write(*write)
        if len(writes) > 1:
            break           # moved, but the new one is not there yet
        hardware.write(*writes[-1])
        known[key] = number % 8
    assert len(writes) > 1
    again = VmacTable(CONFIG, SEEDS)
    for write in again.adopt(dict(enumerate(hardware.rows(CONFIG)))):
        hardware.write(*write)
        assert all(hardware.lookup(other) == owner for other, owner in known.items())
    assert again.image() == hardware.rows(CONFIG)
    assert len(again) == len(known)
