"""A router's unicast routes: what they should be, what its FIB has, and what is done where there is no room."""

from collections.abc import Iterable, Mapping

from .adjacency import LOCAL, Target, describe
from .fib import FibCompiler, FibFull
from .next_hops import NextHops
from .prefix import Prefix
from .writer import TableWriter

__all__ = ["Routes"]

#: Routes that one transaction changes at most when a whole table is written.
_CHUNK = 2000
#: Routes for which there was no room, one after the other, before a commit tries no more.
_PATIENCE = 8
#: Routes that are tried at once when there is room again, and by how much less if that was too many.
_RETRY, _RETRY_LESS = 64, 8


class Routes:
    """Routes of both families of one router.

    A route for which the FIB has no room is left out, and the longest prefix that covers it is punted. A route for
    whose next hop there is no adjacency is punted, too. One that can't be withdrawn for lack of room is punted
    until it can.

    Parameters
    ----------
    next_hops : NextHops
        The router's adjacencies.
    writer : TableWriter
        Writes the words of the FIB.
    fibs : pair of FibCompiler
        Of IPv4 and IPv6.
    """

    def __init__(self, next_hops: NextHops, writer: TableWriter, fibs: tuple[FibCompiler, FibCompiler]) -> None:
        self._next_hops, self._writer = next_hops, writer
        self.desired: dict[Prefix, Target] = {}
        self._unclaimed: set[Prefix] = set()            # adopted, and nobody has said yet whether it should be there
        self._lent: frozenset[Prefix] = frozenset()     # prefixes whose results are others' business
        self._adopted_before = False
        self.blank(fibs)

    def blank(self, fibs: tuple[FibCompiler, FibCompiler]) -> None:
        """Nothing is in the board."""
        self._fibs = fibs
        self._installed: dict[Prefix, int] = {}         # rows of the adjacencies
        self._pending: set[Prefix] = set(self.desired)
        self._left_out: dict[Prefix, None] = {}         # no room in the FIB
        self._punted: set[Prefix] = set()               # each covers one that is left out
        self._undead: dict[Prefix, None] = {}           # no room to withdraw it; punted
        self._unaddressed: dict[Prefix, None] = {}      # no room for its adjacency; punted
        self._failures = 0
        self._room_made = False

    # What should be

    def set(self, prefix: Prefix, target: Target | None) -> None:
        """What a prefix should point at from the next commit on; None if there should be no route."""
        self._unclaimed.discard(prefix)
        if target is None:
            self.desired.pop(prefix, None)
            if prefix in self._installed or prefix in self._left_out:
                self._pending.add(prefix)
        elif self.desired.get(prefix) != target:
            self.desired[prefix] = target
            self._pending.add(prefix)

    def replace(self, desired: Mapping[Prefix, Target]) -> None:
        """Exactly these routes should be there from the next commit on."""
        for prefix in {*self.prefixes(), *self.desired} - desired.keys():
            self.set(prefix, None)
        for prefix, target in desired.items():
            self.set(prefix, target)

    def lend(self, prefixes: frozenset[Prefix]) -> None:
        """Leave the results of prefixes to others, who have replaced them already."""
        self._lent = prefixes
        for prefix in prefixes:
            if prefix in self._installed:
                self._next_hops.release(self._installed.pop(prefix))
            for waiting in (self._left_out, self._undead, self._unaddressed):
                waiting.pop(prefix, None)
            self._punted.discard(prefix)

    def reclaim(self) -> None:
        """Take the prefixes back with the next commit; until then their results stay."""
        self._pending |= self._lent & self.desired.keys()
        self._lent = frozenset()

    # What is

    def prefixes(self) -> list[Prefix]:
        """Prefixes that are in the FIB or were left out."""
        return [*self._installed, *self._left_out]

    def count(self) -> int:
        """Routes in the FIB."""
        return len(self._installed)

    def out_of_room(self) -> tuple[list[Prefix], int]:
        """Routes that do not fit the FIB, and how many have no room for their next hops."""
        return [*self._left_out, *self._undead], len(self._unaddressed)

    def describe(self) -> list[dict[str, object]]:
        """Routes in the FIB, for people."""
        result: list[dict[str, object]] = []
        for prefix, row in sorted(self._installed.items()):
            target = self._next_hops.adjacencies.target(row)
            result.append({"prefix": str(prefix), "adjacency": row,
                           "target": None if target is None else describe(target)})
        return result

    # From what should be to what is

    def adopt(self, fibs: tuple[FibCompiler, FibCompiler], installed: dict[Prefix, int]) -> None:
        """Take over what the board has; rows of the adjacencies are taken over already.

        Routes of an agent that was here before stay until :meth:`set` has said for each what becomes of it.
        """
        self.blank(fibs)
        self._installed = installed
        self._unclaimed = self._unclaimed & installed.keys() if self._adopted_before else set(installed)
        self._pending |= installed.keys() - self._unclaimed
        self._adopted_before = True

    def forget_adopted(self) -> None:
        """The board is written from the start: what was there before does not matter any more."""
        self._adopted_before = True
        self._unclaimed = set()

    def commit(self) -> bool:
        """Bring the FIB to what was set since the last commit; returns whether others have more room now.

        Raises
        ------
        Exception
            What the writer raises.
        """
        self._failures, self._room_made = 0, False
        pending, self._pending = self._pending, set()
        self._attempt_all(pending)
        if self._room_made:
            self.retry()
        self._cover()
        return self._room_made

    def program(self) -> None:
        """Write all to a board that has nothing."""
        pending = list(self._pending)
        self._pending = set()
        for start in range(0, len(pending), _CHUNK):
            self._attempt_all(pending[start:start + _CHUNK])
        self._cover()

    def retry(self) -> None:
        """Something was given back: try what had no room before."""
        alone = self._next_hops.adjacencies.alone()
        if alone:
            self._next_hops.refresh_targets(alone)
            self._transaction([])
        for ipv6 in (False, True):
            self._retry_family([prefix for prefix in (*self._undead, *self._unaddressed, *self._left_out)
                                if prefix.ipv6 == ipv6])

    def _retry_family(self, waiting: list[Prefix]) -> None:
        step = _RETRY
        while waiting and step:
            changes = [(prefix, self._effective(prefix)) for prefix in waiting[:step]]
            try:
                self._transaction(changes)
            except FibFull:
                step //= _RETRY_LESS
                continue
            if any(prefix in self._unaddressed for prefix, _ in changes):
                return
            waiting = waiting[step:]

    def _effective(self, prefix: Prefix) -> Target | None:
        target = self.desired.get(prefix)
        return LOCAL if target is not None and prefix in self._punted else target

    def _attempt_all(self, prefixes: Iterable[Prefix]) -> None:
        changes: tuple[list[tuple[Prefix, Target | None]], ...] = [], []
        for prefix in prefixes:
            if prefix not in self._lent:
                changes[prefix.ipv6].append((prefix, self._effective(prefix)))
        for family in changes:
            self._attempt(family)

    def _attempt(self, changes: list[tuple[Prefix, Target | None]]) -> None:
        """Do changes; where the FIB has no room for all, as many of them as it has room for."""
        if self._failures >= _PATIENCE:
            for prefix, _ in [change for change in changes if self._is_new(change)]:
                self._left_out[prefix] = None
            changes = [change for change in changes if not self._is_new(change)]
        try:
            self._transaction(changes)
            return
        except FibFull:
            pass
        if len(changes) > 1:
            # What needs no room, or makes some, first.
            changes.sort(key=self._is_new)
            middle = len(changes) // 2
            self._attempt(changes[:middle])
            self._attempt(changes[middle:])
            return
        prefix, target = changes[0]
        self._failures += 1
        if target is None:
            # To withdraw a route, its neighbours in the tree are copied; to change where it points takes no room.
            self._undead[prefix] = None
            self._transaction([(prefix, LOCAL)])
        else:
            self._left_out[prefix] = None

    def _is_new(self, change: tuple[Prefix, Target | None]) -> bool:
        return change[1] is not None and change[0] not in self._installed

    def _transaction(self, changes: list[tuple[Prefix, Target | None]]) -> None:
        """Do changes of one family, all of them, or raise FibFull and do none."""
        fib = self._fibs[bool(changes) and changes[0][0].ipv6]
        next_hops, installed = self._next_hops, self._installed
        taken: list[tuple[Prefix, int]] = []
        withdrawn: list[Prefix] = []
        for prefix, target in changes:
            old = installed.get(prefix)
            if target is None:
                if old is not None:
                    fib.delete(prefix.address, prefix.length)
                    withdrawn.append(prefix)
                continue
            row = self._acquire(prefix, target, old)
            if row == old:
                next_hops.release(row)
                continue
            fib.insert(prefix.address, prefix.length, row)
            taken.append((prefix, row))
        try:
            writes = fib.commit()
        except FibFull:
            for prefix, row in taken:
                next_hops.release(row)
                if prefix not in installed:
                    self._unaddressed.pop(prefix, None)
            raise
        next_hops.flush()
        self._writer.write_fib(writes)
        for prefix, target in changes:
            self._left_out.pop(prefix, None)
            if prefix not in self._undead or prefix in self.desired or target is None:
                self._undead.pop(prefix, None)
            if target is None:
                self._unaddressed.pop(prefix, None)
        for prefix, row in taken:
            old = installed.get(prefix)
            installed[prefix] = row
            if old is not None:
                next_hops.release(old)
        for prefix in withdrawn:
            next_hops.release(installed.pop(prefix))
        self._room_made |= next_hops.collect() or bool(withdrawn)

    def _acquire(self, prefix: Prefix, target: Target, old: int | None) -> int:
        row = self._next_hops.acquire(target, old)
        if row is None:
            self._unaddressed[prefix] = None
            return self._next_hops.acquire_local(old)
        self._unaddressed.pop(prefix, None)
        return row

    def _cover(self) -> None:
        """Punt the longest prefix that covers one that was left out, and no others."""
        if not self._left_out and not self._punted:
            return
        covers = set()
        for left_out in self._left_out:
            for length in range(left_out.length - 1, -1, -1):
                prefix = left_out.cut(length)
                if prefix in self._installed:
                    covers.add(prefix)
                    break
        changed, self._punted = covers ^ self._punted, covers
        for ipv6 in (False, True):
            self._transaction([(prefix, self._effective(prefix)) for prefix in changed if prefix.ipv6 == ipv6
                               and prefix in self._installed and prefix in self.desired])
