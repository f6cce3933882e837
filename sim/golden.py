"""Golden model of the data plane: ``docs/dataplane.md`` in Python, bit-exact, without a notion of time.

Frames are taken one at a time and whole, queues never fill, buckets are never refilled, addresses do not age, and a
table write takes effect between two frames. What the RTL drops because a buffer was full is for the test bench to allow
for, and so is what it lets through because a bucket was refilled.
"""

from collections import Counter, deque
from typing import NamedTuple

from polyrouter.hdl.config import HOST_HEADER_BYTES, CoreConfig
from polyrouter.hdl.layouts import (
    HOST_ETHERTYPE,
    HOST_VERSION,
    MAX_OPS,
    FilterAction,
    HostFrameType,
    QueueStat,
    Reason,
    Role,
    RouterMode,
    RxError,
    Table,
    TrafficClass,
)

from .golden_board import GoldenBoard
from .golden_bridge import bridged, learn
from .golden_control import ControlEngine
from .golden_filter import matching_rule, passes_policers, sent_by_rule, with_class
from .golden_link import Arrival, Departure, LinkEngine
from .golden_packet import ETHERNET_BYTES, Frame, Hop, checksum_words, parse, update_checksum
from .golden_rewrite import egress_tci, keeps_tag, rewritten, stored_tci, tagged
from .golden_route import routed, routed_group
from .golden_rows import Action, Context, VmacSlot
from .golden_tables import Tables, flow_hash
from .golden_verdict import Verdict
from .host_frames import BOARD_MAC, BROADCAST, OP_BYTES, HostFrame

__all__ = ["MOST_PASSES", "EndlessError", "GoldenModel", "Output", "checksum_words", "update_checksum"]

FCS_BYTES = 4
NO_ACTION = Action()
#: What is dropped without a copy for the host, even if everything is mirrored.
NOT_MIRRORED = frozenset({Reason.DROP_MALFORMED, Reason.DROP_POLICER})


#: Times that a frame, and what becomes of it, may come in again at the link port.
MOST_PASSES = 1024


class EndlessError(Exception):
    """The tables make a frame go round and round through the link port."""


class Output(NamedTuple):
    """A frame that leaves the core, without FCS, and as what it was counted: router, ingress port and reason."""

    port: int
    frame: bytes
    event: tuple[int, int, int] | None = None       # None for responses, which aren't counted
    traffic_class: int = TrafficClass.NORMAL
    replicated: bool = False                        # made from a group frame, one for each router that asks
    path: tuple[Hop, ...] = ()                      # queues at the link port that it went through before


class _Owners(NamedTuple):
    """Routers of the three VMAC-VE entries that a frame meets."""

    own: int | None
    peer: int | None
    segment: int | None
    guarded: bool               # the segment takes frames from its router's peers only

    def router(self, *, group: bool) -> int | None:
        """The frame's router."""
        first = self.peer if group else self.own
        return self.segment if first is None else first


def _router(slot: VmacSlot | None) -> int | None:
    return None if slot is None else slot.router


class GoldenModel:
    """The data plane.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.
    has_macs : bool
        What ``Info.HAS_MACS`` tells.
    policer_cycles, shaper_cycles : int
        What ``Info.POLICER_CYCLES`` and ``Info.SHAPER_CYCLES`` tell.
    board : GoldenBoard, optional
        Registers of the board that the core is on.

    Attributes
    ----------
    tables : Tables
        Rows and counters.
    control : ControlEngine
        Control engine.
    host_mac : bytes
        Where punted frames are sent to.
    passes : list[Frame]
        The last frame that came in, once for each time that it, or what became of it, went through the pipeline.
    """

    def __init__(self, config: CoreConfig, *, has_macs: bool = False, policer_cycles: int = 0, shaper_cycles: int = 0,
                 board: GoldenBoard | None = None):
        self.config = config
        self.tables = Tables(config, lambda: board is not None and board.disable)
        self.control = ControlEngine(self.tables, self.queue_stat, has_macs=has_macs, policer_cycles=policer_cycles,
                                     shaper_cycles=shaper_cycles, board=board)
        self._board = board
        self.host_mac = BROADCAST
        self.passes: list[Frame] = []
        self._enqueued: Counter[tuple[int, int]] = Counter()
        self._engine = LinkEngine(self.tables)
        self._departures: deque[Departure] = deque()

    @property
    def counters(self) -> dict[tuple[int, int, int], int]:
        """Counters that are not zero, by router, ingress port and reason."""
        return self.tables.counters

    def queue_stat(self, router: int, port: int, stat: QueueStat) -> int:
        """Statistic of a router's queues when nothing is waiting. The high-water mark is the least that is possible."""
        match stat:
            case QueueStat.ENQUEUED:
                return self._enqueued[router, port]
            case QueueStat.HIGH_WATER:
                return min(1, self._enqueued[router, port])
            case QueueStat.FREE_CELLS:
                return self.config.cells
            case _:
                return 0

    # What comes in

    def receive(self, port: int, frame: bytes, error: RxError = RxError.NONE) -> list[Output]:
        """Take a frame, without FCS, at a data port that has a wire; gives the frames that leave, in order.

        Raises
        ------
        EndlessError
            If it makes more than :data:`MOST_PASSES` passes.
        """
        self.passes = []
        return self._with_link(self._receive(port, frame, error))

    def _receive(self, port: int, frame: bytes, error: RxError) -> list[Output]:
        if error in (RxError.FCS, RxError.PHY):
            return self._drop(self.config.no_router, port, Reason.DROP_FCS)
        if error == RxError.LENGTH or not ETHERNET_BYTES <= len(frame) <= self.config.max_frame - FCS_BYTES:
            return self._drop(self.config.no_router, port, Reason.DROP_LENGTH)
        return self._process(parse(port, frame))

    def _with_link(self, outputs: list[Output]) -> list[Output]:
        """Have everything that waits at the link port come in again, until nothing does."""
        passes = 0
        while self._departures:
            for arrival in self._engine.take(self._departures.popleft()):
                passes += 1
                if passes > MOST_PASSES:
                    self._departures.clear()
                    raise EndlessError(f"a frame has come in more than {MOST_PASSES} times at the link port: see how "
                                       "circuits, MAC tables and rules lead back to where it was")
                outputs = outputs + self._arrive(arrival)
        return outputs

    def _arrive(self, arrival: Arrival) -> list[Output]:
        frame = parse(self.config.ports - 1, arrival.octets)
        return self._process(frame._replace(given=arrival.given, path=arrival.path))

    def host_receive(self, frame: bytes, error: RxError = RxError.NONE) -> list[Output]:
        """Take a frame, without FCS, at the host port; gives the frames that leave, in order.

        Raises
        ------
        EndlessError
            If it makes more than :data:`MOST_PASSES` passes.
        """
        self.passes = []
        return self._with_link(self._host_receive(frame, error))

    def _host_receive(self, frame: bytes, error: RxError) -> list[Output]:
        host_port, no_router = self.config.host_port, self.config.no_router
        longest = self.config.max_frame - FCS_BYTES + HOST_HEADER_BYTES
        if error != RxError.NONE or not HOST_HEADER_BYTES <= len(frame) <= longest:
            return self._drop(no_router, host_port, Reason.DROP_HOST)
        request = HostFrame.from_bytes(frame)
        if not self._well_formed(request):
            return self._drop(no_router, host_port, Reason.DROP_HOST)
        self.host_mac = request.source
        if self._board is not None:
            self._board.frame()
        if request.type == HostFrameType.REQUEST:
            return [Output(host_port, self.control.request(request).to_bytes())]
        return self._inject(request.router, request.port, parse(host_port, request.payload))

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

    def _inject(self, router: int, egress: int, frame: Frame) -> list[Output]:
        context = self.tables.context(router)
        if not context.on or not context.ports >> egress & 1:
            return self._drop(router, frame.port, Reason.DROP_INJECT)
        verdict = Verdict(Reason.INJECTED, (egress,), traffic_class=TrafficClass.CONTROL)
        return self._send(router, frame, self._mirrored(verdict, context, NO_ACTION), NO_ACTION)

    # Which router takes it

    def _process(self, frame: Frame) -> list[Output]:
        self.passes.append(frame)
        owners = self._owners(frame)
        router = owners.router(group=frame.group)
        if frame.group:
            if router is None or not self._takes_group(router, frame, owners):
                return self._replicate(frame, owners)
            return self._admitted(router, frame, owners)
        if router is None:
            return self._drop(self.config.no_router, frame.port, Reason.DROP_NO_ROUTER)
        context = self.tables.context(router)
        if not context.on_port(frame.port):
            return self._drop(router, frame.port, Reason.DROP_DISABLED)
        if context.routed and owners.own is None:
            return self._drop(self.config.no_router, frame.port, Reason.DROP_NO_ROUTER)
        if not self._admits(router, frame, owners):
            return self._drop(router, frame.port, Reason.DROP_SOURCE)
        return self._admitted(router, frame, owners)

    def _owners(self, frame: Frame) -> _Owners:
        own = None if frame.group else self.tables.vmac(frame.dmac, frame.port, Role.OWN, frame.vid)
        peer = self.tables.vmac(frame.smac, frame.port, Role.PEER, frame.vid)
        segment = self.tables.vmac(0, frame.port, Role.SEGMENT, frame.vid)
        return _Owners(_router(own) if frame.given is None else frame.given, _router(peer), _router(segment),
                       segment is not None and bool(segment.guard))

    def _admits(self, router: int, frame: Frame, owners: _Owners) -> bool:
        context = self.tables.context(router)
        guarded = owners.guarded or context.guards(frame.port)
        return context.on_port(frame.port) and (owners.peer == router or not guarded)

    def _takes_group(self, router: int, frame: Frame, owners: _Owners) -> bool:
        context = self.tables.context(router)
        if not self._admits(router, frame, owners):
            return False
        return not context.routed or bool(
            context.multicast and frame.packet is not None and frame.packet.multicast)

    def _replicate(self, frame: Frame, owners: _Owners) -> list[Output]:
        """Group delivery: a copy to every router that asks for it."""
        outputs = []
        punt = Verdict.punt(Reason.PUNT_GROUP, control=True)
        for router in range(self.config.routers):
            context = self.tables.context(router)
            if context.routed and context.group >> frame.port & 1 and self._is_for(router, frame, owners):
                outputs += self._send(router, frame, punt, NO_ACTION, replicated=True)
        if outputs:
            return outputs
        owner = owners.router(group=True)
        if frame.port == self.config.link_port and owner is not None and (
                self.tables.context(owner).on_port(frame.port) and not self._admits(owner, frame, owners)):
            return self._drop(owner, frame.port, Reason.DROP_SOURCE)
        return self._drop(self.config.no_router, frame.port, Reason.DROP_NO_ROUTER)

    def _is_for(self, router: int, frame: Frame, owners: _Owners) -> bool:
        """Whether a group frame is for a routed router that asks for such frames."""
        if frame.port == self.config.link_port:
            return router == owners.router(group=True) and self._admits(router, frame, owners)
        context = self.tables.context(router)
        return (context.on_port(frame.port) and (owners.peer == router or not context.guards(frame.port))
                and self.tables.port(router, frame.port).vid == frame.vid and owners.segment in (None, router))

    # What it does with it

    def _admitted(self, router: int, frame: Frame, owners: _Owners) -> list[Output]:
        tables, context = self.tables, self.tables.context(router)
        rule = matching_rule(tables, context, frame)
        action = NO_ACTION if rule is None else tables.row(Table.ACTION, Action, rule)
        if rule is not None:
            tables.count_hit(rule, frame.received)
        ruled = self._by_rule(context, action)
        verdict = with_class(self._by_mode(context, frame, owners) if ruled is None else ruled, action)
        verdict = self._mirrored(verdict, context, action)
        if verdict.sent and not passes_policers(tables, context, action, frame):
            return self._drop(router, frame.port, Reason.DROP_POLICER)
        if (context.mode == RouterMode.BRIDGED and context.learn and not frame.smac >> 40 & 1
                and action.action != FilterAction.DROP):
            learn(tables, context, frame.smac, frame.port, frame.vid if frame.port == self.config.link_port else 0)
        return self._send(router, frame, verdict, action)

    def _by_rule(self, context: Context, action: Action) -> Verdict | None:
        """What the filter makes of a frame; None if it goes on."""
        match action.action:
            case FilterAction.DROP:
                return Verdict.drop(Reason.DROP_FILTER)
            case FilterAction.PUNT:
                return Verdict.punt(Reason.PUNT_FILTER)
            case FilterAction.SEND:
                return sent_by_rule(self.tables, context, action)
        return Verdict.drop(Reason.DROP_FILTER) if context.mode == RouterMode.SWITCHED else None

    def _by_mode(self, context: Context, frame: Frame, owners: _Owners) -> Verdict:
        if context.mode == RouterMode.BRIDGED:
            return bridged(self.tables, context, frame, is_own=owners.own is not None)
        if frame.group:
            assert frame.packet is not None
            return routed_group(self.tables, context, frame, frame.packet)
        return routed(self.tables, context, frame)

    def _mirrored(self, verdict: Verdict, context: Context, action: Action) -> Verdict:
        if not (context.mirror or action.mirror) or verdict.host is not None:
            return verdict
        if verdict.dropped and verdict.reason in NOT_MIRRORED:
            return verdict
        return verdict._replace(host=Reason.PUNT_MIRROR)

    # What goes out

    def _drop(self, router: int, port: int, reason: Reason) -> list[Output]:
        self.tables.count(router, port, reason)
        return []

    def _send(self, router: int, frame: Frame, verdict: Verdict, action: Action, *, replicated: bool = False
              ) -> list[Output]:
        """Make all copies; a frame is stored once, so that they share its changes but those of a port."""
        outputs, octets = [], frame.octets
        if verdict.reason is not None and verdict.dropped:
            self.tables.count(router, frame.port, verdict.reason)
        elif verdict.reason is not None:
            octets, tci = rewritten(frame, verdict, action), stored_tci(frame, action)
            for egress in verdict.ports:
                port = self.tables.port(router, egress)
                copy = octets
                if verdict.routed and not action.set_smac:
                    copy = octets[:6] + port.mac.to_bytes(6, "big") + octets[12:]
                tag = egress_tci(verdict, tci, action, port.vid)
                output = self._copy(Output(egress, tagged(copy, tag), (router, frame.port, verdict.reason),
                                           verdict.traffic_class, path=frame.path))
                if egress == self.config.link_port:
                    replaced = verdict.vid or keeps_tag(verdict, tci, action)
                    self._depart(output, frame, copy, tag, came_by=0 if replaced else frame.vid)
                else:
                    outputs.append(output)
        if verdict.host is not None:
            punted = HostFrame(HostFrameType.PUNT, octets, destination=self.host_mac, source=BOARD_MAC, router=router,
                               port=frame.port, reason=verdict.host, tci=frame.tci or 0)
            outputs.append(self._copy(Output(self.config.host_port, punted.to_bytes(),
                                             (router, frame.port, verdict.host), verdict.host_class, replicated,
                                             frame.path)))
        return outputs

    def _depart(self, output: Output, frame: Frame, octets: bytes, tci: int | None, *, came_by: int) -> None:
        """A copy goes to the link port; its tag is none of its octets."""
        assert output.event is not None
        router, ingress, _ = output.event
        flow_key = 0 if frame.packet is None else frame.packet.flow_key
        hashed = flow_hash(self.tables.context(router), flow_key)
        self._departures.append(Departure(router, octets, tci, came_by if ingress == output.port else 0, hashed,
                                          (*output.path, Hop(ingress, router, output.traffic_class))))

    def _copy(self, output: Output) -> Output:
        assert output.event is not None
        self.tables.count(*output.event)
        self._enqueued[output.event[0], output.port] += 1
        return output
