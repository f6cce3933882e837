"""polyrouter events"""

import json
from typing import Annotated

import typer

from .common import Json, NetworkName, console, each_agent, network_of, reporting

__all__ = ["events"]


def events(
    node: Annotated[str | None, typer.Argument(help="Node; all if there is none.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more; of one node only.")] = False,
    network: NetworkName = None,
    as_json: Json = False,
) -> None:
    """Print what happened on the nodes; with --json one object a line."""
    with reporting():
        found = network_of(network)
        for agent in each_agent(found, node):
            lines = agent.events() if follow else agent.get("/events").splitlines()
            for line in lines:
                event = {"node": agent.node} | json.loads(line)
                if as_json:
                    print(json.dumps(event), flush=True)
                else:
                    shown = ("node", "time", "what", "number")
                    details = {key: value for key, value in event.items() if key not in shown}
                    console.print(f"{event['time']} {agent.node}: {event['what']} "
                                  + " ".join(f"{key}={value}" for key, value in details.items()), highlight=False)
