"""Adjacency rows of one virtual router: who uses which row, and what is in it."""

from collections.abc import Mapping
from math import gcd
from typing import NamedTuple

from polyrouter.hdl.layouts import (
    ADJACENCY_ECMP,
    ADJACENCY_MULTICAST,
    ADJACENCY_ROW,
    AdjacencyKind,
    pack,
    unpack,
)

from ..ports import circuit, logical, physical, port_text
from .allocator import FreeRanges
from .prefix import format_address

__all__ = ["BLACKHOLE", "LOCAL", "MOST_MEMBERS", "UNREACHABLE", "AdjacencyFull", "AdjacencyManager", "Content",
           "Target", "content", "describe", "glean", "group", "next_hop"]

#: Rows that a group of next hops has at most.
MOST_MEMBERS = 16

#: What a target does, as bits of a row for each next hop; those of a group are next to each other.
Content = tuple[int, ...]


class AdjacencyFull(Exception):
    """All rows of the router's window are in use."""


class Target(NamedTuple):
    """What a route points at. Routes with equal targets share a row.

    ``kind`` FORWARD means a next hop, known or not: its row is UNRESOLVED until its MAC address is known. ``kind``
    ECMP means several next hops, of which those take part whose MAC addresses are known. ``kind`` MULTICAST means
    all of ``ports``, for packets that come in at ``port``. ``port`` is a logical one (:mod:`.ports`).
    """

    kind: AdjacencyKind
    port: int = 0
    address: int | None = None      # next hop's address; None for a subnet on the port
    ipv6: bool = False              # of what family the address is
    members: "tuple[Target, ...]" = ()      # next hops of a group; one that is there twice gets twice the flows
    ports: int = 0                  # of multicast, one bit each; physical ones
    host: bool = False              # multicast: the container gets a copy, too


LOCAL = Target(AdjacencyKind.LOCAL)
BLACKHOLE = Target(AdjacencyKind.BLACKHOLE)
UNREACHABLE = Target(AdjacencyKind.UNREACHABLE)


def glean(port: int) -> Target:
    """A subnet on a port whose hosts are not known one by one: its packets are punted, and the kernel asks for them."""
    return Target(AdjacencyKind.FORWARD, port)


def next_hop(port: int, address: int, ipv6: bool = False) -> Target:
    """A router or host on a port."""
    return Target(AdjacencyKind.FORWARD, port, address, ipv6)


def group(weights: Mapping[Target, int]) -> Target:
    """Several next hops, by their shares of the flows; a single one stands for itself.

    The order does not matter, so that the same next hops always are the same group. Shares are rounded to what
    MOST_MEMBERS rows can do; of more next hops than that, those with the lowest addresses are taken.
    """
    hops = sorted(weights, key=lambda hop: (hop.ipv6, hop.address or 0, hop.port))[:MOST_MEMBERS]
    if len(hops) == 1:
        return hops[0]
    divisor = gcd(*(weights[hop] for hop in hops))
    shares = [weights[hop] // divisor for hop in hops]
    if sum(shares) > MOST_MEMBERS:
        shares = [max(1, share * MOST_MEMBERS // sum(shares)) for share in shares]
    while sum(shares) > MOST_MEMBERS:
        shares[shares.index(max(shares))] -= 1
    members = tuple(hop for hop, share in zip(hops, shares, strict=True) for _ in range(share))
    return Target(AdjacencyKind.ECMP, members=members)


def describe(target: Target) -> str:
    """A target in words."""
    if target.members:
        return ", ".join(describe(member) for member in target.members)
    if target.kind == AdjacencyKind.MULTICAST:
        ports = [f"port {port}" for port in range(target.ports.bit_length()) if target.ports >> port & 1]
        return f"{port_text(target.port)} to {', '.join([*ports, *['host'] * target.host]) or 'nobody'}"
    if target.kind != AdjacencyKind.FORWARD:
        return target.kind.name.lower()
    if target.address is None:
        return port_text(target.port)
    return f"{format_address(target.address, target.ipv6)} {port_text(target.port)}"


class AdjacencyManager:
    """Rows of a router's adjacency window, counted by their users.

    A target has one row, to which the FIB refers. If its content is that of several next hops, these have a run of
    rows next to each other, and the target's row is of kind ECMP and refers to the run. When their number changes, a
    new run is written, and then the target's row: a flow meets what it met before or what it meets after. Where there
    is no free run, the first next hop is put into the target's row and does all alone.

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
        self._contents: dict[int, Content] = {}
        self._runs: dict[int, tuple[int, int]] = {}     # first row and length, by the target's row
        self._free = FreeRanges.around([], size, MOST_MEMBERS)
        self._leaving: list[tuple[int, int]] = []       # ranges not used, but a look-up may be under way to them
        self._writes: dict[int, int] = {}               # waiting, in order
        self._strangers: dict[Content, list[int]] = {}  # adopted rows by content, whose target isn't known
        self._groups: dict[Target, set[Target]] = {}    # that a next hop is in
        self._alone: dict[Target, None] = {}            # groups without a run

    def __len__(self) -> int:
        """Rows in use."""
        return len(self._users) + sum(length for _, length in self._runs.values())

    @property
    def needs_fence(self) -> bool:
        """Whether there are rows that become free with the next fence."""
        return bool(self._leaving)

    def acquire(self, target: Target, contents: Content, *, prefer: int | None = None) -> int:
        """A row for one more user of ``target``; ``contents`` is for the case that it has no row yet.

        Of several adopted rows with that content ``prefer`` is taken.

        Raises
        ------
        AdjacencyFull
            If it needs a row and none is free.
        """
        row = self._row_of.get(target)
        if row is None:
            row = self._adopted(contents, prefer)
            if row is None:
                row = self._new_row()
                self._users[row] = 0
                self._fill(row, target, contents)
            self._row_of[target] = row
            self._target_of[row] = target
            for member in target.members:
                self._groups.setdefault(member, set()).add(target)
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
            self._strangers[self._contents[row]].remove(row)
        else:
            del self._row_of[target]
            self._alone.pop(target, None)
            for member in set(target.members):
                self._groups[member].remove(target)
                if not self._groups[member]:
                    del self._groups[member]
        del self._contents[row]
        self._leaving.append((row, 1))
        if row in self._runs:
            self._leaving.append(self._runs.pop(row))

    def row(self, target: Target) -> int | None:
        """The row of a target, if it has one."""
        return self._row_of.get(target)

    def target(self, row: int) -> Target | None:
        """The target of a row, if it is known."""
        return self._target_of.get(row)

    def targets(self) -> list[Target]:
        """All targets that have a row."""
        return list(self._row_of)

    def next_hops(self) -> set[Target]:
        """All next hops that are targets or in groups that are."""
        return {hop for target in self._row_of for hop in target.members or (target,) if hop.address is not None}

    def affected(self, hop: Target) -> list[Target]:
        """Targets that a change of a next hop concerns: itself, and the groups that it is in."""
        return [hop, *self._groups.get(hop, ())]

    def alone(self) -> list[Target]:
        """Groups for which one next hop does all, because there was no run of rows free."""
        return list(self._alone)

    def update(self, target: Target, contents: Content) -> bool:
        """Change the content of a target, if it has a row; returns whether it changed."""
        row = self._row_of.get(target)
        if row is None or self._contents[row] == contents:
            return False
        run = self._runs.get(row)
        if run is None or run[1] != len(contents):
            return self._fill(row, target, contents)
        # As many as before: a flow of one of the rows goes to the old next hop, and then to the new one.
        for k, (old, new) in enumerate(zip(self._contents[row], contents, strict=True)):
            if old != new:
                self._writes[run[0] + k] = new
        self._contents[row] = contents
        return True

    def take_writes(self) -> list[tuple[int, int]]:
        """Writes (row, bits) that wait, to be done now and in order."""
        writes, self._writes = list(self._writes.items()), {}
        return writes

    def fenced(self) -> list[tuple[int, int]]:
        """Free the rows that were released before a fence; returns writes that make them INVALID."""
        writes = []
        for start, length in self._leaving:
            for row in range(start, start + length):
                writes.append((row, 0))
                self._writes.pop(row, None)
            self._free.release(start, length)
        self._leaving = []
        return writes

    def image(self) -> dict[int, int]:
        """Content of all rows in use."""
        rows = {}
        for row in self._users:
            rows[row] = self._bits(row)
            first, length = self._runs.get(row, (0, 0))
            rows |= {first + k: self._contents[row][k] for k in range(length)}
        return dict(sorted(rows.items()))

    def adopt(self, rows: Mapping[int, tuple[Content, int, int]]) -> None:
        """Take over what a board has.

        The targets of the rows are not known; a row goes to the first target that is acquired with the same content.

        Parameters
        ----------
        rows : mapping of int to (content, int, int)
            Content, number of users and first row of the run, if there is one, of each row that the FIB refers to.

        Raises
        ------
        ValueError
            If rows are used twice, or are outside of the window.
        """
        self.__init__(self.size)  # type: ignore[misc]
        for row, (contents, users, first) in rows.items():
            self._contents[row] = contents
            self._users[row] = users
            if len(contents) > 1:
                self._runs[row] = first, len(contents)
            self._strangers.setdefault(contents, []).append(row)
        self._free = FreeRanges.around([*((row, 1) for row in rows), *self._runs.values()], self.size, MOST_MEMBERS)

    def describe(self) -> list[dict[str, object]]:
        """Rows in use, for people."""
        owner = {first + k: row for row, (first, length) in self._runs.items() for k in range(length)}
        result: list[dict[str, object]] = []
        for row, bits in self.image().items():
            fields = unpack(ADJACENCY_ROW, bits)
            target = self._target_of.get(row)
            entry: dict[str, object] = {"row": row, "kind": AdjacencyKind(fields["kind"]).name}
            if row in self._runs:
                first, count = self._runs[row]
                entry |= {"first": first, "count": count}
            else:
                entry |= {"port": logical(fields["port"], fields["vid"]), "mac": fields["mac"], "mtu": fields["mtu"]}
            entry |= {"users": self._users[owner.get(row, row)],
                      "next_hop": None if target is None else target.address}
            result.append(entry)
        return result

    def _fill(self, row: int, target: Target, contents: Content) -> bool:
        """Give a row another content, by way of a new run if it needs one; whether anything changed."""
        first = self._free.take(len(contents)) if len(contents) > 1 else None
        if len(contents) > 1 and first is None:
            self._alone[target] = None
            contents = contents[:1]
        else:
            self._alone.pop(target, None)
        if self._contents.get(row) == contents:
            return False
        if row in self._runs:
            self._leaving.append(self._runs.pop(row))
        self._contents[row] = contents
        if first is not None:
            self._runs[row] = first, len(contents)
            self._writes |= {first + k: bits for k, bits in enumerate(contents)}
        # Not before what it refers to, also if a write of it waits already.
        self._writes.pop(row, None)
        self._writes[row] = self._bits(row)
        return True

    def _bits(self, row: int) -> int:
        if row not in self._runs:
            return self._contents[row][0]
        first, count = self._runs[row]
        return pack(ADJACENCY_ECMP, {"kind": AdjacencyKind.ECMP, "first": first, "count": count})

    def _adopted(self, contents: Content, prefer: int | None) -> int | None:
        rows = self._strangers.get(contents)
        if not rows:
            return None
        return rows.pop(rows.index(prefer) if prefer in rows else -1)

    def _new_row(self) -> int:
        row = self._free.take(1, from_end=True)     # away from the runs, which need rows next to each other
        if row is None:
            raise AdjacencyFull(f"all {self.size} adjacencies of the router are in use: give it more, or fewer "
                                "neighbours")
        return row


def content(target: Target, mac: int | None, mtu: int) -> int:
    """Bits of the row of a target that is no group of next hops; ``mac`` is the next hop's address, if it is known."""
    place = {"port": physical(target.port), "vid": circuit(target.port)}
    if target.kind == AdjacencyKind.MULTICAST:
        return pack(ADJACENCY_MULTICAST, {"kind": target.kind, "ports": target.ports, "host": int(target.host),
                                          "mtu": _in_row(mtu), **place})
    if target.kind != AdjacencyKind.FORWARD:
        return pack(ADJACENCY_ROW, {"kind": target.kind})
    if target.address is None or mac is None:
        return pack(ADJACENCY_ROW, {"kind": AdjacencyKind.UNRESOLVED, **place})
    return pack(ADJACENCY_ROW, {"kind": AdjacencyKind.FORWARD, "mac": mac, "mtu": _in_row(mtu), **place})


def _in_row(mtu: int) -> int:
    """An MTU, or the largest that a row has room for."""
    return min(mtu, (1 << ADJACENCY_ROW["mtu"].width) - 1)
