"""The folder of a board while it is built: no other build is in it, and nobody else looks into it if there is a key."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .tools import FlowError

__all__ = ["building"]

#: It stays in the folder: that it is locked counts, not that it is there. The kernel unlocks it when its process ends,
#: however it does.
_LOCK = ".lock"


@contextmanager
def building(folder: Path, name: str, *, private: bool = False) -> Iterator[None]:
    """Make a folder, if it is not there, and keep other builds out of it.

    Parameters
    ----------
    folder : Path
    name : str
        Of the board, for the message.
    private : bool
        What is built is as secret as a key: nobody but its owner may get into the folder, from now on.

    Raises
    ------
    FlowError
        If there is another build in it, or it can't be private.
    """
    folder.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
    if private:
        _close(folder)
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


def _close(folder: Path) -> None:
    """Take a folder from all but its owner."""
    mode = folder.stat().st_mode
    why = None
    if mode & stat.S_ISVTX:     # as /tmp: the others would be locked out of what is theirs
        why = f"{folder} is a folder that others share"
    elif mode & (stat.S_IRWXG | stat.S_IRWXO):
        try:
            folder.chmod(0o700)
        except PermissionError:
            why = f"others may read {folder}, and it is not yours to change that"
    if why is not None:
        raise FlowError(f"the board's key is in all that is built, and {why}: give one of the board's own by --output")
