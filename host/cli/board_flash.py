"""polyrouter board flash"""

from typing import Annotated

import typer

from .board_folder import BoardName, Output, folder_of
from .common import Json, console, print_json, progress, reporting

__all__ = ["flash"]


def flash(name: BoardName, output: Output = None,
          permanent: Annotated[bool, typer.Option("--permanent", help="Into the flash memory, so that the board starts "
                                                  "with it; else it is gone with the power.")] = False,
          as_json: Json = False) -> None:
    """Load the bitstream that was built for a board."""
    with reporting(), progress(f"loading {name}") as step:
        from polyrouter.boards.flow.flash import flash_board
        from polyrouter.boards.registry import board_named

        board = board_named(name)
        bitstream = flash_board(board, folder_of(board, output), permanent=permanent, tell=step)
    if as_json:
        print_json({"board": board.name, "bitstream": str(bitstream), "permanent": permanent})
    else:
        console.print(f"{board.name} runs {bitstream}", highlight=False)
