"""polyrouter board: bitstreams of real boards"""

import typer

from .board_build import build
from .board_flash import flash
from .board_list import list_

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="List boards, build their bitstreams, and load them.")

app.command()(build)
app.command()(flash)
app.command(name="list")(list_)
