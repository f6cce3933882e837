"""Tables and traffic of the bench: what is predicted of a frame is what the golden model makes of it."""

from itertools import islice
from random import Random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import MAX_OPS, Opcode, Table
from polyrouter.sim.dataplane.measure import Prefixes, _Flips, filled_routers, hitless_wrong
from polyrouter.sim.dataplane.script import LOST, BenchFrame, Fate, Outcome, PhaseResult
from polyrouter.sim.dataplane.tables import (
    BenchRouter,
    Requests,
    deep_pairs,
    fill,
    nested,
    router_config,
    table_writes,
)
from polyrouter.sim.dataplane.traffic import Destinations, line_bytes, line_rate_frames, packet_frame, routed
from polyrouter.sim.golden import GoldenModel
from polyrouter.sim.host_frames import HostFrame

CONFIG = CoreConfig(routers=2, fib_words=2048, adjacencies=32)


def model_of(routers, rng):
    model = GoldenModel(routers[0].config)
    for write in table_writes(routers, rng):
        model.tables.write(write.table, write.router, write.row, write.value)
    return model


@pytest.mark.parametrize("ipv6", [False, True])
def test_predictions_are_those_of_the_golden_model(ipv6):
    rng = Random(1)
    bits = 128 if ipv6 else 32

    def prefixes(_):
        yield 0, 0
        yield from islice(deep_pairs(rng, bits), 8)
        yield from islice(nested(rng, bits), 60)

    routers = filled_routers(CONFIG, prefixes, rng, ipv6=ipv6)
    model = model_of(routers, rng)
    for _ in range(200):
        router = rng.choice(routers)
        address = router.inside(rng.choice(list(router.routes)), rng)
        if ipv6 and (address >> 118 == 0xFE80 >> 6 or address >> 120 == 0xFF):
            continue
        frame = routed(router, rng.randrange(CONFIG.ports), address, [router.lookup(address)],
                       length=rng.choice((60, 61, 64, 1514)))
        output, = model.receive(frame.port, frame.frame)
        outcome, = frame.outcomes
        assert output.port == outcome.port
        assert output.frame == outcome.head + frame.frame[len(outcome.head):]


def test_a_filled_window_has_no_room_left():
    rng = Random(2)
    router = BenchRouter(1, CONFIG)
    fill(router, islice(nested(rng, 32), 5000), rng)
    assert router.fib.statistics().words_used > 0.95 * router.window
    assert len(router.routes) < 5000
    part = BenchRouter(1, CONFIG)
    fill(part, islice(nested(Random(2), 32), 5000), Random(2), part=0.5)
    assert len(part.routes) < 0.6 * len(router.routes)


def test_deep_pairs_are_walked_to_the_last_bit():
    pairs = list(islice(deep_pairs(Random(3), 128), 6))
    assert [address & 1 for address, _ in pairs] == [0, 1] * 3
    assert all(pairs[k][0] ^ 1 == pairs[k + 1][0] for k in (0, 2, 4))
    assert {length for _, length in pairs} == {128}


def test_withdrawn_routes_are_gone_from_the_prediction():
    router = BenchRouter(0, CONFIG)
    router.change([((10 << 24, 8), 0), ((10 << 24 | 1 << 16, 16), 1)])
    assert router.lookup(10 << 24 | 1 << 16 | 5) == router.hops[1]
    router.change([((10 << 24 | 1 << 16, 16), None)])
    assert router.lookup(10 << 24 | 1 << 16 | 5) == router.hops[0]
    assert router.lookup(11 << 24) is None


def test_requests_go_on_where_they_ended_and_split_no_row():
    rng = Random(4)
    router = BenchRouter(1, CONFIG)
    router.change([(prefix, 0) for prefix in islice(nested(rng, 32), 50)])
    requests = Requests()
    frames = requests.rows(router.writes()) + requests.fib(1, router.change([((10 << 24, 8), 1)]), at=7)
    assert [sequence for _, sequence, _ in frames] == list(range(len(frames)))
    assert frames[-1][0] == 7
    decoded = [HostFrame.from_bytes(octets) for _, _, octets in frames]
    assert [bool(frame.reason) for frame in decoded] == [True] + [False] * (len(decoded) - 1)
    for frame in decoded:
        assert 0 < len(frame.ops) <= MAX_OPS
        assert frame.ops[0].word == 0
    assert decoded[0].ops[0].table == Table.CONTEXT
    withdrawn = Requests().fib(1, [*router.change([((10 << 24, 8), None)])])
    assert {op.opcode for _, _, octets in withdrawn for op in HostFrame.from_bytes(octets).ops} <= {
        Opcode.WRITE, Opcode.FENCE}


@pytest.mark.parametrize("routers", [1, 8, 64, 256, 1024])
def test_every_core_has_room_for_its_routers(routers):
    config = router_config(routers)
    assert config.fib_words // routers >= 64
    assert len(BenchRouter(routers - 1, config).hops) == 8


def test_no_port_is_oversubscribed_in_any_slot():
    rng = Random(5)
    routers = filled_routers(CONFIG, lambda number: nested(Random(number), 32), rng)
    frames = list(line_rate_frames([Destinations(router, rng) for router in routers], 50, rng))
    for slot in range(50):
        now = frames[4 * slot:4 * slot + 4]
        assert [frame.port for frame in now] == [0, 1, 2, 3]
        assert sorted(frame.outcomes[0].port for frame in now) == [0, 1, 2, 3]
    assert len({frame.outcomes[0].head for frame in frames}) > 100


def test_prefixes_are_dealt_out():
    prefixes = Prefixes([(k, 32) for k in range(10)], [])
    assert [address for address, _ in prefixes.part(1, 2)] == [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]


def test_a_line_carries_a_shortest_frame_every_84_bytes():
    assert line_bytes(60) == 84
    assert len(packet_frame(1, 2, 3, 60, is_ipv6=True)) == len(packet_frame(1, 2, 3, 60, is_ipv6=False)) == 60


def test_flips_stay_behind_one_port():
    rng = Random(6)
    router = BenchRouter(0, CONFIG)
    fill(router, nested_of(rng, 400), rng, part=0.5)
    plan = _Flips.choose(router, rng)
    assert None in plan.changes.values() and set(plan.changes.values()) != {None}
    assert all(before.port == after.port for before, after in plan.hops.values())
    assert any(before != after for before, after in plan.hops.values())
    for state in (1, 0):
        plan.flip()
        assert all(router.lookup(address) == hops[state] for address, hops in plan.hops.items())


def nested_of(rng, count):
    return list(islice(nested(rng, 32), count))


@pytest.mark.parametrize(("fate", "wrong"), [
    # Two changes: one from cycle 100 to 200, one from 300 to 400.
    (Fate(1, 10, 50), 0), (Fate(2, 10, 50), 1),             # before the first
    (Fate(1, 90, 150), 0), (Fate(2, 90, 150), 0),           # over its begin
    (Fate(2, 220, 280), 0), (Fate(1, 220, 280), 1),         # between the two
    (Fate(2, 220, 320), 0), (Fate(1, 220, 320), 0),
    (Fate(1, 410, 450), 0), (Fate(2, 410, 450), 1),         # behind both
    (Fate(LOST, 10, 0), 0),                                 # counted elsewhere
])
def test_a_frame_sees_the_table_before_or_after_a_change(fate, wrong):
    frame = BenchFrame(0, 0, b"", (Outcome(0, b"a"), Outcome(0, b"b")))
    result = PhaseResult(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, [fate], [(100, 150), (110, 200), (300, 400)], [])
    assert hitless_wrong([frame], result, [range(0, 2), range(2, 3)]) == wrong
