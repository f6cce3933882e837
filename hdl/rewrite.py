"""Executes verdicts: makes the changes to frames that are the same for all their copies."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from .checksum import CHANGED_FIELDS, CHANGES, CHECKSUMS, LATENCY, TCP_CHECKSUM, UDP_CHECKSUM, ChecksumUpdate
from .config import CoreConfig
from .headers import ETHERNET_BYTES, TAG_BYTES, Ethernet, Field, Ipv4, Ipv6
from .layouts import ACTION_ROW
from .records import VERDICT, paired_layout, queued_layout
from .table import table_addr_bits
from .untag import Untagger

__all__ = ["Rewriter"]

#: Beats and frames that wait for the checksums of the first of them.
_BEATS = 16
_FRAMES = 8

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

    One beat a cycle, and one cycle more for a frame with ``rule_changes``. Latency 2 cycles; if an IPv4 packet is
    changed by a rule, 9 to 11 (32 bits: 16) cycles. Within a frame ``o`` has no gaps if ``i`` has none.

    Parameters
    ----------
    config : CoreConfig
        Without filter rules, ``rule_changes`` is ignored.

    Attributes
    ----------
    i : stream of paired_layout
        Frames that are to be sent.
    changes_addr, changes_en : Signal, out
        Row of the action table to be read.
    changes : ACTION_ROW, in
        The row, in the cycle after ``changes_en``.
    o : stream of queued_layout
        Frames for the frame buffer.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(paired_layout(config.data_width))),
            "changes_addr": Out(table_addr_bits(config.filter_rules)),
            "changes_en": Out(1),
            "changes": In(ACTION_ROW),
            "o": Out(stream.Signature(queued_layout(config.data_width))),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        width = config.data_width
        beat_bytes = config.beat_bytes
        lanes = data.ArrayLayout(8, beat_bytes)
        has_rules = Const(config.filter_rules > 0)
        side_layout = data.StructLayout({
            **{str(name): entry.shape for name, entry in queued_layout(width) if name not in ("data", "last")},
            "waits": 1,         # for the checksums
        })
        m.submodules.untag = untag = Untagger(config)
        m.submodules.beats = beats = fifo.SyncFIFO(width=width + 1, depth=_BEATS)
        m.submodules.sides = sides = fifo.SyncFIFO(width=side_layout.size, depth=_FRAMES)
        m.submodules.update = update = ChecksumUpdate()
        m.submodules.results = results = fifo.SyncFIFO(width=CHECKSUMS.size, depth=_FRAMES)

        # The rule's row is read when its frame begins, and is there a cycle later than the first beat.
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
        m.d.comb += [
            self.i.ready.eq(untag.i.ready),
            untag.i.valid.eq(self.i.valid),
            untag.i.payload.eq(self.i.payload),
            self.changes_addr.eq(self.i.payload.verdict.rule),
            self.changes_en.eq(self.i.valid & begins & self.i.payload.verdict.rule_changes & has_rules),
        ]
        m.d.sync += reading.eq(self.changes_en & self.i.ready)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += begins.eq(self.i.payload.last)
        with m.If(reading):
            m.d.sync += row.eq(self.changes)

        beat = untag.o.payload
        verdict = beat.verdict
        first = Signal(init=1)
        step = Signal()
        m.d.comb += [
            untag.o.ready.eq(~reading & beats.w_rdy & (sides.w_rdy | ~first)),
            step.eq(untag.o.valid & untag.o.ready),
        ]
        with m.If(step):
            m.d.sync += first.eq(beat.last)

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
        header_beats = (_end(TCP_CHECKSUM) - 1) // beat_bytes + 1
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
            needed.eq(Mux(set_field.l4, Mux(verdict.udp, *((_end(field) - 1) // beat_bytes for field in (
                UDP_CHECKSUM, TCP_CHECKSUM))), (_end(Ipv4.DESTINATION) - 1) // beat_bytes)),
            complete.eq(step & waits & (position == needed)),
            update.old.eq(old),
            update.ip.eq(old_ip),
            update.l4.eq(old_l4),
            *(update.new[name].eq(row[name]) for name in _PLACES),
            results.w_en.eq(update.done),
            results.w_data.eq(update.checksums),
        ]
        m.d.sync += [update.start.eq(complete), update.changes.eq(set_field)]

        side = Signal(side_layout)
        tagged = Signal()           # not stripped
        tci = Signal(16)
        m.d.comb += [
            beats.w_en.eq(step),
            beats.w_data.eq(Cat(written, beat.last)),
            sides.w_en.eq(step & first),
            sides.w_data.eq(side),
            *(side[name].eq(verdict[name]) for name, _ in side_layout if name in dict(VERDICT)),
            side.length.eq(beat.length),
            side.waits.eq(waits),
            side.host_tci.eq(Mux(verdict.tagged, verdict.tci, 0)),
            tagged.eq(verdict.tagged & ~strip_vlan),
            tci.eq(Mux(tagged, verdict.tci, 0)),
            side.tagged.eq(tagged | set_vid | set_pcp),
            side.tci.eq(tci),       # VLAN id, DEI, PCP (IEEE 802.1Q, 9.6)
        ]
        with m.If(set_vid):
            m.d.comb += side.tci[:12].eq(row.vid)
        with m.If(set_pcp):
            m.d.comb += side.tci[13:].eq(row.pcp)

        # On the way out: a frame that waits may begin so early that its checksums are there just when they are needed.
        soon = update.start
        for k in range(LATENCY - min(LATENCY, Ipv4.CHECKSUM.offset // beat_bytes)):
            before, soon = soon, Signal(name=f"soon_{k}")
            m.d.sync += soon.eq(before)
        ready = Signal(range(_FRAMES + 1))      # frames with checksums that may begin or are under way
        out_side = data.View(side_layout, sides.r_data)
        result = data.View(CHECKSUMS, results.r_data)
        place = Signal.like(position)           # as ``position``
        taken = Signal()
        ends = Signal()
        out = self.o.payload
        m.d.comb += [
            self.o.valid.eq(beats.r_rdy & (~out_side.waits | (ready != 0))),
            Cat(out.data, out.last).eq(beats.r_data),
            *(out[name].eq(out_side[name]) for name, _ in side_layout if name != "waits"),
            taken.eq(self.o.valid & self.o.ready),
            ends.eq(taken & out.last),
            beats.r_en.eq(taken),
            sides.r_en.eq(ends),
            results.r_en.eq(ends & out_side.waits),
        ]
        m.d.sync += ready.eq(ready + soon - results.r_en)
        with m.If(taken):
            m.d.sync += place.eq(Mux(out.last, 0, place + (place != header_beats)))
        out_lanes = data.View(lanes, out.data)
        late = [
            (result.set_ip, Ipv4.CHECKSUM.spread(result.ip)),
            (result.set_l4 & result.udp, UDP_CHECKSUM.spread(result.l4)),
            (result.set_l4 & ~result.udp, TCP_CHECKSUM.spread(result.l4)),
        ]
        with m.If(out_side.waits), m.Switch(place):
            for k in range(header_beats):
                with m.Case(k):
                    for which, bytes_ in late:
                        with m.If(which):
                            m.d.comb += [out_lanes[byte % beat_bytes].eq(value)
                                         for byte, value in bytes_.items() if byte // beat_bytes == k]
        return m
