"""polyrouter switch and etherstub: virtual switches with and without a physical port"""

from typing import Annotated, Any

import typer

from .common import USAGE, Json, NetworkName, fail, network_of, reporting, show_rows
from .link_common import ObjectName, properties, run_change

__all__ = ["etherstub", "switch"]

switch = typer.Typer(no_args_is_help=True, help="Virtual switches, which join VNICs, tunnels and physical ports.")
etherstub = typer.Typer(no_args_is_help=True, help="Etherstubs: virtual switches without a physical port.")

Node = Annotated[str, typer.Option(help="Node that it is on.")]
Uplinks = Annotated[list[str] | None, typer.Option("--uplink", help="Physical port, as in p1; may be given again.")]
Vlans = Annotated[list[int] | None, typer.Option("--vlan", help="VLAN of the uplink in the same place; 0: untagged.")]
MacRows = Annotated[str | None, typer.Option(help="Room for MAC addresses, a power of two.")]


def _uplinks(uplinks: list[str] | None, vlans: list[int] | None) -> list[Any] | None:
    """Uplinks as a topology file has them."""
    if not vlans:
        return uplinks
    if len(vlans) != len(uplinks or []):
        raise fail(f"{len(uplinks or [])} uplinks and {len(vlans)} VLANs: give --vlan once for each --uplink, 0 for "
                   "untagged", USAGE)
    return [{"port": port, "vlan": vlan} if vlan else port for port, vlan in zip(uplinks or [], vlans, strict=True)]


@switch.command("create")
def create_switch(name: ObjectName, node: Node, uplink: Uplinks = None, vlan: Vlans = None, mac_rows: MacRows = None,
                  network: NetworkName = None, as_json: Json = False) -> None:
    """Make a virtual switch on a network that is up."""
    wanted = properties(node=node, uplinks=_uplinks(uplink, vlan), mac_rows=mac_rows)
    run_change(f"switch {name}", network, as_json, lambda links: links.create("switch", name, wanted))


@switch.command("set")
def set_switch(name: ObjectName, uplink: Uplinks = None, vlan: Vlans = None, mac_rows: MacRows = None,
               network: NetworkName = None, as_json: Json = False) -> None:
    """Change a virtual switch. Uplinks take the place of those that it has; 'none': it has none."""
    wanted = properties(uplinks=_uplinks(uplink, vlan), mac_rows=mac_rows)
    run_change(f"switch {name}", network, as_json, lambda links: links.set("switch", name, wanted))


@etherstub.command("create")
def create_etherstub(name: ObjectName, node: Node, mac_rows: MacRows = None, network: NetworkName = None,
                     as_json: Json = False) -> None:
    """Make an etherstub on a network that is up."""
    wanted = properties(node=node, mac_rows=mac_rows)
    run_change(f"etherstub {name}", network, as_json, lambda links: links.create("switch", name, wanted))


@switch.command("delete")
@etherstub.command("delete")
def delete(name: ObjectName, network: NetworkName = None, as_json: Json = False) -> None:
    """Remove one that a command has made and no VNIC or tunnel is on."""
    run_change(f"switch {name}", network, as_json, lambda links: links.delete("switch", name))


@switch.command("list")
def list_switches(network: NetworkName = None, as_json: Json = False) -> None:
    """List virtual switches, also those that VNICs on a physical port share."""
    with reporting():
        rows = _rows(network)
    show_rows("Switches", rows, as_json=as_json)


@etherstub.command("list")
def list_etherstubs(network: NetworkName = None, as_json: Json = False) -> None:
    """List virtual switches without a physical port."""
    with reporting():
        rows = [row for row in _rows(network) if not row["uplinks"]]
    show_rows("Etherstubs", rows, as_json=as_json)


def _rows(network: str | None) -> list[dict[str, Any]]:
    from ..links import links_of

    found = network_of(network)
    links, spec = links_of(found.topology()), found.spec()
    rows = []
    for name, its in links.switches.items():
        router = spec.nodes[its.node].routers.get(name)
        rows.append({"name": name, "node": its.node, "number": router.number if router else None,
                     "uplinks": [f"p{port}" + (f" VLAN {vlan}" if vlan else "") for port, vlan in its.uplinks],
                     "vnics": [vnic.name for vnic in links.members(name)],
                     "tunnels": [tunnel.name for tunnel in links.tunnels.values() if tunnel.switch == name]})
    return rows
