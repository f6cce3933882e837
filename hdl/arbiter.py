"""Takes one header at a time from the ports, in turn."""

from functools import reduce
from operator import or_

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .config import CoreConfig
from .narrowheader import HeaderBeatsSignature, header_layout
from .records import PORT_BITS, ROUTER_BITS, TAG
from .roundrobin import RoundRobin
from .slice import RegisterSlice

__all__ = ["HeaderArbiter", "sourced_layout"]


def sourced_layout(config: CoreConfig) -> data.StructLayout:
    """A header, and where it came from."""
    return data.StructLayout({**{name: field.shape for name, field in header_layout(config)}, "tag": TAG})


class HeaderArbiter(wiring.Component):
    """Round-robin arbiter over the headers of the data ports and of the host's injected frames.

    At most ``config.headers`` headers of a port are on their way at once; a port that has as many is passed over until
    a verdict of it was paired.

    Latency 2 cycles: in the first one a port is chosen, in the second its header, which is many bits, is moved. A
    header every other cycle, which is more than the look-ups take: so that their readiness need not reach the ports.
    Without slices, a header a cycle, if they are not all of one port. If beats are narrow there is no register, as a
    header is read at its port.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i : array of streams of header_layout
        Headers of the data ports.
    i_host : stream of header_layout
        Headers of the frames that the host injects.
    inject_router, inject_port : Signal, in
        For whom, and for which egress port, ``i_host`` is; stable while it is valid.
    given, given_router : Signal, in
        The header of the link port is that of a tunnel's packet, and who is to route it; stable while it is valid.
    released : Signal, in
        One bit a port, the host port included: high for a cycle for each header that is not on its way any more.
    o : stream of sourced_layout
        The headers in turn.
    i_beats, i_host_beats, o_beats : HeaderBeatsSignature
        Only if beats are narrow: those of each header; and those of the header at ``o`` from the cycle after it
        was taken until the next one is.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(header_layout(config))).array(config.ports),
            "i_host": In(stream.Signature(header_layout(config))),
            "inject_router": In(ROUTER_BITS),
            "inject_port": In(PORT_BITS),
            "given": In(1),
            "given_router": In(ROUTER_BITS),
            "released": In(config.all_ports),
            "o": Out(stream.Signature(sourced_layout(config))),
            **({"i_beats": In(HeaderBeatsSignature(config)).array(config.ports),
                "i_host_beats": In(HeaderBeatsSignature(config)),
                "o_beats": Out(HeaderBeatsSignature(config))} if config.narrow_headers else {}),
        })
        #: Whose header is moved: one bit at most, the host's the last; it holds until the header is taken.
        self.chosen = Signal(config.ports + 1)

    def elaborate(self, platform):
        m = Module()
        narrow = self.config.narrow_headers
        layout = sourced_layout(self.config)
        sources = [*self.i, self.i_host]
        m.submodules.slice = register = RegisterSlice(
            layout, 0 if narrow else self.config.slices, cuts_ready=True)
        m.submodules.turn = turn = RoundRobin(len(sources))
        connect(m, register.o, flipped(self.o))

        asks = Signal(len(sources))
        chosen = self.chosen
        taken = Signal(len(sources))
        free = Signal()
        m.d.comb += [
            free.eq(~chosen.any() | register.i.ready),
            turn.requests.eq(asks & ~chosen),
            turn.advance.eq(free),
            register.i.valid.eq(chosen.any()),
            taken.eq(Mux(register.i.ready, chosen, 0)),
        ]
        with m.If(free):
            m.d.sync += chosen.eq(Mux(turn.valid, 1 << turn.grant, 0))
        headers: list[data.View] = []
        for index, source in enumerate(sources):
            underway = Signal(range(self.config.headers + 1), name=f"underway_{index}")
            m.d.comb += [
                asks[index].eq(source.valid & (underway != self.config.headers)),
                source.ready.eq(taken[index]),
            ]
            m.d.sync += underway.eq(underway + taken[index] - self.released[index])
            header = Signal(layout, name=f"header_{index}")
            m.d.comb += [
                *(header[name].eq(source.payload[name]) for name, _ in header_layout(self.config)),
                header.tag.port.eq(index),
            ]
            headers.append(header)
        if self.config.circuits:
            link = headers[self.config.link_port].tag
            m.d.comb += [link.given.eq(self.given), link.router.eq(Mux(self.given, self.given_router, 0))]
        m.d.comb += [
            headers[-1].tag.injected.eq(1),
            headers[-1].tag.router.eq(self.inject_router),
            headers[-1].tag.egress.eq(self.inject_port),
            # Not by number: so the choice needs no decoder for each bit of the header.
            register.i.payload.eq(reduce(or_, (
                Mux(chosen[index], header.as_value(), 0) for index, header in enumerate(headers)))),
        ]
        if narrow:
            places = [*self.i_beats, self.i_host_beats]
            reading = Signal.like(chosen)
            with m.If(taken.any()):
                m.d.sync += reading.eq(chosen)
            m.d.comb += [
                *(place.index.eq(self.o_beats.index) for place in places),
                self.o_beats.beat.eq(reduce(or_, (
                    Mux(reading[index], place.beat, 0) for index, place in enumerate(places)))),
            ]
        return m
