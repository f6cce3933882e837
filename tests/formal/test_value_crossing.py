"""Values and single events cross between clocks: no value comes out that was not put in, and no event is lost.

By induction, for any clocks.
"""

import pytest
from amaranth.hdl import Assert, Assume, Cover, DomainRenamer, Module, Signal, Value
from amaranth.lib.cdc import PulseSynchronizer
from polyrouter.boards.rgmii.receiver import STATUS_SAMPLES, RgmiiReceiver
from polyrouter.boards.rgmii.steady import SteadySynchronizer

from .clocks import Clocks
from .faults import with_fault
from .runner import AnyConst, AnySeq, cover, prove, refute

#: Bits of a value: those of the in-band status.
WIDTH = 4
#: Value after power-on.
INIT = 2


class Steady:
    """A value that changes when the solver likes, but there are edges of the clock that it crosses to in between.

    One that comes just with a change does not count. There is always another one if changes are further apart than
    edges are.

    Parameters
    ----------
    edges : int
        How many there must be between two changes.
    kind : type
        A synchronizer that may be at fault.
    """

    def __init__(self, edges: int = 1, kind: type[SteadySynchronizer] = SteadySynchronizer):
        self.m = m = Module()
        m.submodules.clocks = self.clocks = clocks = Clocks("here")
        self.dut = dut = kind(WIDTH, domain="here", init=INIT)
        m.submodules.dut = self.design = clocks.attach(dut)
        self.value, following, self.changes = Signal(WIDTH, init=INIT), Signal(WIDTH), Signal()
        #: Edges since the last change, up to 5.
        self.edges = Signal(range(6))
        # Any value that there never is
        self.never = Signal(WIDTH)
        m.d.sync += self.value.eq(following)
        m.d.comb += [
            following.eq(AnySeq(WIDTH)), dut.i.eq(self.value), self.changes.eq(following != self.value),
            Assume(~self.changes | (self.edges >= edges)),
            self.never.eq(AnyConst(WIDTH)), Assume((self.never != self.value) & (self.never != INIT)),
        ]
        with m.If(self.changes):
            m.d.sync += self.edges.eq(0)
        with m.Elif(clocks.tick["here"] & (self.edges != 5)):
            m.d.sync += self.edges.eq(self.edges + 1)
        # At most five cycles: an edge that came with the change, and four others
        m.d.comb += [Assert(dut.o != self.never), Assert((self.edges < 4) | (dut.o == self.value))]

    def add_lemmas(self) -> None:
        """For induction: of two samples in a row, one is not a mixture."""
        m = self.m
        before, = (signal for signal in self.design.driven("here") if signal is not self.dut.o)
        samples = *self.clocks.synchronizers[0].stages, before
        pure = [Signal(name=f"pure{age}", init=1) for age in range(len(samples))]
        with m.If(self.clocks.tick["here"]):
            m.d.sync += [older.eq(newer) for older, newer in zip(pure, [~self.changes, *pure[:-1]], strict=True)]
        m.d.comb += [
            *(Assert(~is_pure | (sample != self.never)) for is_pure, sample in zip(pure, samples, strict=True)),
            Assert(pure[0] | pure[1]), Assert(pure[1] | pure[2]), Assert(pure[0] | (self.edges == 0)),
            *(Assert((self.edges < age) | (sample == self.value)) for age, sample in enumerate(samples, 1)),
        ]


def test_a_value_that_never_was_does_not_come_out(tmp_path):
    harness = Steady()
    harness.add_lemmas()
    prove(harness.m, tmp_path, depth=2)


def test_a_value_that_changes_too_often(tmp_path):
    """At two edges in a row there may be the same mixture, if there are changes just at both."""
    refute(Steady(edges=0).m, tmp_path, depth=10)


FAULTS = {
    "one sample is enough": ("with m.If(sample == before):", "with m.If(1):"),
    "a new value comes a cycle later": ("init=self._init)", "init=self._init, stages=3)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found(tmp_path, fault):
    refute(Steady(kind=with_fault(SteadySynchronizer, "elaborate", FAULTS[fault])).m, tmp_path, depth=14)


def test_the_in_band_status_does_not_change_too_often(tmp_path):
    """What crosses in a board stays for eight cycles of RXC, 64 ns at least; no core has a cycle of more than 50 ns.

    Bounded: 24 cycles.
    """
    m = Module()
    dut = RgmiiReceiver(slow_speeds=True)
    m.submodules.dut = DomainRenamer({"rx": "sync"})(dut)
    m.d.comb += [Value.cast(signal).eq(AnySeq(len(Value.cast(signal)))) for signal in (dut.i.rxd, dut.i.rx_ctl)]
    status = Value.cast(dut.status)
    before, since = Signal(len(status)), Signal(range(STATUS_SAMPLES + 1), init=STATUS_SAMPLES)
    m.d.sync += [before.eq(status), since.eq(since + (since != STATUS_SAMPLES))]
    with m.If(status != before):
        m.d.comb += Assert(since == STATUS_SAMPLES)
        m.d.sync += since.eq(1)
    m.d.comb += Cover((status == 5) & (before == 10))
    prove(m, tmp_path / "prove", depth=24, induction=False)
    cover(m, tmp_path / "cover", depth=24)


class Pulses:
    """Events of one clock, as a transmitter tells its core of those frames that it aborted; another clock counts them.

    Parameters
    ----------
    edges : int
        How many edges of the other clock there must be between two events, as for a steady value.
    """

    def __init__(self, edges: int = 1):
        self.m = m = Module()
        m.submodules.clocks = self.clocks = clocks = Clocks("there", "here")
        self.dut = dut = PulseSynchronizer("there", "here")
        m.submodules.dut = self.design = clocks.attach(dut)
        sent, received = Signal(), Signal()
        #: Events that were not counted, and edges since the last one, up to 4.
        self.owed, self.edges = Signal(range(4)), Signal(range(5))
        m.d.comb += [
            dut.i.eq(AnySeq(1)), sent.eq(dut.i & clocks.tick["there"]), received.eq(dut.o & clocks.tick["here"]),
            Assume(~sent | (self.edges >= edges)),
            Assert(~dut.o | (self.owed != 0)), Assert((self.edges != 4) | (self.owed == 0)),
        ]
        m.d.sync += self.owed.eq(self.owed + sent - received)
        with m.If(sent):
            m.d.sync += self.edges.eq(0)
        with m.Elif(clocks.tick["here"] & (self.edges != 4)):
            m.d.sync += self.edges.eq(self.edges + 1)

    def add_lemmas(self) -> None:
        """For induction: an event is a difference between two registers, which moves on."""
        toggle, (one, two) = self.clocks.synchronizers[0]
        counted = self.design.signals()["r_toggle"]
        self.m.d.comb += [
            Assert(self.owed == (toggle ^ one) + (one ^ two) + (two ^ counted)),
            Assert((self.edges < 1) | (toggle == one)), Assert((self.edges < 2) | (one == two)),
            Assert((self.edges < 3) | (two == counted)),
        ]


def test_each_event_is_counted_once(tmp_path):
    harness = Pulses()
    harness.add_lemmas()
    prove(harness.m, tmp_path, depth=2)


def test_events_that_come_too_often(tmp_path):
    refute(Pulses(edges=0).m, tmp_path, depth=10)
