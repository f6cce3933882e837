"""What both ends of a tunnel share."""

from collections.abc import Mapping

from amaranth.hdl import Mux, Value, ValueLike

from .headers import ETHERNET_BYTES, GRE_BYTES, IPV4_BYTES, UDP_BYTES, VXLAN_BYTES
from .layouts import TunnelKind

__all__ = ["OUTER_BYTES", "by_kind"]

#: Bytes in front of the inner frame.
OUTER_BYTES = {
    TunnelKind.GRE: ETHERNET_BYTES + IPV4_BYTES + GRE_BYTES,
    TunnelKind.VXLAN: ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES + VXLAN_BYTES,
}


def by_kind(vxlan: ValueLike, values: Mapping[TunnelKind, ValueLike]) -> Value:
    """The value that belongs to the kind of tunnel."""
    return Mux(vxlan, values[TunnelKind.VXLAN], values[TunnelKind.GRE])
