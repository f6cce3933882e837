"""Frames of a virtual router's port, as they are on the board's port."""

import json
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .board.transport import open_packet_socket
from .link_spec import VnicSpec
from .spec import NodeSpec, PortSpec, RouterSpec

__all__ = ["CaptureError", "Filter", "capture", "capture_hardware", "capture_vnic", "port_named"]

_ETH_P_ALL = 3
_PACKET_IGNORE_OUTGOING, _SOL_PACKET = 23, 263
_LONGEST = 65535
_DLT_EN10MB = 1


class CaptureError(RuntimeError):
    """Nothing can be captured there; the message says why."""


@dataclass(frozen=True)
class Filter:
    """Which frames of a segment are a router's: from and to its VMAC, and group frames that it hears."""

    own: bytes
    peers: frozenset[bytes]
    guard: bool

    @classmethod
    def of(cls, port: PortSpec) -> "Filter":
        """Filter of a virtual port."""
        return cls(_bytes(port.mac), frozenset(map(_bytes, port.peers)), port.guard)

    def matches(self, frame: bytes) -> bool:
        """Whether a frame is the router's."""
        destination, source = frame[:6], frame[6:12]
        if self.own in (destination, source):
            return True
        return bool(destination[0] & 1) and (not self.guard or source in self.peers)


def _bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def port_named(router: RouterSpec, interface: str) -> PortSpec:
    """A virtual port by its name.

    Raises
    ------
    CaptureError
        If there is none.
    """
    port = next((port for port in router.ports if port.name == interface), None)
    if port is None:
        names = ", ".join(port.name for port in router.ports)
        raise CaptureError(f"{router.name} has no interface {interface}; it has {names}")
    return port


def capture(node: NodeSpec, router: RouterSpec, interface: str, path: Path, *, count: int | None = None,
            seconds: float | None = None, seen: Callable[[int], None] = lambda _: None) -> int:
    """Write the frames of a virtual port to a file; returns how many.

    Parameters
    ----------
    node : NodeSpec
        The node that the router is on.
    router : RouterSpec
        The router.
    interface : str
        Its virtual port, as in eth0.
    path : Path
        File to be written.
    count, seconds : optional
        When to end; else it goes on until it is interrupted.
    seen : callable
        Is told how many there are, whenever there is one more.

    Raises
    ------
    CaptureError
        If there is no such interface, or it has no wire.
    """
    port = port_named(router, interface)
    if port.circuit:
        raise CaptureError(f"{interface} of {router.name} is at a circuit, which has no wire to listen at: use "
                           "--hardware")
    with open_packet_socket(node.taps[port.port], node.namespace, _ETH_P_ALL) as sock:
        return _write(sock, Filter.of(port).matches, path, count, seconds, seen)


def capture_vnic(vnic: VnicSpec, path: Path, *, count: int | None = None, seconds: float | None = None,
                 seen: Callable[[int], None] = lambda _: None) -> int:
    """Write the frames that a VNIC's user sends and gets, in either lane, to a file; returns how many.

    Parameters
    ----------
    vnic : VnicSpec
        The VNIC.
    path, count, seconds, seen
        As in :func:`capture`.

    Raises
    ------
    CaptureError
        If it is an interface of a virtual router.
    """
    if vnic.router:
        raise CaptureError(f"{vnic.name} is interface {vnic.interface} of {vnic.router}: use 'capture {vnic.router} "
                           f"{vnic.interface} --hardware'")
    with open_packet_socket(vnic.interface, vnic.namespace, _ETH_P_ALL) as sock:
        return _write(sock, lambda _: True, path, count, seconds, seen)


def _write(sock: socket.socket, matches: Callable[[bytes], bool], path: Path, count: int | None,
           seconds: float | None, seen: Callable[[int], None]) -> int:
    from scapy.utils import PcapNgWriter  # takes a second to load

    deadline = None if seconds is None else time.monotonic() + seconds
    written = 0
    sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 0)
    sock.setblocking(False)
    writer = PcapNgWriter(str(path))
    writer.linktype = _DLT_EN10MB
    writer.write_header(None)
    try:
        while count is None or written < count:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            if not select.select([sock], [], [], left)[0]:
                continue
            frame = _receive(sock)
            if frame and matches(frame):
                writer.write_packet(frame, sec=time.time())
                writer.flush()
                written += 1
                seen(written)
    except KeyboardInterrupt:
        pass
    finally:
        writer.close()
    return written


def capture_hardware(lines: Iterator[str], port: int | None, path: Path, *, count: int | None = None,
                     seconds: float | None = None, seen: Callable[[int], None] = lambda _: None) -> int:
    """Write copies that the hardware makes of a router's frames to a file; returns how many.

    They are those that came in for the router, and those that its container sent, as the data plane changed them:
    without VLAN tag, and without those that it dropped before it knew the router.

    Parameters
    ----------
    lines : iterator of str
        Of the agent: a frame each in JSON, or nothing, at least once a second. It is closed at the end.
    port : int or None
        Only frames that came in at this logical port.
    path : Path
        File to be written.
    count, seconds : optional
        When to end; else it goes on until it is interrupted.
    seen : callable
        Is told how many there are, whenever there is one more.
    """
    from scapy.utils import PcapNgWriter  # takes a second to load

    deadline = None if seconds is None else time.monotonic() + seconds
    written = 0
    writer = PcapNgWriter(str(path))
    writer.linktype = _DLT_EN10MB
    writer.write_header(None)
    try:
        for line in lines:
            if line:
                row = json.loads(line)
                if port in (None, row["port"]):
                    writer.write_packet(bytes.fromhex(row["frame"]), sec=row["time"])
                    writer.flush()
                    written += 1
                    seen(written)
            if written == count or (deadline is not None and time.monotonic() >= deadline):
                break
    except KeyboardInterrupt:
        pass
    finally:
        writer.close()
        close = getattr(lines, "close", None)
        if close is not None:
            close()     # and so the connection, which ends the copies
    return written


def _receive(sock: socket.socket) -> bytes | None:
    try:
        return sock.recv(_LONGEST)
    except BlockingIOError:
        return None
