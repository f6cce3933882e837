"""The transport to a board: something that carries whole Ethernet frames to its host port and back.

A simulated board's host port is a TAP, a real one's an interface with a cable in it; a packet socket serves both. Tests
use socket pairs.
"""

import errno
import fcntl
import os
import socket
import struct
from typing import Protocol, TypeVar

from ...hdl.config import HOST_HEADER_BYTES, MAX_FRAME_TAGGED
from ...hdl.hostlink.layouts import AUTH_ETHERTYPE
from ...hdl.layouts import HOST_ETHERTYPE
from ..netns import in_namespace

__all__ = ["LEAST_MTU", "FrameTransport", "TransportError", "open_packet_socket"]

#: Room for punts and responses that arrive while the receiver is busy.
RECEIVE_BUFFER = 16 << 20
SEND_BUFFER = 4 << 20
#: What an interface must carry, without Ethernet header, for a punted frame of the standard length.
LEAST_MTU = MAX_FRAME_TAGGED - 4 + HOST_HEADER_BYTES - 14

# linux/if_packet.h, bits/ioctls.h: not in the socket module.
_PACKET_IGNORE_OUTGOING = 23
_SOL_PACKET = 263
_SIOCGIFMTU = 0x8921

T = TypeVar("T")


class TransportError(OSError):
    """A socket to a board's host port can't be opened or used; the message says why and what to do."""


class FrameTransport(Protocol):
    """Carries whole frames; what a datagram-like :class:`socket.socket` has of methods."""

    def send(self, frame: bytes, /) -> int:
        """Send one frame."""
        ...

    def recv(self, size: int, /) -> bytes:
        """The next frame, at most ``size`` bytes of it; waits for it. Raises BlockingIOError if what came was none."""
        ...

    def fileno(self) -> int:
        """Descriptor that is readable when there is a frame."""
        ...

    def close(self) -> None:
        """End the use."""
        ...


def open_packet_socket(ifname: str, netns: str | None = None, ethertype: int = HOST_ETHERTYPE, *,
                       least_mtu: int = LEAST_MTU) -> socket.socket:
    """A raw packet socket on an interface, for frames of one EtherType.

    Parameters
    ----------
    ifname : str
        Interface.
    netns : str
        Network namespace that it is in, by name or path; None is the caller's own.
    ethertype : int
        Which frames to receive; ETH_P_ALL (3) is all of them.
    least_mtu : int
        What the interface must carry, if they are of HOST_ETHERTYPE or AUTH_ETHERTYPE.

    Raises
    ------
    TransportError
        If the interface does not exist, its MTU is too small for a punted frame, or rights are missing.
    """
    try:
        return in_namespace(netns, lambda: _open(ifname, ethertype, least_mtu))
    except PermissionError as error:
        raise TransportError(error.errno, f"cannot open a packet socket on {ifname}: run as root, or with "
                                          "CAP_NET_RAW (and CAP_SYS_ADMIN for another namespace)") from error
    except FileNotFoundError as error:
        raise TransportError(error.errno, f"there is no network namespace {netns}: is the network up?") from error


def _open(ifname: str, ethertype: int, least_mtu: int) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # receives nothing before it is bound
    try:
        sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        _enlarge(sock, "SO_RCVBUFFORCE", 33, socket.SO_RCVBUF, RECEIVE_BUFFER)
        _enlarge(sock, "SO_SNDBUFFORCE", 32, socket.SO_SNDBUF, SEND_BUFFER)
        try:
            sock.bind((ifname, ethertype))
        except OSError as error:
            if error.errno not in (errno.ENODEV, errno.ENXIO):
                raise
            raise TransportError(error.errno, f"there is no interface {ifname}: is the network up?") from error
        if ethertype in (HOST_ETHERTYPE, AUTH_ETHERTYPE) and (mtu := _mtu(sock, ifname)) < least_mtu:
            raise TransportError(errno.EMSGSIZE, f"{ifname} has an MTU of {mtu}, a host port needs {least_mtu}: "
                                                 f"ip link set {ifname} mtu {least_mtu}")
    except BaseException:
        sock.close()
        raise
    return sock


def _enlarge(sock: socket.socket, force_name: str, force: int, plain: int, size: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, getattr(socket, force_name, force), size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, plain, size)  # up to net.core.rmem_max or wmem_max


def _mtu(sock: socket.socket, ifname: str) -> int:
    request = struct.pack("16si12x", os.fsencode(ifname), 0)
    return struct.unpack("16si12x", fcntl.ioctl(sock, _SIOCGIFMTU, request))[1]
