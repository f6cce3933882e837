"""polyrouter board: real boards, from their bitstream to what is at their host link"""

import typer

from .board_build import build
from .board_connect import connect
from .board_flash import flash
from .board_list import list_
from .board_selftest import selftest

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Boards: bitstreams, what is there, and whether it works.")

for verb in (build, flash, connect, selftest):
    app.command()(verb)
app.command(name="list")(list_)
