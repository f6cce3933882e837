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
    """Restore what a check has changed, however it ends: also if Ctrl-C broke off an exchange with the board.

    One more Ctrl-C while it is being restored is put off until it is.
    """
    try:
        yield
    finally:
        try:
            _restore(driver, restore)
        except KeyboardInterrupt:
            _restore(driver, restore)
            raise


def _restore(driver: Driver, restore: Callable[[], None]) -> None:
    if not driver.in_step():
        driver.sync()
    restore()
