"""Who has which part of the tables that all routers of a board share."""

from dataclasses import astuple, dataclass

from polyrouter.hdl.config import CoreConfig

from .fib import IPV6_ROOT_ROW, ROOTS
from .rates import LINE_RATE

__all__ = ["LEAST_FIB_WORDS", "LEAST_MAC_ROWS", "Window", "WindowAllocator", "WindowPool", "WindowsFull",
           "filter_alignment", "filter_share", "most_filter_rules"]

#: Rows that a window may have at most, from the width of a FIB result.
_LARGEST = 1 << 18
#: The root words of IPv4 and of IPv6.
LEAST_FIB_WORDS = IPV6_ROOT_ROW + ROOTS
#: An address may be in any of so many rows.
LEAST_MAC_ROWS = 4
#: Bits that the shortest frame takes on the line, with preamble and the gap between frames (IEEE 802.3, clause 4.4.2).
_SHORTEST_BITS = (64 + 8 + 12) * 8


def most_filter_rules(config: CoreConfig) -> int:
    """Rules that one router may have if shortest frames at line rate on all ports are to pass.

    A frame takes a cycle for each ``filter_banks`` rules of its router, and on each port a shortest frame comes every
    672 ns.
    """
    return config.filter_banks * int(config.clock_hz * _SHORTEST_BITS // (LINE_RATE * config.ports))


def filter_alignment(config: CoreConfig, rules: int) -> int:
    """What the first row of a window of so many rules must be a multiple of.

    The scan takes a cycle for each place of ``filter_banks`` rows that the window touches. One that begins within a
    place may touch one more; a window near the limit has no cycle left for that.
    """
    return config.filter_banks if rules + config.filter_banks - 1 > most_filter_rules(config) else 1


def filter_share(config: CoreConfig) -> int:
    """Rules that a router gets that does not say how many: an equal share, but not more than line rate allows."""
    share = min(config.filter_rules // config.routers, most_filter_rules(config))
    return share - share % filter_alignment(config, share)


class WindowsFull(Exception):
    """What was asked for does not fit; the message says what, what there is, and what to do."""


@dataclass(frozen=True)
class Window:
    """A router's part of each table that all routers share, in words and rows.

    Agents before this one saved only the first four; who has no rows of a table has a base and a size of zero.
    """

    fib_base: int
    fib_size: int
    adj_base: int
    adj_size: int
    filter_base: int = 0
    filter_size: int = 0
    policer_base: int = 0
    policer_size: int = 0
    mac_base: int = 0
    mac_size: int = 0


class WindowAllocator:
    """Contiguous windows of one table, first fit.

    Parameters
    ----------
    what : str
        What is given out, for messages.
    total : int
        Rows of the table.
    least : int
        Rows of the smallest window; 0 if a router need not have one.
    """

    def __init__(self, what: str, total: int, least: int = 1) -> None:
        self.what = what
        self.total = total
        self._least = least
        self._taken: dict[int, tuple[int, int]] = {}        # router -> (base, size)

    @property
    def free(self) -> int:
        """Rows that nobody has."""
        return self.total - sum(size for _, size in self._taken.values())

    def allocate(self, router: int, size: int, alignment: int = 1) -> int:
        """Give a router a window; returns its base, a multiple of ``alignment``.

        Raises
        ------
        WindowsFull
            If there is no gap of that size.
        ValueError
            If the router has one, or the size is out of range.
        """
        self._check(router, size)
        if not size:
            return 0
        gaps = self._gaps()
        for base, room in gaps:
            skipped = -base % alignment
            if room >= skipped + size:
                self._taken[router] = (base + skipped, size)
                return base + skipped
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
        if not size:
            return
        if not any(start <= base and base + size <= start + room for start, room in self._gaps()):
            raise WindowsFull(f"{self.what} {base} to {base + size - 1} can't be router {router}'s: not all are free")
        self._taken[router] = (base, size)

    def release(self, router: int) -> None:
        """Take a router's window back, if it has one. Look-ups in it must have ended: fence before."""
        self._taken.pop(router, None)

    def _check(self, router: int, size: int) -> None:
        if router in self._taken:
            raise ValueError(f"router {router} has {self.what} already")
        if not self._least <= size <= _LARGEST:
            raise ValueError(f"{self.what} of a router must be {self._least} to {_LARGEST}, not {size}")

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
        self.filters = WindowAllocator("filter rules", config.filter_rules, 0)
        self.policers = WindowAllocator("policers", config.policers, 0)
        self.macs = WindowAllocator("MAC rows", config.mac_rows, 0)

    def allocate(self, router: int, fib_words: int | None = None, adjacencies: int | None = None, *,
                 filter_rules: int | None = None, policers: int | None = None, mac_rows: int = 0) -> Window:
        """Give a router its windows; an equal share of each table unless told otherwise, but no MAC rows, and no more
        filter rules than line rate allows.

        Raises
        ------
        WindowsFull
            If there is no room, or line rate does not allow so many rules; nothing is taken then.
        """
        config = self.config
        if not 0 <= router < config.routers:
            raise ValueError(f"router must be 0 to {config.routers - 1}, not {router}")
        fib_size = fib_words or min(_LARGEST, config.fib_words // config.routers)
        adj_size = adjacencies or min(_LARGEST, config.adjacencies // config.routers)
        if 0 <= fib_size < LEAST_FIB_WORDS:
            raise WindowsFull(f"router {router} would have {fib_size} FIB words, and needs {LEAST_FIB_WORDS} at least: "
                              "ask for more, or build a core with more FIB words or fewer routers")
        if mac_rows and (mac_rows < LEAST_MAC_ROWS or mac_rows & mac_rows - 1):
            raise ValueError(f"MAC rows of a router must be a power of two, at least {LEAST_MAC_ROWS}, not {mac_rows}")
        most = most_filter_rules(config)
        if filter_rules is not None and filter_rules > most:
            raise WindowsFull(f"router {router} asks for {filter_rules} filter rules, and with filter_banks "
                              f"{config.filter_banks} line rate on {config.ports} ports allows {most} at most: ask for "
                              "less, or build a core with more filter_banks")
        sizes = [fib_size, adj_size, filter_share(config) if filter_rules is None else filter_rules,
                 config.policers // config.routers if policers is None else policers, mac_rows]
        return self._take(router, [(table, None, size) for table, size in zip(self._tables, sizes, strict=True)])

    def reserve(self, router: int, window: Window) -> None:
        """Give a router the very windows that it had before.

        Raises
        ------
        WindowsFull
            If they are not all free; nothing is taken then.
        """
        values = astuple(window)
        self._take(router, list(zip(self._tables, values[0::2], values[1::2], strict=True)))

    def release(self, router: int) -> None:
        """Take a router's windows back, if it has any. Look-ups in them must have ended: fence before."""
        for table in self._tables:
            table.release(router)

    @property
    def _tables(self) -> tuple[WindowAllocator, ...]:
        """In the order of the fields of :class:`Window`."""
        return self.fib, self.adjacencies, self.filters, self.policers, self.macs

    def _take(self, router: int, wanted: list[tuple[WindowAllocator, int | None, int]]) -> Window:
        values: list[int] = []
        taken: list[WindowAllocator] = []
        try:
            for table, base, size in wanted:
                if base is None:
                    alignment = filter_alignment(self.config, size) if table is self.filters else 1
                    base = table.allocate(router, size, alignment)
                else:
                    table.reserve(router, base, size)
                taken.append(table)
                values += [base, size]
        except (WindowsFull, ValueError):
            for table in taken:
                table.release(router)
            raise
        return Window(*values)
