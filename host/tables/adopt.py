"""Reads the FIB of a running board back, for an agent that has just started and knows nothing of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from polyrouter.hdl.layouts import FIB_BRANCH, FIB_LEVELS, FIB_LEVELS_IPV6, RESULTS_PER_WORD, unpack

from .fib import IPV6_ROOT_ROW, ROOT_ROW, ROOTS, FibCompiler
from .groups import COVERS, MulticastKey, is_group
from .prefix import Prefix

__all__ = ["FibImage", "ImageFault", "read_fibs"]

_Read = Callable[[Sequence[int]], list[int]]


class ImageFault(Exception):
    """What is in the window is not a FIB that can be gone on with."""


@dataclass
class FibImage:
    """What a window holds.

    Attributes
    ----------
    fibs : pair of FibCompiler
        Of IPv4 and IPv6; they go on from it.
    routes : dict of Prefix to int
        Adjacencies of unicast routes.
    tries : dict of Prefix to FibCompiler
        Of sources, by multicast group.
    parked : list of Prefix
        Groups that refer to the trie of all others.
    groups : dict of Prefix to dict of MulticastKey to int
        Adjacencies of multicast routes, by group.
    """

    fibs: tuple[FibCompiler, FibCompiler]
    routes: dict[Prefix, int] = field(default_factory=dict)
    tries: dict[Prefix, FibCompiler] = field(default_factory=dict)
    parked: list[Prefix] = field(default_factory=list)
    groups: dict[Prefix, dict[MulticastKey, int]] = field(default_factory=dict)

    def adjacencies(self) -> list[int]:
        """Rows of all routes, once for each."""
        return [*self.routes.values(), *(row for rows in self.groups.values() for row in rows.values())]


def read_fibs(size: int, read: _Read, adj_size: int | None = None) -> FibImage:
    """What a window holds, as compilers that go on from it.

    Only words that look-ups can come to are read, a level of the trees at a time.

    Parameters
    ----------
    size : int
        Words of the window.
    read : callable
        Reads words of the window, given their rows.
    adj_size : int, optional
        Rows of the router's adjacency window; without it there are no multicast routes.

    Raises
    ------
    ImageFault
        If a tree leaves the window, or is not one that a compiler could have made.
    """
    image: dict[int, int] = {}
    _read_tries(size, read, [(ROOT_ROW, FIB_LEVELS), (IPV6_ROOT_ROW, FIB_LEVELS_IPV6)], image)
    try:
        found = FibImage(FibCompiler.dual_stack(size, image))
        roots: dict[int, Prefix] = {}
        for ipv6, fib in enumerate(found.fibs):
            for address, length, result in fib.routes():
                prefix = Prefix(bool(ipv6), address, length)
                if adj_size is None or not is_group(prefix, result, adj_size):
                    found.routes[prefix] = result
                elif result in roots:
                    found.parked.append(prefix)     # all of COVERS come first
                else:
                    roots[result] = prefix
        _read_tries(size, read, [(root, FIB_LEVELS_IPV6 if group.ipv6 else FIB_LEVELS)
                                 for root, group in roots.items()], image)
        for root, group in roots.items():
            found.tries[group] = trie = FibCompiler.at(found.fibs[group.ipv6], root, image)
            found.groups[group] = {_key(group, *route): result for *route, result in trie.routes()}
        found.fibs[0].restart(image)
    except ValueError as error:
        raise ImageFault(str(error)) from error
    return found


def _key(group: Prefix, source: int, length: int) -> MulticastKey:
    if length not in (0, group.bits) or (group in COVERS and length) or (group not in COVERS and not group.is_host):
        raise ValueError(f"a multicast route for sources in a prefix of {length} bits, and groups in {group}")
    return MulticastKey(group, source if length else -1)


def _read_tries(size: int, read: _Read, roots: Sequence[tuple[int, int]], image: dict[int, int]) -> None:
    """Read the words of tries, given their roots and how deep they may be, into an image."""
    level = [(root + half, deepest) for root, deepest in roots for half in range(ROOTS)]
    result_rows: set[int] = set()
    depth = 0
    while level:
        rows = [row for row, _ in level]
        if any(depth >= deepest for _, deepest in level):
            raise ImageFault("the tree is deeper than an address is long")
        _check(rows, size)
        if len(image.keys() | set(rows)) != len(image) + len(rows):
            raise ImageFault("a row is referred to twice")
        words = read(rows)
        image.update(zip(rows, words, strict=True))
        below = []
        for (_, deepest), word in zip(level, words, strict=True):
            fields = unpack(FIB_BRANCH, word)
            if fields["leaf"]:
                continue
            below += [(fields["child"] + kid, deepest) for kid in range(fields["external"].bit_count())]
            last = fields["result"] + fields["internal"].bit_count() - 1
            result_rows |= set(range(fields["result"] // RESULTS_PER_WORD, last // RESULTS_PER_WORD + 1))
        level = below
        depth += 1
    rows = sorted(result_rows - image.keys())       # tries that were read before may share them
    _check(rows, size)
    image |= dict(zip(rows, read(rows), strict=True))


def _check(rows: Sequence[int], size: int) -> None:
    if rows and not (min(rows) >= 0 and max(rows) < size):
        raise ImageFault(f"a row is outside of the {size} words of the window")
