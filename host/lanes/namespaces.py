"""Namespaces that were made for VNICs: who goes last removes them."""

from pyroute2 import IPRoute

from ..fabric import remove_namespace
from .links import Link
from .naming import Memo

__all__ = ["memos_of", "release_namespace"]


def memos_of(links: dict[str, Link]) -> dict[int, Memo]:
    """What the outer ends of all owners' VNICs say, by index."""
    return {link.index: memo for link in links.values() if (memo := Memo.parse(link.alias)) is not None}


def release_namespace(route: IPRoute, name: str, leaving: int, memos: dict[int, Memo]) -> bool:
    """Remove a namespace that was made for a VNIC, unless others are in it: then it goes with one of those.

    Parameters
    ----------
    route : IPRoute
        In the fabric.
    name : str
        The namespace.
    leaving : int
        Index of the outer end of the VNIC that leaves it.
    memos : dict of int to Memo
        Of all VNICs in the fabric; is kept up to date.

    Returns
    -------
    bool
        Whether it was removed.
    """
    for index, memo in memos.items():
        if index != leaving and memo.namespace == name:
            if name not in memo.made:
                memo.made.append(name)
                route.link("set", index=index, ifalias=str(memo))
            return False
    return remove_namespace(name)
