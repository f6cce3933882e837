"""Headers as data: where each field of an untagged IPv4 frame lies.

Ethernet as in IEEE 802.3, clause 3.1; IPv4 as in RFC 791, section 3.1. All fields are big-endian.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Value, ValueLike

__all__ = ["ETHERNET_BYTES", "ETHERTYPE_IPV4", "IPV4_BYTES", "Ethernet", "Field", "Ipv4", "frame_bytes"]


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
        bits = Value.cast(value)
        return {self.offset + k: bits.word_select(self.size - 1 - k, 8) for k in range(self.size)}


class Ethernet:
    """Fields of the Ethernet header."""

    DESTINATION = Field(0, 6)
    SOURCE = Field(6, 6)
    ETHERTYPE = Field(12, 2)


ETHERNET_BYTES = 14
ETHERTYPE_IPV4 = 0x0800


class Ipv4:
    """Fields of the IPv4 header behind an Ethernet header."""

    VERSION_IHL = Field(14, 1)      # version in the upper four bits
    TOTAL_LENGTH = Field(16, 2)
    TTL = Field(22, 1)
    CHECKSUM = Field(24, 2)
    DESTINATION = Field(30, 4)
    #: 16-bit words of the header without options, for the checksum.
    WORDS = tuple(Field(14 + 2 * k, 2) for k in range(10))


#: Bytes of the IPv4 header without options.
IPV4_BYTES = 20


def frame_bytes(bits: Value) -> list[Value]:
    """Bytes of the start of a frame, whose byte 0 is in the low lane."""
    return [bits.word_select(k, 8) for k in range(len(bits) // 8)]
