"""The topology file: what a network should be.

The format keeps to containerlab's conventions (``name``, ``topology`` with ``defaults``, ``nodes`` and ``links`` with
``endpoints``). ``topology.nodes`` are the data planes, ``topology.links`` the cables between their ports, and
``topology.networks`` the virtual networks on top: the virtual routers of each, and its hosts. A network that is like
another is written as a YAML alias (``blue: *red``), or merges it and changes a part (``<<: *red``).

Everything that is wrong with a file is reported at once, each problem with its line, what was found and what is
expected.
"""

import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from polyrouter.hdl.config import ConfigError, CoreConfig
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from .runtime.limits import format_size, parse_cpus, parse_size

__all__ = ["Bgp", "Board", "Endpoint", "Host", "Interface", "Limits", "Link", "Ospf", "Problem", "Router",
           "StaticRoute", "Topology", "TopologyError", "TopologyFile", "VirtualNetwork", "interface_port",
           "load", "parse"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a topology file."""

    line: int
    where: str
    found: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}found {self.found}; expected {self.expected}"


class TopologyError(Exception):
    """A topology file that can't be used; ``problems`` has everything that is wrong with it."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = sorted(problems, key=lambda problem: problem.line)
        super().__init__("\n".join(f"{file}:{problem.line}: {problem}" for problem in self.problems))


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


_NAME = r"^[a-z]([a-z0-9-]{0,29}[a-z0-9])?$"
_NETWORK_NAME = r"^[a-z]([a-z0-9-]{0,19}[a-z0-9])?$"
_ENDPOINT = r"^[a-z]([a-z0-9-]{0,29}[a-z0-9])?:p[0-7]$"

_IMAGE = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"

Name = Annotated[str, StringConstraints(pattern=_NAME)]
EthName = Annotated[str, StringConstraints(pattern=r"^eth[0-7]$")]
Endpoint = Annotated[str, StringConstraints(pattern=_ENDPOINT)]
Memory = Annotated[int, BeforeValidator(parse_size), Field(ge=16 << 20),
                   WithJsonSchema({"type": ["integer", "string"]})]
Cpus = Annotated[float, BeforeValidator(parse_cpus), Field(ge=0.01, le=1024),
                 WithJsonSchema({"type": ["number", "string"]})]
HostAddress = Annotated[IPv4Interface, BeforeValidator(_with_length), AfterValidator(_host_address),
                        WithJsonSchema({"type": "string"})]
ImageName = Annotated[str, StringConstraints(pattern=_IMAGE)]
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

    name: Annotated[str, StringConstraints(pattern=_NETWORK_NAME)]
    topology: Topology


def interface_port(name: str) -> int:
    """Physical port of ``eth<k>``, ``p<k>`` or ``node:p<k>``."""
    return int(name[-1])


Location = tuple[str | int, ...]


class _Document:
    """A YAML file as plain data, with the line of each value."""

    def __init__(self, text: str) -> None:
        self._tree = YAML(typ="rt").load(text)
        self.data = self._plain(self._tree)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, CommentedMap):
            return {key: self._plain(item) for key, item in value.items()}
        if isinstance(value, CommentedSeq):
            return [self._plain(item) for item in value]
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, TaggedScalar):
            return value.value
        for kind in (str, int, float):      # ruamel's scalars remember how they were written
            if isinstance(value, kind):
                return kind(value)
        return value

    def line(self, location: Location) -> int:
        """Line of a value, or of the nearest enclosing one that the file has."""
        node, line = self._tree, 1
        for step in location:
            if isinstance(node, CommentedMap) and step in node:
                position = (node.lc.data or {}).get(step)       # none if it was merged in
                node = node[step]
            elif isinstance(node, CommentedSeq) and isinstance(step, int) and step < len(node):
                position = (node.lc.data or {}).get(step)
                node = node[step]
            else:
                break
            line = position[0] + 1 if position else line
        return line


def _models(annotation: Any) -> Iterator[Any]:
    """The annotation and what it consists of, without Annotated and unions."""
    if get_origin(annotation) is Annotated:
        yield from _models(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _models(part)
    else:
        yield annotation


def _keys_at(location: Location) -> list[str]:
    """Keys that the mapping at a location may have."""
    kinds: list[Any] = [TopologyFile]
    for step in location:
        following: list[Any] = []
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                field = kind.model_fields.get(str(step))
                if field is not None:
                    following += _models(field.annotation)
            elif get_origin(kind) in (dict, list):
                following += _models(get_args(kind)[-1])
        kinds = following
    models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return [key for model in models for key in model.model_fields]


_PATTERNS = {
    _NAME: "a name of at most 31 lower-case letters, digits and hyphens, a letter first, no hyphen last",
    _NETWORK_NAME: "a name of at most 21 lower-case letters, digits and hyphens, a letter first, no hyphen last",
    r"^eth[0-7]$": "eth0 to eth7",
    _ENDPOINT: "NODE:pK, as in left:p0",
    _IMAGE: "a name of at most 64 letters, digits, hyphens and underscores",
}


def _show(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return repr(value) if isinstance(value, str | int | float) else f"'{value}'"


def _path(location: Location) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _translate(document: _Document, error: Any) -> Problem:
    """A problem as pydantic reports it, in this module's words."""
    location: Location = tuple(step for step in error["loc"] if step != "[key]")
    kind, context = error["type"], error.get("ctx", {})
    # Steps that pydantic adds for the arms of a union are not in the file.
    real: list[str | int] = []
    node = document.data
    for step in location:
        inside = (isinstance(node, dict) and step in node) or (isinstance(node, list) and isinstance(step, int)
                                                               and step < len(node))
        if not inside:
            break
        real.append(step)
        node = node[step]
    where = tuple(real)
    found = _show(error["input"])
    if kind == "missing":
        return Problem(document.line(where), _path(where), f"no key '{location[-1]}'", "it to be there")
    if kind == "extra_forbidden":
        keys = ", ".join(_keys_at(location[:-1]))
        return Problem(document.line(where), _path(where), f"an unknown key '{location[-1]}'", f"one of {keys}")
    if kind == "string_pattern_mismatch":
        expected = _PATTERNS[context["pattern"]]
    elif kind in ("model_type", "dict_type", "model_attributes_type"):
        expected = "a mapping"
    elif kind == "list_type":
        expected = "a list"
    elif kind == "value_error":
        expected = str(context["error"]).rpartition("expected ")[2]
    elif kind == "too_short":
        expected = f"at least {context['min_length']} entry"
    elif kind.startswith("ip_v4_interface"):
        expected = "an IPv4 address with its prefix length, as in 192.0.2.1/24"
    elif kind.startswith("ip_v4_network"):
        expected = "an IPv4 prefix without host bits, as in 192.0.2.0/24"
    elif kind.startswith("ip_v4_address"):
        expected = "an IPv4 address"
    elif kind == "greater_than_equal" and where[-1:] == ("memory",):
        expected = f"at least {format_size(context['ge'])}"
    elif kind in ("int_type", "int_parsing", "int_from_float"):
        expected = "a whole number"
    else:
        expected = error["msg"].removeprefix("Input should be ").replace("a valid", "a")
    if not expected:
        expected = "something else"
    return Problem(document.line(where), _path(where), found, expected)


class _Checker:
    """What the models can't say: that names refer to something, that things fit together and are there once."""

    def __init__(self, document: _Document, topology: Topology) -> None:
        self.document = document
        self.topology = topology
        self.problems: list[Problem] = []

    def add(self, location: Location, found: str, expected: str) -> None:
        self.problems.append(Problem(self.document.line(location), _path(location), found, expected))

    def check(self) -> list[Problem]:
        self._boards()
        self._links()
        self._routers()
        self._hosts()
        self._names()
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

    def _boards(self) -> None:
        for name, board in self.topology.nodes.items():
            where = ("topology", "nodes", name)
            try:
                config = board.config()
            except ConfigError as error:
                self.add((*where, "core"), str(error), "parameters that a core can be built with")
                continue
            routers = [entry for entry in self.topology.routers() if entry[2] == name]
            if len(routers) > config.routers:
                self.add(where, f"{len(routers)} routers on a node that has room for {config.routers}",
                         f"fewer routers, or core.routers to be {len(routers)}")
                continue
            for what, total in (("fib_words", config.fib_words), ("adjacencies", config.adjacencies)):
                wanted = sum(getattr(entry[3], what) or total // config.routers for entry in routers)
                if wanted > total:
                    self.add(where, f"{wanted} {what} asked for by the node's routers",
                             f"at most {total}, or core.{what} to be larger")

    def _links(self) -> None:
        owner: dict[str, int] = {}
        names: dict[str, int] = {}
        for index, link in enumerate(self.topology.links):
            if link.name is not None and names.setdefault(link.name, index) != index:
                self.add(("topology", "links", index, "name"), repr(link.name), "a name that no other link has")
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
                for eth, interface in router.interfaces.items():
                    if interface_port(eth) >= board.ports:
                        self.add((*where, "interfaces", eth), repr(eth),
                                 f"a port of {node}, eth0 to eth{board.ports - 1}")
                    longest = (board.core.max_frame or CoreConfig().max_frame) - 18
                    if interface.mtu > longest:
                        self.add((*where, "interfaces", eth, "mtu"), str(interface.mtu),
                                 f"at most {longest}, or core.max_frame of {node} to be larger")
                self._subnets(router, where)
                self._protocols(router, where)

    def _subnets(self, router: Router, where: Location) -> None:
        seen: list[tuple[IPv4Network, str]] = []
        for name, interface in router.interfaces.items():
            for address in interface.address:
                for network, other in seen:
                    if other != name and network.overlaps(address.network):
                        self.add((*where, "interfaces", name, "address"),
                                 f"{address}, which overlaps {other}'s {network}",
                                 "a subnet of its own on each interface")
                seen.append((address.network, name))

    def _protocols(self, router: Router, where: Location) -> None:
        connected = [address.network for interface in router.interfaces.values() for address in interface.address]
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
            if isinstance(route.via, IPv4Address) and not any(route.via in network for network in connected):
                self.add((*where, "static", index, "via"), str(route.via), "an address in a subnet of an interface")

    def _hosts(self) -> None:
        for network_name, network in self.topology.networks.items():
            for name, host in network.hosts.items():
                where: Location = ("topology", "networks", network_name, "hosts", name)
                self._endpoint(host.attach, (*where, "attach"))
                if host.gateway is not None and host.gateway not in host.address.network:
                    self.add((*where, "gateway"), str(host.gateway), f"an address in {host.address.network}")

    def _members(self) -> None:
        """Addresses of a network: each there once, each subnet on one segment."""
        segment_of = self.topology.segment_of()
        for network_name, network in self.topology.networks.items():
            # (address, segment, location) of each interface of a router
            interfaces: list[tuple[IPv4Interface, str, Location]] = []
            for name, router in network.routers.items():
                for eth, interface in router.interfaces.items():
                    endpoint = f"{router.node or name}:p{interface_port(eth)}"
                    where: Location = ("topology", "networks", network_name, "routers", name, "interfaces", eth,
                                       "address")
                    for address in interface.address:
                        segment = segment_of.get(endpoint, endpoint)
                        self._against_others(address, segment, where, interfaces)
                        interfaces.append((address, segment, where))
            taken = {address.ip: where[:-1] for address, _, where in interfaces}
            for name, host in network.hosts.items():
                where = ("topology", "networks", network_name, "hosts", name)
                here = [address for address, segment, _ in interfaces if segment == segment_of[host.attach]]
                self._host_on_segment(host, network_name, where, here)
                if host.address.ip in taken:
                    self.add((*where, "address"), f"{host.address}, which is the address of "
                             f"{_path(taken[host.address.ip][3:])} too", "an address of its own")
                taken.setdefault(host.address.ip, where)
            for name, host in network.hosts.items():
                if (host.gateway is not None and host.gateway in host.address.network
                        and (host.gateway not in taken or host.gateway == host.address.ip)):
                    self.add(("topology", "networks", network_name, "hosts", name, "gateway"), str(host.gateway),
                             f"an address of one of the routers of {network_name}")

    def _against_others(self, address: IPv4Interface, segment: str, where: Location,
                        others: list[tuple[IPv4Interface, str, Location]]) -> None:
        for other, other_segment, other_where in others:
            if other_where[4] == where[4] or not other.network.overlaps(address.network):
                continue        # what one router has is compared where its interfaces are looked at
            place = _path(other_where[3:-1])
            if other.ip == address.ip:
                self.add(where, f"{address}, which is the address of {place} too", "an address of its own")
            elif segment != other_segment:
                self.add(where, f"{address}, which overlaps {other.network} of {place} on another segment",
                         "each subnet of a network on one segment")
            elif other.network != address.network:
                self.add(where, f"{address} on the segment of {place}, which has {other}", "the same prefix length")
            else:
                continue
            return

    def _host_on_segment(self, host: Host, network: str, where: Location, here: list[IPv4Interface]) -> None:
        if not here:
            self.add((*where, "attach"), repr(host.attach), f"a port on whose segment there is a router of {network}")
        elif host.address.network not in {address.network for address in here}:
            subnets = ", ".join(str(subnet) for subnet in dict.fromkeys(address.network for address in here))
            self.add((*where, "address"), str(host.address), f"an address in the segment's subnet, {subnets}")

    def _names(self) -> None:
        seen: dict[str, str] = {}
        for network_name, network in self.topology.networks.items():
            for section, members in (("routers", network.routers), ("hosts", network.hosts)):
                for name in members:
                    full = f"{network_name}-{name}"
                    where = ("topology", "networks", network_name, section, name)
                    if full in seen:
                        self.add(where, f"'{full}', which is the name of {seen[full]} too", "names that differ")
                    seen.setdefault(full, _path(where))


def _not_yaml(error: YAMLError, text: str) -> Problem:
    """A problem as the YAML parser reports it."""
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, int(error.position)) + 1
        return Problem(line, "", f"the character U+{int(error.character):04X}", "text")
    if not isinstance(error, MarkedYAMLError):
        return Problem(1, "", " ".join(str(error).split()), "YAML")
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    what = " ".join((error.problem or "something else").split())
    if isinstance(error, DuplicateKeyError):
        key = re.match(r'found duplicate key "(.*?)"', what)
        return Problem(line, "", f"the key {key[1]!r} twice" if key else what, "each key of a mapping once")
    both = re.fullmatch(r"(?:expected (.*?),? )?but (?:got|found) (.*)", what)
    if both:
        return Problem(line, "", both[2], both[1] or "YAML")
    return Problem(line, "", what.removeprefix("found "), "YAML")


def _merged(problems: list[Problem]) -> list[Problem]:
    """Problems with the same value, one for each kind of thing it could have been, as one."""
    expected: dict[tuple[int, str, str], list[str]] = {}
    for problem in problems:
        said = expected.setdefault((problem.line, problem.where, problem.found), [])
        if problem.expected not in said:
            said.append(problem.expected)
    return [Problem(*key, " or ".join(said)) for key, said in expected.items()]


def parse(text: str, file: str = "<text>") -> TopologyFile:
    """Read a topology.

    Raises
    ------
    TopologyError
        If anything is wrong with it.
    """
    try:
        document = _Document(text)
    except YAMLError as error:
        raise TopologyError(file, [_not_yaml(error, text)]) from None
    except RecursionError:
        raise TopologyError(file, [Problem(1, "", "brackets in brackets without end", "YAML")]) from None
    if not isinstance(document.data, dict):
        raise TopologyError(file, [Problem(1, "", _show(document.data), "a mapping with the keys name and topology")])
    try:
        model = TopologyFile.model_validate(document.data)
    except ValidationError as error:
        problems = [_translate(document, entry) for entry in error.errors(include_url=False)]
        raise TopologyError(file, _merged(problems)) from None
    problems = _Checker(document, model.topology).check()
    if problems:
        raise TopologyError(file, list(dict.fromkeys(problems)))
    return model


def load(path: Path) -> TopologyFile:
    """Read a topology file.

    Raises
    ------
    TopologyError
        If it can't be read, or anything is wrong with it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "bytes that are not UTF-8"
        raise TopologyError(str(path), [Problem(1, "", str(reason), "a readable topology file")]) from None
    return parse(text, str(path))
