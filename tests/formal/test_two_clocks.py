"""An ``AsyncFIFO`` just as it is built, with two clocks that are signals: bounded, as a check of :mod:`.clocks`.

Two words that differ from all others are written one after the other, among any number of others; that is how they come
out. In each step each clock rises, falls, or does neither. No bit settles late here.
"""

import pytest
from amaranth.hdl import Array, Assert, Assume, ClockDomain, ClockSignal, Const, Module, Mux, Signal
from amaranth.lib.fifo import AsyncFIFO

from .faults import with_fault
from .runner import AnySeq, prove, refute
from .test_clocks import FAULTS

#: Words; the last one is never written.
OTHER, FIRST, SECOND = range(3)


def harness(depth: int, kind: type[AsyncFIFO] = AsyncFIFO) -> Module:
    m = Module()
    m.submodules.fifo = fifo = kind(width=2, depth=depth, exact_depth=True)
    for name in ("write", "read"):
        m.domains += ClockDomain(name, reset_less=True)
        m.d.comb += ClockSignal(name).eq(AnySeq(1))
    m.d.comb += [signal.eq(AnySeq(len(signal))) for signal in (fifo.w_en, fifo.w_data, fifo.r_en)]
    for domain, moves, word, rule in (("write", fifo.w_en & fifo.w_rdy, fifo.w_data, Assume),
                                      ("read", fifo.r_en & fifo.r_rdy, fifo.r_data, Assert)):
        last = Signal(2, name=f"last_{domain}")     # of the two
        with m.If(moves):
            m.d[domain] += last.eq(Mux(word == OTHER, last, word))
            m.d.comb += rule(Array([word < SECOND, word == SECOND, word == OTHER, Const(0)])[last])
    return m


@pytest.mark.parametrize("depth, steps", [(2, 16), (4, 18), pytest.param(4, 22, marks=pytest.mark.slow)])
def test_two_words_come_out_one_after_the_other(tmp_path, depth, steps):
    prove(harness(depth), tmp_path, depth=steps, induction=False, own_clocks=True)


@pytest.mark.parametrize("fault", [
    "full a word too late", "the next word is fetched a cycle late", "a row is written over"])
def test_fault_is_found(tmp_path, fault):
    refute(harness(2, with_fault(AsyncFIFO, "elaborate", FAULTS[fault])), tmp_path, depth=20, own_clocks=True)
