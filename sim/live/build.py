"""Executables of a live board, and its core as Verilog."""

from pathlib import Path

from amaranth.back import verilog
from amaranth.lib import wiring

from ...hdl.config import CoreConfig
from ...hdl.core import Core
from ...hdl.gmii_core import GmiiCore
from ..verilated.build import BuildError, Harness, Progress

__all__ = ["BuildError", "Progress", "build_board", "compile_board", "write_verilog"]

_HARNESS = Harness("boards", Path(__file__).parent)


def write_verilog(config: CoreConfig, path: Path | str, *, macs: bool = False) -> None:
    """Write a core as one Verilog file with the top module ``core``: what ``polyrouter build verilog`` does."""
    Path(path).write_text(verilog.convert(GmiiCore(config) if macs else Core(config), name="core"))


def build_board(config: CoreConfig, *, macs: bool = False, trace: bool = False,
                progress: Progress | None = None) -> Path:
    """Executable of a live board; built if there is none yet for these sources and parameters.

    Callers in parallel, also in other processes, build once: the others wait.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.
    macs : bool
        Run the core with its GMII MACs; about half as fast.
    trace : bool
        The executable takes ``--trace FILE`` and writes an FST waveform.
    progress : Progress
        Is told what is being done.

    Raises
    ------
    BuildError
        If a step fails.
    """
    return _HARNESS.build(config, macs=macs, trace=trace, progress=progress)


def compile_board(top: wiring.Component, config: CoreConfig, directory: Path, *, macs: bool = False,
                  trace: bool = False, progress: Progress | None = None) -> Path:
    """Compile a top component, with the harness, into ``directory/board``.

    Raises
    ------
    BuildError
        If a step fails.
    """
    return _HARNESS.compile(top, config, directory, macs=macs, trace=trace, progress=progress)
