"""The TERMINATION table: on which circuit the frames of a tunnel that ends here come in."""

from collections.abc import Collection, Mapping
from ipaddress import IPv4Address

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import TERMINATION_KEY, TERMINATION_ROW, Table, TunnelKind, pack, unpack

from .cuckoo import CuckooFull, CuckooTable, Write
from .writer import TableDriver

__all__ = ["TerminationTable", "TerminationsFull"]


class TerminationsFull(Exception):
    """There is no room for a tunnel's end; those before it are in the table."""


class TerminationTable:
    """Tunnels that end on a board, each with the circuit that its frames come in on.

    Parameters
    ----------
    driver : TableDriver
        The board.
    config : CoreConfig
        Its parameters; there must be circuits.
    seeds : tuple of int
        Seeds of the hashes, those of the VMAC-VE table.
    """

    def __init__(self, driver: TableDriver, config: CoreConfig, seeds: tuple[int, int]) -> None:
        self._driver, self._config = driver, config
        # Two hashes of two ways: as many rows as there are circuits.
        self._rows = CuckooTable(config.circuits.bit_length() - 3, TERMINATION_KEY.size, seeds)
        self._circuits: dict[int, int] = {}     # by key

    @property
    def circuits(self) -> dict[int, int]:
        """Circuits by the keys of the tunnels."""
        return dict(self._circuits)

    def adopt(self) -> None:
        """Take over what the board has."""
        rows = self._driver.read_rows((Table.TERMINATION, 0, row) for row in range(self._config.circuits))
        self._write(self._rows.adopt(dict(enumerate(rows)), self._makes_sense))
        self._circuits = {}
        for bits in filter(None, self._rows.image()):
            fields = unpack(TERMINATION_ROW, bits)
            self._circuits[pack(TERMINATION_KEY, {name: fields[name] for name, _ in TERMINATION_KEY})] = (
                fields["circuit"])

    def clear(self) -> None:
        """Write zeros, whatever the board has."""
        self._circuits = {}
        self._rows.adopt({}, self._makes_sense)
        self._write([(row, 0) for row in range(self._config.circuits)])

    def release(self, wanted: Mapping[int, int], circuits: Collection[int], routers: Collection[int] = ()) -> None:
        """Take tunnels out that are not wanted, or that lead to circuits or come in at routers that go."""
        gone = [key for key, circuit in self._circuits.items()
                if key not in wanted or circuit in circuits or unpack(TERMINATION_KEY, key)["router"] in routers]
        for key in gone:
            del self._circuits[key]
            self._write(self._rows.remove(key))

    def put(self, wanted: Mapping[int, int]) -> bool:
        """Have these tunnels; returns whether anything had to be written.

        Parameters
        ----------
        wanted : mapping of int to int
            Circuits by ``TERMINATION_KEY``.

        Raises
        ------
        TerminationsFull
            If there is no room for one of them.
        """
        changed = False
        for key, circuit in wanted.items():
            bits = key | pack(TERMINATION_ROW, {"circuit": circuit, "valid": 1})
            try:
                writes = self._rows.put(bits)
            except CuckooFull:
                raise TerminationsFull(
                    f"no row for {describe_key(key)}: {len(self._rows)} of {self._config.circuits} are used and no "
                    "chain of moves frees one of its four; remove tunnels, or build the core with more "
                    "circuits") from None
            self._circuits[key] = circuit
            self._write(writes)
            changed |= bool(writes)
        return changed

    def _write(self, writes: list[Write]) -> None:
        if writes:
            self._driver.write_rows((Table.TERMINATION, 0, row, bits) for row, bits in writes)

    def _makes_sense(self, bits: int) -> bool:
        fields = unpack(TERMINATION_ROW, bits)
        return bool(fields["valid"] and fields["router"] < self._config.routers
                    and 0 < fields["circuit"] < self._config.circuits)


def describe_key(key: int) -> str:
    """A tunnel's end in words."""
    fields = unpack(TERMINATION_KEY, key)
    kind = TunnelKind(fields["kind"])
    return (f"the {kind.name} tunnel with {'key' if kind is TunnelKind.GRE else 'VNI'} {fields['key']} from "
            f"{IPv4Address(fields['remote'])} to router {fields['router']}")
