"""Compares what a core does with what the golden model says, frame by frame and counter by counter."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from polyrouter.hdl.layouts import HostFrameType, QueueStat, Reason, RxError

from .golden import GoldenModel, Output
from .host_frames import HostFrame

__all__ = ["Scoreboard"]

SENT = frozenset(reason for reason in Reason if not reason.name.startswith("DROP"))


class Expected(NamedTuple):
    """A frame that has to come out."""

    frame: bytes
    event: tuple[int, int, int]


class Scoreboard:
    """Takes frames in the order in which they enter a core, and what comes out of it.

    Frames with the same ingress and egress port must come out in order; frames of different ingress ports may overtake
    each other. Copies of group frames have an order of their own: they are enqueued when they have been made, so that
    other frames may overtake them on the way to the host port.

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
        # For each egress port: a queue for each ingress port, then one more for each, of copies of group frames
        ports = self.config.all_ports
        self._expected: list[list[deque[Expected]]] = [[deque() for _ in range(2 * ports)] for _ in range(ports)]

    @property
    def outstanding(self) -> int:
        """Frames that are still to come out."""
        return sum(len(queue) for queues in self._expected for queue in queues)

    @property
    def outstanding_bytes(self) -> int:
        """Bytes of the frames that are still to come out."""
        return sum(len(item.frame) for queues in self._expected for queue in queues for item in queue)

    def enter(self, port: int, frame: bytes, error: RxError = RxError.NONE) -> None:
        """A frame enters at a data port."""
        self.expect(self.model.receive(port, frame, error))

    def enter_host(self, frame: bytes, error: RxError = RxError.NONE) -> None:
        """A frame other than a REQUEST enters at the host port."""
        self.expect(self.model.host_receive(frame, error))

    def expect(self, outputs: list[Output]) -> None:
        """Frames that must come out."""
        for port, frame, event in outputs:
            if event is not None:
                _, ingress, reason = event
                queue = ingress + self.config.all_ports * (reason == Reason.PUNT_GROUP)
                self._expected[port][queue].append(Expected(self._wire(frame), event))

    def leave(self, port: int, frame: bytes) -> None:
        """A frame came out."""
        self.received += 1
        if port == self.config.host_port:
            host_frame = HostFrame.from_bytes(frame)
            if host_frame.type == HostFrameType.RESPONSE:
                self.responses.append(host_frame)
                return
        queues = self._expected[port]
        for queue in queues:
            if queue and queue[0].frame == frame:
                queue.popleft()
                return
        if self.may_drop:
            for queue in queues:
                if any(item.frame == frame for item in queue):
                    while queue[0].frame != frame:
                        self.missing.append((port, queue.popleft()))
                    queue.popleft()
                    return
        self.errors.append(f"unexpected at port {port}: {frame.hex()}\n  awaited: " + "\n  or ".join(
            f"{queue[0].frame.hex()} {self._describe(queue[0].event)}" for queue in queues if queue))

    def _describe(self, event: tuple[int, int, int]) -> str:
        router, port, reason = event
        return f"(router {router}, ingress port {port}, {Reason(reason).name})"

    def finish(self) -> None:
        """Nothing will come out any more.

        Raises
        ------
        AssertionError
            If a frame was wrong, or is missing although none may be.
        """
        for port, queues in enumerate(self._expected):
            for queue in queues:
                if self.may_drop:
                    self.missing += [(port, item) for item in queue]
                elif queue:
                    self.errors.append(f"{len(queue)} frames missing at port {port}, first: {queue[0].frame.hex()} "
                                       f"{self._describe(queue[0].event)}")
                queue.clear()
        assert not self.errors, "\n".join([f"{len(self.errors)} errors", *self.errors[:5]])

    def check_counters(self, actual: Mapping[tuple[int, int, int], int]) -> None:
        """Compare all counters, after :meth:`finish`.

        Where nothing may be dropped, every counter must be the model's. Else every frame that is missing must be
        counted as one that found no room, once and under its own ports and router.

        Raises
        ------
        AssertionError
            If a counter is wrong.
        """
        expected: Counter[tuple[int, int, int]] = Counter()
        expected.update(self.model.counters)
        expected.subtract(item.event for _, item in self.missing)
        host_port, no_router = self.config.host_port, self.config.no_router
        wrong = []
        if not self.may_drop:
            wrong = [(key, expected[key], actual.get(key, 0)) for key in {*expected, *actual}
                     if expected[key] != actual.get(key, 0)]
        else:
            overflow = {port: actual.get((no_router, port, Reason.DROP_OVERFLOW), 0)
                        for port in range(self.config.all_ports)}
            refused: Counter[tuple[int, int, int]] = Counter(
                (item.event[0], item.event[1],
                 Reason.DROP_PUNT_QUEUE if egress == host_port else Reason.DROP_QUEUE)
                for egress, item in self.missing)
            for key in {*expected, *actual, *refused}:
                _, port, reason = key
                is_, most = actual.get(key, 0), expected[key] + refused[key]
                if reason == Reason.DROP_OVERFLOW:
                    continue
                # Frames that overflowed are among those missing, and among those that would have been dropped anyway
                least = most if reason in SENT or not overflow[port] else 0
                if not least <= is_ <= most:
                    wrong.append((key, most, is_))
            for port in range(self.config.all_ports):
                came_in = sum(count for key, count in self.model.counters.items() if key[1] == port)
                counted = sum(count for key, count in actual.items() if key[1] == port)
                if came_in != counted:
                    wrong.append(((-1, port, -1), came_in, counted))
        assert not wrong, "counters (router, ingress port, reason): " + ", ".join(
            f"{router}, {port}, {Reason(reason).name if reason in list(Reason) else 'all'}: "
            f"expected {should}, read {is_}" for (router, port, reason), should, is_ in sorted(wrong)[:20])

    def check_queues(self, actual: Mapping[tuple[int, QueueStat], int], counters: Mapping[tuple[int, int, int], int]
                     ) -> None:
        """Compare the statistics of all queues when they are empty, after :meth:`finish`.

        Raises
        ------
        AssertionError
            If one is wrong.
        """
        missing = Counter(port for port, _ in self.missing)
        for port in range(self.config.all_ports):
            is_ = {stat: actual[port, stat] for stat in QueueStat}
            enqueued = self.model.queue_stat(port, QueueStat.ENQUEUED) - missing[port]
            assert is_[QueueStat.DEPTH] == 0 and is_[QueueStat.UNDERFLOW] == 0, (port, is_)
            assert is_[QueueStat.FREE_CELLS] == self.config.cells, (port, is_)
            assert is_[QueueStat.ENQUEUED] == enqueued, (port, is_, enqueued)
            assert min(1, enqueued) <= is_[QueueStat.HIGH_WATER] <= min(enqueued, self.config.queue_frames), (port, is_)
        # A frame that is refused is refused by one queue: what the queues count and what the counters say is the same
        host_port = self.config.host_port
        for reason, ports in (Reason.DROP_PUNT_QUEUE, [host_port]), (Reason.DROP_QUEUE, range(host_port)):
            counted = sum(count for key, count in counters.items() if key[2] == reason)
            refused = sum(actual[port, QueueStat.DROPPED] for port in ports)
            assert counted == refused, (reason, counted, refused)
