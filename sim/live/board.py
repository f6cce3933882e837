"""The process of a live board: started so that it outlives who started it, and found again by who comes next."""

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LiveBoard"]

#: Seconds that a board has to end by itself before it is killed.
STOP_TIMEOUT = 5.0


@dataclass(frozen=True)
class _Process:
    """A process, told apart from a later one with the same number by the time it was started."""

    pid: int
    started: int

    @classmethod
    def find(cls, pid: int) -> "_Process | None":
        """The process that has this number now; None if there is none, or it has ended and waits to be reaped."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        state, *numbers = stat[stat.rindex(")") + 2:].split()  # proc(5): the name before may hold anything
        return None if state in "ZX" else cls(pid, int(numbers[18]))

    def alive(self) -> bool:
        return _Process.find(self.pid) == self

    def runs(self, executable: Path) -> bool:
        """Whether this is a process of that program.

        The link tells it from the first moment of a process on; its command line is still empty when the parent is
        told that the program was started.
        """
        try:
            program = os.readlink(f"/proc/{self.pid}/exe")
        except (FileNotFoundError, ProcessLookupError):
            return False
        return program.removesuffix(" (deleted)") == os.path.realpath(executable)


class LiveBoard:
    """A live board.

    Parameters
    ----------
    executable : Path
        What :func:`.build.build_board` gave.
    port_fds : Sequence[int]
        Descriptors of the data ports in order: TAPs without a virtual network header, packet sockets or datagram
        sockets. The board gets duplicates, made non-blocking together with these.
    host_fd : int or None
        Descriptor of the host port; None: it is none of the board's ports.
    log : Path
        File that gets what the board prints, appended.
    pid_file : Path
        Tells who comes later which process it is.
    stats : Path
        File that the board writes its figures to; by default beside ``pid_file``.
    options : Sequence[str]
        Further words of its command line (``surroundings.h``).
    more_fds : Sequence[int]
        Descriptors that these name.
    """

    def __init__(self, executable: Path | str, port_fds: Sequence[int], host_fd: int | None, log: Path | str,
                 pid_file: Path | str, *, stats: Path | str | None = None, options: Sequence[str] = (),
                 more_fds: Sequence[int] = ()):
        self.executable = Path(executable)
        self.pid_file = Path(pid_file)
        self.stats_file = Path(stats) if stats is not None else self.pid_file.with_suffix(".stats.json")
        self._port_fds = list(port_fds)
        self._host_fd = host_fd
        self._options = list(options)
        self._more_fds = list(more_fds)
        self._adopted = False
        self._log = Path(log)
        self._process: _Process | None = None
        self._child: subprocess.Popen | None = None

    @classmethod
    def adopt(cls, pid_file: Path | str) -> "LiveBoard | None":
        """The board that was started with this pid file, if it still runs; it can't be started again."""
        try:
            saved = json.loads(Path(pid_file).read_text())
            process = _Process(saved["pid"], saved["started"])
            executable = Path(saved["executable"])
            stats = saved["stats"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        if not process.alive() or not process.runs(executable):
            return None
        board = cls(executable, (), None, os.devnull, pid_file, stats=stats)
        board._process = process
        board._adopted = True
        return board

    @property
    def pid(self) -> int | None:
        """Number of the process, None before it was started."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process, in a session of its own, so that nothing that ends this one ends it.

        Raises
        ------
        RuntimeError
            If it runs already, or this object was made by :meth:`adopt`.
        OSError
            If it can't be started.
        """
        if self.alive():
            raise RuntimeError(f"the board runs already, as process {self.pid}")
        if self._adopted:
            raise RuntimeError("an adopted board has no descriptors to be started with again")
        arguments = [word for port, fd in enumerate(self._port_fds) for word in ("--port", f"{port}=fd:{fd}")]
        if self._host_fd is not None:
            arguments += ["--host", f"fd:{self._host_fd}"]
        # Until the board reads its signals, they wait: one that asks for its figures would end it else.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM))
        try:
            with self._log.open("ab") as log:
                self._child = subprocess.Popen(
                    [str(self.executable), *arguments, *self._options, "--stats", str(self.stats_file)],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
                    pass_fds=(*self._port_fds, *self._more_fds, *([] if self._host_fd is None else [self._host_fd])))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._process = _Process.find(self._child.pid)
        if self._process is not None:
            self._save(self._process)

    def _save(self, process: _Process) -> None:
        saved = {"pid": process.pid, "started": process.started, "executable": str(self.executable),
                 "stats": str(self.stats_file)}
        next_file = self.pid_file.with_name(self.pid_file.name + ".new")
        next_file.write_text(json.dumps(saved))
        next_file.replace(self.pid_file)

    def alive(self) -> bool:
        """Whether the process runs."""
        if self._child is not None:
            self._child.poll()  # takes away what is left of an ended child
        return self._process is not None and self._process.alive()

    def stop(self) -> None:
        """End the process, and remove its files. To end one that has ended is no error."""
        if self.alive():
            assert self._process is not None
            descriptor = os.pidfd_open(self._process.pid)
            try:
                if self.alive():  # still the same process, so the descriptor is for it
                    self._end(descriptor)
            finally:
                os.close(descriptor)
        if self._child is not None:
            self._child.wait()
        for left in (self.pid_file, self.stats_file):
            left.unlink(missing_ok=True)

    @staticmethod
    def _end(descriptor: int) -> None:
        for number, seconds in ((signal.SIGTERM, STOP_TIMEOUT), (signal.SIGKILL, None)):
            try:
                signal.pidfd_send_signal(descriptor, number)
            except ProcessLookupError:
                return
            if select.select([descriptor], [], [], seconds)[0]:
                return

    def reset(self) -> None:
        """Reset the model, without clearing its memories; nothing if the process has ended. Waits until it is done."""
        if self.alive():
            assert self._process is not None
            os.kill(self._process.pid, signal.SIGUSR2)
            # The figures are asked for by a signal that comes first if both wait.
            for _ in range(2):
                self.stats()

    def stats(self, timeout: float = 5.0) -> dict | None:
        """Figures of a running board: cycles, cycles a second while busy, frames by port; None if there are none."""
        if not self.alive():
            return None
        assert self._process is not None
        before = self._stats_version()
        os.kill(self._process.pid, signal.SIGUSR1)
        if not _wait(lambda: self._stats_version() != before or not self.alive(), timeout):
            return None
        return json.loads(self.stats_file.read_text()) if self._stats_version() != before else None

    def _stats_version(self) -> tuple[int, int] | None:
        try:
            status = self.stats_file.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns


def _wait(condition: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True
