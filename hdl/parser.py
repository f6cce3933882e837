"""Reads the Ethernet and IP headers of a frame."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .arbiter import sourced_layout
from .capture import HEADER_BYTES
from .config import CoreConfig
from .headers import (
    ETHERNET_BYTES,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_VLAN,
    HOP_BY_HOP,
    IPV4_BYTES,
    IPV6_BYTES,
    L4_PORTS_BYTES,
    TAG_BYTES,
    Ethernet,
    Ipv4,
    Ipv6,
    Protocol,
    VlanTag,
    frame_bytes,
)
from .layouts import ADDRESS_BITS
from .narrowheader import BEATS, HeaderBeatsSignature
from .records import META

__all__ = ["Parser"]

_IPV4_END = ETHERNET_BYTES + IPV4_BYTES
_IPV6_END = ETHERNET_BYTES + IPV6_BYTES
_IPV4_WORDS = IPV4_BYTES // 4       # IHL of a header without options
#: 01:80:c2:00:00:00 to :0f, for bridges and other stations of the link alone (IEEE 802.1Q, table 8-1).
_RESERVED_GROUP = 0x0180C2000000
_RESERVED_BITS = 4
#: 224.0.0.0/4 (RFC 5771, section 3).
_MULTICAST_IPV4 = 0xE
#: 224.0.0.0/24, the local network control block (RFC 5771, section 4).
_MULTICAST_LINK = 0xE00000
#: ff00::/8, and the scopes that stay on the link (RFC 4291, section 2.7).
_MULTICAST_IPV6 = 0xFF
_SCOPE_LINK = 2


class Parser(wiring.Component):
    """Makes the record of a frame out of its header.

    Takes a header every 3 cycles; the record can be taken 3 cycles after its header was offered, and not sooner than a
    cycle after the previous record, or two without slices, where what comes behind says too late that it takes one. The
    header stays at ``i`` meanwhile, where it is in registers already.

    Whether there is an 802.1Q tag (IEEE 802.1Q, 9.6) is found out in the first cycle; in the others it is out of the
    way. The IPv4 checksum (RFC 1071) is over 20 bytes: in the first cycle partial sums, those that are needed with a
    tag and those without, in the second all of it, in the third the carries.

    If beats are narrow, the header is taken at once, and read in the 15 cycles that follow, without its tag: it takes
    16 cycles more.

    Only those bytes are looked at that are there according to the header's EtherType and ``length``.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i : stream of sourced_layout
        Headers of frames of at least 14 bytes.
    i_beats : HeaderBeatsSignature
        Only if beats are narrow: those of the header that was taken, in their order, in the cycles that follow.
    o : stream of META
        A record for each, with zeros in what later stages find out, and in IP and layer-4 fields that are not there.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(sourced_layout(config))), "o": Out(stream.Signature(META)),
            **({"i_beats": In(HeaderBeatsSignature(config))} if config.narrow_headers else {}),
        })

    def elaborate(self, platform):
        m = Module()
        narrow = self.config.narrow_headers
        header = Signal(8 * BEATS * self.config.beat_bytes, reset_less=True) if narrow else self.i.payload.data
        raw = frame_bytes(header)
        about = Signal.like(self.i.payload, reset_less=True) if narrow else self.i.payload
        length = about.length

        # First cycle: the tag, and sums over 16-bit words for both cases.
        tagged = about.tagged if narrow else Signal()
        is_ipv4 = Signal(2)         # without and with a tag
        is_ipv6 = Signal(2)
        both = [Signal(18, name=f"both_{k}") for k in range(2)]     # words that are in the header in any case
        ends = [Signal(17, name=f"ends_{k}") for k in range(2)]     # the other two, without and with a tag
        at = [field.of(raw) for field in Ipv4.WORDS]
        behind = [_later(field, TAG_BYTES).of(raw) for field in Ipv4.WORDS[-2:]]
        middle = at[TAG_BYTES // 2:]

        def first_cycle():
            outer, inner = Ethernet.ETHERTYPE.of(raw), VlanTag.ETHERTYPE.of(raw)
            return [
                *([] if narrow else [tagged.eq((outer == ETHERTYPE_VLAN) & (length >= ETHERNET_BYTES + TAG_BYTES))]),
                is_ipv4.eq(Cat(outer == ETHERTYPE_IPV4, inner == ETHERTYPE_IPV4)),
                is_ipv6.eq(Cat(outer == ETHERTYPE_IPV6, inner == ETHERTYPE_IPV6)),
                both[0].eq((middle[0] + middle[1]) + (middle[2] + middle[3])),
                both[1].eq((middle[4] + middle[5]) + (middle[6] + middle[7])),
                ends[0].eq(at[0] + at[1]),
                ends[1].eq(behind[0] + behind[1]),
            ]

        # What follows sees the frame without its tag.
        addresses = 2 * Ethernet.DESTINATION.size
        octets = raw if narrow else raw[:addresses] + [
            _named(m, Mux(tagged, raw[k + TAG_BYTES], raw[k]), f"octet_{k}")
            for k in range(addresses, HEADER_BYTES - TAG_BYTES)]

        def has(count: int) -> Value:
            """The frame without its tag has ``count`` bytes."""
            return length >= (count if narrow else Mux(tagged, count + TAG_BYTES, count))

        # Second cycle: what each condition needs, by itself.
        ipv4, ipv6 = Signal(), Signal()
        total = Signal(20)
        total_length = Signal(META["total_length"].shape)
        good = Signal()             # all but the comparison of lengths
        fits = Signal()             # the header in the total length
        simple = Signal()           # no fragment, no options; the frame and the packet reach over the ports
        options = Signal()
        protocol = Signal(8)
        multicast = Signal()
        reserved = Signal()
        ethertype = Ethernet.ETHERTYPE.of(octets)
        version_ihl = Ipv4.VERSION_IHL.of(octets)
        version, ihl = version_ihl[4:], version_ihl[:4]
        fragment = Ipv4.FRAGMENT.of(octets)
        next_header = Ipv6.NEXT_HEADER.of(octets)
        ipv4_length = Ipv4.TOTAL_LENGTH.of(octets)
        payload_length = Ipv6.PAYLOAD_LENGTH.of(octets)
        ipv4_destination = Ipv4.DESTINATION.of(octets)
        ipv6_destination = Ipv6.DESTINATION.of(octets)
        destination = Ethernet.DESTINATION.of(raw)

        def second_cycle():
            case = 0 if narrow else tagged
            family = is_ipv6.bit_select(case, 1)
            return [
                ipv4.eq(is_ipv4.bit_select(case, 1)),
                ipv6.eq(family),
                total.eq((both[0] + both[1]) + (ends[0] if narrow else Mux(tagged, ends[1], ends[0]))),
                total_length.eq(Mux(family, payload_length + IPV6_BYTES, ipv4_length)),
                good.eq(Mux(family, (version == 6) & has(_IPV6_END),
                            (version == 4) & (ihl >= _IPV4_WORDS) & has(_IPV4_END))),
                fits.eq(family | ((ihl << 2) <= ipv4_length)),
                simple.eq(Mux(
                    family,
                    has(_IPV6_END + L4_PORTS_BYTES) & (payload_length >= L4_PORTS_BYTES),
                    has(_IPV4_END + L4_PORTS_BYTES) & (ipv4_length >= IPV4_BYTES + L4_PORTS_BYTES)
                    & (ihl == _IPV4_WORDS) & ((fragment & Ipv4.FRAGMENTED) == 0))),
                options.eq(Mux(family, next_header == HOP_BY_HOP, ihl > _IPV4_WORDS)),
                protocol.eq(Mux(family, next_header, Ipv4.PROTOCOL.of(octets))),
                multicast.eq(Mux(
                    family,
                    (ipv6_destination[-8:] == _MULTICAST_IPV6) & (ipv6_destination[-16:-12] > _SCOPE_LINK),
                    (ipv4_destination[-4:] == _MULTICAST_IPV4) & (ipv4_destination[-24:] != _MULTICAST_LINK))),
                reserved.eq(destination[_RESERVED_BITS:] == _RESERVED_GROUP >> _RESERVED_BITS),
            ]

        # Third cycle: the record.
        meta = Signal(META)
        tag = about.tag
        good_header = (ipv4 | ipv6) & good & fits
        with_ports = (protocol == Protocol.TCP) | (protocol == Protocol.UDP)
        with_type = (protocol == Protocol.ICMP) | (protocol == Protocol.ICMPV6)
        l4_source = Mux(ipv6, Ipv6.L4_SOURCE.of(octets), Ipv4.L4_SOURCE.of(octets))
        l4_destination = Mux(ipv6, Ipv6.L4_DESTINATION.of(octets), Ipv4.L4_DESTINATION.of(octets))
        m.d.comb += [
            *(meta[name].eq(tag[name]) for name in ("port", "injected", "given", "router", "egress")),
            meta.dmac.eq(destination),
            meta.smac.eq(Ethernet.SOURCE.of(raw)),
            meta.group.eq(raw[0][0]),       # the first bit on the wire, IEEE 802.3 clause 3.2.3
            meta.reserved_group.eq(reserved),
            meta.tagged.eq(tagged),
            meta.tci.eq(about.tci if narrow else Mux(tagged, VlanTag.TCI.of(raw), 0)),
            meta.ethertype.eq(ethertype),
            meta.ipv4.eq(ipv4),
            meta.ipv6.eq(ipv6),
        ]
        with m.If(good_header):
            m.d.comb += [
                meta.good_header.eq(1),
                meta.least_length.eq(total_length + Mux(tagged, ETHERNET_BYTES + TAG_BYTES, ETHERNET_BYTES)),
                meta.multicast.eq(multicast),
                meta.options.eq(options),
                meta.protocol.eq(protocol),
                meta.total_length.eq(total_length),
            ]
            with m.If(ipv6):
                m.d.comb += [
                    meta.ttl.eq(Ipv6.HOP_LIMIT.of(octets)),
                    meta.tos.eq(Ipv6.VERSION_CLASS.of(octets)[4:12]),
                    meta.checksum_ok.eq(1),
                    meta.ip_source.eq(Ipv6.SOURCE.of(octets)),
                    meta.ip_destination.eq(ipv6_destination),
                ]
            with m.Else():
                m.d.comb += [
                    meta.ttl.eq(Ipv4.TTL.of(octets)),
                    meta.tos.eq(Ipv4.TOS.of(octets)),
                    meta.checksum.eq(Ipv4.CHECKSUM.of(octets)),
                    # At most nine carries: the folded sum is all ones only if it is so after the first fold.
                    meta.checksum_ok.eq((total[:16] + total[16:]) == 0xFFFF),
                    meta.ip_source.eq(Cat(Const(0, ADDRESS_BITS - 32), Ipv4.SOURCE.of(octets))),
                    meta.ip_destination.eq(Cat(Const(0, ADDRESS_BITS - 32), ipv4_destination)),
                ]
            with m.If(simple & with_ports):
                m.d.comb += [
                    meta.l4_ports.eq(1),
                    meta.l4_source.eq(l4_source),
                    meta.l4_destination.eq(l4_destination),
                ]
            with m.If(simple & with_type):      # the two bytes at the place of the source port
                m.d.comb += [
                    meta.l4_source.eq(l4_source[8:]),
                    meta.l4_destination.eq(l4_source[:8]),
                ]

        record = self.o.payload
        if narrow:
            # Without a reset, flip-flops can be cleared where a field is not there: no logic is ahead of them.
            record = Signal(META, reset_less=True)
            m.d.comb += self.o.payload.eq(record)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            if narrow:
                beat = Signal.like(self.i_beats.index)
                m.d.comb += self.i_beats.index.eq(beat)
                with m.State("TAKE"):
                    # From now on the next header may be written where this one is, row by row behind the reads.
                    m.d.comb += self.i.ready.eq(1)
                    m.d.sync += about.eq(self.i.payload)
                    with m.If(self.i.valid):
                        m.next = "READ"
                with m.State("READ"):
                    m.d.sync += [header.eq(Cat(header, self.i_beats.beat)[self.config.data_width:]), beat.eq(beat + 1)]
                    with m.If(beat == BEATS - 1):
                        m.d.sync += beat.eq(0)
                        m.next = "TAG"
            with m.State("TAG"):
                m.d.sync += first_cycle()
                with m.If(1 if narrow else self.i.valid):
                    m.next = "CONDITIONS"
            with m.State("CONDITIONS"):
                m.d.sync += second_cycle()
                m.next = "RECORD"
            with m.State("RECORD"), m.If(~self.o.valid | self.o.ready if self.config.slices else ~self.o.valid):
                if not narrow:
                    m.d.comb += self.i.ready.eq(1)
                m.d.sync += [self.o.valid.eq(1), record.eq(meta)]
                m.next = "TAKE" if narrow else "TAG"
        return m


def _later(field, distance: int):
    """The field that many bytes further on."""
    return type(field)(field.offset + distance, field.size)


def _named(m: Module, value: Value, name: str) -> Signal:
    """The value as a signal: fields that share it share its logic in the netlist."""
    signal = Signal(len(value), name=name)
    m.d.comb += signal.eq(value)
    return signal
