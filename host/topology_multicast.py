"""Multicast in a topology file: routes that the hardware has without a protocol, and PIM."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from .tables.adjacency import Target
from .tables.groups import GROUP_WORDS, MulticastKey, multicast, without_room
from .topology_document import Location
from .topology_types import AnyInterface, Hyphened, InterfaceName, Model, as_list

__all__ = ["MulticastRoute", "MulticastRoutes", "Pim", "PimOrTrue", "check_multicast"]

_Address = IPv4Address | IPv6Address
#: Not forwarded by any router (RFC 5771, 4).
_LOCAL_GROUPS = IPv4Network("224.0.0.0/24")
#: Scopes of IPv6 groups that a router may forward (RFC 4291, 2.7) are above this.
_LINK_SCOPE = 2


def _group(value: _Address) -> _Address:
    if isinstance(value, IPv4Address):
        good = value.is_multicast and value not in _LOCAL_GROUPS
    else:
        good = value.is_multicast and value.packed[1] & 0xF > _LINK_SCOPE
    if not good:
        raise ValueError("a multicast group that routers forward, of 224.0.0.0/4 without 224.0.0.0/24, or of ff00::/8 "
                         "with a scope above 2")
    return value


def _unicast(value: _Address) -> _Address:
    if (value.is_multicast or value.is_unspecified or value.is_loopback or value.is_link_local
            or (isinstance(value, IPv4Address) and value.is_reserved)):
        raise ValueError("a host's address that routers forward packets of")
    return value


_TEXT = WithJsonSchema({"type": "string"})
Group = Annotated[_Address, AfterValidator(_group), _TEXT]
Unicast = Annotated[_Address, AfterValidator(_unicast), _TEXT]
Rps = Annotated[list[Unicast], BeforeValidator(as_list), Field(max_length=2),
                WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})]


class MulticastRoute(Model):
    """Where packets of a group go. The container's kernel knows nothing of it."""

    group: Group
    source: Unicast | None = Field(None, description="default: all that have no route of their own")
    ingress: InterfaceName = Field(alias="from", description="what comes in elsewhere is dropped")
    egress: Annotated[list[InterfaceName], BeforeValidator(as_list)] = Field(
        default_factory=list, alias="to", json_schema_extra={"type": ["array", "string"]})
    host: bool = Field(False, description="the container gets a copy")

    @property
    def key(self) -> MulticastKey:
        """What it is for."""
        return MulticastKey.of(int(self.group), None if self.source is None else int(self.source),
                               self.group.version == 6)


class Pim(Hyphened):
    """PIM sparse mode (RFC 7761) on all interfaces, with IGMP or MLD for hosts."""

    rp: Rps = Field(default_factory=list, description="rendezvous point, one of each of IPv4 and IPv6 at most; "
                    "default: source-specific multicast only, 232.0.0.0/8 and ff3x::/32")
    hello: Annotated[int, Field(ge=1, le=180)] = 30


def _as_routes(value: Any) -> Any:
    return {True: [], False: None}.get(value, value) if isinstance(value, bool) else value


def _as_pim(value: Any) -> Any:
    return {True: {}, False: None}.get(value, value) if isinstance(value, bool) else value


def _or_true(schema: dict[str, Any]) -> None:
    schema.setdefault("anyOf", []).append({"type": "boolean"})


MulticastRoutes = Annotated[list[MulticastRoute] | None, BeforeValidator(_as_routes), Field(
    json_schema_extra=_or_true)]
PimOrTrue = Annotated[Pim | None, BeforeValidator(_as_pim), Field(json_schema_extra=_or_true)]


def check_multicast(routes: Sequence[MulticastRoute], pim: Pim | None, interfaces: Mapping[str, list[AnyInterface]],
                    fib_words: int, adjacencies: int) -> Iterable[tuple[Location, str, str]]:
    """What is wrong with a router's multicast: where, what was found, what was expected.

    Parameters
    ----------
    routes, pim : sequence of MulticastRoute, Pim or None
        What the file says.
    interfaces : mapping of str to list
        Addresses of the router's interfaces.
    fib_words, adjacencies : int
        Its share of the node's tables.
    """
    if fib_words < adjacencies + GROUP_WORDS:
        yield ((), f"{fib_words} fib_words and {adjacencies} adjacencies of a router with multicast",
               f"at least {GROUP_WORDS} words more than adjacencies")
        return
    names = f"one of the router's interfaces {', '.join(interfaces)}"
    seen: dict[MulticastKey, int] = {}
    wanted: dict[MulticastKey, Target] = {}
    for index, route in enumerate(routes):
        where = ("multicast", index)
        if route.source is not None and route.source.version != route.group.version:
            yield (*where, "source"), str(route.source), f"an IPv{route.group.version} address, as the group is"
            continue
        if seen.setdefault(route.key, index) != index:
            yield where, f"{route.key}, which is multicast[{seen[route.key]}] too", "one route for each of these"
        if route.ingress not in interfaces:
            yield (*where, "from"), repr(route.ingress), names
        elif route.source is not None:
            near = next((name for name, addresses in interfaces.items() for address in addresses
                         if route.source in address.network), route.ingress)
            if near != route.ingress:
                yield (*where, "from"), repr(route.ingress), f"{near}, whose subnet has the source {route.source}"
        for position, name in enumerate(route.egress):
            if name not in interfaces:
                yield (*where, "to", position), repr(name), names
            elif name == route.ingress:
                yield (*where, "to", position), repr(name), "another interface than its packets come from"
        if not route.egress and not route.host:
            yield where, "neither a key 'to' nor 'host: true'", "one of them"
        # Only that they differ counts here: the number of a VNIC's circuit is not known yet.
        numbers = {name: index for index, name in enumerate(interfaces)}
        wanted[route.key] = multicast(numbers.get(route.ingress, 0), sorted({numbers[name] for name in route.egress
                                                                             if name in numbers}), host=route.host)
    if problem := without_room(fib_words, adjacencies, wanted):
        yield ("multicast",), f"{len(routes)} routes, of which {problem} do not fit", (
            "fewer, or fib_words or adjacencies of the router to be more")
    if pim is not None:
        versions = [address.version for address in pim.rp]
        if len(versions) > len(set(versions)):
            yield ("pim", "rp"), f"two IPv{versions[0]} addresses", "one of each of IPv4 and IPv6"
