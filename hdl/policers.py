"""Policers: token buckets that drop what is more than a rate and a burst allow."""

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import POLICER_ROW, RATE_FRACTION
from .mac.gmii import FCS_BYTES
from .records import PASSED, POLICE, TableSignature
from .stream import LENGTH_BITS
from .table import TableMemory, table_addr_bits

__all__ = ["Policers", "policer_cycles"]

#: Cycles from the refill of one row to that of the next.
_REFILL_CYCLES = 16
#: Requests that are under way, or whose outcomes wait.
_UNDER_WAY = 4

_TOKEN_BITS = POLICER_ROW["burst"].width + RATE_FRACTION

#: A row with the least tokens that one refill makes a full bucket, so that there is no adder ahead of the comparison.
_STORED = data.StructLayout({"row": POLICER_ROW, "almost_full": _TOKEN_BITS})


def policer_cycles(config: CoreConfig) -> int:
    """Cycles from one refill of a bucket to its next."""
    return _REFILL_CYCLES * config.policers


class Policers(wiring.Component):
    """Token buckets (RFC 2697, 3, with one rate and one burst), each asked and charged in a pipeline of three stages.

    One bucket a cycle is read, changed and written; its two successors are given the new value, so that neither frames
    nor refills of the same bucket miss each other. A sweep refills one row every 16 cycles. A row without ``limit``
    lets everything pass.

    Latency: 4 cycles for two buckets, 3 for one or none; one more if a refill comes first. Throughput: a frame every
    cycle for each bucket that it asks. A write by the control engine waits until nothing is under way, and lets a
    frame pass before the next write; so there is a frame every 8 cycles even while rows are written all the time.

    Parameters
    ----------
    config : CoreConfig
        ``policers`` is used.

    Attributes
    ----------
    i : stream of POLICE
        Frames; rows are absolute and must be below ``policers``.
    o : stream of PASSED
        For each of them, in order, whether it passes.
    table : TableSignature
        Rows of POLICER_ROW. A write fills the bucket.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._rows = config.policers
        super().__init__({
            "i": In(stream.Signature(POLICE)),
            "o": Out(stream.Signature(PASSED)),
            "table": In(TableSignature(table_addr_bits(config.policers), POLICER_ROW.size)),
        })
        #: Row ``sweep`` is refilled in its turn, a row is written.
        self.refill = Signal()
        self.sweep = Signal(range(max(2, config.policers)))
        self.fill = Signal()

    def elaborate(self, platform):
        m = Module()
        row_bits = len(self.sweep)
        operation = data.StructLayout({
            "valid": 1,
            "refill": 1,
            "second": 1,        # of one frame: it counts what the first came to
            "last": 1,          # of one frame
            "ask": 1,           # the bucket, if it has a limit
            "row": row_bits,
            "cost": LENGTH_BITS + 1,
        })
        table, request = self.table, self.i.payload
        stages = [Signal(operation, name=f"stage{k}") for k in range(4)]
        issued, fetched, computed, written = stages

        # What is done next: a frame's second bucket, a write, a refill, a frame.
        second = Signal(operation)
        hold, held, yields = Signal(), Signal(), Signal()
        due = Signal()
        timer = Signal(range(_REFILL_CYCLES))
        under_way = Signal(range(_UNDER_WAY + 1))
        accept = Signal()
        cost = Signal(LENGTH_BITS + 1)
        m.d.comb += [
            hold.eq(table.stb & table.write & ~table.ack & ~yields),
            self.fill.eq(held & hold & ~Cat(op.valid for op in (second, fetched, computed, written)).any()),
            self.refill.eq(due & ~second.valid & ~hold),
            self.i.ready.eq(~second.valid & ~hold & ~due & (under_way != _UNDER_WAY)),
            accept.eq(self.i.valid & self.i.ready),
            cost.eq(request.length + FCS_BYTES),
        ]
        m.d.sync += [
            held.eq(hold),
            second.valid.eq(accept & request.router_en & request.rule_en),
            second.second.eq(1),
            second.last.eq(1),
            second.ask.eq(1),
            second.row.eq(request.rule_row),
            second.cost.eq(cost),
            under_way.eq(under_way + accept - (self.o.valid & self.o.ready)),
            timer.eq(timer + 1),
            *(after.eq(before) for before, after in pairwise(stages)),
        ]
        with m.If(timer == _REFILL_CYCLES - 1):
            m.d.sync += due.eq(1)
        with m.Elif(self.refill):
            m.d.sync += due.eq(0)
        with m.If(self.refill):
            m.d.sync += self.sweep.eq(Mux(self.sweep == self._rows - 1, 0, self.sweep + 1))
        with m.If(self.fill):
            m.d.sync += yields.eq(1)
        with m.Elif(self.i.ready):
            m.d.sync += yields.eq(0)

        with m.If(second.valid):
            m.d.comb += issued.eq(second)
        with m.Elif(self.refill):
            m.d.comb += [issued.valid.eq(1), issued.refill.eq(1), issued.row.eq(self.sweep)]
        with m.Else():
            m.d.comb += [
                issued.valid.eq(accept),
                issued.last.eq(~request.router_en | ~request.rule_en),
                issued.ask.eq(request.router_en | request.rule_en),
                issued.row.eq(Mux(request.router_en, request.router_row, request.rule_row)),
                issued.cost.eq(cost),
            ]

        # The memories: rows with what is worked out when they are written, and tokens.
        m.submodules.rows = rows = TableMemory(self._rows, _STORED.size)
        m.submodules.tokens = tokens = memory.Memory(
            shape=unsigned(_TOKEN_BITS), depth=max(2, self._rows), init=[], attrs={"rw_addr_collision": "yes"})
        write = tokens.write_port()
        read = tokens.read_port(transparent_for=(write,))
        given = data.View(POLICER_ROW, table.w_data)
        full = Cat(Const(0, RATE_FRACTION), given.burst)
        almost_full = Signal(_TOKEN_BITS)
        m.d.sync += almost_full.eq(Mux(given.rate > full, 0, full - given.rate))
        m.d.comb += [
            rows.table.stb.eq(Mux(table.write, self.fill, table.stb)),
            rows.table.write.eq(table.write),
            rows.table.addr.eq(table.addr),
            rows.table.w_data.eq(Cat(table.w_data, almost_full)),
            table.ack.eq(rows.table.ack),
            table.r_data.eq(rows.table.r_data),
            rows.addr.eq(issued.row),
            rows.en.eq(issued.valid),
            read.addr.eq(issued.row),
            read.en.eq(issued.valid),
        ]

        # The bucket as it is after those that are ahead of it and not written, or were when it was read.
        stored = Signal(_STORED)
        was, now = Signal(_TOKEN_BITS), Signal(_TOKEN_BITS)
        kept, newest, newer = (Signal(_TOKEN_BITS, name=name) for name in ("kept", "newest", "newer"))
        use_newest, use_newer = Signal(), Signal()
        m.d.sync += [
            stored.eq(rows.data),
            kept.eq(read.data),
            use_newest.eq(computed.valid & (computed.row == fetched.row)),
            use_newer.eq(written.valid & (written.row == fetched.row)),
            newest.eq(now),
            newer.eq(newest),
        ]
        m.d.comb += was.eq(Mux(use_newest, newest, Mux(use_newer, newer, kept)))

        enough, asked, passed, passed_before = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            asked.eq(computed.ask & stored.row.limit),
            enough.eq(was[RATE_FRACTION:] >= computed.cost),
            passed.eq((~asked | enough) & (~computed.second | passed_before)),
            now.eq(was),
        ]
        with m.If(computed.refill):
            m.d.comb += now.eq(Mux(was >= stored.almost_full, Cat(Const(0, RATE_FRACTION), stored.row.burst),
                                   was + stored.row.rate))
        with m.Elif(asked & passed):
            m.d.comb += now[RATE_FRACTION:].eq(was[RATE_FRACTION:] - computed.cost)
        m.d.sync += passed_before.eq(passed)
        m.d.comb += [
            write.addr.eq(Mux(self.fill, table.addr, written.row)),
            write.data.eq(Mux(self.fill, full, newest)),
            write.en.eq(self.fill | written.valid),
        ]

        # Whatever is accepted finds room here.
        m.submodules.outcomes = outcomes = fifo.SyncFIFO(width=1, depth=_UNDER_WAY)
        m.d.comb += [
            outcomes.w_data.eq(passed),
            outcomes.w_en.eq(computed.valid & computed.last),
            self.o.payload.passed.eq(outcomes.r_data),
            self.o.valid.eq(outcomes.r_rdy),
            outcomes.r_en.eq(self.o.ready),
        ]
        return m
