"""Frames for the tests of stages that change them, and checksums computed from scratch (RFC 1071)."""

import struct

TCP, UDP = 6, 17
ETHERNET = 14


def ones_sum(data):
    """One's complement sum of big-endian 16-bit words; an odd byte is the upper half of its word."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def internet_checksum(data):
    return ~ones_sum(data) & 0xFFFF


def updated(checksum, old, new):
    """RFC 1624, equation 3, for any number of words in ``old`` and ``new``."""
    return ~ones_sum(struct.pack(">H", ~checksum & 0xFFFF) + bytes(~b & 0xFF for b in old) + new) & 0xFFFF


def layer4_checksum(packet):
    """Checksum of the TCP or UDP packet behind a header of 20 bytes, its own checksum field taken as zero."""
    protocol = packet[9]
    body = packet[20:int.from_bytes(packet[2:4], "big")]
    at = {TCP: 16, UDP: 6}[protocol]
    body = body[:at] + bytes(2) + body[at + 2:]
    checksum = internet_checksum(packet[12:20] + struct.pack(">HH", protocol, len(body)) + body)
    return checksum or (0xFFFF if protocol == UDP else 0)


def ipv4_frame(rng, length, *, protocol=None, total_length=None, udp_zero=False):
    """An untagged IPv4 frame of ``length`` bytes whose checksums are right, as far as they fit into it."""
    protocol = rng.choice([TCP, UDP, 1, 89]) if protocol is None else protocol
    total_length = length - ETHERNET if total_length is None else total_length
    header = struct.pack(">BBHHHBBH", 0x45, rng.getrandbits(8), total_length, rng.getrandbits(16), 0x4000,
                         rng.randrange(2, 256), protocol, 0) + rng.randbytes(8)
    packet = bytearray(header + rng.randbytes(max(0, total_length - 20)))
    packet[10:12] = struct.pack(">H", internet_checksum(header))
    at = {TCP: 36, UDP: 26}.get(protocol)
    if at is not None and total_length >= at + 2:
        checksum = 0 if udp_zero and protocol == UDP else layer4_checksum(bytes(packet))
        packet[at:at + 2] = struct.pack(">H", checksum)
    frame = rng.randbytes(12) + b"\x08\x00" + bytes(packet)
    return (frame + rng.randbytes(max(0, length - len(frame))))[:length]
