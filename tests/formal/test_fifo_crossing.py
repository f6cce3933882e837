"""Words cross between two clocks in an ``AsyncFIFO``: each once, unchanged and in order, whatever the clocks do.

By induction, so for traces of any length, for each depth that a board has: 8 and 64 in transmitters, 32 in receivers,
16 in the loop-back. A word has one bit, which stands for each of its bits: nothing depends on what they are.
"""

from collections.abc import Sequence

import pytest
from amaranth.hdl import Assert, Const, Cover, Module, Signal
from amaranth.lib.fifo import AsyncFIFO

from .clocks import Clocks
from .fifo_lemmas import Pointers, Words
from .runner import AnySeq, cover, prove, refute


class Harness:
    """A FIFO that is written and read whenever the solver likes.

    Parameters
    ----------
    depth : int
    reset : Signal or None
        Of the writing side, if it has one.
    kind : type
        A FIFO that may be at fault.
    """

    def __init__(self, depth: int, reset: Signal | None = None, kind: type[AsyncFIFO] = AsyncFIFO):
        self.m = m = Module()
        self.clocks = clocks = Clocks("write", "read", **({} if reset is None else {"write": reset}))
        self.reset = Const(0) if reset is None else reset
        self.fifo = fifo = kind(width=1, depth=depth, exact_depth=True)
        m.submodules.clocks = clocks
        m.submodules.fifo = self.design = clocks.attach(fifo)
        m.d.comb += [fifo.w_en.eq(AnySeq(1)), fifo.w_data.eq(AnySeq(1)), fifo.r_en.eq(AnySeq(1))]
        self.words = Words(m, fifo, clocks.tick["write"], clocks.tick["read"], self.reset)
        for pointer, _ in clocks.synchronizers:
            self._change_one_bit_at_most(pointer)

    def with_lemmas(self) -> Pointers:
        """For induction; without them the same holds."""
        pointers = Pointers(self.m, self.clocks, self.fifo, self.design.signals(), self.reset)
        pointers.follow(self.words)
        return pointers

    def _change_one_bit_at_most(self, pointer: Signal) -> None:
        before, change, was_reset = Signal.like(pointer), Signal.like(pointer), Signal()
        self.m.d.sync += [before.eq(pointer), was_reset.eq(self.reset)]
        self.m.d.comb += change.eq(pointer ^ before)
        self.m.d.comb += Assert(was_reset | self.reset | ((change & (change - 1)[:len(change)]) == 0))


@pytest.mark.parametrize("depth", [8, 16, 32, pytest.param(64, marks=pytest.mark.slow)])
def test_each_word_once_and_in_order(tmp_path, depth):
    harness = Harness(depth)
    harness.with_lemmas()
    prove(harness.m, tmp_path, depth=2)


class Reset:
    """A reset of the writing side that rises when the solver likes, and lasts for some edges of both clocks.

    Parameters
    ----------
    m : Module
        Of the harness.
    tick : dict of Signal
        The clocks.
    level : Signal
        It is driven here.
    edges : sequence of str
        It ends with an edge of the writer after there were these, in this order, and others between them.
    """

    #: What was written is zero; the reader sees that, after two stages, and sets its own pointer; the writer sees that.
    EDGES = "write", "read", "read", "read", "write"

    def __init__(self, m: Module, tick: dict[str, Signal], level: Signal, edges: Sequence[str] = EDGES):
        #: How many of the edges there were.
        self.passed = passed = Signal(range(len(edges) + 1))
        m.d.sync += level.eq(level | AnySeq(1))
        with m.If(level):
            for number, domain in enumerate(edges):
                with m.If((passed == number) & tick[domain]):
                    m.d.sync += passed.eq(number + 1)
            with m.If((passed == len(edges)) & tick["write"]):
                m.d.sync += [level.eq(AnySeq(1)), passed.eq(0)]


@pytest.mark.parametrize("depth", [8, 16, pytest.param(32, marks=pytest.mark.slow),
                                   pytest.param(64, marks=pytest.mark.slow)])
def test_after_a_reset_nothing_old_is_read(tmp_path, depth):
    """Both sides are reset together, which to a FIFO is the writer's reset, in the middle of whatever they do."""
    level = Signal()
    harness = Harness(depth, level)
    pointers = harness.with_lemmas()
    m = harness.m
    passed = Reset(m, harness.clocks.tick, level).passed
    m.d.comb += [Assert(level | (passed == 0)), Assert(~level | ~harness.fifo.r_rdy)]
    cleared = (pointers.written_gray == 0) & (pointers.written == 0), pointers.there[0] == 0, pointers.there[1] == 0, (
        pointers.read_gray == 0) & (pointers.read == 0), pointers.back[0] == 0
    m.d.comb += [Assert((passed <= number) | zero) for number, zero in enumerate(cleared)]
    prove(harness.m, tmp_path, depth=2)


@pytest.mark.parametrize("edges", [Reset.EDGES[:k] + Reset.EDGES[k + 1:] for k in range(len(Reset.EDGES) - 1)])
def test_a_reset_that_is_too_short(tmp_path, edges):
    """Each of these edges is needed, but for the last one, which only makes the lemmas simple."""
    level = Signal()
    harness = Harness(2, level)
    Reset(harness.m, harness.clocks.tick, level, edges)
    refute(harness.m, tmp_path, depth=18)


def test_the_writers_clock_must_run_during_a_reset(tmp_path):
    level = Signal()
    harness = Harness(2, level)
    Reset(harness.m, harness.clocks.tick, level, ["read"] * 6)
    refute(harness.m, tmp_path, depth=18)


def test_all_of_it_can_happen(tmp_path):
    """Full, and read empty again; and a word after a reset."""
    level = Signal()
    harness = Harness(2, level)
    m, words = harness.m, harness.words
    Reset(m, harness.clocks.tick, level)
    was_full, was_reset = Signal(), Signal()
    m.d.sync += [was_full.eq(was_full | (~harness.fifo.w_rdy & words.there)), was_reset.eq(was_reset | level)]
    m.d.comb += [
        Cover(was_full & words.read & (words.inside == 1)),
        Cover(was_reset & words.read & words.there & (words.ahead == 0)),
    ]
    cover(m, tmp_path, depth=18)
