"""Transmit half of an RGMII: GMII to two values a cycle, TXC among them."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .ddr import RgmiiTxDdrSignature
from .status import Speed

__all__ = ["RgmiiTransmitter"]

#: Parts of a TXC cycle at 10 and 100 Mb/s. At 100 Mb/s a part is a cycle of ``tx``, at 10 Mb/s it is ten.
PARTS = 5
CYCLES_OF_PART = 10


class RgmiiTransmitter(wiring.Component):
    """Makes what goes to the transmit pins of GMII (RGMII 1.3 and 2.0, sections 3.2 and 3.3), in the domain ``tx``.

    ``tx`` is 125 MHz at all speeds. At 1000 Mb/s a cycle is a byte. At 10 and 100 Mb/s a nibble takes a cycle of TXC,
    2.5 or 25 MHz, made of five parts: the nibble changes at the begin of the first, TXC rises at the begin of the
    second and falls in the middle of the fourth, and TX_CTL goes from TX_EN to TX_EN xor TX_ER with the third. So at
    least 8 ns lie between an edge of TXC and a change of what it samples. A delay of TXC, needed at 1000 Mb/s, takes or
    adds some 2 ns.

    A new speed is taken over with a byte that is none of a frame. TXC has no pulse shorter than 4 ns then.

    Latency, from GMII to ``o``: a cycle without ``slow_speeds``; else two cycles at 1000 Mb/s, a byte time and a cycle
    at the others.

    Parameters
    ----------
    slow_speeds : bool
        There are 10 and 100 Mb/s, too.

    Attributes
    ----------
    txd, tx_en, tx_er : Signal, in
        GMII.
    o : RgmiiTxDdrSignature
        To the pins.
    tx_clk_enable : Signal, out
        Only with ``slow_speeds``: high in the last cycle of a byte on GMII, also between frames. From a register.
    speed : Signal, in
        Only with ``slow_speeds``: :class:`Speed`. ``RESERVED`` leaves it as it was.
    """

    def __init__(self, *, slow_speeds: bool = False):
        self._slow_speeds = slow_speeds
        super().__init__({
            "txd": In(8), "tx_en": In(1), "tx_er": In(1), "o": Out(RgmiiTxDdrSignature),
            **({"tx_clk_enable": Out(1, init=1), "speed": In(Speed, init=Speed.GIGABIT)} if slow_speeds else {}),
        })

    def elaborate(self, platform):
        m = Module()
        if self._slow_speeds:
            self._all_speeds(m)
        else:
            m.d.comb += [self.o.txc[0].eq(1), self.o.txc[1].eq(0)]
            m.d.tx += [
                self.o.txd.eq(self.txd),
                self.o.tx_ctl[0].eq(self.tx_en), self.o.tx_ctl[1].eq(self.tx_en ^ self.tx_er),
            ]
        return m

    def _all_speeds(self, m: Module) -> None:
        speed = Signal(Speed, init=Speed.GIGABIT)
        next_speed = Signal(Speed)
        byte = Signal(data.StructLayout({"low": 4, "high": 4, "enable": 1, "error": 1}))
        is_high = Signal()              # second nibble of the byte
        part = Signal(range(PARTS))
        cycle = Signal(range(CYCLES_OF_PART), init=CYCLES_OF_PART - 1)
        part_ends = cycle == CYCLES_OF_PART - 1
        begin = self.tx_clk_enable

        m.d.comb += next_speed.eq(speed)
        with m.If(begin):
            m.d.tx += [
                byte.low.eq(self.txd[:4]), byte.high.eq(self.txd[4:]),
                byte.enable.eq(self.tx_en), byte.error.eq(self.tx_er),
                part.eq(0), is_high.eq(0),
            ]
            with m.If(~self.tx_en & (self.speed != Speed.RESERVED)):
                m.d.comb += next_speed.eq(self.speed)
        with m.Elif(part_ends):
            m.d.tx += part.eq(part + 1)
            with m.If(part == PARTS - 1):
                m.d.tx += [part.eq(0), is_high.eq(1)]

        # Of a register, so that it reaches the whole MAC in time: one cycle before it is due
        ends_soon = is_high & Mux(speed == Speed.TEN, (part == PARTS - 1) & (cycle == CYCLES_OF_PART - 2),
                                  part == PARTS - 2)
        next_cycle = Mux(part_ends, 0, cycle + 1)
        m.d.tx += [
            speed.eq(next_speed),
            cycle.eq(Mux(next_speed == Speed.TEN, next_cycle, CYCLES_OF_PART - 1)),
            begin.eq((next_speed == Speed.GIGABIT) | ~begin & ends_soon),
        ]

        # At 1000 Mb/s part and is_high stay 0
        gigabit = speed == Speed.GIGABIT
        before_rise = part < 2
        with_error = byte.enable ^ byte.error
        first_half = cycle < CYCLES_OF_PART // 2     # of a part, at 10 Mb/s; never true at 100 Mb/s
        high = (part == 1) | (part == 2) | (part == 3) & first_half
        m.d.tx += [
            self.o.txd[0].eq(Mux(is_high, byte.high, byte.low)),
            self.o.txd[1].eq(Mux(is_high | gigabit, byte.high, byte.low)),
            self.o.tx_ctl[0].eq(Mux(before_rise, byte.enable, with_error)),
            self.o.tx_ctl[1].eq(Mux(before_rise & ~gigabit, byte.enable, with_error)),
            self.o.txc[0].eq(gigabit | high | (part == 3) & (speed == Speed.HUNDRED)),
            self.o.txc[1].eq(high),
        ]
