"""Keeps the start of a frame that is coming in, and offers it as soon as the parser can do with it."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .headers import (
    ETHERNET_BYTES,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_VLAN,
    IPV4_BYTES,
    IPV6_BYTES,
    L4_PORTS_BYTES,
    TAG_BYTES,
    Ethernet,
    Field,
    VlanTag,
    frame_bytes,
)
from .stream import LENGTH_BITS

__all__ = ["FATE", "HEADER", "HEADER_BYTES", "IPV4_NEEDED", "IPV6_NEEDED", "HeaderCapture", "capture_ports"]

#: Bytes of a frame's start that are looked at.
HEADER_BYTES = 64
#: The start of a frame. Bytes behind ``length`` are rubbish; so are, in a frame that has not ended, those that come too
#: late for the parser: behind the layer-4 ports of an IP packet, and behind the EtherType of any other.
HEADER = data.StructLayout({
    "data": 8 * HEADER_BYTES,           # byte 0 in the low lane
    "length": range(HEADER_BYTES + 1),  # of the frame, if it has ended by then; else HEADER_BYTES
})
#: What became of a frame whose header was given: one for each, in the same order.
FATE = data.StructLayout({
    "good": 1,                          # its body follows; else it was dropped
    "length": LENGTH_BITS,
})
#: What the parser needs of a packet, without a tag.
IPV4_NEEDED = ETHERNET_BYTES + IPV4_BYTES + L4_PORTS_BYTES
IPV6_NEEDED = ETHERNET_BYTES + IPV6_BYTES + L4_PORTS_BYTES
_OTHER = ETHERNET_BYTES + TAG_BYTES


def capture_ports(config: CoreConfig, header: data.Layout) -> dict[str, wiring.Member]:
    """Ports of what keeps the start of a frame, and offers it as a ``header``."""
    return {
        "fire": In(1), "data": In(config.data_width), "last": In(1), "filled": In(range(config.beat_bytes + 1)),
        "allow": In(1), "given": Out(1), "busy": Out(1),
        "o": Out(stream.Signature(header)),
    }


class HeaderCapture(wiring.Component):
    """Registers for one header.

    It is offered in the cycle after the beat that completes it: 38 bytes (IPv4), 58 (IPv6), four more with a tag, 18
    for anything else, or the end of a shorter frame. It then stays as it is until it is taken.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    fire : Signal, in
        ``data``, ``last`` are a beat of the frame. Never the first one of a frame while ``busy``.
    filled : Signal, in
        Bytes of the last beat.
    allow : Signal, in
        The header may be given, as far as is known of the frame by now; at the last beat: the frame is good.
    given : Signal, out
        The header is given at this beat, or was at an earlier one.
    busy : Signal, out
        The registers are taken.
    o : stream of HEADER
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__(capture_ports(config, HEADER))

    def elaborate(self, platform):
        m = Module()
        width = self.config.data_width
        beat_bytes = self.config.beat_bytes
        beats = HEADER_BYTES // beat_bytes
        position = Signal(range(beats + 1))     # beat of the frame; stops behind the header
        before = Signal()                       # the header was given at an earlier beat
        complete = Signal()
        header = self.o.payload

        def final(length: int):
            """This beat is the one that makes ``length`` bytes complete."""
            return position == -(-length // beat_bytes) - 1

        def now(field: Field):
            """The field as it will be after this beat, which lies whole in one."""
            at, lane = divmod(field.offset, beat_bytes)
            live = Cat(reversed(frame_bytes(self.data)[lane:lane + field.size]))
            return Mux(position == at, live, field.of(frame_bytes(header.data)))

        outer, inner = now(Ethernet.ETHERTYPE), now(VlanTag.ETHERTYPE)
        tagged = outer == ETHERTYPE_VLAN
        ipv4 = Mux(tagged, inner == ETHERTYPE_IPV4, outer == ETHERTYPE_IPV4)
        ipv6 = Mux(tagged, inner == ETHERTYPE_IPV6, outer == ETHERTYPE_IPV6)
        # Equality will do: the EtherType is known at the beat that ends the shortest header.
        with m.If(ipv4):
            m.d.comb += complete.eq(Mux(tagged, final(IPV4_NEEDED + TAG_BYTES), final(IPV4_NEEDED)))
        with m.Elif(ipv6):
            m.d.comb += complete.eq(Mux(tagged, final(IPV6_NEEDED + TAG_BYTES), final(IPV6_NEEDED)))
        with m.Else():
            m.d.comb += complete.eq(final(_OTHER))
        m.d.comb += [
            self.busy.eq(self.o.valid),
            self.given.eq(before | ((complete | self.last) & self.allow)),
        ]

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.fire):
            m.d.sync += [
                position.eq(Mux(self.last, 0, position + (position != beats))),
                before.eq(self.given & ~self.last),
            ]
            with m.If(~before):
                m.d.sync += self.o.valid.eq(self.given)
                with m.Switch(position):
                    for k in range(beats):
                        with m.Case(k):
                            m.d.sync += [
                                header.data.word_select(k, width).eq(self.data),
                                header.length.eq(Mux(self.last, k * beat_bytes + self.filled, HEADER_BYTES)),
                            ]
        return m
