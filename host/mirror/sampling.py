"""Lets a container's kernel see a packet of each multicast route from time to time.

A routing daemon asks the kernel whether it has seen packets of a route, and takes the route away if it has seen none
for a while (RFC 7761, 4.11: Keepalive_Period, 210 s). It sees none of those that the hardware forwards. So now and then
a route is handed to the kernel, which forwards in software, until it has counted a packet or some time is over. No
packet is lost or doubled by that; those in the container may be overtaken by the next ones.
"""

from collections import deque
from collections.abc import Iterable, Mapping

from ..tables.groups import MulticastKey

__all__ = ["Sampler"]

#: Seconds from one sample of a route to the next.
PERIOD = 30.0
#: Seconds between looks at the kernel's counts while there are samples, and that one takes at most.
POLL, LONGEST = 0.02, 1.0
#: Routes that are sampled at once.
_AT_ONCE = 32


class Sampler:
    """Whose turn it is. No input or output here; times are of one clock that does not go back, in seconds.

    Attributes
    ----------
    active : dict of MulticastKey to (int, float)
        Routes that the kernel has now: packets that it had counted before, and until when.
    due : float
        When :meth:`step` wants to be called again.
    """

    def __init__(self, now: float) -> None:
        self.active: dict[MulticastKey, tuple[int, float]] = {}
        self.due = self._next_round = now + PERIOD
        self._waiting: deque[MulticastKey] = deque()

    def step(self, now: float, candidates: Iterable[MulticastKey], packets: Mapping[MulticastKey, int]
             ) -> set[MulticastKey]:
        """Begin and end samples; returns routes for which one began or ended.

        Parameters
        ----------
        now : float
            The time.
        candidates : iterable of MulticastKey
            Routes that the hardware forwards, but for those that are sampled.
        packets : mapping of MulticastKey to int
            Packets that the kernel has counted, of all routes that it has.
        """
        ended = {key for key, (before, until) in self.active.items()
                 if now >= until or packets.get(key, before) != before}
        ended |= self.active.keys() - packets.keys()
        for key in ended:
            del self.active[key]
        wanted = set(candidates)
        if now >= self._next_round:
            self._next_round = now + PERIOD
            self._waiting = deque(sorted(wanted))
        began = set()
        while self._waiting and len(self.active) < _AT_ONCE:
            key = self._waiting.popleft()
            if key in wanted and key in packets:
                self.active[key] = packets[key], now + LONGEST
                began.add(key)
        self.due = now + POLL if self.active else self._next_round
        return began | ended
