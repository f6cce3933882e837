"""What is Verilated for a live board: the core with registers at its ports."""

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect

from ...hdl.config import CoreConfig
from ...hdl.slice import RegisterSlice
from ...hdl.stream import FrameSignature, frame_layout

__all__ = ["StreamTop"]


class StreamTop(wiring.Component):
    """A core at the frame-stream boundary, with nothing combinational between the harness and the core.

    Whatever depends on an input without a register between is evaluated twice a cycle by Verilator, once for each edge
    of the clock; in the bare core that was half of the work. So received frames go through a register, sent ones are
    always taken, and the reset, on which every next state depends, is a cycle late. It also lets the harness set and
    look at all ports at once. Latency: one cycle more than the core.

    Parameters
    ----------
    core : Component
        The core, or something with the same ports.
    config : CoreConfig
        Its parameters.

    Attributes
    ----------
    rx, host_rx, tx, host_tx
        As those of the core.
    idle : Signal, out
        As that of the core.
    """

    def __init__(self, core: wiring.Component, config: CoreConfig):
        self._core = core
        self._config = config
        always = stream.Signature(frame_layout(config.data_width), always_ready=True)
        super().__init__({
            "rx": In(FrameSignature(config)).array(config.wired_ports),
            "host_rx": In(FrameSignature(config)),
            "tx": Out(always).array(config.wired_ports),
            "host_tx": Out(always),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        inner, m = self._inner(), Module()
        late_reset = Signal(reset_less=True, init=1)
        m.domains.core = ClockDomain("core")
        m.d.comb += [ClockSignal("core").eq(ClockSignal("sync")), ResetSignal("core").eq(late_reset)]
        m.d.sync += late_reset.eq(ResetSignal("sync"))
        m.submodules.inner = DomainRenamer("core")(inner)
        return m

    def _inner(self) -> Module:
        m = Module()
        m.submodules.core = core = self._core
        layout = frame_layout(self._config.data_width)
        for name, outer, inner in (*((f"rx{port}", self.rx[port], core.rx[port]) for port in range(len(self.rx))),
                                   ("host_rx", self.host_rx, core.host_rx)):
            m.submodules[name] = register = RegisterSlice(layout)
            # The core's reset ends a cycle after the harness's: what came in that cycle would be lost.
            m.d.comb += [
                register.i.payload.eq(outer.payload),
                register.i.valid.eq(outer.valid & ~ResetSignal("sync")),
                outer.ready.eq(register.i.ready & ~ResetSignal("sync")),
            ]
            connect(m, register.o, inner)
        for outer, inner in (*zip(self.tx, core.tx, strict=True), (self.host_tx, core.host_tx)):
            m.d.comb += [
                outer.payload.eq(inner.payload),
                outer.valid.eq(inner.valid),
                inner.ready.eq(1),
            ]
        m.d.comb += self.idle.eq(core.idle)
        return m
