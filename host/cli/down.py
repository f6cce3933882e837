"""polyrouter down"""

from typing import Annotated

import typer

from .common import Json, NetworkName, console, network_of, print_json, progress, reporting

__all__ = ["down"]


def down(
    network: NetworkName = None,
    *,
    leave_boards: Annotated[bool, typer.Option(
        "--leave-boards", help="Leave real boards as they are, also those that do not answer; they go on forwarding.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove a network, with everything that was made for it. Works from saved state: the file is not read."""
    with reporting(), progress("taking the network down") as step:
        found = network_of(network, step)
        removed = found.down(leave_boards=leave_boards)
    if as_json:
        print_json({"network": found.name, "removed": removed})
    else:
        console.print(f"{found.name} is down: {len(removed)} things removed", highlight=False)
