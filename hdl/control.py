"""Control engine: executes the host's table accesses."""

from amaranth.hdl import Array, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2, exact_log2

from .config import CoreConfig
from .counters import counter_rows
from .hostframe import REQUEST, response_layout
from .layouts import (
    BOARD_ROWS,
    BOARD_WRITABLE,
    CONTEXT_ROW,
    CONTROL_OP,
    INFO_MAGIC,
    MAX_OPS,
    PORT_ROW,
    QUEUE_STATS,
    REASONS,
    ROWS,
    HitStat,
    HostStatus,
    Info,
    Opcode,
    OpStatus,
    QueueStat,
    Register,
    Table,
    row_words,
)
from .membership import MemberWrite, PortWrite
from .memories import NEVER_MEET, delivered
from .pieces import context_pieces
from .policers import policer_cycles
from .readback import Readback
from .records import TableSignature
from .rowwriter import RowWriter
from .shapers import shaper_cycles
from .stream import PacketSignature
from .table import port_index_bits, port_table_rows, table_addr_bits
from .words import WORD_BITS, WordJoiner, WordSplitter

__all__ = ["ControlEngine"]

_OP_WORDS = 2
#: Lookups that can be under way at once.
_LOOKUP_BITS = 8
#: Fields of the context row that say where a router's window of a table begins and how long it is.
_WINDOWS = {
    Table.FIB: ("fib_base", "fib_size"),
    Table.ADJACENCY: ("adj_base", "adj_size"),
    Table.FILTER: ("filter_base", "filter_size"),
    Table.ACTION: ("filter_base", "filter_size"),
    Table.HIT: ("filter_base", "filter_size"),
    Table.POLICER: ("policer_base", "policer_size"),
    Table.MAC: ("mac_base", "mac_size"),
}
_HIT_BITS = exact_log2(len(HitStat))
#: Cycles between two parts: accesses are not closer than those of two operations, which look-ups have to live with.
_PAUSE_CYCLES = 8


class ControlEngine(wiring.Component):
    """Executes requests one after the other, and one operation of a request after the other.

    The operations are kept in a block RAM, where the answers take their place. An operation takes 7 to 10 cycles and
    what its table takes; a request and its response one and two cycles more for each 64-bit word. If ``access_bits`` is
    16, a read of a table that only this engine changes is four accesses, 8 cycles apart; of others, 3 cycles longer; a
    row is written one cycle later, and one for each 16 bits of it.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.
    has_macs : bool
        What the information table says of MACs.
    has_board : bool
        There is a port for the board table; else it has no rows.

    Attributes
    ----------
    i : PacketSignature
        Operations of a request; what follows ``request.length`` bytes is ignored.
    request : REQUEST, in
        Header of the request; stable while ``i`` offers it.
    o : stream of response_layout
        Operations with their answers.
    vmac, context, port, fib, ... : TableSignature
        A port for each table that is not in here, in lower case. Rows: ``context`` and ``quota`` by router, ``port`` by
        ``router << port_index_bits | port``, ``shaper`` by ``router * (ports + 1) + port``, ``counter`` as in
        :class:`.counters.Counters`, ``queue`` by ``(router * (ports + 1) + port) * 8 + stat``; of tables with windows
        the absolute row.
    context_piece : PieceSignature
        Of :func:`.context_pieces`: the pieces of context rows that are read.
    member_write : MemberWrite
        Writes of context rows.
    port_write : PortWrite
        Writes of PORT rows.
    lookup_enter, lookup_leave : Signal, in
        A frame's look-up begins, or the frame has been paired with its verdict; one a cycle at most.
    registers : array of Signal(64), out
        By :class:`.layouts.Register`.
    busy : Signal, out
        A request is being worked on.
    """

    def __init__(self, config: CoreConfig, has_macs: bool = False, has_board: bool = False) -> None:
        self._config = config
        self._has_macs = has_macs
        self._has_board = has_board
        #: Rows of the tables that are elsewhere, as their ports number them.
        self._rows = {
            Table.VMAC: config.vmac_slots,
            Table.CONTEXT: config.routers,
            Table.PORT: port_table_rows(config),
            Table.FIB: config.fib_words,
            Table.ADJACENCY: config.adjacencies,
            Table.COUNTER: counter_rows(config),
            Table.QUEUE: (config.routers + 1) * config.all_ports * QUEUE_STATS,
            Table.FILTER: config.filter_rules,
            Table.ACTION: config.filter_rules,
            Table.HIT: config.filter_rules * len(HitStat),
            Table.POLICER: config.policers,
            Table.MAC: config.mac_rows,
            Table.SHAPER: config.routers * config.all_ports,
            Table.QUOTA: config.routers + 1,
            Table.LINK: config.circuits,
            Table.TERMINATION: config.circuits,
            **({Table.BOARD: BOARD_ROWS} if has_board else {}),
        }
        pieces = context_pieces(config)
        super().__init__({
            "i": In(PacketSignature(config)),
            "request": In(REQUEST),
            "o": Out(stream.Signature(response_layout(config.data_width))),
            **{table.name.lower(): Out(TableSignature(table_addr_bits(rows), ROWS[table]))
               for table, rows in self._rows.items()},
            **({"context_piece": In(pieces)} if pieces else {}),
            "member_write": Out(MemberWrite(config)),
            "port_write": Out(PortWrite(config)),
            "lookup_enter": In(1),
            "lookup_leave": In(1),
            "registers": Out(64).array(len(Register)),
            "busy": Out(1),
        })
        #: The operation under way.
        self.op = Signal(CONTROL_OP)
        #: Its access is still to come, when a row is there or for the next part of a word.
        self.pauses = Signal()

    def elaborate(self, platform):
        m = Module()
        config = self._config
        op = self.op
        ports = {table: getattr(self, table.name.lower()) for table in self._rows}

        # Request in, response out.
        m.submodules.splitter = splitter = WordSplitter(config.data_width)
        m.submodules.joiner = joiner = WordJoiner(config.data_width)
        m.submodules.ops = ops = memory.Memory(
            shape=unsigned(WORD_BITS), depth=MAX_OPS * _OP_WORDS, init=[], attrs=NEVER_MEET)
        read, write = ops.read_port(), ops.write_port()
        word_read = delivered(m, platform, read, write)
        header = Signal(REQUEST)
        expected = Signal(32)
        reason = Signal(HostStatus)
        word = Signal(range(MAX_OPS * _OP_WORDS + 1))
        final_word = Signal()
        count_bits = exact_log2(WORD_BITS // 8)
        m.d.comb += [
            splitter.i.valid.eq(self.i.valid),
            splitter.i.payload.data.eq(self.i.payload.data),
            splitter.i.payload.last.eq(self.i.payload.last),
            self.i.ready.eq(splitter.i.ready),
            self.o.valid.eq(joiner.o.valid),
            joiner.o.ready.eq(self.o.ready),
            self.o.payload.data.eq(joiner.o.payload.data),
            self.o.payload.last.eq(joiner.o.payload.last),
            self.o.payload.length.eq(header.length),
            self.o.payload.destination.eq(header.source),
            self.o.payload.sequence.eq(header.sequence),
            self.o.payload.expected.eq(expected),
            self.o.payload.reason.eq(reason),
            final_word.eq(word == (header.length >> count_bits) - 1),
            joiner.i.payload.data.eq(word_read),
            joiner.i.payload.last.eq(final_word),
            self.busy.eq(1),
            read.en.eq(0),
            read.addr.eq(word),
            write.addr.eq(word),
        ]

        # Lookups that are under way, and those that a fence still waits for.
        lookups = Signal(_LOOKUP_BITS)
        older = Signal(_LOOKUP_BITS)
        lookups_now = Signal(_LOOKUP_BITS)
        m.d.comb += lookups_now.eq(lookups + self.lookup_enter - self.lookup_leave)
        m.d.sync += lookups.eq(lookups_now)

        registers = Array(Signal(64, name=f"register_{row.name.lower()}",
                                 init=config.cells if row == Register.SHARED_CELLS else 0) for row in Register)
        m.d.comb += [self.registers[row].eq(registers[row]) for row in Register]
        register = op.row[:ceil_log2(len(Register))]

        status = Signal(OpStatus)
        base = Signal(max(CONTEXT_ROW[name].width for name, _ in _WINDOWS.values()))
        size = Signal(max(CONTEXT_ROW[name].width for _, name in _WINDOWS.values()))
        addr = Signal(max(len(base), *(len(port.addr) for port in ports.values())) + 1)
        ports_before = Signal(len(op.router) + config.all_ports.bit_length())   # those of routers with lower numbers
        window_row = Signal(32)             # row in the window, in the unit of its size
        windowed = Signal()
        writing = Signal()
        last_word = Signal()
        words = Signal(range(max(row_words(table) for table in Table) + 1))
        acked = Signal()
        m.d.comb += [
            window_row.eq(op.row),
            writing.eq(op.opcode == Opcode.WRITE),
            words.eq(1),
            last_word.eq(op.word == words - 1),
        ]
        with m.Switch(op.table):
            for table in Table:
                with m.Case(table):
                    m.d.comb += words.eq(row_words(table))
        rows = {Table.INFO: self._info(op.row), Table.REGISTER: registers[register],
                **{table: port.r_data for table, port in ports.items()}}
        m.submodules.readback = readback = Readback(config, rows)
        m.d.comb += [readback.table.eq(op.table), readback.word.eq(op.word)]
        if context_pieces(config):
            connect(m, flipped(self.context_piece), readback.context_piece)
            del rows[Table.CONTEXT]
        m.d.comb += [getattr(readback, table.name.lower()).eq(row) for table, row in rows.items()]
        pause = Signal(range(_PAUSE_CYCLES))
        table_rows = Signal(range(max(self._rows.values()) + 1))
        with m.Switch(op.table):
            for table in _WINDOWS:
                with m.Case(table):
                    rows = self._rows[table] // (len(HitStat) if table is Table.HIT else 1)
                    m.d.comb += [windowed.eq(1), table_rows.eq(rows)]
                    if table is Table.HIT:
                        m.d.comb += window_row.eq(op.row >> _HIT_BITS)
        m.submodules.written = written = RowWriter(config, (Table.REGISTER, *ports))
        m.d.comb += [written.table.eq(op.table), written.word.eq(op.word), written.i.eq(op.data),
                     written.hand_over.eq(last_word)]
        for table, port in ports.items():
            m.d.comb += [
                port.addr.eq(op.router if table is Table.CONTEXT else addr),
                port.w_data.eq(getattr(written, table.name.lower())),
                port.write.eq(writing),
            ]
        read_only = Signal()
        m.d.comb += read_only.eq((op.table == Table.INFO) | (op.table == Table.QUEUE))
        if self._has_board:
            with m.If(op.table == Table.BOARD):
                m.d.comb += read_only.eq(~op.row[:ceil_log2(BOARD_ROWS)].matches(*BOARD_WRITABLE))
        # Not only the operation's own access: the window comes from the context row too.
        window_read = Signal()
        with m.If(window_read):
            m.d.comb += [self.context.stb.eq(1), self.context.write.eq(0)]
        m.d.comb += [
            self.member_write.addr.eq(op.router),
            self.member_write.data.eq(written.context),
            self.port_write.router.eq(op.router),
            self.port_write.port.eq(op.row),
            self.port_write.vid.eq(data.View(PORT_ROW, written.port).vid),
        ]

        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("RECEIVE"))
            with m.State("RECEIVE"):
                m.d.comb += [
                    self.busy.eq(0),
                    splitter.o.ready.eq(1),
                    write.data.eq(splitter.o.payload.data),
                    write.en.eq(splitter.o.valid & (word < self.request.length >> count_bits)),
                ]
                with m.If(splitter.o.valid):
                    m.d.sync += [header.eq(self.request), word.eq(word + write.en)]
                    with m.If(splitter.o.payload.last):
                        m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.sync += word.eq(0)
                with m.If((header.reason == HostStatus.SYNC) | (header.sequence == expected)):
                    m.d.sync += [expected.eq(header.sequence + 1), reason.eq(HostStatus.OK)]
                    m.next = "FETCH"
                with m.Else():
                    m.d.sync += reason.eq(HostStatus.OUT_OF_SEQUENCE)
                    m.next = "RESPOND"

            with m.State("FETCH"):
                m.d.comb += read.en.eq(1)
                m.next = "FETCH_DATA"
            with m.State("FETCH_DATA"):
                m.d.comb += [read.addr.eq(word | 1), read.en.eq(1)]
                m.d.sync += op.as_value()[:WORD_BITS].eq(word_read)
                m.next = "FETCHED"
            with m.State("FETCHED"):
                m.d.sync += op.data.eq(word_read)
                m.next = "CHECK"

            with m.State("CHECK"):
                checked = self._check(m, op)
                # By adders: a multiplier and what comes behind it in ADDRESS take too long, together.
                m.d.sync += [
                    status.eq(checked), older.eq(lookups_now),
                    ports_before.eq(sum(op.router << bit for bit in range(config.all_ports.bit_length())
                                        if config.all_ports & 1 << bit)),
                ]
                with m.If(checked != OpStatus.OK):
                    m.next = "ANSWER"
                with m.Elif(op.opcode == Opcode.FENCE):
                    m.next = "FENCE"
                with m.Elif(windowed):
                    m.next = "WINDOW"
                with m.Else():
                    m.next = "ADDRESS"
            with m.State("WINDOW"):
                context = Signal(CONTEXT_ROW)
                m.d.comb += [window_read.eq(1), context.eq(self.context.r_data)]
                with m.If(self.context.ack):
                    with m.Switch(op.table):
                        for table, (first, length) in _WINDOWS.items():
                            with m.Case(table):
                                m.d.sync += [base.eq(context[first]), size.eq(context[length])]
                    m.next = "ADDRESS"
            with m.State("ADDRESS"):
                m.d.sync += addr.eq(op.row)
                with m.Switch(op.table):
                    for table in _WINDOWS:
                        with m.Case(table):
                            if table is Table.HIT:
                                m.d.sync += addr.eq((base << _HIT_BITS) + op.row[:len(size) + _HIT_BITS])
                            else:
                                m.d.sync += addr.eq(base + op.row[:len(size)])
                    with m.Case(Table.PORT):
                        m.d.sync += addr.eq(op.router << port_index_bits(config) | op.row[:8])
                    with m.Case(Table.COUNTER):
                        m.d.sync += addr.eq(ports_before * REASONS + op.row[:9])
                    with m.Case(Table.QUEUE):
                        m.d.sync += addr.eq(ports_before * QUEUE_STATS + op.row[:7])
                    with m.Case(Table.SHAPER):
                        m.d.sync += addr.eq(ports_before + op.row[:4])
                    with m.Case(Table.QUOTA):
                        m.d.sync += addr.eq(op.router)
                m.next = "ALLOW"
            with m.State("ALLOW"):
                m.next = "ANSWER"
                last_row = Mux(op.table == Table.HIT, addr >> _HIT_BITS, addr)
                with m.If(windowed & ((window_row >= size) | (last_row >= table_rows))):
                    m.d.sync += status.eq(OpStatus.WINDOW)
                with m.Elif(op.word >= words):
                    m.d.sync += status.eq(OpStatus.BAD_WORD)
                with m.Elif(writing & read_only):
                    m.d.sync += status.eq(OpStatus.READ_ONLY)
                with m.Else():
                    m.d.comb += written.put.eq(writing)
                    with m.If(~writing | last_word):
                        m.next = "ACCESS"
            with m.State("ACCESS"):
                m.d.comb += [
                    self.pauses.eq(written.busy),
                    readback.take.eq(acked & ~writing),
                    self.member_write.en.eq(acked & writing & (op.table == Table.CONTEXT)),
                    self.port_write.en.eq(acked & writing & (op.table == Table.PORT)),
                ]
                with m.If(~written.busy), m.Switch(op.table):
                    with m.Case(Table.INFO, Table.REGISTER):
                        m.d.comb += acked.eq(1)
                    for table, port in ports.items():
                        with m.Case(table):
                            m.d.comb += [port.stb.eq(1), acked.eq(port.ack)]
                with m.If(acked & writing & (op.table == Table.REGISTER)):
                    m.d.sync += registers[register].eq(written.register)
                with m.If(acked):
                    m.next = "ANSWER"
                    with m.If(~writing & readback.more):
                        m.next = "PAUSE"
            with m.State("PAUSE"):
                m.d.comb += self.pauses.eq(1)
                m.d.sync += pause.eq(Mux(pause == _PAUSE_CYCLES - 1, 0, pause + 1))
                with m.If(pause == _PAUSE_CYCLES - 1):
                    m.next = "ACCESS"
            with m.State("FENCE"):
                m.d.sync += older.eq(older - self.lookup_leave)
                with m.If(older == 0):
                    m.d.sync += older.eq(0)
                    m.next = "ANSWER"

            with m.State("ANSWER"):
                answer = Signal(CONTROL_OP)
                m.d.comb += [
                    answer.eq(op),
                    answer.status.eq(status),
                    write.data.eq(answer.as_value()[:WORD_BITS]),
                    write.en.eq(1),
                ]
                with m.If(~readback.busy):
                    m.d.sync += word.eq(word + 1)
                    m.next = "ANSWER_DATA"
            with m.State("ANSWER_DATA"):
                m.d.comb += [
                    write.data.eq(readback.o),
                    write.en.eq((op.opcode == Opcode.READ) & (status == OpStatus.OK)),
                ]
                m.d.sync += word.eq(word + 1)
                m.next = "FETCH"
                with m.If(final_word):
                    m.d.sync += word.eq(0)
                    m.next = "RESPOND"

            with m.State("RESPOND"):
                m.d.comb += read.en.eq(1)
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += joiner.i.valid.eq(1)
                with m.If(joiner.i.ready):
                    m.d.sync += word.eq(word + 1)
                    m.next = "RESPOND"
                    with m.If(final_word):
                        m.d.sync += word.eq(0)
                        m.next = "DRAIN"
            # The header's fields have to stay until the last beat has left.
            with m.State("DRAIN"), m.If(~joiner.o.valid | joiner.o.ready):
                m.next = "RECEIVE"
        return m

    def _check(self, m: Module, op):
        """First failure among the checks that need nothing but the operation."""
        config = self._config
        rows = {
            Table.INFO: len(Info),
            Table.REGISTER: len(Register),
            Table.VMAC: config.vmac_slots,
            Table.CONTEXT: 1,
            Table.PORT: config.ports,
            Table.COUNTER: config.all_ports * REASONS,
            Table.QUEUE: config.all_ports * QUEUE_STATS,
            Table.SHAPER: config.all_ports,
            Table.QUOTA: 1,
            Table.LINK: config.circuits,
            Table.TERMINATION: config.circuits,
            Table.BOARD: BOARD_ROWS if self._has_board else 0,
        }
        bad_opcode, bad_table, bad_router, bad_row = Signal(), Signal(), Signal(), Signal()
        # One comparator for all tables: there are not many limits.
        limit = Signal(max(map(len, map(Const, rows.values()))), init=0)
        router_limit = Signal(range(config.routers + 2))
        limited, any_router = Signal(), Signal()
        m.d.comb += [
            bad_opcode.eq(1),
            bad_table.eq(1),
            bad_router.eq(~any_router & (op.router >= router_limit)),
            router_limit.eq(config.routers),
        ]
        with m.Switch(op.opcode), m.Case(*Opcode):
            m.d.comb += bad_opcode.eq(0)
        with m.Switch(op.table):
            for table in ROWS:
                with m.Case(table):
                    m.d.comb += bad_table.eq(0)
                    if table in (Table.COUNTER, Table.QUEUE, Table.QUOTA):
                        m.d.comb += router_limit.eq(config.routers + 1)
                    elif table in (Table.INFO, Table.REGISTER, Table.VMAC, Table.LINK, Table.TERMINATION, Table.BOARD):
                        m.d.comb += any_router.eq(1)
                    if table in rows:
                        m.d.comb += [limited.eq(1), limit.eq(rows[table])]
        m.d.comb += bad_row.eq((limited & (op.row >= limit)) | (
            (op.table == Table.QUEUE) & (op.row[:exact_log2(QUEUE_STATS)] >= len(QueueStat))))
        checked = Signal(OpStatus)
        m.d.comb += checked.eq(OpStatus.OK)
        with m.If(bad_opcode):
            m.d.comb += checked.eq(OpStatus.BAD_OPCODE)
        with m.Elif(op.opcode == Opcode.FENCE):
            m.d.comb += checked.eq(OpStatus.OK)
        with m.Elif(bad_table):
            m.d.comb += checked.eq(OpStatus.BAD_TABLE)
        with m.Elif(bad_router):
            m.d.comb += checked.eq(OpStatus.BAD_ROUTER)
        with m.Elif(bad_row):
            m.d.comb += checked.eq(OpStatus.BAD_ROW)
        return checked

    def _info(self, row):
        """Row of the information table."""
        config = self._config
        values = {
            Info.MAGIC: INFO_MAGIC,
            Info.PORTS: config.ports,
            Info.ROUTERS: config.routers,
            Info.DATA_WIDTH: config.data_width,
            Info.VMAC_SLOTS: config.vmac_slots,
            Info.FIB_WORDS: config.fib_words,
            Info.ADJACENCIES: config.adjacencies,
            Info.BUFFER_BYTES: config.buffer_bytes,
            Info.CELL_BYTES: config.cell_bytes,
            Info.QUEUE_FRAMES: config.queue_frames,
            Info.MAX_FRAME: config.max_frame,
            Info.HAS_MACS: int(self._has_macs),
            Info.FILTER_RULES: config.filter_rules,
            Info.POLICERS: config.policers,
            Info.MAC_ROWS: config.mac_rows,
            Info.CLOCK_HZ: round(config.clock_hz),
            Info.POLICER_CYCLES: policer_cycles(config),
            Info.SHAPER_CYCLES: shaper_cycles(config),
            Info.CIRCUITS: config.circuits,
        }
        return Array(Const(values[item], 64) for item in Info)[row[:ceil_log2(len(Info))]]
