"""Carries punted frames to the interfaces of the routers' containers and to VNICs, and what these send to the board.

The outer end of each of their veth pairs has a packet socket (``packet(7)``). What arrives there goes out of the
router's port; what the board punts is sent there, and so arrives at the other end. Ports are logical ones
(:mod:`.ports`).
"""

import contextlib
import errno
import logging
import os
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import Reason

from .netns import in_namespace
from .ports import circuit

__all__ = ["InjectPort", "Relay", "RelayCounters"]

_ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_STATISTICS, _PACKET_AUXDATA, _PACKET_IGNORE_OUTGOING = 6, 8, 23
_SO_RCVBUFFORCE = 33
#: Room for a second of frames of a container, past the limit of net.core.rmem_max.
_RECEIVE_BUFFER = 1 << 20
#: tp_status, tp_len, tp_snaplen, tp_mac, tp_net, tp_vlan_tci, tp_vlan_tpid
_AUXDATA = struct.Struct("=IIIHHHH")
_VLAN_VALID, _VLAN_TPID_VALID = 1 << 4, 1 << 6
_SHORTEST = 14
#: Of the tag that a circuit takes.
_TAG_BYTES = 4
#: Longer than any frame that a core may take, so that a longer one is recognized.
_RECEIVE_SIZE = 16384
#: Frames that one router's port may send before it is another one's turn.
_AT_ONCE = 64
#: Frames that a VNIC may send before it is another one's turn: fewer than what the board takes at once.
_AT_ONCE_VNIC = 16
#: Frames a second, and in a burst, that one router's port may send. What comes faster waits in the kernel, and is lost
#: there: it must neither keep the thread busy nor fill the board's host port, which all routers share.
RATE, BURST = 1000.0, 256
#: Seconds until a port that has used up its share is looked at again, and a VNIC for which the board had no room.
_PAUSE, _PAUSE_VNIC = 0.01, 0.001
#: The frame is lost, as on a wire: the queue is full, or the interface is down or gone.
_LOST = frozenset({errno.ENOBUFS, errno.EAGAIN, errno.ENETDOWN, errno.ENXIO, errno.ENODEV, errno.EMSGSIZE})

_log = logging.getLogger(__name__)


class InjectPort(Protocol):
    """What is needed of a board's host port."""

    def inject(self, router: int, port: int, frame: bytes) -> None:
        """Send a frame out of a logical port, as a router."""

    def room(self) -> int:
        """Frames that the board takes now."""

    def set_punt_handler(self, handler: Callable[[int, int, Reason, bytes], None] | None) -> None:
        """Who gets punted frames."""


@dataclass
class RelayCounters:
    """Frames of one logical port of one router.

    Attributes
    ----------
    delivered, undelivered : int
        Punted frames that went to the container, or were lost since its interface was down or busy.
    sent : int
        Frames of the container that went to the board.
    overflow : int
        Frames of the container that came faster than they could be taken.
    short, long, spoofed : int
        Frames of the container that were refused: shorter than an Ethernet header, longer than the board takes, or
        from an address other than the port's.
    """

    delivered: int = 0
    undelivered: int = 0
    sent: int = 0
    overflow: int = 0
    short: int = 0
    long: int = 0
    spoofed: int = 0

    def as_dict(self) -> dict[str, int]:
        """By name, for JSON."""
        return asdict(self)


class _Tap:
    """A router's port: the socket on the outer end of its veth."""

    def __init__(self, router: int, port: int, interface: str, mac: bytes | None, longest: int, vnic: bool) -> None:
        self.router = router
        self.port = port
        self.mac = mac
        self.longest = longest
        self.vnic = vnic
        self.counters = RelayCounters()
        self.share = 0.0            # frames that it may send now (a token bucket)
        self.counted_at = self.sent_at = 0.0
        # Without a protocol it receives nothing until it is bound, so nothing from other interfaces.
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
        try:
            self.socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            self.socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
            self.socket.bind((interface, _ETH_P_ALL))
        except OSError:
            self.socket.close()
            raise

    def count_overflow(self) -> None:
        """Add what the kernel has dropped since the last time."""
        with contextlib.suppress(OSError):      # closed meanwhile
            _, dropped = struct.unpack("=II", self.socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
            self.counters.overflow += dropped

    def receive(self) -> bytes | None:
        """A frame from the container, with its VLAN tag, which the kernel keeps apart; None if there is none."""
        try:
            frame, ancillary, _, _ = self.socket.recvmsg(_RECEIVE_SIZE, socket.CMSG_SPACE(_AUXDATA.size))
        except OSError as error:
            if error.errno in _LOST:
                return None
            raise
        for level, kind, data in ancillary:
            if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
                status, _, _, _, _, tag, protocol = _AUXDATA.unpack_from(data)
                if status & _VLAN_VALID:
                    protocol = protocol if status & _VLAN_TPID_VALID else 0x8100
                    frame = frame[:12] + struct.pack("!HH", protocol, tag) + frame[12:]
        return frame


class Relay:
    """Frames between a board and the containers of its routers; a thread serves all containers.

    Punted frames are sent in the host port's own thread.

    Parameters
    ----------
    hostport : InjectPort
        The board's host port.
    config : CoreConfig
        Parameters of the board: the longest frame.
    rate, burst : float, int
        Frames a second, and at once, that each port of a router may send; a VNIC may send what the board takes.

    Attributes
    ----------
    homeless : int
        Punted frames for a router or port that has no interface here.
    mirrored : int
        Copies for capture. They go to those who listen, and never to a container.
    on_given : callable
        Is told router, reason and frame of what came in at the link port without a circuit: packets of tunnels, which
        are nobody's here. Called in the host port's thread.
    """

    def __init__(self, hostport: InjectPort, config: CoreConfig, *, rate: float = RATE, burst: int = BURST) -> None:
        self.homeless = self.mirrored = 0
        self.on_given: Callable[[int, Reason, bytes], None] | None = None
        self._link_port = config.link_port
        self._listeners: dict[object, tuple[int, Callable[[int, bytes], None]]] = {}
        self._rate, self._burst = rate, burst
        self._paused: dict[_Tap, float] = {}        # until when; not in the selector
        self._hostport = hostport
        self._longest = config.max_frame - 4
        self._taps: dict[tuple[int, int], _Tap] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()
        hostport.set_punt_handler(self.deliver)

    def attach(self, hostport: InjectPort) -> None:
        """Serve another host port, after the board was started again."""
        self._hostport.set_punt_handler(None)
        self._hostport = hostport
        hostport.set_punt_handler(self.deliver)

    def add(self, router: int, port: int, interface: str, namespace: Path | str, mac: int | None = None, *,
            vnic: bool = False) -> None:
        """Serve a port of a router.

        Parameters
        ----------
        router, port : int
            Whose.
        interface : str
            Outer end of its veth pair; one that served the port before is let go.
        namespace : path
            Network namespace that the interface is in.
        mac : int, optional
            The only address that frames from the container may have as their source.
        vnic : bool
            It is a VNIC: the board limits what it sends and looks at its source addresses, and so nobody does here.
            It is only kept from sending more than the board takes.

        Raises
        ------
        OSError
            If there is no such interface.
        """
        address = None if mac is None else mac.to_bytes(6, "big")
        longest = self._longest - _TAG_BYTES * bool(circuit(port))
        tap = in_namespace(namespace, lambda: _Tap(router, port, interface, address, longest, vnic))
        self._call(lambda: self._add(tap))

    def remove(self, router: int, port: int | None = None) -> None:
        """Serve a router's port, or all of them, no more."""
        self._call(lambda: self._remove(router, port))

    def listen(self, router: int, take: Callable[[int, bytes], None]) -> object:
        """Hand copies of a router's frames (``PUNT_MIRROR``) to a function, in the host port's thread.

        Parameters
        ----------
        router : int
            Whose frames.
        take : callable
            Is told the port that a frame came in at, and the frame. It must not wait.

        Returns
        -------
        object
            What :meth:`unlisten` takes.
        """
        key = object()
        self._listeners[key] = router, take
        return key

    def unlisten(self, listening: object) -> None:
        """Hand nothing to that function any more."""
        self._listeners.pop(listening, None)

    def counters(self) -> dict[tuple[int, int], RelayCounters]:
        """Counters by router and logical port."""
        taps = dict(sorted(self._taps.copy().items()))
        for tap in taps.values():
            tap.count_overflow()
        return {key: tap.counters for key, tap in taps.items()}

    def close(self) -> None:
        """Stop, and let go of all interfaces."""
        if self._stopping:
            return
        self._hostport.set_punt_handler(None)
        self._stopping = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        for tap in self._taps.values():
            tap.socket.close()
        self._taps.clear()
        self._selector.close()
        os.close(self._wake)

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def deliver(self, router: int, port: int, reason: Reason, frame: bytes) -> None:
        """A punted frame: it goes to the container, but for a copy for capture.

        A VLAN tag was taken off by the board; a router's interface in its container has no VLANs.
        """
        if reason == Reason.PUNT_MIRROR:
            self.mirrored += 1
            for wanted, take in list(self._listeners.values()):
                if wanted == router:
                    take(port, frame)
            return
        tap = self._taps.get((router, port))
        if tap is None and port == self._link_port and self.on_given is not None:
            self.on_given(router, reason, frame)
            return
        if tap is None:
            self.homeless += 1
            return
        try:
            tap.socket.send(frame)
        except OSError as error:
            if error.errno not in _LOST and error.errno != errno.EBADF:
                _log.warning("router %d, port %d: %s", router, port, error)
            tap.counters.undelivered += 1
            return
        tap.counters.delivered += 1

    def _call(self, function: Callable[[], None]) -> None:
        """Have a function called in the thread, which alone changes the selector."""
        done: Future[None] = Future()

        def run() -> None:
            try:
                function()
            except BaseException as error:      # handed over to the caller
                done.set_exception(error)
            else:
                done.set_result(None)

        self._calls.append(run)
        os.eventfd_write(self._wake, 1)
        done.result()

    def _add(self, tap: _Tap) -> None:
        self._remove(tap.router, tap.port)
        self._taps[tap.router, tap.port] = tap
        self._selector.register(tap.socket, selectors.EVENT_READ, tap)

    def _remove(self, router: int, port: int | None) -> None:
        for key in [key for key in self._taps if key[0] == router and port in (None, key[1])]:
            tap = self._taps.pop(key)
            if self._paused.pop(tap, None) is None:
                self._selector.unregister(tap.socket)
            tap.socket.close()

    def _run(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select(self._resume()):
                if key.data is None:
                    os.eventfd_read(self._wake)
                else:
                    self._take(key.data)
            while self._calls:
                self._calls.popleft()()

    def _resume(self) -> float | None:
        """Look at ports again whose pause is over; returns how long the next one takes, if there is one."""
        now = time.monotonic()
        # Who has waited longest goes first: there may not be room for all.
        for tap in sorted((tap for tap, until in self._paused.items() if until <= now), key=lambda tap: tap.sent_at):
            del self._paused[tap]
            self._selector.register(tap.socket, selectors.EVENT_READ, tap)
        return min(self._paused.values()) - now if self._paused else None

    def _take(self, tap: _Tap) -> None:
        now = time.monotonic()
        if tap.vnic:
            tap.share = self._hostport.room()
        else:
            tap.share = min(self._burst, tap.share + (now - tap.counted_at) * self._rate)
        tap.counted_at = now
        try:
            for _ in range(_AT_ONCE_VNIC if tap.vnic else _AT_ONCE):
                if tap.share < 1:
                    self._selector.unregister(tap.socket)
                    self._paused[tap] = now + (_PAUSE_VNIC if tap.vnic else _PAUSE)
                    return
                frame = tap.receive()
                if frame is None:
                    return
                tap.share -= 1
                tap.sent_at = now
                self._inject(tap, frame)
        except OSError as error:
            # The thread serves all routers, so that one's trouble must not end it.
            _log.warning("router %d, port %d: %s", tap.router, tap.port, error)

    def _inject(self, tap: _Tap, frame: bytes) -> None:
        if len(frame) < _SHORTEST:
            tap.counters.short += 1
        elif len(frame) > tap.longest:
            tap.counters.long += 1
        elif tap.mac is not None and frame[6:12] != tap.mac:
            tap.counters.spoofed += 1
        else:
            self._hostport.inject(tap.router, tap.port, frame)
            tap.counters.sent += 1
