"""Runs a cocotb test of a bench module in a simulation of its own."""

import json
import os
from pathlib import Path

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.sim.cocotb_build import build_simulation, run_simulation

from ..scheduling import GroupScheduling

ROOT = Path(__file__).parents[2]
BUILDS = ROOT / "build" / "cocotb"

#: Tests of `make test` that share a build, by file and function: two workers would wait for it.
GROUPS = {
    "test_bench.py::test_frames_are_forwarded_and_timed": "core",
    "test_core.py::test_core": "core",
    "test_core.py::test_link_port": "links",
    "test_dataplane_bench.py::test_shortest_frames_at_line_rate_are_all_forwarded": "dataplane",
    "test_dataplane_bench.py::test_filter_rules_do_what_is_predicted_at_line_rate": "dataplane",
    "test_links_bench.py::test_tunnels_at_line_rate": "dataplane",
    "test_links_bench.py::test_limits_of_vnics": "dataplane",
    "test_links_bench.py::test_vnics_reach_each_other": "dataplane",
    "test_gmii.py::test_gmii": "gmii",
}


def pytest_xdist_make_scheduler(config, log):
    """Groups as above; all other tests by themselves."""
    return GroupScheduling(config, log, lambda nodeid: GROUPS.get(nodeid.split("[")[0].split("/")[-1], nodeid))


@pytest.fixture
def simulate(tmp_path):
    """Build what is to be simulated, if needed, and run one test.

    ``WAVES=1`` in the environment keeps an FST waveform in ``build/cocotb/waves``; building that takes the headers of
    liblz4-dev and zlib1g-dev.
    """
    def run(top: str, config: CoreConfig, module: str, test: str, *, seed: int = 1, **env: object) -> None:
        waves = os.environ.get("WAVES", "0") not in ("", "0")
        build = build_simulation(top, config, BUILDS, waves=waves)
        directory = BUILDS / "waves" / f"{top}-{test}-{seed}" if waves else tmp_path
        directory.mkdir(parents=True, exist_ok=True)
        environment = {"POLYROUTER_CONFIG": json.dumps(config.as_dict()), "POLYROUTER_TOP": top,
                       **{name: str(value) for name, value in env.items()}}
        run_simulation(build, f"tests.cocotb.{module}", test, directory, seed=seed, env=environment, waves=waves)

    return run
