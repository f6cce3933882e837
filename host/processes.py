"""Ending processes that a network has left to themselves."""

import contextlib
import os
import select
import signal
import time

from .errors import NetworkError
from .fabric import processes_in

__all__ = ["end", "end_in"]

#: Seconds that a process may take to end when it is asked to, and when it is killed.
_TERM_TIMEOUT, _KILL_TIMEOUT = 2.0, 10.0


def end_in(namespaces: list[str]) -> None:
    """End all processes in namespaces but this one; see :func:`end`."""
    end([pid for pid in processes_in(namespaces) if pid != os.getpid()])


def end(pids: list[int]) -> None:
    """End processes, by force if need be, and wait until they are gone.

    Raises
    ------
    NetworkError
        If they stay.
    """
    descriptors = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            descriptors.append(os.pidfd_open(pid))
    try:
        for number, timeout in ((signal.SIGTERM, _TERM_TIMEOUT), (signal.SIGKILL, _KILL_TIMEOUT)):
            waiting = [descriptor for descriptor in descriptors if not _ended(descriptor, 0)]
            for descriptor in waiting:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, number)
            deadline = time.monotonic() + timeout
            for descriptor in waiting:
                _ended(descriptor, max(0.0, deadline - time.monotonic()))
        if not all(_ended(descriptor, 0) for descriptor in descriptors):
            raise NetworkError("processes can't be killed: " + ", ".join(str(pid) for pid in pids))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _ended(descriptor: int, timeout: float) -> bool:
    return bool(select.select([descriptor], [], [], timeout)[0])

