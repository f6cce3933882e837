"""The start of a frame in beats of the size of an 802.1Q tag: kept in a memory, without the tag, and read by beats.

The parser takes a header every 19 cycles then. The shortest frame is 21 beats on its line, with preamble and gap.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from .capture import HEADER, HEADER_BYTES, IPV4_NEEDED, IPV6_NEEDED, capture_ports
from .config import CoreConfig
from .headers import (
    ETHERNET_BYTES,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_VLAN,
    TAG_BYTES,
    Ethernet,
    VlanTag,
    frame_bytes,
)

__all__ = ["BEATS", "NARROW_HEADER", "HeaderBeatsSignature", "NarrowHeaderCapture", "header_layout"]

_BEAT_BYTES = TAG_BYTES
_ROWS = HEADER_BYTES // _BEAT_BYTES
#: Beats that the parser reads.
BEATS = -(-IPV6_NEEDED // _BEAT_BYTES)

#: What is told of a frame's start beside its beats, in which the tag is not.
NARROW_HEADER = data.StructLayout({
    "length": HEADER["length"].shape,   # without the tag
    "tagged": 1,                        # an 802.1Q tag was left out
    "tci": 8 * VlanTag.TCI.size,        # what it said; zero if there was none
})
#: Beat with the EtherType, or with the tag. The tag has its beat for itself (IEEE 802.1Q, 9.6).
_TYPE_BEAT = Ethernet.ETHERTYPE.offset // _BEAT_BYTES
assert VlanTag.ETHERTYPE.offset == (_TYPE_BEAT + 1) * _BEAT_BYTES


def header_layout(config: CoreConfig) -> data.StructLayout:
    """Payload of the stream of headers from the ports."""
    return NARROW_HEADER if config.narrow_headers else HEADER


def HeaderBeatsSignature(config: CoreConfig) -> wiring.Signature:
    """Beats of the header that is offered: ``beat`` is the one of ``index``, in the same cycle."""
    return wiring.Signature({"index": In(range(_ROWS)), "beat": Out(config.data_width)})


class NarrowHeaderCapture(wiring.Component):
    """A memory for one header, instead of the registers of :class:`.capture.HeaderCapture`.

    It is offered in the cycle after the beat that completes it: 38 bytes (IPv4), 58 (IPv6), 14 for anything else, four
    more with a tag, or the end of a shorter frame. It then stays as it is until it is taken. After that the next frame
    may write over it, a row a cycle: row k can be read until k + 1 cycles later. What lies behind ``length``, or came
    too late for the parser, is rubbish.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    fire, data, last, filled, allow, given, busy
        As those of :class:`.capture.HeaderCapture`.
    o : stream of NARROW_HEADER
    o_beats : HeaderBeatsSignature
        Of the header at ``o``, or that was just taken there.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({**capture_ports(config, NARROW_HEADER), "o_beats": Out(HeaderBeatsSignature(config))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = memory.Memory(shape=8 * _BEAT_BYTES, depth=_ROWS, init=[])
        write, read = rows.write_port(), rows.read_port(domain="comb")
        header = self.o.payload
        position = Signal(range(_ROWS + 1))     # beat of the frame without its tag; stops behind the header
        before = Signal()                       # the header was given at an earlier beat
        kept_type = Signal(8 * Ethernet.ETHERTYPE.size)
        here, ethertype = Signal.like(kept_type), Signal.like(kept_type)    # of this beat; as known by this beat
        is_tag, lacks_type = Signal(), Signal()
        complete = Signal()

        def final(length: int):
            """This beat is the one that makes ``length`` bytes complete."""
            return position == -(-length // _BEAT_BYTES) - 1

        octets = frame_bytes(self.data)
        at_type = position == _TYPE_BEAT
        m.d.comb += [
            here.eq(Cat(reversed(octets[:Ethernet.ETHERTYPE.size]))),
            ethertype.eq(Mux(at_type, here, kept_type)),
            is_tag.eq(at_type & ~header.tagged & (here == ETHERTYPE_VLAN) & ~self.last),
            # A tag with no EtherType behind it is none, but an EtherType that nobody knows: that is kept.
            lacks_type.eq(at_type & header.tagged & self.last & (self.filled < VlanTag.ETHERTYPE.size)),
        ]
        with m.If(ethertype == ETHERTYPE_IPV4):
            m.d.comb += complete.eq(final(IPV4_NEEDED))
        with m.Elif(ethertype == ETHERTYPE_IPV6):
            m.d.comb += complete.eq(final(IPV6_NEEDED))
        with m.Else():
            m.d.comb += complete.eq(final(ETHERNET_BYTES) & ~is_tag)
        m.d.comb += [
            self.busy.eq(self.o.valid),
            self.given.eq(before | ((complete | self.last) & self.allow)),
            write.addr.eq(position),
            write.data.eq(self.data),
            write.en.eq(self.fire & ~before & (position != _ROWS) & ~lacks_type),
            read.addr.eq(self.o_beats.index),
            self.o_beats.beat.eq(read.data),
        ]

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.fire):
            m.d.sync += [
                position.eq(Mux(self.last, 0, position + ((position != _ROWS) & ~is_tag))),
                before.eq(self.given & ~self.last),
            ]
            with m.If(~before):
                m.d.sync += self.o.valid.eq(self.given)
                with m.If(at_type):
                    m.d.sync += kept_type.eq(here)
                with m.If(position != _ROWS):
                    m.d.sync += header.length.eq(
                        Mux(self.last, position * _BEAT_BYTES + self.filled, HEADER_BYTES))
                with m.If(is_tag):
                    m.d.sync += [header.tagged.eq(1), header.tci.eq(Cat(reversed(octets[-VlanTag.TCI.size:])))]
                with m.Elif((position == 0) | lacks_type):
                    m.d.sync += [header.tagged.eq(0), header.tci.eq(0)]
        return m
