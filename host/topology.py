"""The topology file: what a network should be.

The format keeps to containerlab's conventions (``name``, ``topology`` with ``defaults``, ``nodes`` and ``links`` with
``endpoints``). ``topology.nodes`` are the data planes, ``topology.links`` the cables between their ports, and
``topology.networks`` the virtual networks on top: the virtual routers of each, and its hosts. A network that is like
another is written as a YAML alias (``blue: *red``), or merges it and changes a part (``<<: *red``).
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Annotated, Any, Literal

from polyrouter.hdl.config import CoreConfig
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from .runtime.limits import parse_cpus, parse_size

__all__ = ["ENDPOINT_PATTERN", "IMAGE_PATTERN", "NAME_PATTERN", "NETWORK_NAME_PATTERN", "Bgp",
           "Board", "Endpoint", "Host", "Interface", "Limits", "Link", "Ospf", "Router", "StaticRoute", "Topology",
           "TopologyFile", "VirtualNetwork", "interface_port"]


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


def _with_length(value: Any) -> Any:
    # Without a length it would be taken as one of 32 bits, which is hardly ever meant.
    if not isinstance(value, IPv4Interface) and "/" not in str(value):
        raise ValueError("an IPv4 address with its prefix length, as in 192.0.2.1/24")
    return value


def _host_address(value: IPv4Interface) -> IPv4Interface:
    length = value.network.prefixlen
    if value.ip.packed[0] in (0, 127) or value.is_multicast or value.is_reserved:
        raise ValueError("an address that an interface can have, not one of 0/8, 127/8, 224/4 or 240/4")
    if length < 31 and value.ip in (value.network.network_address, value.network.broadcast_address):
        raise ValueError("an address that is neither the network's nor the broadcast address")
    return value


NAME_PATTERN = r"^[a-z]([a-z0-9-]{0,29}[a-z0-9])?$"
NETWORK_NAME_PATTERN = r"^[a-z]([a-z0-9-]{0,19}[a-z0-9])?$"
ENDPOINT_PATTERN = r"^[a-z]([a-z0-9-]{0,29}[a-z0-9])?:p[0-7]$"

IMAGE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
EthName = Annotated[str, StringConstraints(pattern=r"^eth[0-7]$")]
Endpoint = Annotated[str, StringConstraints(pattern=ENDPOINT_PATTERN)]
Memory = Annotated[int, BeforeValidator(parse_size), Field(ge=16 << 20),
                   WithJsonSchema({"type": ["integer", "string"]})]
Cpus = Annotated[float, BeforeValidator(parse_cpus), Field(ge=0.01, le=1024),
                 WithJsonSchema({"type": ["number", "string"]})]
HostAddress = Annotated[IPv4Interface, BeforeValidator(_with_length), AfterValidator(_host_address),
                        WithJsonSchema({"type": "string"})]
ImageName = Annotated[str, StringConstraints(pattern=IMAGE_PATTERN)]
Addresses = Annotated[list[HostAddress], BeforeValidator(_as_list), Field(min_length=1),
                      WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})]
Mtu = Annotated[int, Field(ge=576, le=9000)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Limits(_Model):
    """What a virtual router's container may use."""

    memory: Memory = 128 << 20
    cpus: Cpus = 0.5
    pids: Annotated[int, Field(ge=16, le=32768)] = 200


class Defaults(_Model):
    """What holds for each virtual router that does not say otherwise."""

    image: ImageName = "default"
    limits: Limits = Limits()


class Core(_Model):
    """Parameters of the data plane, where they are to differ from what the node's ports and routers ask for."""

    routers: int | None = None
    data_width: int | None = None
    vmac_slots: int | None = None
    fib_words: int | None = None
    adjacencies: int | None = None
    buffer_bytes: int | None = None
    cell_bytes: int | None = None
    queue_frames: int | None = None
    ingress_bytes: int | None = None
    max_frame: int | None = None


class Board(_Model):
    """A node: a data plane with its agent."""

    kind: Literal["board"] = "board"
    ports: Annotated[int, Field(ge=1, le=8)] = 4
    macs: bool = Field(False, description="simulate the GMII MACs too; slower")
    core: Core = Core()

    def config(self) -> CoreConfig:
        """Parameters of the core to be built for this node."""
        return CoreConfig(ports=self.ports, **self.core.model_dump(exclude_none=True))


class Link(_Model):
    """A segment: a cable between two ports, or a switch that joins more."""

    name: Name | None = None
    endpoints: Annotated[list[Endpoint], Field(min_length=1)]


class Interface(_Model):
    """A virtual port of a router: ``eth<k>`` is the node's physical port ``k``."""

    address: Addresses
    mtu: Mtu = 1500
    open: bool = Field(False, description="listen to everyone on the segment, not to members of the network only")


class Ospf(_Model):
    """OSPFv2 in area 0: point-to-point on ``interfaces``, ``passive`` ones are only announced."""

    interfaces: list[EthName] = Field(default_factory=list, description="default: all that are not passive")
    passive: list[EthName] = Field(default_factory=list)
    area: Annotated[int, Field(ge=0, le=0xFFFFFFFF)] = 0
    network: Literal["point-to-point", "broadcast"] = "point-to-point"
    hello: Annotated[int, Field(ge=1, le=65535)] = 10
    dead: Annotated[int, Field(ge=2, le=65535)] = 40
    router_id: IPv4Address | None = None


class BgpNeighbor(_Model):
    address: IPv4Address
    asn: Annotated[int, Field(ge=1, le=0xFFFFFFFF)]


class Bgp(_Model):
    """BGP-4, IPv4 unicast."""

    asn: Annotated[int, Field(ge=1, le=0xFFFFFFFF)]
    neighbors: Annotated[list[BgpNeighbor], Field(min_length=1)]
    networks: list[IPv4Network] = Field(default_factory=list, description="prefixes to announce")
    keepalive: Annotated[int, Field(ge=1, le=65535)] = 60
    hold: Annotated[int, Field(ge=3, le=65535)] = 180
    router_id: IPv4Address | None = None


class StaticRoute(_Model):
    prefix: IPv4Network
    via: IPv4Address | Literal["blackhole"]


class Router(_Model):
    """A virtual router: a slice of its node's data plane and a container with the routing stack."""

    node: Name | None = Field(None, description="default: the node of the router's own name")
    image: ImageName | None = None
    limits: Limits | None = None
    interfaces: Annotated[dict[EthName, Interface], Field(min_length=1)]
    static: list[StaticRoute] = Field(default_factory=list)
    ospf: Ospf | None = None
    bgp: Bgp | None = None
    frr: str = Field("", description="FRR configuration, added as it is")
    fib_words: Annotated[int, Field(ge=16)] | None = Field(None, description="default: an equal share of the node's")
    adjacencies: Annotated[int, Field(ge=8)] | None = Field(None, description="default: an equal share of the node's")


class Host(_Model):
    """A host in a network namespace, with ``eth0`` on the segment of a node's port."""

    attach: Endpoint
    address: HostAddress
    gateway: IPv4Address | None = Field(None, description="default: the network's router on that segment and subnet")
    mtu: Mtu = 1500


class VirtualNetwork(_Model):
    """Routers and hosts that see each other, and nobody else on the same segments."""

    routers: Annotated[dict[Name, Router], Field(min_length=1)]
    hosts: dict[Name, Host] = Field(default_factory=dict)


class Topology(_Model):
    defaults: Defaults = Defaults()
    nodes: Annotated[dict[Name, Board], Field(min_length=1)]
    links: list[Link] = Field(default_factory=list)
    networks: dict[Name, VirtualNetwork] = Field(default_factory=dict)

    def routers(self) -> Iterator[tuple[str, str, str, Router]]:
        """Each router: its full name, its network, its node."""
        for network_name, network in self.networks.items():
            for name, router in network.routers.items():
                yield f"{network_name}-{name}", network_name, router.node or name, router

    def hosts(self) -> Iterator[tuple[str, str, Host]]:
        """Each host: its full name and its network."""
        for network_name, network in self.networks.items():
            for name, host in network.hosts.items():
                yield f"{network_name}-{name}", network_name, host

    def segments(self) -> dict[str, list[str]]:
        """Segments by name: those of ``links``, and one for each other port that a host is attached to."""
        found = {link.name or "-".join(link.endpoints).replace(":", ""): list(link.endpoints) for link in self.links}
        joined = {endpoint for endpoints in found.values() for endpoint in endpoints}
        for _, _, host in self.hosts():
            if host.attach not in joined:
                joined.add(host.attach)
                found[host.attach.replace(":", "")] = [host.attach]
        return found

    def segment_of(self) -> dict[str, str]:
        """Segment of each endpoint that is on one."""
        return {endpoint: name for name, endpoints in self.segments().items() for endpoint in endpoints}


class TopologyFile(_Model):
    """A network as written in a file."""

    name: Annotated[str, StringConstraints(pattern=NETWORK_NAME_PATTERN)]
    topology: Topology


def interface_port(name: str) -> int:
    """Physical port of ``eth<k>``, ``p<k>`` or ``node:p<k>``."""
    return int(name[-1])
