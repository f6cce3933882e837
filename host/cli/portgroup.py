"""polyrouter portgroup: what several VNICs have in common"""

from typing import Annotated

import typer

from .common import Json, NetworkName, network_of, reporting, show_rows
from .link_common import MaxBw, MinBw, ObjectName, PriorityName, properties, run_change, with_rates

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Port groups: what several VNICs have in common. A change reaches all.")

VlanId = Annotated[str | None, typer.Option("--vlan", help="VLAN of members on a physical port, or 'none'.")]
Forged = Annotated[str | None, typer.Option("--forged-transmits", help="Frames from other addresses: accept, reject.")]
Changes = Annotated[str | None, typer.Option("--mac-changes", help="Frames to an address that its user has set: "
                                                                   "accept, reject.")]
Promiscuous = Annotated[str | None, typer.Option(help="All frames of the switch: accept, reject.")]
Macs = Annotated[list[str] | None, typer.Option("--mac", help="Address that members may send from besides their own; "
                                                              "may be given again.")]
Mirror = Annotated[bool | None, typer.Option("--mirror/--no-mirror", help="A copy for 'capture --hardware'.")]


@app.command()
def create(name: ObjectName, vlan: VlanId = None, max_bw: MaxBw = None, min_bw: MinBw = None,
           priority: PriorityName = None, forged_transmits: Forged = None, mac_changes: Changes = None,
           promiscuous: Promiscuous = None, macs: Macs = None, mirror: Mirror = None,
           network: NetworkName = None, as_json: Json = False) -> None:
    """Make a port group on a network that is up."""
    wanted = properties(vlan=vlan, max_bw=max_bw, min_bw=min_bw, priority=priority, forged_transmits=forged_transmits,
                        mac_changes=mac_changes, promiscuous=promiscuous, macs=macs, mirror=mirror)
    run_change(f"port group {name}", network, as_json, lambda links: links.create("portgroup", name, wanted))


@app.command("set")
def set_(name: ObjectName, vlan: VlanId = None, max_bw: MaxBw = None, min_bw: MinBw = None,
         priority: PriorityName = None, forged_transmits: Forged = None, mac_changes: Changes = None,
         promiscuous: Promiscuous = None, macs: Macs = None, mirror: Mirror = None,
         network: NetworkName = None, as_json: Json = False) -> None:
    """Change a port group, and all its members, while traffic flows. 'none' takes a property back to its default."""
    wanted = properties(vlan=vlan, max_bw=max_bw, min_bw=min_bw, priority=priority, forged_transmits=forged_transmits,
                        mac_changes=mac_changes, promiscuous=promiscuous, macs=macs, mirror=mirror)
    run_change(f"port group {name}", network, as_json, lambda links: links.set("portgroup", name, wanted))


@app.command()
def delete(name: ObjectName, network: NetworkName = None, as_json: Json = False) -> None:
    """Remove a port group that a command has made and no VNIC is in."""
    run_change(f"port group {name}", network, as_json, lambda links: links.delete("portgroup", name))


@app.command("list")
def list_(network: NetworkName = None, as_json: Json = False) -> None:
    """List port groups."""
    from ..topology_links import InterfaceVnic

    with reporting():
        topology = network_of(network).topology()
        vnics: list[InterfaceVnic] = [vnic for _, vnic in topology.all_vnics().values() if vnic.vr is None]
        vnics += [interface.vnic for _, _, _, router in topology.routers() for interface in router.virtual.values()
                  if interface.vnic is not None]
        rows = [{"name": name} | group.model_dump() | {"members": sum(vnic.group == name for vnic in vnics)}
                for name, group in topology.port_groups.items()]
    show_rows("Port groups", rows if as_json else with_rates(rows), as_json=as_json)
