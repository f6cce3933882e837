"""Requests to a board that are under way: go-back-N (RFC 3366, 2.2) with up to ``size`` frames in flight.

The board executes requests strictly in the order of their sequence numbers, each exactly once, and says with every
answer which number it expects next. So a number below the one expected was executed, even if its answer was lost; what
is not known then is only its results.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ...hdl.layouts import BOARD_WRITABLE, HostStatus, Opcode, OpStatus, Table
from .errors import BoardOutOfStep, BoardTimeout
from .frames import Header, Op, OpResult, decode_results
from .hostport import HostPort

__all__ = ["Batch", "RequestWindow"]

SEQUENCE_MASK = 0xFFFF_FFFF
#: The time to wait doubles with each attempt that nothing came back from, up to this, in seconds.
LONGEST_WAIT = 2.0
#: An answer that awaits a number so little behind the window was overtaken on its way, unless it keeps coming.
STALE = 64


@dataclass(eq=False)
class Batch:
    """Accesses of one frame, and their outcome; made only if they can be encoded.

    Attributes
    ----------
    start : int
        Position of the first one in what the caller asked for.
    recovers : Batch
        Batch whose results were lost, and are asked for again by this one.
    encoded : bytes
        The accesses as they are sent.
    """

    start: int
    ops: list[Op]
    sequence: int = 0
    results: list[OpResult] | None = None
    recovers: "Batch | None" = None
    encoded: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.encoded = b"".join(op.to_bytes() for op in self.ops)

    def recovery(self) -> "Batch":
        """A batch that finds out the results of this one, after it was executed without an answer.

        A READ is repeated: it then tells of the table at a time between the call and its return, too. A WRITE must not
        be, since a later one may have changed the row again. Reading the row instead makes the board do the same
        checks; that some tables can't be written it need not be asked.
        """
        return Batch(self.start, [Op(Opcode.READ, op.table, op.router, op.row, op.word)
                                  if op.opcode == Opcode.WRITE else op for op in self.ops], recovers=self)

    def recover(self, results: list[OpResult]) -> list[OpResult]:
        """Results of this batch, from those of its recovery."""
        return [self._recovered(op, result) for op, result in zip(self.ops, results, strict=True)]

    @staticmethod
    def _recovered(op: Op, result: OpResult) -> OpResult:
        if op.opcode != Opcode.WRITE:
            return result
        if result.status == OpStatus.OK and (op.table in (Table.INFO, Table.QUEUE) or (
                op.table == Table.BOARD and op.row not in BOARD_WRITABLE)):
            return OpResult(OpStatus.READ_ONLY, op.data)
        return OpResult(result.status, op.data)


class RequestWindow:
    """Sends batches in order and collects their results, whatever the link loses, repeats or reorders.

    Not thread-safe but for responses, which the host port's thread hands over.

    Parameters
    ----------
    hostport : HostPort
        Where to.
    timeout : float
        Seconds to wait for an answer before a first repetition.
    retries : int
        Repetitions without any progress before it gives up.
    size : int
        Frames in flight.

    Attributes
    ----------
    sent, repeated, recovered : int
        Requests sent, of these repetitions, and batches whose results were lost.
    in_step : bool
        The board is known to expect the next number: :meth:`sync` was called, and no exchange was broken off since.
    """

    def __init__(self, hostport: HostPort, *, timeout: float, retries: int, size: int):
        self.sent = self.repeated = self.recovered = 0
        self._hostport = hostport
        self._timeout = timeout
        self._retries = retries
        self._size = size
        self._longest_wait = max(LONGEST_WAIT, timeout)
        self._next = 0
        self.in_step = False
        self._responses: deque[tuple[Header, bytes]] = deque()
        self._arrived = threading.Condition()
        hostport.set_response_handler(self._take_response)

    def sync(self, ops: list[Op]) -> list[OpResult]:
        """Start a new sequence of numbers with a request that does ``ops``, which must be harmless when repeated.

        It starts at random, so that answers to an earlier driver are not taken for one to this.
        """
        self._next = random.getrandbits(32)
        self.in_step = True
        batch = Batch(0, ops)
        self._exchange(deque([batch]), lambda _: True, sync=True)
        assert batch.results is not None
        return batch.results

    def run(self, batches: list[Batch], go_on: Callable[[Batch], bool]) -> None:
        """Execute batches. One whose results ``go_on`` does not like is the last for which anything is sent.

        Raises
        ------
        BoardTimeout
            If the board does not answer.
        BoardOutOfStep
            If it expects a number outside of the window. What was in flight may have been done or not.
        """
        self._exchange(deque(batches), go_on)

    def _exchange(self, waiting: deque[Batch], go_on: Callable[[Batch], bool], *, sync: bool = False) -> None:
        if not self.in_step:
            raise BoardOutOfStep()
        self.in_step = False  # until the end, unless an exception breaks off
        flight: deque[Batch] = deque()
        attempts, wait, gone_back_to = 0, self._timeout, None
        deadline = 0.0
        with self._arrived:
            self._responses.clear()
        while waiting or flight:
            while waiting and len(flight) < self._size:
                batch = waiting.popleft()
                batch.sequence = self._next
                self._next = self._next + 1 & SEQUENCE_MASK
                flight.append(batch)
                self._send(batch, sync)
                if len(flight) == 1:
                    deadline = time.monotonic() + wait

            response = self._response(deadline)
            if response is None:
                attempts += 1
                if attempts > self._retries:
                    raise BoardTimeout(_asked(flight[0]), self._patience(), attempts)
                wait = min(2 * wait, self._longest_wait)
                self._repeat(flight, sync)
                deadline = time.monotonic() + wait
                continue

            executed = self._executed(*response, flight, patient=attempts < 2)
            if executed:
                attempts, wait = 0, self._timeout
                deadline = time.monotonic() + wait
                for _ in range(executed):
                    self._finish(flight.popleft(), waiting, go_on)
            header = response[0]
            if (header.reason == HostStatus.OUT_OF_SEQUENCE and flight and header.expected == flight[0].sequence
                    and gone_back_to != header.expected):
                # The first loss of this request shows by the answers to those after it; a further one, by the time.
                gone_back_to = header.expected
                self._repeat(flight, sync)
        self.in_step = True

    @staticmethod
    def _executed(header: Header, frame: bytes, flight: deque[Batch], *, patient: bool) -> int:
        """Batches, from the first one in flight, that a response tells to have been executed."""
        position = header.sequence - flight[0].sequence & SEQUENCE_MASK
        if position >= len(flight):
            return 0  # to a request that is done with
        if header.reason == HostStatus.OK:
            results = decode_results(frame, header)
            if len(results) != len(flight[position].ops):
                return 0  # not an answer to what was asked, so it is as good as lost
            flight[position].results = results
            return position + 1
        executed = header.expected - flight[0].sequence & SEQUENCE_MASK
        if executed <= len(flight):
            return executed
        behind = SEQUENCE_MASK + 1 - executed
        if patient and behind <= STALE:
            return 0  # overtaken by later answers
        raise BoardOutOfStep(header.expected, header.sequence)

    def _finish(self, batch: Batch, waiting: deque[Batch], go_on: Callable[[Batch], bool]) -> None:
        if batch.results is None:
            self.recovered += 1
            waiting.appendleft((batch.recovers or batch).recovery())
            return
        if batch.recovers is not None:
            lost = batch.recovers
            lost.results = lost.recover(batch.results)
            batch = lost
        if not go_on(batch):
            for later in [later for later in waiting if later.recovers is None]:
                waiting.remove(later)

    def _repeat(self, flight: deque[Batch], sync: bool) -> None:
        for batch in flight:
            self.repeated += 1
            self._send(batch, sync)

    def _send(self, batch: Batch, sync: bool) -> None:
        self.sent += 1
        self._hostport.request(batch.sequence, batch.encoded, sync=sync)

    def _patience(self) -> float:
        return sum(min(self._timeout * 2 ** attempt, self._longest_wait) for attempt in range(self._retries + 1))

    def _response(self, deadline: float) -> tuple[Header, bytes] | None:
        with self._arrived:
            self._arrived.wait_for(lambda: self._responses, timeout=max(0.0, deadline - time.monotonic()))
            return self._responses.popleft() if self._responses else None

    def _take_response(self, header: Header, frame: bytes) -> None:
        with self._arrived:
            self._responses.append((header, frame))
            self._arrived.notify()


def _asked(batch: Batch) -> str:
    others = len(batch.ops) - 1
    return batch.ops[0].describe() + (f" and {others} more" if others else "")
