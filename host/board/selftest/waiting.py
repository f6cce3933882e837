"""Waiting for what a board does by itself, and going on after what was broken off."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..driver import Driver

__all__ = ["afterwards", "wait_for"]


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask until it is true, or the time is over; a board is asked by requests, whose answers take their time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
    return True


@contextmanager
def afterwards(driver: Driver, restore: Callable[[], None]) -> Iterator[None]:
    """Restore what a check has changed, however it ends: also if Ctrl-C broke off an exchange with the board."""
    try:
        yield
    finally:
        if not driver.in_step():
            driver.sync()
        restore()
