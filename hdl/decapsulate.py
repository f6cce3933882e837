"""Way out of a tunnel: takes the outer headers off, and tells what they said."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .config import CoreConfig
from .headers import (
    ETHERNET_BYTES,
    ETHERTYPE_IPV4,
    ETHERTYPE_TEB,
    VXLAN_PORT,
    Ethernet,
    Gre,
    Ipv4,
    Protocol,
    Udp,
    Vxlan,
    frame_bytes,
)
from .layouts import TUNNEL, Reason, TunnelKind
from .records import REFUSED, ROUTER_BITS, owned_layout
from .slice import RegisterSlice
from .stream import LENGTH_BITS
from .tunnel import OUTER_BYTES, by_kind

__all__ = ["Decapsulator", "decapsulated_layout"]


def decapsulated_layout(width: int) -> data.StructLayout:
    """A beat of a frame out of a tunnel; all but ``data`` and ``last`` hold for every beat of the frame."""
    return data.StructLayout({"data": width, "last": 1, "length": LENGTH_BITS, "router": ROUTER_BITS, "tunnel": TUNNEL})


class Decapsulator(wiring.Component):
    """Takes Ethernet out of IPv4: out of GRE with a key (RFC 2784, RFC 2890) or VXLAN (RFC 7348).

    What does not fit is dropped: anything but IPv4 without options; another protocol, UDP port, flag or protocol type;
    fragments (RFC 7348, section 4.3); a total length beyond the frame's end; an inner frame of less than an Ethernet
    header. The checksum of IPv4 was looked at before. Reserved bits (RFC 7348, section 5;
    RFC 2784, section 2.3) and the UDP checksum are not looked at. Padding behind the packet goes away.

    Latency: the inner frame's first beat is offered 3 cycles after the beat that completes the outer header. A frame
    takes at most 2 cycles more than the outer frame has beats, and has no gap inside if ``i`` has none.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i : stream of owned_layout
        Outer frames, with the router that they are for.
    o : stream of decapsulated_layout
        Inner frames.
    event : stream of REFUSED
        ``DROP_MALFORMED`` for each frame dropped.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(owned_layout(config.data_width))),
            "o": Out(stream.Signature(decapsulated_layout(config.data_width))),
            "event": Out(stream.Signature(REFUSED)),
        })

    def elaborate(self, platform):
        m = Module()
        width, beat_bytes = self.config.data_width, self.config.beat_bytes
        shift = {kind: size % beat_bytes for kind, size in OUTER_BYTES.items()}
        beats = {kind: -(-size // beat_bytes) for kind, size in OUTER_BYTES.items()}   # that the header reaches into
        m.submodules.register = register = RegisterSlice(decapsulated_layout(width))
        connect(m, register.o, flipped(self.o))
        i, o = self.i, register.i

        header = Signal(max(beats.values()) * width)
        octets = frame_bytes(header)
        length = Signal(LENGTH_BITS)
        router = Signal(ROUTER_BITS)
        position = Signal(range(max(beats.values())))
        ended = Signal()                            # ``held`` is the last beat of the outer frame
        held = Signal(width)                        # the beat before the one at ``i``
        rest = Signal(17)                           # bytes of the inner frame from the next beat out on

        # What the header says.
        vxlan = Signal()
        m.d.comb += vxlan.eq(Ipv4.PROTOCOL.of(octets) == Protocol.UDP)
        outer_bytes = by_kind(vxlan, OUTER_BYTES)
        total_length = Ipv4.TOTAL_LENGTH.of(octets)
        inner_length = Signal(range(-64, 1 << 16))
        good, good_gre, good_vxlan, fits = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            inner_length.eq((total_length + ETHERNET_BYTES).as_signed() - outer_bytes),
            good_gre.eq((Ipv4.PROTOCOL.of(octets) == Protocol.GRE)
                        & ((Gre.FLAGS.of(octets) & Gre.FLAGS_CHECKED) == Gre.FLAG_K)
                        & (Gre.PROTOCOL.of(octets) == ETHERTYPE_TEB)),
            good_vxlan.eq(vxlan & (Udp.DESTINATION.of(octets) == VXLAN_PORT)
                          & ((Vxlan.FLAGS.of(octets) & Vxlan.FLAG_I) != 0)),
            fits.eq((inner_length >= ETHERNET_BYTES) & (total_length + ETHERNET_BYTES <= length)),
            good.eq((good_gre | good_vxlan) & fits & (Ethernet.ETHERTYPE.of(octets) == ETHERTYPE_IPV4)
                    & (Ipv4.VERSION_IHL.of(octets) == Ipv4.PLAIN)
                    & ((Ipv4.FRAGMENT.of(octets) & Ipv4.FRAGMENTED) == 0)),
            o.payload.length.eq(inner_length),
            o.payload.router.eq(router),
            o.payload.tunnel.kind.eq(Mux(vxlan, TunnelKind.VXLAN, TunnelKind.GRE)),
            o.payload.tunnel.key.eq(Mux(vxlan, Vxlan.VNI.of(octets), Gre.KEY.of(octets))),
            o.payload.tunnel.source.eq(Ipv4.SOURCE.of(octets)),
            o.payload.tunnel.destination.eq(Ipv4.DESTINATION.of(octets)),
            o.payload.tunnel.tos.eq(Ipv4.TOS.of(octets)),
            o.payload.tunnel.ttl.eq(Ipv4.TTL.of(octets)),
        ]

        # Out goes what is left of the beat before, and the start of this one.
        lanes = data.ArrayLayout(8, beat_bytes)
        out, before, now = data.View(lanes, o.payload.data), data.View(lanes, held), data.View(lanes, i.payload.data)
        enough = Signal()                           # the beat before has all that is left of the frame
        final = Signal()
        for kind in TunnelKind:
            kept = beat_bytes - shift[kind]
            with m.If(vxlan == kind):
                m.d.comb += [
                    *(out[k].eq(before[shift[kind] + k] if k < kept else now[k - kept]) for k in range(beat_bytes)),
                    enough.eq(rest <= kept),
                ]
        m.d.comb += [
            final.eq(rest <= beat_bytes),
            o.payload.last.eq(final),
            self.event.payload.router.eq(router),
            self.event.payload.reason.eq(Reason.DROP_MALFORMED),
        ]
        with m.FSM():
            with m.State("HEADER"):
                m.d.comb += i.ready.eq(1)
                with m.If(i.valid):
                    m.d.sync += [
                        header.word_select(position, width).eq(i.payload.data),
                        held.eq(i.payload.data),
                        ended.eq(i.payload.last),
                        position.eq(position + 1),
                        length.eq(i.payload.length),
                        router.eq(i.payload.router),
                    ]
                    # The protocol is in an earlier beat, whatever the width.
                    with m.If(i.payload.last | (position == by_kind(vxlan, beats) - 1)):
                        m.d.sync += position.eq(0)
                        m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += rest.eq(inner_length)
                m.next = "BODY"
                with m.If(~good):
                    m.next = "DROP"
            with m.State("BODY"):
                m.d.comb += [
                    o.valid.eq(enough | i.valid),
                    i.ready.eq(o.ready & ~enough),
                ]
                with m.If(o.valid & o.ready):
                    m.d.sync += rest.eq(rest - beat_bytes)
                    with m.If(~enough):
                        m.d.sync += [held.eq(i.payload.data), ended.eq(i.payload.last)]
                    with m.If(final):
                        m.next = "PADDING"
                        with m.If(Mux(enough, ended, i.payload.last)):
                            m.next = "HEADER"
            for state, following in ("PADDING", "HEADER"), ("DROP", "EVENT"):
                with m.State(state):
                    m.d.comb += i.ready.eq(~ended)
                    with m.If(ended | (i.valid & i.payload.last)):
                        m.next = following
            with m.State("EVENT"):
                m.d.comb += self.event.valid.eq(1)
                with m.If(self.event.ready):
                    m.next = "HEADER"
        return m
