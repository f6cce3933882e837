"""What the verbs of link objects share: their options as properties of a topology file, and what is said of changes."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import console, network_of, print_changes, print_json, progress, reporting

if TYPE_CHECKING:
    from ..link_commands import LinkCommands
    from ..plan import Change

__all__ = ["MaxBw", "MinBw", "ObjectName", "PriorityName", "properties", "run_change", "with_rates"]

ObjectName = Annotated[str, typer.Argument(help="Its name.")]
MaxBw = Annotated[str | None, typer.Option(help="Bits a second in each direction, from 64k; 'none': no limit.")]
MinBw = Annotated[str | None, typer.Option(help="Bits a second of the switch's uplink, or 'none'.")]
PriorityName = Annotated[str | None, typer.Option(help="low, medium or high.")]
#: Clears a property.
_NONE = "none"


def properties(**given: Any) -> dict[str, Any]:
    """Options that were given, by the names of a topology file; what is cleared is None."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or value == []:
            continue
        key = name.replace("_", "-")
        if isinstance(value, list):
            found[key] = None if value == [_NONE] else value
        elif isinstance(value, str):
            found[key] = None if value == _NONE else int(value) if value.isdecimal() else value
        else:
            found[key] = value
    return found


def run_change(what: str, network: str | None, as_json: bool,
               change: "Callable[[LinkCommands], Iterable[Change]]") -> None:
    """Change a network's links, and say what was done.

    Parameters
    ----------
    what : str
        Of what is done, e.g. ``VNIC web0``.
    network : str, optional
        Name of the network.
    as_json : bool
        For programs.
    change : callable
        Does it.
    """
    from ..link_commands import LinkCommands

    with reporting(), progress(f"changing {what}") as step:
        found = network_of(network, step)
        changes = list(change(LinkCommands(found)))
    if as_json:
        print_json({"network": found.name, "changes": [one.as_dict() for one in changes]})
        return
    print_changes(changes)
    if not changes:
        console.print(f"{what} is so already: nothing to do", highlight=False)


def with_rates(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with rates as people write them."""
    from ..tables.rates import format_rate

    return [row | {key: format_rate(row[key]) for key in ("max_bw", "min_bw") if row[key] is not None} for row in rows]
