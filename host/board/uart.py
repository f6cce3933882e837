"""The transport to a board by its UART."""

import contextlib
import errno
import os
import select
import threading
from collections import deque
from pathlib import Path

import serial

from ...hdl.config import HOST_HEADER_BYTES, MAX_FRAME_JUMBO
from ...hdl.hostlink.layouts import DEFAULT_BAUD
from .slip import SlipDecoder, encode_slip
from .transport import TransportError

__all__ = ["UartTransport"]

_LONGEST = MAX_FRAME_JUMBO - 4 + HOST_HEADER_BYTES
#: Seconds that a frame may wait for the line: the longest takes 60 ms at 3 Mb/s, and others may be before it.
_PATIENCE = 2.0
_AT_ONCE = 65536


class UartTransport:
    """A :class:`.transport.FrameTransport` over a serial line. It may be used from several threads.

    Parameters
    ----------
    path : path
        The line's device.
    baud : int
        Bits a second.

    Attributes
    ----------
    damaged, long : int
        Frames that were lost on the line: by wrong or missing bytes, or by a missing end.

    Raises
    ------
    TransportError
        If it can't be opened, or does not do that rate.
    """

    def __init__(self, path: Path | str, baud: int = DEFAULT_BAUD) -> None:
        try:
            self._line = serial.Serial(str(path), baud, timeout=0, write_timeout=_PATIENCE, exclusive=True)
        except (serial.SerialException, ValueError, OSError) as error:
            number = getattr(error, "errno", None)
            if number == errno.ENOENT:
                hint = "is the cable in, and the converter's driver loaded?"
            elif number in (errno.EACCES, errno.EPERM):
                hint = "run as root, or as a member of the group that owns it (dialout)"
            elif number in (errno.EAGAIN, errno.EBUSY):
                hint = "another program uses it"
            else:
                hint = f"is it a serial line that does {baud} b/s?"
            raise TransportError(number or errno.EINVAL, f"cannot open {path}: {error}; {hint}") from error
        self._decoder = SlipDecoder(_LONGEST)
        self._frames: deque[bytes] = deque()
        self._lock = threading.Lock()           # a frame must not be sent into another one
        # Readable when there are bytes on the line, or frames that came with earlier ones.
        self._waiting = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._ready = select.epoll()
        self._ready.register(self._line.fileno(), select.EPOLLIN)
        self._ready.register(self._waiting, select.EPOLLIN)

    @property
    def damaged(self) -> int:
        """Frames that were lost by wrong or missing bytes."""
        return self._decoder.damaged

    @property
    def long(self) -> int:
        """Frames that were lost by a missing end."""
        return self._decoder.long

    def send(self, frame: bytes) -> int:
        """Send one frame; waits until the line's driver has taken it.

        Raises
        ------
        OSError
            ``ENOBUFS`` if it does not take it: the frame is lost, and what was sent of it is no frame for the board.
        TransportError
            If the line is gone.
        """
        with self._lock:
            try:
                self._line.write(encode_slip(frame))
            except serial.SerialTimeoutException as error:
                raise OSError(errno.ENOBUFS, f"{self._line.port} takes nothing any more") from error
            except OSError as error:        # a SerialException is one, without a number
                raise TransportError(error.errno or errno.EIO, f"{self._line.port} is gone: {error}") from error
        return len(frame)

    def recv(self, size: int) -> bytes:
        """The next frame.

        Raises
        ------
        BlockingIOError
            If there is none yet.
        TransportError
            If the line is gone.
        """
        if not self._frames:
            try:
                received = os.read(self._line.fileno(), _AT_ONCE)
            except BlockingIOError:
                raise
            except OSError as error:
                raise TransportError(error.errno, f"{self._line.port} is gone: {error.strerror}") from error
            if not received and self._hung_up():
                raise TransportError(errno.EIO, f"{self._line.port} is gone: it was hung up")
            self._frames.extend(self._decoder.feed(received))
        if not self._frames:
            raise BlockingIOError(errno.EAGAIN, "no whole frame yet")
        frame = self._frames.popleft()
        if self._frames:
            os.eventfd_write(self._waiting, 1)
        else:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._waiting)
        return frame[:size]

    def fileno(self) -> int:
        """Descriptor that is readable when there may be a frame."""
        return self._ready.fileno()

    def close(self) -> None:
        """Close the line."""
        if self._line.is_open:
            self._ready.close()
            os.close(self._waiting)
            self._line.close()

    def _hung_up(self) -> bool:
        """Whether there is no line any more; a read without bytes alone does not tell."""
        poll = select.poll()
        poll.register(self._line.fileno(), 0)
        return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))
