"""A router's move as everybody sees it: what is to move, in which stage it is, and why it can't be."""

from enum import StrEnum

from pydantic import BaseModel

from ..spec import RouterSpec

__all__ = ["Mode", "Move", "MoveError", "MoveResult", "Stage", "Unfinished"]


class Stage(StrEnum):
    """Stages of a move, after Clark et al., "Live Migration of Virtual Machines" (NSDI 2005), section 3."""

    PRE_MIGRATION = "pre-migration"
    RESERVATION = "reservation"
    COPY = "copy"
    STOP_AND_COPY = "stop-and-copy"
    COMMITMENT = "commitment"
    ACTIVATION = "activation"


class Mode(StrEnum):
    """How the control plane moves.

    LIVE: its processes go on where they were (CRIU). RESTART: they are started anew, and their neighbours help them
    (graceful restart, RFC 3623 and RFC 4724).
    """

    LIVE = "live"
    RESTART = "restart"


class Move(BaseModel):
    """What is to move.

    Attributes
    ----------
    id : str
        Of this move, unlike all others.
    router : RouterSpec
        As it is to be on the destination.
    source, destination : str
        Nodes.
    mode : Mode
    """

    id: str
    router: RouterSpec
    source: str
    destination: str
    mode: Mode = Mode.LIVE


class MoveResult(BaseModel):
    """How a move went.

    Attributes
    ----------
    freeze_ms : float
        From when the processes stopped to when they ran on the destination with their interfaces.
    total_ms : float
    stages_ms : dict
        Of each stage.
    steps_ms : dict
        Of what was done while the processes stood still.
    image_bytes, layer_bytes : int
        That were sent: of the checkpoint, and of the container's own files.
    routes : int
        In the container's kernel.
    """

    freeze_ms: float
    total_ms: float
    stages_ms: dict[str, float]
    steps_ms: dict[str, float]
    image_bytes: int
    layer_bytes: int
    routes: int


class MoveError(RuntimeError):
    """A router was not moved: the message says why, and it is where it was."""


class Unfinished(MoveError):
    """The router is the destination's, which is gone: what was the source's forwards until the destination is back."""
