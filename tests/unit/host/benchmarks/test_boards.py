"""Which cores are measured for which boards. The measurement itself is tested with the data plane's bench."""

import json

import pytest
from polyrouter.boards.description import BoardError
from polyrouter.boards.registry import board_named
from polyrouter.host.benchmarks import boards
from polyrouter.host.benchmarks.boards import line_mpps, run_boards_bench
from polyrouter.sim.dataplane.measure import Throughput


@pytest.fixture
def measured(monkeypatch):
    """Cores that were measured; each loses a frame if it has more than two ports."""
    configs = []

    def throughput(routers, prefixes, slots, progress, config):
        configs.append(config)
        return Throughput(routers, len(prefixes.ipv4), 1.0, slots, line_mpps(config.ports), int(config.ports > 2), 0)

    monkeypatch.setattr(boards, "throughput", throughput)
    monkeypatch.setenv("POLYROUTER_DATA", "")
    return configs


def test_each_core_is_measured_once(measured):
    result = run_boards_bench(board=["versa_ecp5", "versa_ecp5_5g", "ecp5_85f_4port"], quick=True)
    assert [config.clock_hz for config in measured] == [
        board_named(name).core_hz for name in ("versa_ecp5", "ecp5_85f_4port")]
    assert [(row["name"], row["ok"], row["lost"]) for row in result["results"]] == [
        ("versa_ecp5", True, 0), ("versa_ecp5_5g", True, 0), ("ecp5_85f_4port", False, 1)]
    assert json.loads(json.dumps(result)) == result


def test_a_board_that_there_is_not(measured):
    with pytest.raises(BoardError, match="there is no board 'moon'"):
        run_boards_bench(board=["moon"])
    assert not measured
