"""Routing of the golden model: steps 7 and 8 of ``docs/dataplane.md``."""

from polyrouter.hdl.layouts import AdjacencyKind, Reason

from .golden_packet import GRE, UDP, VXLAN_PORT, Frame, Packet
from .golden_rows import Adjacency, Context
from .golden_tables import RouteFault, Tables
from .golden_verdict import Verdict

__all__ = ["routed", "routed_group"]


def _exception(packet: Packet) -> Verdict | None:
    """What every packet to be forwarded is tested for."""
    if packet.options:
        return Verdict.punt(Reason.PUNT_OPTIONS)
    if packet.ttl <= 1:
        return Verdict.punt(Reason.PUNT_TTL)
    if not packet.checksum_ok:
        return Verdict.drop(Reason.DROP_CHECKSUM)
    return None


def routed(tables: Tables, context: Context, frame: Frame) -> Verdict:
    """A frame to a routed router's own address."""
    packet = frame.packet
    if not frame.is_ip:
        return Verdict.punt(Reason.PUNT_NOT_IP)
    if packet is None or not packet.whole:
        return Verdict.drop(Reason.DROP_MALFORMED)
    adjacency, fault = None, False
    try:
        row = tables.route(context, packet.destination, ipv6=packet.ipv6)
        adjacency = None if row is None else tables.next_hop(context, row, packet.flow_key)
    except RouteFault:
        fault = True
    if adjacency is not None and _ends_here(tables, context, packet, adjacency):
        link_port = tables.config.link_port
        assert link_port is not None
        return Verdict(Reason.FORWARDED, (link_port,), to_tunnel=True)
    if packet.to_link or (adjacency is not None and adjacency.kind == AdjacencyKind.LOCAL):
        return Verdict.punt(Reason.PUNT_LOCAL, control=True)
    exception = _exception(packet)
    if exception is not None:
        return exception
    if fault or (adjacency is not None and adjacency.kind == AdjacencyKind.MULTICAST):
        return Verdict.drop(Reason.DROP_FAULT)
    if packet.from_link or adjacency is None:
        return Verdict.punt(Reason.PUNT_NO_ROUTE)
    return _to_next_hop(tables, context, packet, adjacency)


def _ends_here(tables: Tables, context: Context, packet: Packet, adjacency: Adjacency) -> bool:
    """Whether it is a packet of a tunnel whose end this router is."""
    link_port = tables.config.link_port
    if adjacency.kind != AdjacencyKind.LOCAL or packet.ipv6 or packet.options or not packet.checksum_ok:
        return False
    if not context.tunnels or link_port is None or not context.ports >> link_port & 1:
        return False
    return packet.protocol == GRE or (
        packet.l4_taken and packet.protocol == UDP and packet.l4_destination == VXLAN_PORT)


def _to_next_hop(tables: Tables, context: Context, packet: Packet, adjacency: Adjacency) -> Verdict:
    match adjacency.kind:
        case AdjacencyKind.UNREACHABLE:
            return Verdict.punt(Reason.PUNT_NO_ROUTE)
        case AdjacencyKind.BLACKHOLE:
            return Verdict.drop(Reason.DROP_BLACKHOLE)
        case AdjacencyKind.UNRESOLVED:
            return Verdict.punt(Reason.PUNT_UNRESOLVED)
    if adjacency.port not in tables.data_ports(context.ports):
        return Verdict.drop(Reason.DROP_FAULT)
    if packet.total_length > adjacency.mtu:
        return Verdict.punt(Reason.PUNT_MTU)
    return Verdict(Reason.FORWARDED, (adjacency.port,), routed=True, dmac=adjacency.mac,
                   vid=adjacency.vid)


def routed_group(tables: Tables, context: Context, frame: Frame, packet: Packet) -> Verdict:
    """An IP multicast packet that a routed router looks up."""
    if not packet.whole:
        return Verdict.drop(Reason.DROP_MALFORMED)
    exception = _exception(packet)
    if exception is not None:
        return exception
    # A router must not forward it, and the host could not answer it either
    if packet.from_link:
        return Verdict.drop(Reason.DROP_FAULT)
    try:
        row = tables.route(context, packet.destination, ipv6=packet.ipv6, source=packet.source)
        found = None if row is None else tables.group_ports(context, row)
    except RouteFault:
        return Verdict.drop(Reason.DROP_FAULT)
    if found is None or found.kind in (AdjacencyKind.LOCAL, AdjacencyKind.UNREACHABLE):
        return Verdict.punt(Reason.PUNT_GROUP, control=True)
    if found.kind == AdjacencyKind.BLACKHOLE:
        return Verdict.drop(Reason.DROP_BLACKHOLE)
    if found.kind != AdjacencyKind.MULTICAST:
        return Verdict.drop(Reason.DROP_FAULT)
    if frame.port != found.port or (frame.port == tables.config.link_port and frame.vid != found.vid):
        return Verdict.drop(Reason.DROP_RPF)
    if packet.total_length > found.mtu:
        return Verdict.punt(Reason.PUNT_MTU)
    ports = tables.other_ports(found.ports & context.ports, frame.port)
    host = Reason.PUNT_GROUP if found.host else None
    if not ports and host is None:
        return Verdict.drop(Reason.DROP_NO_PORT)
    return Verdict(Reason.FORWARDED if ports else None, ports, host, routed=True)
