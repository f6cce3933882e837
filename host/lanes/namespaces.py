"""Namespaces that are made for VNICs: who goes last removes them."""

import contextlib
import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import TypeVar

from pyroute2 import IPRoute, netns

from .links import Link, namespace_path
from .naming import Memo

__all__ = ["create_namespace", "in_new_namespace", "is_namespace", "memos_of", "release_namespace"]

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000


def in_new_namespace(function: Callable[[], T]) -> T:
    """Call a function in a network namespace that is gone when it returns, unless it kept it.

    Raises
    ------
    OSError
        If there can be none. What the function raises is passed on.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise OSError(number, f"no network namespace: {os.strerror(number)}")
            results.append(function())
        except BaseException as error:      # handed over to the caller
            errors.append(error)

    # The namespace is the thread's, and ends with it.
    thread = Thread(target=run, name="new network namespace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def is_namespace(name: str) -> bool:
    """Whether there is a namespace of this name; not only its file, which a process that died may have left."""
    with contextlib.suppress(FileNotFoundError):
        return os.stat(namespace_path(name)).st_dev == os.stat("/proc/self/ns/net").st_dev
    return False


def create_namespace(name: str) -> None:
    """Make a namespace. In this process, so that with its death it ends, too: a child would go on for a while."""
    with contextlib.suppress(FileNotFoundError):
        Path(namespace_path(name)).unlink()
    in_new_namespace(lambda: netns.attach(name, "thread-self"))


def _remove_namespace(name: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        netns.remove(name)
        return True
    return False


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
    return _remove_namespace(name)
