"""Tables of the golden model: raw rows, read through the layouts, and the look-ups that ``docs/dataplane.md`` has."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from amaranth.lib import data
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    ADDRESS_BITS,
    ADJACENCY_ROW,
    CONTEXT_ROW,
    FIB_BRANCH,
    FIB_LEAF,
    FIB_LEVELS,
    FIB_LEVELS_IPV6,
    RESULTS_PER_WORD,
    ROWS,
    VMAC_ROW,
    AdjacencyKind,
    Register,
    Role,
    RouterMode,
    Table,
)

__all__ = ["Adjacency", "Branch", "Context", "Leaf", "RouteFault", "Tables", "vmac_hash", "vmac_key"]

RESULT_BITS = 18
LEAF_BITS = FIB_LEAF["bits"].width


class RouteFault(Exception):
    """A walk of the FIB, or the adjacency that it found, is outside of the router's window."""


class Context(NamedTuple):
    """A router's context registers."""

    enable: int
    mode: int
    ports: int
    group: int
    guard: int
    fib_base: int
    fib_size: int
    ipv4_root: int
    adj_base: int
    adj_size: int
    ipv6_root: int

    @property
    def routed(self) -> bool:
        """Whether the router takes frames at all."""
        return bool(self.enable) and self.mode == RouterMode.ROUTED


class Adjacency(NamedTuple):
    """A next hop, or what to do instead."""

    kind: int
    port: int
    mac: int
    mtu: int


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


@dataclass(frozen=True)
class _VmacSlot:
    key: int
    router: int


def _decoder(layout: data.StructLayout, names: tuple[str, ...]):
    fields = [(layout[name].offset, (1 << layout[name].width) - 1) for name in names]

    def decode(bits: int) -> list[int]:
        return [bits >> offset & mask for offset, mask in fields]

    return decode


_context = _decoder(CONTEXT_ROW, Context._fields)
_adjacency = _decoder(ADJACENCY_ROW, Adjacency._fields)
_branch = _decoder(FIB_BRANCH, Branch._fields)
_leaf = _decoder(FIB_LEAF, Leaf._fields)
_vmac = _decoder(VMAC_ROW, ("mac", "port", "role", "valid", "router"))


def vmac_key(mac: int, port: int, role: Role) -> int:
    """Key of a VMAC-VE entry."""
    return mac | port << 48 | role << 52


@lru_cache(maxsize=1 << 16)
def vmac_hash(seed: int, key: int, index_bits: int) -> int:
    """Toeplitz hash of a VMAC-VE key: the seed, shifted by the position of every set bit, added without carry."""
    result = 0
    while key:
        low = key & -key
        result ^= seed >> (low.bit_length() - 1)
        key ^= low
    return result & (1 << index_bits) - 1


class Tables:
    """All tables but the computed ones (INFO, QUEUE), as raw rows; a row that was never written is zero.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    counters : dict[tuple[int, int, int], int]
        Counters that are not zero, by router, ingress port and reason.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        self.counters: dict[tuple[int, int, int], int] = {}
        self._rows: dict[Table, dict[int, int]] = {
            table: {} for table in (Table.REGISTER, Table.VMAC, Table.CONTEXT, Table.PORT, Table.FIB, Table.ADJACENCY)}
        self._contexts: dict[int, Context] = {}
        self._adjacencies: dict[int, Adjacency] = {}
        self._words: dict[int, Branch | Leaf] = {}
        self._slots: dict[int, _VmacSlot | None] = {}

    # Raw rows

    def address(self, table: Table, router: int, row: int) -> int:
        """Row of the memory that (``router``, ``row``) of the control engine means; window checks are the caller's."""
        match table:
            case Table.CONTEXT:
                return router
            case Table.PORT:
                return router * self.config.ports + row
            case Table.FIB:
                return self.context(router).fib_base + row
            case Table.ADJACENCY:
                return self.context(router).adj_base + row
            case _:
                return row

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
            return
        address = self.address(table, router, row)
        self._rows[table][address] = value
        cache: dict[Table, dict] = {Table.CONTEXT: self._contexts, Table.ADJACENCY: self._adjacencies,
                                    Table.FIB: self._words, Table.VMAC: self._slots}
        cache.get(table, {}).pop(address, None)

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
        context = self._contexts.get(router)
        if context is None:
            context = self._contexts[router] = Context(*_context(self._rows[Table.CONTEXT].get(router, 0)))
        return context

    def own_mac(self, router: int, port: int) -> int:
        """A router's own MAC address on a port."""
        return self._rows[Table.PORT].get(router * self.config.ports + port, 0)

    def vmac(self, mac: int, port: int, role: Role) -> int | None:
        """Router of the VMAC-VE entry for these three, if there is one."""
        key = vmac_key(mac, port, role)
        bits = self.config.vmac_index_bits
        for k, register in enumerate((Register.HASH_SEED_0, Register.HASH_SEED_1)):
            index = vmac_hash(self.register(register), key, bits)
            for way in (0, 1):
                slot = self._slot((k * 2 + way) << bits | index)
                if slot is not None and slot.key == key:
                    return slot.router
        return None

    def _slot(self, row: int) -> _VmacSlot | None:
        if row not in self._slots:
            mac, port, role, valid, router = _vmac(self._rows[Table.VMAC].get(row, 0))
            known = valid and router < self.config.routers
            self._slots[row] = _VmacSlot(vmac_key(mac, port, Role(role)), router) if known else None
        return self._slots[row]

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

    def adjacency(self, context: Context, row: int) -> Adjacency:
        """An adjacency of a router.

        Raises
        ------
        RouteFault
            If ``row`` is outside the window or the table, or its kind is one that means nothing.
        """
        address = context.adj_base + row
        if row >= context.adj_size or address >= self.config.adjacencies:
            raise RouteFault
        adjacency = self._adjacencies.get(address)
        if adjacency is None:
            bits = self._rows[Table.ADJACENCY].get(address, 0)
            adjacency = self._adjacencies[address] = Adjacency(*_adjacency(bits))
        if adjacency.kind not in _KINDS:
            raise RouteFault
        return adjacency


_KINDS = frozenset(AdjacencyKind) - {AdjacencyKind.INVALID}
