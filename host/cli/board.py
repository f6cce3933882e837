"""polyrouter board: real boards, and what is at their host link"""

import typer

from .board_connect import connect
from .board_selftest import selftest

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Boards: what is there, and whether it works.")

for verb in (connect, selftest):
    app.command()(verb)
