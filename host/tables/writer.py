"""Accesses to the tables of one router, in order; one that fails puts the router out of step."""

from collections.abc import Callable, Iterable
from typing import Protocol

from polyrouter.hdl.layouts import Table

from .fib import Fence, FibWrite

__all__ = ["TableDriver", "TableWriter"]

#: Tables of which it is known what was written last, by row.
_REMEMBERED = frozenset({Table.CONTEXT, Table.PORT})


class TableDriver(Protocol):
    """What is needed of a board's driver."""

    def write_rows(self, rows: Iterable[tuple[Table, int, int, int]]) -> None:
        """Write (table, router, row, bits), in this order."""

    def read_rows(self, rows: Iterable[tuple[Table, int, int]]) -> list[int]:
        """Bits of each of (table, router, row)."""

    def fence(self) -> None:
        """Wait until every look-up that was under way has ended."""


class TableWriter:
    """Writes a router's rows.

    Parameters
    ----------
    driver : TableDriver
        The board.
    router : int
        The router's number.

    Attributes
    ----------
    out_of_step : bool
        An access failed, so that it is not known what the board has.
    """

    def __init__(self, driver: TableDriver, router: int) -> None:
        self.driver = driver
        self.router = router
        self.out_of_step = False
        self._last: dict[tuple[Table, int], int] = {}   # of _REMEMBERED

    def write(self, rows: Iterable[tuple[Table, int, int]]) -> None:
        """Write (table, row, bits), in this order."""
        accesses = [(table, self.router, row, bits) for table, row, bits in rows]
        if accesses:
            self._guarded(lambda: self.driver.write_rows(accesses))
        self._last |= {(table, row): bits for table, _, row, bits in accesses if table in _REMEMBERED}

    def write_changed(self, rows: Iterable[tuple[Table, int, int]]) -> None:
        """The same of those that were not written like that the last time; of context and ports."""
        self.write([(table, row, bits) for table, row, bits in rows if self._last.get((table, row)) != bits])

    def write_fib(self, writes: Iterable[FibWrite | Fence]) -> None:
        """Carry out what a compiler gave."""
        rows: list[tuple[Table, int, int]] = []
        for write in writes:
            if isinstance(write, Fence):
                self.write(rows)
                self.fence()
                rows = []
            else:
                rows.append((Table.FIB, write.row, write.word))
        self.write(rows)

    def read(self, rows: Iterable[tuple[Table, int]]) -> list[int]:
        """Bits of each of (table, row)."""
        return self.driver.read_rows([(table, self.router, row) for table, row in rows])

    def fence(self) -> None:
        """Wait until every look-up that was under way has ended."""
        self._guarded(self.driver.fence)

    def _guarded(self, access: Callable[[], None]) -> None:
        try:
            access()
        except BaseException:
            self.out_of_step = True
            self._last.clear()
            raise
