"""Results of the link bench: names and bars."""

import pytest
from polyrouter.hdl.layouts import TunnelKind
from polyrouter.host.benchmarks import links
from polyrouter.sim.dataplane.links import Limit, Tunnels, Vnics, kept, tunnel_line_mpps


@pytest.fixture
def good(monkeypatch):
    """Every measurement finds what it should."""
    monkeypatch.setattr(links, "tunnels", lambda kind, count, _: Tunnels(kind, 4 * count, tunnel_line_mpps(kind), 0, 0))
    monkeypatch.setattr(links, "limits", lambda seconds, _: [
        Limit(rate, inbound, 10, seconds, rate * seconds, 0.5, 0)
        for inbound in (False, True) for rate in (64000, 10**8)])
    monkeypatch.setattr(links, "vnics", lambda count, *_: Vnics(count, count, 0))
    return monkeypatch


def by_name(rows):
    return {row["name"]: row for row in rows}


def test_all_results_are_there_and_good(good):
    rows = by_name(links.run_links_bench())
    assert set(rows) >= {"vnics", "limit_error_percent_max", "gre_throughput_mpps", "vxlan_throughput_mpps"}
    assert all(row["ok"] for row in rows.values())
    assert rows["vnics"]["value"] == 256
    assert rows["gre_throughput_mpps"]["value"] == pytest.approx(4 * 125 / 126, abs=1e-3)
    assert rows["vxlan_throughput_mpps"]["value"] == pytest.approx(4 * 125 / 134, abs=1e-3)
    assert rows["limit_64000_out"]["value"] == pytest.approx(64000)


def test_each_bar_can_be_missed(good):
    good.setattr(links, "tunnels", lambda kind, *_: Tunnels(kind, 100, 0.99 * tunnel_line_mpps(kind), 1, 2))
    good.setattr(links, "limits", lambda *_: [Limit(64000, False, 10, 0.1, 6000, 2.1, 1)])
    good.setattr(links, "vnics", lambda count, *_: Vnics(count, count - 1, 1))
    rows = by_name(links.run_links_bench(quick=True))
    missed = {name for name, row in rows.items() if not row["ok"]}
    assert missed == {
        *(f"{kind.name.lower()}_{what}" for kind in TunnelKind for what in (
            "throughput_mpps", "lost_frames", "wrong_frames")),
        "limit_error_percent_max", "limit_wrong_frames", "vnics", "vnics_wrong_frames"}


@pytest.mark.parametrize("frames, error", [
    (11, 0),            # as many as are due, one frame more, and one fewer
    (12, 0), (10, 0),
    (13, 10), (9, 10),
])
def test_a_limit_may_be_off_by_a_frame(frames, error):
    """Ten frames of 1000 bits are due between the first one and the last one."""
    times = [k * 10_000_000 // (frames - 1) for k in range(frames)]
    limit = kept(1000, False, [(at, 121) for at in times], 1e6, 0)
    assert limit.frames == frames
    assert limit.error_percent == pytest.approx(error, abs=1e-6)


def test_without_frames_there_is_no_limit_that_is_kept():
    assert kept(1000, True, [(5, 121)], 1e6, 0).error_percent == 100
