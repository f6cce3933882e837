"""A node's data plane as its agent sees it: all tables of a board, the mirrors that fill them, and the relay."""

import secrets
import threading
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import ADJACENCY_ROW, CONTEXT_ROW, VMAC_ROW, AdjacencyKind, Register, Role, Table, unpack

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
from ..tables.adopt import ImageFault, read_fib
from ..tables.router import RouterTables
from ..tables.vmac import VmacTable, choose_seeds
from ..tables.windows import Window, WindowPool
from .events import EventLog

__all__ = ["DataPlane", "format_mac", "parse_mac"]

#: Parameters that a board does not tell, or that a driver need not know.
_UNTOLD = ("ingress_bytes", "clock_hz")


def parse_mac(text: str) -> int:
    """A MAC address as a number."""
    return int(text.replace(":", ""), 16)


def format_mac(mac: int) -> str:
    """A number as a MAC address."""
    return ":".join(f"{byte:02x}" for byte in mac.to_bytes(6, "big"))


def _entries(router: RouterSpec) -> tuple[set[tuple[int, int, Role]], set[tuple[int, int, Role]]]:
    """A router's own entries and its peers' in the VMAC-VE table."""
    own = {(parse_mac(port.mac), port.port, Role.OWN) for port in router.ports}
    peers = {(parse_mac(mac), port.port, Role.PEER) for port in router.ports for mac in port.peers}
    return own, peers


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
    """

    def __init__(self, spec: NodeSpec, config: CoreConfig, store: AgentStore, events: EventLog) -> None:
        self.config = config
        self._store, self._events = store, events
        self._lock = threading.RLock()
        self._vmac: VmacTable | None = None
        self._windows = WindowPool(config)
        self._tables: dict[str, RouterTables] = {}
        self._specs: dict[str, RouterSpec] = {}
        self._attached: dict[str, Any] = {}
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
        entries = {entry for router in routers for part in _entries(router) for entry in part}
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
        WindowsFull, VmacFull, VmacTaken
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
        tables = self._tables.get(router.name)
        if tables is None:
            window = self._window(router)
            tables = RouterTables(self.driver, router.number, window, macs, guard=guard)
            fresh = not tables.adopt()
            if fresh:
                self.driver.clear_counters(router.number)
                tables.program_all()
            self._tables[router.name] = tables
            return self._set_entries(None, router) or fresh
        # Peers first: a guarded port must never be without those that it listens to.
        changed = self._set_entries(old, router)
        if old is None or [(port.port, port.mac, port.guard) for port in old.ports] != [
                (port.port, port.mac, port.guard) for port in router.ports]:
            tables.set_ports(macs, guard=guard)
            changed = True
        return changed

    def _window(self, router: RouterSpec) -> Window:
        saved = self._store.get("windows", {})
        self._windows.release(router.number)    # an attempt that failed may have them
        if router.name in saved:
            window = Window(*saved[router.name])
            self._windows.reserve(router.number, window)
            return window
        window = self._windows.allocate(router.number, router.fib_words, router.adjacencies)
        saved[router.name] = [window.fib_base, window.fib_size, window.adj_base, window.adj_size]
        self._store.set(windows=saved)
        return window

    def _set_entries(self, old: RouterSpec | None, router: RouterSpec) -> bool:
        """Bring a router's entries in the VMAC-VE table to what they should be."""
        if self._vmac is None:
            raise BoardError("the board is out of step: it is being programmed again")
        own, peers = _entries(router)
        wanted = own | peers
        stale = {(entry.mac, entry.port, entry.role) for entry in self._vmac if entry.router == router.number} - wanted
        writes: list[tuple[int, int]] = []
        for entry in sorted(stale):
            writes += self._vmac.remove(*entry)
        for entry in [*sorted(peers), *sorted(own)]:
            writes += self._vmac.insert(*entry, router.number)
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
                              "role": Role(fields["role"]).name.lower(),
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
                          "enable": bool(fields["enable"]), **ports,
                          "fib_base": fields["fib_base"], "fib_size": fields["fib_size"],
                          "adj_base": fields["adj_base"], "adj_size": fields["adj_size"]})
        return found

    def fib(self, name: str) -> list[dict[str, Any]]:
        """Routes of a router, read from the board."""
        tables = self._of(name)
        router = tables.router
        try:
            fib = read_fib(tables.window.fib_size, lambda rows: self.driver.read_rows(
                (Table.FIB, router, row) for row in rows))
        except ImageFault:
            # The tables changed while they were read.
            return tables.describe_routes()     # type: ignore[return-value]
        routes = sorted(fib.routes())
        rows = sorted({row for _, _, row in routes})
        contents = self.driver.read_rows((Table.ADJACENCY, router, row) for row in rows)
        adjacencies = dict(zip(rows, contents, strict=True))
        return [{"prefix": f"{IPv4Address(address)}/{length}", "adjacency": row} | self._adjacency(adjacencies[row])
                for address, length, row in routes]

    def adjacency(self, name: str) -> list[dict[str, Any]]:
        """Adjacencies of a router, read from the board."""
        tables = self._of(name)
        rows = self.driver.read_rows((Table.ADJACENCY, tables.router, row) for row in range(tables.window.adj_size))
        targets = {entry["row"]: entry for entry in tables.describe_adjacencies()}
        return [{"row": row} | self._adjacency(bits) | {"routes": targets.get(row, {}).get("users")}
                for row, bits in enumerate(rows) if bits]

    def _adjacency(self, bits: int) -> dict[str, Any]:
        fields = unpack(ADJACENCY_ROW, bits)
        try:
            kind = AdjacencyKind(fields["kind"])
        except ValueError:
            return {"kind": str(fields["kind"]), "port": None, "mac": None, "mtu": None}
        forward = kind is AdjacencyKind.FORWARD
        return {"kind": kind.name.lower(), "port": self.port_name(fields["port"]) if forward else None,
                "mac": format_mac(fields["mac"]) if forward else None, "mtu": fields["mtu"] if forward else None}

    def _of(self, name: str) -> RouterTables:
        if name not in self._tables:
            raise LookupError(f"there is no router {name} on this node; there are {', '.join(sorted(self._tables))}")
        return self._tables[name]
