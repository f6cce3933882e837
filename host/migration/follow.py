"""The kernel of a router's container, followed from another node: what its sockets say there is told again here."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterable

from ..mirror.mroutes import Mroute
from ..mirror.netlink import RTM_GETLINK, Event, decode
from .replica import DUMPS, Replica

__all__ = ["DUMP_KINDS", "Followed"]

#: Requests whose dumps, in this order, tell all of a namespace.
DUMP_KINDS = (RTM_GETLINK, *DUMPS)


class Followed:
    """What the kernel of a container elsewhere says, as a route mirror takes it
    (:class:`..mirror.netlink.EventSource`).

    Attributes
    ----------
    replica : Replica
        What another kernel must be told to know the same.
    """

    def __init__(self) -> None:
        self.replica = Replica()
        self._stale = False         # the dumps, by now
        self._dumps: dict[int, list[bytes]] = {}
        self._events: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._news = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    # From the other node

    def put_dump(self, kind: int, parts: list[bytes]) -> None:
        """A complete dump, of the request ``kind``; events of before it are in it."""
        with self._lock:
            self._dumps[kind] = parts
            if kind in DUMPS:
                self.replica.replace(DUMPS[kind], parts)
            self.replica.unsure = self._stale = False

    def put_events(self, data: bytes) -> None:
        """Events that came after the dumps."""
        with self._lock:
            self.replica.feed(data)
            self._stale = True
            self._events.append(data)
        os.eventfd_write(self._news, 1)

    def pending(self) -> bool:
        """Whether the mirror has not taken all events yet."""
        return bool(self._events)

    # For the mirror

    def fileno(self) -> int:
        return self._news

    def close(self) -> None:
        """Nothing is told any more."""
        os.close(self._news)

    def receive(self) -> bytes | None:
        with self._lock:
            if self._events:
                return self._events.popleft()
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._news)
            return None

    def discard(self) -> None:
        """Nothing: what came after the dumps is not in them."""

    def dump(self, kind: int) -> list[Event]:
        return [event for part in self._parts(kind) for event in decode(part) if not isinstance(event.item, Mroute)]

    def dump_mroutes(self) -> list[Mroute]:
        return []           # a router whose kernel has some is not moved

    def use_neighbour(self, ifindex: int, address: int, ipv6: bool = False) -> None:
        """Nothing: the container's own kernel sees to it, where it is."""

    def _parts(self, kind: int) -> Iterable[bytes]:
        with self._lock:
            # The mirror wants to know what events don't tell: that is to be had where the kernel is.
            self.replica.unsure |= self._stale
            return list(self._dumps.get(kind, ()))
