"""Loads a bitstream into a board, by openFPGALoader."""

from collections.abc import Callable
from pathlib import Path

from ..description import Board
from ..devices import ECP5
from .bitstream import bitstream_of, vivado_project
from .tools import FlowError, Tools, find_tool

__all__ = ["flash_board"]


def flash_board(board: Board, folder: Path, *, permanent: bool = False,
                tell: Callable[[str], None] = lambda _: None) -> Path:
    """Load a board's bitstream; returns its path.

    Parameters
    ----------
    board : Board
    folder : Path
        That it was built in.
    permanent : bool
        Into the flash memory; else into the FPGA, until the power is switched off.
    tell : callable
        Is told what is being done.

    Raises
    ------
    FlowError
        If it was not built, openFPGALoader is not installed or fails, or doesn't know the board.
    """
    bitstream = bitstream_of(board, folder)
    if board.figures_only:
        raise FlowError(f"{board.name} is no board, so there is nothing to load a bitstream into")
    if not bitstream.is_file():
        raise FlowError(f"there is no bitstream {bitstream}: {_advice(board, folder)}")
    if not board.openfpgaloader:
        raise FlowError(f"openFPGALoader doesn't know {board.name}: load {bitstream} with the board's own tool")
    program = find_tool("openFPGALoader", "install it, for instance by apt-get install openfpgaloader")

    def line(text: str) -> None:
        if text.strip():
            tell(text.strip())

    with Tools() as tools:
        tools.run(f"loading {bitstream}", [program, *board.openfpgaloader, *(["--write-flash"] if permanent else []),
                                          str(bitstream.resolve())], folder, line)
    return bitstream


def _advice(board: Board, folder: Path) -> str:
    """How the bitstream that is missing is made."""
    build, project = f"'polyrouter board build {board.name}'", vivado_project(folder)
    if board.device.family == ECP5:
        return f"build it with {build}"
    run = f"'make -C {project}', which runs Vivado"
    return f"make it with {run}" if project.is_dir() else f"make its project with {build}, and the bitstream with {run}"
