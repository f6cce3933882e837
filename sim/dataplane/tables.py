"""Tables of the bench: routers whose FIBs are filled to the last word, by the host's own compiler."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from ...hdl.config import MOST_FILTER_RULES, CoreConfig
from ...hdl.layouts import (
    CONTEXT_ROW,
    MAX_OPS,
    PORT_ROW,
    QUOTA_ROW,
    AdjacencyKind,
    Opcode,
    Register,
    Role,
    Table,
    pack,
)
from ...host.tables.fib import ROOT_ROW, Fence, FibCompiler, FibFull, FibWrite
from ...host.tables.policy import ROUTER_POLICER, Bucket, FilterRule, filter_rows, policer_places
from ...host.tables.shares import reserved_cells
from ...host.tables.windows import LEAST_MAC_ROWS, filter_share, most_filter_rules
from ..host_frames import HostFrame, Op
from ..tablegen import RowWrite, VmacTable, adjacency_row, own_mac

__all__ = ["HOPS", "HOST_MAC", "BenchRouter", "Hop", "Prefix", "Requests", "deep_pairs", "fill", "nested",
           "router_config", "table_writes"]

#: Address and length.
Prefix = tuple[int, int]
#: Next hops that a router has on each port.
HOPS = 2
HOST_MAC = bytes.fromhex("02000000fefe")


@dataclass(frozen=True)
class Hop:
    """A next hop."""

    port: int
    mac: int


class _Lpm:
    """Longest prefix match the plain way: a dictionary for each length."""

    def __init__(self, bits: int):
        self.bits = bits
        self.by_length: dict[int, dict[int, int]] = {}
        self.lengths: list[int] = []

    def set(self, prefix: Prefix, result: int | None) -> None:
        address, length = prefix
        if length not in self.by_length:
            self.lengths = sorted([*self.lengths, length], reverse=True)
        entries = self.by_length.setdefault(length, {})
        if result is None:
            del entries[address >> self.bits - length]
        else:
            entries[address >> self.bits - length] = result

    def lookup(self, address: int) -> int | None:
        for length in self.lengths:
            found = self.by_length[length].get(address >> self.bits - length)
            if found is not None:
                return found
        return None


@dataclass
class BenchRouter:
    """A virtual router on all ports, with the routes of one address family.

    It has an equal share of every table; filter rules and a policer of its own, where it has been given some.
    """

    number: int
    config: CoreConfig
    ipv6: bool = False
    routes: dict[Prefix, int] = field(default_factory=dict)
    rules: Sequence[FilterRule] = ()
    policer: Bucket | None = None

    def __post_init__(self) -> None:
        self.window = self.config.fib_words // self.config.routers
        self.rows = self.config.adjacencies // self.config.routers
        self.filter_room = filter_share(self.config)
        self.fib = FibCompiler(self.window, self.bits)
        self.hops = [Hop(row % self.config.wired_ports, 0x06_00_00_00_00_00 | row << 24 | self.number << 8)
                     for row in range(min(self.rows, HOPS * self.config.wired_ports))]
        self._lpm = _Lpm(self.bits)

    @property
    def bits(self) -> int:
        """Bits of an address."""
        return 128 if self.ipv6 else 32

    def own(self, port: int) -> int:
        """Its MAC address on a port."""
        return own_mac(self.number, port)

    def change(self, changes: Iterable[tuple[Prefix, int | None]]) -> list[FibWrite | Fence]:
        """Give prefixes next hops, or withdraw them; what is to be written.

        Raises
        ------
        FibFull
            If there is no room; then nothing is changed.
        """
        wanted = list(changes)
        writes = self.fib.apply((address, length, hop) for (address, length), hop in wanted)
        for prefix, hop in wanted:
            self._lpm.set(prefix, hop)
            if hop is None:
                del self.routes[prefix]
            else:
                self.routes[prefix] = hop
        return writes

    def lookup(self, address: int) -> Hop | None:
        """Where a packet goes, by its longest prefix."""
        row = self._lpm.lookup(address)
        return None if row is None else self.hops[row]

    def inside(self, prefix: Prefix, rng: Random) -> int:
        """A random address of a prefix."""
        address, length = prefix
        return address | rng.getrandbits(self.bits) & (1 << self.bits - length) - 1

    def writes(self) -> list[RowWrite]:
        """All rows but those of the VMAC-VE table, context first."""
        mtu = self.config.max_frame - 18
        return [
            self.context(),
            RowWrite(Table.QUOTA, self.number, 0, pack(QUOTA_ROW, {"reserved": reserved_cells(self.config)})),
            *(RowWrite(Table.PORT, self.number, port, pack(PORT_ROW, {"mac": self.own(port)}))
              for port in range(self.config.wired_ports)),
            *(RowWrite(Table.ADJACENCY, self.number, row, adjacency_row(AdjacencyKind.FORWARD, hop.port, hop.mac, mtu))
              for row, hop in enumerate(self.hops)),
            *(RowWrite(Table.FIB, self.number, row, word) for row, word in sorted(self.fib.image().items())),
            *self._policy_writes(),
        ]

    def context(self, rules: int | None = None) -> RowWrite:
        """The context row; only the first so many rules are compared, or all."""
        everywhere = (1 << self.config.wired_ports) - 1
        policers = self._policers
        return RowWrite(Table.CONTEXT, self.number, 0, pack(CONTEXT_ROW, {
            "enable": 1, "ports": everywhere, "fib_base": self.number * self.window, "fib_size": self.window,
            "ipv4_root": ROOT_ROW, "ipv6_root": ROOT_ROW, "adj_base": self.number * self.rows, "adj_size": self.rows,
            "filter_base": self.number * self.filter_room, "filter_size": len(self.rules) if rules is None else rules,
            "policer_base": self.number * policers, "policer_size": policers}))

    @property
    def _policers(self) -> int:
        return self.config.policers // self.config.routers

    def _policy_writes(self) -> Iterator[RowWrite]:
        places = policer_places(tuple(self.rules), {}, self._policers)
        for row, (rule, action) in enumerate(filter_rows(tuple(self.rules), places)):
            yield RowWrite(Table.ACTION, self.number, row, action)
            yield RowWrite(Table.FILTER, self.number, row, rule)
        buckets = {ROUTER_POLICER: self.policer,
                   **{place: rule.police for rule, place in zip(self.rules, places, strict=True) if place is not None}}
        for row, bucket in buckets.items():
            if bucket is not None:
                yield RowWrite(Table.POLICER, self.number, row, bucket.policer_row())


def router_config(routers: int, **parameters: int) -> CoreConfig:
    """Parameters of a core with so many routers, and tables in which each has some room.

    For filter rules that is as many as line rate allows, as far as the table can be so large.
    """
    usual = CoreConfig(routers=routers)
    sizes = {"fib_words": max(usual.fib_words, 64 * routers),
             "adjacencies": max(usual.adjacencies, 2 * HOPS * usual.ports * routers),
             "filter_rules": min(MOST_FILTER_RULES, most_filter_rules(usual) * routers),
             "mac_rows": max(usual.mac_rows, LEAST_MAC_ROWS * routers)}
    return CoreConfig(routers=routers, **{**sizes, **parameters})


def fill(router: BenchRouter, prefixes: Iterable[Prefix], rng: Random, part: float = 1.0) -> None:
    """Give a router routes, in this order, until its window takes no more; or that part of them."""
    routes = [(prefix, rng.randrange(len(router.hops))) for prefix in dict.fromkeys(prefixes)]
    most, least = len(routes) + 1, 0
    while most - least > 1:
        count = (least + most) // 2
        if _fits(router, routes[:count]):
            least = count
        else:
            most = count
    router.change(routes[:int(least * part)])


def _fits(router: BenchRouter, routes: Iterable[tuple[Prefix, int]]) -> bool:
    # In a compiler of its own: one that was full once need not be as good as new.
    try:
        FibCompiler(router.window, router.bits).apply((address, length, hop) for (address, length), hop in routes)
    except FibFull:
        return False
    return True


def nested(rng: Random, bits: int) -> Iterator[Prefix]:
    """Prefixes of all lengths, half of them inside of others; without end."""
    seen: list[Prefix] = []
    while True:
        length = rng.randint(0, bits)
        base = rng.choice(seen)[0] if seen and rng.random() < 0.5 else rng.getrandbits(bits)
        noise = rng.getrandbits(bits) >> rng.randint(0, bits)
        prefix = (base ^ noise) >> bits - length << bits - length, length
        seen.append(prefix)
        yield prefix


def deep_pairs(rng: Random, bits: int) -> Iterator[Prefix]:
    """Host routes that differ in their last bit only, so that the walk goes down to the last node; without end."""
    while True:
        address = (1 << bits - 3 | rng.getrandbits(bits - 3)) & -2
        yield address, bits
        yield address | 1, bits


def table_writes(routers: Sequence[BenchRouter], rng: Random) -> list[RowWrite]:
    """All that is to be written for these routers, into empty tables."""
    config = routers[0].config
    vmac = VmacTable(config, (rng.getrandbits(64), rng.getrandbits(64)))
    for router in routers:
        for port in range(config.wired_ports):
            vmac.insert(router.own(port), port, Role.OWN, router.number)
    shared = config.cells - sum(reserved_cells(config) for _ in routers)
    return [RowWrite(Table.REGISTER, 0, Register.SHARED_CELLS, shared),
            *(write for router in routers for write in router.writes()), *vmac.writes()]


class Requests:
    """Makes REQUEST frames, with sequence numbers that go on from one call to the next."""

    def __init__(self) -> None:
        self.sequence = 0

    def rows(self, writes: Iterable[RowWrite], at: int = 0) -> list[tuple[int, int, bytes]]:
        """Frames that write rows."""
        return self._frames((write.ops() for write in writes), at)

    def operations(self, operations: Iterable[Op], at: int = 0) -> list[tuple[int, int, bytes]]:
        """Frames that carry single accesses."""
        return self._frames(([operation] for operation in operations), at)

    def fib(self, router: int, writes: Iterable[FibWrite | Fence], at: int = 0) -> list[tuple[int, int, bytes]]:
        """Frames that carry out what the FIB compiler gave."""
        return self._frames(([Op(Opcode.FENCE)] if isinstance(write, Fence)
                             else RowWrite(Table.FIB, router, write.row, write.word).ops() for write in writes), at)

    def _frames(self, groups: Iterable[list[Op]], at: int) -> list[tuple[int, int, bytes]]:
        frames: list[tuple[int, int, bytes]] = []
        waiting: list[Op] = []

        def send() -> None:
            if waiting:
                frame = HostFrame.request(self.sequence, waiting, source=HOST_MAC, sync=self.sequence == 0)
                frames.append((at, self.sequence, frame.to_bytes()))
                self.sequence += 1
                waiting.clear()

        for ops in groups:
            if len(waiting) + len(ops) > MAX_OPS:
                send()
            waiting += ops
        send()
        return frames
