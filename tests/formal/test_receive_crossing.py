"""Beats cross from a line's clock to a core's: the receiver never offers its FIFO one that it does not take.

:class:`GmiiReceiver` does not look whether there is room for a beat, but some cycles before, at a level that is behind,
and keeps :data:`GmiiReceiver.RESERVE` entries free. By induction, for any clocks, any line and any core.
"""

from amaranth.hdl import Assert, Assume, Const, Cover, Module, Signal
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.mac.rx import GmiiReceiver

from .clocks import Clocks
from .fifo_lemmas import Pointers
from .runner import AnySeq, cover, prove, refute
from .small import small_config

CONFIG = CoreConfig(data_width=64)


class Opened(GmiiReceiver):
    """The receiver, with its FIFO."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        self.fifo = m.submodules.fifo
        return m


class Harness:
    """A receiver at a line where anything comes in."""

    def __init__(self, config: CoreConfig = CONFIG, kind: type[Opened] = Opened):
        self.m = m = Module()
        self.clocks = clocks = Clocks("rx", "sync")
        self.dut = dut = kind(config)
        m.submodules.clocks = clocks
        m.submodules.dut = self.design = clocks.attach(dut)
        m.d.comb += [signal.eq(AnySeq(len(signal))) for signal in (dut.rxd, dut.rx_dv, dut.rx_er, dut.o.ready)]
        m.d.comb += Assert(~dut.fifo.w_en | dut.fifo.w_rdy)

    def add_lemmas(self) -> None:
        """For induction."""
        m, dut, fifo = self.m, self.dut, self.dut.fifo
        pointers = Pointers(m, self.clocks, fifo, self.design.signals("fifo"), Const(0))
        signals = self.design.signals()
        state, push, has_room = (signals[name] for name in ("fsm_state", "push", "has_room"))
        in_data = Signal()
        # What is in the FIFO for all that the writer can know; what the level is made of, a cycle behind; and whether a
        # beat came in that cycle
        level, known, wrote = (Signal(len(fifo.w_level)) for _ in range(3))
        m.d.comb += [
            in_data.eq(state == [state.decoder(number).split("/")[0] for number in range(3)].index("DATA")),
            level.eq(pointers.written - pointers.back[1]),
            known.eq(pointers.written - self.design.signals("fifo")["consume_w_bin"]),
        ]
        with m.If(self.clocks.tick["rx"]):
            m.d.sync += wrote.eq(push)
        m.d.comb += [
            Assert(level <= known), Assert(known <= fifo.depth),
            Assert(level <= fifo.w_level + wrote),
            # Two beats may have come since the level was what it is said to be.
            Assert(~has_room | (level < dut.DEPTH - dut.RESERVE + 2)),
            # Besides, there is one to be written, and the end of a frame that began when there was room.
            Assert(level + push + in_data < dut.DEPTH - dut.RESERVE + 5),
        ]


def test_no_beat_is_refused(tmp_path):
    harness = Harness()
    harness.add_lemmas()
    prove(harness.m, tmp_path, depth=2)


class Small(Opened):
    """With a FIFO that is soon full."""

    DEPTH = 8


class Careless(Small):
    """It keeps less free than what may be under way."""

    RESERVE = 2


def small(kind: type[Opened]) -> Harness:
    """The line's clock has an edge in each step, so that a trace is short."""
    harness = Harness(small_config(data_width=16), kind)
    harness.m.d.comb += Assume(harness.clocks.tick["rx"])
    return harness


def test_too_little_is_kept_free(tmp_path):
    refute(small(Careless).m, tmp_path, depth=34)


def test_ends_come_without_room(tmp_path):
    harness = small(Small)
    signals = harness.design.signals()
    harness.m.d.comb += Cover(signals["push"] & ~signals["has_room"])
    cover(harness.m, tmp_path, depth=20)
