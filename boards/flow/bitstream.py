"""Where the bitstream of a board is when it is made."""

from pathlib import Path

from ..description import Board
from ..devices import ECP5

__all__ = ["bitstream_of", "vivado_project"]


def vivado_project(folder: Path) -> Path:
    """The project of a 7-series FPGA, in the folder that it is built in."""
    return folder / "vivado"


def bitstream_of(board: Board, folder: Path, suffix: str = "bit") -> Path:
    """A board's bitstream: that of an ECP5 is made by the build, that of a 7-series FPGA by ``make`` in its project.

    Parameters
    ----------
    board : Board
    folder : Path
        That it is built in.
    suffix : str
        ``bit``; of an ECP5 there is ``svf`` too.
    """
    if board.device.family == ECP5:
        return folder / f"{board.name}.{suffix}"
    return vivado_project(folder) / f"top.{suffix}"
