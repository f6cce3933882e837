"""Reads the FIB of a running board back, for an agent that has just started and knows nothing of it."""

from collections.abc import Callable, Sequence

from polyrouter.hdl.layouts import FIB_BRANCH, FIB_LEVELS, FIB_LEVELS_IPV6, RESULTS_PER_WORD, unpack

from .fib import IPV6_ROOT_ROW, ROOT_ROW, ROOTS, FibCompiler

__all__ = ["ImageFault", "read_fib", "read_fibs"]

_Read = Callable[[Sequence[int]], list[int]]


class ImageFault(Exception):
    """What is in the window is not a FIB that can be gone on with."""


def read_fib(size: int, read: _Read) -> FibCompiler:
    """The IPv4 part of :func:`read_fibs`."""
    return read_fibs(size, read)[0]


def read_fibs(size: int, read: _Read) -> tuple[FibCompiler, FibCompiler]:
    """Compilers of IPv4 and IPv6 that go on from what a window holds.

    Only words that look-ups can come to are read, a level of the trees at a time.

    Parameters
    ----------
    size : int
        Words of the window.
    read : callable
        Reads words of the window, given their rows.

    Raises
    ------
    ImageFault
        If a tree leaves the window, or is not one that a compiler could have made.
    """
    image: dict[int, int] = {}
    # Rows of the present level, and the level that the tree may not reach: nodes of both families in one go.
    level = [(row, depth) for root, depth in ((ROOT_ROW, FIB_LEVELS), (IPV6_ROOT_ROW, FIB_LEVELS_IPV6))
             for row in range(root, root + ROOTS)]
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
    rows = sorted(result_rows)
    _check(rows, size)
    image |= dict(zip(rows, read(rows), strict=True))
    try:
        return FibCompiler.dual_stack(size, image)
    except ValueError as error:
        raise ImageFault(str(error)) from error


def _check(rows: Sequence[int], size: int) -> None:
    if rows and not (min(rows) >= 0 and max(rows) < size):
        raise ImageFault(f"a row is outside of the {size} words of the window")
