"""Executes verdicts: rewrites frames and sends them on, or drops them."""

from amaranth.hdl import Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .config import CoreConfig
from .headers import Ethernet, Ipv4, Ipv6
from .records import EVENT, VERDICT, queued_layout
from .slice import RegisterSlice
from .stream import PacketSignature

__all__ = ["Rewriter"]


class Rewriter(wiring.Component):
    """Brings each frame together with its verdict.

    A frame to be sent goes to ``o``, with the new addresses, TTL or hop limit, and checksum in place if the verdict
    says so; whoever stores it counts it. A frame to be dropped is consumed, and its event is given at its last beat.
    One beat a cycle without a gap between frames; latency 1 cycle.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    verdict : stream of VERDICT
        One for each frame, in the order of the frames.
    body : PacketSignature
        The frames.
    o : stream of queued_layout
        Frames for the frame buffer.
    event : stream of EVENT
        Dropped frames.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "verdict": In(stream.Signature(VERDICT)),
            "body": In(PacketSignature(config)),
            "o": Out(stream.Signature(queued_layout(config.data_width))),
            "event": Out(stream.Signature(EVENT)),
        })

    def elaborate(self, platform):
        m = Module()
        beat_bytes = self.config.beat_bytes
        m.submodules.queued = queued = RegisterSlice(queued_layout(self.config.data_width))
        m.submodules.events = events = RegisterSlice(EVENT)
        connect(m, queued.o, flipped(self.o))
        connect(m, events.o, flipped(self.event))

        verdict = self.verdict.payload
        beat = self.body.payload
        both = Signal()
        take = Signal()
        m.d.comb += [
            both.eq(self.verdict.valid & self.body.valid),
            queued.i.valid.eq(both & verdict.send),
            events.i.valid.eq(both & ~verdict.send & beat.last),
        ]
        with m.If(verdict.send):
            m.d.comb += take.eq(both & queued.i.ready)
        with m.Else():
            m.d.comb += take.eq(both & (events.i.ready | ~beat.last))
        m.d.comb += [
            self.body.ready.eq(take),
            self.verdict.ready.eq(take & beat.last),
        ]

        ethernet = {**Ethernet.DESTINATION.spread(verdict.dmac), **Ethernet.SOURCE.spread(verdict.smac)}
        ipv4 = {**Ipv4.TTL.spread(verdict.ttl), **Ipv4.CHECKSUM.spread(verdict.checksum)}
        ipv6 = Ipv6.HOP_LIMIT.spread(verdict.ttl)
        replaced = {**ethernet, **ipv4, **ipv6}
        header_beats = max(replaced) // beat_bytes + 1
        position = Signal(range(header_beats + 1))      # beat of the frame; stops behind the last replaced byte
        with m.If(take):
            m.d.sync += position.eq(position + (position != header_beats))
            with m.If(beat.last):
                m.d.sync += position.eq(0)

        out = queued.i.payload
        lanes = data.View(data.ArrayLayout(8, beat_bytes), out.data)
        m.d.comb += [
            out.data.eq(beat.data),
            out.last.eq(beat.last),
            out.length.eq(beat.length),
            *(out[name].eq(verdict[name])
              for name in ("router", "port", "reason", "egress", "group", "peer", "peer_router")),
            *(events.i.payload[name].eq(verdict[name]) for name in ("router", "port", "reason")),
        ]
        with m.If(verdict.rewrite), m.Switch(position):
            for k in range(header_beats):
                with m.Case(k):
                    for which, bytes_ in (Const(1), ethernet), (~verdict.ipv6, ipv4), (verdict.ipv6, ipv6):
                        with m.If(which):
                            m.d.comb += [lanes[byte % beat_bytes].eq(value)
                                         for byte, value in bytes_.items() if byte // beat_bytes == k]
        return m
