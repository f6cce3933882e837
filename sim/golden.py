"""Golden model of the data plane: ``docs/dataplane.md`` in Python, bit-exact, without a notion of time.

Frames are taken one at a time and whole, queues never fill, and a table write takes effect between two frames. What the
RTL drops because a buffer was full is for the test bench to allow for.
"""

from ipaddress import IPv6Address
from typing import NamedTuple

from polyrouter.hdl.config import HOST_HEADER_BYTES, CoreConfig
from polyrouter.hdl.layouts import (
    HOST_ETHERTYPE,
    HOST_VERSION,
    MAX_OPS,
    AdjacencyKind,
    HostFrameType,
    QueueStat,
    Reason,
    Role,
    RxError,
)

from .golden_control import ControlEngine
from .golden_tables import Adjacency, Context, RouteFault, Tables
from .host_frames import BOARD_MAC, BROADCAST, OP_BYTES, HostFrame

__all__ = ["GoldenModel", "Output", "checksum_words", "update_checksum"]

ETHERNET_BYTES = 14
IPV4_BYTES = 20
IPV6_BYTES = 40
ETHERTYPE_IPV4 = b"\x08\x00"
ETHERTYPE_IPV6 = b"\x86\xdd"
FCS_BYTES = 4


class Output(NamedTuple):
    """A frame that leaves the core, without FCS, and as what it was counted: router, ingress port and reason."""

    port: int
    frame: bytes
    event: tuple[int, int, int] | None = None       # None for responses, which aren't counted


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


class _Packet(NamedTuple):
    """What the decisions depend on, of an IP packet whose header is well formed."""

    ipv6: bool
    destination: int
    total_length: int
    ttl: int
    options: bool
    checksum_ok: bool
    to_link: bool
    from_link: bool


def _ipv4(frame: bytes) -> _Packet | None:
    header = frame[ETHERNET_BYTES:ETHERNET_BYTES + IPV4_BYTES]
    if len(header) < IPV4_BYTES:
        return None
    version, ihl = header[0] >> 4, header[0] & 15
    total_length = int.from_bytes(header[2:4], "big")
    if version != 4 or ihl < 5 or ihl * 4 > total_length or total_length > len(frame) - ETHERNET_BYTES:
        return None
    return _Packet(False, int.from_bytes(header[16:20], "big"), total_length, header[8], ihl > 5,
                   checksum_words(header) == 0xFFFF, False, False)


def _ipv6(frame: bytes) -> _Packet | None:
    header = frame[ETHERNET_BYTES:ETHERNET_BYTES + IPV6_BYTES]
    if len(header) < IPV6_BYTES or header[0] >> 4 != 6:
        return None
    total_length = IPV6_BYTES + int.from_bytes(header[4:6], "big")
    if total_length > len(frame) - ETHERNET_BYTES:
        return None
    source, destination = (IPv6Address(header[k:k + 16]) for k in (8, 24))
    return _Packet(True, int(destination), total_length, header[7], header[6] == 0, True,
                   destination.is_link_local, source.is_link_local)


class GoldenModel:
    """The data plane.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.
    has_macs : bool
        What ``Info.HAS_MACS`` tells.

    Attributes
    ----------
    tables : Tables
        Rows and counters.
    control : ControlEngine
        Control engine.
    host_mac : bytes
        Where punted frames are sent to.
    """

    def __init__(self, config: CoreConfig, *, has_macs: bool = False):
        self.config = config
        self.tables = Tables(config)
        self.control = ControlEngine(self.tables, self.queue_stat, has_macs=has_macs)
        self.host_mac = BROADCAST
        self._enqueued = [0] * config.all_ports

    @property
    def counters(self) -> dict[tuple[int, int, int], int]:
        """Counters that are not zero, by router, ingress port and reason."""
        return self.tables.counters

    def queue_stat(self, port: int, stat: QueueStat) -> int:
        """A queue's statistic when nothing is waiting. The high-water mark is the least that is possible."""
        match stat:
            case QueueStat.ENQUEUED:
                return self._enqueued[port]
            case QueueStat.HIGH_WATER:
                return min(1, self._enqueued[port])
            case QueueStat.FREE_CELLS:
                return self.config.cells
            case _:
                return 0

    def receive(self, port: int, frame: bytes, error: RxError = RxError.NONE) -> list[Output]:
        """Take a frame, without FCS, at a data port; gives the frames that leave, in order."""
        if error in (RxError.FCS, RxError.PHY):
            return self._drop(self.config.no_router, port, Reason.DROP_FCS)
        if error == RxError.LENGTH or not ETHERNET_BYTES <= len(frame) <= self.config.max_frame - FCS_BYTES:
            return self._drop(self.config.no_router, port, Reason.DROP_LENGTH)

        dmac = int.from_bytes(frame[0:6], "big")
        peer = self.tables.vmac(int.from_bytes(frame[6:12], "big"), port, Role.PEER)
        if frame[0] & 1:
            return self._group(port, frame, peer)
        router = self.tables.vmac(dmac, port, Role.OWN)
        if router is None:
            return self._drop(self.config.no_router, port, Reason.DROP_NO_ROUTER)
        context = self.tables.context(router)
        if not context.routed or not context.ports >> port & 1:
            return self._drop(router, port, Reason.DROP_DISABLED)
        if context.guard >> port & 1 and peer != router:
            return self._drop(router, port, Reason.DROP_SOURCE)
        return self._routed(router, context, port, frame)

    def host_receive(self, frame: bytes, error: RxError = RxError.NONE) -> list[Output]:
        """Take a frame, without FCS, at the host port; gives the frames that leave, in order."""
        host_port, no_router = self.config.host_port, self.config.no_router
        longest = self.config.max_frame - FCS_BYTES + HOST_HEADER_BYTES
        if error != RxError.NONE or not HOST_HEADER_BYTES <= len(frame) <= longest:
            return self._drop(no_router, host_port, Reason.DROP_HOST)
        request = HostFrame.from_bytes(frame)
        if not self._well_formed(request):
            return self._drop(no_router, host_port, Reason.DROP_HOST)
        self.host_mac = request.source
        if request.type == HostFrameType.REQUEST:
            return [Output(host_port, self.control.request(request).to_bytes())]

        context = self.tables.context(request.router)
        if not context.routed or not context.ports >> request.port & 1:
            return self._drop(request.router, host_port, Reason.DROP_INJECT)
        return self._send(request.router, host_port, Reason.INJECTED, request.port, request.payload)

    def _well_formed(self, frame: HostFrame) -> bool:
        length = frame.length or 0
        if frame.ethertype != HOST_ETHERTYPE or frame.version != HOST_VERSION or length > len(frame.payload):
            return False
        if frame.type == HostFrameType.INJECT:
            return (length >= ETHERNET_BYTES and frame.router < self.config.routers
                    and frame.port < self.config.ports)
        if frame.type == HostFrameType.REQUEST:
            return length % OP_BYTES == 0 and 1 <= length // OP_BYTES <= MAX_OPS
        return False

    def _drop(self, router: int, port: int, reason: Reason) -> list[Output]:
        self.tables.count(router, port, reason)
        return []

    def _send(self, router: int, port: int, reason: Reason, egress: int, frame: bytes) -> list[Output]:
        self.tables.count(router, port, reason)
        self._enqueued[egress] += 1
        return [Output(egress, frame, (router, port, reason))]

    def _punt(self, router: int, port: int, reason: Reason, frame: bytes) -> list[Output]:
        punted = HostFrame(HostFrameType.PUNT, frame, destination=self.host_mac, source=BOARD_MAC, router=router,
                           port=port, reason=reason)
        return self._send(router, port, reason, self.config.host_port, punted.to_bytes())

    def _group(self, port: int, frame: bytes, peer: int | None) -> list[Output]:
        outputs = []
        for router in range(self.config.routers):
            context = self.tables.context(router)
            if (context.routed and context.ports >> port & 1 and context.group >> port & 1
                    and (not context.guard >> port & 1 or peer == router)):
                outputs += self._punt(router, port, Reason.PUNT_GROUP, frame)
        return outputs or self._drop(self.config.no_router, port, Reason.DROP_NO_ROUTER)

    def _routed(self, router: int, context: Context, port: int, frame: bytes) -> list[Output]:
        if frame[12:14] == ETHERTYPE_IPV4:
            packet = _ipv4(frame)
        elif frame[12:14] == ETHERTYPE_IPV6:
            packet = _ipv6(frame)
        else:
            return self._punt(router, port, Reason.PUNT_NOT_IP, frame)
        if packet is None:
            return self._drop(router, port, Reason.DROP_MALFORMED)

        adjacency, fault = None, False
        try:
            adjacency = self._adjacency(context, packet)
        except RouteFault:
            fault = True

        if packet.to_link or (adjacency is not None and adjacency.kind == AdjacencyKind.LOCAL):
            return self._punt(router, port, Reason.PUNT_LOCAL, frame)
        if packet.options:
            return self._punt(router, port, Reason.PUNT_OPTIONS, frame)
        if packet.ttl <= 1:
            return self._punt(router, port, Reason.PUNT_TTL, frame)
        if not packet.checksum_ok:
            return self._drop(router, port, Reason.DROP_CHECKSUM)
        if fault:
            return self._drop(router, port, Reason.DROP_FAULT)
        if packet.from_link or adjacency is None or adjacency.kind == AdjacencyKind.UNREACHABLE:
            return self._punt(router, port, Reason.PUNT_NO_ROUTE, frame)
        if adjacency.kind == AdjacencyKind.BLACKHOLE:
            return self._drop(router, port, Reason.DROP_BLACKHOLE)
        if adjacency.kind == AdjacencyKind.UNRESOLVED:
            return self._punt(router, port, Reason.PUNT_UNRESOLVED, frame)
        # ``ports`` has eight bits, of which a core with fewer ports does not have the upper ones
        if adjacency.port >= self.config.ports or not context.ports >> adjacency.port & 1:
            return self._drop(router, port, Reason.DROP_FAULT)
        if packet.total_length > adjacency.mtu:
            return self._punt(router, port, Reason.PUNT_MTU, frame)
        return self._send(router, port, Reason.FORWARDED, adjacency.port, self._rewrite(router, adjacency, frame))

    def _adjacency(self, context: Context, packet: _Packet) -> Adjacency | None:
        row = self.tables.route(context, packet.destination, ipv6=packet.ipv6)
        return None if row is None else self.tables.adjacency(context, row)

    def _rewrite(self, router: int, adjacency: Adjacency, frame: bytes) -> bytes:
        addresses = adjacency.mac.to_bytes(6, "big") + self.tables.own_mac(router, adjacency.port).to_bytes(6, "big")
        if frame[12:14] == ETHERTYPE_IPV6:
            return addresses + frame[12:21] + bytes([frame[21] - 1]) + frame[22:]
        ttl_protocol = int.from_bytes(frame[22:24], "big")
        checksum = int.from_bytes(frame[24:26], "big")
        after = ttl_protocol - 0x100
        return b"".join((
            addresses, frame[12:22], after.to_bytes(2, "big"),
            update_checksum(checksum, ttl_protocol, after).to_bytes(2, "big"), frame[26:],
        ))
