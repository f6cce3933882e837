"""All tables of one virtual router: what they should hold, what the board has, and the writes in between."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from secrets import randbits
from threading import RLock

from polyrouter.hdl.layouts import CONTEXT_ROW, MAC_ROW, PORT_ROW, Table, pack, unpack

from ..ports import circuit, logical, physical
from .adjacency import Target
from .adopt import FibImage, ImageFault, read_fibs
from .fib import IPV6_ROOT_ROW, ROOT_ROW, ROOTS, FibCompiler, FibStatistics, statistics
from .groups import COVERS, Groups, MulticastKey
from .next_hops import NextHops, read_adjacencies
from .policy import Policy
from .policy_writer import Context, PolicyWriter, Step, Wait
from .prefix import Prefix
from .routes import Routes
from .windows import Window
from .writer import TableDriver, TableWriter

__all__ = ["Prefix", "RouterTables", "TableDriver"]


class RouterTables:
    """Context, ports, FIB and adjacencies of one router.

    Routes and neighbours are set one by one; :meth:`commit` brings the board to them without ever showing a half-made
    state: adjacencies before the FIB words that refer to them, rows that are no longer used only again after a fence.
    May be used from several threads.

    A table may become full. What there is no room for is punted instead of forwarded, so that the container's kernel,
    which knows all routes, forwards what the hardware would get wrong; one of several next hops takes all packets if
    there are not enough adjacencies for all. As soon as there is room again, they are put in place. :meth:`problems`
    tells.

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
        Its own MAC address on each port that it is on. These are physical ports, as all that is said of a whole port;
        those of routes and neighbours are logical ones.
    group, guard : iterable of int
        Ports on which it takes broadcast and multicast (by default all its ports), and only frames from its peers.
    policy : Policy
        Mode, filter rules, rates, VLANs and quota.
    multicast : mapping of MulticastKey to Target
        Fixed multicast routes.
    held : bool
        It has all that it needs in the board, and takes no frame, until :meth:`release`.

    Attributes
    ----------
    writer : TableWriter
        What it writes with.
    """

    def __init__(self, driver: TableDriver, router: int, window: Window, macs: Mapping[int, int], *,
                 group: Iterable[int] | None = None, guard: Iterable[int] = (), policy: Policy | None = None,
                 multicast: Mapping[MulticastKey, Target] | None = None, held: bool = False) -> None:
        self._held = held
        self.writer = TableWriter(driver, router)
        self.router = router
        self.window = window
        self._lock = RLock()
        self._policy = PolicyWriter(window, policy or Policy())
        self._set_ports(macs, group, guard)
        self._ecmp_seed = randbits(CONTEXT_ROW["ecmp_seed"].width)
        self._next_hops = NextHops(window.adj_size, self.writer)
        self._fibs = FibCompiler.dual_stack(window.fib_size)    # by Prefix.ipv6
        self._routes = Routes(self._next_hops, self.writer, self._fibs)
        self._groups = Groups(self._next_hops, self.writer, self._fibs, window.adj_size)
        self._groups.fix(multicast or {})

    @property
    def out_of_step(self) -> bool:
        """An access failed, so that it is not known what the board has; nothing more is written until
        :meth:`synchronize` or :meth:`program_all`."""
        return self.writer.out_of_step

    # What should be

    def set_route(self, prefix: Prefix, target: Target | None) -> None:
        """What a prefix should point at from the next commit on; None if there should be no route."""
        with self._lock:
            self._routes.set(prefix, target)

    def set_group(self, key: MulticastKey, target: Target | None) -> None:
        """Where a multicast route should go from the next commit on; None if there should be none but a fixed one."""
        with self._lock:
            self._groups.set(key, target)

    def fix_groups(self, routes: Mapping[MulticastKey, Target]) -> bool:
        """Exactly these multicast routes are fixed, from the next commit on; returns whether that is a change."""
        with self._lock:
            return self._groups.fix(routes)

    def set_neighbour(self, port: int, address: int, mac: int | None, ipv6: bool = False) -> None:
        """MAC address of a neighbour from the next commit on; None if it is not known."""
        with self._lock:
            self._next_hops.set_neighbour(port, address, mac, ipv6)

    def set_mtu(self, port: int, mtu: int) -> None:
        """MTU of a logical port from the next commit on."""
        with self._lock:
            self._next_hops.set_mtu(port, mtu)

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
            self.writer.write_changed(self._port_rows(policy))
            self._write_policy(steps)
            self.writer.write_changed([self._context_row(enable=True), *((Table.PORT, port, 0) for port in gone)])
            self._switch_multicast()

    def set_capturing(self, capturing: bool) -> None:
        """Whether the host gets a copy of every frame, besides what the policy says; at once."""
        with self._lock:
            if self._policy.capturing != capturing:
                self._policy.capturing = capturing
                self.writer.write([self._context_row(enable=True)])

    @property
    def held(self) -> bool:
        """Whether it takes no frame yet."""
        return self._held

    def release(self) -> None:
        """Take frames from now on, if it was held."""
        with self._lock:
            if self._held:
                self._held = False
                self.writer.write([self._context_row(enable=True)])

    def forget_addresses(self, ports: Collection[int]) -> None:
        """Take what a bridge has learned at these logical ports out of its MAC table, at once."""
        with self._lock:
            keys = [(Table.MAC, row) for row in range(self.window.mac_size)]
            found = [unpack(MAC_ROW, bits) for bits in self.writer.read(keys)]
            self.writer.write((*key, 0) for key, fields in zip(keys, found, strict=True)
                              if fields["age"] and logical(fields["port"], fields["vid"]) in ports)

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
            return self._routes.prefixes()

    def group_keys(self) -> list[MulticastKey]:
        """Multicast routes that were set or found on the board, but for the fixed ones."""
        with self._lock:
            return self._groups.keys()

    def targets(self) -> list[Target]:
        """All targets that have an adjacency."""
        with self._lock:
            return self._next_hops.adjacencies.targets()

    def next_hops(self) -> set[Target]:
        """All next hops in use, those in groups one by one."""
        with self._lock:
            return self._next_hops.adjacencies.next_hops()

    def neighbours(self) -> list[Target]:
        """All neighbours that were set."""
        with self._lock:
            return list(self._next_hops.macs)

    def take_unresolved(self) -> list[Target]:
        """Next hops that came into use since the last call although their MAC addresses are not known."""
        with self._lock:
            return self._next_hops.take_unresolved()

    def reaches(self, port: int) -> bool:
        """Whether the hardware can send multicast packets out of a logical port: at the link port by one circuit only.
        """
        with self._lock:
            return not circuit(port) or circuit(port) == self._policy.policy.vids.get(physical(port))

    @property
    def forwards_groups(self) -> bool:
        """Whether the hardware looks multicast packets up."""
        return self._groups.ready

    def route_count(self) -> int:
        """Unicast routes in the FIB."""
        return self._routes.count()

    def adjacency_count(self) -> int:
        """Adjacencies in use."""
        return len(self._next_hops.adjacencies)

    def in_step(self) -> bool:
        """Whether the board does what it is told; waits for what is under way."""
        with self._lock:
            return not self.out_of_step

    def statistics(self) -> FibStatistics:
        """What the FIB takes up; a multicast route counts as one, and so does each group."""
        with self._lock:
            return statistics([*self._fibs, *self._groups.tries()])

    def problems(self) -> list[str]:
        """What is not as it should be, for people."""
        problems = []
        without_room, unaddressed = self._routes.out_of_room()
        if without_room:
            problems.append(f"{len(without_room)} routes (one is {without_room[0]}) do not fit the FIB "
                            f"window of {self.window.fib_size} words, and their packets go through the container: give "
                            "the router more fib_words, or fewer routes")
        if unaddressed:
            problems.append(f"{unaddressed} routes have no room for their next hop in the "
                            f"{self.window.adj_size} adjacencies, and their packets go through the container: give the "
                            "router more adjacencies, or fewer neighbours")
        alone = len(self._next_hops.adjacencies.alone())
        if alone:
            problems.append(f"{alone} groups of next hops have no room in the {self.window.adj_size} adjacencies, and "
                            "one next hop takes all their packets: give the router more adjacencies")
        problems += self._groups.problems()
        if self._policy.policy.multicast and not self._groups.ready:
            problems.append("no room for multicast in the FIB window, and the container gets all multicast packets: "
                            "give the router more fib_words, or fewer routes")
        if self.out_of_step:
            problems.append("the board did not do what it was asked: nothing is written until it is synchronized")
        return problems

    def describe_routes(self) -> list[dict[str, object]]:
        """Routes in the FIB, for people."""
        with self._lock:
            return self._routes.describe()

    def describe_groups(self) -> list[dict[str, object]]:
        """Multicast routes in the FIB, for people."""
        with self._lock:
            return self._groups.describe()

    def describe_adjacencies(self) -> list[dict[str, object]]:
        """Adjacencies in use, for people."""
        with self._lock:
            return self._next_hops.adjacencies.describe()

    def read_image(self) -> FibImage:
        """What the board has in the router's FIB window.

        Raises
        ------
        ImageFault
            If that is no FIB, or changed while it was read.
        """
        return read_fibs(self.window.fib_size, lambda rows: self.writer.read((Table.FIB, row) for row in rows),
                         self.window.adj_size)

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
            self._next_hops.refresh()
            more = self._groups.commit()
            if self._routes.commit():
                self._groups.retry()
            elif more:
                self._routes.retry()
            self._switch_multicast()

    def resync(self, desired: Mapping[Prefix, Target]) -> None:
        """Bring the FIB to exactly these routes, changing only what differs."""
        with self._lock:
            self._routes.replace(desired)
            self.commit()

    def program_all(self) -> None:
        """Write everything to a board that has nothing of this router; it is disabled until all is there."""
        with self._lock:
            self.writer.out_of_step = False
            self._routes.forget_adopted()
            self._groups.forget_adopted()
            self._blank(FibCompiler.dual_stack(self.window.fib_size))
            self.writer.write([self._context_row(enable=False)])
            self.writer.fence()
            self.writer.write(self._policy.fresh())
            self.writer.write([*self._port_rows(), *((Table.FIB, root + half, 0)
                                                     for root in (ROOT_ROW, IPV6_ROOT_ROW) for half in range(ROOTS))])
            if self._policy.policy.multicast and self._groups.enable():
                self._routes.lend(frozenset(COVERS))
            self._routes.program()
            self._next_hops.flush()     # of what no route refers to yet
            self.writer.write([self._context_row(enable=True)])

    def _blank(self, fibs: tuple[FibCompiler, FibCompiler]) -> None:
        """Nothing is in the board."""
        self._fibs = fibs
        self._next_hops.blank()
        self._routes.blank(fibs)
        self._routes.lend(frozenset())
        self._groups.blank(fibs)

    def adopt(self) -> bool:
        """Take over what the board has of this router, without changing what it forwards.

        Routes of an agent that was here before stay until :meth:`set_route` or :meth:`set_group` has said for each what
        becomes of it.

        Returns
        -------
        bool
            False if the board does not have a usable state of this router with these windows; nothing was changed then.
        """
        with self._lock:
            have = unpack(CONTEXT_ROW, self.writer.read([(Table.CONTEXT, 0)])[0])
            window = replace(self.window, fib_base=have["fib_base"], fib_size=have["fib_size"],
                             adj_base=have["adj_base"], adj_size=have["adj_size"])
            roots = have["ipv4_root"], have["ipv6_root"]
            if not have["enable"] or window != self.window or roots != (ROOT_ROW, IPV6_ROOT_ROW):
                return False
            try:
                image = self.read_image()
                adjacencies = read_adjacencies(self.writer, self.window.adj_size, image.adjacencies())
            except (ImageFault, ValueError):
                return False
            if have["multicast"] and not image.tries.keys() >= set(COVERS):
                return False        # it may take anything for a group
            if not self._policy.adopt(have, self.writer.read):
                return False
            self._blank(image.fibs)
            self._next_hops.blank(adjacencies)
            self._routes.adopt(image.fibs, image.routes)
            self._groups.adopt(image.fibs, image.tries, image.parked, image.groups)
            if self._groups.ready:
                self._routes.lend(frozenset(COVERS))
            # With another key, flows would change their next hops.
            self._ecmp_seed = have["ecmp_seed"] or self._ecmp_seed
            self.writer.out_of_step = False
            # Look-ups of before may still be under way to rows that count as free here.
            self.writer.fence()
            self.writer.write([*self._port_rows(), self._context_row(enable=True)])
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
            self.writer.write([self._context_row(enable=False)])
            self.writer.fence()
            self.writer.write([*self._policy.cleared(), *((Table.PORT, port, 0) for port in self.macs),
                               (Table.CONTEXT, 0, 0)])

    def _switch_multicast(self) -> None:
        """Look groups up in the FIB, or not, as the policy says: only while the FIB is made for it."""
        wanted = self._policy.policy.multicast
        if wanted == self._groups.ready:
            return
        if wanted:
            if not self._groups.enable():
                return
            self._routes.lend(frozenset(COVERS))
            self.writer.write([self._context_row(enable=True)])
            return
        self._groups.ready = False
        self.writer.write([self._context_row(enable=True)])
        self.writer.fence()
        self._routes.reclaim()
        self._routes.commit()
        self._groups.disable(frozenset(COVERS) & set(self._routes.prefixes()))

    # The board

    def _port_rows(self, policy: Policy | None = None) -> list[tuple[Table, int, int]]:
        vids = (policy or self._policy.policy).vids
        return [(Table.PORT, port, pack(PORT_ROW, {"mac": mac, "vid": vids.get(port, 0)}))
                for port, mac in self.macs.items()]

    def _context_row(self, *, enable: bool) -> tuple[Table, int, int]:
        window, policy = self.window, self._policy.context(enable=enable)
        bits = pack(CONTEXT_ROW, {
            **policy, "multicast": policy["multicast"] & self._groups.ready,
            "enable": int(enable and not self._held), "ports": _mask(self.macs), "group": _mask(self.group),
            "guard": _mask(self.guard), "fib_base": window.fib_base, "fib_size": window.fib_size,
            "ipv4_root": ROOT_ROW, "ipv6_root": IPV6_ROOT_ROW,
            "adj_base": window.adj_base, "adj_size": window.adj_size, "ecmp_seed": self._ecmp_seed})
        return Table.CONTEXT, 0, bits

    def _write_policy(self, steps: Iterable[Step]) -> None:
        rows: list[tuple[Table, int, int]] = []
        for step in steps:
            if isinstance(step, Wait):
                self.writer.write(rows)
                self.writer.fence()
                rows = []
            elif isinstance(step, Context):
                rows.append(self._context_row(enable=True))
            else:
                rows.append(step)
        self.writer.write(rows)


def _mask(ports: Iterable[int]) -> int:
    return sum(1 << port for port in set(ports))
