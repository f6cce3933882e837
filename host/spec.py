"""What a network is to be, worked out to the last name and number: what the executors make true.

A :class:`NetworkSpec` follows from a topology file and its allocation alone. Two of them are compared to find out what
``up`` has to do, and a :class:`NodeSpec` is what an agent is told.
"""

from pydantic import BaseModel

from . import frr
from .allocate import Allocation, fabric_namespace, interface_name
from .filters import RateSpec, RuleSpec, rule_spec
from .link_spec import CircuitSpec, TerminationSpec, VnicSpec
from .topology import Interface, Router, TopologyFile, interface_port

__all__ = ["GroupSpec", "HostSpec", "LimitSpec", "NetworkSpec", "NodeSpec", "PortSpec", "RateSpec", "RouterSpec",
           "RuleSpec", "SegmentSpec", "network_spec"]


class PortSpec(BaseModel):
    """A virtual port of a router."""

    port: int                   # physical port of the board; of a circuit the link port
    name: str                   # interface in the container
    outer: str                  # other end of its veth, in the fabric
    mac: str                    # VMAC
    addresses: list[str]
    mtu: int
    guard: bool                 # take frames from peers only
    peers: list[str]            # MAC addresses of the members of the network on the same segment
    vlan: int = 0               # 0: untagged
    rate: RateSpec | None = None    # what it may send
    weight: int = 1
    circuit: int = 0            # link port: by which it sends and gets its frames
    segment_guard: bool = False     # take frames of this VLAN or circuit from ``peers`` only

    @property
    def logical(self) -> int:
        """Number of the port among all of the router: of a circuit, with its number above the link port's."""
        return self.port | self.circuit << 4


class GroupSpec(BaseModel):
    """A multicast route that is not the kernel's."""

    group: str
    source: str | None          # None: any
    port: int                   # that its packets come in at
    ports: list[int]            # that they leave by
    host: bool                  # the container gets a copy

    def __str__(self) -> str:
        return f"({self.source or '*'}, {self.group})"


class LimitSpec(BaseModel):
    """Limits of a container; they can be changed while it runs."""

    memory: int
    cpus: float
    pids: int


class RouterSpec(BaseModel):
    """A virtual router."""

    name: str
    network: str
    number: int                 # in the data plane
    image: str
    limits: LimitSpec
    fib_words: int
    adjacencies: int
    ports: list[PortSpec]
    frr: str                    # configuration
    daemons: list[str]
    mode: str = "routed"
    multicast: bool = False
    groups: list[GroupSpec] = []
    mirror: bool = False
    filter_rules: int = 0       # room for them
    policers: int = 0
    mac_rows: int = 0
    rules: list[RuleSpec] = []
    rate: RateSpec | None = None            # what may come in
    punt_rate: RateSpec | None = None       # what may go to its container
    reserved_cells: int = 0     # of the frame buffer
    limit_cells: int | None = None
    container: bool = True      # False: a virtual switch or a VNIC, which has tables only
    tunnels: bool = False       # routes the packets of tunnels, which end here
    learn: bool = True          # bridged: MAC addresses are learned
    list_circuit: int = 0       # of a virtual switch: heads the list of its circuits, for what is flooded


class NodeSpec(BaseModel):
    """A node, as its agent is to make it."""

    topology: str
    node: str
    namespace: str              # the fabric
    core: dict[str, int | float]
    macs: bool
    taps: list[str]             # interfaces of the wired ports in the fabric, in port order
    host_tap: str
    mac_age: float = 300.0      # seconds
    routers: dict[str, RouterSpec] = {}
    circuits: dict[str, CircuitSpec] = {}       # by number
    terminations: list[TerminationSpec] = []
    vnics: dict[str, VnicSpec] = {}


class SegmentSpec(BaseModel):
    """A bridge in the fabric that joins ports."""

    name: str
    bridge: str
    taps: list[str]


class HostSpec(BaseModel):
    """A host's namespace and its interface."""

    name: str
    network: str
    namespace: str
    outer: str                  # other end of its veth, in the fabric
    bridge: str
    mac: str
    address: str | None         # IPv4
    gateway: str | None
    address6: str | None = None
    gateway6: str | None = None
    mtu: int
    neighbours: dict[str, str]  # address of either family -> MAC address of the network's members in its subnet


class NetworkSpec(BaseModel):
    """A whole network."""

    name: str
    namespace: str
    segments: dict[str, SegmentSpec] = {}
    nodes: dict[str, NodeSpec] = {}
    hosts: dict[str, HostSpec] = {}


def network_spec(file: TopologyFile, allocation: Allocation) -> NetworkSpec:
    """Work out a topology's specification."""
    topology, namespace = file.topology, fabric_namespace(file.name)
    segments, segment_of = topology.segments(), topology.segment_of()
    spec = NetworkSpec(name=file.name, namespace=namespace)
    for name, board in topology.nodes.items():
        spec.nodes[name] = NodeSpec(
            topology=file.name, node=name, namespace=namespace, core=board.config().as_dict(), macs=board.macs,
            taps=[interface_name(f"{name}-p{port}") for port in range(board.ports)],
            host_tap=interface_name(f"{name}-host"), mac_age=board.mac_age)
    for name, endpoints in segments.items():
        spec.segments[name] = SegmentSpec(
            name=name, bridge=interface_name(f"b.{name}"),
            taps=[interface_name(endpoint.replace(":", "-")) for endpoint in endpoints])

    # Who hears whom without a router between them, per network: (place, network) -> [(where, MAC, addresses)]
    wires = {network: topology.wires(network) for network in topology.networks}
    members: dict[tuple[tuple[str, int], str], list[tuple[str, str, list]]] = {}
    for full, network, node, router in topology.routers():
        for eth, interface in router.interfaces.items():
            where = f"{node}:p{interface_port(eth)}", interface.vlan or 0
            if where[0] in segment_of and not router.owns_segments:
                mac = allocation.routers[full].macs[interface_port(eth)]
                members.setdefault((wires[network][where], network), []).append((where[0], mac, interface.addresses))
    for full, network, host in topology.hosts():
        members.setdefault((wires[network][host.attach, 0], network), []).append(
            (full, allocation.hosts[full].mac, host.address))

    for full, network, node, router in topology.routers():
        place = allocation.routers[full]
        core = topology.nodes[node].config()
        limits = router.limits or topology.defaults.limits
        config = frr.render(full, router)
        ports = []
        for eth, interface in router.interfaces.items():
            port = interface_port(eth)
            endpoint = f"{node}:p{port}"
            others = members.get((wires[network][endpoint, interface.vlan or 0], network), [])
            ports.append(PortSpec(
                port=port, name=eth, outer=interface_name(f"{node}-v{place.number}p{port}"), mac=place.macs[port],
                addresses=[str(address) for address in interface.addresses], mtu=interface.mtu,
                # A bridge is there for all that are on its segments.
                guard=not interface.open and not router.owns_segments,
                peers=sorted(mac for where, mac, _ in others if where != endpoint and not router.owns_segments),
                vlan=interface.vlan or 0, rate=_port_rate(interface), weight=interface.rate.weight))
        reserved, limit = router.quota(core)
        spec.nodes[node].routers[full] = RouterSpec(
            name=full, network=network, number=place.number,
            image=router.image or topology.defaults.image,
            limits=LimitSpec(memory=limits.memory, cpus=limits.cpus, pids=limits.pids),
            fib_words=place.fib_words, adjacencies=place.adjacencies, filter_rules=place.filter_rules,
            policers=place.policers, mac_rows=place.mac_rows, ports=ports, frr=config, daemons=frr.daemons(config),
            mode=router.mode, multicast=router.forwards_groups, groups=_groups(router), mirror=router.mirror,
            rules=[rule_spec(entry) for entry in router.filters],
            rate=None if router.rate is None else RateSpec(rate=router.rate.inbound, burst=router.rate.burst),
            punt_rate=RateSpec(rate=router.punt_bits(core)), reserved_cells=reserved, limit_cells=limit)

    for full, network, host in topology.hosts():
        segment = segment_of[host.attach]
        neighbours: dict[str, str] = {}
        routers: dict[int, str] = {}        # by version of IP
        for member, mac, addresses in members[wires[network][host.attach, 0], network]:
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


def _groups(router: Router) -> list[GroupSpec]:
    return [GroupSpec(group=str(route.group), source=None if route.source is None else str(route.source),
                      port=interface_port(route.ingress), ports=sorted(map(interface_port, set(route.egress))),
                      host=route.host) for route in router.multicast or []]


def _port_rate(interface: Interface) -> RateSpec | None:
    rate = interface.rate
    return None if rate.out is None else RateSpec(rate=rate.out, burst=rate.burst)
