"""The checker itself: it accepts a register stage, and finds a stream that takes its offer back."""

import pytest
from amaranth.hdl import Cover, Module
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from .contract import StreamContract
from .runner import AnySeq, FormalError, cover, prove


class Stage(wiring.Component):
    """A FIFO; ``broken`` lets ``valid`` fall when the source pauses."""

    i: In(stream.Signature(4))
    o: Out(stream.Signature(4))

    def __init__(self, broken: bool):
        super().__init__()
        self._broken = broken

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = buffer = fifo.SyncFIFOBuffered(width=4, depth=3)
        wiring.connect(m, wiring.flipped(self.i), buffer.w_stream)
        m.d.comb += [
            self.o.payload.eq(buffer.r_stream.payload),
            self.o.valid.eq(buffer.r_stream.valid & (self.i.valid if self._broken else 1)),
            buffer.r_stream.ready.eq(self.o.ready),
        ]
        return m


def harness(broken: bool) -> Module:
    m = Module()
    m.submodules.dut = dut = Stage(broken)
    m.submodules.rule = StreamContract(dut.i, assume=True)
    m.submodules.check = StreamContract(dut.o)
    m.d.comb += [
        dut.i.valid.eq(AnySeq(1)),
        dut.i.payload.eq(AnySeq(4)),
        dut.o.ready.eq(AnySeq(1)),
        Cover(dut.o.valid & ~dut.o.ready & (dut.o.payload == 5)),
    ]
    return m


def test_register_stage_keeps_the_rules(tmp_path):
    prove(harness(broken=False), tmp_path, depth=4)


def test_rules_can_be_met(tmp_path):
    cover(harness(broken=False), tmp_path, depth=8)


def test_offer_taken_back_is_found(tmp_path):
    with pytest.raises(FormalError, match="FAIL"):
        prove(harness(broken=True), tmp_path, depth=8)
