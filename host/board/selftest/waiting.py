"""Waiting for what a board does by itself."""

import time
from collections.abc import Callable

__all__ = ["wait_for"]


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask until it is true, or the time is over; a board is asked by requests, whose answers take their time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
    return True
