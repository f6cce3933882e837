"""Where a router's routes point at: neighbours and MTUs as they are known, and the rows that follow from them."""

from collections.abc import Iterable

from polyrouter.hdl.layouts import ADJACENCY_ECMP, AdjacencyKind, Table, unpack

from ..ports import physical
from .adjacency import LOCAL, MOST_MEMBERS, AdjacencyFull, AdjacencyManager, Content, Target, content, next_hop
from .writer import TableWriter

__all__ = ["NextHops", "read_adjacencies"]

_DEFAULT_MTU = 1500


class NextHops:
    """Adjacencies of one router, by what is known of its neighbours and ports.

    Parameters
    ----------
    size : int
        Rows of the router's window.
    writer : TableWriter
        Writes them.

    Attributes
    ----------
    adjacencies : AdjacencyManager
        Who uses which row.
    macs : dict of Target to int
        MAC addresses of next hops.
    """

    def __init__(self, size: int, writer: TableWriter) -> None:
        self._size, self._writer = size, writer
        self.macs: dict[Target, int] = {}
        self._mtus: dict[int, int] = {}
        self.blank()

    def blank(self, adjacencies: AdjacencyManager | None = None) -> None:
        """Nothing is in the board, or what was adopted."""
        self.adjacencies = adjacencies or AdjacencyManager(self._size)
        self._stale: set[Target] = set()                # their rows may have to change
        self._unresolved: list[Target] = []
        # One user more than its routes: where there is no room, there always is this row.
        self.adjacencies.acquire(LOCAL, self.contents(LOCAL))

    def set_neighbour(self, port: int, address: int, mac: int | None, ipv6: bool = False) -> None:
        """MAC address of a neighbour; None if it is not known."""
        hop = next_hop(port, address, ipv6)
        if mac is None:
            self.macs.pop(hop, None)
        else:
            self.macs[hop] = mac
        self._stale.add(hop)

    def set_mtu(self, port: int, mtu: int) -> None:
        """MTU of a logical port, in bytes."""
        if self._mtus.get(port, _DEFAULT_MTU) != mtu:
            self._mtus[port] = mtu
            self._stale |= {hop for hop in self.adjacencies.next_hops() if hop.port == port}
            self._stale |= {target for target in self.adjacencies.targets() if target.ports >> physical(port) & 1}

    def contents(self, target: Target) -> Content:
        """Rows of a target: one for each next hop that takes part; a group of which none is known is as its first."""
        hops = target.members or (target,)
        known = tuple(self._content(hop) for hop in hops if hop in self.macs)
        if len(set(known)) > 1:
            return known
        return known[:1] or (self._content(hops[0]),)

    def _content(self, target: Target) -> int:
        if target.ports:
            mtus = [mtu for port, mtu in self._mtus.items() if target.ports >> physical(port) & 1]
            known = {physical(port) for port in self._mtus}
            others = any(target.ports >> port & 1 and port not in known for port in range(target.ports.bit_length()))
            return content(target, None, min([*mtus, *[_DEFAULT_MTU] * others]))
        return content(target, self.macs.get(target), self._mtus.get(target.port, _DEFAULT_MTU))

    def acquire(self, target: Target, old: int | None) -> int | None:
        """A row for one more user of a target, preferably the one that it has; None if there is no room."""
        fresh = self.adjacencies.row(target) is None
        try:
            row = self.adjacencies.acquire(target, self.contents(target), prefer=old)
        except AdjacencyFull:
            return None
        if fresh:
            self._unresolved += [hop for hop in target.members or (target,) if hop.address is not None]
        return row

    def acquire_local(self, old: int | None) -> int:
        """A row for one more user of LOCAL, for which there is room in any case."""
        return self.adjacencies.acquire(LOCAL, self.contents(LOCAL), prefer=old)

    def release(self, row: int) -> None:
        """One user less."""
        self.adjacencies.release(row)

    def refresh(self) -> None:
        """Bring the rows of what has changed to what they should be; :meth:`flush` writes them."""
        stale, self._stale = self._stale, set()
        self.refresh_targets({target for hop in stale for target in self.adjacencies.affected(hop)})

    def refresh_targets(self, targets: Iterable[Target]) -> None:
        """The same for these targets."""
        for target in targets:
            self.adjacencies.update(target, self.contents(target))

    def flush(self) -> None:
        """Write rows that wait; this must be done before the FIB refers to them."""
        self._writer.write((Table.ADJACENCY, row, bits) for row, bits in self.adjacencies.take_writes())

    def collect(self) -> bool:
        """Make rows free that nobody refers to any more, after a fence; returns whether there were any."""
        if not self.adjacencies.needs_fence:
            return False
        self._writer.fence()
        self._writer.write((Table.ADJACENCY, row, bits) for row, bits in self.adjacencies.fenced())
        return True

    def take_unresolved(self) -> list[Target]:
        """Next hops that came into use since the last call although their MAC addresses are not known."""
        unresolved, self._unresolved = self._unresolved, []
        return [hop for hop in unresolved if hop not in self.macs]


def read_adjacencies(writer: TableWriter, size: int, used: Iterable[int]) -> AdjacencyManager:
    """Read the rows back that a FIB refers to.

    Parameters
    ----------
    writer : TableWriter
        Reads them.
    size : int
        Rows of the router's window.
    used : iterable of int
        Rows, once for each route.

    Raises
    ------
    ValueError
        If a row is outside of the window, or a group is not one that the manager makes.
    """
    users: dict[int, int] = {}
    for row in used:
        users[row] = users.get(row, 0) + 1
    if max(users, default=0) >= size:
        raise ValueError("a row is outside of the window")
    bits = dict(zip(users, writer.read((Table.ADJACENCY, row) for row in users), strict=True))
    runs: dict[int, range] = {}
    for row, word in bits.items():
        fields = unpack(ADJACENCY_ECMP, word)
        if fields["kind"] == AdjacencyKind.ECMP:
            runs[row] = range(fields["first"], fields["first"] + fields["count"])
            if not 1 < fields["count"] <= MOST_MEMBERS or runs[row].stop > size:
                raise ValueError(f"row {row} is a group of {fields['count']} from {fields['first']}")
    rest = iter(writer.read((Table.ADJACENCY, row) for run in runs.values() for row in run))
    contents = {row: tuple(next(rest) for _ in run) for row, run in runs.items()}
    adjacencies = AdjacencyManager(size)
    adjacencies.adopt({row: (contents.get(row, (bits[row],)), count, runs[row].start if row in runs else 0)
                       for row, count in users.items()})
    return adjacencies
