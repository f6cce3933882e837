"""polyrouter doctor"""

import typer

from .common import FAILED, Json, console, print_json, progress

__all__ = ["doctor"]


def doctor(as_json: Json = False) -> None:
    """Check what this machine must have, and say what to do about what is missing."""
    from ..doctor import check_all

    with progress("checking this machine"):
        checks = check_all()
    if as_json:
        print_json([check.as_dict() for check in checks])
    else:
        for check in checks:
            word, color = ("ok", "green") if check.ok else ("missing", "red") if check.needed else ("without", "yellow")
            mark = f"[{color}]{word:7}[/{color}]"
            advice = "" if check.ok or not check.advice else f": {check.advice}"
            console.print(f"{mark} {check.what} ({check.found}){advice}", highlight=False)
    if not all(check.ok for check in checks if check.needed):
        raise typer.Exit(FAILED)
