"""Types of values of a topology file, and what its models have in common."""

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_interface,
)
from typing import Annotated, Any

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
from .tables.rates import LEAST_RATE, LINE_RATE
from .topology_values import parse_ethertype, parse_protocol, parse_rate, parse_seconds

__all__ = ["ENDPOINT_PATTERN", "IMAGE_PATTERN", "INTERFACE_PATTERN", "LINK_END_PATTERN", "MAC_PATTERN", "NAME_PATTERN",
           "NETWORK_NAME_PATTERN", "PORT_PATTERN", "VNIC_NAME_PATTERN", "Addresses", "AnyInterface", "Byte", "Cpus",
           "Endpoint", "Ethertype", "Gateways", "HostAddress", "Hyphened", "ImageName", "InterfaceName", "L4Port",
           "LinkEnd", "Mac", "Memory", "Model", "Mtu", "Name", "PortName", "Protocol", "Rate", "Seconds", "Size",
           "Vlan", "VnicName", "as_list"]


def as_list(value: Any) -> Any:
    """A single value as a list of one."""
    return value if isinstance(value, list | tuple) else [value]


#: An address of either family with its prefix length.
AnyInterface = IPv4Interface | IPv6Interface


def _interface(value: Any) -> AnyInterface:
    if isinstance(value, AnyInterface):
        return value
    try:
        # Without a length it would be taken as one of all bits, which is hardly ever meant.
        if not isinstance(value, str) or "/" not in value or "%" in value:
            raise ValueError
        return ip_interface(value)
    except ValueError:
        raise ValueError("an IPv4 or IPv6 address with its prefix length, as in 192.0.2.1/24 or 2001:db8::1/64"
                         ) from None


def _host_address(value: AnyInterface) -> AnyInterface:
    length = value.network.prefixlen
    if isinstance(value, IPv6Interface):
        if (value.is_unspecified or value.is_loopback or value.is_multicast or value.is_link_local
                or value.ipv4_mapped is not None):
            raise ValueError("an address that an interface can have, not one of ::, ::1, ff00::/8, fe80::/10 (each "
                             "interface has one of those by itself) or ::ffff:0:0/96")
        if length < 127 and value.ip == value.network.network_address:
            raise ValueError("an address that is not the subnet's anycast address of routers")     # RFC 4291, 2.6.1
        return value
    if value.ip.packed[0] in (0, 127) or value.is_multicast or value.is_reserved:
        raise ValueError("an address that an interface can have, not one of 0/8, 127/8, 224/4 or 240/4")
    if length < 31 and value.ip in (value.network.network_address, value.network.broadcast_address):
        raise ValueError("an address that is neither the network's nor the broadcast address")
    return value


NAME_PATTERN = r"^[a-z]([a-z0-9-]{0,29}[a-z0-9])?$"
NETWORK_NAME_PATTERN = r"^[a-z]([a-z0-9-]{0,19}[a-z0-9])?$"
ENDPOINT_PATTERN = r"^[a-z]([a-z0-9-]{0,29}[a-z0-9])?:p[0-7]$"
#: eth0 to eth7 are physical ports, other names VNICs.
INTERFACE_PATTERN = r"^[a-z][a-z0-9-]{0,14}$"
PORT_PATTERN = r"^p[0-7]$"
#: A VNIC that is written in a virtual router has its name and the interface's.
VNIC_NAME_PATTERN = r"^[a-z][a-z0-9-]{0,62}(\.[a-z][a-z0-9-]{0,14})?$"
LINK_END_PATTERN = r"^[a-z][a-z0-9-]{0,62}([.:][a-z][a-z0-9-]{0,14})?$"

IMAGE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
MAC_PATTERN = r"^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
InterfaceName = Annotated[str, StringConstraints(pattern=INTERFACE_PATTERN)]
PortName = Annotated[str, StringConstraints(pattern=PORT_PATTERN)]
VnicName = Annotated[str, StringConstraints(pattern=VNIC_NAME_PATTERN)]
LinkEnd = Annotated[str, StringConstraints(pattern=LINK_END_PATTERN)]
Endpoint = Annotated[str, StringConstraints(pattern=ENDPOINT_PATTERN)]
Memory = Annotated[int, BeforeValidator(parse_size), Field(ge=16 << 20),
                   WithJsonSchema({"type": ["integer", "string"]})]
Cpus = Annotated[float, BeforeValidator(parse_cpus), Field(ge=0.01, le=1024),
                 WithJsonSchema({"type": ["number", "string"]})]
HostAddress = Annotated[AnyInterface, BeforeValidator(_interface), AfterValidator(_host_address),
                        WithJsonSchema({"type": "string"})]
ImageName = Annotated[str, StringConstraints(pattern=IMAGE_PATTERN)]
Addresses = Annotated[list[HostAddress], BeforeValidator(as_list), Field(min_length=1),
                      WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})]
Gateways = Annotated[list[Annotated[IPv4Address | IPv6Address, WithJsonSchema({"type": "string"})]],
                     BeforeValidator(as_list), Field(min_length=1, max_length=2),
                     WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})]
Mtu = Annotated[int, Field(ge=576, le=9000)]
_NUMBER_OR_NAME = WithJsonSchema({"type": ["integer", "string"]})
Rate = Annotated[int, BeforeValidator(parse_rate), Field(ge=LEAST_RATE, le=LINE_RATE), _NUMBER_OR_NAME]
Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0, le=1 << 24), _NUMBER_OR_NAME]
Seconds = Annotated[float, BeforeValidator(parse_seconds), Field(ge=0, le=1_000_000), _NUMBER_OR_NAME]
Ethertype = Annotated[int, BeforeValidator(parse_ethertype), Field(ge=0, le=0xFFFF), _NUMBER_OR_NAME]
Protocol = Annotated[int, BeforeValidator(parse_protocol), Field(ge=0, le=255), _NUMBER_OR_NAME]
Mac = Annotated[str, StringConstraints(pattern=MAC_PATTERN, to_lower=True)]
Vlan = Annotated[int, Field(ge=1, le=4094)]
Byte = Annotated[int, Field(ge=0, le=255)]
L4Port = Annotated[int, Field(ge=0, le=65535)]


class Model(BaseModel):
    """A mapping of a topology file: other keys are mistakes."""

    model_config = ConfigDict(extra="forbid")


class Hyphened(Model):
    """Keys of more than one word are written with a hyphen."""

    model_config = ConfigDict(extra="forbid", alias_generator=lambda name: name.replace("_", "-"))
