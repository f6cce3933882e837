"""Executes verdicts: makes the changes to frames that are the same for all their copies."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .checksum import CHANGED_FIELDS, CHANGES, TCP_CHECKSUM, UDP_CHECKSUM, ChecksumUpdate
from .config import CoreConfig
from .headers import ETHERNET_BYTES, TAG_BYTES, Ethernet, Field, Ipv4, Ipv6
from .heldframes import HeldFrames
from .layouts import ACTION_ROW
from .records import VERDICT, paired_layout, queued_layout
from .table import table_addr_bits
from .untag import Untagger

__all__ = ["Rewriter"]

#: Where the fields that a filter rule changes lie in the frame.
_PLACES: dict[str, Field] = {
    "tos": Ipv4.TOS, "ip_source": Ipv4.SOURCE, "ip_destination": Ipv4.DESTINATION,
    "l4_source": Ipv4.L4_SOURCE, "l4_destination": Ipv4.L4_DESTINATION,
}


def _end(field: Field) -> int:
    return field.offset + field.size


class Rewriter(wiring.Component):
    """Makes a frame what it is to be stored as.

    It takes the tag off, puts in the new destination address, TTL or hop limit and checksum of the verdict, and then
    what the filter rule changes. The rule's checksums depend on bytes that come behind them, so such a frame waits
    until its headers have passed; the changes themselves are made on the way in, the checksums on the way out.

    One beat a cycle; a frame with ``rule_changes`` waits for its row, as many cycles as it takes to be read. Latency 2
    cycles; if an IPv4 packet is changed by a rule, 8 to 10 (32 bits: 15) cycles and those. Within a frame ``o`` has no
    gaps if ``i`` has none.

    Parameters
    ----------
    config : CoreConfig
        Without filter rules, ``rule_changes`` is ignored.

    Attributes
    ----------
    i : stream of paired_layout
        Frames that are to be sent.
    ask : stream
        Row of the action table to be read.
    changes : stream of ACTION_ROW
        The rows, in their order.
    o : stream of queued_layout
        Frames for the frame buffer.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(paired_layout(config.data_width))),
            "ask": Out(stream.Signature(table_addr_bits(config.filter_rules))),
            "changes": In(stream.Signature(ACTION_ROW)),
            "o": Out(stream.Signature(queued_layout(config.data_width))),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        beat_bytes = config.beat_bytes
        lanes = data.ArrayLayout(8, beat_bytes)

        def end_beat(field):
            """Beat with the field's last byte."""
            return (_end(field) - 1) // beat_bytes

        has_rules = Const(config.filter_rules > 0)
        m.submodules.untag = untag = Untagger(config)
        connect(m, flipped(self.i), untag.i)
        m.submodules.update = update = ChecksumUpdate()
        m.submodules.held = held = HeldFrames(config)
        connect(m, held.o, flipped(self.o))

        # The rule's row is read when its frame begins; the first beat waits until it is there.
        row = Signal(ACTION_ROW)
        begins = Signal(init=1)
        reading = Signal()
        reaches = Signal()              # packet and frame have the checksum of TCP or UDP
        coming = self.i.payload
        with m.If(self.i.valid & self.i.ready & begins):
            for udp, field in enumerate((TCP_CHECKSUM, UDP_CHECKSUM)):
                with m.If(coming.verdict.udp == udp):
                    m.d.sync += reaches.eq(
                        coming.verdict.l4_ports & (coming.verdict.total_length >= _end(field) - ETHERNET_BYTES)
                        & (coming.length >= _end(field) + Mux(coming.verdict.tagged, TAG_BYTES, 0)))
        asks, rule = Signal(), Signal.like(self.ask.payload)    # the table did not take it at once
        begun = Signal()
        m.d.comb += [
            begun.eq(self.i.valid & self.i.ready & begins & coming.verdict.rule_changes & has_rules),
            self.ask.valid.eq(begun | asks),
            self.ask.payload.eq(Mux(asks, rule, coming.verdict.rule)),
            self.changes.ready.eq(reading),
        ]
        m.d.sync += asks.eq(self.ask.valid & ~self.ask.ready)
        with m.If(~asks):
            m.d.sync += rule.eq(coming.verdict.rule)
        with m.If(begun):
            m.d.sync += reading.eq(1)
        with m.Elif(self.changes.valid):
            m.d.sync += reading.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += begins.eq(self.i.payload.last)
        with m.If(reading):
            m.d.sync += row.eq(self.changes.payload)

        beat = untag.o.payload
        verdict = beat.verdict
        step = Signal()
        m.d.comb += [
            held.i.valid.eq(untag.o.valid & ~reading),
            untag.o.ready.eq(held.i.ready & ~reading),
            step.eq(held.i.valid & held.i.ready),
        ]

        def changed(name):
            """Signal that the rule changes this."""
            flag = Signal(name=f"rule_{name}")
            m.d.comb += flag.eq(row[name] & verdict.rule_changes & has_rules)
            return flag

        set_dmac, set_smac, strip_vlan, set_vid, set_pcp = (
            changed(name) for name in ("set_dmac", "set_smac", "strip_vlan", "set_vid", "set_pcp"))
        set_field = Signal(CHANGES)
        for name in _PLACES:
            needs_ports = name.startswith("l4")
            m.d.comb += set_field[name].eq(
                changed(f"set_{name}") & verdict.ipv4 & (verdict.l4_ports if needs_ports else 1))
        addressed = Cat(set_field[name] for name in _PLACES if name != "tos").any()
        waits = Signal()
        m.d.comb += [
            set_field.l4.eq(reaches & addressed),
            set_field.udp.eq(verdict.udp),
            waits.eq(Cat(set_field[name] for name in _PLACES).any()),
        ]

        # On the way in: all changes but for the rule's checksums; the old values are kept.
        header_beats = end_beat(TCP_CHECKSUM) + 1
        position = Signal(range(header_beats + 1))      # beat of the frame; stops behind the headers
        with m.If(step):
            m.d.sync += position.eq(Mux(beat.last, 0, position + (position != header_beats)))
        routed = Signal(lanes)          # with the changes of the verdict
        written = Signal(lanes)         # and those of the rule
        m.d.comb += [routed.eq(beat.data), written.eq(routed)]
        old = Signal(CHANGED_FIELDS)
        old_ip = Signal(16)
        old_l4 = Signal(16)
        by_verdict = [
            (verdict.set_dmac, Ethernet.DESTINATION.spread(verdict.dmac)),
            (verdict.set_ttl & verdict.ipv4, Ipv4.TTL.spread(verdict.ttl)),
            (verdict.set_ttl & verdict.ipv4, Ipv4.CHECKSUM.spread(verdict.checksum)),
            (verdict.set_ttl & verdict.ipv6, Ipv6.HOP_LIMIT.spread(verdict.ttl)),
        ]
        by_rule = [
            (set_dmac, Ethernet.DESTINATION.spread(row.dmac)),
            (set_smac, Ethernet.SOURCE.spread(row.smac)),
            *((set_field[name], field.spread(row[name])) for name, field in _PLACES.items()),
        ]
        kept = [
            *((Const(1), field.spread(old[name])) for name, field in _PLACES.items()),
            (Const(1), Ipv4.CHECKSUM.spread(old_ip)),
            (verdict.udp, UDP_CHECKSUM.spread(old_l4)),
            (~verdict.udp, TCP_CHECKSUM.spread(old_l4)),
        ]
        with m.Switch(position):
            for k in range(header_beats):
                with m.Case(k):
                    for out, changes in (routed, by_verdict), (written, by_rule):
                        for which, bytes_ in changes:
                            with m.If(which):
                                m.d.comb += [out[byte % beat_bytes].eq(value)
                                             for byte, value in bytes_.items() if byte // beat_bytes == k]
                    for which, bytes_ in kept:
                        with m.If(step & which):
                            m.d.sync += [value.eq(routed[byte % beat_bytes])
                                         for byte, value in bytes_.items() if byte // beat_bytes == k]

        # The sums begin when all has passed that they need; a frame with these headers has it. The row stays one cycle
        # longer than the frame's last beat.
        needed = Signal.like(position)
        complete = Signal()
        m.d.comb += [
            needed.eq(Mux(set_field.l4, Mux(verdict.udp, end_beat(UDP_CHECKSUM), end_beat(TCP_CHECKSUM)),
                          end_beat(Ipv4.DESTINATION))),
            complete.eq(step & waits & (position == needed)),
            update.old.eq(old),
            update.ip.eq(old_ip),
            update.l4.eq(old_l4),
            *(update.new[name].eq(row[name]) for name in _PLACES),
            held.start.eq(update.start),
            held.done.eq(update.done),
            held.checksums.eq(update.checksums),
        ]
        m.d.sync += [update.start.eq(complete), update.changes.eq(set_field)]

        stored = held.i.payload.beat
        tagged = Signal()           # not stripped
        m.d.comb += [
            *(stored[name].eq(verdict[name]) for name, _ in stored.shape() if name in dict(VERDICT)),
            stored.data.eq(written),
            stored.last.eq(beat.last),
            stored.length.eq(beat.length),
            held.i.payload.waits.eq(waits),
            stored.host_tci.eq(Mux(verdict.tagged, verdict.tci, 0)),
            tagged.eq(verdict.tagged & ~strip_vlan),
            stored.tagged.eq(tagged | set_vid | set_pcp),
            stored.tci.eq(Mux(tagged, verdict.tci, 0)),     # VLAN id, DEI, PCP (IEEE 802.1Q, 9.6)
        ]
        with m.If(set_vid):
            m.d.comb += stored.tci[:12].eq(row.vid)
        with m.If(set_pcp):
            m.d.comb += stored.tci[13:].eq(row.pcp)
        # Only one copy is there then: the VLAN id of its port would be another one.
        with m.If(verdict.vid.any() & ~verdict.keep_tag):
            m.d.comb += [stored.keep_tag.eq(1), stored.tagged.eq(1), stored.tci[:13].eq(verdict.vid)]
        with m.If(verdict.untag):
            m.d.comb += [stored.keep_tag.eq(1), stored.tagged.eq(0)]
        return m
