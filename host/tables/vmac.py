"""The VMAC-VE table: cuckoo hashing with two hashes of two ways, paths chosen here, writes safe under traffic.

The hashes are those of ``docs/dataplane.md`` (Toeplitz). An insertion looks for the shortest chain of moves by breadth
first search and writes it from its end backwards: an entry is copied to its new slot before the old one is
overwritten, so a look-up finds every entry at any time (Pagh and Rodler 2004; the order of writes is that of MemC3,
Fan, Andersen and Kaminsky 2013).
"""

import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import VMAC_ROW, Role, pack, unpack

__all__ = ["VmacEntry", "VmacFull", "VmacKey", "VmacTable", "VmacTaken", "choose_seeds"]

_HASHES = 2
_SEED_BITS = 64
#: IEEE 802.1Q, 9.6: 0xFFF is reserved.
_VIDS = 4095
_WAYS = 2


class VmacFull(Exception):
    """No chain of moves leads to a free slot; the table is unchanged."""


class VmacTaken(Exception):
    """The address belongs to another router on that port; the table is unchanged."""


class VmacEntry(NamedTuple):
    """An entry of the table."""

    mac: int
    port: int
    role: Role
    router: int
    vid: int = 0            # VLAN id, 0 for untagged frames

    @property
    def key(self) -> "VmacKey":
        """What it is looked up by."""
        return self.mac, self.port, self.role, self.vid


#: MAC address, port, role and VLAN id.
VmacKey = tuple[int, int, Role, int]
Write = tuple[int, int]


def _key(mac: int, port: int, role: Role, vid: int) -> int:
    return pack(VMAC_ROW, {"mac": mac, "port": port, "vid": vid, "role": int(role)})


def _bits(entry: VmacEntry) -> int:
    return _key(*entry.key) | pack(VMAC_ROW, {"valid": 1, "router": entry.router})


class VmacTable:
    """What is in the VMAC-VE table of a board, and the writes that change it.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the board.
    seeds : tuple of int
        Seeds of the two hashes, as in the registers ``HASH_SEED_0`` and ``HASH_SEED_1``; they can't change while there
        are entries.
    """

    def __init__(self, config: CoreConfig, seeds: tuple[int, int]) -> None:
        self.config = config
        self.seeds = seeds
        self._slots: list[VmacEntry | None] = [None] * config.vmac_slots
        self._rows: dict[int, int] = {}         # key -> row

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[VmacEntry]:
        return (entry for row in self._rows.values() if (entry := self._slots[row]) is not None)

    def hash(self, k: int, mac: int, port: int, role: Role, vid: int = 0) -> int:
        """Hash ``k`` of a key."""
        seed = self.seeds[k] | self.seeds[1 - k] << _SEED_BITS
        return _toeplitz(seed, _key(mac, port, role, vid)) & (1 << self.config.vmac_index_bits) - 1

    def candidates(self, mac: int, port: int, role: Role, vid: int = 0) -> list[int]:
        """The four rows in which a key may be."""
        index_bits = self.config.vmac_index_bits
        return [(k * _WAYS + way) << index_bits | self.hash(k, mac, port, role, vid)
                for k in range(_HASHES) for way in range(_WAYS)]

    def lookup(self, mac: int, port: int, role: Role, vid: int = 0) -> int | None:
        """Router of an entry, if there is one."""
        row = self._rows.get(_key(mac, port, role, vid))
        entry = None if row is None else self._slots[row]
        return None if entry is None else entry.router

    def insert(self, mac: int, port: int, role: Role, router: int, vid: int = 0) -> list[Write]:
        """Add an entry.

        Returns
        -------
        list of (row, bits)
            Writes, to be done in this order; none if the entry is there already.

        Raises
        ------
        VmacTaken
            If the address is another router's on that port.
        VmacFull
            If there is no room for it.
        """
        entry = self._checked(mac, port, role, router, vid)
        owner = self.lookup(*entry.key)
        if owner == router:
            return []
        if owner is not None:
            raise VmacTaken(f"{_describe(entry)} belongs to router {owner}, so router {router} can't have it: give it "
                            "another address")
        path = self._find_path(entry)
        if path is None:
            raise VmacFull(f"no slot for {_describe(entry)} of router {router}: {len(self)} of "
                           f"{self.config.vmac_slots} are used and no chain of moves frees one of its four; remove "
                           "addresses, or build the core with more vmac_slots")
        writes = []
        # path: the row that the new entry gets, the row that its present entry moves to, ..., a free row
        for here, onward in reversed(list(pairwise(path))):
            moved = self._slots[here]
            assert moved is not None
            writes.append(self._put(onward, moved))
        writes.append(self._put(path[0], entry))
        return writes

    def assign(self, mac: int, port: int, role: Role, router: int, vid: int = 0) -> list[Write]:
        """Give an entry that is there to another router: one atomic write.

        Raises
        ------
        KeyError
            If there is no such entry.
        """
        entry = self._checked(mac, port, role, router, vid)
        row = self._rows[_key(*entry.key)]
        return [] if self._slots[row] == entry else [self._put(row, entry)]

    def remove(self, mac: int, port: int, role: Role, vid: int = 0) -> list[Write]:
        """Remove an entry, if it is there; returns the writes."""
        row = self._rows.pop(_key(mac, port, role, vid), None)
        if row is None:
            return []
        self._slots[row] = None
        return [(row, 0)]

    def remove_router(self, router: int) -> list[Write]:
        """Remove all entries of a router; returns the writes."""
        writes = []
        for entry in [entry for entry in self._slots if entry is not None and entry.router == router]:
            writes += self.remove(*entry.key)
        return writes

    def image(self) -> list[int]:
        """All rows, as the hardware has them when every write was done."""
        return [0 if entry is None else _bits(entry) for entry in self._slots]

    def adopt(self, rows: Mapping[int, int]) -> list[Write]:
        """Take over what a board has, for an agent that has just started.

        A key that is there twice (its move was interrupted) is removed from one slot; rows that no look-up can reach,
        or with numbers that the board does not have, are cleared.

        Parameters
        ----------
        rows : mapping of int to int
            Rows that were read, by number. Rows that are missing count as empty.

        Returns
        -------
        list of (row, bits)
            Writes that clean up.
        """
        self._slots = [None] * self.config.vmac_slots
        self._rows = {}
        writes = []
        for row, bits in sorted(rows.items()):
            fields = unpack(VMAC_ROW, bits)
            if not fields["valid"]:
                continue
            known = (fields["router"] < self.config.routers and fields["port"] < self.config.ports
                     and fields["role"] in list(Role))
            if not known:
                writes.append((row, 0))
                continue
            entry = VmacEntry(fields["mac"], fields["port"], Role(fields["role"]), fields["router"], fields["vid"])
            key = _key(*entry.key)
            if row not in self.candidates(*entry.key) or key in self._rows:
                writes.append((row, 0))
                continue
            self._slots[row] = entry
            self._rows[key] = row
        return writes

    def _checked(self, mac: int, port: int, role: Role, router: int, vid: int) -> VmacEntry:
        if role == Role.SEGMENT:
            if mac:
                raise ValueError(f"a segment has no MAC address, it must be 0, not {mac:#x}")
        elif not 0 <= mac < 1 << 48 or mac >> 40 & 1 or not mac:
            raise ValueError(f"a router's or peer's address must be a unicast MAC address, not {mac:#x}")
        if not 0 <= port < self.config.ports:
            raise ValueError(f"port must be 0 to {self.config.ports - 1}, not {port}")
        if not 0 <= router < self.config.routers:
            raise ValueError(f"router must be 0 to {self.config.routers - 1}, not {router}")
        if not 0 <= vid < _VIDS:
            raise ValueError(f"VLAN id must be 0 (untagged) to {_VIDS - 1}, not {vid}")
        return VmacEntry(mac, port, Role(role), router, vid)

    def _put(self, row: int, entry: VmacEntry) -> Write:
        self._slots[row] = entry
        self._rows[_key(*entry.key)] = row
        return row, _bits(entry)

    def _find_path(self, entry: VmacEntry) -> list[int] | None:
        came_from: dict[int, int | None] = {}
        queue: deque[int] = deque()
        for row in self.candidates(*entry.key):
            if row not in came_from:
                came_from[row] = None
                queue.append(row)
        while queue:
            row = queue.popleft()
            occupant = self._slots[row]
            if occupant is None:
                path: list[int] = []
                step: int | None = row
                while step is not None:
                    path.append(step)
                    step = came_from[step]
                return path[::-1]
            for other in self.candidates(*occupant.key):
                if other not in came_from:
                    came_from[other] = row
                    queue.append(other)
        return None


def choose_seeds(config: CoreConfig, entries: Iterable[tuple[int, int, Role] | VmacKey] = (), *,
                 source: random.Random | None = None) -> tuple[int, int]:
    """Seeds for a board that has just started.

    Seeds are random, so that nobody outside can choose addresses that collide. A Toeplitz hash is linear, and some
    seeds make many neighbouring addresses fall together: those are passed over.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the board.
    entries : iterable of (mac, port, role), and the VLAN id if there is one
        Entries that are known already; all of them will fit.
    source : random.Random
        Where random numbers come from; the operating system by default.

    Raises
    ------
    VmacFull
        If the entries fit under none of many seeds.
    """
    source = source or random.SystemRandom()
    known = list(entries)
    # Where a block of addresses starts matters little in a large table, and there a probe takes longer.
    probes = [_neighbouring(config, 0x02_00_00_00_00_00 + source.getrandbits(39))
              for _ in range(max(1, min(8, 4096 // config.vmac_slots)))]
    for _ in range(1000):
        seeds = (source.getrandbits(64), source.getrandbits(64))
        if _fits(config, seeds, known) and all(_fits(config, seeds, probe) for probe in probes):
            return seeds
    raise VmacFull(f"{len(known)} addresses do not fit the {config.vmac_slots} slots of the VMAC-VE table: use "
                   "fewer, or build the core with more vmac_slots")


def _toeplitz(seed: int, key: int) -> int:
    result = 0
    while key:
        lowest = key & -key
        result ^= seed >> lowest.bit_length() - 1
        key ^= lowest
    return result


def _neighbouring(config: CoreConfig, first: int) -> list[tuple[int, int, Role]]:
    """Consecutive addresses on all ports in both roles, for three quarters of the slots."""
    kinds = [(port, role) for port in range(config.ports) for role in (Role.OWN, Role.PEER)]
    return [(first + index // len(kinds), *kinds[index % len(kinds)])
            for index in range(config.vmac_slots * 3 // 4)]


def _fits(config: CoreConfig, seeds: tuple[int, int], entries: Sequence[tuple[int, int, Role] | VmacKey]) -> bool:
    table = VmacTable(config, seeds)
    try:
        for mac, port, role, *vid in entries:
            table.insert(mac, port, role, 0, *vid)
    except VmacFull:
        return False
    return True


def _describe(entry: VmacEntry) -> str:
    text = ":".join(f"{byte:02x}" for byte in entry.mac.to_bytes(6, "big"))
    where = f"on port {entry.port}" + (f", VLAN {entry.vid}" if entry.vid else "")
    if entry.role == Role.SEGMENT:
        return f"the segment {where}"
    return f"{entry.role.name.lower()} address {text} {where}"
