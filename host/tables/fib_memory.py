"""One router's window of the node pool: who has which words and results, and what was written to them."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from polyrouter.hdl.layouts import FIB_RESULTS, RESULTS_PER_WORD

from .allocator import FreeRanges

__all__ = ["BLOCK_WORDS", "FENCE", "Fence", "FibFull", "FibWrite", "WindowMemory"]

#: Words of the block that holds a number of children; few sizes keep the memory from being chopped up.
BLOCK_WORDS = [next(size for size in (0, 1, 2, 3, 4, 6, 8, 12, 16) if size >= children) for children in range(17)]

_MOST_RESULTS = 15
#: Words that results get at once; they hold the most results that a node can have.
_CHUNK = -(-_MOST_RESULTS // RESULTS_PER_WORD)
#: Released ranges that may wait for a fence before one is made.
_MOST_RELEASED = 64

_RESULT_OFFSET = [FIB_RESULTS[k].offset for k in range(RESULTS_PER_WORD)]
_RESULT_MASK = (1 << FIB_RESULTS[0].width) - 1


class FibWrite(NamedTuple):
    """Write a word of the pool; ``row`` is relative to the router's window."""

    row: int
    word: int


class Fence(NamedTuple):
    """Wait until every lookup that was under way has ended."""


FENCE = Fence()
#: Tells which blocks and which results a user of the memory has.
_Used = Callable[[], tuple[Iterable[tuple[int, int]], Iterable[tuple[int, int]]]]


class FibFull(Exception):
    """A transaction does not fit into the router's window of the pool; nothing was changed.

    Attributes
    ----------
    asked : int
        Words in the block that was not to be had.
    available, largest : int
        Free words, and how many of them are in one piece.
    size : int
        Words of the window.
    """

    def __init__(self, asked: int, available: int, largest: int, size: int) -> None:
        self.asked, self.available, self.largest, self.size = asked, available, largest, size
        super().__init__(f"the FIB window is full: {asked} words in one piece were needed, and {available} of {size} "
                         f"words are free, {largest} of them in one piece; give the router a larger FIB window, or "
                         "fewer routes")


class WindowMemory:
    """Hands out blocks of words and runs of results, and makes the list of writes of one transaction at a time.

    Several tries may share it, a transaction of one after a transaction of another; each must :meth:`join` first.
    Results are packed without regard to words, so a word may hold results of several nodes; writing one keeps the
    others. What is released is handed out again only after a fence.

    Parameters
    ----------
    size : int
        Words of the window.

    Attributes
    ----------
    writes : list of FibWrite or Fence
        Of the present transaction.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._users: list[_Used] = []
        self._words: dict[int, int] = {}
        self._released: list[tuple[bool, int, int]] = []    # (are results, start, length)
        self._fence_owed = False
        self._lay_out()

    def join(self, used: _Used) -> None:
        """One user more; ``used`` gives the ranges (start, length) that it has outside of transactions.

        These are words, and results by their place (row * RESULTS_PER_WORD + position). One that has none yet may
        join also when there were transactions.

        Raises
        ------
        ValueError
            If they overlap with those of others.
        """
        self._users.append(used)
        if any(used()):
            self._lay_out()

    def leave(self, used: _Used) -> None:
        """A user that has released all that it had is one no more."""
        self._users.remove(used)

    def restart(self, words: Mapping[int, int]) -> None:
        """Go on from what a window holds; the first transaction then begins with a fence.

        Parameters
        ----------
        words : mapping
            Words of the window by row; only those that hold results are of interest.

        Raises
        ------
        ValueError
            If ranges in use overlap.
        """
        self._words = dict(words)
        self._released = []
        self._fence_owed = True
        self._lay_out()

    def _lay_out(self) -> None:
        """Make the free ranges from the used ones; raises ValueError if these overlap."""
        blocks: list[tuple[int, int]] = []
        results: list[tuple[int, int]] = []
        for used in self._users:
            more_blocks, more_results = used()
            blocks += more_blocks
            results += more_results
        rows = {place // RESULTS_PER_WORD for start, length in results for place in range(start, start + length)}
        self._blocks = FreeRanges.around([*blocks, *((row, 1) for row in rows)], self.size, BLOCK_WORDS[-1])
        self._results = FreeRanges.around(results, self.size * RESULTS_PER_WORD, _MOST_RESULTS)
        for _ in self._results.extract(RESULTS_PER_WORD):
            pass                                    # words without any result belong to the blocks
        self._words = {row: self._words.get(row, 0) for row in rows}

    def begin(self) -> None:
        """Start a transaction."""
        self.writes: list[FibWrite | Fence] = []
        self._taken: list[tuple[bool, int, int]] = []
        self._releasing: list[tuple[bool, int, int]] = []   # in the present step
        self._own_freed = False                     # something that the transaction released was made free
        self._earlier = len(self._released)         # what earlier transactions released
        self._before: dict[int, int | None] = {}    # words of results that were changed, as they were
        self._last_write: dict[int, int] = {}       # of a word of results, since the last fence
        if self._fence_owed or self._earlier >= _MOST_RELEASED:
            self.fence()

    def end_step(self) -> None:
        """Say that with the writes made until now, what was released is no longer referred to."""
        self._released += self._releasing
        self._releasing = []

    def fence(self) -> None:
        """Wait for the lookups under way, and make free what was released in earlier steps."""
        self._own_freed |= len(self._released) > self._earlier
        for are_results, start, length in self._released:
            (self._results if are_results else self._blocks).release(start, length)
        self._released = []
        self._earlier = 0
        self._last_write = {}
        self.writes.append(FENCE)

    def commit(self) -> list[FibWrite | Fence]:
        """End the transaction; the list of its writes."""
        self.end_step()
        self._fence_owed = False
        return self.writes

    def roll_back(self) -> None:
        """Undo the transaction; all users must be back at what they had before it."""
        for row, word in self._before.items():
            if word is None:
                self._words.pop(row, None)      # it may have become part of a block since it was written
            else:
                self._words[row] = word
        self._released = self._released[:self._earlier]
        # Earlier transactions' releases may have been made free for a fence that is now not going to be made.
        self._fence_owed |= FENCE in self.writes
        if self._own_freed:
            self._lay_out()
        else:
            for are_results, start, length in self._taken:
                (self._results if are_results else self._blocks).release(start, length)

    def take_block(self, children: int) -> int:
        """First row of a new block for a number of children; FibFull is raised if there is none."""
        length = BLOCK_WORDS[children]
        while (row := self._blocks.take(length)) is None:
            self._make_room(length)
        self._taken.append((False, row, length))
        return row

    def take_block_from(self, children: int, least: int) -> int:
        """The same, not below row ``least``."""
        length = BLOCK_WORDS[children]
        while True:
            below = []
            while (row := self._blocks.take(length, from_end=True)) is not None and row < least:
                below.append(row)
            for other in below:
                self._blocks.release(other, length)
            if row is not None:
                self._taken.append((False, row, length))
                return row
            self._make_room(length)

    def release_block(self, row: int, children: int) -> None:
        """Give back a block, which stays as it is until the next fence."""
        self._releasing.append((False, row, BLOCK_WORDS[children]))

    def take_results(self, count: int) -> int:
        """Place of a new run of results; FibFull is raised if there is none."""
        least = -(-count // RESULTS_PER_WORD)
        while (place := self._results.take(count)) is None:
            for length in (_CHUNK, least):
                # Results gather at the far end of the window, away from the blocks.
                if (row := self._blocks.take(length, from_end=True)) is not None:
                    self._results.release(row * RESULTS_PER_WORD, length * RESULTS_PER_WORD)
                    break
            else:
                self._make_room(least)
        self._taken.append((True, place, count))
        return place

    def release_results(self, place: int, count: int) -> None:
        """Give back a run of results."""
        self._releasing.append((True, place, count))

    def _make_room(self, asked: int) -> None:
        """Find words that can be had, by a fence if need be."""
        before = self._blocks.total
        for start, length in self._results.extract(RESULTS_PER_WORD):
            row, words = start // RESULTS_PER_WORD, length // RESULTS_PER_WORD
            for k in range(row, row + words):
                # The transaction itself may have released them, and take them again if it is undone.
                word = self._words.pop(k, None)
                self._before.setdefault(k, word)
            self._blocks.release(row, words)
        if self._blocks.total > before:
            return
        if not self._released:
            raise FibFull(asked, self._blocks.total, self._blocks.largest, self.size)
        self.fence()

    def write(self, row: int, word: int) -> None:
        """Write a node or a leaf."""
        self.writes.append(FibWrite(row, word))

    def write_results(self, place: int, values: list[int], *, live: bool) -> None:
        """Write a run of results; ``live`` if the nodes in the pool refer to it already."""
        row, position = divmod(place, RESULTS_PER_WORD)
        while values:
            here, values = values[:RESULTS_PER_WORD - position], values[RESULTS_PER_WORD - position:]
            old = self._words.get(row)
            word = old or 0
            for value, offset in zip(here, _RESULT_OFFSET[position:], strict=False):
                word = word & ~(_RESULT_MASK << offset) | value << offset
            if word != old:
                self._before.setdefault(row, old)
                self._words[row] = word
                last = self._last_write.get(row)
                if last is None or live:
                    self._last_write[row] = len(self.writes)
                    self.writes.append(FibWrite(row, word))
                else:
                    # Nothing refers to the new results yet, so they may as well go with an earlier write of the word.
                    self.writes[last] = FibWrite(row, word)
            row, position = row + 1, 0

    def result_word(self, row: int) -> int:
        """A word of results, as it is in the pool."""
        return self._words[row]
