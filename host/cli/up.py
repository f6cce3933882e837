"""polyrouter up"""

from pathlib import Path
from typing import Annotated

import typer

from .common import Json, console, print_changes, print_json, progress, reporting

__all__ = ["up"]


def up(
    file: Annotated[Path, typer.Argument(envvar="POLYROUTER_FILE", help="Topology file.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", envvar="POLYROUTER_DRY_RUN",
                                          help="Only say what would be done, and why.")] = False,
    as_json: Json = False,
) -> None:
    """Make a network what its file says, whether it runs already or not. Says what it changes, and why."""
    from ..network import Network
    from ..topology_file import load

    with reporting():
        name = load(file).name
        with progress(f"comparing {name} with {file}") as step:
            changes = Network(name, step).up(file, dry_run=dry_run)
    if as_json:
        print_json({"network": name, "dry_run": dry_run, "changes": [change.as_dict() for change in changes]})
        return
    print_changes(changes)
    if not changes:
        console.print(f"{name} is as {file} says: nothing to do", highlight=False)
    elif dry_run:
        console.print(f"{len(changes)} changes; none was made", highlight=False)
    else:
        console.print(f"{name} is up: {len(changes)} changes", highlight=False)
