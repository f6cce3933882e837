"""Hash tables with two hashes of two ways: paths chosen here, writes safe under traffic.

The hashes are those of ``docs/dataplane.md`` (Toeplitz). An insertion looks for the shortest chain of moves by breadth
first search and writes it from its end backwards: a row is copied to its new place before the old one is
overwritten, so a look-up finds every key at any time (Pagh and Rodler 2004; the order of writes is that of MemC3,
Fan, Andersen and Kaminsky 2013).
"""

from collections import deque
from collections.abc import Callable, Mapping
from itertools import pairwise

__all__ = ["CuckooFull", "CuckooTable", "Write", "toeplitz"]

_HASHES = 2
_WAYS = 2
_SEED_BITS = 64

#: Row and its bits.
Write = tuple[int, int]


class CuckooFull(Exception):
    """No chain of moves leads to a free row; the table is unchanged."""


class CuckooTable:
    """What is in such a table of a board, and the writes that change it.

    Parameters
    ----------
    index_bits : int
        Bits of a hash; the table has ``4 << index_bits`` rows.
    key_bits : int
        How many of the low bits of a row are its key. A row of zeros is empty.
    seeds : tuple of int
        Seeds of the two hashes, as in the registers ``HASH_SEED_0`` and ``HASH_SEED_1``; they can't change while there
        are rows.
    """

    def __init__(self, index_bits: int, key_bits: int, seeds: tuple[int, int]) -> None:
        self.index_bits = index_bits
        self.seeds = seeds
        self._key_mask = (1 << key_bits) - 1
        self._slots = [0] * (_HASHES * _WAYS << index_bits)
        self._rows: dict[int, int] = {}         # key -> row

    def __len__(self) -> int:
        return len(self._rows)

    def hash(self, k: int, key: int) -> int:
        """Hash ``k`` of a key."""
        seed = self.seeds[k] | self.seeds[1 - k] << _SEED_BITS
        return toeplitz(seed, key) & (1 << self.index_bits) - 1

    def candidates(self, key: int) -> list[int]:
        """The four rows in which a key may be."""
        return [(k * _WAYS + way) << self.index_bits | self.hash(k, key)
                for k in range(_HASHES) for way in range(_WAYS)]

    def get(self, key: int) -> int:
        """Bits of the row that has a key; 0 if there is none."""
        row = self._rows.get(key)
        return 0 if row is None else self._slots[row]

    def put(self, bits: int) -> list[Write]:
        """Have this row for its key: a new one, or one atomic write in the place of the one that is there.

        Returns
        -------
        list of (row, bits)
            Writes, to be done in this order.

        Raises
        ------
        CuckooFull
            If there is no room for it.
        """
        key = bits & self._key_mask
        row = self._rows.get(key)
        if row is not None:
            return [] if self._slots[row] == bits else [self._write(row, bits)]
        path = self._find_path(key)
        if path is None:
            raise CuckooFull
        # path: the row that the new one gets, the row that its present one moves to, ..., a free row
        writes = [self._write(onward, self._slots[here]) for here, onward in reversed(list(pairwise(path)))]
        writes.append(self._write(path[0], bits))
        return writes

    def remove(self, key: int) -> list[Write]:
        """Remove a key, if it is there; returns the writes."""
        row = self._rows.pop(key, None)
        if row is None:
            return []
        self._slots[row] = 0
        return [(row, 0)]

    def image(self) -> list[int]:
        """All rows, as the hardware has them when every write was done."""
        return list(self._slots)

    def adopt(self, rows: Mapping[int, int], valid: Callable[[int], bool]) -> list[Write]:
        """Take over what a board has, for an agent that has just started.

        A key that is there twice (its move was interrupted) is removed from one row; rows that no look-up can reach,
        or that are not valid, are cleared.

        Parameters
        ----------
        rows : mapping of int to int
            Rows that were read, by number. Rows that are missing count as empty.
        valid : callable
            Whether the bits of a row make sense.

        Returns
        -------
        list of (row, bits)
            Writes that clean up.
        """
        self._slots = [0] * len(self._slots)
        self._rows = {}
        writes = []
        for row, bits in sorted(rows.items()):
            if not bits:
                continue
            key = bits & self._key_mask
            if not valid(bits) or key in self._rows or row not in self.candidates(key):
                writes.append((row, 0))
                continue
            self._slots[row] = bits
            self._rows[key] = row
        return writes

    def _write(self, row: int, bits: int) -> Write:
        self._slots[row] = bits
        self._rows[bits & self._key_mask] = row
        return row, bits

    def _find_path(self, key: int) -> list[int] | None:
        came_from: dict[int, int | None] = {}
        queue: deque[int] = deque()
        for row in self.candidates(key):
            if row not in came_from:
                came_from[row] = None
                queue.append(row)
        while queue:
            row = queue.popleft()
            occupant = self._slots[row]
            if not occupant:
                path: list[int] = []
                step: int | None = row
                while step is not None:
                    path.append(step)
                    step = came_from[step]
                return path[::-1]
            for other in self.candidates(occupant & self._key_mask):
                if other not in came_from:
                    came_from[other] = row
                    queue.append(other)
        return None


def toeplitz(seed: int, key: int) -> int:
    """Hash of a key, not cut: ``seed`` shifted right by the position of every set bit, added without carry."""
    result = 0
    while key:
        lowest = key & -key
        result ^= seed >> lowest.bit_length() - 1
        key ^= lowest
    return result
