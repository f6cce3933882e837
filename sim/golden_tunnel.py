"""Tunnel headers of the golden model: "Tunnel headers" of ``docs/dataplane.md``."""

from typing import NamedTuple

from polyrouter.hdl.layouts import TunnelKind

from .golden_packet import (
    ETHERNET_BYTES,
    ETHERTYPE_IPV4,
    GRE,
    IPV4_BYTES,
    UDP,
    VXLAN_PORT,
    checksum_words,
)
from .golden_rows import Tunnel

__all__ = ["Inner", "decapsulated", "encapsulated"]

#: Transparent Ethernet bridging (RFC 1701's protocol types).
ETHERTYPE_TEB = 0x6558
GRE_BYTES = 8
GRE_KEY_PRESENT = 0x2000
#: The first six flags of GRE and its version, of which nothing else may be set.
GRE_CHECKED = 0xFC07
UDP_BYTES = 8
VXLAN_BYTES = 8
VXLAN_HAS_VNI = 0x08
#: Dynamic ports (RFC 6335), of which VXLAN's source port is one.
DYNAMIC_PORTS = 49152
DONT_FRAGMENT = 0x4000
#: More fragments, and the offset.
FRAGMENTED = 0x3FFF


class Inner(NamedTuple):
    """A frame out of a tunnel, and what the outer headers said."""

    kind: TunnelKind
    key: int
    remote: int
    octets: bytes


def encapsulated(octets: bytes, tunnel: Tunnel, flow_hash: int) -> bytes:
    """The packet of a tunnel, in a frame, that carries a frame."""
    if tunnel.kind == TunnelKind.GRE:
        protocol = GRE
        payload = b"".join((GRE_KEY_PRESENT.to_bytes(2, "big"), ETHERTYPE_TEB.to_bytes(2, "big"),
                            tunnel.key.to_bytes(4, "big"), octets))
    else:
        protocol = UDP
        ports = (DYNAMIC_PORTS + (flow_hash & 0x3FFF)).to_bytes(2, "big") + VXLAN_PORT.to_bytes(2, "big")
        length = UDP_BYTES + VXLAN_BYTES + len(octets)
        payload = b"".join((ports, length.to_bytes(2, "big"), bytes(2), bytes((VXLAN_HAS_VNI, 0, 0, 0)),
                            (tunnel.key & 0xFFFFFF).to_bytes(3, "big"), bytes(1), octets))
    header = b"".join((bytes((0x45, tunnel.tos)), (IPV4_BYTES + len(payload)).to_bytes(2, "big"), bytes(2),
                       DONT_FRAGMENT.to_bytes(2, "big"), bytes((tunnel.ttl, protocol)), bytes(2),
                       tunnel.source.to_bytes(4, "big"), tunnel.destination.to_bytes(4, "big")))
    checksum = ~checksum_words(header) & 0xFFFF
    return b"".join((bytes(12), ETHERTYPE_IPV4.to_bytes(2, "big"), header[:10], checksum.to_bytes(2, "big"),
                     header[12:], payload))


def decapsulated(octets: bytes) -> Inner | None:
    """What is in a tunnel's packet; None if the outer headers are not good."""
    ip = octets[ETHERNET_BYTES:]
    if octets[12:14] != ETHERTYPE_IPV4.to_bytes(2, "big") or len(ip) < IPV4_BYTES or ip[0] != 0x45:
        return None
    total_length = int.from_bytes(ip[2:4], "big")
    if total_length > len(ip) or int.from_bytes(ip[6:8], "big") & FRAGMENTED:
        return None
    remote, payload = int.from_bytes(ip[12:16], "big"), ip[IPV4_BYTES:total_length]
    inner = {GRE: _gre, UDP: _vxlan}.get(ip[9], _other)(payload, remote)
    return inner if inner is not None and len(inner.octets) >= ETHERNET_BYTES else None


def _gre(payload: bytes, remote: int) -> Inner | None:
    flags, protocol = int.from_bytes(payload[0:2], "big"), int.from_bytes(payload[2:4], "big")
    if flags & GRE_CHECKED != GRE_KEY_PRESENT or protocol != ETHERTYPE_TEB:
        return None
    return Inner(TunnelKind.GRE, int.from_bytes(payload[4:GRE_BYTES], "big"), remote, payload[GRE_BYTES:])


def _vxlan(payload: bytes, remote: int) -> Inner | None:
    vxlan = payload[UDP_BYTES:]
    if int.from_bytes(payload[2:4], "big") != VXLAN_PORT or not vxlan[:1] or not vxlan[0] & VXLAN_HAS_VNI:
        return None
    return Inner(TunnelKind.VXLAN, int.from_bytes(vxlan[4:7], "big"), remote, vxlan[VXLAN_BYTES:])


def _other(payload: bytes, remote: int) -> Inner | None:
    return None
