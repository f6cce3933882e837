"""Free ranges of a memory: best fit, with neighbours joined when they are released."""

from collections.abc import Iterable, Iterator

__all__ = ["FreeRanges"]


class FreeRanges:
    """The free part of a memory of equal units.

    A range is taken from the smallest free one that is large enough; all ranges of ``limit`` units or more count as
    equally large. Taking and releasing take constant time.

    Parameters
    ----------
    limit : int
        The longest range that will be asked for.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._length: dict[int, int] = {}           # by start
        self._start: dict[int, int] = {}            # by end
        self._bins: list[dict[int, None]] = [{} for _ in range(limit + 1)]
        self._filled = 0                            # one bit for each bin that is not empty
        self.total = 0

    @classmethod
    def around(cls, used: Iterable[tuple[int, int]], size: int, limit: int) -> "FreeRanges":
        """What is free in ``size`` units, of which ``used`` (start, length) are not.

        Raises
        ------
        ValueError
            If two used ranges overlap, or one is not inside.
        """
        free = cls(limit)
        end = 0
        for start, length in sorted(used):
            if start < end or start + length > size:
                raise ValueError(f"range of {length} at {start} overlaps another one or the end ({size})")
            if start > end:
                free.release(end, start - end)
            end = start + length
        if size > end:
            free.release(end, size - end)
        return free

    def take(self, length: int, *, from_end: bool = False) -> int | None:
        """Start of a range that is no longer free, or None; ``from_end`` takes the high end of the free range."""
        fitting = self._filled >> length
        if not fitting:
            return None
        bin_number = length + (fitting & -fitting).bit_length() - 1
        starts = self._bins[bin_number]
        start, _ = starts.popitem()
        if not starts:
            self._filled &= ~(1 << bin_number)
        found = self._length.pop(start)
        self.total -= length
        if found == length:
            del self._start[start + found]
            return start
        if from_end:
            del self._start[start + found]
            self._insert(start, found - length)
            return start + found - length
        self._insert(start + length, found - length)
        return start

    def release(self, start: int, length: int) -> None:
        """Make a range free."""
        self.total += length
        before = self._start.pop(start, None)
        if before is not None:
            joined = self._remove(before)
            start, length = before, length + joined
        if start + length in self._length:
            after = start + length
            joined = self._remove(after)
            del self._start[after + joined]
            length += joined
        self._insert(start, length)

    def extract(self, multiple: int) -> Iterator[tuple[int, int]]:
        """Take all that can be taken in units of ``multiple``, aligned: (start, length) of each range."""
        for start, length in [(s, n) for s, n in self._length.items() if n >= multiple]:
            first = -(-start // multiple) * multiple
            end = (start + length) // multiple * multiple
            if first >= end:
                continue
            self._remove(start)
            del self._start[start + length]
            self.total -= end - first
            if first > start:
                self._insert(start, first - start)
            if start + length > end:
                self._insert(end, start + length - end)
            yield first, end - first

    @property
    def largest(self) -> int:
        """Units of the longest free range."""
        return max(self._length.values(), default=0)

    def _insert(self, start: int, length: int) -> None:
        self._length[start] = length
        self._start[start + length] = start
        bin_number = min(length, self._limit)
        self._bins[bin_number][start] = None
        self._filled |= 1 << bin_number

    def _remove(self, start: int) -> int:
        length = self._length.pop(start)
        bin_number = min(length, self._limit)
        starts = self._bins[bin_number]
        del starts[start]
        if not starts:
            self._filled &= ~(1 << bin_number)
        return length
