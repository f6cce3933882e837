"""A running board with its top level, whose ports are socket pairs and whose serial line is a pseudo-terminal."""

import contextlib
import os
import socket
import tty
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from polyrouter.boards.top import HostLinkKind

from ...hdl.hostlink.layouts import AUTH_ETHERTYPE
from ...host.board.authenticated import AuthenticatedTransport
from ...host.board.driver import Driver
from ...host.board.hostport import HostPort
from ...host.board.transport import FrameTransport
from ...host.board.uart import UartTransport
from .board import LiveBoard
from .top import LiveTop

__all__ = ["SharedPort", "TopBoard"]

_HOST_MAC = bytes.fromhex("020000000099")
_ETHERTYPE_AT = slice(12, 14)
_AUTHENTICATED = AUTH_ETHERTYPE.to_bytes(2, "big")


class SharedPort:
    """A :class:`.transport.FrameTransport` for the authenticated frames of a port, as a packet socket for their
    EtherType is.

    Parameters
    ----------
    port : socket.socket
        The far end of the port: a frame a message.

    Attributes
    ----------
    others : collections.deque[bytes]
        All other frames that came.
    sent, received : list[bytes]
        Authenticated frames of both directions.
    """

    def __init__(self, port: socket.socket):
        self.others: deque[bytes] = deque()
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        self._port = port

    def send(self, frame: bytes) -> int:
        self.sent.append(frame)
        return self._port.send(frame)

    def recv(self, size: int) -> bytes:
        frame = self._port.recv(size)
        if not frame:
            return frame
        if frame[_ETHERTYPE_AT] == _AUTHENTICATED:
            self.received.append(frame)
            return frame
        self.others.append(frame)
        raise BlockingIOError

    def fileno(self) -> int:
        return self._port.fileno()

    def close(self) -> None:
        """The port is closed by who made it."""


class TopBoard:
    """A board's top level as a process, for use without root; a context manager.

    Parameters
    ----------
    top : LiveTop
        What it is.
    executable : Path
        Of it.
    directory : Path
        For its log and pid file.
    options : Sequence[str]
        Faults and the like, as in ``surroundings.h``.

    Attributes
    ----------
    ports : list[socket.socket]
        Near ends of the data ports' socket pairs: one frame a message. Of a port that the host's frames come by,
        those of others are in ``shared``.
    shared : SharedPort or None
    tty : str or None
        Path of the near end of the serial line.
    board : LiveBoard
        Its process.
    """

    def __init__(self, top: LiveTop, executable: Path, directory: Path, *, options: Sequence[str] = ()):
        self.top = top
        self.shared: SharedPort | None = None
        self.tty: str | None = None
        self._resources = contextlib.ExitStack()
        kind = top.host_link.kind
        pairs = [self._pair() for _ in range(top.config.wired_ports + (kind == HostLinkKind.PORT))]
        self.ports = [near for near, _ in pairs[:top.config.wired_ports]]
        self._host = pairs[-1][0] if kind == HostLinkKind.PORT else None
        words, fds = list(options), []
        if kind == HostLinkKind.UART:
            line, self.tty = self._line()
            words += ["--uart", f"fd:{line}"]
            fds.append(line)
        elif kind == HostLinkKind.AUTHENTICATED:
            self.shared = SharedPort(self.ports[top.host_link.port])
        self.board = LiveBoard(
            executable, [far.fileno() for _, far in pairs[:top.config.wired_ports]],
            pairs[-1][1].fileno() if kind == HostLinkKind.PORT else None, directory / "board.log",
            directory / "board.pid", options=words, more_fds=fds)

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return self._resources.enter_context(near), self._resources.enter_context(far)

    def _line(self) -> tuple[int, str]:
        """Descriptor for the board, and path for the host. Both ends stay open, so that none is ever hung up."""
        line, near = os.openpty()
        tty.setraw(near)
        for fd in (line, near):
            self._resources.callback(os.close, fd)
        return line, os.ttyname(near)

    def transport(self) -> FrameTransport:
        """The host's end of the host link."""
        link = self.top.host_link
        if self._host is not None:
            return self._host.dup()
        if self.tty is not None:
            return UartTransport(self.tty)
        assert self.shared is not None and link.key is not None
        return AuthenticatedTransport(self.shared, link.key, _HOST_MAC, link.mac_bits.to_bytes(6, "little"))

    @contextlib.contextmanager
    def driver(self, **more):
        """A driver over the host link; closed at the end."""
        # A byte on the serial line takes 80 cycles: a request with its answer seconds of real time.
        driver = Driver(HostPort(self.transport()), **{"timeout": 1.0 if self.tty is None else 10.0, **more})
        try:
            yield driver
        finally:
            driver.close()

    def __enter__(self) -> "TopBoard":
        self.board.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.board.stop()
        self._resources.close()
