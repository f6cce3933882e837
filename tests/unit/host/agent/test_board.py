"""The keeper of a simulated board's process."""

import os
import signal

import pytest
from polyrouter.host.agent import board
from polyrouter.host.agent.board import LiveBoardKeeper
from polyrouter.host.spec import NodeSpec


class Fabric:
    def open_tap(self, name):
        return os.open(os.devnull, os.O_RDWR)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Programs that were built; they wait for ever instead of being a board."""
    program = tmp_path / "board"
    program.write_text("#!/bin/bash\nexec -a \"$0\" sleep 1000\n")
    program.chmod(0o755)
    builds = []
    monkeypatch.setattr(board, "build", lambda spec, progress: builds.append(spec) or program)
    monkeypatch.setenv("POLYROUTER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("POLYROUTER_RUN", str(tmp_path / "run"))
    for kind in ("state/networks", "run"):
        (tmp_path / kind / "net/left").mkdir(parents=True)
    return builds


def test_a_board_that_ended_is_started_again_as_it_was(made):
    spec = NodeSpec.model_construct(topology="net", node="left", taps=["p0"], host_tap="host", core={}, macs=False)
    keeper = LiveBoardKeeper(spec, Fabric())
    try:
        assert keeper.ensure() and not keeper.ensure()
        assert len(made) == 1
        first = keeper.pid
        os.kill(first, signal.SIGKILL)
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
        assert keeper.ensure()
        assert keeper.pid != first and keeper.running()
        assert len(made) == 1
    finally:
        keeper.stop()
