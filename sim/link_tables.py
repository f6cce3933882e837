"""Circuits and ends of tunnels for tests, as row writes."""

from dataclasses import dataclass, field
from typing import Any

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import LINK_ROW, TUNNEL, Table, pack

from .hash_tables import TerminationTable
from .rows import RowWrite

__all__ = ["LinkTables", "link_write"]


def link_write(circuit: int, *, tunnel: dict[str, int] | None = None, **fields: int) -> RowWrite:
    """Row of a circuit, by field."""
    return RowWrite(Table.LINK, 0, circuit, pack(LINK_ROW, {**fields, "tunnel": pack(TUNNEL, tunnel or {})}))


@dataclass
class LinkTables:
    """Contents of the LINK and TERMINATION tables."""

    links: dict[int, dict[str, Any]] = field(default_factory=dict)              # circuit -> fields of its row
    ends: dict[tuple[int, int, int, int], int] = field(default_factory=dict)    # router, kind, key, remote -> circuit
    takers: dict[int, int] = field(default_factory=dict)    # circuit -> router that what comes in on it is for

    def owned(self, router: int) -> list[int]:
        """Circuits of a router."""
        return [circuit for circuit, link in self.links.items() if link["router"] == router]

    def taken(self, router: int) -> list[int]:
        """Circuits by which a router gets frames."""
        return [circuit for circuit, taker in self.takers.items() if taker == router]

    def terminations(self, config: CoreConfig, seeds: tuple[int, int]) -> TerminationTable:
        """The tunnels that end here, in place.

        Raises
        ------
        OverflowError
            If there is none for one of them.
        """
        table = TerminationTable(config, seeds)
        for (router, kind, key, remote), circuit in self.ends.items():
            table.insert(router, kind, key, remote, circuit)
        return table

    def writes(self, config: CoreConfig, seeds: tuple[int, int]) -> list[RowWrite]:
        """All rows.

        Raises
        ------
        OverflowError
            If there is no place for one.
        """
        return [*(link_write(circuit, **link) for circuit, link in self.links.items()),
                *self.terminations(config, seeds).writes()]
