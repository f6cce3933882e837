"""Reads the FIB of a running board back, for an agent that has just started and knows nothing of it."""

from collections.abc import Callable, Sequence

from polyrouter.hdl.layouts import FIB_BRANCH, FIB_LEVELS, RESULTS_PER_WORD, unpack

from .fib import ROOT_ROW, ROOTS, FibCompiler

__all__ = ["ImageFault", "read_fib"]


class ImageFault(Exception):
    """What is in the window is not a FIB that can be gone on with."""


def read_fib(size: int, read: Callable[[Sequence[int]], list[int]]) -> FibCompiler:
    """A compiler that goes on from what a window holds.

    Only words that look-ups can come to are read, a level of the tree at a time.

    Parameters
    ----------
    size : int
        Words of the window.
    read : callable
        Reads words of the window, given their rows.

    Raises
    ------
    ImageFault
        If the tree leaves the window, or is not one that a compiler could have made.
    """
    image: dict[int, int] = {}
    nodes, result_rows = list(range(ROOT_ROW, ROOT_ROW + ROOTS)), set[int]()
    for level in range(FIB_LEVELS + 1):
        if not nodes:
            break
        if level == FIB_LEVELS:
            raise ImageFault("the tree is deeper than an address is long")
        _check(nodes, size)
        words = read(nodes)
        if len(image.keys() | set(nodes)) != len(image) + len(nodes):
            raise ImageFault("a row is referred to twice")
        image.update(zip(nodes, words, strict=True))
        nodes = []
        for word in words:
            fields = unpack(FIB_BRANCH, word)
            if fields["leaf"]:
                continue
            nodes += range(fields["child"], fields["child"] + fields["external"].bit_count())
            last = fields["result"] + fields["internal"].bit_count() - 1
            result_rows |= set(range(fields["result"] // RESULTS_PER_WORD, last // RESULTS_PER_WORD + 1))
    rows = sorted(result_rows)
    _check(rows, size)
    image |= dict(zip(rows, read(rows), strict=True))
    try:
        return FibCompiler.from_image(size, image)
    except ValueError as error:
        raise ImageFault(str(error)) from error


def _check(rows: Sequence[int], size: int) -> None:
    if rows and not (min(rows) >= 0 and max(rows) < size):
        raise ImageFault(f"a row is outside of the {size} words of the window")
