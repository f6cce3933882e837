"""The whole core behind its MACs in Verilator, with cocotbext-eth at the GMIIs."""

import pytest

from .runs import CONFIG, LONG_GMII, MODULES, QUICK_GMII


def _run(simulate, run):
    simulate("gmii", CONFIG, MODULES[run.test], run.test, seed=run.seed, POLYROUTER_FRAMES=run.frames)


@pytest.mark.parametrize("run", QUICK_GMII, ids=str)
def test_gmii(simulate, run):
    _run(simulate, run)


@pytest.mark.slow
@pytest.mark.parametrize("run", LONG_GMII, ids=str)
def test_gmii_long(simulate, run):
    _run(simulate, run)
