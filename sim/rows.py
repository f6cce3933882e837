"""Writes of table rows, and the frames that make them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from polyrouter.hdl.layouts import MAX_OPS, Table, row_words

from .host_frames import HostFrame, Op

__all__ = ["RowWrite", "requests"]

WORD_MASK = (1 << 64) - 1


class RowWrite(NamedTuple):
    """A row to be written whole through the control engine."""

    table: Table
    router: int
    row: int
    value: int

    def ops(self) -> list[Op]:
        """The accesses that write it, lowest word first."""
        return [Op.write(self.table, self.router, self.row, self.value >> 64 * word & WORD_MASK, word)
                for word in range(row_words(self.table))]


def requests(writes: Iterable[RowWrite], *, sequence: int, source: bytes, sync: bool = False) -> Iterator[HostFrame]:
    """REQUEST frames that make all writes, rows never split between frames."""
    ops: list[Op] = []
    for write in writes:
        more = write.ops()
        if len(ops) + len(more) > MAX_OPS:
            yield HostFrame.request(sequence, ops, source=source, sync=sync)
            sequence, sync, ops = sequence + 1 & 0xFFFFFFFF, False, []
        ops += more
    if ops:
        yield HostFrame.request(sequence, ops, source=source, sync=sync)
