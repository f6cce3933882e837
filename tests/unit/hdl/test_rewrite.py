"""What is stored of a frame, against a reference that computes its checksums from scratch."""

import random
import struct
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Value
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import ACTION_ROW, pack, unpack
from polyrouter.hdl.records import VERDICT, paired_layout, queued_layout
from polyrouter.hdl.rewrite import Rewriter

from .bench import WIDTHS, packet_beats, packets, simulate, until
from .packets import TCP, UDP, internet_checksum, ipv4_frame, layer4_checksum, updated

PASSED = ("router", "port", "copies", "reason", "host", "host_reason", "traffic_class", "host_class", "group", "peer",
          "peer_router", "segment", "segment_router", "own_source", "entropy")
SETS = tuple(name for name, _ in ACTION_ROW if name.startswith("set_") and name != "set_class")
HEADER_WORDS = {"set_tos": (15, 1), "set_ip_source": (26, 4), "set_ip_destination": (30, 4)}
PORT_WORDS = {"set_l4_source": (34, 2), "set_l4_destination": (36, 2)}


@dataclass
class Case:
    """A frame without its tag, what is to be done with it, and what is known of it."""

    frame: bytes
    verdict: dict
    row: dict = field(default_factory=dict)
    right: bool = True          # its checksums are

    @property
    def received(self):
        tag = b"\x81\x00" + self.verdict["tci"].to_bytes(2, "big")
        return self.frame[:12] + tag * self.verdict["tagged"] + self.frame[12:]


def random_frame(rng, length):
    """(frame, verdict fields that depend on it, whether its checksums are right)"""
    kind = rng.choice(["ipv4"] * 5 + ["ipv6", "other"])
    if kind == "ipv6" and length >= 54:
        return rng.randbytes(12) + b"\x86\xdd\x60" + rng.randbytes(length - 15), {
            "ipv6": 1, "l4_ports": rng.getrandbits(1), "udp": rng.getrandbits(1), "total_length": length - 14}, False
    if kind != "ipv4" or length < 34:
        return rng.randbytes(12) + b"\x88\xb6" + rng.randbytes(length - 14), {}, False
    protocol = rng.choice([TCP, UDP, 1])
    # With padding behind the packet, or cut off.
    total = max(20, length - 14 + rng.choice([0, 0, 0, 4, -6, rng.randint(-60, 30)]))
    frame = ipv4_frame(rng, length, protocol=protocol, total_length=total, udp_zero=rng.random() < 0.1)
    right = length - 14 >= total
    if rng.random() < 0.2 and length >= 60:
        frame, right = frame[:24] + rng.choice([rng.randbytes(2), b"\xff\xff", bytes(2)]) + frame[26:], False
    return frame, {"ipv4": 1, "total_length": total, "udp": int(protocol == UDP),
                   "l4_ports": int(protocol in (TCP, UDP) and total >= 24 and length >= 38)}, right


def random_case(rng, length, *, rule=0.6):
    frame, known, right = random_frame(rng, length)
    verdict = {str(name): rng.getrandbits(entry.width) for name, entry in VERDICT}
    tagged = rng.getrandbits(1)
    verdict |= {"ipv4": 0, "ipv6": 0, "l4_ports": 0, "rule": rng.randrange(64), "tagged": tagged,
                "rule_changes": int(rng.random() < rule), "set_ttl": 0} | known
    verdict |= {"vid": verdict["vid"] * rng.getrandbits(1), "untag": int(rng.random() < 0.2)}
    if verdict["ipv4"] or verdict["ipv6"]:
        verdict["set_ttl"] = rng.getrandbits(1)
    if verdict["ipv4"]:
        verdict["ttl"] = frame[22] - 1
        old, new = frame[22:24], bytes([frame[22] - 1, frame[23]])
        verdict["checksum"] = updated(int.from_bytes(frame[24:26], "big"), old, new)
    row = {str(name): rng.getrandbits(entry.width) for name, entry in ACTION_ROW}
    dense = rng.random()
    return Case(frame, verdict, row | {name: int(rng.random() < dense) for name in (*SETS, "strip_vlan")}, right)


def put(frame, offset, value, size):
    return frame[:offset] + value.to_bytes(size, "big") + frame[offset + size:]


def rule_on_ipv4(frame, case):
    """The rule's changes to an IPv4 packet: the spec's step 11."""
    verdict, row = case.verdict, case.row
    words = HEADER_WORDS | (PORT_WORDS if verdict["l4_ports"] else {})
    at = 40 if verdict["udp"] else 50
    reached = verdict["l4_ports"] and verdict["total_length"] >= at + 2 - 14 and len(frame) >= at + 2
    right = case.right
    old_l4 = int.from_bytes(frame[at:at + 2], "big")
    for name, (offset, size) in words.items():
        if not row[name]:
            continue
        before = frame
        frame = put(frame, offset, row[name.removeprefix("set_")], size)
        first = offset & ~1
        old, new = before[first:offset + size], frame[first:offset + size]
        if name in HEADER_WORDS:
            frame = put(frame, 24, updated(int.from_bytes(frame[24:26], "big"), old, new), 2)
        if name != "set_tos" and reached and not (verdict["udp"] and old_l4 == 0):
            # Step by step a zero may come up on the way, which is the checksum zero and no missing one.
            frame = put(frame, at, updated(int.from_bytes(frame[at:at + 2], "big"), old, new), 2)
            reached = 2
    if reached == 2 and verdict["udp"] and frame[at:at + 2] == bytes(2):
        frame = put(frame, at, 0xFFFF, 2)
    if right:
        assert internet_checksum(frame[14:34]) == 0
        if reached == 2:
            assert int.from_bytes(frame[at:at + 2], "big") == layer4_checksum(frame[14:])
    return frame


def stored(case):
    """The frame as it is to be stored, and its side fields."""
    verdict, row = case.verdict, case.row
    frame = case.frame
    if verdict["set_dmac"]:
        frame = put(frame, 0, verdict["dmac"], 6)
    if verdict["set_ttl"] and verdict["ipv4"]:
        frame = put(put(frame, 22, verdict["ttl"], 1), 24, verdict["checksum"], 2)
    if verdict["set_ttl"] and verdict["ipv6"]:
        frame = put(frame, 21, verdict["ttl"], 1)
    tagged, tci = verdict["tagged"], verdict["tci"] * verdict["tagged"]
    if verdict["rule_changes"]:
        for name, offset in ("dmac", 0), ("smac", 6):
            if row[f"set_{name}"]:
                frame = put(frame, offset, row[name], 6)
        if verdict["ipv4"]:
            frame = rule_on_ipv4(frame, case)
        if row["strip_vlan"]:
            tagged, tci = 0, 0
        if row["set_vid"]:
            tagged, tci = 1, tci & 0xF000 | row["vid"]
        if row["set_pcp"]:
            tagged, tci = 1, tci & 0x1FFF | row["pcp"] << 13
    keep_tag = verdict["keep_tag"]
    if verdict["vid"] and not keep_tag:
        tagged, tci, keep_tag = 1, tci & 0xE000 | verdict["vid"], 1     # the PCP stays, and DEI is 0
    if verdict["untag"]:
        tagged, keep_tag = 0, 1
    return frame, {name: verdict[name] for name in PASSED} | {
        "length": len(frame), "tagged": tagged, "keep_tag": keep_tag, "tci": tci,
        "host_tci": verdict["tci"] * verdict["tagged"]}


def run(config, cases, *, rates=(1.0, 1.0), seed=0):
    """What is stored, and the cycles in which each frame's first beat came in and all its beats went out."""
    dut = Rewriter(replace(config, filter_rules=256) if config.filter_rules else config)
    width = config.data_width
    rng = random.Random(seed)
    rows = [pack(ACTION_ROW, case.row) for case in cases]
    out, came, went = [], [], []

    async def frames(ctx):
        """Gaps come between frames only."""
        for index, case in enumerate(cases):
            case.verdict["rule"] = index
            while rng.random() >= rates[0]:
                await ctx.tick()
            for beat in packet_beats(paired_layout(width), case.received, width):
                ctx.set(dut.i.valid, 1)
                ctx.set(Value.cast(dut.i.payload), beat | pack(paired_layout(width), {
                    "verdict": pack(VERDICT, case.verdict)}))
                while not (await ctx.tick().sample(dut.i.ready))[-1]:
                    pass
            ctx.set(dut.i.valid, 0)

    async def action_table(ctx):
        """Rows, each for one cycle, in two cycles or, if there are gaps, also more."""
        gaps = random.Random(seed)
        row, left, before = 0, 0, None
        while True:
            ready, valid = not left and gaps.random() < rates[0], left == 1
            ctx.set(dut.ask.ready, ready)
            ctx.set(dut.changes.valid, valid)
            ctx.set(Value.cast(dut.changes.payload), rows[row] if valid else gaps.getrandbits(ACTION_ROW.size))
            *_, asks, asked, taken = await ctx.tick().sample(dut.ask.valid, dut.ask.payload, dut.changes.ready)
            assert before is None or (asks and asked == before), "a question fell, or changed, before it was taken"
            before = asked if asks and not ready else None
            if asks and ready:
                row, left = asked, 2 if rates[0] == 1 else gaps.randrange(1, 6)
            elif left > 1 or (valid and taken):
                left -= 1

    async def taker(ctx):
        cycle = 0
        inside, entering, offered = False, False, None
        while True:
            ready = rng.random() < rates[1]
            ctx.set(dut.o.ready, ready)
            *_, valid, beat, enters, ends = await ctx.tick().sample(
                dut.o.valid, Value.cast(dut.o.payload), dut.i.valid & dut.i.ready, dut.i.payload.last)
            cycle += 1
            if enters and not entering:
                came.append(cycle)
            entering = not ends if enters else entering
            assert valid or not inside, "gap within a frame"
            assert valid or offered is None, "valid fell before the transfer"
            assert offered is None or offered == beat, "payload changed before the transfer"
            offered = beat if valid and not ready else None
            if valid and ready:
                out.append(beat)
                if not inside:
                    went.append([])
                went[-1].append(cycle)
                inside = not unpack(queued_layout(width), beat)["last"]

    total = sum(-(-len(case.frame) * 8 // width) for case in cases)
    simulate(dut, [frames, until(lambda: len(out) == total)], [taker, action_table])
    return packets(queued_layout(width), out, width), came, went


def check(sent, cases):
    assert len(sent) == len(cases)
    for (frame, sides), case in zip(sent, cases, strict=True):
        wanted_frame, wanted = stored(case)
        if case.verdict["untag"]:
            sides["tci"] = wanted["tci"]        # of no tag
        assert (frame, sides) == (wanted_frame, wanted), case


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.3, 0.7), (1.0, 0.3), (0.05, 1.0)])
def test_random_frames(width, rates):
    rng = random.Random(f"{width} {rates}")
    cases = [random_case(rng, rng.choice([rng.randint(14, 70), 60, rng.randint(60, 150)])) for _ in range(150)]
    sent, *_ = run(CoreConfig(data_width=width), cases, rates=rates, seed=width)
    check(sent, cases)


@pytest.mark.parametrize("width", WIDTHS)
def test_every_length(width):
    """Of short frames, and the longest ones."""
    rng = random.Random(width)
    lengths = [*range(14, 100), 1513, 1514]
    rng.shuffle(lengths)
    cases = [random_case(rng, length) for length in lengths]
    sent, *_ = run(CoreConfig(data_width=width), cases, rates=(1.0, 0.9))
    check(sent, cases)


def same_cases(count, length, *, tagged=0, row=None, protocol=UDP, rule_changes=None):
    rng = random.Random(length)
    cases = []
    for _ in range(count):
        frame = ipv4_frame(rng, length, protocol=protocol)
        verdict = dict.fromkeys((str(name) for name, _ in VERDICT), 0) | {
            "tagged": tagged, "ipv4": 1, "l4_ports": 1, "udp": int(protocol == UDP), "total_length": length - 14,
            "rule_changes": int(row is not None) if rule_changes is None else rule_changes}
        zeros = dict.fromkeys((str(name) for name, _ in ACTION_ROW), 0)
        cases.append(Case(frame, verdict, zeros | (row or {})))
    return cases


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("tagged", [0, 1])
def test_two_cycles_without_a_rule(width, tagged):
    """No frame waits for the one before it, whatever its length."""
    for length in 34, 60, 61, 64:
        cases = same_cases(12, length, tagged=tagged)
        sent, came, went = run(CoreConfig(data_width=width), cases)
        check(sent, cases)
        beats = -(-(length + 4 * tagged) * 8 // width)
        assert came == [came[0] + beats * k for k in range(len(cases))]
        assert [frame[0] for frame in went] == [cycle + 2 for cycle in came]


@pytest.mark.parametrize("width, protocol, latency", [
    (32, TCP, 17), (32, UDP, 15), (64, TCP, 12), (64, UDP, 11), (128, TCP, 11), (256, TCP, 10)])
def test_rate_and_latency_with_a_rule(width, protocol, latency):
    """60-byte frames, whose addresses and ports are all changed: one every ten cycles at 64 bits."""
    row = {f"set_{name}": 1 for name in ("ip_source", "ip_destination", "l4_source", "l4_destination", "tos")}
    cases = same_cases(30, 60, row=row, protocol=protocol)
    sent, came, went = run(CoreConfig(data_width=width), cases)
    check(sent, cases)
    beats = -(-60 * 8 // width)
    assert max(b - a for a, b in pairwise(came)) == beats + 2
    assert {frame[0] - cycle for frame, cycle in zip(went, came, strict=True)} == {latency}


@pytest.mark.parametrize("width", WIDTHS)
def test_checksums_at_the_end_of_packet_or_frame(width):
    """The last byte of the packet, or of a frame that was cut off, before, in and behind the checksum's two bytes."""
    row = {f"set_{name}": 1 for name in ("ip_source", "l4_destination")}
    cases = []
    for protocol, end in (UDP, 42), (TCP, 52):
        for tagged in 0, 1:
            for short in range(-1, 4):
                cut, = same_cases(1, 90, row=row, protocol=protocol, tagged=tagged)
                cut.frame, cut.right = cut.frame[:end - short], False
                padded, = same_cases(1, 90, row=row, protocol=protocol, tagged=tagged)
                padded.verdict["total_length"] = end - short - 14
                padded.right = False
                cases += [cut, padded]
    sent, *_ = run(CoreConfig(data_width=width), cases)
    check(sent, cases)


@pytest.mark.parametrize("verdict, row, tag", [
    # Egress tag: (keep_tag, tagged, tci); without keep_tag it is that of the port, with the frame's PCP.
    ({}, {}, (0, 1, 0xB123)),
    ({"tagged": 0}, {}, (0, 0, 0)),
    ({"vid": 0x456}, {}, (1, 1, 0xA456)),
    ({"vid": 0x456, "tagged": 0}, {}, (1, 1, 0x0456)),
    ({"vid": 0x456, "tagged": 0}, {"set_pcp": 1}, (1, 1, 0xC456)),
    ({"vid": 0x456}, {"set_pcp": 1}, (1, 1, 0xC456)),
    # As it is: a rule with ``set_vid`` or ``strip_vlan`` makes keep_tag, and then no other VLAN id counts.
    ({"keep_tag": 1}, {}, (1, 1, 0xB123)),
    ({"vid": 0x456, "keep_tag": 1}, {"set_vid": 1}, (1, 1, 0xB789)),
    ({"vid": 0x456, "keep_tag": 1}, {"strip_vlan": 1}, (1, 0, 0)),
    ({"vid": 0x456, "keep_tag": 1, "tagged": 0}, {"strip_vlan": 1}, (1, 0, 0)),
    ({"vid": 0x456, "keep_tag": 1, "tagged": 0}, {"set_vid": 1, "strip_vlan": 1, "set_pcp": 1}, (1, 1, 0xC789)),
    # The end of a tunnel: none, whatever else is there.
    ({"untag": 1}, {}, (1, 0, None)),
    ({"untag": 1, "vid": 0x456}, {}, (1, 0, None)),
    ({"untag": 1, "keep_tag": 1, "vid": 0x456}, {"set_vid": 1, "set_pcp": 1}, (1, 0, None)),
])
def test_the_tag_that_counts(verdict, row, tag):
    case, = same_cases(1, 60, tagged=1, row=row | {"vid": 0x789, "pcp": 6}, rule_changes=int(bool(row)))
    case.verdict |= {"tci": 0xB123} | verdict
    ((frame, sides),), *_ = run(CoreConfig(circuits=64), [case])
    keep_tag, tagged, tci = tag
    assert (frame, sides["keep_tag"], sides["tagged"]) == (case.frame, keep_tag, tagged)
    assert tci is None or sides["tci"] == tci
    assert sides["host_tci"] == (0xB123 if case.verdict["tagged"] else 0)


def test_without_rules_there_is_nothing_to_read():
    cases = same_cases(3, 60, row={"set_dmac": 1})
    config = CoreConfig(filter_rules=0)
    sent, *_ = run(config, cases)
    for case in cases:
        case.verdict["rule_changes"] = 0
    check(sent, cases)


def test_jumbo_frames():
    rng = random.Random(7)
    cases = [random_case(rng, length) for length in (9014, 60, 9011)]
    sent, *_ = run(CoreConfig(max_frame=9018), cases)
    check(sent, cases)


@pytest.mark.parametrize("width", WIDTHS)
def test_elaborates(width):
    assert rtlil.convert(Rewriter(CoreConfig(data_width=width)))


def test_the_reference_knows_rfc_1624():
    """The example of RFC 1624, section 4."""
    assert updated(0xDD2F, struct.pack(">H", 0x5555), struct.pack(">H", 0x3285)) == 0x0000
