"""Takes one frame at a time from the ports, in turn."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .records import PORT_BITS, ROUTER_BITS, TAG
from .roundrobin import RoundRobin
from .slice import RegisterSlice
from .stream import PacketSignature, packet_layout

__all__ = ["Arbiter"]


class Arbiter(wiring.Component):
    """Round-robin arbiter over the data ports and the host's injected frames, frame by frame.

    A frame's first beat comes out two cycles after it was offered. Frames of different ports follow each other without
    a gap, frames of the same port with one idle cycle.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i : array of PacketSignature
        Frames of the data ports.
    i_host : PacketSignature
        Frames that the host injects.
    inject_router, inject_port
        For whom, and for which egress port, ``i_host`` is; stable while it is valid.
    o : PacketSignature
        The frames in turn.
    tag : TAG
        Where the frame on ``o`` came from; holds for each of its beats.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(PacketSignature(config)).array(config.ports),
            "i_host": In(PacketSignature(config)),
            "inject_router": In(ROUTER_BITS),
            "inject_port": In(PORT_BITS),
            "o": Out(PacketSignature(config)),
            "tag": Out(TAG),
        })

    def elaborate(self, platform):
        m = Module()
        sources = [*self.i, self.i_host]
        count = len(sources)
        m.submodules.slice = register = RegisterSlice(
            data.StructLayout({"beat": packet_layout(self.config.data_width), "tag": TAG}))

        grant = Signal(range(count))
        busy = Signal()
        done = Signal()
        with m.Switch(grant):
            for index, source in enumerate(sources):
                with m.Case(index):
                    m.d.comb += [
                        register.i.valid.eq(busy & source.valid),
                        register.i.payload.beat.eq(source.payload),
                        source.ready.eq(busy & register.i.ready),
                    ]
        tag = register.i.payload.tag
        m.d.comb += tag.port.eq(grant)
        with m.If(grant == self.config.host_port):
            m.d.comb += [
                tag.injected.eq(1),
                tag.router.eq(self.inject_router),
                tag.egress.eq(self.inject_port),
            ]

        # In the cycle of a frame's last beat, its source's ``valid`` says nothing of a next frame yet.
        m.submodules.turn = turn = RoundRobin(count)
        m.d.comb += [
            done.eq(register.i.valid & register.i.ready & register.i.payload.beat.last),
            turn.requests.eq(Cat(source.valid & ~(done & (grant == k)) for k, source in enumerate(sources))),
            turn.advance.eq(~busy | done),
        ]
        with m.If(turn.advance):
            m.d.sync += busy.eq(turn.valid)
            with m.If(turn.valid):
                m.d.sync += grant.eq(turn.grant)

        m.d.comb += [
            self.o.valid.eq(register.o.valid),
            self.o.payload.eq(register.o.payload.beat),
            self.tag.eq(register.o.payload.tag),
            register.o.ready.eq(self.o.ready),
        ]
        return m
