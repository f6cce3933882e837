"""The second half of a restore: CRIU waits for the files of a checkpoint, and then makes processes of them."""

import fcntl
import os
import termios
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .base import ContainerError, RouterId
from .pipes import Hook

if TYPE_CHECKING:
    from .checkpoint import Checkpoints

__all__ = ["INVENTORY", "Restoring"]

#: File of a checkpoint that CRIU reads first.
INVENTORY = "inventory.img"
#: What a container's standard streams are, as runc writes it down.
_STREAMS = '["/dev/null","/dev/null","/dev/null"]'
#: How often to look how far CRIU is, in seconds; and what it says when the processes go on.
_LOOK, _RESUMED = 0.001, b"Tasks resumed"


class Restoring:
    """A container that is being restored, and waits for its checkpoint.

    Parameters
    ----------
    checkpoints : Checkpoints
    id : RouterId
    images : Path
    hook : Hook
    network : callable
        As of :meth:`Checkpoints.restore`.

    Attributes
    ----------
    inventory : Path
        Where the checkpoint's :data:`INVENTORY` is to be: CRIU reads it first, and from a pipe that is in its place.
    """

    def __init__(self, checkpoints: "Checkpoints", id: RouterId, images: Path, hook: Hook,
                 network: Callable[[Path], None]) -> None:
        self._checkpoints, self._id, self._hook, self._network = checkpoints, id, hook, network
        self._descriptors = images / "descriptors.json"
        self._log = hook.directory / "restore.log"
        self.inventory = images / "inventory"
        gate = images / INVENTORY
        if gate.exists():           # all is there already
            gate.rename(self.inventory)
        else:
            # What runc looks at before; the same for all containers.
            self._descriptors.write_text(_STREAMS)
        os.mkfifo(gate, 0o600)
        # With a writer of its own, CRIU waits to read, not to open; and when this process ends, so does CRIU.
        self._gate = os.open(gate, os.O_RDWR | os.O_CLOEXEC)
        self._process = checkpoints.start_restore(id, images)

    def go(self) -> None:
        """All files of the checkpoint are there; returns as soon as the processes go on. :meth:`end` comes next.

        Raises
        ------
        ContainerError
            With CRIU's reasons; what ``network`` raises is passed on. Delete the container then.
        """
        try:
            if self._descriptors.read_text() != _STREAMS:
                raise ContainerError(self._id, "restore", "the container's streams are not /dev/null")
            with self._checkpoints.creating(self._id):
                self._open_gate()
                try:
                    self._hook.serve(self._process, self._network)
                except BaseException:
                    with suppress(ContainerError):      # which only says that the network was not made
                        self._checkpoints.end_restore(self._id, self._process)
                    raise
                if not self._resumed():
                    self._checkpoints.end_restore(self._id, self._process)
        except FileNotFoundError as error:
            self.give_up()
            raise ContainerError(self._id, "restore", f"the checkpoint has no {error.filename}") from None
        except BaseException:
            self.give_up()
            raise

    def _resumed(self) -> bool:
        """Wait until CRIU says that the processes go on; False if it ends without that."""
        seen = b""
        with self._log.open("rb") as log:
            while True:
                ended = self._process.poll() is not None
                seen = seen[-len(_RESUMED):] + log.read()
                if _RESUMED in seen:
                    return True
                if ended:
                    return False
                time.sleep(_LOOK)

    def end(self) -> None:
        """Wait until runc has put away what it used.

        Raises
        ------
        ContainerError
            If it failed in that; the container is nobody's then, and is to be deleted.
        """
        try:
            self._checkpoints.end_restore(self._id, self._process)
        finally:
            self.give_up()

    def _open_gate(self) -> None:
        """Let CRIU have the inventory. It reads to the end, which comes when nobody can write any more; and nobody may
        leave before it has come."""
        os.write(self._gate, self.inventory.read_bytes())
        left = array("i", [1])
        while left[0] and self._process.poll() is None:
            time.sleep(_LOOK)
            fcntl.ioctl(self._gate, termios.FIONREAD, left)
        self._close_gate()

    def _close_gate(self) -> None:
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1

    def give_up(self) -> None:
        """Let go of it, whatever has become of it."""
        self._close_gate()
        self._hook.close()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
