"""Runs the programs of an FPGA tool flow, and tells how far they are."""

import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path

from polyrouter.sim.dataplane.script import BenchError

__all__ = ["find_tool", "run_tool"]

#: Lines of a program's output that the message has if it fails.
_LAST_LINES = 20


def find_tool(program: str, extra: str) -> str:
    """Path of a program that a Python package installs.

    Parameters
    ----------
    program : str
        Its name.
    extra : str
        Optional dependency of this project that it comes with.

    Raises
    ------
    BenchError
        If it is not installed; the message says how to.
    """
    path = shutil.which(program, path=sysconfig.get_path("scripts")) or shutil.which(program)
    if path is None:
        raise BenchError(f"{program} is not installed: pip install 'polyrouter[{extra}]'")
    return path


def run_tool(title: str, command: Sequence[str], directory: Path, line: Callable[[str], None]) -> None:
    """Run a program in a directory, and give each line of its output to ``line`` as it comes.

    Raises
    ------
    BenchError
        If it fails; the message begins with ``title`` and ends with the last lines of the output.
    """
    last: list[str] = []
    with subprocess.Popen(command, cwd=directory, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        for text in process.stdout:
            last = [*last[1 - _LAST_LINES:], text]
            line(text)
    if process.returncode:
        raise BenchError(f"{title} failed:\n{''.join(last).rstrip()}")
