"""A topology, worked out to the last name and number. Pure functions."""

from . import frr
from .allocate import Allocation, fabric_namespace, interface_name
from .filters import RateSpec, rule_spec
from .link_compile import LinkCompiler
from .links import Links, links_of
from .spec import GroupSpec, HostSpec, LimitSpec, NetworkSpec, NodeSpec, PortSpec, RouterSpec, SegmentSpec
from .topology import Host, Interface, Router, TopologyFile, interface_port

__all__ = ["network_spec"]


def network_spec(file: TopologyFile, allocation: Allocation) -> NetworkSpec:
    """Work out a topology's specification."""
    topology, namespace = file.topology, fabric_namespace(file.name)
    segments, segment_of = topology.segments(), topology.segment_of()
    spec = NetworkSpec(name=file.name, namespace=namespace)
    for name, board in topology.nodes.items():
        spec.nodes[name] = NodeSpec(
            topology=file.name, node=name, namespace=namespace, core=board.config().as_dict(), macs=board.macs,
            taps=[] if board.host_link else [interface_name(f"{name}-p{port}") for port in range(board.ports)],
            host_tap="" if board.host_link else interface_name(f"{name}-host"), host_link=board.host_link or "",
            mac_age=board.mac_age)
    for name, endpoints in segments.items():
        if topology.nodes[endpoints[0].partition(":")[0]].host_link:
            continue        # the cable between real boards is somebody else's
        spec.segments[name] = SegmentSpec(
            name=name, bridge=interface_name(f"b.{name}"),
            taps=[interface_name(endpoint.replace(":", "-")) for endpoint in endpoints])

    # Who hears whom without a router between them, per network: (place, network) -> [(where, MAC, addresses)]
    places = {network: topology.places(network) for network in topology.networks}
    members: dict[tuple[tuple[str, int], str], list[tuple[str, str, list]]] = {}
    for full, network, node, router in topology.routers():
        for eth, interface in router.physical.items():
            where = f"{node}:p{interface_port(eth)}", interface.vlan or 0
            if where[0] in segment_of and not router.owns_segments:
                mac = allocation.routers[full].macs[interface_port(eth)]
                members.setdefault((places[network][where], network), []).append((where[0], mac, interface.addresses))
    for full, network, host in topology.hosts():
        if host.attach is not None:
            members.setdefault((places[network][host.attach, 0], network), []).append(
                (full, allocation.hosts[full].mac, host.address))

    links = links_of(topology)
    compilers = {name: LinkCompiler(file.name, links, allocation, topology.nodes[name].config(), node)
                 for name, node in spec.nodes.items()}

    for full, network, node, router in topology.routers():
        place = allocation.routers[full]
        compiler = compilers[node]
        core = compiler.config
        limits = router.limits or topology.defaults.limits
        config = frr.render(full, router)
        ports = []
        for eth, interface in router.physical.items():
            port = interface_port(eth)
            endpoint = f"{node}:p{port}"
            others = members.get((places[network][endpoint, interface.vlan or 0], network), [])
            ports.append(PortSpec(
                port=port, name=eth, outer=interface_name(f"{node}-v{place.number}p{port}"), mac=place.macs[port],
                addresses=[str(address) for address in interface.addresses], mtu=interface.mtu,
                # A bridge is there for all that are on its segments.
                guard=not interface.open and not router.owns_segments,
                peers=sorted(mac for where, mac, _ in others if where != endpoint and not router.owns_segments),
                vlan=interface.vlan or 0, rate=_port_rate(interface), weight=interface.rate.weight))
        ports += compiler.router_ports(full)
        circuits = compiler.router_circuits(full)
        reserved, limit = router.quota(core)
        spec.nodes[node].routers[full] = RouterSpec(
            name=full, network=network, number=place.number,
            image=router.image or topology.defaults.image,
            limits=LimitSpec(memory=limits.memory, cpus=limits.cpus, pids=limits.pids),
            fib_words=place.fib_words, adjacencies=place.adjacencies, filter_rules=place.filter_rules,
            policers=place.policers, mac_rows=place.mac_rows, ports=ports, frr=config, daemons=frr.daemons(config),
            mode=router.mode, multicast=router.forwards_groups, groups=_groups(router, circuits), mirror=router.mirror,
            rules=[*(rule_spec(entry, circuits) for entry in router.filters), *compiler.router_rules(full)],
            tunnels=compiler.is_underlay(full),
            rate=None if router.rate is None else RateSpec(rate=router.rate.inbound, burst=router.rate.burst),
            punt_rate=RateSpec(rate=router.punt_bits(core)), reserved_cells=reserved, limit_cells=limit)
    for compiler in compilers.values():
        compiler.add()

    for full, network, host in topology.hosts():
        if host.vnic is not None:
            spec.hosts[full] = _vnic_host(file, allocation, links, spec, full, network, host)
            continue
        segment = segment_of[host.attach or ""]
        neighbours: dict[str, str] = {}
        routers: dict[int, str] = {}        # by version of IP
        for member, mac, addresses in members[places[network][host.attach or "", 0], network]:
            for address in addresses:
                if member != full and any(address.ip in mine.network for mine in host.address):
                    neighbours[str(address.ip)] = mac
                    if ":" in member:
                        routers.setdefault(address.version, str(address.ip))
        own = {version: str(address) if (address := host.of(version)) else None for version in (4, 6)}
        gateways = {version: str(gateway) if (gateway := host.gateway_of(version)) else routers.get(version)
                    for version in (4, 6)}
        spec.hosts[full] = HostSpec(
            name=full, network=network, namespace=allocation.hosts[full].namespace, outer=interface_name(f"h.{full}"),
            bridge=spec.segments[segment].bridge, mac=allocation.hosts[full].mac, address=own[4],
            gateway=gateways[4], address6=own[6], gateway6=gateways[6], mtu=host.mtu, neighbours=neighbours)
    return spec


def _vnic_host(file: TopologyFile, allocation: Allocation, links: Links, spec: NetworkSpec, full: str, network: str,
               host: Host) -> HostSpec:
    """A host on a VNIC. It learns its neighbours: on a virtual switch there is nobody else than who was put there."""
    vnic = links.vnics[host.vnic or ""]
    gateways: dict[int, str | None] = {}
    for version in (4, 6):
        own, asked = host.of(version), host.gateway_of(version)
        near = next((str(address.ip) for _, its_network, _, router in file.topology.routers() if its_network == network
                     for interface in router.virtual.values() for address in interface.addresses
                     if own is not None and address.ip in own.network), None)
        gateways[version] = str(asked) if asked else near
    place = spec.nodes[vnic.node].vnics[vnic.name]
    addresses = {version: str(address) if (address := host.of(version)) else None for version in (4, 6)}
    return HostSpec(name=full, network=network, namespace=place.namespace, outer=place.outer, bridge="", mac=place.mac,
                    address=addresses[4], gateway=gateways[4], address6=addresses[6], gateway6=gateways[6],
                    mtu=place.mtu, neighbours={}, vnic=vnic.name)


def _groups(router: Router, circuits: dict[str, tuple[int, int]]) -> list[GroupSpec]:
    def port_of(name: str) -> int:
        if name in circuits:
            port, circuit = circuits[name]
            return port | circuit << 4      # as PortSpec.logical
        return interface_port(name)

    return [GroupSpec(group=str(route.group), source=None if route.source is None else str(route.source),
                      port=port_of(route.ingress), ports=sorted(map(port_of, set(route.egress))),
                      host=route.host) for route in router.multicast or []]


def _port_rate(interface: Interface) -> RateSpec | None:
    rate = interface.rate
    return None if rate.out is None else RateSpec(rate=rate.out, burst=rate.burst)
