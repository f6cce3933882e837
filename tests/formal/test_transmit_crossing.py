"""Frames cross from a core's clock to a line's: none is started early that is said to be there whole.

:class:`GmiiTransmitter` counts the ends of frames that were written, takes the count to the line's clock, and compares
it with the ends that were taken. The count is a cycle behind the FIFO's own pointer, so that no end is counted there
before it can be read. It may be *read* before it is counted there: then there seems to be a frame where none is, until
the count arrives. That is over when the next frame could begin, after a gap, if the core's clock is not too slow; so
here, and only here, clocks are not quite free: between two edges of the core's there are at most seven of the line's.
Of 125 MHz that is 17.9 MHz; no board's core is slower than 20 MHz (:class:`polyrouter.boards.description.Board`).
"""

import pytest
from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Module, Signal, Value
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.mac.tx import GmiiTransmitter

from .clocks import Clocks
from .faults import with_fault
from .fifo_lemmas import Pointers, binary
from .runner import AnySeq, cover, prove, refute
from .small import small_config

#: Most edges of the line's clock between two of the core's.
EDGES = 7
#: As most boards have it: the FIFO has 8 beats.
CONFIG = CoreConfig(ports=2, data_width=64, clock_hz=50e6)


class Opened(GmiiTransmitter):
    """The transmitter, with what a proof has to see of it."""

    def _whole_frame(self, m, width, end_taken):
        self.fifo, self.end_taken = m.submodules.fifo, end_taken
        # Apart from the rest, as not all of its registers have names.
        m.submodules.count = count = Module()
        self.whole = super()._whole_frame(count, width, end_taken)
        return self.whole


class Harness:
    """A transmitter that is given any beats at any time.

    Parameters
    ----------
    config : CoreConfig
    edges : int
        Most edges of the line's clock between two of the core's.
    kind : type
        A transmitter that may be at fault.
    """

    def __init__(self, config: CoreConfig = CONFIG, edges: int = EDGES, kind: type[Opened] = Opened):
        self.m = m = Module()
        self.clocks = clocks = Clocks("sync", "tx")
        self.dut = dut = kind(config)
        m.submodules.clocks = clocks
        m.submodules.dut = self.design = design = clocks.attach(dut)
        payload = dut.i.payload
        m.d.comb += [signal.eq(AnySeq(len(signal))) for signal in (dut.i.valid, payload.last, payload.empty)]
        self.fifo = fifo = dut.fifo
        self.pointers = Pointers(m, clocks, fifo, design.signals("fifo"), Const(0))
        self.state, self.step, self.abort = (design.signals()[name] for name in ("fsm_state", "step", "i"))
        self.there = ~fifo.r_en
        # The beat that was fetched is the only register of its size.
        ahead, = (signal for signal in design.driven("tx") if len(signal) == fifo.width)
        self._last_bit = payload.shape()["last"].offset
        self.end_ahead = self.there & ahead[self._last_bit]
        self.since_core = self.edges_since(clocks.tick["sync"], edges)
        m.d.comb += Assume(~clocks.tick["tx"] | clocks.tick["sync"] | (self.since_core != edges))
        # What the state machine always keeps to
        m.d.comb += [
            Assert(self.state < 9),
            Assert(~self.at("DATA", "PAD", "ABORT", "DRAIN") | (self.step == 0)),
            Assert(~self.at("PREAMBLE") | (self.step < 7)),
            Assert(~self.at("FCS") | (self.step < 4)),
            Assert(~self.at("GAP") | (self.step < 11)),
        ]

    def at(self, *states: str) -> Value:
        """The transmitter is in one of these."""
        numbers = {self.state.decoder(number).split("/")[0]: number for number in range(9)}
        return Cat(self.state == numbers[state] for state in states).any()

    def edges_since(self, event: Value, most: int, init: int = 0) -> Signal:
        """How many the line's clock had since something happened, up to ``most``."""
        m, tick, since = self.m, self.clocks.tick["tx"], Signal(range(most + 1), init=init)
        with m.If(event):
            m.d.sync += since.eq(0)
        with m.Elif(tick & (since != most)):
            m.d.sync += since.eq(since + 1)
        return since

    def number(self, value: Value) -> Signal:
        """Modulo twice the FIFO's depth."""
        number = Signal(len(self.fifo.r_level))
        self.m.d.comb += number.eq(value)
        return number

    def ends(self, place: Signal) -> Signal:
        """How many ends of frames are in the FIFO from there on."""
        written = self.pointers.written
        inside = self.number(written - place)
        return self.number(sum(
            row[self._last_bit] & (self.number((number - place)[:len(written) - 1]) < inside)
            for number, row in enumerate(self.pointers.rows)))

    def add_promise(self) -> None:
        """What is proved of frames that are said to be whole."""
        m, dut, tick = self.m, self.dut, self.clocks.tick["tx"]
        #: Ends that were not taken, and those of them that the reader does not see yet.
        self.left = self.ends(self.pointers.read)
        self.unseen = self.ends(self.pointers.there[1])
        #: The reader can have the whole of the next frame, one beat after the other.
        self.visible = self.end_ahead | (self.left > self.unseen)
        #: Why the next frame may be started: it is whole, or there are enough beats.
        self.whole, self.enough = Signal(), Signal()
        #: A frame was started because it was whole, and is not at its end.
        self.promised = Signal()
        with m.If(tick):
            m.d.sync += [
                self.whole.eq(dut.whole),
                self.enough.eq(self.there & (self.fifo.r_level >= dut._start_level - 1)),
                self.promised.eq((self.promised | (self.at("IDLE") & self.whole)) & ~dut.end_taken),
            ]
        m.d.comb += [
            Assert(~(self.at("IDLE") & self.whole) | self.visible),
            # It does not come and go.
            Assert(~(self.at("IDLE") & self.whole) | dut.whole),
            Assert(~self.at("SFD") | self.there),
            Assert(~(self.promised & self.abort)),
        ]

    def add_lemmas(self) -> None:
        """For induction, with no more than :data:`EDGES`."""
        m, pointers, dut = self.m, self.pointers, self.dut
        signals = self.design.signals()
        since_end = self.edges_since(self.clocks.tick["tx"] & dut.end_taken, 15, init=15)
        written, gray = self.design.driven("sync", "count")
        if any(written is synchronizer.i for synchronizer in self.clocks.synchronizers):
            written, gray = gray, written
        taken, = self.design.driven("tx", "count")
        _, stages = self.clocks.synchronizer(gray)
        # Ends that are not counted: in the register that crosses, and after each stage; and those that were not taken
        sent, one, two = (self.number(written - binary(count)) for count in (gray, *stages))
        left = self.number(written - taken)
        unseen_one = self.ends(pointers.there[0])
        row = pointers.rows[pointers.read[:-1]]
        m.d.comb += [Assert(lemma) for lemma in (
            left == self.number(self.left + self.end_ahead),
            sent <= 1, sent <= one, one <= two,
            # At each stage the pointer is ahead of the count, but not far.
            unseen_one <= self.unseen, self.unseen <= self.left,
            self.number(one - unseen_one) <= 2, self.number(two - self.unseen) <= 2,
            ~self.fifo.r_rdy | (self.fifo.r_data[self._last_bit] == row[self._last_bit]),
            # If more was taken than was counted, it was so just now.
            (sent <= left) | (since_end <= self.since_core),
            (one <= left) | (since_end <= EDGES + 1),
            (two <= left) | (since_end <= EDGES + 2),
            ~self.at("GAP") | (since_end >= self.step),
            ~self.at("IDLE") | (since_end >= 11),
            # Why there is something to send
            signals["startable"] == (self.whole | self.enough),
            ~(self.at("IDLE") & self.enough) | self.there,
            ~self.at("PREAMBLE", "SFD") | self.there,
            ~self.promised | (self.visible & (self.at("PREAMBLE", "SFD") | (self.at("DATA") & ~signals["last"]))),
            ~(self.promised & self.at("DATA") & ~self.there) | (signals["left"] == dut._bytes - 1),
        )]


def test_no_frame_is_started_that_is_not_there(tmp_path):
    """By induction."""
    harness = Harness()
    harness.add_promise()
    harness.add_lemmas()
    prove(harness.m, tmp_path, depth=2)


def test_between_two_aborted_frames_the_core_has_an_edge(tmp_path):
    """So it counts both: see ``test_value_crossing.py``."""
    harness = Harness()
    since = harness.edges_since(harness.clocks.tick["tx"] & harness.abort, 15, init=15)
    harness.m.d.comb += [
        Assert(~harness.abort | (since > EDGES)),
        Assert(~harness.at("GAP") | (since >= harness.step)),
        Assert(harness.at("ABORT", "DRAIN", "GAP") | (since >= 11)),
    ]
    prove(harness.m, tmp_path, depth=2)


#: A frame is started with its first beat, so that one that is aborted is soon over.
QUICK = small_config(ports=1, data_width=32, max_frame=8)


@pytest.mark.slow
def test_a_core_that_is_too_slow(tmp_path):
    """Its clock stands still after three edges: an end is taken, and the gap after it is over, before it is counted."""
    harness = Harness(QUICK, edges=40)
    harness.add_promise()
    m, tick = harness.m, harness.clocks.tick
    core = Signal(2)
    with m.If(tick["sync"]):
        m.d.sync += core.eq(core + 1)
    m.d.comb += [Assume(~tick["sync"] | (core != 3)), Assume(tick["tx"])]
    refute(m, tmp_path, depth=40)


#: Lines of ``_whole_frame``, and what becomes of them.
FAULTS = {
    "the count crosses in binary": (
        ("m.d.sync += written_gray.eq(written ^ written >> 1)", "m.d.sync += written_gray.eq(written)"),
        ("(read ^ read >> 1)", "read")),
    "the count is not synchronized": (
        ("m.submodules.written = FFSynchronizer(written_gray, written_tx, o_domain=\"tx\")",
         "m.submodules.unused = FFSynchronizer(written_gray, Signal(width), o_domain=\"tx\")\n"
         "    m.d.comb += written_tx.eq(written_gray)"),),
    "each beat counts as the end of a frame": (
        ("with m.If(self.i.valid & self.i.ready & self.i.payload.last):", "with m.If(self.i.valid & self.i.ready):"),),
    "beats count that the FIFO does not take": (
        ("with m.If(self.i.valid & self.i.ready & self.i.payload.last):",
         "with m.If(self.i.valid & self.i.payload.last):"),),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found(tmp_path, fault):
    class Faulty(Opened, with_fault(GmiiTransmitter, "_whole_frame", *FAULTS[fault])):
        pass

    harness = Harness(kind=Faulty)
    harness.add_promise()
    refute(harness.m, tmp_path, depth=14)


def test_frames_are_sent(tmp_path):
    """One that is whole, to its end, and there is a next one."""
    harness = Harness(QUICK)
    harness.add_promise()
    harness.m.d.comb += Cover(harness.promised & harness.dut.end_taken & harness.whole)
    cover(harness.m, tmp_path, depth=30)
