"""What both ends of a tunnel share: its kinds, and what its outer header says."""

from collections.abc import Mapping
from enum import IntEnum

from amaranth.hdl import Mux, Value, ValueLike
from amaranth.lib import data

from .headers import ETHERNET_BYTES, GRE_BYTES, IPV4_BYTES, UDP_BYTES, VXLAN_BYTES

__all__ = ["OUTER_BYTES", "TUNNEL", "TunnelKind", "by_kind"]


class TunnelKind(IntEnum):
    """How Ethernet frames are carried in IPv4."""

    GRE = 0                 # RFC 2784 with the key of RFC 2890
    VXLAN = 1               # RFC 7348


#: Bytes in front of the inner frame.
OUTER_BYTES = {
    TunnelKind.GRE: ETHERNET_BYTES + IPV4_BYTES + GRE_BYTES,
    TunnelKind.VXLAN: ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES + VXLAN_BYTES,
}

#: What the outer header of a frame says.
TUNNEL = data.StructLayout({
    "kind": 1,              # TunnelKind
    "key": 32,              # virtual network: the key of GRE; of VXLAN the VNI, 24 bits
    "source": 32,           # IPv4 addresses of the tunnel's ends
    "destination": 32,
    "tos": 8,               # DSCP and ECN
    "ttl": 8,
})


def by_kind(vxlan: ValueLike, values: Mapping[TunnelKind, ValueLike]) -> Value:
    """The value that belongs to the kind of tunnel."""
    return Mux(vxlan, values[TunnelKind.VXLAN], values[TunnelKind.GRE])
