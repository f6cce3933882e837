"""All tables of one virtual router: what they should hold, what the board has, and the writes in between."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from secrets import randbits
from threading import RLock
from typing import Protocol

from polyrouter.hdl.layouts import ADJACENCY_ECMP, CONTEXT_ROW, PORT_ROW, AdjacencyKind, Table, pack, unpack

from .adjacency import (
    LOCAL,
    MOST_MEMBERS,
    AdjacencyFull,
    AdjacencyManager,
    Content,
    Target,
    content,
    describe,
    next_hop,
)
from .adopt import ImageFault, read_fibs
from .fib import IPV6_ROOT_ROW, ROOT_ROW, ROOTS, Fence, FibCompiler, FibFull, FibStatistics, FibWrite, statistics
from .policy import Policy
from .policy_writer import Context, PolicyWriter, Step, Wait
from .prefix import Prefix
from .windows import Window

__all__ = ["Prefix", "RouterTables", "TableDriver"]

#: Routes that one transaction changes at most when a whole table is written.
_CHUNK = 2000
#: Routes for which there was no room, one after the other, before a commit tries no more.
_PATIENCE = 8
_DEFAULT_MTU = 1500


class TableDriver(Protocol):
    """What is needed of a board's driver."""

    def write_rows(self, rows: Iterable[tuple[Table, int, int, int]]) -> None:
        """Write (table, router, row, bits), in this order."""

    def read_rows(self, rows: Iterable[tuple[Table, int, int]]) -> list[int]:
        """Bits of each of (table, router, row)."""

    def fence(self) -> None:
        """Wait until every look-up that was under way has ended."""


class RouterTables:
    """Context, ports, FIB and adjacencies of one router.

    Routes and neighbours are set one by one; :meth:`commit` brings the board to them without ever showing a half-made
    state: adjacencies before the FIB words that refer to them, rows that are no longer used only again after a fence.
    May be used from several threads.

    A table may become full. A route for which the FIB has no room is left out, and the longest prefix that covers it
    is punted instead of forwarded, so that the container's kernel, which knows all routes, forwards what the hardware
    would get wrong. Likewise a route for whose next hop there is no adjacency is punted, and one of several next hops
    takes all packets if there are not enough adjacencies for all. As soon as there is room again, they are put in
    place. :meth:`problems` tells.

    Both families have their tries in the same window of the FIB. Flows are spread over several next hops by a hash
    that has a random key of its own in each router, so that two in a row do not make the same choice. When their
    number changes, the least possible of flows move that a table of equal ranges allows (RFC 2992).

    Parameters
    ----------
    driver : TableDriver
        The board.
    router : int
        The router's number.
    window : Window
        Its part of the tables.
    macs : mapping of int to int
        Its own MAC address on each port that it is on.
    group, guard : iterable of int
        Ports on which it takes broadcast and multicast (by default all its ports), and only frames from its peers.
    policy : Policy
        Mode, filter rules, rates, VLANs and quota.

    Attributes
    ----------
    out_of_step : bool
        An access failed, so that it is not known what the board has; nothing more is written until
        :meth:`synchronize` or :meth:`program_all`.
    """

    def __init__(self, driver: TableDriver, router: int, window: Window, macs: Mapping[int, int], *,
                 group: Iterable[int] | None = None, guard: Iterable[int] = (), policy: Policy | None = None) -> None:
        self.driver = driver
        self.router = router
        self.window = window
        self.out_of_step = False
        self._lock = RLock()
        self._policy = PolicyWriter(window, policy or Policy())
        self._set_ports(macs, group, guard)
        self._desired: dict[Prefix, Target] = {}
        self._macs: dict[Target, int] = {}              # of next hops
        self._mtus: dict[int, int] = {}
        self._unclaimed: set[Prefix] = set()            # adopted, and nobody has said yet whether it should be there
        self._new = True
        self._ecmp_seed = randbits(CONTEXT_ROW["ecmp_seed"].width)
        self._blank()

    def _blank(self) -> None:
        """Nothing is in the board."""
        self._fibs: tuple[FibCompiler, FibCompiler] = FibCompiler.dual_stack(self.window.fib_size)  # by Prefix.ipv6
        self._adjacencies = AdjacencyManager(self.window.adj_size)
        self._reserve_punt()
        self._installed: dict[Prefix, int] = {}         # rows of the adjacencies
        self._pending: set[Prefix] = set(self._desired)
        self._stale: set[Target] = set()                # their rows may have to change
        self._unresolved: list[Target] = []
        self._left_out: dict[Prefix, None] = {}         # no room in the FIB
        self._punted: set[Prefix] = set()               # each covers one that is left out
        self._undead: dict[Prefix, None] = {}           # no room to withdraw it; punted
        self._unaddressed: dict[Prefix, None] = {}      # no room for its adjacency; punted
        self._failures = 0
        self._room_made = False

    def _reserve_punt(self) -> None:
        # One user more than its routes: where there is no room, there always is this row.
        self._adjacencies.acquire(LOCAL, self._contents(LOCAL))

    # What should be

    def set_route(self, prefix: Prefix, target: Target | None) -> None:
        """What a prefix should point at from the next commit on; None if there should be no route."""
        with self._lock:
            self._unclaimed.discard(prefix)
            if target is None:
                self._desired.pop(prefix, None)
                if prefix in self._installed or prefix in self._left_out:
                    self._pending.add(prefix)
            elif self._desired.get(prefix) != target:
                self._desired[prefix] = target
                self._pending.add(prefix)

    def set_neighbour(self, port: int, address: int, mac: int | None, ipv6: bool = False) -> None:
        """MAC address of a neighbour from the next commit on; None if it is not known."""
        with self._lock:
            hop = next_hop(port, address, ipv6)
            if mac is None:
                self._macs.pop(hop, None)
            else:
                self._macs[hop] = mac
            self._stale.add(hop)

    def set_mtu(self, port: int, mtu: int) -> None:
        """MTU of a port from the next commit on."""
        with self._lock:
            if self._mtus.get(port, _DEFAULT_MTU) != mtu:
                self._mtus[port] = mtu
                self._stale |= {hop for hop in self._adjacencies.next_hops() if hop.port == port}

    def set_ports(self, macs: Mapping[int, int], group: Iterable[int] | None = None,
                  guard: Iterable[int] = (), policy: Policy | None = None) -> None:
        """Change the ports of the router, and its policy, at once.

        Raises
        ------
        PolicyError
            If its windows have no room for the policy; nothing is changed then.
        """
        with self._lock:
            steps = self._policy.change(policy)
            gone = [port for port in self.macs if port not in macs]
            self._set_ports(macs, group, guard)
            self._write(self._port_rows(policy))
            self._write_policy(steps)
            self._write([self._context_row(enable=True), *((Table.PORT, self.router, port, 0) for port in gone)])

    def set_capturing(self, capturing: bool) -> None:
        """Whether the host gets a copy of every frame, besides what the policy says; at once."""
        with self._lock:
            if self._policy.capturing != capturing:
                self._policy.capturing = capturing
                self._write([self._context_row(enable=True)])

    def _set_ports(self, macs: Mapping[int, int], group: Iterable[int] | None, guard: Iterable[int]) -> None:
        self.macs = dict(macs)
        self.group = set(macs) if group is None else set(group)
        self.guard = set(guard)

    # What is

    def policed_rules(self) -> dict[int, int]:
        """Which filter rule each policer of the window is of, but for the router's own."""
        with self._lock:
            return self._policy.policed()

    def prefixes(self) -> list[Prefix]:
        """Prefixes that are in the FIB or were left out."""
        with self._lock:
            return [*self._installed, *self._left_out]

    def targets(self) -> list[Target]:
        """All targets that have an adjacency."""
        with self._lock:
            return self._adjacencies.targets()

    def next_hops(self) -> set[Target]:
        """All next hops in use, those in groups one by one."""
        with self._lock:
            return self._adjacencies.next_hops()

    def neighbours(self) -> list[Target]:
        """All neighbours that were set."""
        with self._lock:
            return list(self._macs)

    def take_unresolved(self) -> list[Target]:
        """Next hops that came into use since the last call although their MAC addresses are not known."""
        with self._lock:
            unresolved, self._unresolved = self._unresolved, []
            return [hop for hop in unresolved if hop not in self._macs]

    def route_count(self) -> int:
        """Routes in the FIB."""
        return len(self._installed)

    def adjacency_count(self) -> int:
        """Adjacencies in use."""
        return len(self._adjacencies)

    def in_step(self) -> bool:
        """Whether the board does what it is told; waits for what is under way."""
        with self._lock:
            return not self.out_of_step

    def statistics(self) -> FibStatistics:
        """What the FIB takes up."""
        with self._lock:
            return statistics(self._fibs)

    def problems(self) -> list[str]:
        """What is not as it should be, for people."""
        problems = []
        if self._left_out or self._undead:
            some = next(iter(self._left_out or self._undead))
            problems.append(f"{len(self._left_out) + len(self._undead)} routes (one is {some}) do not fit the FIB "
                            f"window of {self.window.fib_size} words, and their packets go through the container: give "
                            "the router more fib_words, or fewer routes")
        if self._unaddressed:
            problems.append(f"{len(self._unaddressed)} routes have no room for their next hop in the "
                            f"{self.window.adj_size} adjacencies, and their packets go through the container: give the "
                            "router more adjacencies, or fewer neighbours")
        alone = len(self._adjacencies.alone())
        if alone:
            problems.append(f"{alone} groups of next hops have no room in the {self.window.adj_size} adjacencies, and "
                            "one next hop takes all their packets: give the router more adjacencies")
        if self.out_of_step:
            problems.append("the board did not do what it was asked: nothing is written until it is synchronized")
        return problems

    def describe_routes(self) -> list[dict[str, object]]:
        """Routes in the FIB, for people."""
        with self._lock:
            result = []
            for prefix, row in sorted(self._installed.items()):
                target = self._adjacencies.target(row)
                result.append({"prefix": str(prefix), "adjacency": row,
                               "target": None if target is None else describe(target)})
            return result

    def describe_adjacencies(self) -> list[dict[str, object]]:
        """Adjacencies in use, for people."""
        with self._lock:
            return self._adjacencies.describe()

    # From what should be to what is

    def commit(self) -> None:
        """Bring the board to what was set since the last commit. Does nothing while the board is out of step.

        Raises
        ------
        Exception
            What the driver raises; the board is out of step then.
        """
        with self._lock:
            if self.out_of_step:
                return
            self._failures, self._room_made = 0, False
            stale, self._stale = self._stale, set()
            self._refresh({target for hop in stale for target in self._adjacencies.affected(hop)})
            pending, self._pending = self._pending, set()
            self._attempt_all(pending)
            if self._room_made:
                self._retry()
            self._cover()

    def resync(self, desired: Mapping[Prefix, Target]) -> None:
        """Bring the FIB to exactly these routes, changing only what differs."""
        with self._lock:
            for prefix in {*self.prefixes(), *self._desired} - desired.keys():
                self.set_route(prefix, None)
            for prefix, target in desired.items():
                self.set_route(prefix, target)
            self.commit()

    def program_all(self) -> None:
        """Write everything to a board that has nothing of this router; it is disabled until all is there."""
        with self._lock:
            self._new = False
            self.out_of_step = False
            self._unclaimed = set()
            self._blank()
            self._write([self._context_row(enable=False)])
            self._fence()
            self._write(self._of_router(self._policy.fresh()))
            self._write([*self._port_rows(), *((Table.FIB, self.router, root + half, 0)
                                               for root in (ROOT_ROW, IPV6_ROOT_ROW) for half in range(ROOTS))])
            pending = list(self._pending)
            self._pending = set()
            for start in range(0, len(pending), _CHUNK):
                self._attempt_all(pending[start:start + _CHUNK])
            self._cover()
            self._write([self._context_row(enable=True)])

    def adopt(self) -> bool:
        """Take over what the board has of this router, without changing what it forwards.

        Routes of an agent that was here before stay until :meth:`set_route` has said for each what becomes of it.

        Returns
        -------
        bool
            False if the board does not have a usable state of this router with these windows; nothing was changed then.
        """
        with self._lock:
            have = unpack(CONTEXT_ROW, self.driver.read_rows([(Table.CONTEXT, self.router, 0)])[0])
            window = replace(self.window, fib_base=have["fib_base"], fib_size=have["fib_size"],
                             adj_base=have["adj_base"], adj_size=have["adj_size"])
            roots = have["ipv4_root"], have["ipv6_root"]
            if not have["enable"] or window != self.window or roots != (ROOT_ROW, IPV6_ROOT_ROW):
                return False
            try:
                fibs = read_fibs(self.window.fib_size, lambda rows: self.driver.read_rows(
                    (Table.FIB, self.router, row) for row in rows))
            except ImageFault:
                return False
            installed = {Prefix(bool(ipv6), address, length): row
                         for ipv6, fib in enumerate(fibs) for address, length, row in fib.routes()}
            adjacencies = AdjacencyManager(self.window.adj_size)
            try:
                adjacencies.adopt(self._read_adjacencies(installed.values()))
            except ValueError:
                return False
            if not self._policy.adopt(have, lambda keys: self.driver.read_rows(
                    (table, self.router, row) for table, row in keys)):
                return False
            self._blank()
            self._fibs = fibs
            self._installed = installed
            self._adjacencies = adjacencies
            self._reserve_punt()
            # With another key, flows would change their next hops.
            self._ecmp_seed = have["ecmp_seed"] or self._ecmp_seed
            self._unclaimed = set(installed) if self._new else self._unclaimed & installed.keys()
            self._pending |= installed.keys() - self._unclaimed
            self._new = False
            self.out_of_step = False
            # Look-ups of before may still be under way to rows that count as free here.
            self._fence()
            self._write([*self._port_rows(), self._context_row(enable=True)])
            self._write_policy(self._policy.change())
            return True

    def synchronize(self) -> bool:
        """Bring a board of which nothing is known to what should be.

        What it has is adopted and changed where it differs; if that can't be, everything is written. Returns whether
        it was adopted.
        """
        with self._lock:
            if not self.adopt():
                self.program_all()
                return False
            self.commit()
            return True

    def remove(self) -> None:
        """Take the router off the board; its windows may be given to others after this."""
        with self._lock:
            self._write([self._context_row(enable=False)])
            self._fence()
            self._write([*self._of_router(self._policy.cleared()),
                         *((Table.PORT, self.router, port, 0) for port in self.macs),
                         (Table.CONTEXT, self.router, 0, 0)])

    def _read_adjacencies(self, used: Iterable[int]) -> dict[int, tuple[Content, int, int]]:
        """What :meth:`AdjacencyManager.adopt` needs; raises ValueError if a group is not one that it makes."""
        users: dict[int, int] = {}
        for row in used:
            users[row] = users.get(row, 0) + 1
        if max(users, default=0) >= self.window.adj_size:
            raise ValueError("a row is outside of the window")
        words = self.driver.read_rows((Table.ADJACENCY, self.router, row) for row in users)
        bits = dict(zip(users, words, strict=True))
        runs: dict[int, range] = {}
        for row, word in bits.items():
            fields = unpack(ADJACENCY_ECMP, word)
            if fields["kind"] == AdjacencyKind.ECMP:
                runs[row] = range(fields["first"], fields["first"] + fields["count"])
                if not 1 < fields["count"] <= MOST_MEMBERS or runs[row].stop > self.window.adj_size:
                    raise ValueError(f"row {row} is a group of {fields['count']} from {fields['first']}")
        members = [row for run in runs.values() for row in run]
        rest = iter(self.driver.read_rows((Table.ADJACENCY, self.router, row) for row in members))
        contents = {row: tuple(next(rest) for _ in run) for row, run in runs.items()}
        return {row: (contents.get(row, (bits[row],)), count, runs[row].start if row in runs else 0)
                for row, count in users.items()}

    # Steps of a commit

    def _effective(self, prefix: Prefix) -> Target | None:
        target = self._desired.get(prefix)
        return LOCAL if target is not None and prefix in self._punted else target

    def _content(self, target: Target) -> int:
        return content(target, self._macs.get(target), self._mtus.get(target.port, _DEFAULT_MTU))

    def _contents(self, target: Target) -> Content:
        """For each next hop that takes part; a group of which none is known is as its first one."""
        hops = target.members or (target,)
        known = tuple(self._content(hop) for hop in hops if hop in self._macs)
        if len(set(known)) > 1:
            return known
        return known[:1] or (self._content(hops[0]),)

    def _refresh(self, targets: Iterable[Target]) -> None:
        for target in targets:
            self._adjacencies.update(target, self._contents(target))

    def _attempt_all(self, prefixes: Iterable[Prefix]) -> None:
        changes: tuple[list[tuple[Prefix, Target | None]], ...] = [], []
        for prefix in prefixes:
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
        adjacencies, installed = self._adjacencies, self._installed
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
                adjacencies.release(row)
                continue
            fib.insert(prefix.address, prefix.length, row)
            taken.append((prefix, row))
        try:
            writes = fib.commit()
        except FibFull:
            for prefix, row in taken:
                adjacencies.release(row)
                if prefix not in installed:
                    self._unaddressed.pop(prefix, None)
            raise
        self._write([(Table.ADJACENCY, self.router, row, bits) for row, bits in adjacencies.take_writes()])
        self._write_fib(writes)
        for prefix, target in changes:
            self._left_out.pop(prefix, None)
            if prefix not in self._undead or prefix in self._desired or target is None:
                self._undead.pop(prefix, None)
            if target is None:
                self._unaddressed.pop(prefix, None)
        for prefix, row in taken:
            old = installed.get(prefix)
            installed[prefix] = row
            if old is not None:
                adjacencies.release(old)
        for prefix in withdrawn:
            adjacencies.release(installed.pop(prefix))
        if adjacencies.needs_fence:
            self._fence()
            self._write([(Table.ADJACENCY, self.router, row, bits) for row, bits in adjacencies.fenced()])
            self._room_made = True
        self._room_made |= bool(withdrawn)

    def _acquire(self, prefix: Prefix, target: Target, old: int | None) -> int:
        fresh = self._adjacencies.row(target) is None
        try:
            row = self._adjacencies.acquire(target, self._contents(target), prefer=old)
        except AdjacencyFull:
            self._unaddressed[prefix] = None
            return self._adjacencies.acquire(LOCAL, self._contents(LOCAL), prefer=old)
        self._unaddressed.pop(prefix, None)
        if fresh:
            self._unresolved += [hop for hop in target.members or (target,) if hop.address is not None]
        return row

    def _retry(self) -> None:
        """Something was given back: try what had no room before."""
        alone = self._adjacencies.alone()
        if alone:
            self._refresh(alone)
            self._transaction([])
        for ipv6 in (False, True):
            self._retry_family([prefix for prefix in (*self._undead, *self._unaddressed, *self._left_out)
                                if prefix.ipv6 == ipv6])

    def _retry_family(self, waiting: list[Prefix]) -> None:
        step = 64
        while waiting and step:
            changes = [(prefix, self._effective(prefix)) for prefix in waiting[:step]]
            try:
                self._transaction(changes)
            except FibFull:
                step //= 8
                continue
            if any(prefix in self._unaddressed for prefix, _ in changes):
                return
            waiting = waiting[step:]

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
                               and prefix in self._installed and prefix in self._desired])

    # The board

    def _port_rows(self, policy: Policy | None = None) -> list[tuple[Table, int, int, int]]:
        vids = (policy or self._policy.policy).vids
        return [(Table.PORT, self.router, port, pack(PORT_ROW, {"mac": mac, "vid": vids.get(port, 0)}))
                for port, mac in self.macs.items()]

    def _context_row(self, *, enable: bool) -> tuple[Table, int, int, int]:
        window = self.window
        bits = pack(CONTEXT_ROW, {
            **self._policy.context(enable=enable),
            "enable": int(enable), "ports": _mask(self.macs), "group": _mask(self.group),
            "guard": _mask(self.guard), "fib_base": window.fib_base, "fib_size": window.fib_size,
            "ipv4_root": ROOT_ROW, "ipv6_root": IPV6_ROOT_ROW,
            "adj_base": window.adj_base, "adj_size": window.adj_size, "ecmp_seed": self._ecmp_seed})
        return Table.CONTEXT, self.router, 0, bits

    def _of_router(self, rows: Iterable[tuple[Table, int, int]]) -> list[tuple[Table, int, int, int]]:
        return [(table, self.router, row, bits) for table, row, bits in rows]

    def _write_policy(self, steps: Iterable[Step]) -> None:
        rows: list[tuple[Table, int, int, int]] = []
        for step in steps:
            if isinstance(step, Wait):
                self._write(rows)
                self._fence()
                rows = []
            elif isinstance(step, Context):
                rows.append(self._context_row(enable=True))
            else:
                rows += self._of_router([step])
        self._write(rows)

    def _write_fib(self, writes: Iterable[FibWrite | Fence]) -> None:
        rows: list[tuple[Table, int, int, int]] = []
        for write in writes:
            if isinstance(write, Fence):
                self._write(rows)
                self._fence()
                rows = []
            else:
                rows.append((Table.FIB, self.router, write.row, write.word))
        self._write(rows)

    def _write(self, rows: list[tuple[Table, int, int, int]]) -> None:
        if rows:
            self._guarded(lambda: self.driver.write_rows(rows))

    def _fence(self) -> None:
        self._guarded(self.driver.fence)

    def _guarded(self, access: Callable[[], None]) -> None:
        try:
            access()
        except BaseException:
            self.out_of_step = True
            raise


def _mask(ports: Iterable[int]) -> int:
    return sum(1 << port for port in set(ports))
