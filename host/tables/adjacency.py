"""Adjacency rows of one virtual router: who uses which row, and what is in it."""

from collections.abc import Mapping
from typing import NamedTuple

from polyrouter.hdl.layouts import ADJACENCY_ROW, AdjacencyKind, pack, unpack

__all__ = ["BLACKHOLE", "LOCAL", "UNREACHABLE", "AdjacencyFull", "AdjacencyManager", "Target", "content", "glean",
           "next_hop"]


class AdjacencyFull(Exception):
    """All rows of the router's window are in use."""


class Target(NamedTuple):
    """What a route points at. Routes with equal targets share a row.

    ``kind`` FORWARD means a next hop, known or not: its row is UNRESOLVED until its MAC address is known.
    """

    kind: AdjacencyKind
    port: int = 0
    address: int | None = None      # next hop's IPv4 address; None for a subnet on the port


LOCAL = Target(AdjacencyKind.LOCAL)
BLACKHOLE = Target(AdjacencyKind.BLACKHOLE)
UNREACHABLE = Target(AdjacencyKind.UNREACHABLE)


def glean(port: int) -> Target:
    """A subnet on a port whose hosts are not known one by one: its packets are punted, and the kernel asks for them."""
    return Target(AdjacencyKind.FORWARD, port)


def next_hop(port: int, address: int) -> Target:
    """A router or host on a port."""
    return Target(AdjacencyKind.FORWARD, port, address)


class AdjacencyManager:
    """Rows of a router's adjacency window, counted by their users.

    A row that nobody uses any more is free only after a fence: a look-up under way may still arrive at it. The caller
    does the writes that :meth:`take_writes` returns before any write to the FIB that refers to them, and calls
    :meth:`fenced` when a fence after the last such write has ended.

    Parameters
    ----------
    size : int
        Rows of the window.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._row_of: dict[Target, int] = {}
        self._target_of: dict[int, Target] = {}
        self._users: dict[int, int] = {}
        self._bits: dict[int, int] = {}
        self._fresh = 0                             # rows from here on were never used
        self._free: list[int] = []
        self._leaving: list[int] = []               # unused, but a look-up may be under way to them
        self._writes: dict[int, int] = {}           # waiting, in order
        self._strangers: dict[int, list[int]] = {}  # adopted rows by content, whose target isn't known

    def __len__(self) -> int:
        """Rows in use."""
        return len(self._users)

    @property
    def needs_fence(self) -> bool:
        """Whether there are rows that become free with the next fence."""
        return bool(self._leaving)

    def acquire(self, target: Target, bits: int, *, prefer: int | None = None) -> int:
        """A row for one more user of ``target``; ``bits`` is its content if it has no row yet.

        Of several adopted rows with that content ``prefer`` is taken.

        Raises
        ------
        AdjacencyFull
            If it needs a row and none is free.
        """
        row = self._row_of.get(target)
        if row is None:
            row = self._adopted(bits, prefer)
            if row is None:
                row = self._new_row()
                self._bits[row] = self._writes[row] = bits
                self._users[row] = 0
            self._row_of[target] = row
            self._target_of[row] = target
        self._users[row] += 1
        return row

    def release(self, row: int) -> None:
        """One user less."""
        self._users[row] -= 1
        if self._users[row]:
            return
        del self._users[row]
        target = self._target_of.pop(row, None)
        if target is None:
            self._strangers[self._bits[row]].remove(row)
        else:
            del self._row_of[target]
        self._leaving.append(row)

    def row(self, target: Target) -> int | None:
        """The row of a target, if it has one."""
        return self._row_of.get(target)

    def target(self, row: int) -> Target | None:
        """The target of a row, if it is known."""
        return self._target_of.get(row)

    def targets(self) -> list[Target]:
        """All targets that have a row."""
        return list(self._row_of)

    def update(self, target: Target, bits: int) -> bool:
        """Change the content of a target's row in place, if it has one; returns whether it changed."""
        row = self._row_of.get(target)
        if row is None or self._bits[row] == bits:
            return False
        self._bits[row] = self._writes[row] = bits
        return True

    def take_writes(self) -> list[tuple[int, int]]:
        """Writes (row, bits) that wait, to be done now."""
        writes, self._writes = list(self._writes.items()), {}
        return writes

    def fenced(self) -> list[tuple[int, int]]:
        """Free the rows that were released before a fence; returns writes that make them INVALID."""
        writes = [(row, 0) for row in self._leaving]
        for row in self._leaving:
            self._bits.pop(row, None)
            self._writes.pop(row, None)
        self._free += reversed(self._leaving)
        self._leaving = []
        return writes

    def image(self) -> dict[int, int]:
        """Content of all rows in use."""
        return {row: self._bits[row] for row in sorted(self._users)}

    def adopt(self, rows: Mapping[int, tuple[int, int]]) -> None:
        """Take over what a board has.

        The targets of the rows are not known; a row goes to the first target that is acquired with the same content.

        Parameters
        ----------
        rows : mapping of int to (int, int)
            Content and number of users of each row in use.
        """
        self.__init__(self.size)  # type: ignore[misc]
        for row, (bits, users) in rows.items():
            self._bits[row] = bits
            self._users[row] = users
            self._strangers.setdefault(bits, []).append(row)
        self._fresh = max(rows, default=-1) + 1
        self._free = [row for row in range(self._fresh - 1, -1, -1) if row not in rows]

    def describe(self) -> list[dict[str, object]]:
        """Rows in use, for people."""
        result = []
        for row, bits in self.image().items():
            fields = unpack(ADJACENCY_ROW, bits)
            target = self._target_of.get(row)
            result.append({"row": row, "kind": AdjacencyKind(fields["kind"]).name, "port": fields["port"],
                           "mac": fields["mac"], "mtu": fields["mtu"], "users": self._users[row],
                           "next_hop": None if target is None else target.address})
        return result

    def _adopted(self, bits: int, prefer: int | None) -> int | None:
        rows = self._strangers.get(bits)
        if not rows:
            return None
        return rows.pop(rows.index(prefer) if prefer in rows else -1)

    def _new_row(self) -> int:
        if self._free:
            return self._free.pop()
        if self._fresh < self.size:
            self._fresh += 1
            return self._fresh - 1
        raise AdjacencyFull(f"all {self.size} adjacencies of the router are in use: give it more, or fewer neighbours")


def content(target: Target, mac: int | None, mtu: int) -> int:
    """Bits of a target's row; ``mac`` is the next hop's address, if it is known."""
    if target.kind != AdjacencyKind.FORWARD:
        return pack(ADJACENCY_ROW, {"kind": target.kind})
    if target.address is None or mac is None:
        return pack(ADJACENCY_ROW, {"kind": AdjacencyKind.UNRESOLVED, "port": target.port})
    return pack(ADJACENCY_ROW, {"kind": AdjacencyKind.FORWARD, "port": target.port, "mac": mac,
                                "mtu": min(mtu, (1 << ADJACENCY_ROW["mtu"].width) - 1)})
