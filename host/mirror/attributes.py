"""Parts of rtnetlink messages that decoders of several kinds need (Linux ``netlink(7)``, ``rtnetlink(7)``)."""

import struct
from collections.abc import Iterator

__all__ = ["ATTRIBUTE", "HEADER", "IPV6", "NLA_TYPE_MASK", "ROUTE_HEAD", "U32", "attributes", "read_ip"]

HEADER = struct.Struct("=IHHII")                    # nlmsghdr
ROUTE_HEAD = struct.Struct("=IHHIIBBBBBBBBI")       # nlmsghdr, rtmsg
ATTRIBUTE = struct.Struct("=HH")                    # rtattr
U32 = struct.Struct("=I")
_IP = struct.Struct("!I")
IPV6 = struct.Struct("!QQ")
NLA_TYPE_MASK = 0x3FFF


def attributes(data: bytes, offset: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Kind, start and end of each attribute between two offsets."""
    while offset + 4 <= end:
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            return
        yield kind & NLA_TYPE_MASK, offset + 4, offset + length
        offset += length + 3 & ~3


def read_ip(data: bytes, offset: int, ipv6: bool) -> int:
    """An address in network order; zero if the attribute is too short for it."""
    if offset + (16 if ipv6 else 4) > len(data):
        return 0                                    # the length of the attribute was a lie
    if ipv6:
        high, low = IPV6.unpack_from(data, offset)
        return int(high) << 64 | int(low)
    return int(_IP.unpack_from(data, offset)[0])
