"""Work inside of a network namespace."""

from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import TypeVar

from pyroute2 import netns

__all__ = ["in_namespace"]

T = TypeVar("T")


def in_namespace(namespace: Path | str | None, function: Callable[[], T]) -> T:
    """Call a function in a network namespace, given by name or path; None is the caller's own.

    It runs in a thread that ends with it: the namespace is a property of a thread, and no other thread of the process
    may see it change.

    Raises
    ------
    OSError
        If there is no such namespace. What the function raises is passed on.
    """
    if namespace is None:
        return function()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            netns.setns(str(namespace), flags=0)    # the default flags would create it
            results.append(function())
        except BaseException as error:              # handed over to the caller
            errors.append(error)

    thread = Thread(target=run, name=f"netns-{namespace}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
