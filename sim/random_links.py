"""Random circuits: wires between routers, lists for floods, tunnels inside of a core and out of it, and wrong rows."""

from collections.abc import Iterator
from random import Random
from typing import Any

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import LINK_ROW, LinkKind, TunnelKind

from .link_tables import LinkTables

__all__ = ["ENDS", "KEYS", "OUTSIDE", "OUTSIDE_BITS", "other_link", "random_links", "tunnel_end"]

#: Virtual networks; VNIs are the low 24 bits, so that some are alike as VNIs only.
KEYS = (0, 1, 0xABCDEF, 0x01ABCDEF, 0xFFFFFFFF)
#: Network of the tunnels' ends that are outside: 203.0.113.0/24 (RFC 5737).
OUTSIDE, OUTSIDE_BITS = 0xCB007100, 24
#: Ends of tunnels that a router has.
ENDS = 2
#: Of all rows, this share is wrong.
WRONG = 0.12


def tunnel_end(router: int, number: int) -> int:
    """An address of a router where tunnels may end: in 198.18.0.0/15 (RFC 2544)."""
    return 0xC6120000 | router << 4 | number


def random_links(config: CoreConfig, rng: Random, underlays: list[int]) -> LinkTables:
    """Circuits as far as there are: a tree of wires, with a loop now and then; a list for each router; tunnels.

    Parameters
    ----------
    underlays : list[int]
        Routers that most of the tunnels' packets are for.
    """
    tables = LinkTables()
    numbers = iter(rng.sample(range(1, config.circuits), config.circuits - 1))
    routers = rng.sample(range(config.routers), config.routers)
    for place, router in enumerate(routers):
        _add(tables, numbers, [{"router": router, "kind": LinkKind.LIST}])
        if place:
            _add_wire(tables, numbers, router, rng.choice(routers[:place]))
    if rng.random() < 0.3:
        _add_wire(tables, numbers, rng.choice(routers), rng.choice(routers))
    underlays = underlays * 3 * config.routers + routers
    for _ in range(rng.randint(config.routers, 2 * config.routers)):
        _add_tunnel(tables, numbers, rng, rng.choice(routers), rng.choice(routers), rng.choice(underlays),
                    rng.choice(underlays))
    for router in routers:
        _chain(tables, rng, router)
    for circuit, link in tables.links.items():
        if rng.random() < WRONG:
            tables.links[circuit] = other_link(config, rng, link)
    return tables


def _add(tables: LinkTables, numbers: Iterator[int], rows: list[dict[str, Any]]) -> list[int]:
    """Add circuits, each taken by its owner; gives their numbers, or none if there are not enough."""
    circuits = [number for number, _ in zip(numbers, rows, strict=False)]
    if len(circuits) < len(rows):
        return []
    for circuit, row in zip(circuits, rows, strict=True):
        tables.links[circuit] = row
        if row["kind"] != LinkKind.LIST:
            tables.takers[circuit] = row["router"]
    return circuits


def _add_wire(tables: LinkTables, numbers: Iterator[int], one: int, other: int) -> None:
    ends = _add(tables, numbers, [{"router": router, "kind": LinkKind.DIRECT} for router in (one, other)])
    for circuit, peer in zip(ends, reversed(ends), strict=True):
        tables.links[circuit]["peer"] = peer


def _add_tunnel(tables: LinkTables, numbers: Iterator[int], rng: Random, one: int, other: int, near: int, far: int
                ) -> None:
    """A tunnel to the outside, or both ends of one between two routers, in one underlay or two."""
    kind, key = rng.choice(tuple(TunnelKind)), rng.choice(KEYS)
    inside = rng.random() < 0.5
    if rng.random() < 0.7:
        far = near
    addresses = (tunnel_end(near, rng.randrange(ENDS)),
                 tunnel_end(far, rng.randrange(ENDS)) if inside else OUTSIDE | rng.randrange(1 << 32 - OUTSIDE_BITS))

    def row(router: int, underlay: int, source: int, destination: int) -> dict[str, Any]:
        return {"router": router, "kind": LinkKind.TUNNEL, "underlay": underlay, "tunnel": {
            "kind": kind, "key": key, "source": source, "destination": destination, "tos": rng.choice((0, 0xB8)),
            "ttl": rng.choice((65, 65, 255, rng.randint(0, 4)))}}

    rows = [row(one, near, *addresses)]
    if inside:
        rows.append(row(other, far, *reversed(addresses)))
    circuits = _add(tables, numbers, rows)
    number = key if kind == TunnelKind.GRE else key & 0xFFFFFF
    for circuit, underlay, remote in zip(circuits, (near, far), reversed(addresses), strict=False):
        tables.ends[underlay, kind, number, remote] = circuit


def _chain(tables: LinkTables, rng: Random, router: int) -> None:
    """Put a router's circuits into its list, in any order."""
    owned = rng.sample(tables.owned(router), len(tables.owned(router)))
    heads = [circuit for circuit in owned if tables.links[circuit]["kind"] == LinkKind.LIST]
    members = [circuit for circuit in owned if circuit not in heads]
    for circuit, following in zip([*heads, *members], [*members, 0], strict=False):
        tables.links[circuit]["next"] = following


def other_link(config: CoreConfig, rng: Random, link: dict[str, Any]) -> dict[str, Any]:
    """A circuit's row with something wrong."""
    anything = rng.choice((rng.randrange(config.circuits), rng.getrandbits(LINK_ROW["next"].width)))
    tunnel = dict(link.get("tunnel", {}))
    tunnel |= rng.choice(({"key": rng.getrandbits(32)}, {"ttl": rng.randint(0, 2)}, {"source": rng.getrandbits(32)},
                          {"destination": rng.getrandbits(32)}))
    return {**link, **rng.choice((
        {"kind": LinkKind.NONE}, {"kind": LinkKind.LIST}, {"kind": LinkKind.DIRECT, "peer": anything},
        {"router": rng.randrange(config.routers)}, {"next": anything}, {"peer": anything}, {"tunnel": tunnel},
        {"underlay": rng.randrange(config.routers)}))}
