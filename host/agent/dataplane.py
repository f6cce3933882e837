"""A node's data plane as its agent sees it: all tables of a board, the mirrors that fill them, and the relay."""

import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import astuple
from pathlib import Path
from typing import Any

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    ADJACENCY_ECMP,
    ADJACENCY_MULTICAST,
    ADJACENCY_ROW,
    CONTEXT_ROW,
    MAC_AGES,
    MAC_ROW,
    POLICER_ROW,
    SHAPER_ROW,
    VMAC_ROW,
    AdjacencyKind,
    HitStat,
    Register,
    Role,
    RouterMode,
    Table,
    unpack,
)

from ..board.driver import Driver
from ..board.errors import BoardError, NotABoard
from ..board.hostport import HostPort
from ..board.transport import open_packet_socket
from ..fabric import namespace_path
from ..mirror.loop import MirrorLoop
from ..mirror.mirror import RouteMirror
from ..relay import Relay
from ..spec import NodeSpec, RouterSpec
from ..store import AgentStore
from ..tables.adopt import ImageFault
from ..tables.groups import COVERS
from ..tables.policy import ROUTER_POLICER
from ..tables.rates import Rates
from ..tables.router import RouterTables
from ..tables.vmac import VmacTable, choose_seeds
from ..tables.windows import Window, WindowPool
from .events import EventLog
from .policies import entries_of, format_mac, group_of, groups_of, parse_mac, policy_of

__all__ = ["DataPlane", "format_mac", "parse_mac"]

#: Parameters that a board does not tell, or that a driver need not know.
_UNTOLD = ("ingress_bytes", "clock_hz", "filter_banks")


_MODES = frozenset(RouterMode)


def _in_tables(router: RouterSpec, rates: Rates, config: CoreConfig) -> Any:
    """All of a specification that is in the tables besides routes and VMAC-VE entries."""
    return [(port.port, port.mac, port.guard) for port in router.ports], policy_of(router, rates, config)


class DataPlane:
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

    Attributes
    ----------
    mac_age : float
        Seconds after which bridges forget an address; holds from the next :meth:`start` on.
    """

    def __init__(self, spec: NodeSpec, config: CoreConfig, store: AgentStore, events: EventLog) -> None:
        self.config = config
        self.mac_age = spec.mac_age
        self._store, self._events = store, events
        self._lock = threading.RLock()
        self._vmac: VmacTable | None = None
        self._windows = WindowPool(config)
        self._tables: dict[str, RouterTables] = {}
        self._specs: dict[str, RouterSpec] = {}
        self._attached: dict[str, Any] = {}
        self._registers: dict[Register, int] = {}   # that were written since the board was reset, as far as is known
        self._captures: dict[str, int] = {}         # how many want a router's frames
        self.hostport = HostPort(open_packet_socket(spec.host_tap, spec.namespace))
        self.driver = Driver(self.hostport)
        self.relay = Relay(self.hostport, config)
        self._fabric = namespace_path(spec.namespace)
        self.mirrors = MirrorLoop()
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
                    self._set_entries(None, router)
            elif not known:
                self._reset(routers)
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
                    self._set_entries(None, router)
                    self._events.emit("programmed", router=name, routes=self._tables[name].route_count())
                self.driver.epoch = self._store.get("epoch")
            self.mirrors.wake()
            return not known

    def in_step(self) -> bool:
        """Whether the board has what the tables say, as far as is known; if not, :meth:`start` sees to it."""
        with self._lock:
            tables, known = list(self._tables.values()), self._vmac is not None
        return known and self.driver.in_step() and all(router.in_step() for router in tables)

    def _check_config(self) -> None:
        told, wanted = self.driver.info().config.as_dict(), self.config.as_dict()
        wrong = [f"{name} is {told[name]}, not {value}" for name, value in wanted.items()
                 if name not in _UNTOLD and told[name] != value]
        if wrong:
            raise NotABoard(f"the board is another one than the topology says: {'; '.join(wrong)}")

    def _adopt(self) -> None:
        registers = (Register.HASH_SEED_0, Register.HASH_SEED_1)
        first, second = self.driver.read_rows((Table.REGISTER, 0, register) for register in registers)
        self._vmac = VmacTable(self.config, (first, second))
        rows = self.driver.read_rows((Table.VMAC, 0, row) for row in range(self.config.vmac_slots))
        self._write_vmac(self._vmac.adopt({row: bits for row, bits in enumerate(rows) if bits}))

    def _reset(self, routers: list[RouterSpec]) -> None:
        entries = {entry for router in routers for part in entries_of(router) for entry in part}
        seeds = choose_seeds(self.config, entries)
        epoch = secrets.randbits(63) | 1
        # The epoch is written to the board when all else is: who finds another one there starts over.
        self._store.set(epoch=epoch)
        self._write_vmac([(row, 0) for row in range(self.config.vmac_slots)])
        self.driver.write_rows([(Table.REGISTER, 0, Register.EPOCH, 0),
                                (Table.REGISTER, 0, Register.HASH_SEED_0, seeds[0]),
                                (Table.REGISTER, 0, Register.HASH_SEED_1, seeds[1])])
        self._vmac = VmacTable(self.config, seeds)

    def _write_vmac(self, writes: list[tuple[int, int]]) -> None:
        try:
            self.driver.write_rows((Table.VMAC, 0, row, bits) for row, bits in writes)
        except BoardError:
            self._vmac = None       # nobody knows what the board has
            raise

    # Routers

    def set_router(self, router: RouterSpec) -> bool:
        """Give a router its tables, or change them; returns whether anything had to be written.

        Raises
        ------
        WindowsFull, VmacFull, VmacTaken, PolicyError, RateError
            If it does not fit.
        """
        with self._lock:
            old = self._specs.get(router.name)
            if old == router:
                return False
            changed = self._settle(old, router)
            # Not before all went well: what failed must be tried again.
            self._specs[router.name] = router
            return changed

    def _settle(self, old: RouterSpec | None, router: RouterSpec) -> bool:
        macs = {port.port: parse_mac(port.mac) for port in router.ports}
        guard = [port.port for port in router.ports if port.guard]
        policy = policy_of(router, self._rates(), self.config)
        tables = self._tables.get(router.name)
        self._reserve(router.name, router.reserved_cells, at_least=True)
        if tables is None:
            window = self._window(router)
            tables = RouterTables(self.driver, router.number, window, macs, group=group_of(router), guard=guard,
                                  policy=policy, multicast=groups_of(router))
            fresh = not tables.adopt()
            if fresh:
                self.driver.clear_counters(router.number)
                tables.program_all()
            else:
                tables.commit()
            self._tables[router.name] = tables
            changed = self._set_entries(None, router) or fresh
        else:
            # Peers first: a guarded port must never be without those that it listens to.
            changed = self._set_entries(old, router) | tables.fix_groups(groups_of(router))
            if old is None or _in_tables(old, self._rates(), self.config) != _in_tables(
                    router, self._rates(), self.config):
                tables.set_ports(macs, group_of(router), guard, policy)
                changed = True
            tables.commit()
        if router.name in self._captures:
            tables.set_capturing(True)
        self._reserve(router.name, router.reserved_cells)
        return changed

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

    def _rates(self) -> Rates:
        info = self.driver.info()
        return Rates(info.config.clock_hz, info.policer_cycles, info.shaper_cycles, self.config.max_frame)

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

    def _set_entries(self, old: RouterSpec | None, router: RouterSpec) -> bool:
        """Bring a router's entries in the VMAC-VE table to what they should be."""
        if self._vmac is None:
            raise BoardError("the board is out of step: it is being programmed again")
        own, peers = entries_of(router)
        wanted = own | peers
        stale = {entry.key for entry in self._vmac if entry.router == router.number} - wanted
        writes: list[tuple[int, int]] = []
        for entry in sorted(stale):
            writes += self._vmac.remove(*entry)
        for mac, port, role, vlan in [*sorted(peers), *sorted(own)]:
            writes += self._vmac.insert(mac, port, role, router.number, vlan)
        self._write_vmac(writes)
        return bool(writes)

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
            self._reserve(router.name, 0)
            self._windows.release(tables.router)
            saved = self._store.get("windows", {})
            saved.pop(router.name, None)
            self._store.set(windows=saved)

    def attach(self, router: RouterSpec, namespace: Path) -> None:
        """Mirror the routes of a container's namespace, and relay punted frames to and from it."""
        with self._lock:
            key = (namespace.stat().st_ino, [(port.port, port.name, port.outer, port.mac) for port in router.ports])
            if self._attached.get(router.name) == key:
                return
            self.detach(router.name)
            tables = self._tables[router.name]
            for port in router.ports:
                self.relay.add(router.number, port.port, port.outer, self._fabric, parse_mac(port.mac))
            self.mirrors.add(RouteMirror(tables, namespace, {port.name: port.port for port in router.ports}))
            self._attached[router.name] = key

    def detach(self, name: str) -> None:
        """Leave a container alone; what the board has of its router stays as it is."""
        with self._lock:
            if self._attached.pop(name, None) is not None:
                number = self._tables[name].router
                self.mirrors.remove(number)
                self.relay.remove(number)

    # What there is

    def port_name(self, port: int) -> str:
        """Name of a port for people."""
        return "host" if port == self.config.host_port else f"p{port}"

    def router_name(self, number: int) -> str | None:
        """Name of a router by its number."""
        return next((name for name, router in self._specs.items() if router.number == number), None)

    def summary(self, name: str) -> dict[str, Any]:
        """Routes of a router and what is wrong with its tables."""
        tables = self._tables.get(name)
        mirror = self.mirrors.get(tables.router) if tables else None
        if mirror is None:
            return {"rib": None, "fib": tables.route_count() if tables else None, "problems": []}
        return mirror.summary()

    def counters(self, number: int | None) -> list[dict[str, Any]]:
        """Frames by router, ingress port and reason; of all routers and of none if no number is given."""
        return [{"router": name, "port": self.port_name(port), "reason": reason.name.lower(), "frames": value}
                for router, name in self._names().items() if number in (None, router)
                for (port, reason), value in self.driver.read_counters(router).items()]

    def queues(self) -> list[dict[str, Any]]:
        """Output queues of each router and port."""
        rows: dict[tuple[int, int], dict[str, Any]] = {}
        for router, name in self._names().items():
            for (port, stat), value in self.driver.read_queues(router).items():
                row = rows.setdefault((router, port), {"router": name, "port": self.port_name(port)})
                row[stat.name.lower()] = value
        return list(rows.values())

    def _names(self) -> dict[int, str]:
        """Routers that are there by their numbers, and "none"."""
        names = {router.number: name for name, router in self._specs.items()} | {self.config.no_router: "none"}
        return dict(sorted(names.items()))

    def vmac(self) -> list[dict[str, Any]]:
        """Entries of the VMAC-VE table, read from the board."""
        rows = self.driver.read_rows((Table.VMAC, 0, row) for row in range(self.config.vmac_slots))
        found = []
        for row, bits in enumerate(rows):
            fields = unpack(VMAC_ROW, bits)
            if fields["valid"]:
                found.append({"mac": format_mac(fields["mac"]), "port": self.port_name(fields["port"]),
                              "vlan": fields["vid"] or None, "role": Role(fields["role"]).name.lower(),
                              "router": self.router_name(fields["router"]) or str(fields["router"]), "slot": row})
        return sorted(found, key=lambda entry: (entry["router"], entry["port"], entry["role"], entry["mac"]))

    def context(self) -> list[dict[str, Any]]:
        """Context registers, read from the board."""
        found = []
        rows = self.driver.read_rows((Table.CONTEXT, router, 0) for router in range(self.config.routers))
        for number, bits in enumerate(rows):
            fields = unpack(CONTEXT_ROW, bits)
            if not bits:
                continue
            ports = {name: [self.port_name(port) for port in range(self.config.ports) if fields[name] >> port & 1]
                     for name in ("ports", "group", "guard")}
            found.append({"router": self.router_name(number) or str(number), "number": number,
                          "enable": bool(fields["enable"]),
                          "mode": RouterMode(fields["mode"]).name.lower() if fields["mode"] in _MODES else "unknown",
                          **ports, **{name: bool(fields[name]) for name in ("multicast", "mirror", "learn")},
                          **{name: fields[name] for name in (
                              "fib_base", "fib_size", "adj_base", "adj_size", "filter_base", "filter_size",
                              "policer_base", "policer_size", "mac_base", "mac_size")}})
        return found

    def fib(self, name: str) -> list[dict[str, Any]]:
        """Routes of a router, read from the board: all of IPv4, then all of IPv6."""
        tables = self._of(name)
        try:
            image = tables.read_image()
        except ImageFault:
            # The tables changed while they were read.
            return tables.describe_routes()
        routes = sorted(image.routes.items())
        adjacencies = self._adjacencies(tables, image.routes.values())
        return [{"prefix": str(prefix), "adjacency": row} | self._adjacency(adjacencies[row])
                for prefix, row in routes]

    def mroutes(self, name: str) -> list[dict[str, Any]]:
        """Multicast routes of a router, read from the board: all of IPv4, then all of IPv6."""
        tables = self._of(name)
        try:
            image = tables.read_image()
        except ImageFault:
            return tables.describe_groups()
        routes = sorted((key, row) for group, rows in image.groups.items() if group not in COVERS
                        for key, row in rows.items())
        adjacencies = self._adjacencies(tables, (row for _, row in routes))
        found = []
        for key, row in routes:
            entry = self._adjacency(adjacencies[row])
            found.append({"group": key.group_text, "source": key.source_text, "kind": entry["kind"],
                          "from": entry["port"], "to": entry["ports"], "mtu": entry["mtu"], "adjacency": row})
        return found

    def _adjacencies(self, tables: RouterTables, rows: Iterable[int]) -> dict[int, int]:
        """Bits of rows of a router, read from the board."""
        wanted = sorted(set(rows))
        return dict(zip(wanted, tables.writer.read((Table.ADJACENCY, row) for row in wanted), strict=True))

    def adjacency(self, name: str) -> list[dict[str, Any]]:
        """Adjacencies of a router, read from the board."""
        tables = self._of(name)
        rows = self.driver.read_rows((Table.ADJACENCY, tables.router, row) for row in range(tables.window.adj_size))
        targets = {entry["row"]: entry for entry in tables.describe_adjacencies()}
        return [{"row": row} | self._adjacency(bits) | {"routes": targets.get(row, {}).get("users")}
                for row, bits in enumerate(rows) if bits]

    def filters(self, name: str) -> list[dict[str, Any]]:
        """Rules of a router, with the frames and bytes that they were hit by."""
        router = self._of(name).router
        rules = self._specs[name].rules
        values = self.driver.read_rows((Table.HIT, router, row * len(HitStat) + stat)
                                       for row in range(len(rules)) for stat in HitStat)
        return [{"rule": row, "text": rule.text, "action": rule.action,
                 "frames": values[row * len(HitStat) + HitStat.FRAMES],
                 "bytes": values[row * len(HitStat) + HitStat.BYTES]} for row, rule in enumerate(rules)]

    def all_filters(self) -> list[dict[str, Any]]:
        """The same of all routers."""
        with self._lock:
            names = [name for name, router in self._specs.items() if router.rules and name in self._tables]
        return [{"router": name} | row for name in names for row in self.filters(name)]

    def rates(self) -> list[dict[str, Any]]:
        """Policers and shapers of all routers, read from the board, in bits a second and bytes."""
        rates, found = self._rates(), []
        with self._lock:
            specs = {name: (router, self._tables[name]) for name, router in self._specs.items() if name in self._tables}
        for name, (router, tables) in sorted(specs.items()):
            policed = tables.policed_rules()
            places = [(Table.POLICER, row, "in" if row == ROUTER_POLICER else f"rule {policed.get(row, '?')}")
                      for row in range(tables.window.policer_size)]
            ports = [*(port.port for port in router.ports), self.config.host_port]
            places += [(Table.SHAPER, port, f"out {self.port_name(port)}") for port in ports]
            rows = self.driver.read_rows((table, tables.router, row) for table, row, _ in places)
            for (table, _, what), bits in zip(places, rows, strict=True):
                policer = table == Table.POLICER
                fields = unpack(POLICER_ROW if policer else SHAPER_ROW, bits)
                if fields["limit"] or fields.get("quantum"):
                    rate = (rates.policer_bits if policer else rates.shaper_bits)(fields["rate"])
                    found.append({"router": name, "what": what, "bits": round(rate) if fields["limit"] else None,
                                  "burst": fields["burst"] if fields["limit"] else None,
                                  "quantum": fields.get("quantum") or None})
        return found

    def macs(self, name: str) -> list[dict[str, Any]]:
        """Addresses that a bridged router knows, read from the board."""
        tables = self._of(name)
        rows = self.driver.read_rows((Table.MAC, tables.router, row) for row in range(tables.window.mac_size))
        found = []
        for row, bits in enumerate(rows):
            fields = unpack(MAC_ROW, bits)
            if fields["age"]:
                unseen = (MAC_AGES - fields["age"]) * self.mac_age / MAC_AGES
                found.append({"mac": format_mac(fields["mac"]), "port": self.port_name(fields["port"]),
                              "static": bool(fields["static"]), "unseen_seconds": round(unseen), "row": row})
        return sorted(found, key=lambda entry: entry["mac"])

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

    def _adjacency(self, bits: int) -> dict[str, Any]:
        """A row for people. ``members``: [first row, how many] of ECMP; ``port`` of multicast is the only one that
        its frames may come in at, and ``ports`` are those that they leave by."""
        fields = unpack(ADJACENCY_ROW, bits)
        found: dict[str, Any] = {"kind": str(fields["kind"]), "port": None, "mac": None, "mtu": None, "members": None,
                                 "ports": None}
        try:
            kind = AdjacencyKind(fields["kind"])
        except ValueError:
            return found
        found["kind"] = kind.name.lower()
        if kind is AdjacencyKind.FORWARD:
            found |= {"port": self.port_name(fields["port"]), "mac": format_mac(fields["mac"]), "mtu": fields["mtu"]}
        elif kind is AdjacencyKind.ECMP:
            fields = unpack(ADJACENCY_ECMP, bits)
            found["members"] = [fields["first"], fields["count"]]
        elif kind is AdjacencyKind.MULTICAST:
            fields = unpack(ADJACENCY_MULTICAST, bits)
            ports = [port for port in range(self.config.ports) if fields["ports"] >> port & 1]
            ports += [self.config.host_port] * fields["host"]
            found |= {"port": self.port_name(fields["port"]), "mtu": fields["mtu"],
                      "ports": [self.port_name(port) for port in ports]}
        return found

    def _of(self, name: str) -> RouterTables:
        if name not in self._tables:
            raise LookupError(f"there is no router {name} on this node; there are {', '.join(sorted(self._tables))}")
        return self._tables[name]
