"""A small top with the ports of a core, for tests of the harness: ports in pairs, the host port with itself."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.slice import RegisterSlice
from polyrouter.hdl.stream import FrameSignature, frame_layout

__all__ = ["Crossbar"]


class Crossbar(wiring.Component):
    """Frames from port 0 leave by port 1, and so on, after one cycle."""

    def __init__(self, config: CoreConfig):
        self.config = config
        frames = FrameSignature(config)
        super().__init__({
            "rx": In(frames).array(config.ports), "tx": Out(frames).array(config.ports),
            "host_rx": In(frames), "host_tx": Out(frames), "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        pairs = [*((self.rx[port], self.tx[port ^ 1]) for port in range(self.config.ports)),
                 (self.host_rx, self.host_tx)]
        for number, (rx, tx) in enumerate(pairs):
            m.submodules[f"slice{number}"] = register = RegisterSlice(frame_layout(self.config.data_width))
            connect(m, flipped(rx), register.i)
            connect(m, register.o, flipped(tx))
        m.d.comb += self.idle.eq(1)
        return m
