"""Namespaces that were made for VNICs: who goes last removes them."""

from pyroute2 import IPRoute

from ..fabric import remove_namespace
from .links import links_of
from .naming import Memo

__all__ = ["release_namespace"]


def release_namespace(route: IPRoute, name: str, leaving: int) -> bool:
    """Remove a namespace that was made for a VNIC, unless others are in it: then it goes with one of those.

    Parameters
    ----------
    route : IPRoute
        In the fabric.
    name : str
        The namespace.
    leaving : int
        Index of the outer end of the VNIC that leaves it.

    Returns
    -------
    bool
        Whether it was removed.
    """
    for link in links_of(route).values():
        memo = Memo.parse(link.alias)
        if memo is not None and link.index != leaving and memo.namespace == name:
            if name not in memo.made:
                memo.made.append(name)
                route.link("set", index=link.index, ifalias=str(memo))
            return False
    return remove_namespace(name)
