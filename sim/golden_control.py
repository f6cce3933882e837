"""Control engine of the golden model: what REQUEST frames do."""

from collections.abc import Callable

from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    INFO_MAGIC,
    REASONS,
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

STATS_PER_PORT = 8
WORD_MASK = (1 << 64) - 1


class ControlEngine:
    """Executes accesses in order, one shadow row for all tables.

    Parameters
    ----------
    tables : Tables
        What is accessed.
    queue_stat : Callable[[int, QueueStat], int]
        Gives the value of a queue's statistic.
    has_macs : bool
        What ``Info.HAS_MACS`` tells.

    Attributes
    ----------
    expected : int
        Sequence number of the next request.
    """

    def __init__(self, tables: Tables, queue_stat: Callable[[int, QueueStat], int], *, has_macs: bool = False):
        self.tables = tables
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
            Info.MAX_FRAME: config.max_frame, Info.HAS_MACS: int(has_macs),
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
            self.tables.write(table, op.router, op.row, value)

    def _read(self, table: Table, router: int, row: int) -> int:
        if table == Table.INFO:
            return self._info[Info(row)]
        if table == Table.QUEUE:
            return self._queue_stat(row // STATS_PER_PORT, QueueStat(row % STATS_PER_PORT))
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
        if table not in (Table.INFO, Table.REGISTER, Table.VMAC, Table.QUEUE):
            routers = self.config.routers + (table == Table.COUNTER)
            if op.router >= routers:
                return OpStatus.BAD_ROUTER
        status = self._check_row(table, op.router, op.row)
        if status != OpStatus.OK:
            return status
        if op.word >= row_words(table):
            return OpStatus.BAD_WORD
        if op.opcode == Opcode.WRITE and table in (Table.INFO, Table.QUEUE):
            return OpStatus.READ_ONLY
        return OpStatus.OK

    def _check_row(self, table: Table, router: int, row: int) -> OpStatus:
        config = self.config
        if table in (Table.FIB, Table.ADJACENCY):
            context = self.tables.context(router)
            base, size, rows = ((context.fib_base, context.fib_size, config.fib_words) if table == Table.FIB
                                else (context.adj_base, context.adj_size, config.adjacencies))
            return OpStatus.OK if row < size and base + row < rows else OpStatus.WINDOW
        match table:
            case Table.INFO:
                good = row < len(Info)
            case Table.REGISTER:
                good = row < len(Register)
            case Table.VMAC:
                good = row < config.vmac_slots
            case Table.CONTEXT:
                good = row == 0
            case Table.PORT:
                good = row < config.ports
            case Table.COUNTER:
                good = row < config.all_ports * REASONS
            case _:
                good = row < config.all_ports * STATS_PER_PORT and row % STATS_PER_PORT < len(QueueStat)
        return OpStatus.OK if good else OpStatus.BAD_ROW
