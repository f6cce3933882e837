"""Bridged routers: where a frame goes, and a MAC table against a plain reference."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    MAC_AGES,
    MAC_ROW,
    POLICER_ROW,
    FilterAction,
    Reason,
    RouterMode,
    Table,
    TrafficClass,
    pack,
    unpack,
)
from polyrouter.sim.golden_bridge import find, learn
from polyrouter.sim.golden_rows import Context, MacEntry
from polyrouter.sim.golden_tables import Tables
from polyrouter.sim.host_frames import HostFrame
from polyrouter.sim.packets import ethernet, with_tag
from polyrouter.sim.tablegen import FilterRule, RouterSetup

from tests.effort import examples

from .board import CONFIG, load, make, moved, update

A, B, C = 0x0A0000000001, 0x0A0000000002, 0x0A0000000003
OWN = 0x020000000002
EVERYONE = (1 << 48) - 1
NO_COPY = (Reason.DROP_NO_PORT, [])


def setup(**context: int) -> RouterSetup:
    """Router 0, a bridge on ports 0 to 3; port 2 is in VLAN 7 and all its own, as are all ports' untagged frames."""
    return RouterSetup(0, {"enable": 1, "mode": RouterMode.BRIDGED, "ports": 15, "group": 0, "learn": 1,
                           "mac_base": 16, "mac_size": 8, **context},
                       own={2: OWN, 0: 0x020000000000}, vids={2: 7}, segments=[(0, 0), (1, 0), (2, 7), (3, 0)])


def send(model, port: int, destination: int, source: int = C, vid: int = 0) -> tuple[Reason, list[int]]:
    """Reason and egress ports of a frame."""
    frame = ethernet(destination, source, 0x88CC, b"payload" * 7)
    outputs, counters = moved(model, lambda: model.receive(port, with_tag(frame, vid | 0xA000) if vid else frame))
    assert sum(counters.values()) == max(1, len(outputs))
    (reason,) = {Reason(key[2]) for key in counters}
    assert {key[1] for key in counters} == {port}
    return reason, [output.port for output in outputs]


def known(model, mac: int) -> tuple[int, int] | None:
    """Port and VLAN id of an address that router 0 knows."""
    entry = find(model.tables, model.tables.context(0), mac)
    return None if entry is None else (entry.port, entry.vid)


def test_floods_what_it_does_not_know_and_learns_where_it_came_from():
    model = make(setup())
    assert send(model, 1, B, A) == (Reason.BRIDGED, [0, 2, 3])
    assert send(model, 3, A, B) == (Reason.BRIDGED, [1])
    assert send(model, 0, B) == (Reason.BRIDGED, [3])
    assert send(model, 3, B) == NO_COPY
    assert send(model, 2, A, A, vid=7) == (Reason.BRIDGED, [1])     # it moved with this frame, after the look-up
    assert send(model, 1, A) == (Reason.BRIDGED, [2])


def test_tags_are_those_of_the_egress_port():
    model = make(setup())
    frame = ethernet(EVERYONE, A, 0x88CC, b"payload" * 7)
    assert {output.port: output.frame for output in model.receive(1, frame)} == {
        0: frame, 2: with_tag(frame, 7), 3: frame}
    assert {output.port: output.frame for output in model.receive(2, with_tag(frame, 0xB007))} == {
        0: frame, 1: frame, 3: frame}
    # Priority-tagged
    assert {output.port: output.frame for output in model.receive(1, with_tag(frame, 0xB000))} == {
        0: frame, 2: with_tag(frame, 0xA007), 3: frame}


@pytest.mark.parametrize(("context", "port", "destination", "expected"), [
    ({}, 0, EVERYONE, (Reason.BRIDGED, [1, 2, 3])),
    ({"ports": 0b1001}, 0, EVERYONE, (Reason.BRIDGED, [3])),
    ({"ports": 0xF1}, 0, EVERYONE, NO_COPY),
    ({"ports": 0b0001, "group": 1}, 0, EVERYONE, (Reason.PUNT_GROUP, [4])),
    ({"ports": 0b0001, "group": 1}, 0, B, NO_COPY),
    ({}, 0, 0x0180C200000F, (Reason.PUNT_GROUP, [4])), ({}, 0, 0x0180C2000010, (Reason.BRIDGED, [1, 2, 3])),
    ({}, 0, 0x020000000000, (Reason.PUNT_LOCAL, [4])),
    ({}, 0, OWN, (Reason.BRIDGED, [1, 2, 3])),                      # not on this port
])
def test_destinations(context, port, destination, expected):
    assert send(make(setup(**context)), port, destination) == expected


def test_group_frames_also_go_to_the_host_where_it_asks_for_them():
    model = make(setup(group=1))
    frame = ethernet(EVERYONE, A, 0x0806, bytes(46))
    outputs, counters = moved(model, lambda: model.receive(0, frame))
    assert counters == {(0, 0, Reason.BRIDGED): 3, (0, 0, Reason.PUNT_GROUP): 1}
    assert HostFrame.from_bytes(outputs[-1].frame).payload == frame
    assert [output.traffic_class for output in outputs] == [TrafficClass.NORMAL] * 4
    (output,) = model.receive(0, ethernet(0x0180C2000000, A, 0x0806, bytes(46)))
    assert output.traffic_class == TrafficClass.CONTROL and not output.replicated


@pytest.mark.parametrize(("port", "expected"), [
    (3, (Reason.BRIDGED, [3])), (0, NO_COPY), (5, (Reason.BRIDGED, [1, 2, 3])), (15, (Reason.BRIDGED, [1, 2, 3])),
])
def test_entry_for_a_port_that_is_not_the_bridges_floods(port, expected):
    router = setup(ports=0xFF)
    model = make(router)
    for row in range(8):
        model.tables.write(Table.MAC, 0, row, pack(MAC_ROW, {"mac": B, "port": port, "static": 1, "age": 1}))
    assert send(model, 0, B) == expected


def test_nothing_is_learned_from_group_addresses_dropped_frames_or_without_learn():
    rules = [FilterRule({"smac": A}, {"smac": EVERYONE}, {"action": FilterAction.DROP, "mirror": 1}),
             FilterRule({"smac": B}, {"smac": EVERYONE}, {"police": 1})]
    router = setup(filter_size=2, policer_size=1)
    router.rules, router.policers = rules, [pack(POLICER_ROW, {"burst": 0, "limit": 0})]
    model = make(router)
    load(model, router.writes(CONFIG))
    model.tables.write(Table.POLICER, 0, 0, pack(POLICER_ROW, {"limit": 1}))
    for source in A, B, A | 1 << 40, 0x0E:
        model.receive(1, ethernet(EVERYONE, source, 0x88CC, bytes(46)))
    assert not any(known(model, mac) for mac in (A, B, A | 1 << 40, 0x0E))
    update(model, router, policer_size=0)
    model.receive(1, ethernet(EVERYONE, 0x0F | 1 << 40, 0x88CC, bytes(46)))
    assert known(model, 0x0F | 1 << 40) is None
    update(model, router, learn=0)
    model.receive(1, ethernet(EVERYONE, 0x0E, 0x88CC, bytes(46)))
    assert known(model, 0x0E) is None
    update(model, router, learn=1)
    model.receive(1, ethernet(EVERYONE, 0x0E, 0x88CC, bytes(46)))
    assert known(model, 0x0E) == (1, 0)


def test_frames_that_are_not_forwarded_teach_all_the_same():
    router = setup(filter_size=2)
    router.rules = [FilterRule({"smac": A}, {"smac": EVERYONE}, {"action": FilterAction.PUNT}),
                    FilterRule({"smac": B}, {"smac": EVERYONE}, {"action": FilterAction.SEND, "ports": 1})]
    model = make(router)
    for source, destination in (A, 0), (B, 0), (C, 0x0180C2000000):
        model.receive(1, ethernet(destination, source, 0x88CC, bytes(46)))
        assert known(model, source) == (1, 0)


def test_a_rule_comes_before_the_bridge():
    router = setup(filter_size=1)
    router.rules = [FilterRule({}, {}, {"action": FilterAction.SEND, "ports": 2})]
    for destination in EVERYONE, 0x0180C2000000, OWN:
        assert send(make(router), 0, destination) == (Reason.SWITCHED, [1])


class Reference:
    """The MAC table as a list, written from the specification by other means."""

    def __init__(self, base: int, size: int, rows: int):
        self.base, self.size, self.rows = base, size, rows
        self.entries = [[0, 0, 0, 0, 0] for _ in range(rows)]      # mac, port, static, age, vid

    def places(self, mac: int) -> list[int]:
        if self.size not in [1 << bit for bit in range(2, 20)]:
            return []
        parts = [mac % (1 << 48), mac // (1 << 16), mac // (1 << 32)]
        folded = (parts[0] ^ parts[1] ^ parts[2]) % self.size
        return [row for row in (self.base + (folded ^ j) for j in range(4)) if row < self.rows]

    def find(self, mac: int) -> list[int] | None:
        return next((self.entries[row] for row in self.places(mac)
                     if self.entries[row][3] and self.entries[row][0] == mac), None)

    def learn(self, mac: int, port: int, vid: int) -> None:
        places = self.places(mac)
        for row in places:
            if self.entries[row][3] and self.entries[row][0] == mac:
                if not self.entries[row][2]:
                    self.entries[row] = [mac, port, 0, MAC_AGES, vid]
                return
        for age in range(MAC_AGES + 1):
            for row in places:
                if self.entries[row][3] == age and not (age and self.entries[row][2]):
                    self.entries[row] = [mac, port, 0, MAC_AGES, vid]
                    return


@settings(max_examples=examples(150), deadline=None)
@given(seed=st.integers(0, 1 << 32), base=st.integers(0, 31), size=st.sampled_from((0, 1, 2, 3, 4, 8, 12, 16, 32)))
def test_mac_table_is_the_reference(seed, base, size):
    rng = Random(seed)
    config = CoreConfig(routers=1, mac_rows=32)
    tables, reference = Tables(config), Reference(base, size, 32)
    context = Context(*[0] * len(Context._fields))._replace(mac_base=base, mac_size=size)
    macs = [rng.getrandbits(48) for _ in range(12)]
    for _ in range(80):
        mac, port, vid = rng.choice(macs), rng.randrange(4), rng.choice((0, 1, 4095))
        if rng.random() < 0.3:
            row = rng.randrange(32)
            entry = [rng.choice(macs), port, rng.getrandbits(1), rng.randint(0, MAC_AGES), vid]
            reference.entries[row] = entry
            tables.write_at(Table.MAC, row, pack(MAC_ROW, dict(zip(MacEntry._fields, entry, strict=True))))
        else:
            learn(tables, context, mac, port, vid)
            reference.learn(mac, port, vid)
        found, expected = find(tables, context, mac), reference.find(mac)
        assert (None if found is None else list(found)) == expected
    written = [list(unpack(MAC_ROW, tables._rows[Table.MAC].get(row, 0)).values()) for row in range(32)]
    assert written == reference.entries
