"""Names of boards, and where what is built of them is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from polyrouter.boards.description import Board

__all__ = ["BoardName", "Output", "folder_of"]


def _names() -> list[str]:
    from polyrouter.boards.registry import BOARD_NAMES

    return list(BOARD_NAMES)


BoardName = Annotated[str, typer.Argument(help="Board, or a board file that ends in .py.", autocompletion=_names)]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Folder; default: build/boards/NAME.")]


def folder_of(board: "Board", output: Path | None) -> Path:
    """Where what is built of a board is."""
    return output or Path("build/boards") / board.name
