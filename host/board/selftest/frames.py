"""Frames that the self-test sends, and what is to become of them."""

import struct
from random import Random

from .router import mac_of

__all__ = ["echo_frames", "forwarded", "ipv4_frames"]

#: Local experimental EtherType 1 (IEEE 802, clause 9.2.4): not IP, so the router hands it to the host.
_ETHERTYPE = 0x88B5
_IPV4 = 0x0800
_SOURCE = 0x02_70_73_74_FF_00
_LEAST, _MOST = 60, 1514
#: For experiments and testing (RFC 3692), between documentation prefixes (RFC 5737).
_PROTOCOL = 253
_ADDRESSES = bytes((192, 0, 2, 1, 198, 51, 100, 1))
_ETHERNET_BYTES, _IPV4_BYTES = 14, 20
_TTL_AT, _CHECKSUM_AT = _ETHERNET_BYTES + 8, _ETHERNET_BYTES + 10


def _header(destination: int, source: int, ethertype: int) -> bytes:
    return destination.to_bytes(6, "big") + source.to_bytes(6, "big") + ethertype.to_bytes(2, "big")


def _bodies(count: int, header: int, rng: Random) -> list[bytes]:
    """The shortest and the longest, all zeros, all ones, as many changes as there can be, and random ones."""
    least, most = _LEAST - header, _MOST - header
    fixed = [rng.randbytes(least), rng.randbytes(most), bytes(256), b"\xff" * 256, b"\x55\xaa" * 128, b"\x00\xff" * 128]
    return [*fixed, *(rng.randbytes(rng.randint(least, most)) for _ in range(count))][:count]


def echo_frames(port: int, count: int) -> list[bytes]:
    """Frames for the router itself on a port."""
    header = _header(mac_of(port), _SOURCE | port, _ETHERTYPE)
    return [header + body for body in _bodies(count, len(header), Random(f"echo {port}"))]


def ipv4_frames(port: int, count: int) -> list[bytes]:
    """IPv4 packets for the router to forward, that come in at a port; their TTL is 2, so it forwards them once."""
    ethernet = _header(mac_of(port), _SOURCE | port, _IPV4)
    frames = []
    for number, body in enumerate(_bodies(count, _ETHERNET_BYTES + _IPV4_BYTES, Random(f"IPv4 {port}"))):
        packet = struct.pack("!BBHHHBBH", 0x45, 0, _IPV4_BYTES + len(body), number, 0, 2, _PROTOCOL, 0) + _ADDRESSES
        frames.append(ethernet + _with_checksum(packet) + body)
    return frames


def forwarded(frame: bytes, out: int, arrives: int) -> bytes:
    """What the router makes of one that it sends out of a port, to its own address on another (or the same) port."""
    ethernet = _header(mac_of(arrives), mac_of(out), _IPV4)
    packet = bytearray(frame[_ETHERNET_BYTES:_ETHERNET_BYTES + _IPV4_BYTES])
    packet[_TTL_AT - _ETHERNET_BYTES] -= 1
    return ethernet + _with_checksum(bytes(packet)) + frame[_ETHERNET_BYTES + _IPV4_BYTES:]


def _with_checksum(packet: bytes) -> bytes:
    """RFC 791, 3.1."""
    at = _CHECKSUM_AT - _ETHERNET_BYTES
    total = sum(struct.unpack("!10H", packet[:at] + b"\0\0" + packet[at + 2:]))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return packet[:at] + (~total & 0xFFFF).to_bytes(2, "big") + packet[at + 2:]
