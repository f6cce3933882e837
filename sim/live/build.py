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
    """Executable of a live board, as :meth:`.Harness.build` gives it.

    With ``macs`` it is about half as fast; with ``trace`` it takes ``--trace FILE`` and writes an FST waveform.
    """
    return _HARNESS.build(config, macs=macs, trace=trace, progress=progress)


def compile_board(top: wiring.Component, config: CoreConfig, directory: Path, *, macs: bool = False,
                  trace: bool = False, progress: Progress | None = None) -> Path:
    """Compile a top component, with the harness, into ``directory/board``; see :meth:`.Harness.compile`."""
    return _HARNESS.compile(top, config, directory, macs=macs, trace=trace, progress=progress)
