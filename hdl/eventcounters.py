"""Counters of events that are seldom read, in one small memory."""

from amaranth.hdl import Array, Module, Mux, Signal, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from .table import table_addr_bits

__all__ = ["COUNT_BITS", "EventCounters"]

#: They begin again after 2**32 events.
COUNT_BITS = 32


class EventCounters(wiring.Component):
    """Counts every event, and shows it ``count + 2`` cycles later at most.

    The counters take turns at one adder; what happens to a counter between two of its turns is kept until then.

    Parameters
    ----------
    count : int
        Counters, at least 2.

    Attributes
    ----------
    events : Signal(count), in
        A bit each; each cycle in which it is high is an event.
    addr : Signal, in
        Counter to read, below ``count``.
    data : Signal(32), out
        Its value, a cycle later.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        super().__init__({
            "events": In(count),
            "addr": In(table_addr_bits(count)),
            "data": Out(COUNT_BITS),
        })

    def elaborate(self, platform):
        m = Module()
        count = self._count
        m.submodules.values = values = memory.Memory(shape=unsigned(COUNT_BITS), depth=count, init=[])
        write, old, shown = values.write_port(), values.read_port(), values.read_port()
        turn = Signal(range(count))
        waiting = Array(Signal(range(count + 1), name=f"waiting_{k}") for k in range(count))
        more = Signal(range(count + 1))
        m.d.sync += [
            turn.eq(Mux(turn == count - 1, 0, turn + 1)),
            more.eq(waiting[turn]),
            write.addr.eq(turn),
            write.en.eq(1),
        ]
        for k, events in enumerate(waiting):
            m.d.sync += events.eq(Mux(turn == k, 0, events) + self.events[k])
        m.d.comb += [
            old.addr.eq(turn),
            write.data.eq(old.data + more),
            shown.addr.eq(self.addr),
            self.data.eq(shown.data),
        ]
        return m
