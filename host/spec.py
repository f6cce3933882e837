"""What a network is to be, worked out to the last name and number: what the executors make true.

A :class:`NetworkSpec` follows from a topology file and its allocation alone. Two of them are compared to find out what
``up`` has to do, and a :class:`NodeSpec` is what an agent is told.
"""

from pydantic import BaseModel

from . import frr
from .allocate import Allocation, fabric_namespace, interface_name
from .topology import TopologyFile, interface_port

__all__ = ["HostSpec", "LimitSpec", "NetworkSpec", "NodeSpec", "PortSpec", "RouterSpec", "SegmentSpec", "network_spec"]


class PortSpec(BaseModel):
    """A virtual port of a router."""

    port: int                   # physical port of the board
    name: str                   # interface in the container
    outer: str                  # other end of its veth, in the fabric
    mac: str                    # VMAC
    addresses: list[str]
    mtu: int
    guard: bool                 # take frames from peers only
    peers: list[str]            # MAC addresses of the members of the network on the same segment


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


class NodeSpec(BaseModel):
    """A node, as its agent is to make it."""

    topology: str
    node: str
    namespace: str              # the fabric
    core: dict[str, int | float]
    macs: bool
    taps: list[str]             # port interfaces in the fabric, in port order
    host_tap: str
    routers: dict[str, RouterSpec] = {}


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
    address: str
    gateway: str | None
    mtu: int
    neighbours: dict[str, str]  # IPv4 address -> MAC address of the network's members in its subnet


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
            host_tap=interface_name(f"{name}-host"))
    for name, endpoints in segments.items():
        spec.segments[name] = SegmentSpec(
            name=name, bridge=interface_name(f"b.{name}"),
            taps=[interface_name(endpoint.replace(":", "-")) for endpoint in endpoints])

    # Who is on which segment, per network: (segment, network) -> [(endpoint or host, MAC, addresses)]
    members: dict[tuple[str, str], list[tuple[str, str, list]]] = {}
    for full, network, node, router in topology.routers():
        for eth, interface in router.interfaces.items():
            endpoint = f"{node}:p{interface_port(eth)}"
            if endpoint in segment_of:
                mac = allocation.routers[full].macs[interface_port(eth)]
                members.setdefault((segment_of[endpoint], network), []).append((endpoint, mac, interface.address))
    for full, network, host in topology.hosts():
        members.setdefault((segment_of[host.attach], network), []).append(
            (full, allocation.hosts[full].mac, [host.address]))

    for full, network, node, router in topology.routers():
        place = allocation.routers[full]
        limits = router.limits or topology.defaults.limits
        config = frr.render(full, router)
        ports = []
        for eth, interface in router.interfaces.items():
            port = interface_port(eth)
            endpoint = f"{node}:p{port}"
            others = members.get((segment_of.get(endpoint, ""), network), [])
            ports.append(PortSpec(
                port=port, name=eth, outer=interface_name(f"{node}-v{place.number}p{port}"), mac=place.macs[port],
                addresses=[str(address) for address in interface.address], mtu=interface.mtu, guard=not interface.open,
                peers=sorted(mac for where, mac, _ in others if where != endpoint)))
        spec.nodes[node].routers[full] = RouterSpec(
            name=full, network=network, number=place.number,
            image=router.image or topology.defaults.image,
            limits=LimitSpec(memory=limits.memory, cpus=limits.cpus, pids=limits.pids),
            fib_words=place.fib_words, adjacencies=place.adjacencies, ports=ports, frr=config,
            daemons=frr.daemons(config))

    for full, network, host in topology.hosts():
        segment = segment_of[host.attach]
        neighbours: dict[str, str] = {}
        routers: list[str] = []
        for where, mac, addresses in members[segment, network]:
            for address in addresses:
                if where != full and address.ip in host.address.network:
                    neighbours[str(address.ip)] = mac
                    if ":" in where:
                        routers.append(str(address.ip))
        gateway = str(host.gateway) if host.gateway else routers[0] if routers else None
        spec.hosts[full] = HostSpec(
            name=full, network=network, namespace=allocation.hosts[full].namespace, outer=interface_name(f"h.{full}"),
            bridge=spec.segments[segment].bridge, mac=allocation.hosts[full].mac, address=str(host.address),
            gateway=gateway, mtu=host.mtu, neighbours=neighbours)
    return spec
