"""polyrouter logs"""

from typing import Annotated

import typer

from ..paths import node_dir
from .common import Json, NetworkName, network_of, print_json, reporting

__all__ = ["logs"]


def logs(
    name: Annotated[str, typer.Argument(help="Virtual router, or node for its agent's log.")],
    lines: Annotated[int | None, typer.Option("--lines", "-l", min=1, help="Only the last ones.")] = None,
    network: NetworkName = None,
    as_json: Json = False,
) -> None:
    """Print the log of a virtual router's routing daemons, or of a node's agent and board."""
    with reporting():
        found = network_of(network)
        if name in found.spec().nodes:
            paths = [node_dir(found.name, name) / file for file in ("agent.log", "board.log")]
            text = "".join(path.read_text(errors="replace") for path in paths if path.exists())
            if lines is not None:
                text = "\n".join(text.splitlines()[-lines:])
        else:
            text = found.ask(name, f"/logs/{name}", **({"lines": lines} if lines else {}))
    if as_json:
        print_json({"name": name, "lines": text.splitlines()})
    else:
        typer.echo(text.rstrip("\n"))
