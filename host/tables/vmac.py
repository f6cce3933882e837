"""The VMAC-VE table: whose frames are whose, by MAC address, port, VLAN and role."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import VMAC_KEY_BITS, VMAC_ROW, Role, pack, unpack

from .cuckoo import CuckooFull, CuckooTable, Write

__all__ = ["VmacEntry", "VmacFull", "VmacKey", "VmacTable", "VmacTaken", "choose_seeds"]

#: IEEE 802.1Q, 9.6: 0xFFF is reserved.
_VIDS = 4095


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
    vid: int = 0            # VLAN id, 0 for untagged frames; at the link port the circuit
    guard: bool = False     # of a segment: its frames count only if their source is a peer of the router

    @property
    def key(self) -> "VmacKey":
        """What it is looked up by."""
        return self.mac, self.port, self.role, self.vid


#: MAC address, port, role and VLAN id.
VmacKey = tuple[int, int, Role, int]


def _key(mac: int, port: int, role: Role, vid: int) -> int:
    return pack(VMAC_ROW, {"mac": mac, "port": port, "vid": vid, "role": int(role)})


def _bits(entry: VmacEntry) -> int:
    return _key(*entry.key) | pack(VMAC_ROW, {"valid": 1, "router": entry.router,
                                                     "guard": int(entry.guard)})


def _entry(bits: int) -> VmacEntry:
    fields = unpack(VMAC_ROW, bits)
    return VmacEntry(fields["mac"], fields["port"], Role(fields["role"]), fields["router"], fields["vid"],
                     bool(fields["guard"]) and fields["role"] == Role.SEGMENT)


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
        self._rows = CuckooTable(config.vmac_index_bits, VMAC_KEY_BITS, seeds)
        self._entries: dict[VmacKey, VmacEntry] = {}
        self._of_router: dict[int, set[VmacKey]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[VmacEntry]:
        return iter(self._entries.values())

    @property
    def seeds(self) -> tuple[int, int]:
        """Seeds of the two hashes."""
        return self._rows.seeds

    def of_router(self, router: int) -> list[VmacEntry]:
        """A router's entries."""
        return [self._entries[key] for key in self._of_router.get(router, ())]

    def lookup(self, mac: int, port: int, role: Role, vid: int = 0) -> int | None:
        """Router of an entry, if there is one."""
        entry = self._entries.get((mac, port, role, vid))
        return None if entry is None else entry.router

    def insert(self, mac: int, port: int, role: Role, router: int, vid: int = 0, guard: bool = False) -> list[Write]:
        """Add an entry, or change its ``guard``, which is one atomic write.

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
        entry = self._checked(mac, port, role, router, vid, guard)
        owner = self.lookup(*entry.key)
        if owner not in (None, router):
            raise VmacTaken(f"{_describe(entry)} belongs to router {owner}, so router {router} can't have it: give it "
                            "another address")
        return self._put(entry)

    def assign(self, mac: int, port: int, role: Role, router: int, vid: int = 0) -> list[Write]:
        """Give an entry that is there to another router: one atomic write.

        Raises
        ------
        KeyError
            If there is no such entry.
        """
        entry = self._checked(mac, port, role, router, vid)
        return self._put(entry._replace(guard=self._entries[entry.key].guard))

    def remove(self, mac: int, port: int, role: Role, vid: int = 0) -> list[Write]:
        """Remove an entry, if it is there; returns the writes."""
        entry = self._entries.pop((mac, port, role, vid), None)
        if entry is None:
            return []
        self._of_router[entry.router].remove(entry.key)
        return self._rows.remove(_key(*entry.key))

    def remove_router(self, router: int) -> list[Write]:
        """Remove all entries of a router; returns the writes."""
        writes = []
        for entry in self.of_router(router):
            writes += self.remove(*entry.key)
        return writes

    def image(self) -> list[int]:
        """All rows, as the hardware has them when every write was done."""
        return self._rows.image()

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
        self._entries, self._of_router = {}, {}
        writes = self._rows.adopt(rows, self._makes_sense)
        for bits in self._rows.image():
            if bits:
                self._note(_entry(bits))
        return writes

    def _makes_sense(self, bits: int) -> bool:
        fields = unpack(VMAC_ROW, bits)
        return bool(fields["valid"] and fields["router"] < self.config.routers and fields["port"] < self.config.ports
                    and fields["role"] in list(Role))

    def _checked(self, mac: int, port: int, role: Role, router: int, vid: int, guard: bool = False) -> VmacEntry:
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
        if guard and role != Role.SEGMENT:
            raise ValueError(f"only a segment can be guarded, not an entry of role {Role(role).name}")
        return VmacEntry(mac, port, Role(role), router, vid, guard)

    def _put(self, entry: VmacEntry) -> list[Write]:
        try:
            writes = self._rows.put(_bits(entry))
        except CuckooFull:
            raise VmacFull(f"no slot for {_describe(entry)} of router {entry.router}: {len(self)} of "
                           f"{self.config.vmac_slots} are used and no chain of moves frees one of its four; remove "
                           "addresses, or build the core with more vmac_slots") from None
        self._note(entry)
        return writes

    def _note(self, entry: VmacEntry) -> None:
        before = self._entries.get(entry.key)
        if before is not None:
            self._of_router[before.router].remove(entry.key)
        self._entries[entry.key] = entry
        self._of_router.setdefault(entry.router, set()).add(entry.key)


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


def _neighbouring(config: CoreConfig, first: int) -> list[tuple[int, int, Role]]:
    """Consecutive addresses on all ports in both roles, for three quarters of the slots."""
    kinds = [(port, role) for port in range(config.ports) for role in (Role.OWN, Role.PEER)]
    return [(first + index // len(kinds), *kinds[index % len(kinds)])
            for index in range(config.vmac_slots * 3 // 4)]


def _fits(config: CoreConfig, seeds: tuple[int, int], entries: Sequence[tuple[int, int, Role] | VmacKey]) -> bool:
    table = VmacTable(config, seeds)
    try:
        for mac, port, role, *vid in entries:
            table.insert(mac, port, role, 0, vid[0] if vid else 0)
    except VmacFull:
        return False
    return True


def _describe(entry: VmacEntry) -> str:
    text = ":".join(f"{byte:02x}" for byte in entry.mac.to_bytes(6, "big"))
    where = f"on port {entry.port}" + (f", VLAN {entry.vid}" if entry.vid else "")
    if entry.role == Role.SEGMENT:
        return f"the segment {where}"
    return f"{entry.role.name.lower()} address {text} {where}"
