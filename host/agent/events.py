"""What happened on a node: kept in a file of JSON lines, and in memory for those who follow."""

import json
import logging
import threading
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["EventLog"]

_KEPT = 4096
#: Bytes of the file from which on only those events are kept, at a start.
_LONGEST_FILE = 4 << 20

_log = logging.getLogger(__name__)


class EventLog:
    """Events with numbers, in order.

    Parameters
    ----------
    path : Path
        File of JSON lines; it is continued.
    """

    def __init__(self, path: Path) -> None:
        self._events: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._news = threading.Condition()
        self._number = 0
        if path.exists():
            _shorten(path)
            with path.open(encoding="utf-8") as file:
                for line in deque(file, maxlen=_KEPT):
                    try:
                        event = json.loads(line)
                    except ValueError:      # half a line: the agent was killed while it wrote
                        continue
                    self._events.append(event)
                    self._number = event["number"]
        self._file = path.open("a", encoding="utf-8")
        if path.stat().st_size and path.read_bytes()[-1:] != b"\n":
            self._file.write("\n")

    def emit(self, what: str, **details: Any) -> None:
        """Add an event."""
        with self._news:
            self._number += 1
            event = {"number": self._number, "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                     "what": what, **details}
            self._events.append(event)
            try:
                self._file.write(json.dumps(event) + "\n")
                self._file.flush()
            except OSError as error:    # no room on the disk: the node must go on
                _log.error("event %s can't be saved: %s", event, error)
            self._news.notify_all()

    def since(self, number: int = 0) -> list[dict[str, Any]]:
        """Events after a number."""
        with self._news:
            return [event for event in self._events if event["number"] > number]

    def follow(self, number: int = 0) -> Iterator[dict[str, Any] | None]:
        """Events after a number, and those to come; None now and then, so that who is gone is noticed."""
        while True:
            with self._news:
                if self._number <= number:
                    self._news.wait(1.0)
            events = self.since(number)
            for event in events:
                number = event["number"]
                yield event
            if not events:
                yield None


def _shorten(path: Path) -> None:
    if path.stat().st_size <= _LONGEST_FILE:
        return
    with path.open("rb") as file:
        last = deque(file, maxlen=_KEPT)
    shorter = path.with_suffix(".new")
    shorter.write_bytes(b"".join(last))
    shorter.replace(path)
