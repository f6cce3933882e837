"""What the models can't say of VNICs, port groups, virtual switches, wires and tunnels."""

from collections.abc import Iterator, Mapping

from polyrouter.hdl.config import CoreConfig

from .link_demand import Shortage, demand_of
from .links import Links, LinkSwitch, LinkVnic, links_of, underlay_addresses
from .tables.rates import LINE_RATE, format_rate
from .tables.windows import LEAST_MAC_ROWS
from .topology import Router, Topology, interface_port
from .topology_document import Location, path_of
from .topology_links import InterfaceVnic, Tunnel, Vnic, Wire
from .topology_policy import Found

__all__ = ["check_links", "check_references"]

#: A VXLAN network identifier has 24 bits (RFC 7348, 5).
_MOST_VNI = (1 << 24) - 1
#: IFNAMSIZ without the final zero.
_NAME_MAX = 15
#: Ethernet header and FCS, and the circuit's tag.
_FRAME_BYTES = 18 + 4


def check_references(topology: Topology) -> Iterator[Found]:
    """Names that refer to nothing, and keys that don't go together."""
    routers = {full: (node, router) for full, _, node, router in topology.routers()}
    names = _Names(topology, routers)
    for name, switch in topology.switches.items():
        yield from names.node(switch.node, ("topology", "switches", name))
        for index, uplink in enumerate(switch.uplinks):
            yield from names.port(switch.node, uplink.port, ("topology", "switches", name, "uplinks", index))
    for key, vnic in topology.vnics.items():
        where: Location = ("topology", "vnics", key)
        yield from _own_vnic(topology, routers, names, key, vnic)
        yield from _vnic(topology, names, vnic, where)
    for full, network, node, router in topology.routers():
        place: Location = ("topology", "networks", network, "routers", full.removeprefix(f"{network}-"), "interfaces")
        for name, interface in router.virtual.items():
            if isinstance(interface.vnic, Vnic) or interface.vnic is None:
                continue
            where = (*place, name)
            if name.startswith("eth") or name == "lo":
                yield where, f"{name!r} with a key 'vnic'", "another name, since that is no VNIC's"
            for other in ("vlan", "rate"):
                if other in interface.model_fields_set:
                    yield (*where, other), f"{other} of an interface that is a VNIC", (
                        "vnic.vlan" if other == "vlan" else "vnic.max-bw")
            yield from _vnic(topology, names, interface.vnic, (*where, "vnic"), node)
            if interface.vnic.lane == "sw":
                yield (*where, "vnic", "lane"), "lane sw of a virtual router's VNIC", "hw or auto"
    ends = [*topology.all_vnics(), *(f"{full}.{name}" for full, (_, router) in routers.items()
                                     for name, interface in router.virtual.items()
                                     if not isinstance(interface.vnic, Vnic))]
    for name, wire in topology.wires.items():
        yield from _wire(names, routers, ends, name, wire)
    for name, tunnel in topology.tunnels.items():
        yield from _tunnel(topology, names, routers, ends, name, tunnel)
    yield from _hosts(topology, ends)


class _Names:
    """Looks names up."""

    def __init__(self, topology: Topology, routers: Mapping[str, tuple[str, Router]]) -> None:
        self.topology, self.routers = topology, routers

    def node(self, node: str, where: Location) -> Iterator[Found]:
        if node not in self.topology.nodes:
            yield (*where, "node"), repr(node), f"one of the nodes {', '.join(self.topology.nodes)}"

    def port(self, node: str, port: str, where: Location) -> Iterator[Found]:
        board = self.topology.nodes.get(node)
        if board is not None and interface_port(port) >= board.ports:
            yield where, repr(port), f"a port of {node}, p0 to p{board.ports - 1}"

    def router(self, name: str, where: Location) -> Iterator[Found]:
        if name not in self.routers:
            yield where, repr(name), f"one of the virtual routers {', '.join(self.routers) or '(there are none)'}"

    def underlay(self, name: str, where: Location) -> Iterator[Found]:
        yield from self.router(name, where)
        if name in self.routers:
            router = self.routers[name][1]
            if router.owns_segments:
                yield where, f"{name!r}, which is {router.mode}", "a routed virtual router"
            elif not underlay_addresses(router):
                yield where, f"{name!r}, which has no IPv4 address on a physical port", "one that has, for the packets"


def _own_vnic(topology: Topology, routers: Mapping[str, tuple[str, Router]], names: _Names, key: str, vnic: Vnic
              ) -> Iterator[Found]:
    """What only an entry of ``vnics`` has."""
    where: Location = ("topology", "vnics", key)
    if vnic.node is not None:
        yield from names.node(vnic.node, where)
    if vnic.vr is not None:
        yield from names.router(vnic.vr, (*where, "vr"))
    homes = {"switch": topology.switches[vnic.switch].node if vnic.switch in topology.switches else None,
             "vr": routers[vnic.vr or ""][0] if vnic.vr in routers else None}
    nodes = {what: node for what, node in homes.items() if node is not None}
    if vnic.node is None and not nodes and vnic.switch is None and vnic.vr is None:
        yield where, "no key 'node'", "it to be there, or 'switch' or 'vr'"
    for what, node in nodes.items():
        others = {vnic.node or node, *nodes.values()} - {node}
        if others:
            yield (*where, what), f"{getattr(vnic, what)!r}, which is on {node}", f"one on {sorted(others)[0]}"
            break
    if vnic.vr is None:
        if vnic.count is not None and vnic.count > 1:
            for what in ("mac", "address"):
                if what in vnic.model_fields_set and getattr(vnic, what) != "auto":
                    yield (*where, what), f"one {what} for {vnic.count} VNICs", f"no {what}, or no count"
        return
    if vnic.count is not None:
        yield (*where, "count"), "a count of VNICs of a virtual router", "no count"
    if vnic.lane == "sw":
        yield (*where, "lane"), "lane sw of a virtual router's VNIC", "hw or auto"
    if vnic.address is None:
        yield where, "no key 'address'", "it to be there, since the VNIC is a virtual router's"
    if len(key) > _NAME_MAX or key.startswith("eth") or key == "lo":
        yield where, f"{key!r}, which can't be an interface of {vnic.vr}", (
            f"a name of at most {_NAME_MAX} characters that does not begin with eth")
    elif vnic.vr in routers and routers[vnic.vr][1].interfaces[key].vnic is not vnic:
        yield where, f"{key!r}, which is an interface of {vnic.vr} already", "another name"


def _vnic(topology: Topology, names: _Names, vnic: InterfaceVnic, where: Location, node: str | None = None
          ) -> Iterator[Found]:
    """What holds for any VNIC, wherever it is written."""
    if vnic.group is not None and vnic.group not in topology.port_groups:
        known = ", ".join(topology.port_groups) or "(there are none)"
        yield (*where, "group"), repr(vnic.group), f"one of the port groups {known}"
    group = topology.port_groups.get(vnic.group or "")
    if vnic.switch is not None and vnic.switch not in topology.switches:
        known = ", ".join(topology.switches) or "(there are none)"
        yield (*where, "switch"), repr(vnic.switch), f"one of the virtual switches {known}"
    elif vnic.switch is not None and node is not None and topology.switches[vnic.switch].node != node:
        yield (*where, "switch"), f"{vnic.switch!r}, which is on {topology.switches[vnic.switch].node}", (
            f"one on {node}")
    if vnic.switch is not None and vnic.port is not None:
        yield (*where, "port"), "a port and a switch", "one of them"
    if vnic.port is None and vnic.vlan is not None:
        yield (*where, "vlan"), "a VLAN without a port", "a key 'port', or vlan to be that of the switch's uplink"
    if vnic.port is None and group is not None and group.vlan is not None:
        yield (*where, "group"), f"{vnic.group!r}, which has VLAN {group.vlan}, of a VNIC that is on no port", (
            "a key 'port', or a group without vlan")
    if vnic.port is not None:
        on = node or (vnic.node if isinstance(vnic, Vnic) else None)
        if on is None and isinstance(vnic, Vnic) and vnic.vr in names.routers:
            on = names.routers[vnic.vr or ""][0]
        yield from names.port(on or "", vnic.port, (*where, "port"))
    if vnic.mac != "auto" and (int(vnic.mac[:2], 16) & 1 or not int(vnic.mac.replace(":", ""), 16)):
        yield (*where, "mac"), vnic.mac, "an address of one interface: even in its first byte, and not zero"
    most = vnic.max_bw or (group.max_bw if group else None)
    least = vnic.min_bw or (group.min_bw if group else None)
    if most is not None and least is not None and least > most:
        yield (*where, "min-bw") if vnic.min_bw else where, f"min-bw {format_rate(least)}", (
            f"at most max-bw, which is {format_rate(most)}")


def _end(end: str, ends: list[str], where: Location) -> Iterator[Found]:
    if end.replace(":", ".") not in ends:
        known = ", ".join(ends[:20]) or "(there are none)"
        yield where, repr(end), f"one of the VNICs {known}{', …' if len(ends) > 20 else ''}"


def _wire(names: _Names, routers: Mapping[str, tuple[str, Router]], ends: list[str], name: str, wire: Wire
          ) -> Iterator[Found]:
    where: Location = ("topology", "wires", name)
    for index, end in enumerate(wire.endpoints):
        yield from _end(end, ends, (*where, "endpoints", index))
    if wire.endpoints[0].replace(":", ".") == wire.endpoints[1].replace(":", "."):
        yield (*where, "endpoints", 1), f"{wire.endpoints[1]!r} twice", "two VNICs"
    if wire.tunnel is not None and wire.vlan is not None:
        yield (*where, "vlan"), "a vlan and a tunnel", "one of them"
    if wire.tunnel is not None:
        for index, underlay in enumerate(wire.tunnel.underlay):
            yield from names.underlay(underlay, (*where, "tunnel", "underlay", index))
        if wire.tunnel.kind == "vxlan" and wire.tunnel.key > _MOST_VNI:
            yield (*where, "tunnel", "key"), str(wire.tunnel.key), f"at most {_MOST_VNI} of VXLAN"


def _tunnel(topology: Topology, names: _Names, routers: Mapping[str, tuple[str, Router]], ends: list[str], name: str,
            tunnel: Tunnel) -> Iterator[Found]:
    where: Location = ("topology", "tunnels", name)
    yield from names.node(tunnel.node, where)
    yield from names.underlay(tunnel.underlay, (*where, "underlay"))
    if tunnel.kind == "vxlan" and tunnel.key > _MOST_VNI:
        yield (*where, "key"), str(tunnel.key), f"at most {_MOST_VNI} of VXLAN"
    if (tunnel.switch is None) == (tunnel.vnic is None):
        yield where, "a switch and a vnic" if tunnel.switch else "neither a switch nor a vnic", "one of them"
    if tunnel.switch is not None and tunnel.switch not in topology.switches:
        known = ", ".join(topology.switches) or "(there are none)"
        yield (*where, "switch"), repr(tunnel.switch), f"one of the virtual switches {known}"
    elif tunnel.switch is not None and topology.switches[tunnel.switch].node != tunnel.node:
        yield (*where, "switch"), f"{tunnel.switch!r}, which is on {topology.switches[tunnel.switch].node}", (
            f"one on {tunnel.node}")
    if tunnel.vnic is not None:
        yield from _end(tunnel.vnic, ends, (*where, "vnic"))
        if len(tunnel.remote) > 1:
            yield (*where, "remote"), f"{len(tunnel.remote)} other ends of a VNIC's tunnel", "one, or a switch"
    if tunnel.underlay not in routers:
        return
    node, router = routers[tunnel.underlay]
    if tunnel.node in topology.nodes and node != tunnel.node:
        yield (*where, "underlay"), f"{tunnel.underlay!r}, which is on {node}", f"one on {tunnel.node}"
    own = [address.ip for address in underlay_addresses(router)]
    if tunnel.local is not None and tunnel.local not in own:
        yield (*where, "local"), str(tunnel.local), f"an address of {tunnel.underlay}: {', '.join(map(str, own))}"
    for index, remote in enumerate(tunnel.remote):
        if remote in own:
            yield (*where, "remote", index), f"{remote}, which is {tunnel.underlay}'s own", "another node's address"
        if remote in tunnel.remote[:index]:
            yield (*where, "remote", index), f"{remote} twice", "each other end once"


def _hosts(topology: Topology, ends: list[str]) -> Iterator[Found]:
    taken: dict[str, str] = {}
    vnics = topology.all_vnics()
    for full, network, host in topology.hosts():
        where: Location = ("topology", "networks", network, "hosts", full.removeprefix(f"{network}-"))
        if (host.attach is None) == (host.vnic is None):
            yield where, "neither a key 'attach' nor 'vnic'" if host.attach is None else "the keys attach and vnic", (
                "one of them")
        if host.vnic is None:
            continue
        yield from _end(host.vnic, ends, (*where, "vnic"))
        vnic = vnics[host.vnic][1] if host.vnic in vnics else None
        if host.vnic in ends and (vnic is None or vnic.vr is not None):
            yield (*where, "vnic"), f"{host.vnic!r}, which is a virtual router's", "another VNIC"
        elif vnic is not None and vnic.address is not None:
            yield (*where, "vnic"), f"{host.vnic!r}, which has an address", "the address in the host only"
        if host.vnic in taken:
            yield (*where, "vnic"), f"{host.vnic!r}, which is host {taken[host.vnic]}'s", "a VNIC for each host"
        taken.setdefault(host.vnic, full)


def check_links(topology: Topology, configs: Mapping[str, CoreConfig]) -> Iterator[Found]:
    """What does not fit together, once all names refer to something."""
    links = links_of(topology)
    yield from _attached(topology, links)
    for vnic in links.vnics.values():
        yield from _limits(topology, links, configs, vnic)
    yield from _switches(topology, links, configs)
    yield from _terminations(links)
    for node in topology.nodes:
        config = configs.get(node)
        if config is None or node not in links.nodes():
            continue
        where: Location = ("topology", "nodes", node)
        virtual_routers = sum(place == node for _, _, place, _ in topology.routers())
        try:
            demand_of(links, node, virtual_routers, config.routers, config.circuits)
        except Shortage as error:
            yield where, error.found, error.expected


def _attached(topology: Topology, links: Links) -> Iterator[Found]:
    """Each VNIC has one place to send to."""
    places: dict[str, list[tuple[str, Location]]] = {name: [] for name in links.vnics}
    for name, vnic in links.vnics.items():
        if vnic.switch and not links.switches[vnic.switch].wire:
            places[name].append((f"on switch {vnic.switch}", vnic.where))
    for name, wire in topology.wires.items():
        ends = [end.replace(":", ".") for end in wire.endpoints]
        for index, end in enumerate(ends):
            places[end].append((f"an end of wire {name}", ("topology", "wires", name, "endpoints", index)))
        yield from _spans(topology, links, name, wire, ends)
    for name, tunnel in topology.tunnels.items():
        if tunnel.vnic is not None:
            places[tunnel.vnic].append((f"an end of tunnel {name}", ("topology", "tunnels", name, "vnic")))
            if links.vnics[tunnel.vnic].node != tunnel.node:
                yield ("topology", "tunnels", name, "vnic"), (
                    f"{tunnel.vnic!r}, which is on {links.vnics[tunnel.vnic].node}"), f"one on {tunnel.node}"
    for name, found in places.items():
        vnic = links.vnics[name]
        for _, where in found[1:]:
            yield where, f"{name!r}, which is {found[0][0]} already", "each VNIC in one place"
        if not vnic.switch and vnic.lane == "sw":
            yield (*vnic.where, "lane"), "lane sw of a wire's or tunnel's end", "hw or auto"


def _spans(topology: Topology, links: Links, name: str, wire: Wire, ends: list[str]) -> Iterator[Found]:
    where: Location = ("topology", "wires", name)
    nodes = [links.vnics[end].node for end in ends]
    if nodes[0] == nodes[1]:
        for what in ("vlan", "tunnel"):
            if getattr(wire, what) is not None:
                yield (*where, what), f"a {what} between two VNICs of {nodes[0]}", f"no {what}"
    elif wire.vlan is None and wire.tunnel is None:
        yield where, f"VNICs of {nodes[0]} and {nodes[1]}", "a key 'vlan' or 'tunnel' for what is between them"
    elif wire.vlan is not None and f"{name}.{nodes[0]}" not in links.switches:
        yield (*where, "vlan"), f"a VLAN between {nodes[0]} and {nodes[1]}, which no link joins", (
            "a link between them, or a tunnel")
    elif wire.tunnel is not None and f"{name}.{nodes[0]}" not in links.tunnels:
        yield (*where, "tunnel", "underlay"), " and ".join(wire.tunnel.underlay), (
            f"a virtual router on {nodes[0]} and one on {nodes[1]}")


def _limits(topology: Topology, links: Links, configs: Mapping[str, CoreConfig], vnic: LinkVnic) -> Iterator[Found]:
    config = configs.get(vnic.node)
    longest = links.most_mtu(vnic)
    if longest is not None and vnic.mtu is not None and vnic.mtu > longest:
        yield (*vnic.where, "mtu"), str(vnic.mtu), f"at most {longest}, which fits into the tunnel's packets"
    if config is not None and links.mtu(vnic) > config.max_frame - _FRAME_BYTES:
        yield (*vnic.where, "mtu"), str(links.mtu(vnic)), (
            f"at most {config.max_frame - _FRAME_BYTES}, or core.max_frame of {vnic.node} to be larger")
    if not vnic.router:
        return
    router = next(router for full, _, _, router in topology.routers() if full == vnic.router)
    if router.owns_segments:
        yield vnic.where, f"a VNIC of {vnic.router}, which is {router.mode}", "mode: routed"
    for what in ("promiscuous", "mirror"):
        if getattr(vnic.policy, what):
            yield vnic.where, f"a port group with {what} for a VNIC of {vnic.router}", (
                "mirror: true of the router" if what == "mirror" else "a VNIC without vr")
    others = links.of_router(vnic.router)
    first = next(other for other in others if other.mac is not None or other is others[-1])
    if vnic.mac is not None and vnic.mac != first.mac:
        yield (*vnic.where, "mac"), vnic.mac, f"{first.mac}, as {vnic.router} has one address for all of its VNICs"
    if vnic.max_bw is None:
        return
    if len(others) > 1 and not vnic.switch:
        yield vnic.where, f"max-bw of one of several VNICs of {vnic.router} that is on no switch", (
            "a switch, or no max-bw")
    for index, entry in enumerate(router.filters):
        if (entry.action not in ("drop", "punt") and entry.police is None
                and entry.match.port in (None, vnic.interface)):
            place = next(("topology", "networks", network, "routers", full.removeprefix(f"{network}-"))
                         for full, network, _, _ in topology.routers() if full == vnic.router)
            yield (*place, "filters", index), f"a rule that lets frames of {vnic.interface} past its max-bw", (
                "police in the rule, match.port to be another interface, or no max-bw")


def _switches(topology: Topology, links: Links, configs: Mapping[str, CoreConfig]) -> Iterator[Found]:
    owners: dict[tuple[str, int, int], str] = {}
    for full, network, node, router in topology.routers():
        place = path_of(("networks", network, "routers", full.removeprefix(f"{network}-")))
        for eth, interface in router.physical.items():
            owners.setdefault((node, interface_port(eth), interface.vlan or 0), place)
    for switch in links.switches.values():
        for index, (port, vlan) in enumerate(switch.uplinks):
            where = (*switch.where, "uplinks", index) if switch.name in topology.switches else switch.where
            other = owners.setdefault((switch.node, port, vlan), f"switch {switch.name}")
            if other != f"switch {switch.name}" or (port, vlan) in switch.uplinks[:index]:
                what = f"VLAN {vlan}" if vlan else "untagged frames"
                yield where, f"{what} of port p{port} of {switch.node}, which {other} has already", (
                    "another VLAN, or a port that nobody else has on this VLAN")
        yield from _switch_limits(links, configs.get(switch.node), switch)


def _switch_limits(links: Links, config: CoreConfig | None, switch: LinkSwitch) -> Iterator[Found]:
    least = sum(vnic.min_bw or 0 for vnic in links.members(switch.name))
    if switch.uplinks and least > LINE_RATE:
        yield switch.where, f"min-bw of {format_rate(least)} in all on switch {switch.name}", (
            f"at most {format_rate(LINE_RATE)}, which its uplink carries")
    seen: dict[str, str] = {}
    for vnic in links.members(switch.name):
        if vnic.mac is not None and seen.setdefault(vnic.mac, vnic.name) != vnic.name:
            yield (*vnic.where, "mac"), f"{vnic.mac}, which is {seen[vnic.mac]}'s on switch {switch.name} too", (
                "an address of its own")
    rows = switch.mac_rows
    if rows is not None and (rows & rows - 1 or not LEAST_MAC_ROWS <= rows <= (config.mac_rows if config else rows)):
        most = "" if config is None else f", at most {config.mac_rows}"
        yield (*switch.where, "mac-rows"), str(rows), f"a power of two, at least {LEAST_MAC_ROWS}{most}"


def _terminations(links: Links) -> Iterator[Found]:
    """The other end's address, kind and key say which tunnel a packet is of."""
    seen: dict[tuple[str, str, int, str], str] = {}
    for tunnel in links.tunnels.values():
        key = tunnel.underlay, tunnel.kind, tunnel.key, str(tunnel.remote)
        if key in seen:
            yield (*tunnel.where,), f"{tunnel.kind} with key {tunnel.key} from {tunnel.remote} by {tunnel.underlay}, " \
                                    f"which tunnel {seen[key]} has too", "another key"
        seen.setdefault(key, tunnel.name)
