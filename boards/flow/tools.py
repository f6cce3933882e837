"""Runs the programs of an FPGA tool flow: what they print is handed on, and none outlives whoever started it."""

import contextlib
import os
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import Lock, current_thread, main_thread

__all__ = ["FlowError", "Tools", "find_tool", "stopped_by_signals", "tool_version"]

#: Lines of a program's output that the message has if it fails.
_LAST_LINES = 20
#: Seconds that a program has to end when it is told to.
_GRACE = 5


class FlowError(RuntimeError):
    """A board can't be built; the message says which step failed, and why."""


def find_tool(program: str, advice: str = "pip install polyrouter") -> str:
    """Path of a program, one that a Python package has installed first.

    Raises
    ------
    FlowError
        If it is not installed; the message ends with ``advice``.
    """
    path = shutil.which(program, path=sysconfig.get_path("scripts")) or shutil.which(program)
    if path is None:
        raise FlowError(f"{program} is not installed: {advice}")
    return path


@cache
def tool_version(program: str) -> str:
    """What a program says to ``--version``, in one line."""
    found = subprocess.run([find_tool(program), "--version"], capture_output=True, text=True, check=False)
    return " ".join((found.stdout + found.stderr).split())


class Tools:
    """Runs programs, from several threads if need be. At the end of its ``with`` none of them runs any more.

    Each is the leader of a session, so that Ctrl-C at the terminal is this process' alone, which then ends them and
    whatever they have started.
    """

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = Lock()
        self._stopped = False

    def __enter__(self) -> "Tools":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self, title: str, command: Sequence[str], directory: Path, line: Callable[[str], None] = lambda _: None,
            environment: Mapping[str, str] | None = None) -> None:
        """Run a program in a directory, and give each line of its output to ``line`` as it comes.

        Raises
        ------
        FlowError
            If it fails, or was stopped; the message begins with ``title`` and ends with the last lines of the output,
            or those of them that say ERROR.
        """
        last: list[str] = []
        with self._start(title, command, directory, environment) as process:
            try:
                assert process.stdout is not None
                for text in process.stdout:
                    last = [*last[1 - _LAST_LINES:], text]
                    line(text)
            except BaseException:
                _end(process)
                raise
            finally:
                process.wait()
                with self._lock:
                    self._running.discard(process)
        if process.returncode:
            why = "was stopped" if self._stopped else "failed"
            errors = [text for text in last if text.startswith("ERROR")]
            raise FlowError(f"{title} {why}:\n{''.join(errors or last).rstrip()}")

    def stop(self) -> None:
        """End all programs, and start no others."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            _end(process)

    def _start(self, title: str, command: Sequence[str], directory: Path,
               environment: Mapping[str, str] | None) -> "subprocess.Popen[str]":
        with self._lock:
            if self._stopped:
                raise FlowError(f"{title} was stopped")
            process = subprocess.Popen(command, cwd=directory, text=True, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                                       env={**os.environ, **(environment or {})})
            self._running.add(process)
        return process


def _end(process: "subprocess.Popen[str]") -> None:
    """End a program and what it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
            return


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that what it has started is ended too."""
    def interrupt(number: int, _: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
