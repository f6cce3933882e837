"""Multicast senders and receivers in hosts of a network."""

import itertools
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

from polyrouter.host.fabric import namespace_path
from polyrouter.host.netns import in_namespace

__all__ = ["PORT", "Receiver", "receiver", "sender"]

PORT = 7100
_TTL = 16
#: struct group_source_req without its two addresses; setsockopt's MCAST_JOIN_SOURCE_GROUP of linux/in.h.
_JOIN_SOURCE = 46


class Receiver(list[bytes]):
    """Datagrams that arrived, in order."""

    def numbers(self) -> list[int]:
        """What the sender has numbered them."""
        return [int.from_bytes(datagram[:4], "big") for datagram in self]


def _address(text: str) -> bytes:
    """A struct sockaddr_storage."""
    address = ip_address(text)
    if address.version == 4:
        return struct.pack("=HH4s", socket.AF_INET, 0, address.packed).ljust(128, b"\0")
    return struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, address.packed, 0).ljust(128, b"\0")


def _socket(group: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in group else socket.AF_INET, socket.SOCK_DGRAM)


def _listen(group: str, source: str | None) -> socket.socket:
    made = _socket(group)
    index = socket.if_nametoindex("eth0")
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((group, PORT, 0, index) if ":" in group else (group, PORT))
    packed = ip_address(group).packed
    if source is not None:
        level = socket.IPPROTO_IPV6 if ":" in group else socket.IPPROTO_IP
        made.setsockopt(level, _JOIN_SOURCE, struct.pack("=I4x", index) + _address(group) + _address(source))
    elif ":" in group:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, packed + struct.pack("=I", index))
    else:
        made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, packed + struct.pack("=4si", bytes(4), index))
    made.settimeout(0.2)
    return made


def _speak(group: str) -> socket.socket:
    made = _socket(group)
    index = socket.if_nametoindex("eth0")
    if ":" in group:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _TTL)
    else:
        made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), bytes(4), index))
        made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _TTL)
    return made


@contextmanager
def receiver(namespace: str, group: str, source: str | None = None) -> Iterator[Receiver]:
    """Datagrams for a group that arrive at a host, which asks for it; with ``source``, only those of that."""
    arrived, stopping = Receiver(), threading.Event()
    with in_namespace(namespace_path(namespace), lambda: _listen(group, source)) as made:
        def receive() -> None:
            while not stopping.is_set():
                try:
                    arrived.append(made.recv(2000))
                except TimeoutError:
                    continue

        thread = threading.Thread(target=receive)
        thread.start()
        try:
            yield arrived
        finally:
            stopping.set()
            thread.join()


@contextmanager
def sender(namespace: str, group: str, pause: float = 0.01) -> Iterator[list[int]]:
    """Numbered datagrams from a host to a group all the time; yields the numbers that were sent."""
    sent: list[int] = []
    stopping = threading.Event()
    with ExitStack() as stack:
        made = stack.enter_context(in_namespace(namespace_path(namespace), lambda: _speak(group)))

        def send() -> None:
            for number in itertools.count():
                if stopping.wait(pause):
                    return
                made.sendto(number.to_bytes(4, "big"), (group, PORT))
                sent.append(number)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield sent
        finally:
            stopping.set()
            thread.join()
