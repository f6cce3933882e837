"""The whole core behind its MACs in Verilator, with cocotbext-eth at the GMIIs."""

import pytest

from .test_core import CONFIG


@pytest.mark.parametrize(("test", "frames"), [
    ("random_traffic", 250), ("every_length", 0), ("line_rate", 200), ("bad_frames_back_to_back", 60),
    ("updates_under_traffic", 0),
])
def test_gmii(simulate, test, frames):
    simulate("gmii", CONFIG, "bench_core", test, POLYROUTER_FRAMES=frames)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
@pytest.mark.parametrize("test", ["random_traffic", "line_rate", "bad_frames_back_to_back", "updates_under_traffic"])
def test_gmii_long(simulate, test, seed):
    simulate("gmii", CONFIG, "bench_core", test, seed=seed, POLYROUTER_FRAMES=2000)
