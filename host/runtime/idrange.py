"""Ranges of user and group ids, one for each container, so that no two containers own the same file or process."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .base import RuntimeFailure

__all__ = ["FIRST", "SIZE", "SLOTS", "IdRanges"]

#: Ids of one container.
SIZE = 65536
#: First id given out. systemd's table of ids has 1879048192 to 2147352575 as unused by anybody; the 32-bit numbers
#: above are unsafe, as some programs take them for negative.
FIRST = 0x7000_0000
SLOTS = (0x7FFE_0000 - FIRST) // SIZE


class IdRanges:
    """Register of ranges in use: a symbolic link for each, named by its number, that points to its owner's name.

    Parameters
    ----------
    directory : Path
    """

    def __init__(self, directory: Path):
        self._directory = directory

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._directory.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def owners(self) -> dict[int, str]:
        """Slot number to owner, of all ranges in use."""
        found: dict[int, str] = {}
        if self._directory.is_dir():
            for link in self._directory.iterdir():
                with suppress(OSError, ValueError):
                    found[int(link.name)] = os.readlink(link)
        return found

    def take(self, owner: str, alive: Callable[[str], bool]) -> int:
        """First id of the owner's range, which is the same until `release`.

        Parameters
        ----------
        owner : str
        alive : callable
            Whether an owner still exists; the range of one that doesn't was left by a crash or a plain removal of
            files and is given to the next who asks.

        Raises
        ------
        RuntimeFailure
            If all ranges are in use.
        """
        with self._locked():
            owners = self.owners()
            for slot, other in owners.items():
                if other == owner:
                    return FIRST + slot * SIZE
            # Starting at a hash makes it unlikely that installations with registers of their own share a range.
            digest = hashlib.sha256(f"{self._directory}\0{owner}".encode()).digest()
            start = int.from_bytes(digest[:8], "big") % SLOTS
            for step in range(SLOTS):
                slot = (start + step) % SLOTS
                link = self._directory / str(slot)
                if slot in owners:
                    if alive(owners[slot]):
                        continue
                    link.unlink()
                link.symlink_to(owner)
                return FIRST + slot * SIZE
        raise RuntimeFailure(f"no user ids left for {owner}: all {SLOTS} ranges are in use; delete routers")

    def claim(self, owner: str, first: int, alive: Callable[[str], bool], *, former: str = "") -> None:
        """Take the range that begins with `first`, instead of any; what the owner had besides is given back.

        Parameters
        ----------
        owner : str
        first : int
        alive : callable
            As of `take`.
        former : str
            Who may have it so far.

        Raises
        ------
        RuntimeFailure
            If somebody else has it.
        """
        slot, rest = divmod(first - FIRST, SIZE)
        if rest or not 0 <= slot < SLOTS:
            raise RuntimeFailure(f"user ids from {first} on are no range of a container")
        with self._locked():
            owners = self.owners()
            had = owners.get(slot)
            if had is not None and had not in (owner, former) and alive(had):
                raise RuntimeFailure(f"user ids from {first} on, which {owner} needs, belong to {had}")
            for other, its in owners.items():
                if its == owner and other != slot:
                    (self._directory / str(other)).unlink()
            if had != owner:
                link = self._directory / str(slot)
                link.unlink(missing_ok=True)
                link.symlink_to(owner)

    def release(self, owner: str) -> None:
        """Give back a range, if the owner has one."""
        if not self._directory.is_dir():
            return
        with self._locked():
            for slot, other in self.owners().items():
                if other == owner:
                    (self._directory / str(slot)).unlink()
