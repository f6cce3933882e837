"""Compares what a core does with what the golden model says, frame by frame and counter by counter."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from polyrouter.hdl.layouts import HostFrameType, QueueStat, Reason, RxError

from .golden import GoldenModel, Output
from .golden_packet import Hop
from .host_frames import HostFrame
from .interleaving import Interleaving

__all__ = ["Scoreboard"]

SENT = frozenset(reason for reason in Reason if not reason.name.startswith("DROP"))

Event = tuple[int, int, int]


class Expected(NamedTuple):
    """A copy that has to come out."""

    frame: bytes
    event: Event
    entry: int                  # number of the frame that it is a copy of
    replicated: bool
    path: tuple[Hop, ...] = ()  # queues at the link port that it is to go through before

    @property
    def routers(self) -> frozenset[int]:
        """Whose frame it is on its way."""
        return frozenset({self.event[0], *(hop.router for hop in self.path)})


class Order(NamedTuple):
    """Copies at an egress port that agree in these keep their order."""

    ingress: int
    router: int
    traffic_class: int
    replicated: bool
    path: tuple[Hop, ...] = ()


class Scoreboard:
    """Takes frames in the order in which they enter a core, and what comes out of it.

    Copies of one router, one class and one ingress port must come out of an egress port in order; all others may
    overtake each other. Copies of group frames to routers have an order of their own: they are enqueued when they have
    been made, so that other frames may overtake them on the way to the host port. Of frames that went through the link
    port, those keep their order that went through the same queues there.

    Parameters
    ----------
    model : GoldenModel
        With the same tables as the core.
    wire : Callable[[bytes], bytes]
        What the egress port makes of a frame: a MAC pads it.
    may_drop : bool
        Buffers may be full, so that frames are missing.

    Attributes
    ----------
    errors : list[str]
        What was wrong so far.
    missing : list[tuple[int, Expected]]
        With ``may_drop``: egress port and frame of what did not come out.
    responses : deque[HostFrame]
        RESPONSE frames, to be taken by the test.
    received : int
        Frames that came out.
    """

    def __init__(self, model: GoldenModel, wire: Callable[[bytes], bytes] = bytes, *, may_drop: bool = False):
        self.model = model
        self.config = model.config
        self.may_drop = may_drop
        self.errors: list[str] = []
        self.missing: list[tuple[int, Expected]] = []
        self.responses: deque[HostFrame] = deque()
        self.received = 0
        self._wire = wire
        self._entries: list[int] = []               # copies of each frame that entered and has any
        self._expected: list[Interleaving[Order, Expected]] = [Interleaving() for _ in range(self.config.all_ports)]

    @property
    def outstanding(self) -> int:
        """Frames that are still to come out."""
        return sum(len(expected.waiting) for expected in self._expected)

    def outstanding_of(self, routers: frozenset[int]) -> int:
        """Those that are some routers', or are to be on their way, as far as that is known: not less."""
        return sum(not item.routers.isdisjoint(routers) for expected in self._expected for item in expected.may_wait)

    @property
    def outstanding_bytes(self) -> int:
        """Bytes of the frames that are still to come out."""
        return sum(len(item.frame) for expected in self._expected for item in expected.waiting)

    def enter(self, port: int, frame: bytes, error: RxError = RxError.NONE) -> None:
        """A frame enters at a data port."""
        self.expect(self.model.receive(port, frame, error))

    def enter_host(self, frame: bytes, error: RxError = RxError.NONE) -> None:
        """A frame other than a REQUEST enters at the host port."""
        self.expect(self.model.host_receive(frame, error))

    def expect(self, outputs: list[Output]) -> None:
        """Frames that must come out, all copies of one."""
        entry, copies = len(self._entries), 0
        for port, frame, event, traffic_class, replicated, path in outputs:
            if event is not None:
                copies += 1
                order = Order(event[1], event[0], traffic_class, replicated, path)
                self._expected[port].put(order, Expected(self._wire(frame), event, entry, replicated, path))
        if copies:
            self._entries.append(copies)

    def leave(self, port: int, frame: bytes) -> None:
        """A frame came out."""
        self.received += 1
        if port == self.config.host_port:
            host_frame = HostFrame.from_bytes(frame)
            if host_frame.type == HostFrameType.RESPONSE:
                self.responses.append(host_frame)
                return
        expected = self._expected[port]
        if expected.take(frame):
            return
        lost = expected.skip_to(frame) if self.may_drop else None
        if lost is not None:
            self.missing += [(port, item) for item in lost]
            return
        self.errors.append(f"unexpected at port {port}: {frame.hex()}\n  awaited: " + "\n  or ".join(
            f"{item.frame.hex()} {self._describe(item.event)}" for item in expected.heads))

    def _describe(self, event: Event) -> str:
        router, port, reason = event
        return f"(router {router}, ingress port {port}, {Reason(reason).name})"

    def finish(self) -> None:
        """Nothing will come out any more.

        Raises
        ------
        AssertionError
            If a frame was wrong, or is missing although none may be.
        """
        for port, expected in enumerate(self._expected):
            left = expected.waiting
            if self.may_drop:
                self.missing += [(port, item) for item in left]
            elif left:
                self.errors.append(f"{len(left)} frames missing at port {port}, first: {left[0].frame.hex()} "
                                   f"{self._describe(left[0].event)}")
            expected.clear()
        assert not self.errors, "\n".join([f"{len(self.errors)} errors", *self.errors[:5]])

    def check_counters(self, actual: Mapping[Event, int]) -> None:
        """Compare all counters, after :meth:`finish`.

        Where nothing may be dropped, every counter must be the model's. Else every copy that is missing must be
        counted as one that found no room, once and under its own ports and router; but a frame of which all copies are
        missing may have been dropped before they were made, and was then counted once.

        Raises
        ------
        AssertionError
            If a counter is wrong.
        """
        expected: Counter[Event] = Counter(self.model.counters)
        expected.subtract(item.event for _, item in self.missing)
        if self.may_drop:
            wrong = self._wrong_with_drops(expected, actual)
        else:
            wrong = [(key, expected[key], actual.get(key, 0)) for key in {*expected, *actual}
                     if expected[key] != actual.get(key, 0)]
        assert not wrong, "counters (router, ingress port, reason): " + ", ".join(
            f"{router}, {port}, {Reason(reason).name if reason in list(Reason) else 'all'}: "
            f"expected {should}, read {is_}" for (router, port, reason), should, is_ in sorted(wrong)[:20])

    def _lost_whole(self) -> dict[int, list[Expected]]:
        """Frames of which no copy came out."""
        lost: dict[int, list[Expected]] = {}
        for _, item in self.missing:
            lost.setdefault(item.entry, []).append(item)
        return {entry: items for entry, items in lost.items() if len(items) == self._entries[entry]}

    def _wrong_with_drops(self, expected: Counter[Event], actual: Mapping[Event, int]) -> list[tuple[Event, int, int]]:
        no_router, ports = self.config.no_router, range(self.config.all_ports)
        overflow = [actual.get((no_router, port, Reason.DROP_OVERFLOW), 0) for port in ports]
        refused: Counter[Event] = Counter(
            (item.event[0], item.event[1],
             Reason.DROP_PUNT_QUEUE if egress == self.config.host_port else Reason.DROP_QUEUE)
            for egress, item in self.missing)
        fewer: Counter[int] = Counter()             # events that frames lost before they were copied do not have
        for items in self._lost_whole().values():
            port = items[0].event[1]
            fewer[port] += len(items) - 1 + (items[0].event[2] == Reason.PUNT_MIRROR)
            refused[no_router, port, Reason.DROP_PUNT_QUEUE] += items[0].replicated
        wrong = []
        for key in {*expected, *actual, *refused}:
            _, port, reason = key
            is_, most = actual.get(key, 0), expected[key] + refused[key]
            if reason == Reason.DROP_OVERFLOW:
                continue
            # Frames that overflowed are among those missing, and among those that would have been dropped anyway
            least = most if reason in SENT or not (overflow[port] or fewer[port]) else 0
            if not least <= is_ <= most:
                wrong.append((key, most, is_))
        for port in ports:
            came_in = sum(count for key, count in self.model.counters.items() if key[1] == port)
            counted = sum(count for key, count in actual.items() if key[1] == port)
            if not came_in - fewer[port] <= counted <= came_in:
                wrong.append(((-1, port, -1), came_in, counted))
        return wrong

    def check_hits(self, actual: Mapping[int, int]) -> None:
        """Compare rows of the hit table's memory, after :meth:`finish`.

        Raises
        ------
        AssertionError
            If one is wrong, or more than it can be if frames were lost.
        """
        hits = self.model.tables.hits
        wrong = {row: (hits.get(row, 0), value) for row, value in actual.items()
                 if not (0 <= value <= hits.get(row, 0) if self.may_drop else value == hits.get(row, 0))}
        assert not wrong, f"rows of the hit table (expected, read): {wrong}"

    def check_queues(self, actual: Mapping[tuple[int, int, QueueStat], int], counters: Mapping[Event, int]) -> None:
        """Compare the statistics of all queues, by router and port, when they are empty, after :meth:`finish`.

        Raises
        ------
        AssertionError
            If one is wrong.
        """
        missing = Counter((item.event[0], port) for port, item in self.missing)
        ports, host_port = range(self.config.all_ports), self.config.host_port
        overflows = any(count for key, count in counters.items() if key[2] == Reason.DROP_OVERFLOW)
        for router in range(self.config.routers + 1):
            dropped = Counter[int]()
            for port in ports:
                is_ = {stat: actual[router, port, stat] for stat in QueueStat}
                where = router, port, is_
                assert is_[QueueStat.DEPTH] == 0 and is_[QueueStat.UNDERFLOW] == 0, where
                assert is_[QueueStat.FREE_CELLS] == self.config.cells, where
                if router == self.config.no_router:
                    continue
                lost = missing[router, port]
                enqueued = self.model.queue_stat(router, port, QueueStat.ENQUEUED) - lost
                assert is_[QueueStat.ENQUEUED] == enqueued, (*where, enqueued)
                assert min(1, enqueued) <= is_[QueueStat.HIGH_WATER] <= min(enqueued, self.config.queue_frames), where
                assert is_[QueueStat.DROPPED] <= lost, (*where, lost)
                # Those that never came to the queue were lost at the ingress port, or before they were copied
                assert overflows or self._early(router) or is_[QueueStat.DROPPED] == lost, (*where, lost)
                dropped[port == host_port] += is_[QueueStat.DROPPED]
            if router != self.config.no_router:
                # What a router's queues count and what its counters say is the same
                for reason, is_host in (Reason.DROP_PUNT_QUEUE, True), (Reason.DROP_QUEUE, False):
                    counted = sum(count for key, count in counters.items() if key[0] == router and key[2] == reason)
                    assert counted == dropped[is_host], (router, reason, counted, dropped[is_host])

    def _early(self, router: int) -> bool:
        """Whether copies of group frames are missing that may never have been made."""
        return any(item.replicated and item.event[0] == router for _, item in self.missing)
