"""A node's data plane as its agent sees it: all tables of a board, the mirrors that fill them, and the relay."""

import secrets
from collections.abc import Callable
from dataclasses import astuple
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import LINK_ROW, Reason, Register, Role, Table, unpack

from ..board.driver import Driver
from ..board.errors import BoardError, NotABoard
from ..board.hostport import HostPort
from ..board.opening import open_transport
from ..board.registers import BoardRegisters
from ..board.release import release
from ..board.transport import TransportError
from ..fabric import namespace_path
from ..mirror.loop import MirrorLoop
from ..mirror.mirror import RouteMirror
from ..mirror.netlink import EventSource
from ..ports import logical
from ..relay import Relay
from ..spec import NodeSpec, RouterSpec
from ..store import AgentStore
from ..tables.rates import Rates
from ..tables.router import RouterTables
from ..tables.vmac import VmacEntry, VmacFull, VmacKey, VmacTable, choose_seeds
from ..tables.windows import Window, WindowPool, WindowsFull
from .announce import announcements
from .events import EventLog
from .link_views import LinkViews
from .node_links import NodeLinks
from .policies import (
    entries_of,
    format_mac,
    group_of,
    groups_of,
    guard_of,
    macs_of,
    parse_mac,
    policy_of,
)
from .tunnels import TunnelPackets

__all__ = ["DataPlane", "format_mac", "parse_mac"]

#: Parameters that a board does not tell, or that a driver need not know.
_UNTOLD = ("ingress_bytes", "clock_hz", "filter_banks", "fib_rings", "vmac_cycles", "context_words",
           "hash_cycles", "headers", "record_rows", "slices", "stage_registers", "access_bits")


#: Hz that a board's clock may differ by from what it tells, which is a whole number.
_CLOCK_HZ = 1.0


def _in_tables(router: RouterSpec, rates: Rates, config: CoreConfig) -> Any:
    """All of a specification that is in the tables besides routes and VMAC-VE entries."""
    return macs_of(router, config), group_of(router), guard_of(router), policy_of(router, rates, config)


class DataPlane(LinkViews):
    """Tables, mirrors and relay of a board.

    The board need not answer before :meth:`start`. The board's tables outlive this object; :meth:`start` finds out
    whether they are this node's, by the epoch, and takes them over or writes them.

    Parameters
    ----------
    spec : NodeSpec
        The node.
    config : CoreConfig
        What the board is to be.
    store : AgentStore
        Where seeds, epoch and windows are.
    events : EventLog
        Where it tells what happens.
    outside : str, optional
        Path of the network namespace with the interface that leads to a real board; by default that of the process.

    Attributes
    ----------
    mac_age : float
        Seconds after which bridges forget an address; holds from the next :meth:`start` on.
    """

    def __init__(self, spec: NodeSpec, config: CoreConfig, store: AgentStore, events: EventLog, *,
                 outside: str | None = None) -> None:
        self.hostport = HostPort(open_transport(spec.link, outside if spec.host_link else spec.namespace),
                                 link_port=config.link_port)
        super().__init__(config, Driver(self.hostport), spec.mac_age)
        self._store, self._events = store, events
        self._real = bool(spec.host_link)
        self._vmac: VmacTable | None = None
        self._windows = WindowPool(config)
        self._attached: dict[str, Any] = {}
        self._registers: dict[Register, int] = {}   # that were written since the board was reset, as far as is known
        self._captures: dict[str, int] = {}         # how many want a router's frames
        self.relay = Relay(self.hostport, config)
        self._fabric = namespace_path(spec.namespace)
        self.links = NodeLinks(self.driver, config, self.relay, self._fabric)
        self.mirrors = MirrorLoop()
        self.tunnel_packets = TunnelPackets(self.mirrors.resolve)
        self.relay.on_given = self.tunnel_packets.take
        self.mirrors.start()

    def close(self) -> None:
        """Let go of everything; the board goes on as it is."""
        self.mirrors.stop()
        self.relay.close()
        self.driver.close()

    # The board as a whole

    def start(self, routers: list[RouterSpec]) -> bool:
        """Get in step with the board, and program it if it was reset; returns whether it had to be.

        Parameters
        ----------
        routers : list of RouterSpec
            Routers that will be there; what they need is known before hash seeds are chosen.

        Raises
        ------
        BoardError
            If it does not answer, or is not what it should be.
        """
        with self._lock:
            self.driver.sync()
            self._check_config()
            epoch = self._store.get("epoch", 0)
            known = epoch != 0 and self.driver.epoch == epoch
            if known and self._vmac is None:
                self._adopt()
                for router in self._specs.values():
                    self._set_entries(router)
            elif not known:
                self._reset(routers)
            if not self.links.known:
                assert self._vmac is not None
                self.links.adopt(self._vmac.seeds)
            self._registers = {}        # written again: it may have been out of step
            self._set_register(Register.MAC_AGE_CYCLES, self._rates().mac_age_cycles(self.mac_age))
            if not known:
                self._store.set(reserved={name: router.reserved_cells for name, router in self._specs.items()})
            self._set_shared_cells()
            for tables in self._tables.values():
                if not known or not tables.in_step():
                    tables.synchronize()
            if not known:
                for name, router in self._specs.items():
                    self._set_entries(router)
                    kind = self._wanted.kind_of(name) if self._wanted else "router"
                    self._events.emit("programmed", **{kind: name}, routes=self._tables[name].route_count())
            if self._wanted is not None:
                self.links.put(self._wanted)
            if not known:
                self.driver.epoch = self._store.get("epoch")
            self._rearm_watchdog()
            self.mirrors.wake()
            return not known

    def _rearm_watchdog(self) -> None:
        """Enable the routers again, if the board has disabled them because there was no host."""
        if not self._real:
            return
        registers = BoardRegisters(self.driver)
        if registers.watchdog().expired:
            registers.rearm_watchdog()
            self._events.emit("watchdog armed again", why="the host was gone for longer than it waits")

    def in_step(self) -> bool:
        """Whether the board has what the tables say, as far as is known; if not, :meth:`start` sees to it.

        A real board is asked: nobody says that it was without power, and its watchdog waits for frames.
        """
        with self._lock:
            tables, known = list(self._tables.values()), self._vmac is not None and self.links.known
        if not (known and self.driver.in_step() and all(router.in_step() for router in tables)):
            return False
        try:
            return not self._real or self.driver.epoch == self._store.get("epoch")
        except (BoardError, TransportError):
            return False

    def release(self) -> None:
        """Let go of a real board: nothing is forwarded any more.

        Raises
        ------
        BoardError
            If it does not answer.
        """
        with self._lock:
            self._vmac = None       # whatever becomes of this, the board has not what the tables say
            release(self.driver, self._store.get("epoch", 0))

    def _check_config(self) -> None:
        told, wanted = self.driver.info().config.as_dict(), self.config.as_dict()
        wrong = [f"{name} is {told[name]}, not {value}" for name, value in wanted.items()
                 if name not in _UNTOLD and told[name] != value]
        if self._real and abs(told["clock_hz"] - wanted["clock_hz"]) > _CLOCK_HZ:
            wrong.append(f"clock_hz is {told['clock_hz']:.10g}, not {wanted['clock_hz']:.10g}")
        if wrong:
            raise NotABoard(f"the board is another one than the topology says: {'; '.join(wrong)}")

    def _adopt(self) -> None:
        registers = (Register.HASH_SEED_0, Register.HASH_SEED_1)
        first, second = self.driver.read_rows((Table.REGISTER, 0, register) for register in registers)
        self._vmac = VmacTable(self.config, (first, second))
        rows = self.driver.read_rows((Table.VMAC, 0, row) for row in range(self.config.vmac_slots))
        self._write_vmac(self._vmac.adopt({row: bits for row, bits in enumerate(rows) if bits}))

    def _reset(self, routers: list[RouterSpec]) -> None:
        entries = {entry.key for router in routers for entry in entries_of(router)}
        seeds = choose_seeds(self.config, entries)
        epoch = secrets.randbits(63) | 1
        # The epoch is written to the board when all else is: who finds another one there starts over.
        self._store.set(epoch=epoch)
        self._write_vmac([(row, 0) for row in range(self.config.vmac_slots)])
        self.driver.write_rows([(Table.REGISTER, 0, Register.EPOCH, 0),
                                (Table.REGISTER, 0, Register.HASH_SEED_0, seeds[0]),
                                (Table.REGISTER, 0, Register.HASH_SEED_1, seeds[1])])
        self._vmac = VmacTable(self.config, seeds)
        self.links.clear(seeds)

    def _write_vmac(self, writes: list[tuple[int, int]]) -> None:
        try:
            self.driver.write_rows((Table.VMAC, 0, row, bits) for row, bits in writes)
        except BoardError:
            self._vmac = None       # nobody knows what the board has
            raise

    # Routers

    def set_router(self, router: RouterSpec, *, held: bool = False) -> bool:
        """Give a router its tables, or change them; returns whether anything had to be written.

        Parameters
        ----------
        router : RouterSpec
        held : bool
            A new one takes no frame until :meth:`release_router`.

        Raises
        ------
        WindowsFull, VmacFull, VmacTaken, PolicyError, RateError
            If it does not fit.
        """
        with self._lock:
            old = self._specs.get(router.name)
            if old == router:
                return False
            changed = self._settle(old, router, held)
            # Not before all went well: what failed must be tried again.
            self._specs[router.name] = router
            return changed

    def _settle(self, old: RouterSpec | None, router: RouterSpec, held: bool) -> bool:
        macs, guard = macs_of(router, self.config), guard_of(router)
        policy = policy_of(router, self._rates(), self.config)
        tables = self._tables.get(router.name)
        self._reserve(router.name, router.reserved_cells, at_least=True)
        if tables is None:
            window = self._window(router)
            tables = RouterTables(self.driver, router.number, window, macs, group=group_of(router), guard=guard,
                                  policy=policy, multicast=groups_of(router), held=held)
            fresh = held or not tables.adopt()
            if fresh:
                self.driver.clear_counters(router.number)
                tables.program_all()
            else:
                tables.commit()
            self._tables[router.name] = tables
            changed = self._set_entries(router) or fresh
        else:
            changed = self._set_entries(router) | tables.fix_groups(groups_of(router))
            if old is None or _in_tables(old, self._rates(), self.config) != _in_tables(
                    router, self._rates(), self.config):
                tables.set_ports(macs, group_of(router), guard, policy)
                changed = True
            tables.commit()
        if router.name in self._captures:
            tables.set_capturing(True)
        self._reserve(router.name, router.reserved_cells)
        return changed

    def release_router(self, name: str) -> None:
        """Have a router that was held take frames."""
        with self._lock:
            self._of(name).release()

    def why_no_room(self, router: RouterSpec) -> str | None:
        """Why there is no room for one more router, None if there is."""
        with self._lock:
            try:
                self._windows.allocate(router.number, router.fib_words, router.adjacencies,
                                       filter_rules=router.filter_rules, policers=router.policers,
                                       mac_rows=router.mac_rows)
            except WindowsFull as error:
                return str(error)
            self._windows.release(router.number)
            free = self.config.vmac_slots - len(self._vmac or ())
            wanted = len(entries_of(router))
            if self._vmac is None or wanted > free:
                return f"it takes {wanted} rows of the VMAC-VE table, and {free} are free"
            return None

    def follow(self, name: str, source: EventSource) -> None:
        """Have a router's tables as the kernel of its container says, which is elsewhere."""
        with self._lock:
            ports = {port.name: port.logical for port in self._specs[name].ports}
            self.mirrors.add(RouteMirror(self._tables[name], source, ports))

    def carry(self, name: str, counters: dict[str, int]) -> None:
        """Add what a router's counters were on the node that it came from: by port and reason, as in "0 FORWARDED"."""
        with self._lock:
            if counters:
                self._store.set(carried={**self._store.get("carried", {}), name: counters})

    def carried(self, name: str) -> dict[tuple[int, Reason], int]:
        """What :meth:`carry` was told."""
        return {(int(key.split()[0]), Reason[key.split()[1]]): value
                for key, value in self._store.get("carried", {}).get(name, {}).items()}

    def announce(self, name: str) -> None:
        """Say on each segment of a router where its addresses are."""
        router = self._specs[name]
        for port in router.ports:
            for frame in announcements(port):
                self.hostport.inject(router.number, port.logical, frame)

    def _window(self, router: RouterSpec) -> Window:
        saved = self._store.get("windows", {})
        self._windows.release(router.number)    # an attempt that failed may have them
        if router.name in saved:
            window = Window(*saved[router.name])    # an agent before this one saved fewer
            self._windows.reserve(router.number, window)
            return window
        window = self._windows.allocate(router.number, router.fib_words, router.adjacencies,
                                        filter_rules=router.filter_rules, policers=router.policers,
                                        mac_rows=router.mac_rows)
        saved[router.name] = list(astuple(window))
        self._store.set(windows=saved)
        return window

    def _reserve(self, name: str, cells: int, *, at_least: bool = False) -> None:
        """Take what a router has reserved from the cells that all share: before its quota says so, if that is more
        than it had (``at_least``), and after it if it is less. What is saved is what the board may have."""
        saved = self._store.get("reserved", {})
        if at_least:
            cells = max(cells, saved.get(name, 0))
        if saved.get(name, 0) != cells:
            self._store.set(reserved={key: value for key, value in {**saved, name: cells}.items() if value})
        self._set_shared_cells()

    def _set_shared_cells(self) -> None:
        reserved = sum(self._store.get("reserved", {}).values())
        self._set_register(Register.SHARED_CELLS, max(0, self.config.cells - reserved))

    def _set_register(self, register: Register, value: int) -> None:
        if self._registers.get(register) != value:
            self.driver.write_rows([(Table.REGISTER, 0, register, value)])
            self._registers[register] = value

    def _set_entries(self, router: RouterSpec) -> bool:
        """Bring a router's entries in the VMAC-VE table to what they should be.

        A guarded port must never be without the peers that it listens to: new ones come first, old ones go last.
        """
        if self._vmac is None:
            raise BoardError("the board is out of step: it is being programmed again")
        wanted = entries_of(router)
        stale = {entry.key for entry in self._vmac.of_router(router.number)} - {entry.key for entry in wanted}
        old_peers = sorted(key for key in stale if key[2] == Role.PEER)
        writes: list[tuple[int, int]] = []
        try:
            for key in sorted(stale - set(old_peers)):
                writes += self._vmac.remove(*key)
            for entry in wanted:
                self._insert(entry, old_peers, writes)
            for key in old_peers:
                writes += self._vmac.remove(*key)
        finally:
            self._write_vmac(writes)    # also of an attempt that failed half way
        return bool(writes)

    def _insert(self, entry: VmacEntry, old_peers: list[VmacKey], writes: list[tuple[int, int]]) -> None:
        """Add an entry; if there is no room for it, in the place of peers that go."""
        assert self._vmac is not None
        while True:
            try:
                writes += self._vmac.insert(entry.mac, entry.port, entry.role, entry.router, entry.vid, entry.guard)
                return
            except VmacFull:
                if not old_peers:
                    raise
                writes += self._vmac.remove(*old_peers.pop())

    def remove_router(self, router: RouterSpec) -> None:
        """Take a router off the board, also one that an agent before this one has put there."""
        with self._lock:
            assert self._vmac is not None
            if router.name not in self._tables:
                self.set_router(router)
            tables = self._tables.pop(router.name)
            del self._specs[router.name]
            self._write_vmac(self._vmac.remove_router(tables.router))
            tables.remove()
            self.tunnel_packets.forget(tables.router)
            self._forget(router)

    def _forget(self, router: RouterSpec) -> None:
        """Give back what a router was given besides its rows."""
        self._reserve(router.name, 0)
        self._windows.release(router.number)
        saved, carried = self._store.get("windows", {}), self._store.get("carried", {})
        saved.pop(router.name, None)
        carried.pop(router.name, None)
        self._store.set(windows=saved, carried=carried)

    def discard_router(self, router: RouterSpec) -> None:
        """Take a router off the board of which there may be all, or what an attempt that failed has left."""
        with self._lock:
            if router.name in self._tables:
                self.remove_router(router)
                return
            assert self._vmac is not None
            self._write_vmac(self._vmac.remove_router(router.number))
            self._forget(router)

    def attach(self, router: RouterSpec, namespace: Path) -> None:
        """Mirror the routes of a container's namespace, and relay punted frames to and from it."""
        with self._lock:
            key = (namespace.stat().st_ino, [(port.logical, port.name, port.outer, port.mac) for port in router.ports])
            if self._attached.get(router.name) == key:
                return
            self.detach(router.name)
            tables = self._tables[router.name]
            for port in router.ports:
                self.relay.add(router.number, port.logical, port.outer, self._fabric, parse_mac(port.mac))
            self.mirrors.add(RouteMirror(tables, namespace, {port.name: port.logical for port in router.ports}))
            self._keep_ends(router.number)
            self._attached[router.name] = key

    def detach(self, name: str) -> None:
        """Leave a container alone; what the board has of its router stays as it is."""
        with self._lock:
            if self._attached.pop(name, None) is not None:
                number = self._tables[name].router
                self.mirrors.remove(number)
                self.relay.remove(number)

    # Links

    def release_links(self, node: NodeSpec, routers: list[RouterSpec] | None = None) -> None:
        """Take away the circuits and VNICs that a node is not to have, or that get other owners, before these do.

        Parameters
        ----------
        node : NodeSpec
            What is to be.
        routers : list of RouterSpec
            Those that will be removed, even if others come with the same numbers.

        Raises
        ------
        LinkError, PolicyError
            If the node's circuits can't be; nothing is changed then.
        """
        with self._lock:
            before = self.links.rows
            gone = self.links.release(node, [router.number for router in routers or ()])
            if not gone:
                return
            assert self._vmac is not None and self.config.link_port is not None
            owners = {circuit.number: circuit.router for circuit in node.circuits.values()}
            writes: list[tuple[int, int]] = []
            for entry in list(self._vmac):
                if (entry.port == self.config.link_port and entry.vid in gone
                        and owners.get(entry.vid) != entry.router):
                    writes += self._vmac.remove(*entry.key)
            self._write_vmac(writes)
            self._forget_addresses({number: unpack(LINK_ROW, before[number])["router"] for number in gone})

    def _forget_addresses(self, owners: dict[int, int]) -> None:
        """Have bridges forget what they learned on circuits that went, by number: the next one to have the number would
        get what is for the one before."""
        assert self.config.link_port is not None
        for tables in self._tables.values():
            ports = {logical(self.config.link_port, number) for number, router in owners.items()
                     if router == tables.router}
            if ports and tables.window.mac_size:
                tables.forget_addresses(ports)

    def set_links(self, node: NodeSpec) -> bool:
        """Have exactly the node's circuits and tunnels, whose owners are there; returns whether anything was written.

        VNICs are connected one by one (:meth:`NodeLinks.connect`) when their interfaces are there.

        Raises
        ------
        LinkError, PolicyError, TerminationsFull
            If they can't be.
        """
        with self._lock:
            self.release_links(node)
            changed = self.links.put(node)
            self._wanted = node
            for number in {circuit.tunnel.underlay for circuit in node.circuits.values() if circuit.tunnel}:
                self._keep_ends(number)
            return changed

    def _keep_ends(self, router: int) -> None:
        circuits = self._wanted.circuits.values() if self._wanted is not None else ()
        self.mirrors.keep(router, sorted({int(IPv4Address(circuit.tunnel.destination)) for circuit in circuits
                                          if circuit.tunnel is not None and circuit.tunnel.underlay == router}))

    def summary(self, name: str) -> dict[str, Any]:
        """Routes of a router and what is wrong with its tables."""
        tables = self._tables.get(name)
        mirror = self.mirrors.get(tables.router) if tables else None
        if mirror is None:
            return {"rib": None, "fib": tables.route_count() if tables else None, "problems": []}
        return mirror.summary()

    # Frames for who listens

    def capture(self, name: str, take: Callable[[int, bytes], None]) -> Callable[[], None]:
        """Have copies of all frames of a router from now on; returns what ends it.

        Parameters
        ----------
        name : str
            The router.
        take : callable
            Is told the port that a frame came in at, and the frame, in the host port's thread.
        """
        with self._lock:
            tables = self._of(name)
            listening = self.relay.listen(tables.router, take)
            self._captures[name] = self._captures.get(name, 0) + 1
            try:
                tables.set_capturing(True)
            except BaseException:
                self._end_capture(name, listening)
                raise
        return lambda: self._end_capture(name, listening)

    def _end_capture(self, name: str, listening: object) -> None:
        with self._lock:
            self.relay.unlisten(listening)
            self._captures[name] -= 1
            if not self._captures[name]:
                del self._captures[name]
                if name in self._tables:
                    self._tables[name].set_capturing(False)
