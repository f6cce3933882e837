"""Runs a cocotb test of a bench module in a simulation of its own."""

import json
import os
from pathlib import Path

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.sim.cocotb_build import build_simulation, run_simulation

ROOT = Path(__file__).parents[2]
BUILDS = ROOT / "build" / "cocotb"


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
