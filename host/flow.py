"""UDP flows between a network's hosts, sent at a steady rate and measured where they arrive."""

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from statistics import median
from typing import Any

from .fabric import namespace_path
from .netns import in_namespace
from .spec import HostSpec

__all__ = ["Flow", "run_flows"]

_PORT = 9000
#: Virtual network's name, and the time of sending in nanoseconds.
_STAMP = struct.Struct("<32sQ")
_UDP_HEADERS = 28           # IPv4 and UDP


@dataclass
class Flow:
    """A flow from one host to another, and what became of it."""

    source: HostSpec
    sink: HostSpec
    sent: int = 0
    received: int = 0
    strangers: int = 0      # datagrams that came from another virtual network
    delays_ms: list[float] = field(default_factory=list, repr=False)

    @property
    def network(self) -> str:
        """Virtual network of both hosts."""
        return self.source.network

    def as_dict(self) -> dict[str, Any]:
        """The figures, for JSON; delays are one way."""
        return {"network": self.network, "from": self.source.name, "to": self.sink.name, "sent": self.sent,
                "received": self.received, "strangers": self.strangers,
                "delay_ms_median": round(median(self.delays_ms), 3) if self.delays_ms else None,
                "delay_ms_max": round(max(self.delays_ms), 3) if self.delays_ms else None}


def run_flows(flows: list[Flow], *, seconds: float, rate: float, length: int) -> None:
    """Run all flows at once, a datagram of each in turn, and fill in their figures.

    Parameters
    ----------
    flows : list of Flow
    seconds : float
        How long to send.
    rate : float
        Datagrams a second in each flow.
    length : int
        Bytes of a datagram with its IPv4 and UDP headers.
    """
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        senders = []
        for flow in flows:
            if flow.sink.address is None:
                raise ValueError(f"{flow.sink.name} has no IPv4 address, which these datagrams need")
            address = str(IPv4Interface(flow.sink.address).ip)
            receiver = stack.enter_context(in_namespace(namespace_path(flow.sink.namespace), _udp))
            receiver.bind((address, _PORT))
            selector.register(receiver, selectors.EVENT_READ, flow)
            sender = stack.enter_context(in_namespace(namespace_path(flow.source.namespace), _udp))
            sender.connect((address, _PORT))
            senders.append((flow, sender))
        stopping = threading.Event()
        counter = threading.Thread(target=_count, args=(selector, stopping))
        counter.start()
        try:
            _send(senders, seconds, rate, bytes(length - _UDP_HEADERS - _STAMP.size))
            deadline = time.monotonic() + 5
            while _missing(flows) and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            stopping.set()
            counter.join()


def _missing(flows: Iterable[Flow]) -> bool:
    return any(flow.received < flow.sent for flow in flows)


def _send(senders: list[tuple[Flow, socket.socket]], seconds: float, rate: float, padding: bytes) -> None:
    start = time.monotonic()
    for number in range(int(seconds * rate)):
        time.sleep(max(0.0, start + number / rate - time.monotonic()))
        for flow, sender in senders:
            sender.send(_STAMP.pack(flow.network.encode(), time.monotonic_ns()) + padding)
            flow.sent += 1


def _count(selector: selectors.BaseSelector, stopping: threading.Event) -> None:
    while not stopping.is_set():
        for key, _ in selector.select(0.1):
            with contextlib.suppress(BlockingIOError):
                data = key.fileobj.recv(2048)       # type: ignore[union-attr]
                network, sent_at = _STAMP.unpack_from(data)
                if network.rstrip(b"\0").decode() != key.data.network:
                    key.data.strangers += 1
                    continue
                key.data.received += 1
                key.data.delays_ms.append((time.monotonic_ns() - sent_at) / 1e6)


def _udp() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    return sock
