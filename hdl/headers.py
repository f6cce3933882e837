"""Headers as data: where each field of an untagged IP frame lies.

Ethernet as in IEEE 802.3, clause 3.1; IPv4 as in RFC 791, section 3.1; IPv6 as in RFC 8200, section 3; the 802.1Q tag
as in IEEE 802.1Q, clause 9; tunnels as in RFC 7348, RFC 2784 and RFC 2890. All fields are big-endian.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from amaranth.hdl import Cat, Const, Value, ValueLike

from .config import TAG_BYTES

__all__ = ["ETHERNET_BYTES", "ETHERTYPE_IPV4", "ETHERTYPE_IPV6", "ETHERTYPE_TEB", "ETHERTYPE_VLAN", "GRE_BYTES",
           "HOP_BY_HOP", "IPV4_BYTES", "IPV6_BYTES", "L4_PORTS_BYTES", "TAG_BYTES", "UDP_BYTES", "VXLAN_BYTES",
           "VXLAN_PORT", "Ethernet", "Field", "Gre", "Ipv4", "Ipv6", "Protocol", "Udp", "VlanTag", "Vxlan",
           "frame_bytes"]


@dataclass(frozen=True)
class Field:
    """A field of whole bytes.

    Parameters
    ----------
    offset : int
        First byte, counted from the start of the frame.
    size : int
        Bytes.
    """

    offset: int
    size: int

    def of(self, frame: Sequence[Value]) -> Value:
        """The field's value, given the frame's bytes."""
        return Cat(*reversed(frame[self.offset:self.offset + self.size]))

    def spread(self, value: ValueLike) -> dict[int, Value]:
        """The bytes that a value of the field puts into the frame, by their position."""
        bits = Const(value, 8 * self.size) if isinstance(value, int) else Value.cast(value)
        return {self.offset + k: bits.word_select(self.size - 1 - k, 8) for k in range(self.size)}


class Ethernet:
    """Fields of the Ethernet header."""

    DESTINATION = Field(0, 6)
    SOURCE = Field(6, 6)
    ETHERTYPE = Field(12, 2)


ETHERNET_BYTES = 14
ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_IPV6 = 0x86DD
#: EtherType of a C-VLAN tag (IEEE 802.1Q, table 9-1); it stands where the frame's own would be.
ETHERTYPE_VLAN = 0x8100


class VlanTag:
    """Fields of a tagged frame; everything behind them is :data:`TAG_BYTES` later than in an untagged one."""

    TCI = Field(14, 2)              # PCP in the upper three bits, DEI, VLAN id
    ETHERTYPE = Field(16, 2)        # the frame's own


class Protocol(IntEnum):
    """Layer-4 protocols (IANA, Assigned Internet Protocol Numbers)."""

    ICMP = 1
    TCP = 6
    UDP = 17
    GRE = 47
    ICMPV6 = 58


class Ipv4:
    """Fields of the IPv4 header behind an Ethernet header."""

    VERSION_IHL = Field(14, 1)      # version in the upper four bits
    PLAIN = 0x45                    # version 4, no options
    TOS = Field(15, 1)
    TOTAL_LENGTH = Field(16, 2)
    FRAGMENT = Field(20, 2)         # flags in the upper three bits, the lowest of them "more fragments"; offset
    DONT_FRAGMENT = 0x4000
    FRAGMENTED = 0x3FFF             # more fragments, or an offset: one of several
    TTL = Field(22, 1)
    PROTOCOL = Field(23, 1)
    CHECKSUM = Field(24, 2)
    SOURCE = Field(26, 4)
    DESTINATION = Field(30, 4)
    #: 16-bit words of the header without options, for the checksum.
    WORDS = tuple(Field(14 + 2 * k, 2) for k in range(10))
    #: Behind a header without options: source and destination port of TCP (RFC 9293) and UDP (RFC 768).
    L4_SOURCE = Field(34, 2)
    L4_DESTINATION = Field(36, 2)


#: Bytes of the IPv4 header without options.
IPV4_BYTES = 20


class Ipv6:
    """Fields of the IPv6 header behind an Ethernet header."""

    VERSION = Field(14, 1)          # in the upper four bits
    VERSION_CLASS = Field(14, 2)    # version, traffic class, and four bits of the flow label
    PAYLOAD_LENGTH = Field(18, 2)
    NEXT_HEADER = Field(20, 1)
    HOP_LIMIT = Field(21, 1)
    SOURCE = Field(22, 16)
    DESTINATION = Field(38, 16)
    #: Behind the header: source and destination port of TCP and UDP.
    L4_SOURCE = Field(54, 2)
    L4_DESTINATION = Field(56, 2)


#: Bytes of the IPv6 header without extension headers.
IPV6_BYTES = 40
#: Next header: options that every router on the way has to look at (RFC 8200, section 4.3).
HOP_BY_HOP = 0
#: Bytes of the layer-4 ports.
L4_PORTS_BYTES = 4


class Udp:
    """Fields of the UDP header (RFC 768) behind Ethernet and an IPv4 header without options."""

    SOURCE = Ipv4.L4_SOURCE
    DESTINATION = Ipv4.L4_DESTINATION
    LENGTH = Field(38, 2)


UDP_BYTES = 8


class Vxlan:
    """Fields of the VXLAN header (RFC 7348, section 5) behind UDP; all others are sent as zero and not looked at."""

    FLAGS = Field(42, 1)
    VNI = Field(46, 3)
    #: The only flag: the VNI is valid.
    FLAG_I = 0x08


VXLAN_BYTES = 8
#: UDP port of VXLAN (RFC 7348, section 8).
VXLAN_PORT = 4789


class Gre:
    """Fields of a GRE header with a key (RFC 2784, section 2.1; RFC 2890, section 2) behind IPv4."""

    FLAGS = Field(34, 2)            # and version 0
    PROTOCOL = Field(36, 2)
    KEY = Field(38, 4)
    #: A key is present.
    FLAG_K = 0x2000
    #: Bits that a receiver may not pass over: checksum, key, sequence number, those of RFC 1701, version.
    FLAGS_CHECKED = 0xFC07


GRE_BYTES = 8
#: Protocol type of Ethernet in GRE: Transparent Ethernet Bridging (RFC 1701, table of protocol types).
ETHERTYPE_TEB = 0x6558


def frame_bytes(bits: Value) -> list[Value]:
    """Bytes of the start of a frame, whose byte 0 is in the low lane."""
    return [bits.word_select(k, 8) for k in range(len(bits) // 8)]
