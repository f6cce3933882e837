"""Access to a board's tables, counters and registers over its host port."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...hdl.config import ConfigError, CoreConfig
from ...hdl.layouts import (
    INFO_MAGIC,
    MAX_OPS,
    QUEUE_STATS,
    REASONS,
    Info,
    OpStatus,
    QueueStat,
    Reason,
    Register,
    Table,
    row_words,
)
from .errors import NotABoard, OpError
from .frames import Op, OpResult
from .hostport import HostPort
from .window import Batch, RequestWindow

__all__ = ["BoardInfo", "Driver", "Row"]

#: What :meth:`Driver.write_rows` takes: table, router, row, bits.
Row = tuple[Table, int, int, int]

WORD_BITS = 64
WORD_MASK = (1 << WORD_BITS) - 1
#: Words that are read before it is another thread's turn.
READ_AT_ONCE = 2048


@dataclass(frozen=True)
class BoardInfo:
    """What a board says of itself.

    Attributes
    ----------
    config : CoreConfig
        Its parameters; ``ingress_bytes``, ``filter_banks``, ``fib_rings``, ``vmac_cycles``, ``context_words``,
        ``hash_cycles``, ``headers``, ``record_rows``, ``slices``, ``stage_registers`` and ``access_bits``, which it
        does not tell, have their defaults.
    has_macs : bool
        The core has MACs, so that frames can have a wrong FCS and queues can underflow.
    policer_cycles, shaper_cycles : int
        Core cycles from one refill of a bucket to its next.
    """

    config: CoreConfig
    has_macs: bool
    policer_cycles: int = 0
    shaper_cycles: int = 0


class Driver:
    """The control engine of a board. Its methods may be called from any thread; each waits for the one before.

    The first access starts a new sequence of requests, as :meth:`sync` does. After a :class:`.errors.BoardTimeout` or
    :class:`.errors.BoardOutOfStep` only :meth:`sync` does, since whoever wrote the tables must know.

    Parameters
    ----------
    hostport : HostPort
        Where the board is.
    timeout : float
        Seconds to wait for an answer before a request is repeated; doubles with every repetition, up to two seconds.
    retries : int
        Repetitions without an answer before it gives up.
    window : int
        Requests in flight.
    """

    def __init__(self, hostport: HostPort, *, timeout: float = 0.25, retries: int = 8, window: int = 8):
        self.hostport = hostport
        self._window = RequestWindow(hostport, timeout=timeout, retries=retries, size=window)
        self._lock = threading.RLock()
        self._started = False
        self._info: BoardInfo | None = None

    def in_step(self) -> bool:
        """Whether the last exchange ended well; waits for one that is under way. Before the first one it is True."""
        with self._lock:
            return not self._started or self._window.in_step

    def sync(self) -> None:
        """Start a new sequence of requests, whatever the board did before.

        Raises
        ------
        BoardTimeout
            If the board does not answer.
        NotABoard
            If what answers is none.
        """
        with self._lock:
            self._info = None
            self._started = True
            magic = self._window.sync([Op.read(Table.INFO, Info.MAGIC)])[0]
            if magic.status != OpStatus.OK or magic.data != INFO_MAGIC:
                raise NotABoard(f"the magic number is {magic.data:#018x}, not {INFO_MAGIC:#018x}: this is not a board, "
                                "or one of another version")

    def info(self) -> BoardInfo:
        """What the board says of itself.

        Raises
        ------
        NotABoard
            If its parameters are impossible.
        """
        with self._lock:
            if self._info is None:
                values = {row: result.data for row, result in
                          zip(Info, self.execute([Op.read(Table.INFO, row) for row in Info]), strict=True)}
                parameters = {row.name.lower(): value for row, value in values.items()
                              if row not in (Info.MAGIC, Info.HAS_MACS, Info.POLICER_CYCLES, Info.SHAPER_CYCLES)}
                if values[Info.MAGIC] != INFO_MAGIC:
                    raise NotABoard(f"the magic number is {values[Info.MAGIC]:#018x}, not {INFO_MAGIC:#018x}")
                try:
                    self._info = BoardInfo(CoreConfig(**parameters), bool(values[Info.HAS_MACS]),
                                           values[Info.POLICER_CYCLES], values[Info.SHAPER_CYCLES])
                except ConfigError as error:
                    raise NotABoard(f"the board's parameters are impossible: {error}") from error
            return self._info

    def execute(self, ops: Sequence[Op], *, check: bool = True) -> list[OpResult]:
        """Do accesses, in this order.

        Parameters
        ----------
        ops : Sequence[Op]
            As many as one likes; they are sent in frames of up to ``MAX_OPS``.
        check : bool
            Raise if one is refused, and start nothing that comes after it and was not under way. Else the status is
            in its result, and all are done.

        Returns
        -------
        list[OpResult]
            One for each access. A READ tells of a time between the call and its return; where an answer was lost, this
            may be after later accesses of the same call.

        Raises
        ------
        OpError
            If an access is refused; tells of the first one.
        BoardTimeout
            If the board does not answer.
        BoardOutOfStep
            If the board was reset, or another driver uses it.
        """
        batches = [Batch(start, list(ops[start:start + MAX_OPS])) for start in range(0, len(ops), MAX_OPS)]
        with self._lock:
            if not self._started:
                self.sync()
            self._window.run(batches, lambda batch: not check or _refused(batch) is None)
        if check:
            for batch in batches:
                error = _refused(batch)
                if error is not None:
                    raise error
        return [result for batch in batches for result in batch.results or ()]

    def fence(self) -> None:
        """Wait until every lookup that had begun has ended, so that what it may have read can be reused."""
        self.execute([Op.fence()])

    def read_row(self, table: Table, row: int, router: int = 0) -> int:
        """Bits of a row."""
        return self.read_rows([(table, router, row)])[0]

    def read_rows(self, rows: Iterable[tuple[Table, int, int]]) -> list[int]:
        """Bits of each of (table, router, row)."""
        wanted = list(rows)
        ops = [Op.read(table, row, router=router, word=word)
               for table, router, row in wanted for word in range(row_words(table))]
        # In parts, so that others need not wait until a large table was read.
        results = iter([result for start in range(0, len(ops), READ_AT_ONCE)
                        for result in self.execute(ops[start:start + READ_AT_ONCE])])
        return [sum(next(results).data << WORD_BITS * word for word in range(row_words(table)))
                for table, _, _ in wanted]

    def write_rows(self, rows: Iterable[Row]) -> None:
        """Write rows, in this order, each whole."""
        self.execute([Op.write(table, row, bits >> WORD_BITS * word & WORD_MASK, router=router, word=word)
                      for table, router, row, bits in rows for word in range(row_words(table))])

    def read_counters(self, router: int) -> dict[tuple[int, Reason], int]:
        """A router's counters by ingress port and reason; ``routers`` is "none", the host port is ``ports``."""
        keys = [(port, reason) for port in range(self.info().config.all_ports) for reason in Reason]
        values = self.read_rows((Table.COUNTER, router, port * REASONS + reason) for port, reason in keys)
        return dict(zip(keys, values, strict=True))

    def clear_counters(self, router: int) -> None:
        """Set a router's counters to zero."""
        self.write_rows((Table.COUNTER, router, port * REASONS + reason, 0)
                        for port in range(self.info().config.all_ports) for reason in Reason)

    def read_queues(self, router: int) -> dict[tuple[int, QueueStat], int]:
        """State of a router's output queues by port and statistic; the host port is ``ports``.

        ``routers`` is "none": group frames that wait for their copies. Free cells and underflows are the board's.
        """
        keys = [(port, stat) for port in range(self.info().config.all_ports) for stat in QueueStat]
        values = self.read_rows((Table.QUEUE, router, port * QUEUE_STATS + stat) for port, stat in keys)
        return dict(zip(keys, values, strict=True))

    @property
    def epoch(self) -> int:
        """What was last written to ``Register.EPOCH``; zero after a reset, when all tables are empty, too."""
        return self.read_row(Table.REGISTER, Register.EPOCH)

    @epoch.setter
    def epoch(self, value: int) -> None:
        self.write_rows([(Table.REGISTER, 0, Register.EPOCH, value)])

    def close(self) -> None:
        """Close the host port."""
        self.hostport.close()


def _refused(batch: Batch) -> OpError | None:
    for position, (op, result) in enumerate(zip(batch.ops, batch.results or (), strict=False)):
        if result.status != OpStatus.OK:
            return OpError(batch.start + position, op, result.status)
    return None
