"""A stream of numbered datagrams between two hosts, for as long as wanted: which were lost, came twice, or too late."""

import socket
import struct
import threading
import time
from dataclasses import asdict, dataclass
from ipaddress import IPv4Interface
from itertools import pairwise
from typing import Any

from .fabric import namespace_path
from .netns import in_namespace
from .spec import HostSpec

__all__ = ["Stream", "StreamResult"]

#: Number, and the time of sending in nanoseconds.
_STAMP = struct.Struct("<QQ")
_UDP_HEADERS = 28           # IPv4 and UDP
_BUFFER = 16 << 20
#: Seconds without a datagram after which those that are missing are lost.
_LATE = 1.0
_SO_RCVBUFFORCE = 33


@dataclass
class StreamResult:
    """What became of a stream.

    Attributes
    ----------
    sent, lost, twice : int
        Datagrams.
    overtaken : int
        That came after one which was sent later.
    longest_ms : float
        Time on the way, at most.
    gap_ms : float
        Time in which none came, at most.
    """

    sent: int
    lost: int
    twice: int
    overtaken: int
    longest_ms: float
    gap_ms: float

    def as_dict(self) -> dict[str, Any]:
        """By name, for JSON."""
        return asdict(self)


class Stream:
    """Sends from one host to another from now on, until :meth:`end`.

    Parameters
    ----------
    source, sink : HostSpec
        Hosts with IPv4 addresses.
    rate : float
        Datagrams a second.
    length : int
        Bytes of a datagram with its IPv4 and UDP headers.
    port : int
        UDP port of the sink.
    """

    def __init__(self, source: HostSpec, sink: HostSpec, rate: float, *, length: int = 46, port: int = 9100) -> None:
        if sink.address is None:
            raise ValueError(f"{sink.name} has no IPv4 address, which these datagrams need")
        address = str(IPv4Interface(sink.address).ip), port
        self._receiver = in_namespace(namespace_path(sink.namespace), _udp)
        self._receiver.bind(address)
        self._receiver.settimeout(0.1)
        self._sender = in_namespace(namespace_path(source.namespace), _udp)
        self._sender.connect(address)
        self._rate, self._padding = rate, bytes(max(0, length - _UDP_HEADERS - _STAMP.size))
        self._stopping = threading.Event()
        self._sent = 0
        self._seen: list[tuple[int, int, int]] = []         # number, sent at, came at
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._receive, self._send)]
        for thread in self._threads:
            thread.start()

    def end(self) -> StreamResult:
        """Stop sending, wait for the last ones, and say what became of all."""
        self._stopping.set()
        for thread in reversed(self._threads):
            thread.join()
        self._sender.close()
        self._receiver.close()
        numbers = [number for number, _, _ in self._seen]
        overtaken, highest = 0, -1
        for number in numbers:
            overtaken += number < highest
            highest = max(highest, number)
        times = [came for _, _, came in self._seen]
        return StreamResult(
            sent=self._sent, lost=self._sent - len(set(numbers)), twice=len(numbers) - len(set(numbers)),
            overtaken=overtaken, longest_ms=max(((came - sent) / 1e6 for _, sent, came in self._seen), default=0.0),
            gap_ms=max(((after - before) / 1e6 for before, after in pairwise(times)), default=0.0))

    def _send(self) -> None:
        start = time.monotonic()
        while not self._stopping.is_set():
            wait = start + self._sent / self._rate - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            self._sender.send(_STAMP.pack(self._sent, time.monotonic_ns()) + self._padding)
            self._sent += 1

    def _receive(self) -> None:
        last = time.monotonic()
        while not self._stopping.is_set() or (time.monotonic() - last < _LATE and len(self._seen) < self._sent):
            try:
                number, sent = _STAMP.unpack_from(self._receiver.recv(2048))
            except TimeoutError:
                continue
            last = time.monotonic()
            self._seen.append((number, sent, time.monotonic_ns()))


def _udp() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    return sock
