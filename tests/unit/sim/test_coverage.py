"""What the benches of the core are responsible for, together: every reason, and enough random traffic."""

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import Reason

from tests.cocotb.coverage import ENOUGH_FRAMES, ONLY_WITHOUT_ROOM, REACHES, reached_by
from tests.cocotb.runs import (
    CONFIG,
    LINKS,
    LONG,
    LONG_GMII,
    LONG_LINKS,
    LONG_OTHER,
    MODULES,
    OTHER_CONFIGS,
    QUICK,
    QUICK_GMII,
    QUICK_LINKS,
    Run,
)

#: Frames of random traffic, in all.
LEAST_QUICK, LEAST_NIGHTLY = 10_000, 100_000


def random_frames(runs: list[Run]) -> int:
    return sum(run.frames for run in runs if run.test == "random_traffic")


def test_quick_runs_reach_every_reason():
    asserted = [reached_by(run.test, CONFIG, run.frames) for run in QUICK if run.test in REACHES]
    assert frozenset().union(*asserted) == frozenset(Reason)


def test_every_random_run_reaches_all_that_frames_can_come_to():
    runs = [run for run in [*QUICK, *LONG, *LONG_OTHER, *LONG_GMII, *LONG_LINKS] if run.test == "random_traffic"]
    for run in runs:
        assert run.frames >= ENOUGH_FRAMES
        for config in CONFIG, LINKS:
            assert reached_by(run.test, config, run.frames) == frozenset(Reason) - ONLY_WITHOUT_ROOM
    assert len({run.seed for run in [*QUICK, *LONG] if run in runs}) == sum(run in runs for run in [*QUICK, *LONG])


def test_enough_random_traffic():
    quick = random_frames(QUICK)
    assert quick >= LEAST_QUICK
    nightly = random_frames([*LONG, *LONG_GMII]) + len(OTHER_CONFIGS) * random_frames(LONG_OTHER)
    assert nightly >= LEAST_NIGHTLY


def test_link_port_has_its_runs():
    assert random_frames(QUICK_LINKS) >= 1000 and random_frames(LONG_LINKS) >= 30_000
    assert {run.test for run in QUICK_LINKS} == {run.test for run in LONG_LINKS}


def test_every_bench_is_run():
    assert {run.test for run in [*QUICK, *QUICK_GMII]} == set(MODULES)
    assert set(REACHES) <= set(MODULES)


@pytest.mark.parametrize("test", sorted(REACHES))
def test_a_bench_of_a_small_core_reaches_less(test):
    """One port: nothing can be bridged. A few frames: nothing is asked for."""
    assert reached_by(test, CoreConfig(ports=1), ENOUGH_FRAMES) <= REACHES[test]
    assert bool(reached_by(test, CONFIG, ENOUGH_FRAMES - 1)) == (test != "random_traffic")
