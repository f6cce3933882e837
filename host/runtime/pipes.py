"""Where programs that others start wait for a word of this one: a hook of runc, and what stands before CRIU."""

import json
import os
import select
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["TIMEOUT", "Hook", "Pipes"]

#: Seconds that a dump or a restore may take, and that the caller may take to fill the network namespace.
TIMEOUT = 60
#: First argument: to tell the state by; second: what to wait for. A caller that ended has closed the latter.
_HOOK = 'cat >"$1" && read -r answer <"$2" && [ "$answer" = go ]'


class Pipes:
    """Where a program waits for an answer: two pipes in a directory.

    Parameters
    ----------
    directory : Path
    name : str
        What the pipes' names begin with.

    Attributes
    ----------
    directory : Path
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self._paths = [directory / f"{name}-{part}" for part in ("state", "answer")]
        for path in self._paths:
            os.mkfifo(path, 0o600)
        # With a writer of its own, neither end waits to be opened; and when this process ends, so does the waiting.
        self._state = os.open(self._paths[0], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._answer = os.open(self._paths[1], os.O_RDWR | os.O_CLOEXEC)

    @property
    def names(self) -> list[str]:
        """By which one tells its state, and which one the answer comes by."""
        return [str(path) for path in self._paths]

    def wait(self, process: "subprocess.Popen[bytes]") -> dict[str, Any] | None:
        """What is told, JSON; None if the process ends without that."""
        ended = os.pidfd_open(process.pid)
        try:
            poller, text = select.poll(), b""
            poller.register(self._state, select.POLLIN)
            poller.register(ended, select.POLLIN)
            while True:
                ready = dict(poller.poll(TIMEOUT * 1000))
                if not ready or (ended in ready and self._state not in ready):
                    return None
                part = os.read(self._state, 1 << 16)
                text += part
                if not part and text:
                    return json.loads(text)
                if not part and ended in ready:
                    return None
        finally:
            os.close(ended)

    def answer(self, word: str) -> None:
        """Answer."""
        os.write(self._answer, f"{word}\n".encode())

    def close(self) -> None:
        """Remove the pipes; again does nothing."""
        if self._state >= 0:
            os.close(self._state)
            os.close(self._answer)
            self._state = self._answer = -1
        for path in self._paths:
            path.unlink(missing_ok=True)


class Hook(Pipes):
    """Where a restore waits for its network.

    Parameters
    ----------
    directory : Path
    pid_file : Path
        Where the first process's number is written, as the machine sees it.
    """

    def __init__(self, directory: Path, pid_file: Path) -> None:
        super().__init__(directory, "hook")
        self._pid_file = pid_file

    def as_dict(self) -> dict[str, Any]:
        """As an OCI configuration has it."""
        return {"path": "/bin/sh", "args": ["sh", "-c", _HOOK, "hook", *self.names], "timeout": TIMEOUT}

    def serve(self, process: "subprocess.Popen[bytes]", network: Callable[[Path], None]) -> None:
        """Wait for the hook to be called, and call the function; return at once if the process ends without that."""
        state = self.wait(process)
        if state is None:
            return
        # runc does so when all is over, and may be killed before that, by which time the container runs.
        self._pid_file.write_text(str(state["pid"]))
        try:
            network(Path(f"/proc/{state['pid']}/ns/net"))
        except BaseException:
            self.answer("stop")
            raise
        self.answer("go")
