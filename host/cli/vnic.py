"""polyrouter vnic: virtual network interfaces"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Json, NetworkName, network_of, reporting, show_rows
from .link_common import MaxBw, MinBw, ObjectName, PriorityName, properties, run_change, with_rates

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["app", "vnic_rows"]

app = typer.Typer(no_args_is_help=True, help="VNICs: network interfaces on a virtual switch, a physical port, a wire "
                                             "or a tunnel, of a namespace, a host or a virtual router.")

NodeName = Annotated[str | None, typer.Option(help="Node; default: that of its switch or virtual router.")]
Port = Annotated[str | None, typer.Option(help="Physical port, as in p1.")]
SwitchName = Annotated[str | None, typer.Option("--switch", help="Virtual switch, instead of a port.")]
Vr = Annotated[str | None, typer.Option(help="Virtual router that it is an interface of, as in red-left; default: an "
                                             "interface in a namespace of its own.")]
VlanId = Annotated[str | None, typer.Option("--vlan", help="VLAN on the physical port, or 'none'.")]
MacAddress = Annotated[str | None, typer.Option("--mac", help="Its MAC address, or auto.")]
Group = Annotated[str | None, typer.Option("--group", help="Port group, or 'none'.")]
Lane = Annotated[str | None, typer.Option(help="hw, sw or auto.")]
Address = Annotated[list[str] | None, typer.Option(help="Address with its prefix length; may be given again.")]
MtuBytes = Annotated[str | None, typer.Option("--mtu", help="Longest IP packet, in bytes.")]


@app.command()
def create(name: ObjectName, node: NodeName = None, port: Port = None, switch: SwitchName = None, vr: Vr = None,
           vlan: VlanId = None, mac: MacAddress = None, max_bw: MaxBw = None, min_bw: MinBw = None,
           priority: PriorityName = None, group: Group = None, lane: Lane = None, address: Address = None,
           mtu: MtuBytes = None,
           count: Annotated[int | None, typer.Option(help="So many; their names end in a number.")] = None,
           network: NetworkName = None, as_json: Json = False) -> None:
    """Make a VNIC on a network that is up."""
    wanted = properties(node=node, port=port, switch=switch, vr=vr, vlan=vlan, mac=mac, max_bw=max_bw, min_bw=min_bw,
                        priority=priority, group=group, lane=lane, address=address, mtu=mtu, count=count)
    run_change(f"VNIC {name}", network, as_json, lambda links: links.create("vnic", name, wanted))


@app.command("set")
def set_(name: ObjectName, node: NodeName = None, port: Port = None, switch: SwitchName = None, vr: Vr = None,
         vlan: VlanId = None, mac: MacAddress = None, max_bw: MaxBw = None, min_bw: MinBw = None,
         priority: PriorityName = None, group: Group = None, lane: Lane = None, address: Address = None,
         mtu: MtuBytes = None, network: NetworkName = None, as_json: Json = False) -> None:
    """Change properties of a VNIC while traffic flows. 'none' takes a property back to its default."""
    wanted = properties(node=node, port=port, switch=switch, vr=vr, vlan=vlan, mac=mac, max_bw=max_bw, min_bw=min_bw,
                        priority=priority, group=group, lane=lane, address=address, mtu=mtu)
    # It is on one of the two.
    if wanted.get("port"):
        wanted.setdefault("switch", None)
    if wanted.get("switch"):
        wanted |= {"port": None, "vlan": None}
    run_change(f"VNIC {name}", network, as_json, lambda links: links.set("vnic", name, wanted))


@app.command()
def delete(name: ObjectName, network: NetworkName = None, as_json: Json = False) -> None:
    """Remove a VNIC that a command has made, with its namespace."""
    run_change(f"VNIC {name}", network, as_json, lambda links: links.delete("vnic", name))


@app.command("list")
def list_(network: NetworkName = None, as_json: Json = False) -> None:
    """List VNICs, and the lane that each is in."""
    with reporting():
        rows = vnic_rows(network_of(network))
    columns = ["name", "node", "lane", "leads_to", "router", "interface", "mac", "addresses", "mtu", "max_bw", "min_bw",
               "priority", "number", "circuit"]
    show_rows("VNICs", rows if as_json else with_rates(rows), as_json=as_json, columns=columns)


def vnic_rows(network: "Network") -> list[dict[str, Any]]:
    """VNICs of a network, for people and programs; ``leads_to`` is the wire, tunnel or switch that each is at."""
    topology = network.topology()
    ends = {tunnel.vnic: f"tunnel {name}" for name, tunnel in topology.tunnels.items() if tunnel.vnic}
    ends |= {end.replace(":", "."): f"wire {name}" for name, wire in topology.wires.items() for end in wire.endpoints}
    return [{"name": vnic.name, "node": node.node, "lane": vnic.lane, "switch": vnic.switch or None,
             "leads_to": ends.get(vnic.name) or (f"switch {vnic.switch}" if vnic.switch else None),
             "router": vnic.router or None, "interface": vnic.interface, "namespace": vnic.namespace or None,
             "mac": vnic.mac, "addresses": vnic.addresses, "mtu": vnic.mtu, "max_bw": vnic.max_bw,
             "min_bw": vnic.min_bw, "priority": vnic.priority, "number": vnic.number, "circuit": vnic.circuit or None}
            for node in network.spec().nodes.values() for vnic in node.vnics.values()]
