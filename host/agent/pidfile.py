"""A pid file that says whether its process lives: the process holds a lock on it, dropped by the kernel at its end."""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import IO

__all__ = ["AlreadyRunning", "PidFile", "running_pid"]


class AlreadyRunning(RuntimeError):
    """Another process holds the pid file."""


class PidFile:
    """Held as long as the object lives and is not closed.

    Parameters
    ----------
    path : Path
        Where it is.

    Raises
    ------
    AlreadyRunning
        If another process holds it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = path.open("a+", encoding="ascii")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise AlreadyRunning(f"{path} is held by process {path.read_text().strip() or 'unknown'}") from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def close(self) -> None:
        """Let go of the lock. The file stays: removing it could remove the next holder's."""
        self._file.close()


def running_pid(path: Path) -> int | None:
    """Process that holds a pid file; None if there is none."""
    with contextlib.suppress(FileNotFoundError, ValueError), path.open(encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read().strip())
    return None
