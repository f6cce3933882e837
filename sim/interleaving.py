"""Queues whose items come out one after the other, in any order between queues."""

from collections.abc import Hashable, Iterator
from typing import Generic, Protocol, TypeVar

__all__ = ["Interleaving"]


class _HasFrame(Protocol):
    @property
    def frame(self) -> bytes: ...


Order = TypeVar("Order", bound=Hashable)
Item = TypeVar("Item", bound=_HasFrame)


class Interleaving(Generic[Order, Item]):
    """Tells whether frames that come out are an interleaving of what was put into queues.

    Where frames of two queues are alike, as copies of one frame may be that come by different ways, it stays open from
    which queue one was taken until a later one tells: every possibility is kept.
    """

    def __init__(self) -> None:
        self._queues: dict[Order, list[Item]] = {}
        self._states: list[dict[Order, int]] = [{}]     # items taken of each queue: one for every possibility

    def put(self, order: Order, item: Item) -> None:
        """Put an item at a queue's end."""
        if order not in self._queues:
            self._queues[order] = []
            for state in self._states:
                state[order] = 0
        self._queues[order].append(item)

    @property
    def waiting(self) -> list[Item]:
        """What was not taken; where that is open, one possibility."""
        return list(self._left(self._states[0]))

    @property
    def may_wait(self) -> Iterator[Item]:
        """What was not taken in any of the possibilities."""
        return (item for state in self._states for item in self._left(state))

    @property
    def heads(self) -> list[Item]:
        """What may be taken next."""
        return [queue[taken] for state in self._states[:1] for queue, taken in self._positions(state)
                if taken < len(queue)]

    def take(self, frame: bytes) -> bool:
        """Take an item with this frame from the head of a queue; whether there is one."""
        found = {}
        for state in self._states:
            for order, taken in state.items():
                queue = self._queues[order]
                if taken < len(queue) and queue[taken].frame == frame:
                    after = {**state, order: taken + 1}
                    found[frozenset(after.items())] = after
        if found:
            self._states = list(found.values())
            self._forget()
        return bool(found)

    def skip_to(self, frame: bytes) -> list[Item] | None:
        """Take an item with this frame from anywhere in a queue; gives those before it, None if there is no such."""
        for state in self._states:
            for order, taken in state.items():
                queue = self._queues[order]
                for place in range(taken, len(queue)):
                    if queue[place].frame == frame:
                        self._states = [{**state, order: place + 1}]
                        self._forget()
                        return queue[taken:place]
        return None

    def clear(self) -> None:
        """Forget everything."""
        self._queues, self._states = {}, [{}]

    def _positions(self, state: dict[Order, int]) -> Iterator[tuple[list[Item], int]]:
        return ((self._queues[order], taken) for order, taken in state.items())

    def _left(self, state: dict[Order, int]) -> Iterator[Item]:
        return (item for queue, taken in self._positions(state) for item in queue[taken:])

    def _forget(self) -> None:
        """Queues that are empty, whatever was the case."""
        for order in [order for order, queue in self._queues.items()
                      if all(state[order] == len(queue) for state in self._states)]:
            del self._queues[order]
            for state in self._states:
                del state[order]
