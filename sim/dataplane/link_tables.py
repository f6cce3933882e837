"""Tables of the link bench: bridges, VNICs and an underlay, as the host would write them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random

from ...hdl.config import CoreConfig
from ...hdl.layouts import (
    CONTEXT_ROW,
    MAC_AGES,
    MAC_ROW,
    PORT_ROW,
    SHAPER_ROW,
    TUNNEL,
    AdjacencyKind,
    LinkKind,
    Role,
    RouterMode,
    Table,
    TunnelKind,
    pack,
)
from ..hash_tables import TerminationTable, VmacTable
from ..link_tables import link_write
from ..rows import RowWrite
from ..tablegen import Route, adjacency_row, fib_image

__all__ = ["LinkSite", "static_macs"]

#: Pairs of hash seeds that are tried.
_SEEDS = 50


def static_macs(router: int, size: int, places: Iterable[tuple[int, int, int]]) -> Iterator[RowWrite]:
    """Rows of a bridge's window of ``size`` rows for addresses that it is not to learn: (address, port, circuit).

    Raises
    ------
    OverflowError
        If the four rows that one may be in are taken.
    """
    taken: set[int] = set()
    for mac, port, circuit in places:
        offset = (mac ^ mac >> 16 ^ mac >> 32) & size - 1
        row = next((offset ^ j for j in range(4) if offset ^ j not in taken), None)
        if row is None:
            raise OverflowError(f"no row is left for {mac:#014x}")
        taken.add(row)
        yield RowWrite(Table.MAC, router, row, pack(
            MAC_ROW, {"mac": mac, "port": port, "static": 1, "age": MAC_AGES, "vid": circuit}))


@dataclass
class LinkSite:
    """Collects rows; :meth:`writes` gives all of them, in an order in which no frame comes too early.

    Parameters
    ----------
    config : CoreConfig
        With circuits.
    rng : Random
        Hash seeds.
    """

    config: CoreConfig
    rng: Random
    rows: list[RowWrite] = field(default_factory=list)
    entries: list[tuple[int, int, Role, int, int]] = field(default_factory=list)    # of the VMAC-VE table
    ends: list[tuple[int, int, int, int, int]] = field(default_factory=list)        # of TERMINATION
    macs_used: int = 0                  # rows of the MAC table that windows were given of

    @property
    def link_port(self) -> int:
        """Where circuits are."""
        return self.config.ports - 1

    def bridge(self, number: int, *, wires: Iterable[int] = (), circuits: Iterable[int] = (), flood: int = 0,
               macs: Iterable[tuple[int, int, int]] = (), mac_rows: int = 4, own: int | None = None,
               flow_seed: int = 0) -> None:
        """A bridge on ``wires`` and circuits, which knows ``macs`` and learns nothing; or a VNIC, which has an address.

        Parameters
        ----------
        number : int
            Its number.
        wires, circuits : iterables
            Ports without a VLAN, and circuits, all of which it owns the segments of.
        flood : int
            Circuit by which it floods.
        macs : iterable of (address, port, circuit)
        mac_rows : int
            Rows of its window, a power of two.
        own : int, optional
            Its address on every circuit; what is for it, or for a group, goes to the host.
        flow_seed : int
            Of the flow hash.
        """
        wires = list(wires)
        ports = sum(1 << port for port in (*wires, self.link_port))
        group = 0 if own is None else 1 << self.link_port
        self.rows += [
            RowWrite(Table.CONTEXT, number, 0, pack(CONTEXT_ROW, {
                "enable": 1, "mode": RouterMode.BRIDGED, "ports": ports, "group": group, "mac_base": self.macs_used,
                "mac_size": mac_rows, "ecmp_seed": flow_seed})),
            RowWrite(Table.PORT, number, self.link_port, pack(PORT_ROW, {"vid": flood})),
            *static_macs(number, mac_rows, macs),
        ]
        self.macs_used += mac_rows
        self.entries += [(0, port, Role.SEGMENT, number, 0) for port in wires]
        for circuit in circuits:
            self.entries.append((0, self.link_port, Role.SEGMENT, number, circuit))
            if own is not None:
                self.entries.append((own, self.link_port, Role.OWN, number, circuit))

    def direct(self, circuit: int, owner: int, peer: int, following: int = 0) -> None:
        """A circuit to another one, and the one that follows it in its list."""
        self.rows.append(link_write(circuit, router=owner, kind=LinkKind.DIRECT, peer=peer, next=following))

    def list_of(self, circuit: int, owner: int, first: int) -> None:
        """The circuit that stands for a list."""
        self.rows.append(link_write(circuit, router=owner, kind=LinkKind.LIST, next=first))

    def tunnel(self, circuit: int, owner: int, underlay: int, kind: TunnelKind, key: int, source: int,
               destination: int, *, ttl: int) -> dict[str, int]:
        """A circuit into a tunnel, and out of it by the same number; gives the tunnel's fields."""
        fields = {"kind": kind, "key": key, "source": source, "destination": destination, "tos": 0, "ttl": ttl}
        self.rows.append(link_write(circuit, router=owner, kind=LinkKind.TUNNEL, underlay=underlay, tunnel=fields))
        assert set(fields) == {str(name) for name, _ in TUNNEL}
        self.ends.append((underlay, kind, key, destination, circuit))
        return fields

    def underlay(self, number: int, address: int, macs: dict[int, int], peers: dict[int, tuple[int, int]]) -> None:
        """A router that tunnels end at.

        Parameters
        ----------
        number : int
            Its number.
        address : int
            IPv4 address of the tunnels' end.
        macs : dict
            Wire to own address.
        peers : dict
            IPv4 address of another end to the wire that it is behind, and the next hop's MAC address.
        """
        window, rows = self.config.fib_words // self.config.routers, self.config.adjacencies // self.config.routers
        mtu = self.config.max_frame - 18
        routes = [Route(address, 32, 0)] + [Route(peer, 32, 1 + k) for k, peer in enumerate(peers)]
        adjacencies = [adjacency_row(AdjacencyKind.LOCAL, 0, 0)] + [
            adjacency_row(AdjacencyKind.FORWARD, port, mac, mtu) for port, mac in peers.values()]
        ports = sum(1 << port for port in (*macs, self.link_port))
        self.rows += [
            RowWrite(Table.CONTEXT, number, 0, pack(CONTEXT_ROW, {
                "enable": 1, "mode": RouterMode.ROUTED, "ports": ports, "fib_base": number * window,
                "fib_size": window, "ipv6_root": 2, "adj_base": number * rows, "adj_size": rows, "tunnels": 1})),
            *(RowWrite(Table.PORT, number, port, pack(PORT_ROW, {"mac": mac})) for port, mac in macs.items()),
            *(RowWrite(Table.ADJACENCY, number, row, value) for row, value in enumerate(adjacencies)),
            *fib_image(routes).writes(number),
        ]
        self.entries += [(mac, port, Role.OWN, number, 0) for port, mac in macs.items()]

    def shaper(self, number: int, port: int, rate: int, burst: int) -> None:
        """A limit of what leaves by a port; registers of :class:`host.tables.rates.Rates`."""
        self.rows.append(RowWrite(Table.SHAPER, number, port, pack(
            SHAPER_ROW, {"rate": rate, "burst": burst, "limit": 1})))

    def writes(self) -> list[RowWrite]:
        """All rows.

        Raises
        ------
        OverflowError
            If a hash table has no place for an entry, whatever its seeds.
        """
        for _ in range(_SEEDS):
            seeds = self.rng.getrandbits(64), self.rng.getrandbits(64)
            vmac, ends = VmacTable(self.config, seeds), TerminationTable(self.config, seeds)
            try:
                for mac, port, role, number, vid in self.entries:
                    vmac.insert(mac, port, role, number, vid)
                for end in self.ends:
                    ends.insert(*end)
            except OverflowError:
                continue
            return [*self.rows, *ends.writes(), *vmac.writes()]
        raise OverflowError(f"no place for all entries with {_SEEDS} pairs of seeds")
