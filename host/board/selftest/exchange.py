"""Sends frames through a board, and sees that each comes back as it should, and is counted as it should."""

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ....hdl.layouts import Reason
from ..driver import Driver
from .router import ROUTER

__all__ = ["Exchange", "Expected"]

#: Frames under way at once: few enough for the smallest frame buffer.
_AT_ONCE = 4
#: Parts of the patience: pause between frames until the first one comes back.
_PAUSES = 8


@dataclass(frozen=True)
class Expected:
    """What is to become of the frames that are sent.

    Attributes
    ----------
    frames : Sequence[bytes]
        As the router hands them to the host, in this order.
    port : int
        Where they come in last.
    reason : Reason
        Why it hands them up.
    counters : Mapping[tuple[int, Reason], int]
        All the router's counters that are not zero then, by ingress port, but for how often each of ``frames`` counts.
    """

    frames: Sequence[bytes]
    port: int
    reason: Reason
    counters: Mapping[tuple[int, Reason], int]


class Exchange:
    """Injected frames, and those that come back to the host. A context manager: it takes the host port's punts.

    Parameters
    ----------
    driver : Driver
    patience : float
        Seconds without a frame after which those that are missing are taken to be lost; also for a port to give back
        its first frame, as a PHY takes its time to loop back.
    """

    def __init__(self, driver: Driver, patience: float):
        self._driver = driver
        self._patience = patience
        self._received: list[tuple[int, int, Reason, bytes]] = []
        self._came = threading.Condition()

    def __enter__(self) -> "Exchange":
        self._driver.hostport.set_punt_handler(self._take)
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.hostport.set_punt_handler(None)

    def _take(self, router: int, port: int, reason: Reason, frame: bytes) -> None:
        with self._came:
            self._received.append((router, port, reason, frame))
            self._came.notify()

    def settle(self, port: int, frame: bytes) -> bool:
        """Send a frame out of a port again and again until one comes back to the host; tells whether one did."""
        self._received.clear()
        pause = self._patience / _PAUSES
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            self._driver.hostport.inject(ROUTER, port, frame)
            if self._wait(1, pause):
                # What else was sent meanwhile must not be taken for a frame of what follows.
                while self._wait(len(self._received) + 1, pause):
                    pass
                return True
        return False

    def wrong(self, port: int, frames: Sequence[bytes], expected: Expected, ports: Collection[int]) -> str | None:
        """Send frames out of a port; gives what was not as expected.

        Parameters
        ----------
        port : int
            Egress port.
        frames : Sequence[bytes]
        expected : Expected
        ports : Collection[int]
            Ports that nothing else comes in at, so that their counters of no router stay as they are.
        """
        driver = self._driver
        nobody = driver.info().config.routers
        driver.clear_counters(ROUTER)
        before = driver.read_counters(nobody)
        self._received.clear()
        for sent, frame in enumerate(frames):
            if not self._wait(sent - _AT_ONCE + 1, self._patience):
                break
            driver.hostport.inject(ROUTER, port, frame)
        self._wait(len(expected.frames), self._patience)
        return (self._compare(expected) or _compare_counters(driver.read_counters(ROUTER), expected)
                or _unexpected_drops(before, driver.read_counters(nobody), ports))

    def _wait(self, count: int, seconds: float) -> bool:
        """Wait until so many have come, or nothing does for some time."""
        with self._came:
            while len(self._received) < count:
                if not self._came.wait(seconds):
                    return len(self._received) >= count
        return True

    def _compare(self, expected: Expected) -> str | None:
        received, wanted = list(self._received), expected.frames
        for number, (frame, (router, port, reason, content)) in enumerate(zip(wanted, received, strict=False)):
            if (router, port, reason) != (ROUTER, expected.port, expected.reason):
                return (f"frame {number} came from port {port} as {reason.name}, not from port {expected.port} as "
                        f"{expected.reason.name}")
            if content != frame:
                at = next((at for at, (a, b) in enumerate(zip(content, frame, strict=False)) if a != b),
                          min(len(content), len(frame)))
                return (f"frame {number} of {len(frame)} bytes came back with {len(content)} bytes, wrong from byte "
                        f"{at} on")
        if len(received) != len(wanted):
            return f"{len(received)} of {len(wanted)} frames came back"
        return None


def _compare_counters(counters: Mapping[tuple[int, Reason], int], expected: Expected) -> str | None:
    for key in sorted({*counters, *expected.counters}):
        port, reason = key
        if counters.get(key, 0) != expected.counters.get(key, 0):
            return (f"{counters.get(key, 0)} frames from port {port} were counted as {reason.name}, not "
                    f"{expected.counters.get(key, 0)}")
    return None


def _unexpected_drops(before: Mapping[tuple[int, Reason], int], after: Mapping[tuple[int, Reason], int],
                      ports: Collection[int]) -> str | None:
    for (port, reason), count in after.items():
        if port in ports and count != before[port, reason]:
            return f"{count - before[port, reason]} frames more than those sent came in at port {port}: {reason.name}"
    return None
