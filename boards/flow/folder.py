"""The folder of a board while it is built: no other build is in it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .tools import FlowError

__all__ = ["building"]

#: It stays in the folder: that it is locked counts, not that it is there. The kernel unlocks it when its process ends,
#: however it does.
_LOCK = ".lock"


@contextmanager
def building(folder: Path, name: str) -> Iterator[None]:
    """Make a folder, if it is not there, and keep other builds out of it.

    Parameters
    ----------
    folder : Path
    name : str
        Of the board, for the message.

    Raises
    ------
    FlowError
        If there is another build in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / _LOCK, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            pid = file.read().strip()
            raise FlowError(f"another build of {name} is under way in {folder}{f' (pid {pid})' if pid else ''}: wait "
                            "for it, or give this one another folder by --output") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
