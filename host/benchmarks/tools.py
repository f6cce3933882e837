"""Runs the programs of an FPGA tool flow for a bench."""

from collections.abc import Callable, Sequence
from pathlib import Path

from polyrouter.boards.flow import tools
from polyrouter.sim.dataplane.script import BenchError

__all__ = ["find_tool", "run_tool"]


def find_tool(program: str) -> str:
    """Path of a program; see :func:`.boards.flow.tools.find_tool`.

    Raises
    ------
    BenchError
        If it is not installed; the message says how to.
    """
    try:
        return tools.find_tool(program)
    except tools.FlowError as error:
        raise BenchError(str(error)) from error


def run_tool(title: str, command: Sequence[str], directory: Path, line: Callable[[str], None]) -> None:
    """Run a program in a directory, and give each line of its output to ``line`` as it comes.

    Raises
    ------
    BenchError
        If it fails; the message begins with ``title`` and ends with the last lines of the output.
    """
    try:
        with tools.Tools() as running:
            running.run(title, command, directory, line)
    except tools.FlowError as error:
        raise BenchError(str(error)) from error
