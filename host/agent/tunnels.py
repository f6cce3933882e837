"""Packets of tunnels that the hardware could not send on their way: nobody's in any container."""

import threading
import time
from collections.abc import Callable
from ipaddress import IPv4Address

from polyrouter.hdl.layouts import Reason

__all__ = ["TunnelPackets"]

#: Seconds until a next hop is asked for again because of packets to the same tunnel's end.
_AGAIN = 0.25
#: Ends of tunnels that are remembered; a board has 4095 circuits at most.
_MOST = 4096
_IPV4, _SHORTEST = b"\x08\x00", 34
#: What is wrong, and what to do about it.
_PROBLEMS = {
    Reason.PUNT_UNRESOLVED: "its next hop was not known yet; if there are ever more, see whether it is there",
    Reason.PUNT_NO_ROUTE: "there is no route: see the router's routes",
    Reason.PUNT_MTU: "the way is too narrow for them: lower the MTU of what is on the tunnel",
    Reason.PUNT_TTL: "the tunnel's TTL is too low",
    Reason.PUNT_LOCAL: "the tunnel's other end is the router itself",
}


class TunnelPackets:
    """Counts such packets by router, reason and destination, and has next hops asked for.

    Parameters
    ----------
    resolve : callable
        Has a router's kernel look for the next hop to an IPv4 address. Must not wait.
    clock : callable
        Seconds, of a clock that does not go back.
    """

    def __init__(self, resolve: Callable[[int, int], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._resolve, self._clock = resolve, clock
        self._lock = threading.Lock()
        self._counts: dict[tuple[int, Reason, int], int] = {}
        self._asked: dict[tuple[int, int], float] = {}

    def take(self, router: int, reason: Reason, frame: bytes) -> None:
        """A packet that was handed up."""
        destination = int.from_bytes(frame[30:34], "big") if (
            frame[12:14] == _IPV4 and len(frame) >= _SHORTEST) else 0
        with self._lock:
            key = (router, reason, destination)
            if key in self._counts or len(self._counts) < _MOST:
                self._counts[key] = self._counts.get(key, 0) + 1
            now = self._clock()
            due = reason == Reason.PUNT_UNRESOLVED and now - self._asked.get((router, destination), -_AGAIN) >= _AGAIN
            if due:
                if len(self._asked) >= _MOST:
                    self._asked.clear()
                self._asked[router, destination] = now
        if due:
            self._resolve(router, destination)

    def forget(self, router: int) -> None:
        """Forget what was a router's, which has gone."""
        with self._lock:
            self._counts = {key: count for key, count in self._counts.items() if key[0] != router}

    def describe(self) -> list[dict[str, object]]:
        """Packets so far, for people; ``problem`` tells what to do."""
        with self._lock:
            counts = sorted(self._counts.items())
        return [{"router": router, "destination": str(IPv4Address(destination)), "reason": reason.name.lower(),
                 "frames": count, "problem": _PROBLEMS.get(reason, "unexpected")}
                for (router, reason, destination), count in counts]
