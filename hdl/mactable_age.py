"""When which row of the bridges' MAC table gets older."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .table import table_addr_bits

__all__ = ["AGE_PACE", "MacAgeClock"]

#: Cycles from one row to the next. Ageing takes three cycles of the memory's second port for a row.
AGE_PACE = 32


class MacAgeClock(wiring.Component):
    """Goes through all rows once every ``age_cycles``, one row every AGE_PACE cycles so that there is time for others.

    If ``age_cycles`` is less than a sweep takes, which is ``mac_rows * AGE_PACE`` cycles, one sweep follows the other.
    A change counts from the next sweep on; zero stops the one that is under way.

    Parameters
    ----------
    config : CoreConfig
        ``mac_rows`` is used.

    Attributes
    ----------
    age_cycles
    o : stream
        Rows that are to be made one step older.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._rows = config.mac_rows
        super().__init__({
            "age_cycles": In(64),
            "o": Out(stream.Signature(table_addr_bits(config.mac_rows))),
        })

    def elaborate(self, platform):
        m = Module()
        # ``count`` is compared in one cycle and set back in the next, which is why it begins at 2.
        count = Signal(64)
        off, due, pending, sweeping = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [
            off.eq(self.age_cycles == 0),
            due.eq((count >= self.age_cycles) & ~due & ~off),
            count.eq(Mux(due, 2, count + 1)),
        ]
        with m.If(due):
            m.d.sync += pending.eq(1)
        with m.If(off):
            m.d.sync += [count.eq(0), pending.eq(0), sweeping.eq(0)]
        with m.Elif(pending & ~sweeping & ~self.o.valid):
            m.d.sync += [pending.eq(0), sweeping.eq(1), self.o.payload.eq(0)]

        pace = Signal(range(AGE_PACE))
        m.d.sync += pace.eq(Mux(pace == AGE_PACE - 1, 0, pace + 1))
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [self.o.valid.eq(0), self.o.payload.eq(self.o.payload + 1)]
            with m.If(self.o.payload == self._rows - 1):
                m.d.sync += sweeping.eq(0)
        with m.If(sweeping & ~off & (pace == 0) & ~self.o.valid):
            m.d.sync += self.o.valid.eq(1)
        return m
