"""A router's policy in rows, and its changes under traffic, against the golden model's rows."""

import random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    ACTION_ROW,
    FILTER_KEY,
    FILTER_ROW,
    QUOTA_ROW,
    SHAPER_ROW,
    FilterAction,
    HitStat,
    RouterMode,
    Table,
    TrafficClass,
    pack,
    unpack,
)
from polyrouter.host.tables.policy import Bucket, FilterRule, Policy, PolicyError, Quota, Shaper, exact, prefix
from polyrouter.host.tables.policy_writer import PolicyWriter
from polyrouter.host.tables.router import RouterTables
from polyrouter.host.tables.windows import Window
from polyrouter.sim.golden_rows import Action, Policer, Rule

from ....table_board import TableBoard

CONFIG = CoreConfig(routers=4, fib_words=4096, adjacencies=64, filter_rules=64, policers=32, mac_rows=64)
WINDOW = Window(1000, 500, 16, 16, 20, 16, 5, 8, 16, 16)
ROUTER = 2
MACS = {0: 0x020000000010, 1: 0x020000000011}


def rule(number: int, action: FilterAction = FilterAction.DROP, police: int | None = None) -> FilterRule:
    """Matches one destination port each."""
    return FilterRule((exact("l4_destination", number),), action, police=Bucket(police, 3000) if police else None)


def make(policy: Policy, board: TableBoard | None = None) -> tuple[RouterTables, TableBoard]:
    board = board or TableBoard(CONFIG)
    return RouterTables(board, ROUTER, WINDOW, MACS, policy=policy), board


def decision(board: TableBoard, key: int) -> tuple[FilterAction, int, int] | None:
    """Action, policed rate and ports of the first rule of the board that matches."""
    context = board.tables.context(ROUTER)
    for row in range(context.filter_base, context.filter_base + context.filter_size):
        if board.tables.row(Table.FILTER, Rule, row).matches(key):
            action = board.tables.row(Table.ACTION, Action, row)
            rate = 0
            if action.police:
                assert action.policer < context.policer_size
                rate = board.tables.row(Table.POLICER, Policer, context.policer_base + action.policer).rate
            return FilterAction(action.action), rate, action.ports
    return None


def expected(rules: tuple[FilterRule, ...], key: int) -> tuple[FilterAction, int, int] | None:
    fields = unpack(FILTER_KEY, key)
    for entry in rules:
        if all((fields[name] ^ value) & mask == 0 for name, value, mask in entry.match):
            return entry.action, entry.police.rate if entry.police else 0, sum(1 << port for port in entry.ports)
    return None


def key(number: int) -> int:
    return pack(FILTER_KEY, {"l4_destination": number})


def test_rows_of_a_rule():
    entry = FilterRule(
        match=(exact("port", 3), prefix("ip_source", 0x0A010000, 16), exact("protocol", 6)), action=FilterAction.SEND,
        ports=(0, 2), mirror=True, traffic_class=TrafficClass.CONTROL, strip_vlan=True,
        changes=(("smac", 0x020000000001), ("tos", 0xB8), ("l4_destination", 8080)))
    good = {"port": 3, "ip_source": 0x0A01FFFF, "protocol": 6, "smac": 5, "tagged": 1}
    decoded = Rule(**unpack(FILTER_ROW, entry.filter_row()))
    assert decoded.matches(pack(FILTER_KEY, good))
    for wrong in ({"port": 2}, {"ip_source": 0x0A020000}, {"protocol": 17}):
        assert not decoded.matches(pack(FILTER_KEY, good | wrong))
    action = {name: value for name, value in unpack(ACTION_ROW, entry.action_row(4)).items() if value}
    assert action == {"action": 3, "ports": 5, "mirror": 1, "set_class": 1, "traffic_class": 1, "police": 1,
                      "policer": 4, "strip_vlan": 1, "set_smac": 1, "smac": 0x020000000001, "set_tos": 1, "tos": 0xB8,
                      "set_l4_destination": 1, "l4_destination": 8080}


def test_rows_of_shaper_and_quota():
    assert unpack(SHAPER_ROW, Shaper(Bucket(7, 9), 3036).row()) == {"rate": 7, "burst": 9, "limit": 1, "quantum": 3036}
    assert Shaper().row() == 0
    assert unpack(QUOTA_ROW, Quota(8, 32).row()) == {"reserved": 8, "limited": 1, "limit": 32}
    assert unpack(QUOTA_ROW, Quota(8).row()) == {"reserved": 8, "limited": 0, "limit": 0}


def test_programmed_before_it_is_enabled():
    policy = Policy(mode=RouterMode.BRIDGED, mirror=True, rules=(rule(1), rule(2, police=77)), policer=Bucket(5, 6000),
                    shapers={0: Shaper(Bucket(8, 900), 3000), 4: Shaper(Bucket(1, 2))}, quota=Quota(4, 9),
                    vids={1: 100})
    tables, board = make(policy)
    for table, row in ((Table.FILTER, 27), (Table.MAC, 20), (Table.HIT, 41), (Table.POLICER, 9)):
        board.tables.write_at(table, row, 1)         # of somebody who was there before
    tables.program_all()
    context = board.tables.context(ROUTER)
    assert (context.enable, context.mode, context.mirror, context.learn) == (1, RouterMode.BRIDGED, 1, 1)
    assert (context.filter_base, context.filter_size) == (20, 2)
    assert (context.policer_base, context.policer_size, context.mac_base, context.mac_size) == (5, 8, 16, 16)
    for number in range(4):
        assert decision(board, key(number)) == expected(policy.rules, key(number))
    assert board.tables.row(Table.POLICER, Policer, 5) == Policer(5, 6000, 1)
    assert board.tables.port(ROUTER, 1).vid == 100 and board.tables.port(ROUTER, 0).vid == 0
    assert not any(board.tables._rows[table].get(row) for table, row in (
        (Table.FILTER, 27), (Table.MAC, 20), (Table.HIT, 41), (Table.POLICER, 9)))
    contexts = [index for index, entry in enumerate(board.log) if entry[0] == Table.CONTEXT]
    assert contexts == [0, len(board.log) - 1]


def test_removed_leaves_nothing_behind():
    policy = Policy(mode=RouterMode.BRIDGED, rules=(rule(1), rule(2, police=77)), policer=Bucket(5, 6000),
                    shapers={0: Shaper(Bucket(8, 900)), 4: Shaper(Bucket(1, 2))}, quota=Quota(4, 9), vids={1: 100})
    tables, board = make(policy)
    tables.program_all()
    board.tables.write(Table.MAC, ROUTER, 3, 12345)       # learned
    board.tables.count_hit(21, 60)
    before = len(board.log)
    tables.remove()
    log = board.log[before:]
    assert log[0][0] == Table.CONTEXT and log[1] == "fence" and log[-1] == (Table.CONTEXT, ROUTER, 0, 0)
    for table in (Table.FILTER, Table.ACTION, Table.HIT, Table.POLICER, Table.MAC, Table.SHAPER, Table.QUOTA,
                  Table.PORT, Table.CONTEXT):
        assert not any(board.tables._rows[table].values()), table


@pytest.mark.parametrize("seed", range(12))
def test_every_write_shows_the_old_or_the_new_rule_of_a_packet(seed):
    """Edits that keep the order of what stays: no packet ever meets something that neither set says."""
    source = random.Random(seed)
    rules = tuple(rule(number, source.choice(list(FilterAction)[:3]), source.choice([None, None, 100 + number]))
                  for number in range(9))
    tables, board = make(Policy(rules=rules[:6]))
    tables.program_all()
    now = rules[:6]
    for _ in range(6):
        kept = tuple(entry for entry in now if source.random() < 0.7)
        fresh = [entry for entry in rules if entry not in now]
        after = list(kept)
        for entry in fresh[:source.randrange(3)]:
            after.insert(source.randrange(len(after) + 1), entry)
        wanted = tuple(after)
        allowed = {number: {expected(now, key(number)), expected(wanted, key(number))} for number in range(10)}

        def look(allowed: dict = allowed) -> None:
            for number, outcomes in allowed.items():
                found = decision(board, key(number))
                # a rule that moved may have its policer moved, too; its rate is always its own
                assert found in outcomes, (number, found, outcomes)

        board.on_write = look
        tables.set_ports(MACS, policy=Policy(rules=wanted))
        board.on_write = lambda: None
        now = wanted
        assert board.tables.context(ROUTER).filter_size == len(now)
        for row in range(len(now), WINDOW.filter_size):
            assert not board.tables.row(Table.FILTER, Rule, WINDOW.filter_base + row).valid


def test_a_changed_action_is_never_seen_by_a_frame_of_the_old_rule():
    tables, board = make(Policy(rules=(rule(1), rule(2))))
    tables.program_all()
    before = len(board.log)
    tables.set_ports(MACS, policy=Policy(rules=(rule(1), rule(2, FilterAction.PUNT))))
    log = [entry if entry == "fence" else (entry[0], entry[2], bool(entry[3])) for entry in board.log[before:]]
    assert [entry for entry in log if entry == "fence" or entry[0] in (Table.FILTER, Table.ACTION)] == [
        (Table.FILTER, 1, False), "fence", (Table.ACTION, 1, True), (Table.FILTER, 1, True)]
    assert not any(entry != "fence" and entry[0] in (Table.POLICER, Table.SHAPER, Table.QUOTA) for entry in log)


def test_hits_of_a_rule_that_changed_begin_at_zero():
    tables, board = make(Policy(rules=(rule(1), rule(2))))
    tables.program_all()
    board.tables.count_hit(20, 60)
    board.tables.count_hit(21, 60)
    tables.set_ports(MACS, policy=Policy(rules=(rule(1), rule(3))))
    assert board.tables.hits == {20 * len(HitStat): 1, 20 * len(HitStat) + 1: 60}


def test_a_rate_changes_in_place():
    tables, board = make(Policy(rules=(rule(1, police=50),), policer=Bucket(1, 3000),
                                shapers={0: Shaper(Bucket(1, 1))}))
    tables.program_all()
    before = len(board.log)
    tables.set_ports(MACS, policy=Policy(rules=(rule(1, police=50),), policer=Bucket(2, 3000),
                                         shapers={0: Shaper(Bucket(3, 1))}))
    tables_written = [entry[0] for entry in board.log[before:] if entry[0] not in (Table.PORT, Table.CONTEXT)]
    assert sorted(tables_written) == [Table.POLICER, Table.SHAPER]


def test_capture_is_a_flag_of_its_own():
    tables, board = make(Policy())
    tables.program_all()
    tables.set_capturing(True)
    assert board.tables.context(ROUTER).mirror == 1
    tables.set_ports(MACS, policy=Policy(rules=(rule(1),)))
    assert board.tables.context(ROUTER).mirror == 1
    tables.set_capturing(False)
    assert board.tables.context(ROUTER).mirror == 0


def test_what_has_no_room_is_refused_and_nothing_is_written():
    tables, board = make(Policy())
    tables.program_all()
    before = len(board.log)
    with pytest.raises(PolicyError, match="17 filter rules, and the router's window has 16: use fewer, or give"):
        tables.set_ports(MACS, policy=Policy(rules=tuple(map(rule, range(17)))))
    with pytest.raises(PolicyError, match=r"9 policers .*and the router's window has 8: police less"):
        tables.set_ports(MACS, policy=Policy(rules=tuple(rule(number, police=1) for number in range(8))))
    assert len(board.log) == before


def test_adopted_and_brought_to_what_should_be():
    old = Policy(rules=(rule(1), rule(2, police=9), rule(3)), policer=Bucket(5, 6000),
                 shapers={4: Shaper(Bucket(1, 2))})
    tables, board = make(old)
    tables.program_all()

    def read(keys) -> list[int]:
        return board.read_rows((table, ROUTER, row) for table, row in keys)

    context = board.tables.context(ROUTER)._asdict()
    same = PolicyWriter(WINDOW, old)
    assert same.adopt(context, read) and list(same.change()) == []
    moved = PolicyWriter(Window(1000, 500, 16, 16, 24, 16, 5, 8, 16, 16), old)
    assert not moved.adopt(context, read)
    other = PolicyWriter(WINDOW, Policy(rules=(rule(1), rule(3)), shapers={4: Shaper()}))
    assert other.adopt(context, read)
    rows = [step for step in other.change() if isinstance(step, tuple)]
    assert {step[0] for step in rows} == {Table.FILTER, Table.ACTION, Table.HIT, Table.SHAPER, Table.POLICER}


def test_a_policer_that_is_needed_again_is_never_the_old_rule_s_with_the_new_rate():
    board = TableBoard(CONFIG)
    old, new = (rule(1, police=50), rule(2)), (rule(2), rule(3, police=70))
    tables = RouterTables(board, ROUTER, Window(1000, 500, 16, 16, 20, 16, 5, 2), MACS, policy=Policy(rules=old))
    tables.program_all()
    allowed = {number: {expected(old, key(number)), expected(new, key(number))} for number in range(5)}

    def look() -> None:
        for number, outcomes in allowed.items():
            assert decision(board, key(number)) in outcomes

    board.on_write = look
    tables.set_ports(MACS, policy=Policy(rules=new))
    assert decision(board, key(3)) == (FilterAction.DROP, 70, 0)
    assert tables.policed_rules() == {1: 1}
