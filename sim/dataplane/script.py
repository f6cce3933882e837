"""What the bench is to do, and what it says became of it: the file that ``script.h`` reads, and the lines it prints."""

import json
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

__all__ = ["CORRUPTED", "LOST", "MISDELIVERED", "PARTS", "SERIAL_BYTES", "BenchError", "Fate", "Outcome", "Phase",
           "PhaseResult", "BenchFrame", "encode", "run_script"]

#: Of a frame's end, which hold its serial number.
SERIAL_BYTES = 4
#: Parts of a cycle in which intervals between frames are given.
PARTS = 16
#: What becomes of a frame, other than the number of the outcome that it had, counted from 1. LOST is also one that must
#: not come out, and does not; it does not count as lost.
LOST, CORRUPTED, MISDELIVERED = 0, -1, -2


class BenchError(RuntimeError):
    """A run could not be made; the message says what the harness said."""


class Outcome(NamedTuple):
    """What may become of a frame: the port that it leaves by, and how it begins; it goes on as it came in.

    A frame that is punted leaves by the host port, and counts without the header that it has there.
    """

    port: int
    head: bytes
    replaced: int | None = None     # bytes of the frame that the head takes the place of; by default as many as it has


class BenchFrame(NamedTuple):
    """A frame for a port, without FCS and without its serial number, which takes the place of its last bytes.

    At the host port it is one that injects, header and all.
    """

    port: int
    at: int                         # not before this cycle of the phase
    frame: bytes
    outcomes: tuple[Outcome, ...]   # one of them; none if it must not come out


@dataclass
class Phase:
    """Frames and requests that go in together; the phase ends when all is quiet.

    Parameters
    ----------
    frames : list[BenchFrame]
        In the order in which each port sends them, each as soon as it may.
    requests : list[tuple[int, int, bytes]]
        Not before this cycle, sequence number, frame.
    drain : int
        Cycles without anything after which what is missing is lost.
    search : tuple[int, int] or None
        Instead of when the frames say: every port sends one each interval. The shortest one between these two (in
        1/PARTS cycles) is found at which nothing is lost, and the last frame leaves at most ``slack`` cycles later than
        at the longest one.
    """

    frames: list[BenchFrame] = field(default_factory=list)
    requests: list[tuple[int, int, bytes]] = field(default_factory=list)
    drain: int = 20_000
    search: tuple[int, int] | None = None
    slack: int = 200


class Fate(NamedTuple):
    """What became of a frame: an outcome's number, LOST, CORRUPTED or MISDELIVERED; when it came in and went out."""

    fate: int
    entered: int
    left: int


@dataclass(frozen=True)
class PhaseResult:
    """What became of a phase; times in cycles of the lines from its begin."""

    interval: int               # the one that was found, 0 if there was none or none was searched for
    cycles: int
    received: int
    lost: int
    wrong: int                  # all that came out and should not have
    duplicated: int
    bad_fcs: int
    unknown: int
    punted: int
    last_in: int
    last_out: int
    frames: list[Fate]
    requests: list[tuple[int, int]]     # when each was sent, and answered
    reads: list[int]                    # what the READs of the requests found, in their order

    @classmethod
    def from_json(cls, line: str) -> "PhaseResult":
        """Read a line of the harness."""
        values = json.loads(line)
        values["frames"] = [Fate(*entry) for entry in values["frames"]]
        values["requests"] = [(sent, answered) for sent, answered in values["requests"]]
        return cls(**values)

    def spacing(self, frames: Sequence[BenchFrame], clock_hz: float) -> dict[int, float]:
        """Frames a second by egress port: of those that came out right, the first to the last."""
        left: dict[int, list[int]] = {}
        for frame, fate in zip(frames, self.frames, strict=True):
            if fate.fate > 0:
                left.setdefault(frame.outcomes[fate.fate - 1].port, []).append(fate.left)
        return {port: (len(times) - 1) / (max(times) - min(times)) * clock_hz
                for port, times in sorted(left.items()) if len(times) > 1}


def encode(phases: Sequence[Phase]) -> bytes:
    """The script."""
    out = bytearray()
    for phase in phases:
        fastest, slowest = phase.search or (0, 0)
        out += struct.pack("<QQQQI", phase.drain, slowest, fastest, phase.slack, len(phase.frames))
        for serial, frame in enumerate(phase.frames):
            octets = frame.frame[:-SERIAL_BYTES] + serial.to_bytes(SERIAL_BYTES, "little")
            out += struct.pack("<BQH", frame.port, frame.at, len(octets)) + octets
            out.append(len(frame.outcomes))
            for outcome in frame.outcomes:
                replaced = len(outcome.head) if outcome.replaced is None else outcome.replaced
                if replaced > len(octets) - SERIAL_BYTES:
                    raise ValueError("an outcome's head must leave the serial number alone")
                out += struct.pack("<BHH", outcome.port, replaced, len(outcome.head)) + outcome.head
        out += struct.pack("<I", len(phase.requests))
        for at, sequence, octets in phase.requests:
            out += struct.pack("<QIH", at, sequence, len(octets)) + octets
    return bytes(out)


def run_script(executable: Path, phases: Sequence[Phase]) -> list[PhaseResult]:
    """Run phases one after the other, from reset.

    Raises
    ------
    BenchError
        If the harness gives up.
    """
    with tempfile.TemporaryDirectory(prefix="polyrouter-dataplane-") as name:
        script = Path(name, "script")
        script.write_bytes(encode(phases))
        result = subprocess.run([str(executable), str(script)], capture_output=True, text=True, check=False)
    if result.returncode:
        raise BenchError(f"the data-plane bench ended with code {result.returncode}: {result.stderr.strip()}")
    lines = result.stdout.splitlines()
    if len(lines) != len(phases):
        raise BenchError(f"the data-plane bench reported {len(lines)} of {len(phases)} phases")
    return [PhaseResult.from_json(line) for line in lines]
