"""Counters of what became of a link's frames."""

from amaranth.hdl import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["LinkCounters"]


class LinkCounters(wiring.Component):
    """Counts pulses, modulo 2**32, in one small memory with one adder.

    They are zero when the FPGA is configured; a reset leaves them. The lower ones go first, one a cycle; an event that
    comes again before it was counted would be lost.

    Parameters
    ----------
    count : int
        Kinds of events.

    Attributes
    ----------
    events : Signal, in
        One bit for each; high for a cycle for each event.
    row : Signal, in
        Which counter to show.
    value : Signal(32), out
        That counter, in the next cycle.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        super().__init__({"events": In(count), "row": In(range(count)), "value": Out(32)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.counts = counts = memory.Memory(shape=32, depth=self._count, init=[])
        w_port = counts.write_port()
        own = counts.read_port(domain="comb")
        shown = counts.read_port(domain="comb")
        waiting = Signal(self._count)
        chosen = Signal(range(self._count))
        for k in reversed(range(self._count)):
            with m.If(waiting[k]):
                m.d.comb += chosen.eq(k)
        m.d.comb += [
            own.addr.eq(chosen), w_port.addr.eq(chosen),
            w_port.data.eq(own.data + 1), w_port.en.eq(waiting.any()),
            shown.addr.eq(self.row),
        ]
        m.d.sync += [
            waiting.eq(waiting & ~(waiting.any() << chosen) | self.events),
            self.value.eq(shown.data),
        ]
        return m
