"""Points at which tests stop a move, kill who takes part in it, or cut what joins them."""

import os
import signal
import time
from pathlib import Path

__all__ = ["FAULTS_VARIABLE", "POINTS", "point"]

#: Directory of the faults; nothing happens without it. A file there that has a point's name says what happens at that
#: point: "kill" ends this process at once; "raise" is a failure; "wait" waits for the file to go, and says by a file
#: ``NAME.reached`` that it does.
FAULTS_VARIABLE = "POLYROUTER_FAULTS"

#: All points in their order, those of the source and of the destination.
POINTS = (
    "source-begun", "source-checked", "destination-reserved", "source-reserved", "source-copied", "destination-copied",
    "source-frozen", "source-dumped", "source-sent", "destination-restoring", "destination-restored", "source-restored",
    "source-committed", "destination-activating", "destination-activated", "source-activated", "source-drained",
    "source-freed")

_POLL = 0.01


def point(name: str) -> None:
    """Do here what a test wants.

    Raises
    ------
    OSError
        If it wants a failure.
    """
    assert name in POINTS
    directory = os.environ.get(FAULTS_VARIABLE)
    if not directory:
        return
    file = Path(directory, name)
    try:
        what = file.read_text().strip()
    except FileNotFoundError:
        return
    if what == "kill":
        file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "raise":
        file.unlink()
        raise OSError(f"a test wants a failure at {name}")
    elif what == "wait":
        file.with_name(f"{name}.reached").touch()
        while file.exists():
            time.sleep(_POLL)
