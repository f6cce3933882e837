"""Reads the Ethernet and IP headers out of the frames."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out, connect, flipped

from .config import CoreConfig
from .headers import (
    ETHERNET_BYTES,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    HOP_BY_HOP,
    IPV4_BYTES,
    IPV6_BYTES,
    Ethernet,
    Ipv4,
    Ipv6,
    frame_bytes,
)
from .layouts import ADDRESS_BITS
from .records import META, TAG
from .slice import RegisterSlice
from .stream import LENGTH_BITS, PacketSignature, packet_layout

__all__ = ["BODY_BEATS", "Parser"]

#: Beats of frames that can wait for their verdict, a block RAM's worth; more than the look-ups' latency in cycles.
BODY_BEATS = 512
_IPV4_END = ETHERNET_BYTES + IPV4_BYTES
_IPV6_END = ETHERNET_BYTES + IPV6_BYTES


class Parser(wiring.Component):
    """Makes one record of each frame's headers, and delays the frames while the record is looked up.

    The record comes out four cycles after the beat that completes the first 34 bytes (IPv6: 54), or that ends a shorter
    frame. The next frame's first beat has to wait until it has been made, which costs nothing unless less than three
    beats of the frame follow, or ``o`` is blocked. Checksum: RFC 1071, over the first 20 bytes of the IPv4 header.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i : PacketSignature
        Whole frames of at least 14 bytes.
    i_tag : TAG
        Where the frame came from; read at its first beat.
    o : stream of META
        A record for each frame.
    body : PacketSignature
        The frames, unchanged, through a FIFO of ``BODY_BEATS`` beats.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(PacketSignature(config)),
            "i_tag": In(TAG),
            "o": Out(stream.Signature(META)),
            "body": Out(PacketSignature(config)),
        })

    def elaborate(self, platform):
        m = Module()
        width = self.config.data_width
        ipv4_beats, header_beats = (-(-end // self.config.beat_bytes) for end in (_IPV4_END, _IPV6_END))
        layout = packet_layout(width)

        # The FIFO keeps one entry in its output register, hence one more than the block RAM holds. The slice keeps the
        # block RAM's access time out of the path through the rewriter.
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=layout.size, depth=BODY_BEATS + 1)
        m.submodules.slice = register = RegisterSlice(layout)
        connect(m, register.o, flipped(self.body))
        m.d.comb += [
            register.i.valid.eq(fifo.r_rdy),
            register.i.payload.eq(fifo.r_data),
            fifo.r_en.eq(register.i.ready),
        ]

        header = Signal(header_beats * width)
        tag = Signal(TAG)
        length = Signal(LENGTH_BITS)
        position = Signal(range(header_beats + 1))      # beat of the frame; stops behind the header
        fire = Signal()
        complete = Signal()
        complete_before = Signal()      # in an earlier beat of this frame
        octets = frame_bytes(header)
        ethertype = Ethernet.ETHERTYPE.of(octets)
        idle = Signal()
        m.d.comb += [
            # A record that is being made still needs the header.
            self.i.ready.eq(fifo.w_rdy & (idle | (position != 0))),
            fire.eq(self.i.valid & self.i.ready),
            fifo.w_data.eq(self.i.payload),
            fifo.w_en.eq(fire),
            # The EtherType came with an earlier beat.
            complete.eq(fire & ((position == Mux(ethertype == ETHERTYPE_IPV6, header_beats, ipv4_beats) - 1)
                                | (self.i.payload.last & ~complete_before))),
        ]
        with m.If(fire):
            m.d.sync += [
                complete_before.eq(~self.i.payload.last & (complete_before | complete)),
                position.eq(position + (position != header_beats)),
            ]
            with m.Switch(position):
                for k in range(header_beats):
                    with m.Case(k):
                        m.d.sync += header.word_select(k, width).eq(self.i.payload.data)
            with m.If(position == 0):
                m.d.sync += [tag.eq(self.i_tag), length.eq(self.i.payload.length)]
            with m.If(self.i.payload.last):
                m.d.sync += position.eq(0)

        version_ihl = Ipv4.VERSION_IHL.of(octets)
        ihl = version_ihl[:4]
        words = [field.of(octets) for field in Ipv4.WORDS]

        ipv4, ipv6 = Signal(), Signal()
        bad_header = Signal()
        behind_ethernet = Signal(LENGTH_BITS)
        total_length = Signal(META["total_length"].shape)
        malformed = Signal()
        partial = [Signal(18, name=f"partial_{k}") for k in range(3)]
        total = Signal(20)
        meta = Signal(META)
        m.d.comb += [
            meta.port.eq(tag.port),
            meta.injected.eq(tag.injected),
            meta.router.eq(tag.router),
            meta.egress.eq(tag.egress),
            meta.length.eq(length),
            meta.dmac.eq(Ethernet.DESTINATION.of(octets)),
            meta.smac.eq(Ethernet.SOURCE.of(octets)),
            meta.group.eq(octets[0][0]),        # the first bit on the wire, IEEE 802.3 clause 3.2.3
            meta.ipv4.eq(ipv4),
            meta.ipv6.eq(ipv6),
            meta.malformed.eq(malformed),
            meta.checksum.eq(Ipv4.CHECKSUM.of(octets)),
            # At most nine carries: the folded sum is all ones only if it is so after the first fold.
            meta.checksum_ok.eq(ipv6 | ((total[:16] + total[16:]) == 0xFFFF)),
            meta.total_length.eq(total_length),
        ]
        with m.If(ipv6):
            m.d.comb += [
                meta.options.eq(Ipv6.NEXT_HEADER.of(octets) == HOP_BY_HOP),
                meta.ttl.eq(Ipv6.HOP_LIMIT.of(octets)),
                meta.ip_source.eq(Ipv6.SOURCE.of(octets)),
                meta.ip_destination.eq(Ipv6.DESTINATION.of(octets)),
            ]
        with m.Else():
            m.d.comb += [
                meta.options.eq(ihl > 5),
                meta.ttl.eq(Ipv4.TTL.of(octets)),
                meta.ip_source.eq(Cat(Const(0, ADDRESS_BITS - 32), Ipv4.SOURCE.of(octets))),
                meta.ip_destination.eq(Cat(Const(0, ADDRESS_BITS - 32), Ipv4.DESTINATION.of(octets))),
            ]

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("CAPTURE"):
                m.d.comb += idle.eq(1)
                with m.If(complete):
                    m.next = "PARTIAL"
            with m.State("PARTIAL"):
                m.d.sync += [
                    partial[0].eq((words[0] + words[1]) + (words[2] + words[3])),
                    partial[1].eq((words[4] + words[5]) + (words[6] + words[7])),
                    partial[2].eq(words[8] + words[9]),
                    ipv4.eq(ethertype == ETHERTYPE_IPV4),
                    ipv6.eq(ethertype == ETHERTYPE_IPV6),
                    behind_ethernet.eq(length - ETHERNET_BYTES),
                ]
                with m.If(ethertype == ETHERTYPE_IPV6):
                    m.d.sync += [
                        bad_header.eq((Ipv6.VERSION.of(octets)[4:] != 6) | (length < _IPV6_END)),
                        total_length.eq(Ipv6.PAYLOAD_LENGTH.of(octets) + IPV6_BYTES),
                    ]
                with m.Else():
                    m.d.sync += [
                        bad_header.eq((version_ihl[4:] != 4) | (ihl < 5) | (length < _IPV4_END)
                                      | ((ihl << 2) > Ipv4.TOTAL_LENGTH.of(octets))),
                        total_length.eq(Ipv4.TOTAL_LENGTH.of(octets)),
                    ]
                m.next = "TOTAL"
            with m.State("TOTAL"):
                m.d.sync += [
                    total.eq(partial[0] + partial[1] + partial[2]),
                    malformed.eq((ipv4 | ipv6) & (bad_header | (total_length > behind_ethernet))),
                ]
                m.next = "EMIT"
            with m.State("EMIT"), m.If(~self.o.valid | self.o.ready):
                m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(meta)]
                m.next = "CAPTURE"
        return m
