"""The topology file: what a network should be.

The format keeps to containerlab's conventions (``name``, ``topology`` with ``defaults``, ``nodes`` and ``links`` with
``endpoints``). ``topology.nodes`` are the data planes, ``topology.links`` the cables between their ports, and
``topology.networks`` the virtual networks on top: the virtual routers of each, and its hosts. A network that is like
another is written as a YAML alias (``blue: *red``), or merges it and changes a part (``<<: *red``). VNICs, virtual
switches, wires and tunnels are in :mod:`.topology_links`.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Any, Literal

from polyrouter.hdl.config import CoreConfig, power_of_two_at_most
from polyrouter.hdl.policers import policer_cycles
from polyrouter.hdl.shapers import shaper_cycles
from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator

from .tables.rates import LEAST_RATE, LINE_RATE, Rates
from .tables.shares import reserved_cells
from .tables.windows import filter_share
from .topology_board import Board
from .topology_links import InterfaceVnic, PortGroup, Switch, Tunnel, Vnic, Wire
from .topology_multicast import MulticastRoutes, PimOrTrue
from .topology_types import (
    NETWORK_NAME_PATTERN,
    Addresses,
    AnyInterface,
    Byte,
    Cpus,
    Endpoint,
    Ethertype,
    Gateways,
    Hyphened,
    ImageName,
    InterfaceName,
    L4Port,
    Mac,
    Memory,
    Model,
    Mtu,
    Name,
    Protocol,
    Rate,
    Size,
    Vlan,
    VnicName,
    as_list,
)

__all__ = ["Bgp", "Board", "Changes", "FilterEntry", "Host", "Interface", "Limits", "Link", "Match", "Ospf", "Police",
           "Router", "Send", "StaticRoute", "Topology", "TopologyFile", "VirtualNetwork",
           "interface_port", "rates_of"]


class Limits(Model):
    """What a virtual router's container may use."""

    memory: Memory = 128 << 20
    cpus: Cpus = 0.5
    pids: Annotated[int, Field(ge=16, le=32768)] = 200


class Defaults(Model):
    """What holds for each virtual router that does not say otherwise."""

    image: ImageName = "default"
    limits: Limits = Limits()


class Link(Model):
    """A segment: a cable between two ports, or a switch that joins more."""

    name: Name | None = None
    endpoints: Annotated[list[Endpoint], Field(min_length=1)]


class InterfaceRate(Hyphened):
    """What a router may send at a port, and its share where several want to."""

    out: Rate | None = Field(default=None, description="bits a second; what is more waits, in the router's own queues")
    weight: Annotated[int, Field(ge=1)] = Field(default=1, description="its share where routers compete for the port")
    burst: Size | None = None


class Interface(Model):
    """A virtual port of a router: ``eth<k>`` is the node's physical port ``k``, any other name a VNIC."""

    address: Addresses | None = Field(None, description="of a routed router, which must have one")
    mtu: Mtu = 1500
    open: bool = Field(False, description="listen to everyone on the segment, not to members of the network only")
    vlan: Vlan | None = Field(None, description="its frames are tagged; default: untagged")
    rate: InterfaceRate = Field(default_factory=InterfaceRate)
    vnic: InterfaceVnic | None = Field(None, description="it is a VNIC, and no physical port")

    @property
    def addresses(self) -> list[AnyInterface]:
        """Its addresses, none if it is a bridge's."""
        return self.address or []


class Ospf(Model):
    """OSPFv2 in area 0: point-to-point on ``interfaces``, ``passive`` ones are only announced.

    If the router has IPv6 addresses, OSPFv3 does the same for those.
    """

    interfaces: list[InterfaceName] = Field(default_factory=list, description="default: all that are not passive")
    passive: list[InterfaceName] = Field(default_factory=list)
    area: Annotated[int, Field(ge=0, le=0xFFFFFFFF)] = 0
    network: Literal["point-to-point", "broadcast"] = "point-to-point"
    hello: Annotated[int, Field(ge=1, le=65535)] = 10
    dead: Annotated[int, Field(ge=2, le=65535)] = 40
    router_id: IPv4Address | None = None
    graceful_restart: bool = Field(False, alias="graceful-restart", description=(
        "while its routing stack is started anew, its neighbours leave its routes, and it leaves theirs"))


class BgpNeighbor(Model):
    address: IPv4Address
    asn: Annotated[int, Field(ge=1, le=0xFFFFFFFF)]


class Bgp(Model):
    """BGP-4, IPv4 unicast."""

    asn: Annotated[int, Field(ge=1, le=0xFFFFFFFF)]
    neighbors: Annotated[list[BgpNeighbor], Field(min_length=1)]
    networks: list[IPv4Network] = Field(default_factory=list, description="prefixes to announce")
    keepalive: Annotated[int, Field(ge=1, le=65535)] = 60
    hold: Annotated[int, Field(ge=3, le=65535)] = 180
    router_id: IPv4Address | None = None
    graceful_restart: bool = Field(False, alias="graceful-restart", description=(
        "while its routing stack is started anew, its neighbours leave its routes, and it leaves theirs"))


class StaticRoute(Model):
    prefix: IPv4Network | IPv6Network
    via: IPv4Address | IPv6Address | Literal["blackhole"]


class Match(Hyphened):
    """What a frame must be for a rule to match; what is not named may be anything."""

    port: InterfaceName | None = Field(default=None, description="interface that it came in at")
    vlan: Annotated[int, Field(ge=0, le=4094)] | Literal["untagged"] | None = Field(
        default=None, description="0: untagged or priority-tagged")
    pcp: Annotated[int, Field(ge=0, le=7)] | None = None
    src_mac: Mac | None = None
    dst_mac: Mac | None = None
    ethertype: Ethertype | None = None
    src: IPv4Network | IPv6Network | None = Field(default=None, description="of IPv6, at most /32")
    dst: IPv4Network | IPv6Network | None = Field(default=None, description="of IPv6, at most /32")
    protocol: Protocol | None = None
    tos: Byte | None = Field(default=None, description="or traffic class")
    src_port: L4Port | None = Field(default=None, description="of ICMP: type")
    dst_port: L4Port | None = Field(default=None, description="of ICMP: code")


class Send(Model):
    """An action: to these interfaces, whatever the routes say."""

    send: Annotated[list[InterfaceName], BeforeValidator(as_list), Field(min_length=1)]


class Changes(Hyphened):
    """What is changed in a frame that a rule lets through."""

    src_mac: Mac | None = None
    dst_mac: Mac | None = None
    vlan: Vlan | Literal["untagged"] | None = None
    pcp: Annotated[int, Field(ge=0, le=7)] | None = None
    src: IPv4Address | None = None
    dst: IPv4Address | None = None
    tos: Byte | None = None
    src_port: L4Port | None = None
    dst_port: L4Port | None = None


class Police(Model):
    """A rate that is let through; what is more is dropped."""

    rate: Rate
    burst: Size | None = None


def _as_police(value: Any) -> Any:
    return value if isinstance(value, dict | Police) else {"rate": value}


Policed = Annotated[Police, BeforeValidator(_as_police), WithJsonSchema({"type": ["integer", "string", "object"]})]


class FilterEntry(Model):
    """A rule of a router's filter; the first one that matches decides."""

    match: Match = Field(default_factory=Match, description="default: everything")
    action: Literal["permit", "drop", "punt"] | Send
    changes: Changes = Field(default_factory=Changes, alias="set")
    traffic_class: Literal["control", "normal"] | None = Field(None, alias="class")
    police: Policed | None = None
    mirror: bool = Field(False, description="a copy for 'capture --hardware'")


class RouterRate(Model):
    """What may come in for a router in all; what is more is dropped."""

    inbound: Rate = Field(alias="in")
    burst: Size | None = None


class Buffer(Model):
    """A router's share of the frame buffer, in bytes."""

    reserved: Size | None = Field(default=None, description="nobody else's; default: its part of half the buffer")
    limit: Size | None = Field(default=None, description="the most that it may have; default: all that is not reserved")


class Router(Model):
    """A virtual router: a slice of its node's data plane and a container with the routing stack."""

    node: Name | None = Field(None, description="default: the node of the router's own name")
    image: ImageName | None = None
    limits: Limits | None = None
    interfaces: Annotated[dict[InterfaceName, Interface], Field(min_length=1)]
    static: list[StaticRoute] = Field(default_factory=list)
    ospf: Ospf | None = None
    bgp: Bgp | None = None
    frr: str = Field("", description="FRR configuration, added as it is")
    fib_words: Annotated[int, Field(ge=16)] | None = Field(None, description="default: an equal share of the node's")
    adjacencies: Annotated[int, Field(ge=8)] | None = Field(None, description="default: an equal share of the node's")
    mode: Literal["routed", "bridged", "switched"] = Field(
        "routed", description="bridged: by learned MAC addresses; switched: by its filter rules alone")
    filters: list[FilterEntry] = Field(default_factory=list)
    filter_rules: Annotated[int, Field(ge=0)] | None = Field(
        None, description="room for rules; default: an equal share of the node's, at most what line rate allows")
    policers: Annotated[int, Field(ge=0)] | None = Field(
        None, description="its own and one for each rule that polices; default: an equal share of the node's")
    mac_rows: Annotated[int, Field(ge=4)] | None = Field(
        None, description="MAC addresses of a bridge, a power of two; default: an equal share of the node's")
    rate: RouterRate | None = None
    punt_rate: Rate | None = Field(
        None, alias="punt-rate", description="bits a second to its container; default: an equal share, at most 100M")
    buffer: Buffer = Field(default_factory=Buffer)
    mirror: bool = Field(False, description="a copy of each frame for 'capture --hardware'")
    multicast: MulticastRoutes = Field(
        None, description="IP multicast is forwarded by the hardware: by these routes, and those of the kernel")
    pim: PimOrTrue = Field(None, description="PIM and IGMP or MLD on all interfaces; the hardware forwards")

    @property
    def physical(self) -> dict[str, Interface]:
        """Its interfaces on physical ports."""
        return {name: interface for name, interface in self.interfaces.items() if interface.vnic is None}

    @property
    def virtual(self) -> dict[str, Interface]:
        """Its interfaces that are VNICs."""
        return {name: interface for name, interface in self.interfaces.items() if interface.vnic is not None}

    @property
    def owns_segments(self) -> bool:
        """Whether it takes all frames of its ports and VLANs, not only those that are addressed to it."""
        return self.mode != "routed"

    @property
    def forwards_groups(self) -> bool:
        """Whether the hardware forwards IP multicast."""
        return self.multicast is not None or self.pim is not None

    def share(self, config: CoreConfig) -> dict[str, int]:
        """Rows of each of a board's tables that it gets: what it asks for, or an equal share of them."""
        shares = {name: getattr(self, name) for name in ("fib_words", "adjacencies", "filter_rules", "policers")}
        if self.filter_rules is None:
            shares["filter_rules"] = filter_share(config)
        shares = {name: getattr(config, name) // config.routers if value is None else value
                  for name, value in shares.items()}
        shares["mac_rows"] = (0 if self.mode != "bridged" else
                              self.mac_rows or power_of_two_at_most(config.mac_rows // config.routers))
        return shares

    def quota(self, config: CoreConfig) -> tuple[int, int | None]:
        """Cells of a board's buffer that are reserved for it, and the most that it may have."""
        reserved, limit = self.buffer.reserved, self.buffer.limit
        return (reserved_cells(config) if reserved is None else -(-reserved // config.cell_bytes),
                None if limit is None else limit // config.cell_bytes)

    def punt_bits(self, config: CoreConfig) -> int:
        """Bits a second that may be punted to its container."""
        return self.punt_rate or max(LEAST_RATE, min(LINE_RATE // 10, LINE_RATE // config.routers))


class Host(Model):
    """A host in a network namespace, with ``eth0`` on the segment of a node's port, or as a VNIC."""

    attach: Endpoint | None = Field(None, description="a node's port")
    vnic: VnicName | None = Field(None, description="or a VNIC")
    address: Annotated[Addresses, Field(max_length=2, description="one, or one of each of IPv4 and IPv6")]
    gateway: Gateways | None = Field(None, description="default: the network's router on that segment and subnet")
    mtu: Mtu = 1500

    def of(self, version: int) -> AnyInterface | None:
        """Its address of IPv4 or IPv6."""
        return next((address for address in self.address if address.version == version), None)

    def gateway_of(self, version: int) -> IPv4Address | IPv6Address | None:
        """The gateway that was asked for."""
        return next((gateway for gateway in self.gateway or [] if gateway.version == version), None)


class VirtualNetwork(Model):
    """Routers and hosts that see each other, and nobody else on the same segments."""

    routers: dict[Name, Router] = Field(default_factory=dict)
    hosts: dict[Name, Host] = Field(default_factory=dict)


class Topology(Model):
    defaults: Defaults = Defaults()
    nodes: Annotated[dict[Name, Board], Field(min_length=1)]
    links: list[Link] = Field(default_factory=list)
    networks: dict[Name, VirtualNetwork] = Field(default_factory=dict)
    vnics: dict[Name, Vnic] = Field(default_factory=dict)
    port_groups: dict[Name, PortGroup] = Field(default_factory=dict, alias="port-groups")
    switches: dict[Name, Switch] = Field(default_factory=dict)
    wires: dict[Name, Wire] = Field(default_factory=dict)
    tunnels: dict[Name, Tunnel] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _place_vnics(self) -> "Topology":
        """A VNIC with ``vr`` is one of that router's interfaces, wherever interfaces are looked at."""
        routers = {full: router for full, _, _, router in self.routers()}
        for name, (_, vnic) in self.all_vnics().items():
            router = routers.get(vnic.vr or "")
            if router is not None and name not in router.interfaces:
                router.interfaces[name] = Interface.model_validate({"address": vnic.address, "vnic": vnic} | (
                    {} if vnic.mtu is None else {"mtu": vnic.mtu}))
        return self

    def all_vnics(self) -> dict[str, tuple[str, Vnic]]:
        """VNICs of ``vnics`` by name, each of those with a ``count``, and the key of their entry.

        An entry of its own name takes the place of one with a number.
        """
        found: dict[str, tuple[str, Vnic]] = {}
        for name, vnic in self.vnics.items():
            names = [name] if vnic.count is None else [f"{name}{index}" for index in range(vnic.count)]
            found |= {one: (name, vnic) for one in names if one == name or one not in self.vnics}
        return found

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
            if host.attach is not None and host.attach not in joined:
                joined.add(host.attach)
                found[host.attach.replace(":", "")] = [host.attach]
        return found

    def places(self, network: str) -> dict[tuple[str, int], tuple[str, int]]:
        """Where frames of a network go without a router: (endpoint, VLAN id) to one name for each such place.

        Segments, VLANs of each, and what bridges of the network join.
        """
        segment_of = self.segment_of()
        joined: dict[tuple[str, int], tuple[str, int]] = {}

        def find(place: tuple[str, int]) -> tuple[str, int]:
            while joined.get(place, place) != place:
                place = joined[place]
            return place

        places: dict[tuple[str, int], tuple[str, int]] = {}
        for _, its_network, node, router in self.routers():
            if its_network != network:
                continue
            first: tuple[str, int] | None = None
            for eth, interface in router.physical.items():
                endpoint, vlan = f"{node}:p{interface_port(eth)}", interface.vlan or 0
                place = places[endpoint, vlan] = (segment_of.get(endpoint, endpoint), vlan)
                if router.owns_segments:
                    joined[find(place)] = find(first or place)
                    first = first or place
        for _, its_network, host in self.hosts():
            if its_network == network and host.attach is not None:
                places[host.attach, 0] = (segment_of[host.attach], 0)
        return {where: find(place) for where, place in places.items()}

    def segment_of(self) -> dict[str, str]:
        """Segment of each endpoint that is on one."""
        return {endpoint: name for name, endpoints in self.segments().items() for endpoint in endpoints}


class TopologyFile(Model):
    """A network as written in a file."""

    name: Annotated[str, StringConstraints(pattern=NETWORK_NAME_PATTERN)]
    topology: Topology


def rates_of(config: CoreConfig) -> Rates:
    """What a board with these parameters makes of rates."""
    return Rates(config.clock_hz, policer_cycles(config), shaper_cycles(config), config.max_frame)


def interface_port(name: str) -> int:
    """Physical port of ``eth<k>``, ``p<k>`` or ``node:p<k>``."""
    return int(name[-1])
