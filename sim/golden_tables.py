"""Tables of the golden model: raw rows, read through the layouts, and the look-ups that ``docs/dataplane.md`` has."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    ADDRESS_BITS,
    ECMP_HASH_BITS,
    FIB_BRANCH,
    FIB_LEAF,
    FIB_LEVELS,
    FIB_LEVELS_IPV6,
    RESULTS_PER_WORD,
    ROWS,
    TERMINATION_KEY,
    VMAC_ROW,
    AdjacencyKind,
    HitStat,
    Register,
    Role,
    Table,
    pack,
)

from .golden_rows import (
    LAYOUTS,
    Adjacency,
    Context,
    Ecmp,
    Link,
    Multicast,
    Policer,
    Port,
    Termination,
    VmacSlot,
    decoder,
)

__all__ = ["Adjacency", "Branch", "Context", "Leaf", "Multicast", "RouteFault", "Tables", "flow_hash",
           "termination_key", "toeplitz_keys", "vmac_hash", "vmac_key"]

Row = TypeVar("Row")

RESULT_BITS = 18
LEAF_BITS = FIB_LEAF["bits"].width


class RouteFault(Exception):
    """A walk of the FIB, or the adjacency that it found, is outside of the router's window."""


class Branch(NamedTuple):
    """A node of the tree bitmap."""

    leaf: int
    internal: int
    external: int
    child: int
    result: int


class Leaf(NamedTuple):
    """A subtree with a single prefix."""

    leaf: int
    length: int
    bits: int
    result: int


_branch = decoder(FIB_BRANCH, Branch._fields)
_leaf = decoder(FIB_LEAF, Leaf._fields)
_KEY_SHIFTS = {"port": VMAC_ROW["port"].offset, "vid": VMAC_ROW["vid"].offset, "role": VMAC_ROW["role"].offset}


def vmac_key(mac: int, port: int, role: int, vid: int = 0) -> int:
    """Key of a VMAC-VE entry: the low bits of its row."""
    return mac | port << _KEY_SHIFTS["port"] | vid << _KEY_SHIFTS["vid"] | role << _KEY_SHIFTS["role"]


def termination_key(router: int, kind: int, key: int, remote: int) -> int:
    """Key of a tunnel that ends here: the low bits of its row."""
    return pack(TERMINATION_KEY, {"router": router, "kind": kind, "key": key, "remote": remote})


def toeplitz_keys(seeds: tuple[int, int]) -> tuple[int, int]:
    """Keys K_0 and K_1 of the two hashes, from the registers."""
    return seeds[0] | seeds[1] << 64, seeds[1] | seeds[0] << 64


@lru_cache(maxsize=1 << 16)
def vmac_hash(seed: int, key: int, index_bits: int) -> int:
    """Toeplitz hash: ``seed`` shifted right by the position of every set bit of ``key``, added without carry."""
    result = 0
    while key:
        low = key & -key
        result ^= seed >> (low.bit_length() - 1)
        key ^= low
    return result & (1 << index_bits) - 1


def flow_hash(context: Context, flow_key: int) -> int:
    """Flow hash of a router."""
    return vmac_hash(context.ecmp_seed, flow_key, ECMP_HASH_BITS)


class Tables:
    """All tables but the computed ones (INFO, QUEUE) and the board's (BOARD), as raw rows.

    A row that was never written is zero.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.
    disabled : Callable[[], bool]
        Whether no router is enabled, whatever its context row says.

    Attributes
    ----------
    counters : dict[tuple[int, int, int], int]
        Counters that are not zero, by router, ingress port and reason.
    """

    def __init__(self, config: CoreConfig, disabled: Callable[[], bool] = lambda: False):
        self.config = config
        self.disabled = disabled
        self.counters: dict[tuple[int, int, int], int] = {}
        #: Bytes that are in the bucket of each row of the policer table that was written.
        self.tokens: dict[int, int] = {}
        self._rows: dict[Table, dict[int, int]] = {table: {} for table in _STORED}
        self._rows[Table.REGISTER][Register.SHARED_CELLS] = config.cells
        self._decoded: dict[tuple[Table, type], dict[int, Any]] = {}
        self._words: dict[int, Branch | Leaf] = {}

    # Raw rows

    def address(self, table: Table, router: int, row: int) -> int:
        """Row of the memory that (``router``, ``row``) of the control engine means; window checks are the caller's."""
        match table:
            case Table.CONTEXT | Table.QUOTA:
                return router
            case Table.PORT:
                return router * self.config.ports + row
            case Table.SHAPER:
                return router * self.config.all_ports + row
            case Table.HIT:
                return self.context(router).filter_base * len(HitStat) + row
            case _:
                window = self.window(table, router)
                return row if window is None else window[0] + row

    def window(self, table: Table, router: int) -> tuple[int, int, int] | None:
        """Base and size of a router's window of a table, and the rows of the table; None if it has no windows."""
        context, config = self.context(router), self.config
        match table:
            case Table.FIB:
                return context.fib_base, context.fib_size, config.fib_words
            case Table.ADJACENCY:
                return context.adj_base, context.adj_size, config.adjacencies
            case Table.FILTER | Table.ACTION | Table.HIT:
                return context.filter_base, context.filter_size, config.filter_rules
            case Table.POLICER:
                return context.policer_base, context.policer_size, config.policers
            case Table.MAC:
                return context.mac_base, context.mac_size, config.mac_rows
            case _:
                return None

    def read(self, table: Table, router: int, row: int) -> int:
        """A row, whole."""
        if table == Table.COUNTER:
            return self.counters.get((router, row >> 5, row & 31), 0)
        return self._rows[table].get(self.address(table, router, row), 0)

    def write(self, table: Table, router: int, row: int, value: int) -> None:
        """Put a row in place, whole; bits that the row does not have are cut off."""
        value &= (1 << ROWS[table]) - 1
        if table == Table.COUNTER:
            self.counters[router, row >> 5, row & 31] = value
        else:
            self.write_at(table, self.address(table, router, row), value)

    def write_at(self, table: Table, address: int, value: int) -> None:
        """Put a row of the memory in place."""
        self._rows[table][address] = value
        for (of, _), rows in self._decoded.items():
            if of == table:
                rows.pop(address, None)
        if table == Table.FIB:
            self._words.pop(address, None)
        elif table == Table.POLICER:
            self.tokens[address] = self.row(table, Policer, address).burst

    def row(self, table: Table, kind: type[Row], address: int) -> Row:
        """A row of the memory, decoded."""
        rows = self._decoded.setdefault((table, kind), {})
        if address not in rows:
            rows[address] = kind(*_DECODERS[kind](self._rows[table].get(address, 0)))
        return rows[address]

    def count(self, router: int, port: int, reason: int) -> None:
        """Count an event."""
        key = (router, port, reason)
        self.counters[key] = self.counters.get(key, 0) + 1 & (1 << 64) - 1

    # Look-ups

    def register(self, register: Register) -> int:
        """A register's value."""
        return self._rows[Table.REGISTER].get(register, 0)

    def context(self, router: int) -> Context:
        """Context registers of a router."""
        context = self.row(Table.CONTEXT, Context, router)
        return context._replace(enable=0) if self.disabled() else context

    def port(self, router: int, port: int) -> Port:
        """What a router is on a port."""
        return self.row(Table.PORT, Port, router * self.config.ports + port)

    def own_mac(self, router: int, port: int) -> int:
        """A router's own MAC address on a port."""
        return self.port(router, port).mac

    def data_ports(self, mask: int) -> tuple[int, ...]:
        """The ports of a mask of which a core with fewer than eight ports has only some."""
        return tuple(port for port in range(self.config.ports) if mask >> port & 1)

    def other_ports(self, mask: int, port: int) -> tuple[int, ...]:
        """The same without the port that a frame came in at; but the link port is many places."""
        return tuple(other for other in self.data_ports(mask) if other != port or other == self.config.link_port)

    def count_hit(self, rule: int, length: int) -> None:
        """Count a frame that matched a rule of the memory."""
        rows = self._rows[Table.HIT]
        for stat, more in (HitStat.FRAMES, 1), (HitStat.BYTES, length):
            address = rule * len(HitStat) + stat
            rows[address] = rows.get(address, 0) + more & (1 << ROWS[Table.HIT]) - 1

    @property
    def hits(self) -> dict[int, int]:
        """Rows of the hit table's memory that are not zero."""
        return {address: value for address, value in self._rows[Table.HIT].items() if value}

    def vmac(self, mac: int, port: int, role: Role, vid: int = 0) -> VmacSlot | None:
        """The VMAC-VE entry for these four, if there is one."""
        key = vmac_key(mac, port, role, vid)
        for row in self._hash_rows(key, self.config.vmac_index_bits):
            slot = self.row(Table.VMAC, VmacSlot, row)
            if (slot.valid and slot.router < self.config.routers
                    and vmac_key(slot.mac, slot.port, slot.role, slot.vid) == key):
                return slot
        return None

    def termination(self, router: int, kind: int, key: int, remote: int) -> Termination | None:
        """The tunnel that ends here and to which a packet for ``router`` belongs."""
        wanted = router, kind, key, remote
        for address in self._hash_rows(termination_key(*wanted), self.config.circuits.bit_length() - 3):
            row = self.row(Table.TERMINATION, Termination, address)
            if row.valid and row[:4] == wanted:
                return row
        return None

    def _hash_rows(self, key: int, index_bits: int) -> Iterator[int]:
        """Rows that a key may be in: two hashes of two ways."""
        seeds = self.register(Register.HASH_SEED_0), self.register(Register.HASH_SEED_1)
        for k, seed in enumerate(toeplitz_keys(seeds)):
            index = vmac_hash(seed, key, index_bits)
            for way in (0, 1):
                yield (k * 2 + way) << index_bits | index

    def link(self, circuit: int) -> Link | None:
        """A circuit, if there can be one of this number."""
        return self.row(Table.LINK, Link, circuit) if 0 < circuit < self.config.circuits else None

    def fib_row(self, context: Context, row: int) -> int:
        """Address of a word of a router's FIB window.

        Raises
        ------
        RouteFault
            If ``row`` is outside the window or the pool.
        """
        address = context.fib_base + row
        if row >= context.fib_size or address >= self.config.fib_words:
            raise RouteFault
        return address

    def _word(self, address: int) -> Branch | Leaf:
        word = self._words.get(address)
        if word is None:
            bits = self._rows[Table.FIB].get(address, 0)
            fields = _branch(bits)
            word = self._words[address] = Leaf(*_leaf(bits)) if fields[0] else Branch(*fields)
        return word

    def route(self, context: Context, destination: int, *, ipv6: bool = False, source: int | None = None
              ) -> int | None:
        """Walk a router's FIB: the adjacency, relative to the router's window, for a destination address.

        With ``source``, the destination is a multicast group: what is found for it is the root of a second trie.

        Raises
        ------
        RouteFault
            If the walk leaves the window, or does not end.
        """
        root = context.ipv6_root if ipv6 else context.ipv4_root
        result = self._walk(context, root, destination, ipv6)
        if source is not None and result is not None:
            result = self._walk(context, result, source, ipv6)
        return result

    def _walk(self, context: Context, root: int, address: int, ipv6: bool) -> int | None:
        bits = ADDRESS_BITS if ipv6 else 32
        a = address << ADDRESS_BITS - bits
        row = root + (a >> ADDRESS_BITS - 1)
        a = a << 1 & (1 << ADDRESS_BITS) - 1
        indirect: int | None = None
        for _ in range(FIB_LEVELS_IPV6 if ipv6 else FIB_LEVELS):
            word = self._word(self.fib_row(context, row))
            if isinstance(word, Leaf):
                length = min(word.length, LEAF_BITS)
                if a >> ADDRESS_BITS - length == word.bits >> LEAF_BITS - length:
                    return word.result
                break
            for length in (3, 2, 1, 0):
                position = (1 << length) - 1 + (a >> ADDRESS_BITS - length)
                if word.internal >> position & 1:
                    indirect = word.result + (word.internal & (1 << position) - 1).bit_count()
                    break
            branch = a >> ADDRESS_BITS - 4
            if not word.external >> branch & 1:
                break
            row = word.child + (word.external & (1 << branch) - 1).bit_count()
            a = a << 4 & (1 << ADDRESS_BITS) - 1
        else:
            raise RouteFault
        if indirect is None:
            return None
        results = self._rows[Table.FIB].get(self.fib_row(context, indirect // RESULTS_PER_WORD), 0)
        return results >> RESULT_BITS * (indirect % RESULTS_PER_WORD) & (1 << RESULT_BITS) - 1

    def _adjacency_row(self, context: Context, row: int, kind: type[Row]) -> Row:
        address = context.adj_base + row
        if row >= context.adj_size or address >= self.config.adjacencies:
            raise RouteFault
        return self.row(Table.ADJACENCY, kind, address)

    def adjacency(self, context: Context, row: int) -> Adjacency:
        """An adjacency of a router.

        Raises
        ------
        RouteFault
            If ``row`` is outside the window or the table, or its kind is the invalid one.
        """
        adjacency = self._adjacency_row(context, row, Adjacency)
        if adjacency.kind == AdjacencyKind.INVALID:
            raise RouteFault
        return adjacency

    def next_hop(self, context: Context, row: int, flow_key: int) -> Adjacency:
        """An adjacency of a router, for a flow if it is one of several.

        Raises
        ------
        RouteFault
            As :meth:`adjacency`; also if a group has no members, or groups as members.
        """
        adjacency = self.adjacency(context, row)
        if adjacency.kind != AdjacencyKind.ECMP:
            return adjacency
        group = self._adjacency_row(context, row, Ecmp)
        if not group.count:
            raise RouteFault
        hashed = flow_hash(context, flow_key)
        adjacency = self.adjacency(context, group.first + (hashed * group.count >> ECMP_HASH_BITS))
        if adjacency.kind == AdjacencyKind.ECMP:
            raise RouteFault
        return adjacency

    def group_ports(self, context: Context, row: int) -> Multicast:
        """An adjacency of a router, as one of a multicast group.

        Raises
        ------
        RouteFault
            If ``row`` is outside the window or the table.
        """
        return self._adjacency_row(context, row, Multicast)


_STORED = frozenset(Table) - {Table.INFO, Table.COUNTER, Table.QUEUE, Table.BOARD}
_DECODERS = {kind: decoder(layout, kind._fields) for kind, layout in LAYOUTS.items()}   # type: ignore[attr-defined]
