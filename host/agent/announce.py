"""Frames of a router that moves: what says where its addresses are now, and what shows that nothing waits."""

from functools import lru_cache
from ipaddress import ip_interface

from ..spec import PortSpec

__all__ = ["announcements", "probe"]

#: EtherType of Ethernet's configuration testing protocol, whose "skip count" of zero says that there is nothing to do.
_TEST = 0x9000
#: The shortest frame, without its FCS.
_SHORTEST = 60


def announcements(port: PortSpec) -> list[bytes]:
    """Of each address of a port a gratuitous ARP request (RFC 5227, section 3) or an unsolicited neighbour
    advertisement (RFC 4861, section 7.2.6); of a port without addresses, an ARP request that asks nobody."""
    return list(_frames(port.mac, tuple(str(ip_interface(address).ip) for address in port.addresses)))


def probe(port: PortSpec) -> bytes:
    """A frame to a port's own address that asks for nothing: it is only counted."""
    from scapy.layers.l2 import Dot1Q, Ether

    frame = Ether(src=port.mac, dst=port.mac, type=_TEST)
    if port.vlan:
        frame = Ether(src=port.mac, dst=port.mac) / Dot1Q(vlan=port.vlan, type=_TEST)
    return bytes(frame).ljust(_SHORTEST, b"\0")


@lru_cache(maxsize=1024)
def _frames(mac: str, addresses: tuple[str, ...]) -> tuple[bytes, ...]:
    # It takes a while to load, and most agents never need it.
    from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
    from scapy.layers.l2 import ARP, Ether

    frames = []
    for address in addresses or ("0.0.0.0",):
        if ":" in address:
            packet = (Ether(src=mac, dst="33:33:00:00:00:01") / IPv6(src=address, dst="ff02::1", hlim=255)
                      / ICMPv6ND_NA(tgt=address, R=1, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=mac))
        else:
            packet = (Ether(src=mac, dst="ff:ff:ff:ff:ff:ff")
                      / ARP(op=1, hwsrc=mac, psrc=address, hwdst="00:00:00:00:00:00", pdst=address))
        frames.append(bytes(packet).ljust(_SHORTEST, b"\0"))
    return tuple(frames)
