"""One thread for the mirrors of all routers of a node."""

import logging
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TypeVar

from .mirror import RouteMirror

__all__ = ["MirrorLoop"]

T = TypeVar("T")
_log = logging.getLogger(__name__)


class MirrorLoop:
    """Serves mirrors until it is stopped.

    Events are taken from all kernels before anything is written, and the routers take turns with one batch each, so
    that a burst of one neither overflows the other's socket nor delays its routes.
    """

    def __init__(self) -> None:
        self._mirrors: dict[int, RouteMirror] = {}
        self._turns: deque[int] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="mirrors", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and close all mirrors; the tables stay as they are."""
        self._stopping = True
        self.wake()
        self._thread.join()
        for mirror in self._mirrors.values():
            mirror.close()
        self._mirrors.clear()
        self._selector.close()
        os.close(self._wake)

    def wake(self) -> None:
        """Look at all mirrors now, for instance after tables were synchronized."""
        os.eventfd_write(self._wake, 1)

    def call(self, function: Callable[[], T]) -> "Future[T]":
        """Have a function called in the thread."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except BaseException as error:      # handed over to the caller
                future.set_exception(error)

        self._calls.append(run)
        self.wake()
        return future

    def add(self, mirror: RouteMirror) -> None:
        """Serve a mirror from now on; a former one of the same router is closed."""
        self.call(lambda: self._add(mirror)).result()

    def remove(self, router: int) -> None:
        """Close a router's mirror, if it has one."""
        self.call(lambda: self._remove(router)).result()

    def resync(self, router: int, reason: str) -> None:
        """Compare a router's tables with its kernel."""
        self.call(lambda: self._mirrors[router].resync(reason)).result()

    def keep(self, router: int, ends: Iterable[int]) -> None:
        """Keep the next hops to ends of tunnels known to a router's kernel."""
        def keep() -> None:
            if router in self._mirrors:
                self._mirrors[router].keep(ends)

        self.call(keep)

    def resolve(self, router: int, address: int) -> None:
        """Make a router's kernel look for the next hop to an IPv4 address; does not wait."""
        def resolve() -> None:
            if router in self._mirrors:
                self._mirrors[router].resolve(address)

        self.call(resolve)

    def get(self, router: int) -> RouteMirror | None:
        """Mirror of a router."""
        return self._mirrors.get(router)

    def summaries(self) -> list[dict[str, object]]:
        """Summaries of all mirrors."""
        return [mirror.summary() for _, mirror in sorted(self._mirrors.copy().items())]

    def _add(self, mirror: RouteMirror) -> None:
        self._remove(mirror.router)
        self._mirrors[mirror.router] = mirror
        self._turns.append(mirror.router)
        self._selector.register(mirror.fileno(), selectors.EVENT_READ, mirror)

    def _remove(self, router: int) -> None:
        mirror = self._mirrors.pop(router, None)
        if mirror is not None:
            self._turns.remove(router)
            self._selector.unregister(mirror.fileno())
            mirror.close()

    def _run(self) -> None:
        next_tick = 0.0
        while not self._stopping:
            busy = any(mirror.wants_work() for mirror in self._mirrors.values())
            timeout = 0.0 if busy else max(0.0, next_tick - time.monotonic())
            for key, _ in self._selector.select(timeout):
                if key.data is not None:
                    self._guarded(key.data, key.data.receive)
            try:
                os.eventfd_read(self._wake)
            except BlockingIOError:
                pass
            else:
                next_tick = 0.0
            while self._calls:
                self._calls.popleft()()
                next_tick = 0.0
            if time.monotonic() >= next_tick:
                due = [self._guarded(mirror, mirror.tick) for mirror in self._mirrors.values()]
                next_tick = min([time.monotonic() + 60.0, *(when for when in due if when is not None)])
            elif any(mirror.state.outdated for mirror in self._mirrors.values()):
                next_tick = min(next_tick, time.monotonic() + 0.1)
            self._one_turn()

    def _one_turn(self) -> None:
        for _ in range(len(self._turns)):
            mirror = self._mirrors[self._turns[0]]
            self._turns.rotate(-1)
            if mirror.wants_work():
                self._guarded(mirror, mirror.work)
                return

    def _guarded(self, mirror: RouteMirror, step: Callable[[], T]) -> T | None:
        """One router's trouble must not end the thread that serves all."""
        try:
            return step()
        except Exception as error:
            _log.exception("mirror of router %d", mirror.router)
            mirror.failed(error)
            return None
