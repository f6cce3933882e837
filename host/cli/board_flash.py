"""polyrouter board flash"""

from typing import Annotated

import typer

from .board_folder import BoardName, Output, folder_of
from .common import USAGE, Json, console, fail, print_json, progress, reporting

__all__ = ["flash"]


def flash(
    name: BoardName,
    more: Annotated[list[str] | None, typer.Argument(
        metavar="ARGUMENT", help="After --: further arguments of openFPGALoader.", show_default=False)] = None,
    cable: Annotated[str | None, typer.Option(
        "--cable", help="JTAG adapter, as openFPGALoader --list-cables has it; default: the board's own.")] = None,
    permanent: Annotated[bool, typer.Option(
        "--permanent", help="Into the flash memory, so that the board starts with it; else it is gone with the "
        "power.")] = False,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Load the bitstream that was built for a board."""
    if more and not more[0].startswith("-"):
        raise fail("what follows the board are arguments of openFPGALoader, after --, as in '-- --verbose', not "
                   f"{more[0]!r}", USAGE)
    with reporting(), progress(f"loading {name}") as step:
        from polyrouter.boards.flow.flash import flash_board
        from polyrouter.boards.registry import board_named

        board = board_named(name)
        bitstream = flash_board(board, folder_of(board, output), permanent=permanent, cable=cable,
                                more=more or (), tell=step)
    if as_json:
        print_json({"board": board.name, "bitstream": str(bitstream), "permanent": permanent})
    else:
        console.print(f"{board.name} runs {bitstream}", highlight=False)
