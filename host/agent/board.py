"""A node's board: the process of a simulated one is started, taken over, ended; a real one is there."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from polyrouter.hdl.config import CoreConfig
from polyrouter.sim.live.board import LiveBoard

from ..fabric import Fabric
from ..paths import node_dir, node_run_dir
from ..spec import NodeSpec

__all__ = ["BoardKeeper", "LiveBoardKeeper", "RealBoardKeeper", "board_of", "build", "end_board"]

_BUSY_TIMEOUT = 5.0


class BoardKeeper(Protocol):
    """What the agent needs of a board's process."""

    @property
    def pid(self) -> int:
        """Its process, 0 if there is none."""
        ...

    def ensure(self) -> bool:
        """Make it run; returns whether it had to be started."""
        ...

    def running(self) -> bool:
        """Whether it runs."""
        ...

    def stop(self) -> None:
        """End it."""
        ...


def build(spec: NodeSpec, progress: Callable[[str], None]) -> Path:
    """Executable of a node's simulated board; made if there is none."""
    from polyrouter.sim.live.build import build_board  # takes a second to load

    return build_board(CoreConfig(**spec.core), macs=spec.macs, progress=progress)      # type: ignore[arg-type]


def board_of(spec: NodeSpec, fabric: Fabric) -> BoardKeeper:
    """Keeper of a node's board."""
    return RealBoardKeeper() if spec.host_link else LiveBoardKeeper(spec, fabric)


class RealBoardKeeper:
    """A board that somebody else gives power: it has no process. Whether it answers, its data plane knows."""

    pid = 0

    def ensure(self) -> bool:
        return False

    def running(self) -> bool:
        return True

    def stop(self) -> None:
        """Nothing: it goes on."""


class LiveBoardKeeper:
    """A Verilated board, with its ports on TAPs of the fabric.

    The process gets the open TAPs and nothing else of the agent's, and outlives it. Its pid file tells which it is.
    """

    def __init__(self, spec: NodeSpec, fabric: Fabric) -> None:
        self._spec, self._fabric = spec, fabric
        self._pid_file = _pid_file(spec.topology, spec.node)
        self._board = LiveBoard.adopt(self._pid_file)

    @property
    def pid(self) -> int:
        return (self._board.pid if self._board else None) or 0

    def running(self) -> bool:
        return self._board is not None and self._board.alive()

    def ensure(self) -> bool:
        if self.running():
            return False
        # One that has ended is started again as it was, whatever has become of the sources since.
        executable = self._board.executable if self._board is not None else None
        if executable is None or not executable.exists():
            executable = build(self._spec, lambda _: None)
        taps: list[int] = []
        try:
            for name in (*self._spec.taps, self._spec.host_tap):
                taps.append(self._open(name))
            log = node_dir(self._spec.topology, self._spec.node) / "board.log"
            self._board = LiveBoard(executable, taps[:-1], taps[-1], log, self._pid_file)
            self._board.start()
        finally:
            for descriptor in taps:
                os.close(descriptor)
        return True

    def _open(self, name: str) -> int:
        """A TAP, which the kernel may take a moment to take away from a process that has just died."""
        deadline = time.monotonic() + _BUSY_TIMEOUT
        while True:
            try:
                return self._fabric.open_tap(name)
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def stop(self) -> None:
        if self._board is not None:
            self._board.stop()
            self._board = None


def end_board(network: str, node: str) -> None:
    """End the board of a node whose agent does not run."""
    board = LiveBoard.adopt(_pid_file(network, node))
    if board is not None:
        board.stop()


def _pid_file(network: str, node: str) -> Path:
    return node_run_dir(network, node) / "board.pid"
