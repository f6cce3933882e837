"""Changes of a frame in the golden model: those of steps 7 and 11 of ``docs/dataplane.md``."""

from polyrouter.hdl.layouts import Reason

from .golden_packet import (
    ETHERNET_BYTES,
    ETHERTYPE_VLAN,
    IPV4_BYTES,
    TCP,
    Frame,
    Packet,
    update_checksum,
)
from .golden_rows import Action
from .golden_verdict import Verdict

__all__ = ["egress_tci", "keeps_tag", "rewritten", "stored_tci", "tagged"]

PCP_SHIFT = 13
CHECKSUM_AT = 10            # of the IPv4 header
IP_SOURCE_AT = 12
TCP_CHECKSUM_AT = 16        # of the layer-4 header
UDP_CHECKSUM_AT = 6


class _Octets:
    """A frame that is changed in place."""

    def __init__(self, octets: bytes):
        self.octets = bytearray(octets)

    def word(self, at: int) -> int:
        return int.from_bytes(self.octets[at:at + 2], "big")

    def put(self, at: int, value: int, size: int) -> None:
        self.octets[at:at + size] = value.to_bytes(size, "big")

    def change(self, at: int, value: int, size: int, checksums: list[int]) -> None:
        """Put ``value`` in place, whole words, and bring the checksums at these offsets up to date."""
        for word in range(at, at + size, 2):
            after = value >> 8 * (at + size - 2 - word) & 0xFFFF
            for checksum in checksums:
                self.put(checksum, update_checksum(self.word(checksum), self.word(word), after), 2)
            self.put(word, after, 2)


def rewritten(frame: Frame, verdict: Verdict, action: Action) -> bytes:
    """The frame as it is stored if it goes to a data port: without tag, the source address of an egress port apart."""
    changed = _Octets(frame.octets)
    packet = frame.packet
    if verdict.dmac is not None:
        changed.put(0, verdict.dmac, 6)
    if verdict.routed and packet is not None:
        _decrement_ttl(changed, packet)
    if action.set_dmac:
        changed.put(0, action.dmac, 6)
    if action.set_smac:
        changed.put(6, action.smac, 6)
    if packet is not None and not packet.ipv6:
        _change_ipv4(changed, packet, action)
    return bytes(changed.octets)


def _decrement_ttl(changed: _Octets, packet: Packet) -> None:
    if packet.ipv6:
        changed.put(ETHERNET_BYTES + 7, packet.ttl - 1, 1)
    else:
        at = ETHERNET_BYTES + 8
        changed.change(at, changed.word(at) - 0x100, 2, [ETHERNET_BYTES + CHECKSUM_AT])


def _l4_checksum(changed: _Octets, packet: Packet) -> list[int]:
    """Offset of the layer-4 checksum, if there is one to be kept right."""
    at = IPV4_BYTES + (TCP_CHECKSUM_AT if packet.protocol == TCP else UDP_CHECKSUM_AT)
    if not packet.l4_ports or min(packet.total_length, len(changed.octets) - ETHERNET_BYTES) < at + 2:
        return []
    if packet.protocol != TCP and not changed.word(ETHERNET_BYTES + at):
        return []
    return [ETHERNET_BYTES + at]


def _change_ipv4(changed: _Octets, packet: Packet, action: Action) -> None:
    header, l4 = [ETHERNET_BYTES + CHECKSUM_AT], _l4_checksum(changed, packet)
    source, ports = ETHERNET_BYTES + IP_SOURCE_AT, ETHERNET_BYTES + IPV4_BYTES
    if action.set_tos:
        changed.change(ETHERNET_BYTES, changed.word(ETHERNET_BYTES) & 0xFF00 | action.tos, 2, header)
    if action.set_ip_source:
        changed.change(source, action.ip_source, 4, header + l4)
    if action.set_ip_destination:
        changed.change(source + 4, action.ip_destination, 4, header + l4)
    if packet.l4_ports:
        if action.set_l4_source:
            changed.change(ports, action.l4_source, 2, l4)
        if action.set_l4_destination:
            changed.change(ports + 2, action.l4_destination, 2, l4)
    # A checksum that has become zero would mean "none" (RFC 768)
    if packet.protocol != TCP and l4 and not changed.word(l4[0]):
        changed.put(l4[0], 0xFFFF, 2)


def stored_tci(frame: Frame, action: Action) -> int | None:
    """Tag that a frame to data ports carries after the rule's changes."""
    tci = None if action.strip_vlan else frame.tci
    if action.set_vid:
        tci = (tci or 0) & 0xF000 | action.vid
    if action.set_pcp:
        tci = (tci or 0) & 0x1FFF | action.pcp << PCP_SHIFT
    return tci


def keeps_tag(verdict: Verdict, tci: int | None, action: Action) -> bool:
    """Whether copies at data ports have the tag that the frame carries, ``tci``."""
    return bool(verdict.reason == Reason.SWITCHED or (verdict.reason == Reason.INJECTED and tci is not None)
                or action.set_vid or action.strip_vlan)


def egress_tci(verdict: Verdict, tci: int | None, action: Action, port_vid: int) -> int | None:
    """Tag of a copy at a data port where the router's VLAN is ``port_vid``; ``tci`` is what the frame carries."""
    if verdict.to_tunnel:
        return None
    if keeps_tag(verdict, tci, action):
        return tci
    vid = verdict.vid or port_vid
    return (tci or 0) & 0xE000 | vid if vid else None


def tagged(octets: bytes, tci: int | None) -> bytes:
    """The frame with a tag, if there is one."""
    if tci is None:
        return octets
    return octets[:12] + ETHERTYPE_VLAN.to_bytes(2, "big") + tci.to_bytes(2, "big") + octets[12:]
