"""What the models of a topology file can't say of it."""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from polyrouter.hdl.config import TAG_BYTES, ConfigError, CoreConfig

from .link_demand import Shortage, demand_of
from .link_rows import Rows, switch_rows, vnic_rows
from .links import links_of
from .topology import Host, Router, Topology, interface_port
from .topology_document import Document, Location, Problem, path_of
from .topology_link_check import check_links, check_references
from .topology_policy import check_node, check_router
from .topology_types import AnyInterface

__all__ = ["Checker"]

#: Segment and VLAN that an interface is on; None: it is a VNIC.
_Place = tuple[str, int] | None
_PHYSICAL = re.compile("eth[0-7]")

#: Ethernet header and FCS.
_FRAME_BYTES = 18
#: RFC 8200, section 5.
_LEAST_IPV6_MTU = 1280
#: Data ports of a core, with the link port.
_MOST_PORTS = 8


class Checker:
    """What the models can't say: that names refer to something, that things fit together and are there once."""

    def __init__(self, document: Document, topology: Topology) -> None:
        self.document = document
        self.topology = topology
        self.problems: list[Problem] = []
        self._configs: dict[str, CoreConfig] = {}
        self._links = links_of(topology)

    def add(self, location: Location, found: str, expected: str) -> None:
        self.problems.append(Problem(self.document.line(location), path_of(location), found, expected))

    def check(self) -> list[Problem]:
        self._interfaces()
        if self.problems:           # which port it is can't be said
            return self.problems
        self._boards()
        self._cables()
        self._routers()
        self._hosts()
        self._names()
        for found in check_references(self.topology):
            self.add(*found)
        if not self.problems:
            for found in check_links(self.topology, self._configs):
                self.add(*found)
        if not self.problems:       # what is attached to the wrong port would only seem to be in the wrong subnet
            self._members()
        return self.problems

    def _endpoint(self, endpoint: str, location: Location) -> None:
        node, _, port = endpoint.partition(":")
        board = self.topology.nodes.get(node)
        if board is None:
            self.add(location, repr(endpoint), f"a port of one of the nodes {', '.join(self.topology.nodes)}")
        elif interface_port(port) >= board.ports:
            self.add(location, repr(endpoint), f"a port of {node}, p0 to p{board.ports - 1}")

    def _is_real(self, endpoint: str) -> bool:
        board = self.topology.nodes.get(endpoint.partition(":")[0])
        return board is not None and board.host_link is not None

    def _interfaces(self) -> None:
        for full, network, _, router in self.topology.routers():
            for name in router.physical:
                if not _PHYSICAL.fullmatch(name):
                    self.add(("topology", "networks", network, "routers", full.removeprefix(f"{network}-"),
                              "interfaces", name), repr(name), "eth0 to eth7, or a key 'vnic'")

    def _boards(self) -> None:
        for name, board in self.topology.nodes.items():
            where = ("topology", "nodes", name)
            if board.core.circuits and board.ports > _MOST_PORTS - 1:
                self.add((*where, "ports"), f"{board.ports} ports and the link port of its VNICs",
                         f"at most {_MOST_PORTS - 1} ports")
                continue
            try:
                config = self._configs[name] = board.config()
            except ConfigError as error:
                self.add((*where, "core"), str(error), "parameters that a core can be built with")
                continue
            routers = [entry for entry in self.topology.routers() if entry[2] == name]
            if len(routers) > config.routers:
                self.add(where, f"{len(routers)} routers on a node that has room for {config.routers}",
                         f"fewer routers, or core.routers to be {len(routers)}")
                continue
            places = [(("topology", "networks", network, "routers", full.removeprefix(f"{network}-")), router)
                      for full, network, node, router in routers]
            for location, found, expected in check_node(config, places, self._rows(name, config, len(routers))):
                self.add(location or where, found, expected)
            for (full, *_), (location, router) in zip(routers, places, strict=True):
                limits = [vnic.max_bw for vnic in self._links.of_router(full)]
                for inner, found, expected in check_router(router, config, limits):
                    self.add((*location, *inner), found, expected)

    def _rows(self, node: str, config: CoreConfig, routers: int) -> list[Rows]:
        """What the node's virtual switches and VNICs take; nothing if they are too many, which is said elsewhere."""
        try:
            demand = demand_of(self._links, node, routers, config.routers, config.circuits)
        except Shortage:
            return []
        return [*(switch_rows(config, self._links.switches[name].mac_rows) for name in demand.switches),
                *(vnic_rows(config) for _ in demand.numbered)]

    def _cables(self) -> None:
        owner: dict[str, int] = {}
        names: dict[str, int] = {}
        for index, link in enumerate(self.topology.links):
            if link.name is not None and names.setdefault(link.name, index) != index:
                self.add(("topology", "links", index, "name"), repr(link.name), "a name that no other link has")
            real = {endpoint for endpoint in link.endpoints if self._is_real(endpoint)}
            if real and real != set(link.endpoints):
                self.add(("topology", "links", index), f"{' and '.join(sorted(real))} of a real board, joined to ports "
                         "that are simulated", "ports of real boards only, between which somebody puts the cable, or "
                         "simulated ones only")
            for position, endpoint in enumerate(link.endpoints):
                location = ("topology", "links", index, "endpoints", position)
                self._endpoint(endpoint, location)
                if endpoint in owner:
                    self.add(location, f"'{endpoint}', which is already on links[{owner[endpoint]}]",
                             "each port on one link")
                owner.setdefault(endpoint, index)

    def _routers(self) -> None:
        for network_name, network in self.topology.networks.items():
            for name, router in network.routers.items():
                where: Location = ("topology", "networks", network_name, "routers", name)
                node = router.node or name
                board = self.topology.nodes.get(node)
                if board is None:
                    self.add((*where, "node") if router.node else where, repr(node),
                             f"one of the nodes {', '.join(self.topology.nodes)}"
                             + ("" if router.node else ", or a key 'node'"))
                    continue
                for eth, interface in router.physical.items():
                    if interface_port(eth) >= board.ports:
                        self.add((*where, "interfaces", eth), repr(eth),
                                 f"a port of {node}, eth0 to eth{board.ports - 1}")
                    longest = (board.core.max_frame or CoreConfig().max_frame) - _FRAME_BYTES
                    if interface.vlan is not None:
                        longest -= TAG_BYTES
                    if interface.mtu > longest:
                        what = f"{longest} on a VLAN" if interface.vlan else f"{longest}"
                        self.add((*where, "interfaces", eth, "mtu"), str(interface.mtu),
                                 f"at most {what}, or core.max_frame of {node} to be larger")
                for eth, interface in router.interfaces.items():
                    self._ipv6_mtu(interface.mtu, interface.addresses, (*where, "interfaces", eth))
                self._subnets(router, where)
                self._protocols(router, where)

    def _ipv6_mtu(self, mtu: int, addresses: list[AnyInterface], where: Location) -> None:
        if mtu < _LEAST_IPV6_MTU and any(address.version == 6 for address in addresses):
            self.add((*where, "mtu"), str(mtu), f"at least {_LEAST_IPV6_MTU}, or no IPv6 address")

    def _subnets(self, router: Router, where: Location) -> None:
        seen: list[tuple[IPv4Network | IPv6Network, str]] = []
        for name, interface in router.interfaces.items():
            for address in interface.addresses:
                for network, other in seen:
                    if other != name and network.overlaps(address.network):
                        self.add((*where, "interfaces", name, "address"),
                                 f"{address}, which overlaps {other}'s {network}",
                                 "a subnet of its own on each interface")
                seen.append((address.network, name))

    def _protocols(self, router: Router, where: Location) -> None:
        connected = [address.network for interface in router.interfaces.values() for address in interface.addresses]
        self._router_ids(router, where)
        if router.ospf is not None:
            for key in ("interfaces", "passive"):
                for position, name in enumerate(getattr(router.ospf, key)):
                    if name not in router.interfaces:
                        self.add((*where, "ospf", key, position), repr(name),
                                 f"one of the router's interfaces {', '.join(router.interfaces)}")
            if router.ospf.dead <= router.ospf.hello:
                self.add((*where, "ospf", "dead"), f"{router.ospf.dead}",
                         f"more than hello, which is {router.ospf.hello}")
        if router.bgp is not None and router.bgp.hold < 3 * router.bgp.keepalive:
            self.add((*where, "bgp", "hold"), f"{router.bgp.hold}",
                     f"at least three times keepalive, which is {router.bgp.keepalive}")
        for index, route in enumerate(router.static):
            if isinstance(route.via, IPv4Address | IPv6Address) and route.via.version != route.prefix.version:
                self.add((*where, "static", index, "via"), str(route.via),
                         f"an IPv{route.prefix.version} address, as the prefix is")
            elif route.via != "blackhole" and not any(route.via in network for network in connected):
                self.add((*where, "static", index, "via"), str(route.via), "an address in a subnet of an interface")

    def _router_ids(self, router: Router, where: Location) -> None:
        """A router's id is its first IPv4 address, if the file does not say another (RFC 2328, RFC 4271)."""
        if any(address.version == 4 for interface in router.interfaces.values() for address in interface.addresses):
            return
        for key in ("ospf", "bgp"):
            protocol = getattr(router, key)
            if protocol is not None and protocol.router_id is None and not router.owns_segments:
                self.add((*where, key), "no key 'router_id' in a router without an IPv4 address", "it to be there")

    def _hosts(self) -> None:
        for network_name, network in self.topology.networks.items():
            for name, host in network.hosts.items():
                where: Location = ("topology", "networks", network_name, "hosts", name)
                if host.attach is not None:
                    self._endpoint(host.attach, (*where, "attach"))
                    if self._is_real(host.attach):
                        self.add((*where, "attach"), f"{host.attach!r}, a port of a real board, at which whatever its "
                                 "cable leads to is", "a port of a simulated board")
                self._ipv6_mtu(host.mtu, host.address, where)
                for key in ("address", "gateway"):
                    versions = [entry.version for entry in getattr(host, key) or []]
                    if len(versions) > len(set(versions)):
                        self.add((*where, key), f"two IPv{versions[0]} {key}es".replace("gatewayes", "gateways"),
                                 "one of each of IPv4 and IPv6")
                for gateway in host.gateway or []:
                    if not any(gateway in address.network for address in host.address):
                        subnets = " or ".join(str(address.network) for address in host.address)
                        self.add((*where, "gateway"), str(gateway), f"an address in {subnets}")

    def _members(self) -> None:
        """Addresses of a network: each there once, each subnet on one segment."""
        for network_name, network in self.topology.networks.items():
            places = self.topology.places(network_name)
            # Who else is on a VNIC's switch, or behind its tunnel, is not known here.
            shared = {(f"{switch.node}:p{port}", vlan) for switch in self._links.switches.values()
                      for port, vlan in switch.uplinks}
            bridged = {places[f"{router.node or name}:p{interface_port(eth)}", interface.vlan or 0]
                       for name, router in network.routers.items() if router.owns_segments
                       for eth, interface in router.physical.items()}
            bridged |= {places[where] for where in places if where in shared}
            # (address, place, location) of each interface of a router
            interfaces: list[tuple[AnyInterface, _Place, Location]] = []
            for name, router in network.routers.items():
                for eth, interface in router.interfaces.items():
                    where: Location = ("topology", "networks", network_name, "routers", name, "interfaces", eth,
                                       "address")
                    for address in interface.addresses:
                        segment = places.get((f"{router.node or name}:p{eth[-1]}", interface.vlan or 0)
                                             ) if interface.vnic is None else None
                        self._against_others(address, segment, where, interfaces)
                        interfaces.append((address, segment, where))
            taken = {address.ip: where[:-1] for address, _, where in interfaces}
            for name, host in network.hosts.items():
                where = ("topology", "networks", network_name, "hosts", name)
                if host.attach is not None:
                    place = places[host.attach, 0]
                    here = [address for address, segment, _ in interfaces if segment == place]
                    if here or place not in bridged:
                        self._host_on_segment(host, network_name, where, here)
                for address in host.address:
                    if address.ip in taken:
                        self.add((*where, "address"), f"{address}, which is the address of "
                                 f"{path_of(taken[address.ip][3:])} too", "an address of its own")
                    taken.setdefault(address.ip, where)
            for name, host in network.hosts.items():
                for gateway in host.gateway or []:
                    if (any(gateway in address.network for address in host.address)
                            and (gateway not in taken or gateway in [address.ip for address in host.address])):
                        self.add(("topology", "networks", network_name, "hosts", name, "gateway"), str(gateway),
                                 f"an address of one of the routers of {network_name}")

    def _against_others(self, address: AnyInterface, segment: _Place, where: Location,
                        others: list[tuple[AnyInterface, _Place, Location]]) -> None:
        for other, other_segment, other_where in others:
            if other_where[4] == where[4] or not other.network.overlaps(address.network):
                continue        # what one router has is compared where its interfaces are looked at
            place = path_of(other_where[3:-1])
            if other.ip == address.ip:
                self.add(where, f"{address}, which is the address of {place} too", "an address of its own")
            elif segment is None or other_segment is None:
                continue
            elif segment != other_segment:
                self.add(where, f"{address}, which overlaps {other.network} of {place} on another segment",
                         "each subnet of a network on one segment")
            elif other.network != address.network:
                self.add(where, f"{address} on the segment of {place}, which has {other}", "the same prefix length")
            else:
                continue
            return

    def _host_on_segment(self, host: Host, network: str, where: Location, here: list[AnyInterface]) -> None:
        if not here:
            self.add((*where, "attach"), repr(host.attach), f"a port on whose segment there is a router of {network}")
            return
        subnets = list(dict.fromkeys(address.network for address in here))
        for address in host.address:
            if address.network not in subnets:
                same = [str(subnet) for subnet in subnets if subnet.version == address.version]
                self.add((*where, "address"), str(address), f"an address in the segment's subnet, {', '.join(same)}"
                         if same else f"no IPv{address.version} address, as the routers on the segment have none")

    def _names(self) -> None:
        seen: dict[str, str] = {}
        for network_name, network in self.topology.networks.items():
            for section, members in (("routers", network.routers), ("hosts", network.hosts)):
                for name in members:
                    full = f"{network_name}-{name}"
                    where = ("topology", "networks", network_name, section, name)
                    self._name(full, where, seen)
        for section in ("switches", "wires"):       # a wire over a VLAN has switches of its name
            for name in getattr(self.topology, section):
                self._name(name, ("topology", section, name), seen)
        for name, (key, _) in self.topology.all_vnics().items():
            self._name(name, ("topology", "vnics", key), seen)

    def _name(self, name: str, where: Location, seen: dict[str, str]) -> None:
        if name in seen:
            self.add(where, f"'{name}', which is the name of {seen[name]} too", "names that differ")
        seen.setdefault(name, path_of(where))
