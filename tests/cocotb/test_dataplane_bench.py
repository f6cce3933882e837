"""One run of the data-plane bench through the whole core with its MACs: cycle by cycle, though not under cocotb."""

from dataclasses import replace
from itertools import islice, pairwise
from random import Random

import pytest
from polyrouter.sim.dataplane.build import HARNESS
from polyrouter.sim.dataplane.filters import FilteredTraffic
from polyrouter.sim.dataplane.measure import LINE_HZ, filled_routers
from polyrouter.sim.dataplane.script import BenchFrame, Outcome, Phase, run_script
from polyrouter.sim.dataplane.tables import Requests, nested, table_writes
from polyrouter.sim.dataplane.traffic import Destinations, line_bytes, line_rate_frames

from .runs import CONFIG, LINKS

#: The core of the link bench, too: one is built for both.
CONFIGS = [pytest.param(LINKS, id="link port"), pytest.param(CONFIG, id="wires", marks=pytest.mark.slow)]


@pytest.mark.parametrize("config", [
    *CONFIGS, pytest.param(replace(CONFIG, clock_hz=142e6), id="142 MHz", marks=pytest.mark.slow)])
def test_shortest_frames_at_line_rate_are_all_forwarded(config):
    rng = Random(1)
    routers = filled_routers(config, lambda number: islice(nested(Random(number), 32), 100), rng)
    requests = Requests()
    load = Phase(requests=requests.rows(table_writes(routers, rng)))
    frames = list(line_rate_frames([Destinations(router, rng) for router in routers], 60, rng))
    # One that the bench expects elsewhere than where the core sends it, to see that it is found out
    first = frames[0]
    wrong = [first._replace(outcomes=tuple(outcome._replace(port=outcome.port ^ 1) for outcome in first.outcomes)),
             BenchFrame(1, 0, bytes(60), (Outcome(0, b""),))]
    loaded, good, bad = run_script(HARNESS.build(config, macs=True), [load, Phase(frames), Phase(wrong)])
    assert len(loaded.requests) == len(load.requests)
    assert (good.lost, good.wrong, good.received, good.punted) == (0, 0, len(frames), 0)
    entered = [fate.entered for frame, fate in zip(frames, good.frames, strict=True) if frame.port == 0]
    assert {after - before for before, after in pairwise(entered)} == {line_bytes(60)}
    assert sum(good.spacing(frames, LINE_HZ).values()) > 0.95 * config.wired_ports * LINE_HZ / line_bytes(60)
    assert (bad.lost, bad.wrong) == (1, 1)


@pytest.mark.parametrize("config", CONFIGS)
def test_filter_rules_do_what_is_predicted_at_line_rate(config):
    rng = Random(2)
    routers = filled_routers(config, lambda number: islice(nested(Random(number), 32), 100), rng)
    traffic = FilteredTraffic(routers, rng)
    load = Phase(requests=Requests().rows(table_writes(routers, rng)))
    frames = list(traffic.frames(300, drops=True))
    # One that must be dropped, but for the bench's fault is not
    leaked = Phase([frame._replace(outcomes=()) for frame in frames if frame.outcomes][:1])
    read = Phase(requests=Requests().operations(traffic.reads()))
    _, result, hits, wrong = run_script(HARNESS.build(config, macs=True), [load, Phase(frames), read, leaked])
    assert (result.lost, result.wrong, result.punted) == (0, 0, 0)
    assert result.received == len(frames) - traffic.dropped < len(frames)
    assert traffic.wrong(hits.reads) == 0 < sum(hits.reads)
    assert (wrong.lost, wrong.wrong) == (0, 1)
