"""The transport to a board that shares a data port: host frames in authenticated envelopes.

What is in an envelope, and why the handshake is as it is: ``docs/boards.md``, "Host link".
"""

import errno
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from ...hdl.hostlink.layouts import AUTH_HEADER_BYTES, AUTH_WELCOME, AuthKind
from ...hdl.layouts import BOARD_MAC
from .envelope import Welcome, decode, encode, is_authentic
from .transport import FrameTransport, TransportError

__all__ = ["AuthenticatedTransport", "LinkCounters"]

#: Seconds without anything authentic from the board, although there were frames to it, after which it is greeted: it
#: may have been started again.
SILENCE = 0.2
#: Seconds between two greetings at least, whatever others send.
PAUSE = 0.05
_MOST_SEQUENCE = (1 << 64) - 1
_HELLO_BODY = bytes(AUTH_WELCOME.size // 8)

_log = logging.getLogger(__name__)


@dataclass
class LinkCounters:
    """Frames of an authenticated transport.

    Attributes
    ----------
    sent, received : int
        Host frames to the board, and authentic ones from it.
    hellos, welcomes : int
        Greetings, and answers that were authentic and to the last greeting.
    forged : int
        Frames with a wrong tag: not from the board, or from before or after a restart of it.
    replayed : int
        Frames that are authentic and not new, answers to old greetings included.
    foreign : int
        Frames of this EtherType that are none that a board sends to this host.
    unsent : int
        Host frames that were lost as the board's nonce is not known yet.
    """

    sent: int = 0
    received: int = 0
    hellos: int = 0
    welcomes: int = 0
    forged: int = 0
    replayed: int = 0
    foreign: int = 0
    unsent: int = 0

    def as_dict(self) -> dict[str, int]:
        """By name, for JSON."""
        return asdict(self)


class AuthenticatedTransport:
    """A :class:`.transport.FrameTransport` in envelopes on another one. It may be used from several threads.

    It greets the board at once, and again when what comes is not authentic any more, or nothing does. Until the board
    has answered, frames are lost; whoever needs an answer to them repeats them.

    Parameters
    ----------
    wire : FrameTransport
        Carries whole Ethernet frames of ``AUTH_ETHERTYPE`` (a packet socket); closed with this.
    key : bytes
        16 of them, the board's.
    address : bytes
        MAC address of the host on that wire.
    board : bytes
        MAC address of the board.
    clock : callable
        Nanoseconds since 1970: where sequence numbers come from. They rise even if it goes back.
    monotonic : callable
        Seconds, for pauses.

    Attributes
    ----------
    address : bytes
    counters : LinkCounters
    """

    def __init__(self, wire: FrameTransport, key: bytes, address: bytes, board: bytes = BOARD_MAC, *,
                 clock: Callable[[], int] = time.time_ns, monotonic: Callable[[], float] = time.monotonic):
        self.address = address
        self.counters = LinkCounters()
        self._wire, self._key, self._board = wire, key, board
        self._clock, self._monotonic = clock, monotonic
        # Numbers must arrive in the order in which they were given.
        self._lock = threading.Lock()
        self._sequence = 0              # of the last frame to the board
        self._nonce: int | None = None
        self._received = 0              # of the last frame from the board
        self._challenge: int | None = None
        self._greeted_at = -PAUSE
        self._waiting_since: float | None = None    # since when nothing came, with frames sent
        with self._lock:
            self._greet()

    def send(self, frame: bytes) -> int:
        """Send one host frame.

        Raises
        ------
        BlockingIOError
            If the board's nonce is not known yet.
        """
        with self._lock:
            now = self._monotonic()
            if self._waiting_since is None:
                self._waiting_since = now
            if self._nonce is None or now - self._waiting_since >= SILENCE:
                self._greet()
            if self._nonce is None:
                self.counters.unsent += 1
                raise BlockingIOError(errno.EAGAIN, "the board has not answered to the greeting yet")
            self._sequence = max(self._sequence + 1, self._clock())
            if self._sequence > _MOST_SEQUENCE:
                raise TransportError(errno.EOVERFLOW, "the board was sent the greatest sequence number there is: start "
                                                      "it again, and set this host's clock")
            self._wire.send(encode(self._key, self._board, self.address, AuthKind.DATA, self._sequence, frame,
                                   self._nonce))
            self.counters.sent += 1
        return len(frame)

    def recv(self, size: int) -> bytes:
        """The next host frame.

        Raises
        ------
        BlockingIOError
            If what came was none, or was refused.
        """
        frame = self._wire.recv(size)
        if not frame:
            return b""
        with self._lock:
            body = self._open(frame)
        if body is None:
            raise BlockingIOError(errno.EAGAIN, "what came was no host frame")
        return body

    def fileno(self) -> int:
        """Of the wire."""
        return self._wire.fileno()

    def close(self) -> None:
        """Close the wire."""
        self._wire.close()

    def _greet(self) -> None:
        """Send a HELLO, unless there was one just now."""
        now = self._monotonic()
        if now - self._greeted_at < PAUSE:
            return
        self._greeted_at = now
        if self._challenge is None:     # else the board may be slow, and its answer to the last one still come
            self._challenge = secrets.randbits(64)
        try:
            self._wire.send(encode(self._key, self._board, self.address, AuthKind.HELLO, self._challenge, _HELLO_BODY,
                                   0))
        except OSError as error:        # it is repeated
            _log.debug("greeting the board failed: %s", error)
            return
        self.counters.hellos += 1

    def _open(self, frame: bytes) -> bytes | None:
        """What is in an envelope, if it is a host frame that is authentic and new."""
        envelope = decode(frame)
        if envelope is None or envelope.source != self._board:
            self.counters.foreign += 1
            return None
        body = frame[AUTH_HEADER_BYTES:]
        if envelope.kind == AuthKind.WELCOME:
            self._welcome(frame, envelope.sequence, body)
            return None
        if self._nonce is None or not is_authentic(self._key, frame, self._nonce):
            self.counters.forged += 1
            self._greet()
            return None
        if envelope.sequence <= self._received:
            self.counters.replayed += 1
            return None
        self._received = envelope.sequence
        self._waiting_since = None
        self.counters.received += 1
        return body

    def _welcome(self, frame: bytes, sequence: int, body: bytes) -> None:
        if not is_authentic(self._key, frame, 0):
            self.counters.forged += 1
            return
        welcome = Welcome.from_bytes(body)
        if welcome.challenge != self._challenge:
            self.counters.replayed += 1
            return
        self._challenge = None          # answered: the same answer again is a replay
        self.counters.welcomes += 1
        self._waiting_since = None
        if welcome.nonce != self._nonce:
            if self._nonce is not None:
                _log.warning("the board was started again")
            self._nonce, self._received = welcome.nonce, sequence
        self._received = max(self._received, sequence)
        # What the board has taken may be ahead of this host's clock.
        self._sequence = max(self._sequence, welcome.accepted)
