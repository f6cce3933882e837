"""Takes one header at a time from the ports, in turn."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .capture import HEADER, VERDICTS
from .config import CoreConfig
from .records import PORT_BITS, ROUTER_BITS, TAG
from .roundrobin import RoundRobin
from .slice import RegisterSlice

__all__ = ["TAGGED_HEADER", "HeaderArbiter"]

#: A header, and where it came from.
TAGGED_HEADER = data.StructLayout({
    "data": HEADER["data"].shape,
    "length": HEADER["length"].shape,
    "tag": TAG,
})


class HeaderArbiter(wiring.Component):
    """Round-robin arbiter over the headers of the data ports and of the host's injected frames.

    At most ``VERDICTS`` headers of a port are on their way at once; a port that has as many is passed over until a
    verdict of it was paired. A header a cycle, latency 1 cycle.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i : array of streams of HEADER
        Headers of the data ports.
    i_host : stream of HEADER
        Headers of the frames that the host injects.
    inject_router, inject_port : Signal, in
        For whom, and for which egress port, ``i_host`` is; stable while it is valid.
    released : Signal, in
        One bit a port, the host port included: high for a cycle for each header that is not on its way any more.
    o : stream of TAGGED_HEADER
        The headers in turn.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(HEADER)).array(config.ports),
            "i_host": In(stream.Signature(HEADER)),
            "inject_router": In(ROUTER_BITS),
            "inject_port": In(PORT_BITS),
            "released": In(config.all_ports),
            "o": Out(stream.Signature(TAGGED_HEADER)),
        })

    def elaborate(self, platform):
        m = Module()
        sources = [*self.i, self.i_host]
        m.submodules.slice = register = RegisterSlice(TAGGED_HEADER)
        m.submodules.turn = turn = RoundRobin(len(sources))
        connect(m, register.o, flipped(self.o))

        may = Signal(len(sources))
        tag = register.i.payload.tag
        m.d.comb += [
            turn.requests.eq(Cat(source.valid for source in sources) & may),
            turn.advance.eq(register.i.ready),
            register.i.valid.eq(turn.valid),
            tag.port.eq(turn.grant),
        ]
        for index, source in enumerate(sources):
            underway = Signal(range(VERDICTS + 1), name=f"underway_{index}")
            taken = Signal(name=f"taken_{index}")
            m.d.comb += [
                may[index].eq(underway != VERDICTS),
                taken.eq(source.valid & source.ready),
            ]
            m.d.sync += underway.eq(underway + taken - self.released[index])
            with m.If(turn.grant == index):
                m.d.comb += [
                    register.i.payload.data.eq(source.payload.data),
                    register.i.payload.length.eq(source.payload.length),
                    source.ready.eq(register.i.ready & may[index]),
                ]
        with m.If(turn.grant == self.config.host_port):
            m.d.comb += [
                tag.injected.eq(1),
                tag.router.eq(self.inject_router),
                tag.egress.eq(self.inject_port),
            ]
        return m
