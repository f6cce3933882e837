"""A small top with the ports of a core that does to a frame what its first byte says, for tests of the harness."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.stream import FrameSignature

__all__ = ["BOTH", "DROP", "FLIP", "PASS", "FaultyCrossbar"]

PASS, DROP, BOTH, FLIP = 0x10, 0x12, 0x14, 0x16


class FaultyCrossbar(wiring.Component):
    """Frames of port 0 leave by port 1 in the same cycle, but as their first byte says; port 1 is deaf, and what the
    host sends comes back to it.

    DROP: not at all; BOTH: by port 0 as well; FLIP: with a bit of the second beat wrong.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        frames = FrameSignature(config)
        super().__init__({
            "rx": In(frames).array(config.ports), "tx": Out(frames).array(config.ports),
            "host_rx": In(frames), "host_tx": Out(frames), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        beat, kept = Signal(range(4)), Signal(8)
        rx = self.rx[0]
        kind = Signal(8)
        m.d.comb += kind.eq(kept)
        with m.If(beat == 0):
            m.d.comb += kind.eq(rx.payload.data[0:8])
        with m.If(rx.valid & rx.ready):
            m.d.sync += [beat.eq(beat + (beat != 3)), kept.eq(kind)]
            with m.If(rx.payload.last):
                m.d.sync += beat.eq(0)
        m.d.comb += [
            *(port.ready.eq(1) for port in self.rx),
            self.host_tx.payload.eq(self.host_rx.payload), self.host_tx.valid.eq(self.host_rx.valid),
            self.host_rx.ready.eq(self.host_tx.ready),
            self.tx[1].payload.eq(rx.payload), self.tx[1].valid.eq(rx.valid & (kind != DROP)),
            self.tx[0].payload.eq(rx.payload), self.tx[0].valid.eq(rx.valid & (kind == BOTH)),
            self.idle.eq(1),
        ]
        with m.If((kind == FLIP) & (beat == 1)):
            m.d.comb += self.tx[1].payload.data[5].eq(~rx.payload.data[5])
        return m
