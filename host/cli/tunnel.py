"""polyrouter tunnel: Ethernet in IP"""

from typing import Annotated, Any

import typer

from .common import Json, NetworkName, network_of, reporting, show_rows
from .link_common import ObjectName, properties, run_change

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Tunnels: GRE (RFC 2784, 2890) and VXLAN (RFC 7348) from a virtual switch "
                                             "or a VNIC.")

Kind = Annotated[str | None, typer.Option(help="gre or vxlan.")]
Key = Annotated[str | None, typer.Option(help="Key of GRE, or VNI.")]
Underlay = Annotated[str | None, typer.Option(help="Virtual router that routes its packets, as in red-left.")]
Remote = Annotated[str | None, typer.Option(help="Address of the other end; several, with commas, of a switch.")]
Local = Annotated[str | None, typer.Option(help="The underlay's address; default: the nearest to the other end.")]
Tos = Annotated[str | None, typer.Option(help="TOS of its packets.")]
Ttl = Annotated[str | None, typer.Option(help="TTL of its packets.")]
SwitchName = Annotated[str | None, typer.Option("--switch", help="Virtual switch that it is a port of.")]
VnicName = Annotated[str | None, typer.Option("--vnic", help="Or VNIC that it is the end of.")]


def _split(remote: str | None) -> list[str] | None:
    return None if remote is None else [part.strip() for part in remote.split(",")]


@app.command()
def create(name: ObjectName, node: Annotated[str, typer.Option(help="Node that it begins at.")], kind: Kind = None,
           key: Key = None, underlay: Underlay = None, remote: Remote = None, local: Local = None, tos: Tos = None,
           ttl: Ttl = None, switch: SwitchName = None, vnic: VnicName = None, network: NetworkName = None,
           as_json: Json = False) -> None:
    """Make a tunnel on a network that is up. The other end is made on the other node."""
    wanted = properties(node=node, kind=kind, key=key, underlay=underlay, remote=_split(remote), local=local, tos=tos,
                        ttl=ttl, switch=switch, vnic=vnic)
    run_change(f"tunnel {name}", network, as_json, lambda links: links.create("tunnel", name, wanted))


@app.command("set")
def set_(name: ObjectName, kind: Kind = None, key: Key = None, underlay: Underlay = None, remote: Remote = None,
         local: Local = None, tos: Tos = None, ttl: Ttl = None, switch: SwitchName = None, vnic: VnicName = None,
         network: NetworkName = None, as_json: Json = False) -> None:
    """Change a tunnel. 'none' takes a property back to its default."""
    wanted = properties(kind=kind, key=key, underlay=underlay, remote=_split(remote), local=local, tos=tos, ttl=ttl,
                        switch=switch, vnic=vnic)
    run_change(f"tunnel {name}", network, as_json, lambda links: links.set("tunnel", name, wanted))


@app.command()
def delete(name: ObjectName, network: NetworkName = None, as_json: Json = False) -> None:
    """Remove a tunnel that a command has made."""
    run_change(f"tunnel {name}", network, as_json, lambda links: links.delete("tunnel", name))


@app.command("list")
def list_(network: NetworkName = None, as_json: Json = False) -> None:
    """List tunnels, one row for each other end; also those of virtual wires."""
    from ..links import links_of

    with reporting():
        tunnels = links_of(network_of(network).topology()).tunnels.values()
        rows: list[dict[str, Any]] = [
            {"name": tunnel.name, "node": tunnel.node, "kind": tunnel.kind, "key": tunnel.key,
             "underlay": tunnel.underlay, "local": str(tunnel.local), "remote": str(tunnel.remote), "tos": tunnel.tos,
             "ttl": tunnel.ttl, "mtu": tunnel.mtu, "switch": tunnel.switch or None, "vnic": tunnel.vnic or None}
            for tunnel in tunnels]
    show_rows("Tunnels", rows, as_json=as_json)
