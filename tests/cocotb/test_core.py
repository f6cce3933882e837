"""The whole core in Verilator, at the frame-stream boundary."""

import pytest

from .runs import CONFIG, LINKS, LONG, LONG_LINKS, LONG_OTHER, MODULES, OTHER_CONFIGS, QUICK, QUICK_LINKS


def _run(simulate, config, run):
    simulate("core", config, MODULES[run.test], run.test, seed=run.seed, POLYROUTER_FRAMES=run.frames)


@pytest.mark.parametrize("run", QUICK, ids=str)
def test_core(simulate, run):
    _run(simulate, CONFIG, run)


@pytest.mark.parametrize("run", QUICK_LINKS, ids=str)
def test_link_port(simulate, run):
    _run(simulate, LINKS, run)


@pytest.mark.slow
@pytest.mark.parametrize("run", LONG_LINKS, ids=str)
def test_link_port_long(simulate, run):
    _run(simulate, LINKS, run)


@pytest.mark.slow
@pytest.mark.parametrize("run", LONG, ids=str)
def test_core_long(simulate, run):
    _run(simulate, CONFIG, run)


@pytest.mark.slow
@pytest.mark.parametrize("config", OTHER_CONFIGS.values(), ids=OTHER_CONFIGS.keys())
@pytest.mark.parametrize("run", LONG_OTHER, ids=str)
def test_other_parameters(simulate, config, run):
    _run(simulate, config, run)
