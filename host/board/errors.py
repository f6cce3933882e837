"""What can go wrong between the host and a board."""

from ...hdl.layouts import OpStatus
from .frames import Op

__all__ = ["BoardError", "BoardOutOfStep", "BoardTimeout", "NotABoard", "OpError"]

_HINTS = {
    OpStatus.BAD_OPCODE: "the board does not know this operation: it was built from another version",
    OpStatus.BAD_TABLE: "the board does not have this table: it was built from another version",
    OpStatus.BAD_ROUTER: "the board has fewer routers; 'polyrouter show context' tells how many",
    OpStatus.BAD_ROW: "the table has fewer rows; the board's parameters are in its INFO table",
    OpStatus.BAD_WORD: "rows of this table have fewer words",
    OpStatus.WINDOW: "the row is outside of the router's window, which its CONTEXT row tells and is written first",
    OpStatus.READ_ONLY: "this row can only be read",
}


class BoardError(RuntimeError):
    """Something is wrong with a board, or with what was asked of it."""


class BoardTimeout(BoardError):
    """A board did not answer, however often it was asked."""

    def __init__(self, asked: str, seconds: float, attempts: int):
        super().__init__(f"the board did not answer to {asked} in {seconds:.1f} s ({attempts} attempts): check that it "
                         "runs, and that the host port's interface is up")
        self.seconds = seconds
        self.attempts = attempts


class BoardOutOfStep(BoardError):
    """A board expects a sequence number that this driver is not at: it was reset, or another driver uses it, or an
    exchange with it was broken off. What was under way may have been done or not."""

    def __init__(self, expected: int | None = None, sequence: int | None = None):
        what = ("an earlier exchange with the board was broken off" if expected is None else
                f"the board expects request {expected} and got {sequence}: it was reset, or another driver uses it")
        super().__init__(f"{what}; call sync(), compare the epoch, and write the tables again if it differs")
        self.expected = expected
        self.sequence = sequence


class NotABoard(BoardError):
    """What answers at the host port does not have the magic number of a board, or parameters that none can have."""


class OpError(BoardError):
    """A board refused an access. Accesses before it, and some after it, were done.

    Attributes
    ----------
    index : int
        Position in the list that was to be executed.
    op : Op
        The access.
    status : OpStatus
        Why it was refused.
    """

    def __init__(self, index: int, op: Op, status: OpStatus):
        super().__init__(f"access {index}, {op.describe()}, was refused: {status.name} ({_HINTS[status]})")
        self.index = index
        self.op = op
        self.status = status

    @property
    def table(self) -> int:
        """Table of the access."""
        return self.op.table

    @property
    def row(self) -> int:
        """Row of the access."""
        return self.op.row
