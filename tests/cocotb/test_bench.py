"""Benchmark of the core under cocotb."""

from polyrouter.sim.cocotb_bench import cocotb_frames_per_second

from .conftest import BUILDS
from .runs import CONFIG


def test_frames_are_forwarded_and_timed():
    steps = []
    result = cocotb_frames_per_second(CONFIG, 40, cache=BUILDS, progress=steps.append)
    assert result["frames"] == 40
    assert result["frames_per_second"] == 40 / result["seconds"]
    # 40 frames of 8 beats cannot take fewer cycles than there are beats at a port
    assert 10 * 8 <= result["cycles"] < 40 * 200
    assert len(steps) == 2
