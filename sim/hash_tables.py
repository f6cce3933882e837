"""The hash tables of the data plane, with two hashes of two ways each, as a host fills them."""

from typing import Generic, NamedTuple, TypeVar

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import TERMINATION_ROW, VMAC_ROW, Register, Role, Table, pack

from .golden_tables import termination_key, toeplitz_keys, vmac_hash, vmac_key
from .rows import RowWrite

__all__ = ["TerminationEntry", "TerminationTable", "VmacEntry", "VmacTable"]

MOST_MOVES = 500


class VmacEntry(NamedTuple):
    """What a slot of the VMAC-VE table says."""

    key: int
    router: int
    guard: int = 0

    @property
    def row(self) -> int:
        """The slot."""
        return pack(VMAC_ROW, {"valid": 1, "router": self.router, "guard": self.guard}) | self.key


class TerminationEntry(NamedTuple):
    """A tunnel that ends here."""

    key: int
    circuit: int

    @property
    def row(self) -> int:
        """The row."""
        return pack(TERMINATION_ROW, {"valid": 1, "circuit": self.circuit}) | self.key


Entry = TypeVar("Entry", VmacEntry, TerminationEntry)


class HashTable(Generic[Entry]):
    """Places entries by random-walk cuckoo hashing, all at once.

    Parameters
    ----------
    rows : int
        How many there are.
    seeds : tuple[int, int]
        Hash seeds.
    """

    def __init__(self, rows: int, seeds: tuple[int, int]):
        self.rows = rows
        self.seeds = seeds
        self.slots: dict[int, Entry] = {}

    def candidates(self, key: int) -> list[int]:
        """The four rows that a key may be in."""
        bits = self.rows.bit_length() - 3
        return [(k * 2 + way) << bits | vmac_hash(seed, key, bits)
                for k, seed in enumerate(toeplitz_keys(self.seeds)) for way in (0, 1)]

    def place(self, entry: Entry) -> None:
        """Add an entry.

        Raises
        ------
        OverflowError
            If no place was found.
        """
        for move in range(MOST_MOVES):
            rows = self.candidates(entry.key)
            free = next((row for row in rows if row not in self.slots), None)
            if free is not None:
                self.slots[free] = entry
                return
            victim = rows[(entry.key + move) % 4]
            self.slots[victim], entry = entry, self.slots[victim]
        raise OverflowError(f"no slot found after {MOST_MOVES} moves with {len(self.slots)} entries in {self.rows} "
                            "slots")


class VmacTable(HashTable[VmacEntry]):
    """The VMAC-VE table."""

    def __init__(self, config: CoreConfig, seeds: tuple[int, int]):
        super().__init__(config.vmac_slots, seeds)

    def insert(self, mac: int, port: int, role: Role, router: int, vid: int = 0, *, guard: int = 0) -> None:
        """Add an entry.

        Raises
        ------
        OverflowError
            If no place was found.
        """
        self.place(VmacEntry(vmac_key(mac, port, role, vid), router, guard))

    def writes(self) -> list[RowWrite]:
        """Hash seeds and all entries."""
        return [RowWrite(Table.REGISTER, 0, Register.HASH_SEED_0, self.seeds[0]),
                RowWrite(Table.REGISTER, 0, Register.HASH_SEED_1, self.seeds[1]),
                *(RowWrite(Table.VMAC, 0, row, entry.row) for row, entry in sorted(self.slots.items()))]


class TerminationTable(HashTable[TerminationEntry]):
    """The table of the tunnels that end here; with the seeds of the VMAC-VE table."""

    def __init__(self, config: CoreConfig, seeds: tuple[int, int]):
        super().__init__(config.circuits, seeds)

    def insert(self, router: int, kind: int, key: int, remote: int, circuit: int) -> None:
        """Add an entry.

        Raises
        ------
        OverflowError
            If no place was found.
        """
        self.place(TerminationEntry(termination_key(router, kind, key, remote), circuit))

    def writes(self) -> list[RowWrite]:
        """All entries."""
        return [RowWrite(Table.TERMINATION, 0, row, entry.row) for row, entry in sorted(self.slots.items())]
