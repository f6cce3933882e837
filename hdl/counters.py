"""Counters of every router, port and reason."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import fifo, memory, stream, wiring
from amaranth.lib.wiring import In

from .config import CoreConfig
from .layouts import REASONS
from .memories import NEVER_MEET, delivered, whole_blocks
from .records import EVENT, TableSignature
from .roundrobin import RoundRobin
from .table import table_addr_bits

__all__ = ["Counters", "counter_rows"]

_EVENTS = 16


def counter_rows(config: CoreConfig) -> int:
    """Rows of the counter memory: ``(router * (ports + 1) + port) * 32 + reason``, router "none" included."""
    return (config.routers + 1) * config.all_ports * REASONS


class Counters(wiring.Component):
    """64-bit counters in one block RAM; every event adds one to one of them.

    Events are taken in turn from the inputs into a FIFO, and counted one in four cycles: read, register, add, write. An
    access to the table takes its turn between two events, so it never falls into such a sequence and nothing is lost;
    it is acknowledged after at most eight cycles.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.
    inputs : int
        Streams of events.

    Attributes
    ----------
    i : array of streams of EVENT
        Events; stopped while the FIFO is full.
    table : TableSignature
        Reads and writes of counters by row.
    """

    def __init__(self, config: CoreConfig, inputs: int) -> None:
        self._config = config
        self._inputs = inputs
        self._rows = counter_rows(config)
        super().__init__({
            "i": In(stream.Signature(EVENT)).array(inputs),
            "table": In(TableSignature(table_addr_bits(self._rows), 64)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.turn = turn = RoundRobin(self._inputs)
        m.submodules.events = events = fifo.SyncFIFOBuffered(width=EVENT.size, depth=_EVENTS)
        m.d.comb += [
            turn.requests.eq(Cat(i.valid for i in self.i)),
            turn.advance.eq(events.w_rdy),
            events.w_en.eq(turn.valid),
            events.w_data.eq(Array(i.payload.as_value() for i in self.i)[turn.grant]),
        ]
        for k in range(self._inputs):
            m.d.comb += self.i[k].ready.eq(events.w_rdy & (turn.grant == k))

        # Row number of the next event, made while the one before is counted.
        event = Signal(EVENT)
        row = Signal(self.table.addr.shape())
        waiting = Signal()
        take = Signal()
        m.d.comb += [event.eq(events.r_data), events.r_en.eq(~waiting | take)]
        with m.If(events.r_en):
            m.d.sync += [
                waiting.eq(events.r_rdy),
                row.eq(Cat(event.reason, event.router * self._config.all_ports + event.port)),
            ]

        m.submodules.memory = mem = memory.Memory(
            shape=unsigned(64), depth=whole_blocks(self._rows), init=[], attrs=NEVER_MEET)
        read, write = mem.read_port(), mem.write_port()
        table = self.table
        addr = Signal.like(row)
        value, total = Signal(64), Signal(64)
        access = Signal()       # this turn is the table's
        served = Signal()       # the turn before was
        start = Signal()
        m.d.comb += [
            start.eq(table.stb & ~table.ack & ~(served & waiting)),
            read.en.eq(0),
            read.addr.eq(Mux(start, table.addr, row)),
            write.addr.eq(addr),
            write.data.eq(total),
            table.r_data.eq(total),
        ]
        m.d.sync += table.ack.eq(0)
        with m.FSM():
            with m.State("READ"), m.If(start | waiting):
                m.d.comb += [read.en.eq(1), take.eq(~start)]
                m.d.sync += [addr.eq(read.addr), access.eq(start), served.eq(start)]
                m.next = "REGISTER"
            # Block RAM is slow to deliver, and more so if it is many blocks: its output goes straight to a register.
            with m.State("REGISTER"):
                m.d.sync += value.eq(delivered(m, platform, read, write))
                m.next = "ADD"
            with m.State("ADD"):
                m.d.sync += total.eq(Mux(access, Mux(table.write, table.w_data, value), value + 1))
                m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += write.en.eq(~access | table.write)
                m.d.sync += table.ack.eq(access)
                m.next = "READ"
        return m
