"""A router's multicast routes in its FIB: (S,G) and (*,G) entries (RFC 7761, 4.1), by group and then by source.

What the trie of a family has for a group is the root of a second trie in the same window, for sources: (S,G) entries
are its long prefixes, (*,G) is its /0 (docs/dataplane.md, step 8). A result is therefore a row of the FIB window where
all others are rows of the adjacency window. Two things follow:

- All of 224.0.0.0/4 and ff00::/8 has a trie of its own, in which every source is ``LOCAL``. Without it, a default route
  would be taken for a root.
- Roots are at rows behind those that the adjacency window has: for a frame that is for a group by its IP address but
  for the router by its MAC address, the result is outside of the window, and the frame is dropped as a fault.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from polyrouter.hdl.layouts import AdjacencyKind, Table

from ..ports import physical
from .adjacency import LOCAL, Target, describe
from .fib import FibCompiler, FibFull
from .next_hops import NextHops
from .prefix import Prefix, format_address
from .writer import TableWriter

__all__ = ["COVERS", "GROUP_WORDS", "Groups", "MulticastKey", "is_group", "multicast", "without_room"]

#: All groups of each family (RFC 5771, 3; RFC 4291, 2.7).
COVERS = Prefix.parse("224.0.0.0/4"), Prefix.parse("ff00::/8")
#: Words behind the first ones, as many as there are adjacencies, without which there is no room for a group.
GROUP_WORDS = 64
#: Groups for which there was no room that are tried again before one gives up until the next time.
_PATIENCE = 8


class MulticastKey(NamedTuple):
    """What a multicast route is for. All of IPv4 sorts before all of IPv6."""

    group: Prefix               # one address, but for COVERS
    source: int                 # -1: any, unless there is a route for that source

    @classmethod
    def of(cls, group: int, source: int | None, ipv6: bool) -> "MulticastKey":
        """(S,G), or (*,G) if there is no source."""
        return cls(Prefix.host(group, ipv6), -1 if source is None else source)

    @property
    def source_prefix(self) -> tuple[int, int]:
        """Address and length of its prefix in the trie of sources."""
        return (0, 0) if self.source < 0 else (self.source, self.group.bits)

    @property
    def group_text(self) -> str:
        """The group for people."""
        return format_address(self.group.address, self.group.ipv6)

    @property
    def source_text(self) -> str:
        """The source for people."""
        return "*" if self.source < 0 else format_address(self.source, self.group.ipv6)

    def __str__(self) -> str:
        return f"({self.source_text}, {self.group_text})"


def multicast(port: int, ports: Iterable[int], *, host: bool = False) -> Target:
    """Packets that come in at ``port`` go to ``ports`` and, with ``host``, to the router's container; logical ports.

    At the link port they leave by the circuit that the router's row of the PORT table has, and by no other.
    """
    return Target(AdjacencyKind.MULTICAST, port, host=host,
                  ports=sum(1 << number for number in {physical(other) for other in set(ports) - {port}}))


def is_group(prefix: Prefix, result: int, adj_size: int) -> bool:
    """Whether what a FIB has for a prefix is the root of a trie of sources, and no adjacency."""
    return result >= adj_size and any(cover.covers(prefix) for cover in COVERS)


class _NoBoard:
    """A board that nobody looks at."""

    def write_rows(self, rows: Iterable[tuple[Table, int, int, int]]) -> None:
        """Nothing."""

    def read_rows(self, rows: Iterable[tuple[Table, int, int]]) -> list[int]:
        """Zeros."""
        return [0 for _ in rows]

    def fence(self) -> None:
        """Nothing is under way."""


def without_room(fib_words: int, adjacencies: int, routes: Mapping[MulticastKey, Target]) -> int:
    """How many of these multicast routes windows of these sizes have no room for, if there is nothing else in them."""
    writer = TableWriter(_NoBoard(), 0)
    fibs = FibCompiler.dual_stack(fib_words)
    groups = Groups(NextHops(adjacencies, writer), writer, fibs, adjacencies)
    groups.fix(routes)
    groups.enable()
    return len(routes) - sum(len(rows) for group, rows in groups._installed.items() if group not in COVERS) + len(
        groups._unaddressed)


class Groups:
    """Multicast routes of both families of one router.

    There are two kinds: fixed ones, and those that a mirror sets one by one; of two for the same key, the fixed one
    counts. A change is made before anything refers to it and shown by one write. A group for which there is no room is
    punted with all its sources, so that the container's kernel forwards what the hardware would get wrong.

    Parameters
    ----------
    next_hops : NextHops
        The router's adjacencies.
    writer : TableWriter
        Writes the words of the FIB.
    fibs : pair of FibCompiler
        Of IPv4 and IPv6.
    adj_size : int
        Rows of the router's adjacency window.

    Attributes
    ----------
    ready : bool
        The FIB is such that groups may be looked up in it.
    """

    def __init__(self, next_hops: NextHops, writer: TableWriter, fibs: tuple[FibCompiler, FibCompiler],
                 adj_size: int) -> None:
        self._next_hops, self._writer, self._adj_size = next_hops, writer, adj_size
        self._fixed: dict[MulticastKey, Target] = {}
        self._mirrored: dict[MulticastKey, Target] = {}
        self._unclaimed: set[MulticastKey] = set()      # adopted, and nobody has said yet whether it should be there
        self._adopted_before = False
        self.blank(fibs)

    def blank(self, fibs: tuple[FibCompiler, FibCompiler]) -> None:
        """Nothing is in the board."""
        self.ready = False
        self._fibs = fibs
        self._tries: dict[Prefix, FibCompiler] = {}     # of sources, by group; the FIB refers to them
        self._installed: dict[Prefix, dict[MulticastKey, int]] = {}     # rows of the adjacencies, by group
        self._pending: set[MulticastKey] = {*self._fixed, *self._mirrored}
        self._left_out: dict[Prefix, None] = {}         # groups without room; punted
        self._parked: dict[Prefix, None] = {}           # groups that refer to the trie of all others
        self._unaddressed: dict[MulticastKey, None] = {}    # no room for its adjacency; punted
        self._room_made = False

    # What should be

    def set(self, key: MulticastKey, target: Target | None) -> None:
        """What the mirror has for a key, from the next commit on; None if nothing."""
        self._unclaimed.discard(key)
        if target is None:
            self._mirrored.pop(key, None)
        else:
            self._mirrored[key] = target
        self._pending.add(key)

    def fix(self, routes: Mapping[MulticastKey, Target]) -> bool:
        """Exactly these are the fixed routes, from the next commit on; returns whether that is a change."""
        changed = {key for key in {*self._fixed, *routes} if self._fixed.get(key) != routes.get(key)}
        self._fixed = dict(routes)
        self._pending |= changed
        self._unclaimed -= routes.keys()
        return bool(changed)

    def _effective(self, key: MulticastKey) -> Target | None:
        return LOCAL if key.group in COVERS else self._fixed.get(key) or self._mirrored.get(key)

    # What is

    def keys(self) -> list[MulticastKey]:
        """All but the fixed ones: those that the mirror has set, and those that were adopted."""
        return [*self._mirrored, *self._unclaimed]

    def tries(self) -> list[FibCompiler]:
        """Tries of sources that are in the window."""
        return list(self._tries.values())

    def problems(self) -> list[str]:
        """What is not as it should be, for people."""
        problems = []
        if self._left_out:
            problems.append(f"{len(self._left_out)} multicast groups (one is {next(iter(self._left_out))}) do not fit "
                            "the FIB window, and their packets go to the container: give the router more fib_words, or "
                            "fewer routes")
        if self._unaddressed:
            problems.append(f"{len(self._unaddressed)} multicast routes have no room in the {self._adj_size} "
                            "adjacencies, and their packets go to the container: give the router more adjacencies")
        return problems

    def describe(self) -> list[dict[str, object]]:
        """Multicast routes in the FIB, for people."""
        found = []
        for group in sorted(self._installed.keys() - set(COVERS)):
            for key, row in sorted(self._installed[group].items()):
                target = self._next_hops.adjacencies.target(row)
                found.append({"group": key.group_text, "source": key.source_text,
                              "adjacency": row, "target": None if target is None else describe(target)})
        return found

    # From what should be to what is

    def adopt(self, fibs: tuple[FibCompiler, FibCompiler], tries: Mapping[Prefix, FibCompiler],
              parked: Iterable[Prefix], installed: Mapping[Prefix, Mapping[MulticastKey, int]]) -> None:
        """Take over what the board has; rows of the adjacencies are taken over already.

        Routes of an agent that was here before stay until :meth:`set` has said for each what becomes of it.
        """
        self.blank(fibs)
        self._tries, self._parked = dict(tries), dict.fromkeys(parked)
        self._installed = {group: dict(rows) for group, rows in installed.items()}
        keys = {key for group, rows in installed.items() if group not in COVERS for key in rows}
        self._unclaimed = (self._unclaimed & keys if self._adopted_before else keys) - self._fixed.keys()
        self._pending |= keys - self._unclaimed
        self._adopted_before = True
        self.ready = self._tries.keys() >= set(COVERS)

    def forget_adopted(self) -> None:
        """The board is written from the start: what was there before does not matter any more."""
        self._adopted_before = True
        self._unclaimed = set()

    def enable(self) -> bool:
        """Make the FIB such that groups may be looked up; returns whether there was room for that."""
        if not self.ready:
            self.ready = all([self._update(cover, [MulticastKey(cover, -1)]) for cover in COVERS])
            for cover in COVERS:
                self._left_out.pop(cover, None)
            if self.ready:
                for group in list(self._parked):        # from before, to a trie that is no more
                    self._park(group)
            self._pending |= {*self._fixed, *self._mirrored}
            self.commit()
        return self.ready

    def disable(self, reclaimed: frozenset[Prefix]) -> None:
        """Take all groups out of the FIB, while no frame is looked up there by its group.

        ``reclaimed`` are prefixes for which it has something else already.
        """
        self.ready = False
        for group in sorted({*self._tries, *self._parked}, key=lambda group: group in COVERS):
            if group in reclaimed:
                self._free(group)
            else:
                self._remove(group)
        self._left_out, self._unaddressed = {}, {}

    def commit(self) -> bool:
        """Bring the FIB to what was set since the last commit; returns whether others have more room now.

        Raises
        ------
        Exception
            What the writer raises.
        """
        if not self.ready:
            return False
        self._room_made = False
        pending, self._pending = self._pending, set()
        of_group: dict[Prefix, list[MulticastKey]] = {}
        for key in pending:
            of_group.setdefault(key.group, []).append(key)
        for group, keys in of_group.items():
            self._update(group, keys)
        if self._room_made:
            self.retry()
        return self._room_made

    def retry(self) -> None:
        """Something was given back: try what had no room before."""
        for group in [group for group in self._parked if group not in self._left_out]:
            self._remove(group)
        failures = 0
        for group in list(self._left_out):
            failures += not self._update(group, [])
            if failures >= _PATIENCE:
                break
        for group in {key.group for key in self._unaddressed}:
            self._update(group, [key for key in self._unaddressed if key.group == group])

    def _update(self, group: Prefix, keys: Iterable[MulticastKey]) -> bool:
        """Bring routes of a group to what they should be, all of them if it was left out; False if it had no room."""
        next_hops, trie = self._next_hops, self._tries.get(group)
        installed = self._installed.get(group, {})
        if group in self._left_out and group not in COVERS:
            keys = {key for key in (*self._fixed, *self._mirrored) if key.group == group}
        changes = {key: self._effective(key) for key in keys}
        withdrawn = [key for key, target in changes.items() if target is None and key in installed]
        if len(withdrawn) == len(installed) and not any(changes.values()):
            self._remove(group)
            return True
        fresh = trie is None
        if trie is None:
            trie = FibCompiler.below(self._fibs[group.ipv6], self._adj_size)
        for key in withdrawn:
            trie.delete(*key.source_prefix)
        taken: dict[MulticastKey, int] = {}
        for key, target in changes.items():
            if target is not None:
                row = self._acquire(key, target, installed.get(key))
                if row == installed.get(key):
                    next_hops.release(row)
                else:
                    trie.insert(*key.source_prefix, row)
                    taken[key] = row
        try:
            writes = trie.commit()
            next_hops.flush()
            self._writer.write_fib(writes)
            if fresh:
                self._refer(group, trie)
        except FibFull:
            if fresh:
                self._writer.write_fib(trie.dissolve())
            for row in taken.values():
                next_hops.release(row)
            self._give_up(group)
            return False
        self._tries[group] = trie
        rows = self._installed.setdefault(group, {})
        for key, row in taken.items():
            if key in rows:
                next_hops.release(rows[key])
            rows[key] = row
        self._forget(withdrawn)
        self._left_out.pop(group, None)
        self._room_made |= next_hops.collect() or bool(withdrawn)
        return True

    def _acquire(self, key: MulticastKey, target: Target, old: int | None) -> int:
        row = self._next_hops.acquire(target, old)
        if row is None:
            self._unaddressed[key] = None
            return self._next_hops.acquire_local(old)
        self._unaddressed.pop(key, None)
        return row

    def _refer(self, group: Prefix, trie: FibCompiler | None) -> None:
        """Have the FIB refer to a trie for a group, or to none; raises FibFull if there is no room."""
        fib = self._fibs[group.ipv6]
        if trie is None:
            fib.delete(group.address, group.length)
        else:
            fib.insert(group.address, group.length, trie.root_row)
        self._writer.write_fib(fib.commit())
        self._parked.pop(group, None)

    def _park(self, group: Prefix) -> None:
        """Have the FIB refer to the trie of all other groups, which takes no room since there is something already."""
        cover = self._tries.get(COVERS[group.ipv6])
        if cover is not None:
            self._refer(group, cover)
        self._parked[group] = None

    def _give_up(self, group: Prefix) -> None:
        """Punt a group with all its sources."""
        self._left_out[group] = None
        for key in [key for key in self._unaddressed if key.group == group]:
            del self._unaddressed[key]
        if group in self._tries:
            self._park(group)
            self._free(group)

    def _remove(self, group: Prefix) -> None:
        """Take a group out of the FIB."""
        self._left_out.pop(group, None)
        if group not in self._tries and group not in self._parked:
            return
        try:
            self._refer(group, None)
        except FibFull:
            self._park(group)
        self._free(group)

    def _free(self, group: Prefix) -> None:
        """Give back the room of a group that the FIB does not refer to any more."""
        self._forget(list(self._installed.get(group, {})))
        trie = self._tries.pop(group, None)
        if trie is not None:
            self._writer.write_fib(trie.dissolve())
        self._next_hops.collect()
        self._room_made = True

    def _forget(self, keys: Iterable[MulticastKey]) -> None:
        for key in keys:
            rows = self._installed[key.group]
            self._next_hops.release(rows.pop(key))
            self._unaddressed.pop(key, None)
            if not rows:
                del self._installed[key.group]
