"""Frames and packets for tests, built from their fields, with right checksums unless told otherwise."""

from .golden_packet import (
    ETHERTYPE_VLAN,
    ICMP,
    ICMPV6,
    IPV4_BYTES,
    TCP,
    UDP,
    checksum_words,
)

__all__ = ["ETHERNET_BYTES", "IPV4_BYTES", "IPV6_BYTES", "LEAST", "ethernet", "ipv4", "ipv6", "l4_bytes", "segment",
           "with_tag"]

#: Bytes of the shortest frame on a wire, without FCS.
LEAST = 60
ETHERNET_BYTES = 14
IPV6_BYTES = 40
UDP_BYTES = 8
TCP_BYTES = 20
ICMP_BYTES = 8
DONT_FRAGMENT = 0x4000


def ipv4(source: int, destination: int, payload: bytes, *, ttl: int = 64, ihl: int = 5, version: int = 4,
         options: bytes = b"", total_length: int | None = None, checksum_error: int = 0, identification: int = 0,
         protocol: int = 17, tos: int = 0, fragment: int = DONT_FRAGMENT) -> bytes:
    """An IPv4 packet; ``checksum_error`` is added to the right checksum, ``fragment`` has flags and offset."""
    if total_length is None:
        total_length = IPV4_BYTES + len(options) + len(payload)
    header = b"".join((
        bytes((version << 4 | ihl, tos)), total_length.to_bytes(2, "big"), identification.to_bytes(2, "big"),
        fragment.to_bytes(2, "big"), bytes((ttl, protocol)), b"\0\0", source.to_bytes(4, "big"),
        destination.to_bytes(4, "big"), options))
    checksum = (~checksum_words(header) & 0xFFFF) + checksum_error & 0xFFFF
    return header[:10] + checksum.to_bytes(2, "big") + header[12:] + payload


def ipv6(source: int, destination: int, payload: bytes, *, hop_limit: int = 64, version: int = 6,
         next_header: int = 17, payload_length: int | None = None, flow: int = 0) -> bytes:
    """An IPv6 packet; ``flow`` is traffic class and flow label."""
    length = len(payload) if payload_length is None else payload_length
    return b"".join(((version << 28 | flow).to_bytes(4, "big"), length.to_bytes(2, "big"),
                     bytes((next_header, hop_limit)), source.to_bytes(16, "big"), destination.to_bytes(16, "big"),
                     payload))


def l4_bytes(protocol: int) -> int:
    """Bytes of the layer-4 header that :func:`segment` makes."""
    return {TCP: TCP_BYTES, UDP: UDP_BYTES, ICMP: ICMP_BYTES, ICMPV6: ICMP_BYTES}.get(protocol, 0)


def segment(protocol: int, source: int, destination: int, ports: tuple[int, int], payload: bytes, *, ipv6: bool = False,
            has_checksum: bool = True) -> bytes:
    """A TCP segment, a UDP datagram or an ICMP message with these ports, or type and code; else the bare payload.

    Without ``has_checksum``, the checksum of UDP is zero, that of others is wrong.
    """
    size = l4_bytes(protocol)
    first, second = ports
    if protocol in (ICMP, ICMPV6):
        header, at = bytes((first & 0xFF, second & 0xFF)).ljust(size, b"\0"), 2
    elif protocol == TCP:
        header = first.to_bytes(2, "big") + second.to_bytes(2, "big") + bytes(8) + b"\x50\x10\x20\x00\0\0\0\0"
        at = 16
    elif protocol == UDP:
        header = b"".join(part.to_bytes(2, "big") for part in (first, second, size + len(payload), 0))
        at = 6
    else:
        return payload
    if not has_checksum:
        return header + payload
    address_bytes = 16 if ipv6 else 4
    pseudo = b"" if protocol == ICMP else b"".join((
        source.to_bytes(address_bytes, "big"), destination.to_bytes(address_bytes, "big"),
        (size + len(payload)).to_bytes(4, "big"), protocol.to_bytes(4, "big")))
    checksum = ~checksum_words(pseudo + header + payload + bytes(len(payload) % 2)) & 0xFFFF
    if protocol == UDP:
        checksum = checksum or 0xFFFF
    return header[:at] + checksum.to_bytes(2, "big") + header[at + 2:] + payload


def ethernet(destination: int, source: int, ethertype: int, payload: bytes, *, least: int = LEAST) -> bytes:
    """An Ethernet frame without FCS, padded with zeros to ``least`` bytes."""
    frame = destination.to_bytes(6, "big") + source.to_bytes(6, "big") + ethertype.to_bytes(2, "big") + payload
    return frame.ljust(least, b"\0")


def with_tag(frame: bytes, tci: int) -> bytes:
    """The frame with an 802.1Q tag in front of its EtherType."""
    return frame[:12] + ETHERTYPE_VLAN.to_bytes(2, "big") + tci.to_bytes(2, "big") + frame[12:]
