"""Tells when a process ends, also one that is not a child."""

import os
import selectors
import threading
from collections.abc import Callable

__all__ = ["Supervisor"]


class Supervisor:
    """Watches processes by their pidfds in a thread, and calls back once for each that ends."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._watched: dict[str, int] = {}      # name -> pidfd
        self._wake_read, self._wake_write = os.pipe()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def watch(self, name: str, pid: int, ended: Callable[[], None]) -> None:
        """Call ``ended``, in a thread of its own, when the process ends; at once if it has. One watch a name."""
        self.forget(name)
        try:
            if not pid:
                raise ProcessLookupError
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            threading.Thread(target=ended, name=f"ended-{name}", daemon=True).start()
            return
        with self._lock:
            self._watched[name] = descriptor
            self._selector.register(descriptor, selectors.EVENT_READ, (name, ended))
        os.write(self._wake_write, b"x")

    def forget(self, name: str) -> None:
        """Watch no longer."""
        with self._lock:
            descriptor = self._watched.pop(name, None)
            if descriptor is not None:
                self._selector.unregister(descriptor)
                os.close(descriptor)

    def close(self) -> None:
        """End all watches."""
        self._closed = True
        os.write(self._wake_write, b"x")
        self._thread.join()
        for name in list(self._watched):
            self.forget(name)
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _run(self) -> None:
        while not self._closed:
            for key, _ in self._selector.select():
                if key.fd == self._wake_read:
                    os.read(self._wake_read, 64)
                    continue
                name, ended = key.data
                with self._lock:
                    current = self._watched.get(name) == key.fd
                if current:
                    self.forget(name)
                    threading.Thread(target=ended, name=f"ended-{name}", daemon=True).start()
