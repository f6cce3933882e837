"""Programs of a flow: their output, their failure, and that none outlives its starter."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from polyrouter.boards.flow.tools import FlowError, Tools, find_tool, stopped_by_signals


def test_a_tool_that_is_not_there():
    with pytest.raises(FlowError, match=r"^polyrouter-nothing is not installed: ask for it$"):
        find_tool("polyrouter-nothing", "ask for it")


def test_lines_and_the_end_of_a_failure(tmp_path):
    lines = []
    with Tools() as tools:
        tools.run("this", ["sh", "-c", "pwd; echo two >&2"], tmp_path, lines.append)
        assert lines == [f"{tmp_path}\n", "two\n"]
        with pytest.raises(FlowError, match=r"^that failed:\n6\n(.*\n)*25$"):
            tools.run("that", ["sh", "-c", "seq 25; false"], tmp_path)
        with pytest.raises(FlowError, match=r"^it failed:\nERROR: no room$"):
            tools.run("it", ["sh", "-c", "echo working; echo 'ERROR: no room'; echo bye; false"], tmp_path)


def _alive(pid: int) -> bool:
    """Whether it runs: a zombie doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_end_of_with_ends_programs_and_what_they_have_started(tmp_path):
    pids, started = [], Event()

    def line(text: str) -> None:
        pids.append(int(text))
        if len(pids) == 2:
            started.set()

    with ThreadPoolExecutor(1) as pool:
        with Tools() as tools:
            found = pool.submit(tools.run, "it", ["sh", "-c", "sleep 600 & echo $$; echo $!; wait"], tmp_path, line)
            assert started.wait(60)
            assert all(map(_alive, pids))
        with pytest.raises(FlowError, match=r"^it was stopped"):
            found.result(60)
    assert not any(map(_alive, pids))
    with pytest.raises(FlowError, match=r"^it was stopped"):
        tools.run("it", ["true"], tmp_path)


def test_an_interrupt_ends_the_program(tmp_path):
    pids = []

    def line(text: str) -> None:
        pids.append(int(text))
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt, match="SIGTERM"), stopped_by_signals(), Tools() as tools:
        tools.run("it", ["sh", "-c", "echo $$; exec sleep 600"], tmp_path, line)
    assert pids and not _alive(pids[0])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
