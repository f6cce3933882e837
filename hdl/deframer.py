"""Frames from the host: takes the header off, and tells injected frames, requests and rubbish apart."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .config import HOST_HEADER_BYTES, CoreConfig
from .hostframe import BROADCAST, ETHERTYPE, REQUEST, header_beats
from .layouts import HOST_HEADER, HOST_VERSION, MAX_OPS, HostFrameType, Reason
from .records import PORT_BITS, ROUTER_BITS
from .stream import PacketSignature

__all__ = ["HostDeframer"]

_OP_BYTES = 16
#: Shortest frame that is injected: an Ethernet header.
_LEAST_INJECT = 14


class HostDeframer(wiring.Component):
    """Takes ``HOST_HEADER`` off.

    A frame's first beat goes out two cycles after its header is complete; then a beat a cycle.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    i : PacketSignature
        Frames from the host port.
    o_inject : PacketSignature
        Frames to send, without header; ``length`` is what follows the header, padding included.
    inject_router, inject_port : Signal, out
        Router and egress port of the frame at ``o_inject``.
    o_request : PacketSignature
        Operations of a request; the frame may be longer than ``request.length``.
    request : REQUEST, out
        Header of the frame at ``o_request``.
    event : stream
        ``DROP_HOST`` for each malformed frame.
    accepted : Signal, out
        High for one cycle for each valid frame.
    host_mac : Signal(48), out
        Source address of the last valid frame, the broadcast address before there was one.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        super().__init__({
            "i": In(PacketSignature(config)),
            "o_inject": Out(PacketSignature(config)),
            "inject_router": Out(ROUTER_BITS),
            "inject_port": Out(PORT_BITS),
            "o_request": Out(PacketSignature(config)),
            "request": Out(REQUEST),
            "event": Out(stream.Signature(5)),
            "accepted": Out(1),
            "host_mac": Out(48, init=BROADCAST),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        beats = header_beats(config)
        header = Signal(HOST_HEADER)
        position = Signal(range(max(2, beats)))
        rest = Signal.like(self.i.payload.length)       # bytes after the header
        ended = Signal()                                # the last beat was in the header
        m.d.comb += [
            self.o_inject.payload.data.eq(self.i.payload.data),
            self.o_inject.payload.last.eq(self.i.payload.last),
            self.o_inject.payload.length.eq(rest),
            self.inject_router.eq(header.router),
            self.inject_port.eq(header.port),
            self.o_request.payload.data.eq(self.i.payload.data),
            self.o_request.payload.last.eq(self.i.payload.last),
            self.o_request.payload.length.eq(rest),
            self.request.source.eq(header.source),
            self.request.sequence.eq(header.sequence),
            self.request.reason.eq(header.reason),
            self.request.length.eq(header.length),
            self.event.payload.eq(Reason.DROP_HOST),
        ]

        valid = Signal()        # of both types
        inject = Signal()
        request = Signal()
        m.d.comb += [
            valid.eq(~ended & (header.ethertype == ETHERTYPE) & (header.version == HOST_VERSION)
                     & (header.length <= rest)),
            inject.eq((header.type == HostFrameType.INJECT) & (header.length >= _LEAST_INJECT)
                      & (header.router < config.routers) & (header.port < config.ports)),
            request.eq((header.type == HostFrameType.REQUEST) & (header.length % _OP_BYTES == 0)
                       & (header.length >= _OP_BYTES) & (header.length <= MAX_OPS * _OP_BYTES)),
        ]
        with m.FSM():
            with m.State("HEADER"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [
                        header.eq(Cat(header.as_value(), self.i.payload.data)[config.data_width:]),
                        rest.eq(self.i.payload.length - HOST_HEADER_BYTES),
                        ended.eq(self.i.payload.last),
                        position.eq(position + 1),
                    ]
                    with m.If(self.i.payload.last | (position == beats - 1)):
                        m.d.sync += position.eq(0)
                        m.next = "CHECK"
            with m.State("CHECK"):
                with m.If(valid & (inject | request)):
                    m.d.comb += self.accepted.eq(1)
                    m.d.sync += self.host_mac.eq(header.source)
                    with m.If(inject):
                        m.next = "INJECT"
                    with m.Else():
                        m.next = "REQUEST"
                with m.Elif(ended):
                    m.next = "EVENT"
                with m.Else():
                    m.next = "DROP"
            for name, o in ("INJECT", self.o_inject), ("REQUEST", self.o_request):
                with m.State(name):
                    m.d.comb += [o.valid.eq(self.i.valid), self.i.ready.eq(o.ready)]
                    with m.If(self.i.valid & o.ready & self.i.payload.last):
                        m.next = "HEADER"
            with m.State("DROP"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid & self.i.payload.last):
                    m.next = "EVENT"
            with m.State("EVENT"):
                m.d.comb += self.event.valid.eq(1)
                with m.If(self.event.ready):
                    m.next = "HEADER"
        return m
