"""Results of the data-plane bench: names, bars, and runs that can't be made."""

import pytest
from polyrouter.host.benchmarks import dataplane
from polyrouter.sim.dataplane.measure import LINE_MPPS, Headroom, Isolation, Latency, Throughput
from polyrouter.sim.verilated.build import BuildError

WANTED = {
    "throughput_mpps", "lost_frames", "headroom", "latency_ns_min", "latency_ns_max", "latency_spread_ns",
    "filter_rules_at_line_rate", "filter_wrong_hits",
    *(f"filter_rules_{routers}_routers" for routers in (1, 8, 64, 256, 1024)),
    "isolation_lost_frames", "isolation_added_latency_ns", "ipv6_worst_throughput_mpps", "hitless_wrong_frames",
    *(f"throughput_mpps_{routers}_routers" for routers in (1, 8, 64, 256, 1024)),
}


@pytest.fixture
def good(monkeypatch):
    """Every measurement finds what it should."""
    def at_line_rate(routers):
        return Throughput(routers, 1000, 0.99, 20000, LINE_MPPS, 0, 0, rules=21, matched=9000, dropped=70)

    found = {
        "throughput": lambda routers, *_: at_line_rate(routers),
        "ipv6_worst": lambda *_: at_line_rate(8),
        "filter_limit": lambda *_: 21,
        "headroom": lambda *_: Headroom(2 * LINE_MPPS, 16000),
        "latency": lambda *_, ipv6: Latency(1000.0, 1016.0, 1008.0, 500, 0, 0),
        "isolation": lambda *_, flood_longest: Isolation(120, 0, 900.0, 40000, 0),
        "hitless": lambda *_: (20000, 0, 0, 2000),
    }
    for name, function in found.items():
        monkeypatch.setattr(dataplane, name, function)
    monkeypatch.setattr(dataplane, "full_table", lambda *_: ([(0, 0)], "_synthetic"))
    return monkeypatch


def by_name(result):
    return {row["name"]: row for row in result["results"]}


def test_all_results_are_there_and_good(good):
    result = dataplane.run_dataplane_bench()
    assert set(result) >= WANTED
    rows = by_name(result)
    assert all(row["ok"] for row in rows.values())
    assert result["throughput_mpps"] == rows["throughput_mpps"]["value"] == pytest.approx(5.952, abs=1e-3)
    assert result["headroom"] == 2.0
    assert result["latency_spread_ns"] == 16.0


def test_the_slowest_core_counts(good):
    def slower(routers, *_):
        return Throughput(routers, 9, 1.0, 100, 5.9 - routers / 1000, 2, 1, rules=routers, wrong_hits=3)

    good.setattr(dataplane, "throughput", slower)
    result = dataplane.run_dataplane_bench(vrs=[1, 64])
    rows = by_name(result)
    assert result["throughput_mpps"] == pytest.approx(5.836)
    assert not rows["throughput_mpps"]["ok"]
    assert (result["lost_frames"], result["wrong_frames"]) == (4, 2)
    assert not rows["lost_frames"]["ok"] and not rows["wrong_frames"]["ok"]
    assert "throughput_mpps_8_routers" not in rows
    assert result["filter_wrong_hits"] == 6 and not rows["filter_wrong_hits"]["ok"]
    assert (result["filter_rules_1_routers"], result["filter_rules_64_routers"]) == (1, 64)


def test_quick_is_one_core(good):
    result = dataplane.run_dataplane_bench(quick=True)
    assert [name for name in result if name.startswith("throughput_mpps_")] == ["throughput_mpps_8_routers"]


def test_a_run_that_cannot_be_made_says_why_and_does_not_stop_the_others(good):
    def fail(*_):
        raise BuildError("g++ failed")

    good.setattr(dataplane, "headroom", fail)
    result = dataplane.run_dataplane_bench()
    assert result["headroom"] is None
    assert by_name(result)["headroom"]["error"] == "g++ failed"
    assert not by_name(result)["headroom"]["ok"]
    assert result["hitless_wrong_frames"] == 0
    good.setattr(dataplane, "throughput", fail)
    assert dataplane.run_dataplane_bench(quick=True)["throughput_mpps"] is None


def test_a_core_that_loses_at_every_rate_has_no_headroom(good):
    good.setattr(dataplane, "headroom", lambda *_: Headroom(0.0, 16000))
    assert by_name(dataplane.run_dataplane_bench())["headroom"]["value"] == 0


def test_too_few_rules_at_line_rate_and_a_stream_that_waits_too_long_are_seen(good):
    good.setattr(dataplane, "filter_limit", lambda *_: 20)
    good.setattr(dataplane, "isolation", lambda *_, flood_longest: Isolation(120, 0, 12305.0, 40000, 0))
    rows = by_name(dataplane.run_dataplane_bench(quick=True))
    assert not rows["filter_rules_at_line_rate"]["ok"]
    # One longest frame on the line, with preamble and gap
    assert rows["isolation_added_latency_ns"]["bar"] == (1518 + 20) * 8
    assert not rows["isolation_added_latency_ns"]["ok"]


def test_a_stream_that_is_lost_whole_has_no_latency(good):
    good.setattr(dataplane, "isolation", lambda *_, flood_longest: Isolation(120, 120, None, 40000, 0))
    rows = by_name(dataplane.run_dataplane_bench(quick=True))
    assert rows["isolation_added_latency_ns"]["error"] == "no frame of the stream came through"
    assert rows["isolation_added_latency_ns"]["value"] is None
    assert not rows["isolation_lost_frames"]["ok"]
