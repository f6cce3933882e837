"""Models of link virtualization in a topology file: VNICs, port groups, virtual switches, wires and tunnels.

Properties of a VNIC are Crossbow's (``maxbw``, ``priority``), those of a port group VMware's.
"""

from ipaddress import IPv4Address
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from .topology_types import Addresses, Byte, Hyphened, LinkEnd, Mac, Mtu, Name, PortName, Rate, Vlan, VnicName, as_list

__all__ = ["Accept", "InterfaceVnic", "PortGroup", "Priority", "Switch", "Tunnel", "TunnelKind", "Uplink", "Vnic",
           "Wire", "WireTunnel"]

Accept = Literal["accept", "reject"]
Priority = Literal["low", "medium", "high"]
TunnelKind = Literal["gre", "vxlan"]
_Text = WithJsonSchema({"type": "string"})
Remotes = Annotated[list[Annotated[IPv4Address, _Text]], BeforeValidator(as_list), Field(min_length=1),
                    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})]


class Bandwidth(Hyphened):
    """What of a link a VNIC may have."""

    max_bw: Rate | None = Field(default=None, description="bits a second, in each direction")
    min_bw: Rate | None = Field(default=None, description="bits a second, of its switch's uplink")
    priority: Priority | None = Field(default=None, description="default: medium")


class PortGroup(Bandwidth):
    """What several VNICs have in common. What a VNIC says itself counts more."""

    vlan: Vlan | None = Field(default=None, description="of members that are on a physical port")
    forged_transmits: Accept = Field(default="reject", description="frames from another address than its own")
    mac_changes: Accept = Field(default="reject", description="frames to another address that its user has set")
    promiscuous: Accept = Field(default="reject", description="all frames of its switch")
    macs: list[Mac] = Field(default_factory=list, description="addresses besides its own that it may send from")
    mirror: bool = Field(default=False, description="a copy of each frame for 'capture --hardware'")


class InterfaceVnic(Bandwidth):
    """A VNIC that is an interface of the virtual router in which it is written."""

    port: PortName | None = Field(default=None, description="physical port; VNICs of one and a VLAN share a switch")
    switch: Name | None = Field(default=None, description="virtual switch; neither: the end of a wire or a tunnel")
    vlan: Vlan | None = Field(default=None, description="with port: its frames are tagged there")
    mac: Literal["auto"] | Mac = "auto"
    group: Name | None = Field(default=None, description="port group")
    lane: Literal["hw", "sw", "auto"] = Field(
        default="auto", description="in the data plane or in this machine; auto: as long as there is room, in the "
        "data plane")


class Vnic(InterfaceVnic):
    """A virtual network interface."""

    node: Name | None = Field(default=None, description="default: that of its switch or virtual router")
    vr: Name | None = Field(default=None, description="virtual router that it is an interface of, as in red-left; "
                            "default: an interface in a namespace of its own")
    address: Addresses | None = None
    mtu: Mtu | None = Field(default=None, description="default: 1500, or what fits into its tunnel")
    count: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="so many of them; their names end in a number, from 0 on")


class Uplink(Hyphened):
    """A physical port of a virtual switch."""

    port: PortName
    vlan: Vlan | None = None


def _as_uplink(value: Any) -> Any:
    return {"port": value} if isinstance(value, str) else value


class Switch(Hyphened):
    """A virtual switch; without uplinks an etherstub."""

    node: Name
    uplinks: list[Annotated[Uplink, BeforeValidator(_as_uplink), WithJsonSchema({"type": ["string", "object"]})]] = (
        Field(default_factory=list, description="p1, or {port: p1, vlan: 5}"))
    mac_rows: Annotated[int, Field(ge=4)] | None = Field(
        default=None, alias="mac-rows", description="room for MAC addresses, a power of two")


class WireTunnel(Hyphened):
    """What carries a wire from one node to another."""

    kind: TunnelKind
    key: Annotated[int, Field(ge=0, le=0xFFFFFFFF)]
    underlay: Annotated[list[Name], Field(min_length=2, max_length=2, description="virtual routers, one on each node")]
    tos: Byte = 0
    ttl: Annotated[int, Field(ge=1, le=254)] = 64


class Wire(Hyphened):
    """A point-to-point link between two VNICs."""

    endpoints: Annotated[list[LinkEnd], Field(min_length=2, max_length=2)]
    vlan: Vlan | None = Field(default=None, description="over two nodes: of the cable between them")
    tunnel: WireTunnel | None = Field(default=None, description="over two nodes: through an IP network")


class Tunnel(Hyphened):
    """Ethernet in IP, from a virtual switch or a VNIC to other nodes."""

    node: Name
    kind: TunnelKind
    key: Annotated[int, Field(ge=0, le=0xFFFFFFFF)] = Field(description="of GRE, or VNI of VXLAN")
    underlay: Name = Field(description="virtual router that routes its packets, as in red-left")
    local: Annotated[IPv4Address, _Text] | None = Field(default=None, description="default: the underlay's address "
                                                        "nearest to the other end")
    remote: Remotes = Field(description="addresses of the other ends; several only of a switch")
    tos: Byte = Field(default=0, description="of its packets")
    ttl: Annotated[int, Field(ge=1, le=254)] = 64
    switch: Name | None = None
    vnic: VnicName | None = None
