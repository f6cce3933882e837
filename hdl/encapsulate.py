"""Way into a tunnel: puts an outer Ethernet, IPv4 and GRE or VXLAN header around a frame."""

from amaranth.hdl import Cat, Const, Module, Signal, Value, ValueLike
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .config import CoreConfig
from .headers import (
    ETHERNET_BYTES,
    ETHERTYPE_IPV4,
    ETHERTYPE_TEB,
    IPV4_BYTES,
    VXLAN_PORT,
    Ethernet,
    Field,
    Gre,
    Ipv4,
    Protocol,
    Udp,
    Vxlan,
)
from .layouts import TUNNEL, TunnelKind
from .records import ROUTER_BITS, owned_layout
from .slice import RegisterSlice
from .stream import LENGTH_BITS
from .tunnel import OUTER_BYTES, by_kind

__all__ = ["ENTROPY_BITS", "Encapsulator", "inner_layout"]

#: The source port of VXLAN is one of the dynamic ports, 49152 to 65535 (RFC 7348, section 5).
ENTROPY_BITS = 14

_PROTOCOL = {TunnelKind.GRE: Const(Protocol.GRE, 8), TunnelKind.VXLAN: Const(Protocol.UDP, 8)}


def inner_layout(width: int) -> data.StructLayout:
    """A beat of a frame that enters a tunnel; all but ``data`` and ``last`` hold for every beat of the frame.

    ``underlay`` is the router that gets the packet; ``entropy`` is the same for all frames of a flow, and spreads flows
    over the underlay's paths.
    """
    return data.StructLayout({
        "data": width, "last": 1, "length": LENGTH_BITS, "underlay": ROUTER_BITS, "tunnel": TUNNEL,
        "entropy": ENTROPY_BITS,
    })


class Encapsulator(wiring.Component):
    """Carries Ethernet in IPv4: by GRE with a key (RFC 2784, RFC 2890) or by VXLAN (RFC 7348).

    The outer header has TOS and TTL of ``tunnel``, whatever the inner one says (pipe model, RFC 2983), identification
    zero (atomic datagrams, RFC 6864, section 4.1), "don't fragment" set (RFC 7348, section 4.3), and its checksum
    (RFC 1071). That of UDP is zero (RFC 7348, section 5). Both outer MAC addresses are zero: the underlay's router
    writes its own ones.

    Latency: the first beat is offered 4 cycles after that of the inner frame. A frame takes 3 cycles more than the
    outer frame has beats, and has no gap inside if ``i`` has none.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i : stream of inner_layout
        Inner frames of at least 14 bytes, and so short that the outer one's length can be told.
    o : stream of owned_layout
        Outer frames, for the underlay's router.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(inner_layout(config.data_width))),
            "o": Out(stream.Signature(owned_layout(config.data_width))),
        })

    def elaborate(self, platform):
        m = Module()
        width, beat_bytes = self.config.data_width, self.config.beat_bytes
        shift = {kind: size % beat_bytes for kind, size in OUTER_BYTES.items()}
        ahead = {kind: size // beat_bytes for kind, size in OUTER_BYTES.items()}    # beats of nothing but header
        m.submodules.register = register = RegisterSlice(owned_layout(width))
        connect(m, register.o, flipped(self.o))
        inner, o = self.i.payload, register.i
        tunnel = inner.tunnel

        # Worked out before the first beat: lengths, and the sum of the words of the IPv4 header but for the checksum.
        vxlan = Signal()
        length = Signal(LENGTH_BITS)
        underlay = Signal(ROUTER_BITS)
        longer = Signal()                       # the inner frame's last bytes need a beat of their own
        partial = [Signal(18, name=f"partial_{k}") for k in range(3)]
        total = Signal(20)
        total_length = Signal(16)
        folded = Signal(17)
        checksum = Signal(16)
        m.d.comb += [
            total_length.eq(length - ETHERNET_BYTES),
            folded.eq(total[:16] + total[16:]),
            checksum.eq(~(folded[:16] + folded[16])),
        ]
        header = self._header(tunnel, vxlan, total_length, checksum, inner.entropy)

        position = Signal(range(max(ahead.values()) + 1))
        carry = Signal(data.ArrayLayout(8, max(shift.values())))    # what goes in front of the beat at ``i``
        now = data.View(data.ArrayLayout(8, beat_bytes), inner.data)
        out = data.View(data.ArrayLayout(8, beat_bytes), o.payload.data)
        in_header = Signal()
        m.d.comb += [
            in_header.eq(position != by_kind(vxlan, ahead)),
            o.payload.length.eq(length),
            o.payload.router.eq(underlay),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [
                    position.eq(0),
                    vxlan.eq(tunnel.kind),
                    underlay.eq(inner.underlay),
                    length.eq(inner.length + by_kind(tunnel.kind, OUTER_BYTES)),
                    longer.eq((inner.length - 1)[:exact_log2(beat_bytes)]
                              >= by_kind(tunnel.kind, {kind: beat_bytes - k for kind, k in shift.items()})),
                    partial[0].eq(tunnel.source[:16] + tunnel.source[16:]),
                    partial[1].eq(tunnel.destination[:16] + tunnel.destination[16:]),
                    partial[2].eq(Cat(tunnel.tos, Const(Ipv4.PLAIN, 8)) + Ipv4.DONT_FRAGMENT),
                ]
                with m.If(self.i.valid):
                    m.next = "SUM"
            with m.State("SUM"):
                m.d.sync += [
                    partial[0].eq(partial[0] + partial[1]),
                    partial[1].eq(total_length + Cat(by_kind(vxlan, _PROTOCOL), tunnel.ttl)),
                ]
                m.next = "TOTAL"
            with m.State("TOTAL"):
                m.d.sync += total.eq(partial[0] + partial[1] + partial[2])
                for kind in TunnelKind:         # the header's last bytes share a beat with the frame's first ones
                    with m.If(vxlan == kind):
                        end = OUTER_BYTES[kind]
                        m.d.sync += [carry[k].eq(header[end - shift[kind] + k]) for k in range(shift[kind])]
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [
                    o.valid.eq(self.i.valid),
                    self.i.ready.eq(o.ready & ~in_header),
                    o.payload.last.eq(~in_header & inner.last & ~longer),
                ]
                with m.If(o.valid & o.ready):
                    with m.If(in_header):
                        m.d.sync += position.eq(position + 1)
                    with m.Else():
                        for kind in TunnelKind:
                            with m.If(vxlan == kind):
                                m.d.sync += [carry[k].eq(now[beat_bytes - shift[kind] + k])
                                             for k in range(shift[kind])]
                    with m.If(~in_header & inner.last):
                        m.next = "IDLE"
                        with m.If(longer):
                            m.next = "TAIL"
            with m.State("TAIL"):
                m.d.comb += [o.valid.eq(1), o.payload.last.eq(1)]
                with m.If(o.ready):
                    m.next = "IDLE"
        with m.If(in_header):
            m.d.comb += o.payload.data.eq(Cat(header).word_select(position, width))
        with m.Else():
            for kind in TunnelKind:
                with m.If(vxlan == kind):
                    m.d.comb += [out[k].eq(carry[k] if k < shift[kind] else now[k - shift[kind]])
                                 for k in range(beat_bytes)]
        return m

    def _header(self, tunnel, vxlan: Value, total_length: Value, checksum: Value, entropy: Value) -> list[Value]:
        """Bytes in front of the inner frame; those behind the header of GRE mean nothing for it."""
        common: list[tuple[Field, ValueLike]] = [
            (Ethernet.ETHERTYPE, ETHERTYPE_IPV4),
            (Ipv4.VERSION_IHL, Ipv4.PLAIN),
            (Ipv4.TOS, tunnel.tos),
            (Ipv4.TOTAL_LENGTH, total_length),
            (Ipv4.FRAGMENT, Ipv4.DONT_FRAGMENT),
            (Ipv4.TTL, tunnel.ttl),
            (Ipv4.PROTOCOL, by_kind(vxlan, _PROTOCOL)),
            (Ipv4.CHECKSUM, checksum),
            (Ipv4.SOURCE, tunnel.source),
            (Ipv4.DESTINATION, tunnel.destination),
        ]
        of_kind: dict[TunnelKind, list[tuple[Field, ValueLike]]] = {
            TunnelKind.GRE: [
                (Gre.FLAGS, Gre.FLAG_K),
                (Gre.PROTOCOL, ETHERTYPE_TEB),
                (Gre.KEY, tunnel.key),
            ],
            TunnelKind.VXLAN: [
                (Udp.SOURCE, Cat(entropy, Const(3, 2))),
                (Udp.DESTINATION, VXLAN_PORT),
                (Udp.LENGTH, total_length - IPV4_BYTES),
                (Vxlan.FLAGS, Vxlan.FLAG_I),
                (Vxlan.VNI, tunnel.key[:24]),
            ],
        }
        header: list[Value] = [Const(0, 8)] * max(OUTER_BYTES.values())
        for field, value in common:
            for byte, octet in field.spread(value).items():
                header[byte] = octet
        octets = {kind: dict(octet for field, value in fields for octet in field.spread(value).items())
                  for kind, fields in of_kind.items()}
        for byte in set().union(*octets.values()):
            header[byte] = by_kind(vxlan, {kind: given.get(byte, Const(0, 8)) for kind, given in octets.items()})
        return header
