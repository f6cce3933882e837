"""Filter: what is compared, which rule decides, what it does to a frame; hits, mirrors and policers."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polyrouter.hdl.layouts import (
    ACTION_ROW,
    FILTER_KEY,
    POLICER_ROW,
    AdjacencyKind,
    FilterAction,
    HitStat,
    Reason,
    RouterMode,
    Table,
    TrafficClass,
    pack,
    unpack,
)
from polyrouter.sim.golden_filter import filter_key
from polyrouter.sim.golden_packet import parse
from polyrouter.sim.host_frames import HostFrame
from polyrouter.sim.packets import ethernet, ipv4, ipv6, segment, with_tag
from polyrouter.sim.tablegen import FilterRule, Route, RouterSetup, adjacency_row, fib_image
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from tests.effort import examples

from .board import CONFIG, HOST, OWN, load, make, moved, receive

EVERYTHING = FilterRule({}, {}, {})
HOST_PORT = CONFIG.host_port


def rule(action: FilterAction = FilterAction.PERMIT, *, value: dict | None = None, **fields: int) -> FilterRule:
    """A rule that matches ``value`` exactly in the fields that it has."""
    value = value or {}
    return FilterRule(value, {name: (1 << FILTER_KEY[name].width) - 1 for name in value}, {"action": action, **fields})


def model_of(*rules: FilterRule, policers: tuple[int, ...] = (), **context: int):
    """Router 1 with rules from row 10 on, policers from row 1 on; 13.0.0.0/8 leaves by port 3, 11.0.0.0/8 by 1."""
    setup = RouterSetup(
        1, {"enable": 1, "ports": 15, "fib_base": 512, "fib_size": 512, "adj_base": 32, "adj_size": 32,
            "filter_base": 10, "filter_size": len(rules), "policer_base": 1, "policer_size": len(policers), **context},
        own={port: 0x020000000100 | port for port in range(4)}, segments=[(2, 5)], rules=list(rules),
        adjacencies=[adjacency_row(AdjacencyKind.FORWARD, 3, 0x060000000103),
                     adjacency_row(AdjacencyKind.FORWARD, 1, 0x060000000101)], policers=list(policers))
    model = make(setup)
    load(model, fib_image([Route(13 << 24, 8, 0), Route(11 << 24, 8, 1)]).writes(1))
    return model


def packet(**fields):
    return IP(**{"src": "192.0.2.1", "dst": "13.1.2.3", **fields}) / UDP(sport=1000, dport=53) / b"some payload, odd"


GOOD = Ether(dst=OWN, src="06:00:00:00:00:01") / packet(tos=0xB8)


@pytest.mark.parametrize(("frame", "fields"), [
    (GOOD, {"ethertype": 0x0800, "ip_source": 0xC0000201, "ip_destination": 0x0D010203, "protocol": 17, "tos": 0xB8,
            "l4_source": 1000, "l4_destination": 53}),
    (Ether(dst=OWN, src="06:00:00:00:00:01") / Dot1Q(vlan=5, prio=6, dei=1) / ARP(),
     {"ethertype": 0x0806, "tagged": 1, "vid": 5, "pcp": 6}),
    (Ether(dst=OWN, src="06:00:00:00:00:01") / Dot1Q(vlan=0) / ARP(), {"ethertype": 0x0806, "tagged": 1}),
    (Ether(dst=OWN, src="06:00:00:00:00:01") / packet(version=5), {"ethertype": 0x0800}),
    (Ether(dst=OWN, src="06:00:00:00:00:01") / IP(src="1.0.0.0", dst="2.0.0.0") / ICMP(type=8, code=3),
     {"ethertype": 0x0800, "ip_source": 1 << 24, "ip_destination": 2 << 24, "protocol": 1, "l4_source": 8,
      "l4_destination": 3}),
    (Ether(dst=OWN, src="06:00:00:00:00:01") / IP(src="1.0.0.0", dst="2.0.0.0", flags="MF") / UDP(sport=1),
     {"ethertype": 0x0800, "ip_source": 1 << 24, "ip_destination": 2 << 24, "protocol": 17}),
    (Ether(dst=OWN, src="06:00:00:00:00:01") / IPv6(src="2001:db8::1", dst="fd00::2", tc=0xA5) / TCP(sport=9, dport=8),
     {"ethertype": 0x86DD, "ip_source": 0x20010DB8, "ip_destination": 0xFD000000, "protocol": 6, "tos": 0xA5,
      "l4_source": 9, "l4_destination": 8}),
    (Ether(dst=OWN, src="06:00:00:00:00:01") / IPv6(src="::", dst="::") / ICMPv6EchoRequest(code=1),
     {"ethertype": 0x86DD, "protocol": 58, "l4_source": 128, "l4_destination": 1}),
])
def test_key(frame, fields):
    seen = unpack(FILTER_KEY, filter_key(parse(2, bytes(frame))))
    assert {name: value for name, value in seen.items() if value} == {
        "port": 2, "dmac": int(OWN.replace(":", ""), 16), "smac": 0x060000000001, **fields}


@pytest.mark.parametrize(("total", "length", "taken"), [
    (24, 38, True), (23, 38, False), (24, 37, False), (28, 42, True)])
def test_layer_4_ports_need_packet_and_frame_to_reach_over_them(total, length, taken):
    frame = bytes(Ether() / IP(len=total, proto=6) / bytes.fromhex("00010002000300040005"))[:length]
    assert parse(0, frame).packet.l4_taken == taken
    frame = bytes(Ether() / IPv6(plen=total - 20, nh=6) / bytes.fromhex("00010002000300040005"))[:length + 20]
    assert parse(0, frame).packet.l4_taken == taken


@settings(max_examples=examples(200), deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_lowest_valid_match_in_window_and_table_decides(seed):
    rng = Random(seed)
    model = model_of(filter_size=rng.choice((0, 3, 54, 4000)))
    frame = bytes(GOOD)
    key = filter_key(parse(2, frame))
    rows = {}
    for row in rng.sample(range(64), 12):
        mask = rng.getrandbits(FILTER_KEY.size) & rng.getrandbits(FILTER_KEY.size)
        value = key if rng.random() < 0.4 else key ^ 1 << rng.randrange(FILTER_KEY.size)
        noise = rng.getrandbits(FILTER_KEY.size) & ~mask
        rows[row] = value ^ noise, mask, rng.random() < 0.8
        model.tables.write_at(Table.FILTER, row, rows[row][0] | mask << FILTER_KEY.size
                              | rows[row][2] << 2 * FILTER_KEY.size)
    size = model.tables.context(1).filter_size
    match = [row for row, (value, mask, valid) in sorted(rows.items())
             if 10 <= row < 10 + size and valid and all((value ^ key) >> bit & 1 == 0 for bit in range(FILTER_KEY.size)
                                                        if mask >> bit & 1)]
    model.receive(2, frame)
    hits = {} if not match else {match[0] * 2 + HitStat.FRAMES: 1, match[0] * 2 + HitStat.BYTES: len(frame)}
    assert model.tables.hits == hits


@pytest.mark.parametrize(("action", "mode", "reason"), [
    (rule(FilterAction.DROP), RouterMode.ROUTED, Reason.DROP_FILTER),
    (rule(FilterAction.PUNT), RouterMode.ROUTED, Reason.PUNT_FILTER),
    (rule(FilterAction.PERMIT), RouterMode.ROUTED, Reason.FORWARDED),
    (rule(FilterAction.PERMIT, value={"vid": 1}), RouterMode.ROUTED, Reason.FORWARDED),
    (rule(FilterAction.DROP, value={"vid": 1}), RouterMode.ROUTED, Reason.FORWARDED),
    (rule(FilterAction.SEND), RouterMode.ROUTED, Reason.DROP_NO_PORT),
    (rule(FilterAction.SEND, ports=0xF0), RouterMode.ROUTED, Reason.DROP_NO_PORT),
    (rule(FilterAction.SEND, ports=8), RouterMode.ROUTED, Reason.SWITCHED),
    (rule(FilterAction.PERMIT), RouterMode.SWITCHED, Reason.DROP_FILTER),
    (rule(FilterAction.PERMIT, value={"vid": 1}), RouterMode.SWITCHED, Reason.DROP_FILTER),
    (rule(FilterAction.PUNT), RouterMode.SWITCHED, Reason.PUNT_FILTER),
    (rule(FilterAction.PERMIT), RouterMode.BRIDGED, Reason.PUNT_LOCAL),
])
def test_actions(action, mode, reason):
    outputs, key = receive(model_of(action, mode=mode, ports=0xFF), GOOD)
    assert key == (1, 2, reason)
    if reason == Reason.SWITCHED:
        assert [(output.port, output.frame) for output in outputs] == [(3, bytes(GOOD))]


def test_rule_sends_to_each_port_also_back():
    model = model_of(rule(FilterAction.SEND, ports=0xFF), ports=0b1101)
    outputs, counters = moved(model, lambda: model.receive(2, bytes(GOOD)))
    assert [output.port for output in outputs] == [0, 2, 3] and counters == {(1, 2, Reason.SWITCHED): 3}


def test_a_rule_also_decides_about_packets_that_are_not_whole_and_counts_them():
    short = bytes(Ether(dst=OWN) / packet(len=900))
    model = model_of(rule(FilterAction.PERMIT))
    assert receive(model, short)[1][2] == Reason.DROP_MALFORMED
    assert model.tables.hits == {20: 1, 21: len(short)}
    assert receive(model_of(rule(FilterAction.SEND, ports=8)), short)[1][2] == Reason.SWITCHED


def test_hits_count_bytes_with_the_tag():
    model = model_of(rule(FilterAction.SEND, ports=8), mode=RouterMode.SWITCHED)
    frame = bytes(Ether(dst=OWN) / Dot1Q(vlan=5) / packet())
    model.receive(2, frame)
    model.receive(2, frame)
    assert model.tables.hits == {20: 2, 21: 2 * len(frame)}
    assert [model.tables.read(Table.HIT, 1, stat) for stat in HitStat] == [2, 2 * len(frame)]


def test_class_is_that_of_copies_to_data_ports():
    for action, port in (rule(set_class=1, traffic_class=1), 3), (rule(set_class=0, traffic_class=1), 3):
        outputs, _ = receive(model_of(action), GOOD)
        assert (outputs[0].port, outputs[0].traffic_class) == (port, action.action["set_class"])
    outputs, _ = receive(model_of(rule(FilterAction.PUNT, set_class=1, traffic_class=1)), GOOD)
    assert outputs[0].traffic_class == TrafficClass.NORMAL


@pytest.mark.parametrize(("context", "action", "frame", "reasons"), [
    ({"mirror": 1}, {}, GOOD, {Reason.FORWARDED: 1, Reason.PUNT_MIRROR: 1}),
    ({}, {"mirror": 1}, GOOD, {Reason.FORWARDED: 1, Reason.PUNT_MIRROR: 1}),
    ({"mirror": 1}, {"action": FilterAction.DROP}, GOOD, {Reason.DROP_FILTER: 1, Reason.PUNT_MIRROR: 1}),
    ({"mirror": 1}, {"action": FilterAction.PUNT}, GOOD, {Reason.PUNT_FILTER: 1}),
    ({"mirror": 1}, {"action": FilterAction.SEND}, GOOD, {Reason.DROP_NO_PORT: 1, Reason.PUNT_MIRROR: 1}),
    ({"mirror": 1}, {"action": FilterAction.SEND, "ports": 10}, GOOD, {Reason.SWITCHED: 2, Reason.PUNT_MIRROR: 1}),
    ({"mirror": 1}, {}, Ether(dst=OWN) / packet(len=900), {Reason.DROP_MALFORMED: 1}),
    ({"mirror": 1}, {}, Ether(dst=OWN) / packet(version=7), {Reason.DROP_MALFORMED: 1}),
    ({"mirror": 1}, {}, Ether(dst=OWN) / packet(chksum=1), {Reason.DROP_CHECKSUM: 1, Reason.PUNT_MIRROR: 1}),
    ({"mirror": 1}, {}, Ether(dst=OWN) / ARP(), {Reason.PUNT_NOT_IP: 1}),
    ({"mirror": 1, "guard": 4}, {}, GOOD, {Reason.DROP_SOURCE: 1}),
    ({"mirror": 1, "policer_size": 1}, {}, GOOD, {Reason.FORWARDED: 1, Reason.PUNT_MIRROR: 1}),
])
def test_mirror(context, action, frame, reasons):
    model = model_of(FilterRule({}, {}, action), **context)
    _, counters = moved(model, lambda: model.receive(2, bytes(frame)))
    assert counters == {(1, 2, reason): count for reason, count in reasons.items()}


def test_mirrored_frame_is_as_it_is_stored():
    """That is with new TTL and destination, without what the egress port puts in."""
    model = model_of(rule(mirror=1, set_l4_source=1, l4_source=7, set_vid=1, vid=77))
    sent, mirrored = model.receive(2, bytes(GOOD))
    copy = HostFrame.from_bytes(mirrored.frame)
    assert Ether(sent.frame)[Dot1Q].vlan == 77 and copy.tci == 0
    without_tag = sent.frame[:12] + sent.frame[16:]
    assert copy.payload == without_tag[:6] + bytes(GOOD)[6:12] + without_tag[12:]
    assert IP(copy.payload[14:]).ttl == 63 and IP(copy.payload[14:])[UDP].sport == 7


def test_mirrored_frame_tells_the_tag_that_it_came_with():
    model = model_of(rule(FilterAction.SEND, ports=8, mirror=1, set_vid=1, vid=77), mode=RouterMode.SWITCHED)
    sent, mirrored = model.receive(2, with_tag(bytes(GOOD), 0x6005))
    assert Ether(sent.frame)[Dot1Q].vlan == 77 and HostFrame.from_bytes(mirrored.frame).tci == 0x6005


def test_mirror_of_a_drop_and_a_punt_have_no_rewrites():
    for action in FilterAction.DROP, FilterAction.PUNT:
        (output,) = model_of(rule(action, mirror=1, set_l4_source=1, l4_source=7, set_dmac=1)).receive(2, bytes(GOOD))
        assert HostFrame.from_bytes(output.frame).payload == bytes(GOOD)


def test_injected_frames_are_mirrored_but_not_filtered():
    model = model_of(rule(FilterAction.DROP), mirror=1, policers=(pack(POLICER_ROW, {"limit": 1}),), policer_size=1)
    frame = with_tag(bytes(GOOD), 0x3005)
    outputs, counters = moved(
        model, lambda: model.host_receive(HostFrame.inject(1, 0, frame, source=HOST).to_bytes()))
    assert counters == {(1, HOST_PORT, Reason.INJECTED): 1, (1, HOST_PORT, Reason.PUNT_MIRROR): 1}
    copy = HostFrame.from_bytes(outputs[1].frame)
    assert (outputs[0].frame, copy.payload, copy.tci, copy.port) == (frame, bytes(GOOD), 0x3005, HOST_PORT)


def policer(burst: int, limit: int = 1) -> int:
    return pack(POLICER_ROW, {"burst": burst, "limit": limit})


SIZE = len(bytes(GOOD)) + 4


@pytest.mark.parametrize(("rows", "action", "passed", "left"), [
    ((policer(2 * SIZE), policer(0)), {}, 2, (0, 0)),                           # the rule has none
    ((policer(2 * SIZE - 1), policer(0)), {}, 1, (SIZE - 1, 0)),
    ((policer(0, 0), policer(SIZE)), {"police": 1, "policer": 1}, 1, (0, 0)),
    # The router's is charged in any case, the rule's only if the router's let the frame pass
    ((policer(3 * SIZE), policer(SIZE)), {"police": 1, "policer": 1}, 1, (0, 0)),
    ((policer(SIZE), policer(5 * SIZE)), {"police": 1, "policer": 1}, 1, (0, 4 * SIZE)),
    ((policer(0, 0), policer(0)), {"police": 1, "policer": 2}, 3, (0, 0)),      # outside of the window
    ((policer(4 * SIZE),), {"police": 1, "policer": 0}, 2, (0,)),               # one for both
    ((), {"police": 1, "policer": 0}, 3, ()),
])
def test_policers(rows, action, passed, left):
    model = model_of(FilterRule({}, {}, action), policers=rows)
    for _ in range(3):
        model.receive(2, bytes(GOOD))
    dropped = {(1, 2, Reason.DROP_POLICER): 3 - passed} if passed < 3 else {}
    assert model.counters == {(1, 2, Reason.FORWARDED): passed, **dropped}
    assert tuple(model.tables.tokens[1 + row] for row in range(len(rows))) == left
    assert model.tables.hits[20] == 3
    if rows:
        model.tables.write(Table.POLICER, 1, 0, rows[0])
        assert model.tables.tokens[1] == rows[0] >> 32 & 0x3FFFF


def test_what_is_policed():
    """All that would be sent, to the host too; not what is dropped anyway."""
    tag = with_tag(bytes(GOOD), 5)
    for frame, action, mirror, police in (
        (bytes(Ether(dst=OWN) / ARP()), FilterAction.PERMIT, 0, True), (bytes(GOOD), FilterAction.DROP, 0, False),
        (bytes(GOOD), FilterAction.DROP, 1, True),
        (bytes(Ether(dst=OWN) / packet(len=900)), FilterAction.PERMIT, 1, False),
        (bytes(GOOD), FilterAction.PUNT, 0, True), (tag, FilterAction.SEND, 0, True),
    ):
        model = model_of(rule(action, ports=8), policers=(policer(1000),), mirror=mirror, mode=RouterMode.SWITCHED
                         if action == FilterAction.SEND else RouterMode.ROUTED)
        model.receive(2, frame)
        assert model.tables.tokens[1] == (1000 - len(frame) - 4 if police else 1000)


def test_policer_beyond_the_table_lets_pass():
    model = model_of(EVERYTHING, policer_base=CONFIG.policers, policer_size=1)
    assert receive(model, GOOD)[1][2] == Reason.FORWARDED


@pytest.mark.parametrize(("action", "tag", "sent"), [
    ({}, None, None), ({}, 0xB005, 0xB005),
    ({"strip_vlan": 1}, 0xB005, None), ({"strip_vlan": 1}, None, None),
    ({"set_vid": 1, "vid": 77}, 0xB005, 0xB04D), ({"set_vid": 1, "vid": 77}, None, 77),
    ({"set_pcp": 1, "pcp": 2}, 0xB005, 0x5005), ({"set_pcp": 1, "pcp": 2}, None, 0x4000),
    ({"strip_vlan": 1, "set_pcp": 1, "pcp": 2}, 0xB005, 0x4000),
    ({"strip_vlan": 1, "set_vid": 1, "vid": 77}, 0xB005, 77),
    ({"set_vid": 1, "vid": 77, "set_pcp": 1, "pcp": 1}, 0xB005, 0x304D),
])
def test_tag_of_what_a_rule_sends(action, tag, sent):
    model = model_of(rule(FilterAction.SEND, ports=8, **action))
    plain = bytes(GOOD)
    # Untagged frames are the router's by its own address; tagged ones by the segment
    if tag is not None:
        model = model_of(rule(FilterAction.SEND, ports=8, **action), mode=RouterMode.SWITCHED)
    outputs, _ = receive(model, plain if tag is None else with_tag(plain, tag))
    assert outputs[0].frame == (plain if sent is None else with_tag(plain, sent))


@pytest.mark.parametrize(("action", "sent"), [
    ({}, 9), ({"set_pcp": 1, "pcp": 2}, 0x4009), ({"set_vid": 1, "vid": 77}, 77),
    ({"strip_vlan": 1}, None), ({"strip_vlan": 1, "set_pcp": 1, "pcp": 2}, 0x4000),
])
def test_tag_of_what_is_routed_under_a_rule(action, sent):
    model = model_of(rule(**action))
    model.tables.write(Table.PORT, 1, 3, 0x020000000103 | 9 << 48)
    outputs, _ = receive(model, GOOD)
    found = Ether(outputs[0].frame)
    assert (found.haslayer(Dot1Q) and int.from_bytes(outputs[0].frame[14:16], "big")) == (sent or 0)


SETTABLE = ("ip_source", "ip_destination", "tos", "l4_source", "l4_destination")


def recomputed(frame: bytes) -> bytes:
    """The frame with all checksums computed anew by scapy; a UDP checksum of zero stays."""
    parsed = Ether(frame)
    del parsed[IP].chksum
    if UDP in parsed and parsed[UDP].chksum:
        del parsed[UDP].chksum
    if TCP in parsed:
        del parsed[TCP].chksum
    return bytes(parsed)


@st.composite
def rewrites(draw):
    """A frame and what a rule changes of it."""
    source, destination = draw(st.integers(0, (1 << 32) - 1)), 13 << 24 | draw(st.integers(0, (1 << 24) - 1))
    protocol = draw(st.sampled_from((6, 17)))
    ports = draw(st.tuples(st.integers(0, 65535), st.integers(0, 65535)))
    payload = draw(st.binary(max_size=40))
    body = segment(protocol, source, destination, ports, payload, has_checksum=draw(st.booleans()) or protocol == 6)
    frame = ethernet(int(OWN.replace(":", ""), 16), 6 << 40, 0x0800, ipv4(
        source, destination, body, protocol=protocol, tos=draw(st.integers(0, 255)), ttl=draw(st.integers(2, 255)),
        identification=draw(st.integers(0, 65535))))
    fields = {name: draw(st.one_of(st.integers(0, (1 << ACTION_ROW[name].width) - 1),
                                   st.just((1 << ACTION_ROW[name].width) - 1), st.just(0))) for name in SETTABLE}
    return frame, fields | {f"set_{name}": draw(st.integers(0, 1)) for name in SETTABLE}


@settings(max_examples=examples(300), deadline=None)
@given(rewrites(), st.sampled_from((FilterAction.PERMIT, FilterAction.SEND)))
def test_incremental_checksums_are_those_computed_anew(case, kind):
    frame, fields = case
    (output,) = model_of(rule(kind, ports=8, **fields)).receive(2, frame)
    assert recomputed(output.frame) == output.frame
    packet = parse(3, output.frame).packet
    before = parse(2, frame).packet
    for name in SETTABLE:
        seen = {"ip_source": "source", "ip_destination": "destination"}.get(name, name)
        assert getattr(packet, seen) == (fields[name] if fields[f"set_{name}"] else getattr(before, seen)), name
    assert packet.ttl == before.ttl - (kind == FilterAction.PERMIT)
    assert output.frame[14 + 20 + (20 if packet.protocol == 6 else 8):] == frame[14 + 20 + (20 if packet.protocol == 6
                                                                                            else 8):]


ALL = {f"set_{name}": 1 for name in SETTABLE} | {name: 5 for name in SETTABLE}


@pytest.mark.parametrize("frame", [
    Ether(dst=OWN) / IPv6(src="2001:db8::1", dst="fd00::1") / UDP() / b"x", Ether(dst=OWN) / ARP(),
    Ether(dst=OWN) / packet(version=5),
])
def test_only_good_ipv4_is_rewritten(frame):
    (output,) = model_of(rule(FilterAction.SEND, ports=8, **ALL)).receive(2, bytes(frame))
    assert output.frame == bytes(frame)


@pytest.mark.parametrize("fields", [{"flags": "MF"}, {"frag": 3}, {"proto": 47}, {"proto": 1}])
def test_nothing_of_layer_4_is_changed_without_ports(fields):
    frame = bytes(Ether(dst=OWN) / packet(**fields))
    (output,) = model_of(rule(FilterAction.SEND, ports=8, **ALL)).receive(2, frame)
    assert output.frame[34:] == frame[34:] and output.frame[14:34] != frame[14:34]


def test_l4_checksum_that_the_packet_does_not_reach_over_is_left_alone():
    frame = bytes(Ether(dst=OWN) / IP(dst="13.0.0.1", proto=6, len=36) / bytes(range(1, 41)))
    (output,) = model_of(rule(FilterAction.SEND, ports=8, **ALL)).receive(2, frame)
    assert output.frame[34:38] == b"\0\5\0\5" and output.frame[38:] == frame[38:]


def test_udp_checksum_never_becomes_zero():
    """RFC 768: zero means that there is none."""
    body = segment(17, 1 << 24, 13 << 24, (1, 2), b"\x12\x34")
    frame = ethernet(int(OWN.replace(":", ""), 16), 0, 0x0800, ipv4(1 << 24, 13 << 24, body))
    # The port that makes the sum complete
    port = (1 + int.from_bytes(frame[40:42], "big")) % 0xFFFF
    (output,) = model_of(rule(FilterAction.SEND, ports=8, set_l4_source=1, l4_source=port)).receive(2, frame)
    assert output.frame[40:42] == b"\xff\xff"


def test_macs_of_a_rule_replace_those_of_routing():
    model = model_of(rule(set_dmac=1, dmac=0x0A0000000001, set_smac=1, smac=0x0A0000000002))
    outputs, _ = receive(model, GOOD)
    assert outputs[0].frame[:12] == bytes.fromhex("0a00000000010a0000000002") and IP(outputs[0].frame[14:]).ttl == 63


def test_ipv6_frames_keep_their_bytes():
    frame = ethernet(int(OWN.replace(":", ""), 16), 0, 0x86DD, ipv6(1, 2, segment(6, 1, 2, (3, 4), b"x", ipv6=True)))
    (output,) = model_of(rule(FilterAction.SEND, ports=8, set_dmac=1, dmac=7, **ALL)).receive(2, frame)
    assert output.frame == (7).to_bytes(6, "big") + frame[6:]
