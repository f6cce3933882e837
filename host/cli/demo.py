"""polyrouter demo"""

from pathlib import Path
from typing import Annotated

import typer

from .common import FAILED, Json, reporting

__all__ = ["demo"]


def demo(
    file: Annotated[Path | None, typer.Argument(help="Topology file; default: examples/two-sites.yaml.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the network up at the end.")] = False,
    as_json: Json = False,
) -> None:
    """Bring a network up, check that its hosts reach each other by hardware alone, show the figures, take it down."""
    from ..demo import run_demo

    with reporting():
        good = run_demo(file, keep=keep, as_json=as_json)
    if not good:
        raise typer.Exit(FAILED)
