"""Control engine of the golden model: what REQUEST frames do."""

from collections.abc import Callable
from typing import Protocol

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    BOARD_ROWS,
    BOARD_WRITABLE,
    INFO_MAGIC,
    QUEUE_STATS,
    REASONS,
    HitStat,
    HostFrameType,
    HostStatus,
    Info,
    Opcode,
    OpStatus,
    QueueStat,
    Register,
    Table,
    row_words,
)

from .golden_tables import Tables
from .host_frames import BOARD_MAC, HostFrame, Op

__all__ = ["ControlEngine"]

#: Tables for which the router is ignored, and those in which "none" has rows.
OF_THE_BOARD = frozenset({Table.INFO, Table.REGISTER, Table.VMAC, Table.LINK, Table.TERMINATION, Table.BOARD})
WITH_NO_ROUTER = frozenset({Table.COUNTER, Table.QUEUE, Table.QUOTA})
WORD_MASK = (1 << 64) - 1


class BoardTable(Protocol):
    """The board table, whatever is behind it."""

    def read(self, row: int) -> int:
        """Bits of a row."""

    def write(self, row: int, value: int) -> None:
        """Write a row that can be."""


class ControlEngine:
    """Executes accesses in order, one shadow row for all tables.

    Parameters
    ----------
    tables : Tables
        What is accessed.
    queue_stat : Callable[[int, int, QueueStat], int]
        Gives the value of a statistic of a router's queues at a port.
    has_macs : bool
        What ``Info.HAS_MACS`` tells.
    policer_cycles, shaper_cycles : int
        What ``Info.POLICER_CYCLES`` and ``Info.SHAPER_CYCLES`` tell.
    board : BoardTable, optional
        Registers of a board; without it that table has no rows.

    Attributes
    ----------
    expected : int
        Sequence number of the next request.
    """

    def __init__(self, tables: Tables, queue_stat: Callable[[int, int, QueueStat], int], *, has_macs: bool = False,
                 policer_cycles: int = 0, shaper_cycles: int = 0, board: BoardTable | None = None):
        self.tables = tables
        self.board = board
        self.config: CoreConfig = tables.config
        self.expected = 0
        self._queue_stat = queue_stat
        self._shadow = [0] * max(row_words(table) for table in Table)
        config = self.config
        self._info = {
            Info.MAGIC: INFO_MAGIC, Info.PORTS: config.ports, Info.ROUTERS: config.routers,
            Info.DATA_WIDTH: config.data_width, Info.VMAC_SLOTS: config.vmac_slots, Info.FIB_WORDS: config.fib_words,
            Info.ADJACENCIES: config.adjacencies, Info.BUFFER_BYTES: config.buffer_bytes,
            Info.CELL_BYTES: config.cell_bytes, Info.QUEUE_FRAMES: config.queue_frames,
            Info.MAX_FRAME: config.max_frame, Info.HAS_MACS: int(has_macs), Info.FILTER_RULES: config.filter_rules,
            Info.POLICERS: config.policers, Info.MAC_ROWS: config.mac_rows, Info.CLOCK_HZ: int(config.clock_hz),
            Info.POLICER_CYCLES: policer_cycles, Info.SHAPER_CYCLES: shaper_cycles,
            Info.CIRCUITS: config.circuits,
        }

    def request(self, frame: HostFrame) -> HostFrame:
        """Execute a well-formed REQUEST; gives the RESPONSE."""
        if frame.reason == HostStatus.SYNC:
            self.expected = frame.sequence
        response = HostFrame(HostFrameType.RESPONSE, frame.body, destination=frame.source, source=BOARD_MAC,
                             sequence=frame.sequence, reason=HostStatus.OUT_OF_SEQUENCE, expected=self.expected)
        if frame.sequence == self.expected:
            self.expected = response.expected = self.expected + 1 & 0xFFFFFFFF
            ops = frame.ops
            for op in ops:
                self.execute(op)
            response.payload = b"".join(op.to_bytes() for op in ops)
            response.reason = HostStatus.OK
        return response

    def execute(self, op: Op) -> None:
        """Do one access and fill in ``status`` and, for a READ that succeeds, ``data``."""
        op.status = self.check(op)
        if op.status != OpStatus.OK or op.opcode == Opcode.FENCE:
            return
        table = Table(op.table)
        if op.opcode == Opcode.READ:
            op.data = self._read(table, op.router, op.row) >> 64 * op.word & WORD_MASK
            return
        self._shadow[op.word] = op.data
        words = row_words(table)
        if op.word == words - 1:
            value = sum(self._shadow[word] << 64 * word for word in range(words))
            if table == Table.BOARD and self.board is not None:
                self.board.write(op.row, value)
            else:
                self.tables.write(table, op.router, op.row, value)

    def _read(self, table: Table, router: int, row: int) -> int:
        if table == Table.INFO:
            return self._info[Info(row)]
        if table == Table.QUEUE:
            return self._queue_stat(router, row // QUEUE_STATS, QueueStat(row % QUEUE_STATS))
        if table == Table.BOARD and self.board is not None:
            return self.board.read(row)
        return self.tables.read(table, router, row)

    def check(self, op: Op) -> OpStatus:
        """What is wrong with an access, in the order of the specification."""
        if op.opcode not in frozenset(Opcode):
            return OpStatus.BAD_OPCODE
        if op.opcode == Opcode.FENCE:
            return OpStatus.OK
        if op.table not in frozenset(Table):
            return OpStatus.BAD_TABLE
        table = Table(op.table)
        if table not in OF_THE_BOARD and op.router >= self.config.routers + (table in WITH_NO_ROUTER):
            return OpStatus.BAD_ROUTER
        status = self._check_row(table, op.router, op.row)
        if status != OpStatus.OK:
            return status
        if op.word >= row_words(table):
            return OpStatus.BAD_WORD
        if op.opcode == Opcode.WRITE and (table in (Table.INFO, Table.QUEUE)
                                          or (table == Table.BOARD and op.row not in BOARD_WRITABLE)):
            return OpStatus.READ_ONLY
        return OpStatus.OK

    def _check_row(self, table: Table, router: int, row: int) -> OpStatus:
        config = self.config
        window = self.tables.window(table, router)
        if window is not None:
            base, size, rows = window
            if table == Table.HIT:
                row //= len(HitStat)
            return OpStatus.OK if row < size and base + row < rows else OpStatus.WINDOW
        limits = {
            Table.INFO: len(Info), Table.REGISTER: len(Register), Table.VMAC: config.vmac_slots, Table.CONTEXT: 1,
            Table.PORT: config.ports, Table.COUNTER: config.all_ports * REASONS,
            Table.QUEUE: config.all_ports * QUEUE_STATS, Table.SHAPER: config.all_ports, Table.QUOTA: 1,
            Table.LINK: config.circuits, Table.TERMINATION: config.circuits,
            Table.BOARD: BOARD_ROWS if self.board is not None else 0,
        }
        good = row < limits[table] and (table != Table.QUEUE or row % QUEUE_STATS < len(QueueStat))
        return OpStatus.OK if good else OpStatus.BAD_ROW
