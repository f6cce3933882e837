"""The model of unrelated clocks itself: what must not be relied on does happen, and faults of a FIFO are found."""

import pytest
from amaranth.hdl import Assert, Elaboratable, Module, Signal
from amaranth.lib import fifo
from amaranth.lib.cdc import FFSynchronizer

from .clocks import Clocks
from .faults import with_fault
from .fifo_lemmas import binary
from .runner import prove, refute
from .test_fifo_crossing import Harness, Reset


class Counter(Elaboratable):
    """Counts up to 7 in the domain ``one``; in ``two`` it is seen, in Gray code or in binary."""

    def __init__(self, gray: bool):
        self._gray = gray
        self.count, self.seen = Signal(3), Signal(3)

    def elaborate(self, platform):
        m = Module()
        sent, received = Signal(3), Signal(3)
        following = Signal(3)
        m.d.comb += following.eq(self.count + ~self.count.all())
        m.d.one += [self.count.eq(following), sent.eq(following ^ following >> 1 if self._gray else following)]
        m.submodules.synchronizer = FFSynchronizer(sent, received, o_domain="two")
        m.d.comb += self.seen.eq(binary(received) if self._gray else received)
        return m


def counter(gray: bool) -> Module:
    """What is seen is never more than what was counted, and never falls."""
    m = Module()
    m.submodules.clocks = clocks = Clocks("one", "two")
    counter = Counter(gray)
    m.submodules.counter = clocks.attach(counter)
    before = Signal(3)
    m.d.sync += before.eq(counter.seen)
    m.d.comb += [Assert(counter.seen <= counter.count), Assert(counter.seen >= before)]
    return m


def test_gray_code_is_never_seen_wrong(tmp_path):
    prove(counter(gray=True), tmp_path, depth=12, induction=False)


def test_bits_that_change_together_are_seen_apart(tmp_path):
    refute(counter(gray=False), tmp_path, depth=8)


#: Lines of ``AsyncFIFO``, and what becomes of them.
FAULTS = {
    "the number of words that were written crosses in binary": (
        "FFSynchronizer(produce_w_gry, produce_r_gry, o_domain=self._r_domain)",
        "FFSynchronizer(produce_w_bin, crossed := Signal(self._ctr_bits), o_domain=self._r_domain)\n"
        "    m.d.comb += produce_r_gry.eq(_gray_encode(crossed))"),
    "the number of words that were read crosses in binary": (
        "FFSynchronizer(consume_r_gry, consume_w_gry, o_domain=self._w_domain)",
        "FFSynchronizer(consume_r_bin, crossed := Signal(self._ctr_bits), o_domain=self._w_domain)\n"
        "    m.d.comb += consume_w_gry.eq(_gray_encode(crossed))"),
    "full a word too late": (
        "self.w_rdy.eq(~w_full),", "self.w_rdy.eq(self.w_level != self.depth),"),
    "full a word too early": (
        "self.w_rdy.eq(~w_full),", "self.w_rdy.eq(produce_w_bin - consume_w_bin < self.depth - 1),"),
    "nothing synchronizes what was written": (
        "r_empty.eq(consume_r_gry == produce_r_gry)", "r_empty.eq(consume_r_gry == produce_w_gry)"),
    "the next word is fetched a cycle late": (
        "r_port.addr.eq(consume_r_nxt[:-1]),", "r_port.addr.eq(consume_r_bin[:-1]),"),
    "a row is written over": (
        "w_port.addr.eq(produce_w_bin[:-1]),", "w_port.addr.eq(produce_w_bin[:-1] & consume_w_bin[:-1]),"),
    "the reader does not hear of a reset": (
        "with m.If(r_rst):", "with m.If(0):"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found(tmp_path, fault):
    level = Signal()
    harness = Harness(4, level, with_fault(fifo.AsyncFIFO, "elaborate", FAULTS[fault]))
    Reset(harness.m, harness.clocks.tick, level)
    refute(harness.m, tmp_path, depth=14)
