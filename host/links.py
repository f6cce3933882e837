"""Link virtualization of a topology in normal form: what is named once, with all that it inherits. Pure functions.

What refers to nothing is left out: :mod:`.topology_link_check` says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

from .link_spec import PortPolicySpec
from .topology import Router, Topology, interface_port
from .topology_document import Location
from .topology_links import InterfaceVnic, PortGroup, Tunnel, Vnic, Wire

__all__ = ["LinkSwitch", "LinkTunnel", "LinkVnic", "Links", "links_of", "underlay_addresses"]

#: What a tunnel puts around an inner IP packet: IPv4, then UDP and VXLAN or GRE with a key, then Ethernet.
_OVERHEAD = {"gre": 20 + 8 + 14, "vxlan": 20 + 8 + 8 + 14}
_PRIORITY = "medium"


@dataclass(frozen=True)
class LinkVnic:
    """A VNIC with what its port group gives it."""

    name: str
    node: str
    where: Location             # in the file
    switch: str = ""            # empty: the end of a wire or a tunnel
    router: str = ""            # virtual router, by full name, that it is an interface of
    interface: str = ""         # its name there
    host: str = ""              # or a host, by full name
    lane: str = "auto"          # as asked for
    mac: str | None = None
    max_bw: int | None = None
    min_bw: int | None = None
    priority: str = _PRIORITY
    policy: PortPolicySpec = field(default_factory=PortPolicySpec)
    addresses: tuple[str, ...] = ()
    mtu: int | None = None      # as asked for

    @property
    def lanes(self) -> tuple[str, ...]:
        """Lanes that it may be in: only what is on a switch can be in software, and no part of a virtual router."""
        if self.router or not self.switch:
            return ("hw",)
        return ("hw", "sw") if self.lane == "auto" else (self.lane,)


@dataclass(frozen=True)
class LinkSwitch:
    """A virtual switch, also one that nobody has written down: of VNICs on a physical port, or of a wire's VLAN."""

    name: str
    node: str
    where: Location
    uplinks: tuple[tuple[int, int], ...] = ()       # port, VLAN
    mac_rows: int | None = None
    wire: bool = False


@dataclass(frozen=True)
class LinkTunnel:
    """A tunnel to one other end."""

    name: str
    node: str
    where: Location
    kind: str
    key: int
    underlay: str               # full name
    local: IPv4Address
    remote: IPv4Address
    mtu: int                    # longest inner IP packet
    tos: int = 0
    ttl: int = 64
    switch: str = ""
    vnic: str = ""


@dataclass
class Links:
    """All of a topology's."""

    vnics: dict[str, LinkVnic] = field(default_factory=dict)
    switches: dict[str, LinkSwitch] = field(default_factory=dict)
    tunnels: dict[str, LinkTunnel] = field(default_factory=dict)
    wires: dict[str, tuple[str, str]] = field(default_factory=dict)     # both ends on one node

    def nodes(self) -> set[str]:
        """Nodes that need a link port."""
        return {entry.node for part in (self.vnics, self.switches, self.tunnels) for entry in part.values()}

    def members(self, switch: str) -> list[LinkVnic]:
        """VNICs of a switch."""
        return [vnic for vnic in self.vnics.values() if vnic.switch == switch]

    def of_router(self, router: str) -> list[LinkVnic]:
        """VNICs of a virtual router."""
        return [vnic for vnic in self.vnics.values() if vnic.router == router]

    def most_mtu(self, vnic: LinkVnic) -> int | None:
        """Longest IP packet that the tunnels carry which it may send into; None: it sends into none."""
        return min((tunnel.mtu for tunnel in self.tunnels.values()
                    if tunnel.vnic == vnic.name or (vnic.switch and tunnel.switch == vnic.switch)), default=None)

    def mtu(self, vnic: LinkVnic) -> int:
        """Longest IP packet of a VNIC."""
        return vnic.mtu or min(1500, self.most_mtu(vnic) or 1500)


def links_of(topology: Topology) -> Links:
    """Link virtualization of a topology."""
    routers = {full: (node, router) for full, _, node, router in topology.routers()}
    hosts = {host.vnic: (full, host) for full, _, host in topology.hosts() if host.vnic is not None}
    links = Links()
    for name, switch in topology.switches.items():
        if switch.node in topology.nodes:
            links.switches[name] = LinkSwitch(
                name, switch.node, ("topology", "switches", name),
                tuple((interface_port(uplink.port), uplink.vlan or 0) for uplink in switch.uplinks), switch.mac_rows)
    for name, node, where, vnic, given in _written(topology, routers):
        if node not in topology.nodes:
            continue
        group = topology.port_groups.get(vnic.group or "", PortGroup())
        if name in hosts:
            host = hosts[name][1]
            given |= {"host": hosts[name][0], "addresses": tuple(map(str, host.address)),
                      "mtu": host.mtu if "mtu" in host.model_fields_set else None}
        links.vnics[name] = LinkVnic(
            name, node, where, lane=vnic.lane, mac=None if vnic.mac == "auto" else vnic.mac,
            switch=_switch(links, node, where, vnic, group),
            max_bw=vnic.max_bw or group.max_bw, min_bw=vnic.min_bw or group.min_bw,
            priority=vnic.priority or group.priority or _PRIORITY, policy=_policy(group), **given)
    for name, wire in topology.wires.items():
        _wire(topology, links, routers, name, wire)
    for name, tunnel in topology.tunnels.items():
        _tunnel(links, routers, name, tunnel)
    return links


def underlay_addresses(router: Router) -> list[IPv4Interface]:
    """Addresses of a router that tunnels may end at."""
    return [address for interface in router.physical.values() for address in interface.addresses
            if isinstance(address, IPv4Interface)]


_Routers = dict[str, tuple[str, Router]]


def _written(topology: Topology, routers: _Routers
             ) -> Iterator[tuple[str, str, Location, InterfaceVnic, dict[str, Any]]]:
    """Each VNIC as it is written: its name, its node, where, and what only its place says."""
    for name, (key, vnic) in topology.all_vnics().items():
        switch = topology.switches.get(vnic.switch or "")
        node = vnic.node or (routers[vnic.vr][0] if vnic.vr in routers else switch.node if switch else "")
        yield name, node, ("topology", "vnics", key), vnic, {
            "router": vnic.vr or "", "interface": name if vnic.vr else "", "mtu": vnic.mtu,
            "addresses": tuple(map(str, vnic.address or []))}
    for full, network, node, router in topology.routers():
        for interface_name, interface in router.virtual.items():
            if isinstance(interface.vnic, InterfaceVnic) and not isinstance(interface.vnic, Vnic):
                where = ("topology", "networks", network, "routers", full.removeprefix(f"{network}-"), "interfaces",
                         interface_name)
                yield f"{full}.{interface_name}", node, where, interface.vnic, {
                    "router": full, "interface": interface_name, "addresses": tuple(map(str, interface.addresses)),
                    "mtu": interface.mtu if "mtu" in interface.model_fields_set else None}


def _switch(links: Links, node: str, where: Location, vnic: InterfaceVnic, group: PortGroup) -> str:
    """Switch of a VNIC; one on a physical port is on that port's."""
    if vnic.port is None:
        return vnic.switch if vnic.switch in links.switches else ""
    port, vlan = interface_port(vnic.port), vnic.vlan or group.vlan or 0
    name = f"{node}.{vnic.port}" + (f".{vlan}" if vlan else "")
    links.switches.setdefault(name, LinkSwitch(name, node, where, ((port, vlan),)))
    return name


def _policy(group: PortGroup) -> PortPolicySpec:
    return PortPolicySpec(forged_transmits=group.forged_transmits == "accept",
                          mac_changes=group.mac_changes == "accept", promiscuous=group.promiscuous == "accept",
                          macs=group.macs, mirror=group.mirror)


def _wire(topology: Topology, links: Links, routers: _Routers, name: str, wire: Wire) -> None:
    ends = [end.replace(":", ".") for end in wire.endpoints]
    if not all(end in links.vnics for end in ends):
        return
    vnics, where = [links.vnics[end] for end in ends], ("topology", "wires", name)
    nodes = [vnic.node for vnic in vnics]
    if nodes[0] == nodes[1]:
        links.wires[name] = ends[0], ends[1]
    elif wire.tunnel is not None:
        underlays = {routers[router][0]: router for router in wire.tunnel.underlay if router in routers}
        if set(underlays) == set(nodes):
            pairs = [underlay_addresses(routers[underlays[node]][1]) for node in nodes]
            if not all(pairs):
                return
            chosen = next(([one, other] for one in pairs[0] for other in pairs[1] if one.ip in other.network),
                          [pairs[0][0], pairs[1][0]])
            for index, vnic in enumerate(vnics):
                links.tunnels[f"{name}.{vnic.node}"] = LinkTunnel(
                    f"{name}.{vnic.node}", vnic.node, where, wire.tunnel.kind, wire.tunnel.key, underlays[vnic.node],
                    chosen[index].ip, chosen[1 - index].ip,
                    _mtu(routers[underlays[vnic.node]][1], chosen[index].ip, wire.tunnel.kind), wire.tunnel.tos,
                    wire.tunnel.ttl, vnic=vnic.name)
    elif wire.vlan is not None:
        cable = next((link.endpoints for link in topology.links
                      if all(any(endpoint.startswith(f"{node}:") for endpoint in link.endpoints) for node in nodes)),
                     [])
        for vnic in vnics if cable else []:
            port = next(interface_port(endpoint) for endpoint in cable if endpoint.startswith(f"{vnic.node}:"))
            switch = f"{name}.{vnic.node}"
            links.switches[switch] = LinkSwitch(switch, vnic.node, where, ((port, wire.vlan),), wire=True)
            links.vnics[vnic.name] = replace(vnic, switch=switch)


def _tunnel(links: Links, routers: _Routers, name: str, tunnel: Tunnel) -> None:
    node, router = routers.get(tunnel.underlay, ("", None))
    if router is None or node != tunnel.node or not underlay_addresses(router):
        return
    vnic = (tunnel.vnic or "")
    if tunnel.switch not in links.switches and vnic not in links.vnics:
        return
    for remote in tunnel.remote:
        one = name if len(tunnel.remote) == 1 else f"{name}.{remote}"
        local = tunnel.local or _nearest(router, remote)
        links.tunnels[one] = LinkTunnel(one, node, ("topology", "tunnels", name), tunnel.kind, tunnel.key,
                                        tunnel.underlay, local, remote, _mtu(router, local, tunnel.kind), tunnel.tos,
                                        tunnel.ttl, switch=tunnel.switch or "", vnic=vnic)


def _nearest(router: Router, remote: IPv4Address) -> IPv4Address:
    addresses = underlay_addresses(router)
    return next((address.ip for address in addresses if remote in address.network), addresses[0].ip)


def _mtu(router: Router, local: IPv4Address, kind: str) -> int:
    """What fits into packets of the interface that the address is of."""
    outer = next((interface.mtu for interface in router.physical.values() for address in interface.addresses
                  if address.ip == local), 1500)
    return outer - _OVERHEAD[kind]
