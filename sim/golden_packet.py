"""What the golden model sees of a frame: step 5 of ``docs/dataplane.md``, and the one's complement sums."""

from typing import NamedTuple

__all__ = ["ETHERNET_BYTES", "ETHERTYPE_IPV4", "ETHERTYPE_IPV6", "ETHERTYPE_VLAN", "GRE", "ICMP", "ICMPV6",
           "IPV4_BYTES", "IPV6_BYTES", "PORTS_BYTES", "TCP", "UDP", "VXLAN_PORT", "Frame", "Hop", "Packet",
           "checksum_words", "parse", "untagged", "update_checksum"]

ETHERNET_BYTES = 14
TAG_BYTES = 4
IPV4_BYTES = 20
IPV6_BYTES = 40
#: Both ports of TCP and UDP.
PORTS_BYTES = 4
ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_IPV6 = 0x86DD
ETHERTYPE_VLAN = 0x8100
ICMP, TCP, UDP, GRE, ICMPV6 = 1, 6, 17, 47, 58
#: UDP port of VXLAN (RFC 7348, 8).
VXLAN_PORT = 4789
GROUP_BIT = 1 << 40
#: 01:80:c2:00:00:00 to :0f (IEEE 802.1Q, 8.6.3), without the last four bits.
RESERVED_GROUP = 0x0180C200000


def checksum_words(octets: bytes) -> int:
    """One's complement sum of big-endian 16-bit words, folded (RFC 1071); 0xFFFF for a header that is right."""
    total = sum(int.from_bytes(octets[i:i + 2], "big") for i in range(0, len(octets), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def update_checksum(checksum: int, before: int, after: int) -> int:
    """Checksum after a 16-bit word of the header has changed, RFC 1624 equation 3."""
    total = (~checksum & 0xFFFF) + (~before & 0xFFFF) + after
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Packet(NamedTuple):
    """An IP packet whose header is good."""

    ipv6: bool
    source: int
    destination: int
    total_length: int
    whole: bool
    ttl: int
    tos: int
    protocol: int
    options: bool
    checksum_ok: bool
    l4_taken: bool              # the ports, or ICMP's type and code
    l4_source: int = 0
    l4_destination: int = 0

    @property
    def l4_ports(self) -> bool:
        """Whether it is TCP or UDP, and the ports were taken."""
        return self.l4_taken and self.protocol in (TCP, UDP)

    @property
    def to_link(self) -> bool:
        """IPv6 destination in fe80::/10."""
        return self.ipv6 and self.destination >> 118 == 0xFE80 >> 6

    @property
    def from_link(self) -> bool:
        """IPv6 source in fe80::/10."""
        return self.ipv6 and self.source >> 118 == 0xFE80 >> 6

    @property
    def multicast(self) -> bool:
        """To a group beyond the link: not 224.0.0.0/24, a scope above 2."""
        if self.ipv6:
            return self.destination >> 120 == 0xFF and self.destination >> 112 & 15 > 2
        return self.destination >> 28 == 14 and self.destination >> 8 != 0xE00000

    @property
    def flow_key(self) -> int:
        """Key of the flow hash."""
        def folded(address: int) -> int:
            return (address ^ address >> 32 ^ address >> 64 ^ address >> 96) & 0xFFFFFFFF

        return (self.l4_destination | self.l4_source << 16 | folded(self.destination) << 32
                | folded(self.source) << 64)


class Hop(NamedTuple):
    """A queue at the link port that a frame went through, and where it came from."""

    ingress: int
    router: int
    traffic_class: int


class Frame(NamedTuple):
    """A frame without its tag, and where it came in."""

    port: int
    octets: bytes
    tci: int | None             # what the tag said
    received: int               # bytes, with the tag
    packet: Packet | None       # None if it is not IP, or the header is not good
    given: int | None = None    # router that it was given to: a packet of a tunnel, on its way into the network
    path: tuple[Hop, ...] = ()  # how it came in, if that is the link port

    @property
    def dmac(self) -> int:
        """Destination address."""
        return int.from_bytes(self.octets[0:6], "big")

    @property
    def smac(self) -> int:
        """Source address."""
        return int.from_bytes(self.octets[6:12], "big")

    @property
    def ethertype(self) -> int:
        """EtherType behind the tag."""
        return int.from_bytes(self.octets[12:14], "big")

    @property
    def vid(self) -> int:
        """VLAN id, 0 for untagged and priority-tagged frames."""
        return (self.tci or 0) & 0xFFF

    @property
    def group(self) -> bool:
        """To a broadcast or multicast address."""
        return bool(self.dmac & GROUP_BIT)

    @property
    def reserved_group(self) -> bool:
        """To an address that bridges do not forward."""
        return self.dmac >> 4 == RESERVED_GROUP

    @property
    def is_ip(self) -> bool:
        """Whether it claims to be IP."""
        return self.ethertype in (ETHERTYPE_IPV4, ETHERTYPE_IPV6)


def untagged(octets: bytes) -> tuple[bytes, int | None]:
    """A frame of at least 14 bytes without its tag, and what that said."""
    if len(octets) < ETHERNET_BYTES + TAG_BYTES or int.from_bytes(octets[12:14], "big") != ETHERTYPE_VLAN:
        return octets, None
    return octets[:12] + octets[16:], int.from_bytes(octets[14:16], "big")


def _packet_of(octets: bytes) -> Packet | None:
    """The packet in a frame without tag, if there is one whose header is good."""
    ethertype, body = int.from_bytes(octets[12:14], "big"), octets[ETHERNET_BYTES:]
    if ethertype == ETHERTYPE_IPV4:
        return _ipv4(body)
    return _ipv6(body) if ethertype == ETHERTYPE_IPV6 else None


def parse(port: int, octets: bytes) -> Frame:
    """Take the tag off a frame of at least 14 bytes, and look at its headers."""
    received = len(octets)
    octets, tci = untagged(octets)
    return Frame(port, octets, tci, received, _packet_of(octets))


def _ipv4(body: bytes) -> Packet | None:
    header = body[:IPV4_BYTES]
    if len(header) < IPV4_BYTES:
        return None
    version, ihl = header[0] >> 4, header[0] & 15
    total_length = int.from_bytes(header[2:4], "big")
    if version != 4 or ihl < 5 or ihl * 4 > total_length:
        return None
    fragment = int.from_bytes(header[6:8], "big") & 0x3FFF      # more fragments, and the offset
    packet = Packet(
        False, int.from_bytes(header[12:16], "big"), int.from_bytes(header[16:20], "big"), total_length,
        total_length <= len(body), header[8], header[1], header[9], ihl > 5, checksum_words(header) == 0xFFFF, False)
    return packet if ihl > 5 or fragment else _with_ports(packet, body, IPV4_BYTES)


def _ipv6(body: bytes) -> Packet | None:
    header = body[:IPV6_BYTES]
    if len(header) < IPV6_BYTES or header[0] >> 4 != 6:
        return None
    total_length = IPV6_BYTES + int.from_bytes(header[4:6], "big")
    packet = Packet(
        True, int.from_bytes(header[8:24], "big"), int.from_bytes(header[24:40], "big"), total_length,
        total_length <= len(body), header[7], int.from_bytes(header[0:2], "big") >> 4 & 0xFF, header[6],
        header[6] == 0, True, False)
    return _with_ports(packet, body, IPV6_BYTES)


def _with_ports(packet: Packet, body: bytes, at: int) -> Packet:
    if min(packet.total_length, len(body)) < at + PORTS_BYTES:
        return packet
    if packet.protocol in (TCP, UDP):
        return packet._replace(l4_taken=True, l4_source=int.from_bytes(body[at:at + 2], "big"),
                               l4_destination=int.from_bytes(body[at + 2:at + 4], "big"))
    if packet.protocol in (ICMP, ICMPV6):
        return packet._replace(l4_taken=True, l4_source=body[at], l4_destination=body[at + 1])
    return packet
