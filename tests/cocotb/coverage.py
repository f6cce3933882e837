"""Which reasons each bench is responsible for: its run fails if the core has not counted them all."""

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import Reason

__all__ = ["ENOUGH_FRAMES", "ONLY_WITHOUT_ROOM", "REACHES", "reached_by"]

#: What only full buffers make of a frame.
ONLY_WITHOUT_ROOM = frozenset({Reason.DROP_OVERFLOW, Reason.DROP_QUEUE, Reason.DROP_PUNT_QUEUE})
#: Reasons by bench.
REACHES = {
    "random_traffic": frozenset(Reason) - ONLY_WITHOUT_ROOM,
    "full_queues": frozenset({Reason.DROP_QUEUE, Reason.DROP_PUNT_QUEUE}),
    "overload": frozenset({Reason.DROP_OVERFLOW}),
    "quotas": frozenset({Reason.DROP_QUEUE}),
    "policing": frozenset({Reason.DROP_POLICER}),
    "bad_frames_back_to_back": frozenset({Reason.DROP_FCS, Reason.DROP_LENGTH}),
}
#: Random traffic reaches everything with so many frames; with fewer, what is rare may be missing.
ENOUGH_FRAMES = 2500
#: What takes a second port.
WITH_OTHER_PORTS = frozenset({Reason.BRIDGED, Reason.DROP_RPF})


def reached_by(test: str, config: CoreConfig, frames: int) -> frozenset[Reason]:
    """Reasons that a run must reach.

    Parameters
    ----------
    test : str
        Name of the bench.
    config : CoreConfig
        Parameters of the core.
    frames : int
        How many frames it is told to send.
    """
    if test != "random_traffic":
        return REACHES[test]
    if frames < ENOUGH_FRAMES:
        return frozenset()
    return REACHES[test] - (WITH_OTHER_PORTS if config.ports == 1 else frozenset())
