"""Who has which part of the tables that all routers of a board share."""

from dataclasses import dataclass

from polyrouter.hdl.config import CoreConfig

__all__ = ["LEAST_FIB_WORDS", "Window", "WindowAllocator", "WindowPool", "WindowsFull"]

#: Rows that a window may have at most, from the width of a FIB result.
_LARGEST = 1 << 18
#: A root for each of IPv4 and IPv6.
LEAST_FIB_WORDS = 2


class WindowsFull(Exception):
    """What was asked for does not fit; the message says what, what there is, and what to do."""


@dataclass(frozen=True)
class Window:
    """A router's part of the FIB pool and of the adjacency table, in words and rows."""

    fib_base: int
    fib_size: int
    adj_base: int
    adj_size: int


class WindowAllocator:
    """Contiguous windows of one table, first fit.

    Parameters
    ----------
    what : str
        What is given out, for messages.
    total : int
        Rows of the table.
    """

    def __init__(self, what: str, total: int) -> None:
        self.what = what
        self.total = total
        self._taken: dict[int, tuple[int, int]] = {}        # router -> (base, size)

    @property
    def free(self) -> int:
        """Rows that nobody has."""
        return self.total - sum(size for _, size in self._taken.values())

    def allocate(self, router: int, size: int) -> int:
        """Give a router a window; returns its base.

        Raises
        ------
        WindowsFull
            If there is no gap of that size.
        ValueError
            If the router has one, or the size is out of range.
        """
        self._check(router, size)
        gaps = self._gaps()
        for base, room in gaps:
            if room >= size:
                self._taken[router] = (base, size)
                return base
        largest = max((room for _, room in gaps), default=0)
        raise WindowsFull(f"router {router} asks for {size} {self.what}, and of {self.total} there are {self.free} left"
                          + (f", at most {largest} in a row" if largest < self.free else "")
                          + ": ask for less, take some from other routers, or build a larger core")

    def reserve(self, router: int, base: int, size: int) -> None:
        """Give a router the very window that it had before, for an agent that restarts.

        Raises
        ------
        WindowsFull
            If part of it is another router's, or outside of the table.
        """
        self._check(router, size)
        if not any(start <= base and base + size <= start + room for start, room in self._gaps()):
            raise WindowsFull(f"{self.what} {base} to {base + size - 1} can't be router {router}'s: not all are free")
        self._taken[router] = (base, size)

    def release(self, router: int) -> None:
        """Take a router's window back, if it has one. Look-ups in it must have ended: fence before."""
        self._taken.pop(router, None)

    def _check(self, router: int, size: int) -> None:
        if router in self._taken:
            raise ValueError(f"router {router} has {self.what} already")
        if not 1 <= size <= _LARGEST:
            raise ValueError(f"{self.what} of a router must be 1 to {_LARGEST}, not {size}")

    def _gaps(self) -> list[tuple[int, int]]:
        gaps, position = [], 0
        for base, size in sorted(self._taken.values()):
            if base > position:
                gaps.append((position, base - position))
            position = base + size
        if position < self.total:
            gaps.append((position, self.total - position))
        return gaps


class WindowPool:
    """Windows of all routers of a board.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the board.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.fib = WindowAllocator("FIB words", config.fib_words)
        self.adjacencies = WindowAllocator("adjacencies", config.adjacencies)

    def allocate(self, router: int, fib_words: int | None = None, adjacencies: int | None = None) -> Window:
        """Give a router its windows; an equal share of each table unless told otherwise.

        Raises
        ------
        WindowsFull
            If there is no room; nothing is taken then.
        """
        if not 0 <= router < self.config.routers:
            raise ValueError(f"router must be 0 to {self.config.routers - 1}, not {router}")
        fib_size = fib_words or min(_LARGEST, self.config.fib_words // self.config.routers)
        adj_size = adjacencies or min(_LARGEST, self.config.adjacencies // self.config.routers)
        if 0 <= fib_size < LEAST_FIB_WORDS:
            raise WindowsFull(f"router {router} would have {fib_size} FIB words, and needs {LEAST_FIB_WORDS} at least: "
                              "ask for more, or build a core with more FIB words or fewer routers")
        fib_base = self.fib.allocate(router, fib_size)
        try:
            adj_base = self.adjacencies.allocate(router, adj_size)
        except (WindowsFull, ValueError):
            self.fib.release(router)
            raise
        return Window(fib_base, fib_size, adj_base, adj_size)

    def reserve(self, router: int, window: Window) -> None:
        """Give a router the very windows that it had before.

        Raises
        ------
        WindowsFull
            If they are not all free; nothing is taken then.
        """
        self.fib.reserve(router, window.fib_base, window.fib_size)
        try:
            self.adjacencies.reserve(router, window.adj_base, window.adj_size)
        except (WindowsFull, ValueError):
            self.fib.release(router)
            raise

    def release(self, router: int) -> None:
        """Take a router's windows back, if it has any. Look-ups in them must have ended: fence before."""
        self.fib.release(router)
        self.adjacencies.release(router)
