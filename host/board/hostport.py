"""A board's host port, seen from the host: punts come in, injected frames and requests go out."""

import contextlib
import errno
import logging
import os
import selectors
import socket
import threading
from collections.abc import Callable

from ...hdl.config import HOST_HEADER_BYTES
from ...hdl.layouts import HostFrameType, Reason
from ..ports import logical
from .frames import Header, decode_header, encode_inject, encode_request
from .pace import Pace
from .transport import FrameTransport, TransportError

__all__ = ["HostPort", "PuntHandler", "ResponseHandler"]

#: Takes a punted frame: router, logical ingress port, reason, frame.
PuntHandler = Callable[[int, int, Reason, bytes], None]
#: Takes a response: header and whole frame.
ResponseHandler = Callable[[Header, bytes], None]

#: VLAN id in a tag.
_VID_MASK = 0xFFF
#: Longer than any frame on a host port.
_RECEIVE_SIZE = 16384
#: Sending failed for now: the queue is full, or the interface is down. The frame is lost, as on a wire.
_LOST = frozenset({errno.ENOBUFS, errno.EAGAIN, errno.ENETDOWN, errno.ENXIO, errno.ECONNREFUSED})
#: Local address when the transport has none.
_ANY_HOST = bytes.fromhex("02706f6c79ff")

_log = logging.getLogger(__name__)


class HostPort:
    """Encodes, decodes and sorts the frames on a host port; a thread receives them.

    Parameters
    ----------
    transport : FrameTransport
        A packet socket (see :func:`.transport.open_packet_socket`) or any datagram-like socket; closed with the port.
    on_punt : PuntHandler
        Called in the receiving thread for every punted frame, so it must not wait for anything that comes through this
        port. Without one, punts are dropped and counted.
    link_port : int or None
        The board's link port, if it has one: what was punted there came in on a circuit, or without one.

    Attributes
    ----------
    address : bytes
        MAC address to which the board sends punts.
    punts, punts_dropped, injected, lost, malformed : int
        Frames so far: punted, punted without a handler or that made it raise, injected, that could not be sent, not
        from a board.
    gone : str or None
        Why nothing comes any more: the transport broke, and another one must be opened.
    """

    def __init__(self, transport: FrameTransport, on_punt: PuntHandler | None = None, *,
                 link_port: int | None = None):
        self.address = _local_address(transport)
        self.punts = self.punts_dropped = self.injected = self.lost = self.malformed = 0
        self.gone: str | None = None
        self._transport = transport
        self._link_port = link_port
        self._pace = Pace(lambda sequence, ops: self._request(sequence, ops, sync=False))
        self._on_punt = on_punt
        self._on_response: ResponseHandler | None = None
        self._closed = False
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._receive, name="hostport", daemon=True)
        self._thread.start()

    def set_punt_handler(self, handler: PuntHandler | None) -> None:
        """Replace the punt handler."""
        self._on_punt = handler

    def set_response_handler(self, handler: ResponseHandler | None) -> None:
        """Replace who gets responses; called in the receiving thread."""
        self._on_response = handler

    def inject(self, router: int, port: int, frame: bytes) -> None:
        """Send a frame out of a logical port, as a router; if the transport is gone, it is lost."""
        with contextlib.suppress(TransportError):
            if self._send(encode_inject(self.address, router, port, frame)):
                self.injected += 1
                self._pace.injected += 1

    def room(self) -> int:
        """Frames that may be injected now without being lost before the board; who injects without asking takes of it.
        """
        return self._pace.room()

    def request(self, sequence: int, ops: bytes, *, sync: bool = False) -> None:
        """Send a REQUEST with encoded accesses; its response goes to the response handler, if neither is lost."""
        self._pace.sequence = sequence
        self._request(sequence, ops, sync=sync)

    def close(self) -> None:
        """Stop receiving and close the transport. Not to be called from a handler."""
        if self._closed:
            return
        self._closed = True
        os.write(self._wake_write, b"x")
        self._thread.join()
        self._transport.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def __enter__(self) -> "HostPort":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _request(self, sequence: int, ops: bytes, *, sync: bool) -> None:
        self._send(encode_request(self.address, sequence, ops, sync=sync))

    def _send(self, frame: bytes) -> bool:
        try:
            self._transport.send(frame)
        except TransportError as error:
            self.gone = str(error)
            self.lost += 1
            raise
        except OSError as error:
            if error.errno not in _LOST:
                raise
            self.lost += 1
            return False
        return True

    def _receive(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            selector.register(self._transport.fileno(), selectors.EVENT_READ)
            while True:
                ready = selector.select()
                if self._closed:
                    return
                if not any(key.fd != self._wake_read for key, _ in ready):
                    continue
                try:
                    frame = self._transport.recv(_RECEIVE_SIZE)
                except (BlockingIOError, InterruptedError):
                    continue
                except OSError as error:
                    if error.errno not in _LOST:
                        self.gone = str(error)
                        _log.error("host port: receiving failed, no punts and responses any more: %s", error)
                        return
                    continue
                if not frame:  # the other end of a socket pair was closed
                    return
                self._sort(frame)

    def _sort(self, frame: bytes) -> None:
        header = decode_header(frame)
        if header is None:
            self.malformed += 1
        elif header.type == HostFrameType.PUNT:
            self._take_punt(header, frame)
        elif header.type == HostFrameType.RESPONSE:
            if not self._pace.answered(header, frame) and self._on_response is not None:
                self._on_response(header, frame)
        else:
            self.malformed += 1

    def _take_punt(self, header: Header, frame: bytes) -> None:
        self.punts += 1
        if self._on_punt is None:
            self.punts_dropped += 1
            return
        try:
            circuit = header.tci & _VID_MASK if header.port == self._link_port else 0
            self._on_punt(header.router, logical(header.port, circuit), Reason(header.reason),
                          frame[HOST_HEADER_BYTES:HOST_HEADER_BYTES + header.length])
        except Exception:  # a handler's fault must not end the thread, on which the driver depends too
            self.punts_dropped += 1
            _log.exception("host port: the handler of punted frames failed")


def _local_address(transport: FrameTransport) -> bytes:
    if isinstance(transport, socket.socket) and transport.family == socket.AF_PACKET:
        return transport.getsockname()[4]
    return getattr(transport, "address", _ANY_HOST)
