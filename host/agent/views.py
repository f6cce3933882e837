"""What a node's data plane has, as people and programs are shown it, read from the board when it is asked for."""

import threading
from collections.abc import Iterable
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
    Reason,
    Role,
    RouterMode,
    Table,
    unpack,
)

from ..board.driver import Driver
from ..ports import circuit, logical
from ..spec import RouterSpec
from ..tables.adopt import ImageFault
from ..tables.groups import COVERS
from ..tables.policy import ROUTER_POLICER
from ..tables.rates import Rates
from ..tables.router import RouterTables
from .policies import format_mac

__all__ = ["TableViews"]

_MODES = frozenset(RouterMode)


class TableViews:
    """Rows of a board's tables, with names instead of numbers.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the board.
    driver : Driver
        Reads them.
    mac_age : float
        Seconds after which bridges forget an address.
    """

    def __init__(self, config: CoreConfig, driver: Driver, mac_age: float) -> None:
        self.config, self.driver, self.mac_age = config, driver, mac_age
        self._lock = threading.RLock()
        self._tables: dict[str, RouterTables] = {}
        self._specs: dict[str, RouterSpec] = {}

    def port_name(self, port: int) -> str:
        """Name of a logical port for people."""
        if circuit(port):
            return f"circuit {circuit(port)}"
        return {self.config.host_port: "host", self.config.link_port: "link"}.get(port, f"p{port}")

    def router_name(self, number: int) -> str | None:
        """Name of a router by its number."""
        return next((name for name, router in self._specs.items() if router.number == number), None)

    def counters(self, number: int | None) -> list[dict[str, Any]]:
        """Frames by router, ingress port and reason; of all routers and of none if no number is given."""
        rows = []
        for router, name in self._names().items():
            if number in (None, router):
                carried = self.carried(name)
                rows += [{"router": name, "port": self.port_name(port), "reason": reason.name.lower(),
                          "frames": value + carried.get((port, reason), 0)}
                         for (port, reason), value in self.driver.read_counters(router).items()]
        return rows

    def carried(self, name: str) -> dict[tuple[int, Reason], int]:
        """What counters of a router were before its board began to count, by port and reason."""
        return {}

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
                at_link = fields["port"] == self.config.link_port
                role = Role(fields["role"])
                found.append({"mac": None if role is Role.SEGMENT else format_mac(fields["mac"]),
                              "port": self._place(fields), "vlan": None if at_link else fields["vid"] or None,
                              "role": role.name.lower(), "guard": bool(fields["guard"]),
                              "router": self.router_name(fields["router"]) or str(fields["router"]), "slot": row})
        return sorted(found, key=lambda entry: (entry["router"], entry["port"], entry["role"], entry["mac"] or ""))

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
                          **ports, **{name: bool(fields[name]) for name in ("multicast", "mirror", "learn", "tunnels")},
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
            ports = [*dict.fromkeys(port.port for port in router.ports), self.config.host_port]
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
                found.append({"mac": format_mac(fields["mac"]), "port": self._place(fields),
                              "static": bool(fields["static"]), "unseen_seconds": round(unseen), "row": row})
        return sorted(found, key=lambda entry: entry["mac"])

    def _rates(self) -> Rates:
        info = self.driver.info()
        return Rates(info.config.clock_hz, info.policer_cycles, info.shaper_cycles, self.config.max_frame)

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
            found |= {"port": self._place(fields), "mac": format_mac(fields["mac"]), "mtu": fields["mtu"]}
        elif kind is AdjacencyKind.ECMP:
            fields = unpack(ADJACENCY_ECMP, bits)
            found["members"] = [fields["first"], fields["count"]]
        elif kind is AdjacencyKind.MULTICAST:
            fields = unpack(ADJACENCY_MULTICAST, bits)
            ports = [port for port in range(self.config.ports) if fields["ports"] >> port & 1]
            ports += [self.config.host_port] * fields["host"]
            found |= {"port": self._place(fields), "mtu": fields["mtu"],
                      "ports": [self.port_name(port) for port in ports]}
        return found

    def _place(self, fields: dict[str, int]) -> str:
        """Port of a row, at the link port its circuit."""
        at_link = fields["port"] == self.config.link_port
        return self.port_name(logical(fields["port"], fields["vid"]) if at_link else fields["port"])

    def _of(self, name: str) -> RouterTables:
        if name not in self._tables:
            raise LookupError(f"there is no router {name} on this node; there are {', '.join(sorted(self._tables))}")
        return self._tables[name]
