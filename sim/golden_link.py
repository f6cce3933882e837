"""Link engine of the golden model: "The link port" of ``docs/dataplane.md``."""

from collections.abc import Iterator
from typing import NamedTuple

from polyrouter.hdl.layouts import LinkKind, Reason

from .golden_packet import Hop
from .golden_rewrite import tagged
from .golden_rows import Link
from .golden_tables import Tables
from .golden_tunnel import decapsulated, encapsulated

__all__ = ["Arrival", "Departure", "LinkEngine"]

FCS_BYTES = 4
#: PCP and DEI of a tag.
PRIORITY = 0xF000


class Departure(NamedTuple):
    """A frame that leaves at the link port."""

    router: int                 # that sent it
    octets: bytes               # without its tag
    tci: int | None             # what that says
    came_by: int                # circuit by which it came in, if its tag was not replaced; else 0
    flow_hash: int              # as it was when the router looked it up
    path: tuple[Hop, ...]


class Arrival(NamedTuple):
    """A frame that comes in at the link port."""

    octets: bytes
    path: tuple[Hop, ...]
    given: int | None = None    # router that it is given to


class LinkEngine:
    """Takes what leaves at the link port, and has it come in again there.

    Parameters
    ----------
    tables : Tables
        Circuits and ends of tunnels; also what counts the drops.
    """

    def __init__(self, tables: Tables):
        self.tables = tables
        self.config = tables.config

    def take(self, departure: Departure) -> list[Arrival]:
        """Frames that come in again for one that leaves, in order."""
        if departure.tci is None:
            return self._out_of_tunnel(departure)
        circuit, router = departure.tci & 0xFFF, departure.router
        link = self.tables.link(circuit)
        if link is None or link.kind == LinkKind.NONE or link.router != router:
            return self._drop(router, Reason.DROP_FAULT)
        if circuit == departure.came_by:
            return []
        if link.kind != LinkKind.LIST:
            return self._onto(link, departure.tci, departure)
        return [arrival for member in self._members(link, departure)
                for arrival in self._onto(member, departure.tci, departure)]

    def _members(self, head: Link, departure: Departure) -> Iterator[Link]:
        """Circuits of a list that a frame goes to."""
        came_by = self.tables.link(departure.came_by)
        from_tunnel = came_by is not None and came_by.kind == LinkKind.TUNNEL
        number = head.next
        for _ in range(self.config.circuits):
            link = self.tables.link(number)
            if link is None:
                return
            if (number != departure.came_by and link.kind in (LinkKind.DIRECT, LinkKind.TUNNEL)
                    and link.router == departure.router
                    and not (from_tunnel and link.kind == LinkKind.TUNNEL)):
                yield link
            number = link.next

    def _onto(self, link: Link, tci: int, departure: Departure) -> list[Arrival]:
        """A frame with a tag onto a circuit of kind DIRECT or TUNNEL."""
        if link.kind == LinkKind.DIRECT:
            return [Arrival(tagged(departure.octets, tci & PRIORITY | link.peer), departure.path)]
        outer = encapsulated(departure.octets, link.headers, departure.flow_hash)
        if len(outer) > self.config.max_frame - FCS_BYTES:
            return self._drop(departure.router, Reason.DROP_LENGTH)
        return [Arrival(outer, departure.path, link.underlay)]

    def _out_of_tunnel(self, departure: Departure) -> list[Arrival]:
        inner = decapsulated(departure.octets)
        if inner is None:
            return self._drop(departure.router, Reason.DROP_MALFORMED)
        end = self.tables.termination(departure.router, inner.kind, inner.key, inner.remote)
        if end is None:
            return self._drop(departure.router, Reason.DROP_NO_ROUTER)
        return [Arrival(tagged(inner.octets, end.circuit), departure.path)]

    def _drop(self, router: int, reason: Reason) -> list[Arrival]:
        self.tables.count(router, self.config.ports - 1, reason)
        return []
