"""polyrouter wire: virtual wires"""

from typing import Annotated

import typer

from .common import USAGE, Json, NetworkName, fail, network_of, reporting, show_rows
from .link_common import ObjectName, properties, run_change

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Virtual wires: each joins two VNICs, on one node or on two.")

End = Annotated[str, typer.Argument(help="VNIC, or ROUTER:INTERFACE of one that is written in a virtual router.")]


@app.command()
def create(name: ObjectName, a: End, b: End,
           vlan: Annotated[int | None, typer.Option(help="Over two nodes: VLAN of the cable between them.")] = None,
           tunnel: Annotated[str | None, typer.Option(help="Over two nodes: gre or vxlan.")] = None,
           key: Annotated[int | None, typer.Option(help="Of the tunnel.")] = None,
           underlay: Annotated[list[str] | None, typer.Option(
               help="Virtual router that routes the tunnel's packets; one on each node.")] = None,
           tos: Annotated[int | None, typer.Option(help="TOS of the tunnel's packets.")] = None,
           ttl: Annotated[int | None, typer.Option(help="TTL of the tunnel's packets.")] = None,
           network: NetworkName = None, as_json: Json = False) -> None:
    """Make a virtual wire on a network that is up."""
    inner = properties(kind=tunnel, key=key, underlay=underlay, tos=tos, ttl=ttl)
    if inner and tunnel is None:
        raise fail("--key, --underlay, --tos and --ttl are a tunnel's: give --tunnel gre or --tunnel vxlan too", USAGE)
    wanted = properties(endpoints=[a, b], vlan=vlan, tunnel=inner or None)
    run_change(f"wire {name}", network, as_json, lambda links: links.create("wire", name, wanted))


@app.command()
def delete(name: ObjectName, network: NetworkName = None, as_json: Json = False) -> None:
    """Remove a virtual wire that a command has made."""
    run_change(f"wire {name}", network, as_json, lambda links: links.delete("wire", name))


@app.command("list")
def list_(network: NetworkName = None, as_json: Json = False) -> None:
    """List virtual wires."""
    with reporting():
        wires = network_of(network).topology().wires
        rows = [{"name": name, "endpoints": wire.endpoints, "vlan": wire.vlan,
                 "tunnel": wire.tunnel.kind if wire.tunnel else None, "key": wire.tunnel.key if wire.tunnel else None,
                 "underlay": wire.tunnel.underlay if wire.tunnel else None} for name, wire in wires.items()]
    show_rows("Wires", rows, as_json=as_json)
