"""Filter rules of the bench: what is predicted of frames and hit counters is what the golden model makes of them."""

from itertools import islice
from random import Random

import pytest
from polyrouter.hdl.config import MOST_FILTER_RULES, CoreConfig
from polyrouter.hdl.layouts import FilterAction, HitStat, Table
from polyrouter.host.tables.windows import most_filter_rules
from polyrouter.sim.dataplane.filters import FilteredTraffic, ample, costly_rules, live_rules
from polyrouter.sim.dataplane.measure import filled_routers
from polyrouter.sim.dataplane.tables import nested, router_config, table_writes
from polyrouter.sim.golden import GoldenModel

CONFIG = CoreConfig(routers=4, fib_words=4096, adjacencies=64, filter_rules=4 * 21)


def made(config, rng):
    routers = filled_routers(config, lambda number: nested(Random(number), 32), rng)
    traffic = FilteredTraffic(routers, rng)
    model = GoldenModel(config)
    for write in table_writes(routers, rng):
        model.tables.write(write.table, write.router, write.row, write.value)
    return routers, traffic, model


def outputs(model, frame):
    return [(output.port, output.frame) for output in model.receive(frame.port, frame.frame)]


def predicted(frame):
    return [(outcome.port, outcome.head + frame.frame[len(outcome.head):]) for outcome in frame.outcomes]


@pytest.mark.parametrize("rules", [2, 8, 21])
def test_predictions_are_those_of_the_golden_model(rules):
    config = CoreConfig(routers=4, fib_words=4096, adjacencies=64, filter_rules=4 * rules)
    _, traffic, model = made(config, Random(rules))
    for frame in traffic.frames(200, drops=True):
        assert outputs(model, frame) == predicted(frame)
    found = [model.tables.read(Table.HIT, op.router, op.row) for op in traffic.reads()]
    assert traffic.wrong(found) == 0
    assert len(found) == 4 * rules * len(HitStat)
    assert sum(found[::2]) == traffic.hits.total() > 200
    assert traffic.wrong([found[0] + 1, *found[1:]]) == 1


def test_everything_happens_in_the_traffic():
    routers, traffic, _ = made(CONFIG, Random(1))
    frames = list(traffic.frames(500, drops=True))
    hit = [routers[number].rules[row] for number, row in traffic.hits]
    assert {rule.action for rule in hit} == {FilterAction.PERMIT, FilterAction.SEND, FilterAction.DROP}
    assert {name for rule in hit for name, _ in rule.changes} == {
        "tos", "dmac", "smac", "ip_source", "ip_destination", "l4_destination"}
    assert any(rule.traffic_class is not None for rule in hit)
    assert any(rule.police for rule in hit)
    assert {bool(router.policer) for router in routers} == {True, False}
    assert traffic.dropped == sum(not frame.outcomes for frame in frames)
    assert 0.02 < traffic.dropped / len(frames) < 0.2
    # Some that are made for one rule match another one first
    assert 0.4 < traffic.hits.total() / len(frames) < 0.7


def test_the_order_of_the_rules_matters():
    routers, traffic, model = made(CONFIG, Random(6))
    for router in routers:
        router.rules.reverse()
    frames = list(traffic.frames(300, drops=True))
    assert 20 < sum(outputs(model, frame) != predicted(frame) for frame in frames) < len(frames) / 2


def test_without_drops_every_port_gets_a_frame_in_each_slot():
    _, traffic, _ = made(CONFIG, Random(2))
    frames = list(traffic.frames(100, drops=False))
    for slot in range(100):
        now = frames[4 * slot:4 * slot + 4]
        assert [frame.port for frame in now] == [0, 1, 2, 3]
        assert sorted(frame.outcomes[0].port for frame in now) == [0, 1, 2, 3]
    assert traffic.dropped == 0


def test_costly_rules_never_match():
    rng = Random(3)
    routers, traffic, _ = made(CONFIG, rng)
    for router in routers:
        router.rules = list(islice(costly_rules(router, rng), 200))
        assert {rule.action for rule in router.rules} == set(FilterAction)
    list(traffic.frames(200, drops=False))
    assert not traffic.hits


def test_a_router_has_as_many_rules_as_line_rate_allows_if_there_is_room():
    for routers, rules in (1, 21), (8, 21), (64, 21), (256, 8), (1024, 2):
        config = router_config(routers)
        assert rules == most_filter_rules(config) or config.filter_rules == MOST_FILTER_RULES
        found = filled_routers(config, lambda _: [(0, 0)], Random(4))
        assert found[-1].filter_room == rules
        assert found[-1].number * rules + rules <= config.filter_rules


@pytest.mark.parametrize("routers", [1, 8, 1024])
def test_policers_let_pass_what_a_router_gets(routers):
    config = router_config(routers)
    bucket = ample(config)
    refill_bytes = bucket.rate >> 16
    # What all lines bring in the time of a refill, shared among the routers
    assert refill_bytes >= config.ports * 16 * config.policers / config.routers
    rule, = islice(live_rules(filled_routers(CONFIG, lambda _: [(0, 0)], Random(5))[0], Random(5), bucket), 1)
    assert rule.police == bucket
