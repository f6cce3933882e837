"""How much may be injected into a board that is slower than who injects.

A queue lies before a host port, a simulated board's is a TAP's of 500 frames, and what finds it full is lost, requests
of the driver too. So who can wait is told how much room there is: as much as a window less what was injected and not
yet taken. What was taken the board tells by its answers to *probes*, requests with a sequence number that it does not
expect, which it gives back as they came and without doing anything (``docs/dataplane.md``, "Host port").
"""

import time
from collections.abc import Callable

from ...hdl.config import HOST_HEADER_BYTES
from ...hdl.layouts import HostStatus, Info, Table
from .frames import OP_BYTES, Header, Op, decode_results

__all__ = ["Pace"]

#: Frames that may be on their way into a board. Requests wait behind them: a simulated board on a busy machine may take
#: a hundred frames a second, and the driver must not lose patience. The fastest answers within a few milliseconds, in
#: which it takes fewer.
WINDOW = 32
#: Frames after which the board is asked how far it is.
_STRIDE = WINDOW // 4
#: Seconds after which a probe or its answer counts as lost.
_LOST = 0.25
#: Upper half of a probe's data, by which its answer is known.
_MARK = int.from_bytes(b"pace", "big") << 32
_COUNT_MASK = (1 << 32) - 1


class Pace:
    """Counts what was injected and what the board has taken of it.

    Parameters
    ----------
    send : callable
        Sends a request: sequence number and accesses.

    Attributes
    ----------
    injected : int
        Frames so far; whoever injects counts them up.
    sequence : int
        Of the driver's last request.
    """

    def __init__(self, send: Callable[[int, bytes], None]) -> None:
        self.injected = 0
        self.sequence = 0
        self._send = send
        self._taken = self._asked = 0
        self._asked_at = 0.0

    def room(self) -> int:
        """Frames that may be injected now."""
        waiting = self.injected - self._taken
        now = time.monotonic()
        if self.injected - self._asked >= _STRIDE or (waiting >= WINDOW and now - self._asked_at > _LOST):
            self._asked, self._asked_at = self.injected, now
            probe = Op.read(Table.INFO, Info.MAGIC)
            probe = Op(probe.opcode, probe.table, row=probe.row, data=_MARK | self.injected & _COUNT_MASK)
            # As far from what the driver is at as can be.
            self._send(self.sequence ^ 1 << 31, probe.to_bytes())
        return max(0, WINDOW - waiting)

    def answered(self, header: Header, frame: bytes) -> bool:
        """Whether a response is to a probe; then it tells how far the board is."""
        if header.reason != HostStatus.OUT_OF_SEQUENCE or header.length != OP_BYTES:
            return False
        data = decode_results(frame[:HOST_HEADER_BYTES + OP_BYTES], header)[0].data
        if data & ~_COUNT_MASK != _MARK:
            return False
        behind = self.injected - data & _COUNT_MASK
        self._taken = max(self._taken, self.injected - behind)
        return True
