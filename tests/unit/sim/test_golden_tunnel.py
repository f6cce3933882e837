"""Tunnels through the link port: packets as scapy builds them, and what is not taken for one."""

import pytest
from polyrouter.hdl.layouts import AdjacencyKind, FilterAction, Reason, RouterMode, Table
from polyrouter.sim.golden import GoldenModel
from polyrouter.sim.host_frames import HostFrame
from polyrouter.sim.link_tables import LinkTables
from polyrouter.sim.packets import ethernet, with_tag
from polyrouter.sim.tablegen import FilterRule, RouterSetup, adjacency_row
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE as Gre
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.vxlan import VXLAN as Vxlan

from .link_board import (
    EVERYONE,
    GRE,
    HOST_PORT,
    NONE,
    REMOTE,
    SEED,
    STATION,
    UNDERLAY,
    VNIC,
    VNIC_MAC,
    VXLAN,
    A,
    X,
    board,
    bridge,
    counted,
    direct,
    inject,
    tunnel,
    underlay,
    vnic,
)

INNER = ethernet(VNIC_MAC, STATION, 0x88CC, b"payload" * 8)
FLOW = bytes(Ether(dst="06:00:00:00:00:01") / IP(src="10.1.2.3", dst="10.4.5.6") / TCP(sport=1000, dport=80))
INJECTED_A = (A, HOST_PORT, Reason.INJECTED)


def flow_hash(source: int, destination: int, ports: tuple[int, int]) -> int:
    """The flow hash, bit by bit."""
    key = f"{source:032b}{destination:032b}{ports[0]:016b}{ports[1]:016b}"
    result = 0
    for position, bit in enumerate(reversed(key)):
        if bit == "1":
            result ^= SEED >> position
    return result & 0xFFFF


def outer(kind: str, source_port: int = 49152, **fields) -> IP:
    """Outer headers, as they are on the wire."""
    ip = IP(src="192.0.2.1", dst="198.51.100.7", id=0, flags="DF", ttl=64, tos=0xB8, **fields)
    if kind == "gre":
        return ip / Gre(key_present=1, key=0xA1B2C3D4, proto=0x6558)
    return ip / UDP(sport=source_port, dport=4789, chksum=0) / Vxlan(flags=8, vni=0x123456)


def sent(headers: dict, frame: bytes, **context: int) -> tuple[GoldenModel, list]:
    """What comes out of bridge A's tunnel."""
    model = board(LinkTables({1: tunnel(A, headers)}), bridge(A, [1], vid=1), underlay(**context))
    return model, model.receive(A, frame)


# Into a tunnel

@pytest.mark.parametrize(("headers", "kind"), [(GRE, "gre"), (VXLAN, "vxlan")])
def test_the_packet_is_that_of_scapy(headers, kind):
    model, (output,) = sent(headers, INNER)
    expected = Ether(dst="06:00:00:00:03:03", src="02:00:00:00:03:03") / outer(kind) / INNER
    assert (output.port, output.frame) == (UNDERLAY, bytes(expected))
    assert counted(model) == {(A, A, Reason.BRIDGED): 1, (UNDERLAY, X, Reason.FORWARDED): 1}


@pytest.mark.parametrize(("inner", "port"), [
    (FLOW, 49152 + (flow_hash(0x0A010203, 0x0A040506, (1000, 80)) & 0x3FFF)),
    (bytes(Ether(dst="06:00:00:00:00:01") / IPv6(src="fd00::1:0:0:2", dst="::7") / UDP(sport=5, dport=6) / b"payload"),
     49152 + (flow_hash(0xFD000000 ^ 0x10000 ^ 2, 7, (5, 6)) & 0x3FFF)),
    (bytes(Ether(dst="06:00:00:00:00:01") / IP(src="10.1.2.3", dst="10.4.5.6", version=5) / bytes(30)), 49152),
    (INNER, 49152),
    # Its own tag is data like any other
    (with_tag(FLOW, 5), 49152),
], ids=["ipv4", "ipv6", "bad header", "not ip", "tagged"])
def test_the_source_port_of_vxlan_is_the_flow_of_the_inner_frame(inner, port):
    model = board(LinkTables({1: tunnel(A, VXLAN)}), bridge(A, [1]), underlay())
    (output,) = inject(model, A, with_tag(inner, 0xA001))
    packet = Ether(output.frame)
    assert packet[UDP].sport == port and bytes(packet[Vxlan].payload) == inner


def test_the_flow_is_that_before_the_rewrites_of_a_rule():
    router = bridge(A, [1], vid=1, filter_size=1)
    router.rules = [FilterRule({}, {}, {"set_ip_source": 1, "ip_source": 7, "set_l4_source": 1, "l4_source": 9})]
    model = board(LinkTables({1: tunnel(A, VXLAN)}), router, underlay())
    (output,) = model.receive(A, FLOW)
    packet = Ether(output.frame)
    assert packet[Vxlan][IP].src == "0.0.0.7" and packet[TCP].sport == 9
    assert packet[UDP].sport == 49152 + (flow_hash(0x0A010203, 0x0A040506, (1000, 80)) & 0x3FFF)


def test_a_vni_has_24_bits():
    _, (output,) = sent({**VXLAN, "key": 0xFF123456}, INNER)
    assert output.frame == bytes(Ether(dst="06:00:00:00:03:03", src="02:00:00:00:03:03") / outer("vxlan") / INNER)


@pytest.mark.parametrize(("headers", "room"), [(GRE, 42), (VXLAN, 50)])
def test_what_is_too_long_with_its_headers_is_dropped(headers, room):
    for length, key in (1518 - room, (UNDERLAY, X, Reason.FORWARDED)), (1519 - room, (A, X, Reason.DROP_LENGTH)):
        model, _ = sent(headers, INNER.ljust(length, b"\0"))
        model.tables.write(Table.ADJACENCY, UNDERLAY, 0, adjacency_row(AdjacencyKind.FORWARD, UNDERLAY, 5, 1504))
        model.counters.clear()
        model.receive(A, INNER.ljust(length, b"\0"))
        assert counted(model) == {(A, A, Reason.BRIDGED): 1, key: 1}


def given(headers: dict, **context: int) -> dict:
    """What the underlay's router makes of a packet that is given to it."""
    model, _ = sent(headers, INNER, **context)
    assert model.passes[-1].given == UNDERLAY and model.passes[-1].tci is None
    return counted(model)


@pytest.mark.parametrize(("headers", "context", "reason"), [
    ({"ttl": 1}, {}, Reason.PUNT_TTL), ({"ttl": 2}, {}, Reason.FORWARDED),
    ({"destination": 0x08080808}, {}, Reason.PUNT_NO_ROUTE), ({}, {"enable": 0}, Reason.DROP_DISABLED),
    ({}, {"ports": 1 << UNDERLAY}, Reason.DROP_DISABLED), ({}, {"mode": 3}, Reason.DROP_DISABLED),
    ({}, {"guard": 1 << X}, Reason.DROP_SOURCE), ({}, {"mode": RouterMode.SWITCHED}, Reason.DROP_FILTER),
    ({}, {"mode": RouterMode.BRIDGED}, Reason.PUNT_LOCAL), ({}, {"tunnels": 0}, Reason.FORWARDED),
], ids=str)
def test_the_underlay_treats_it_like_any_other(headers, context, reason):
    assert given({**GRE, **headers}, **context) == {(A, A, Reason.BRIDGED): 1, (UNDERLAY, X, reason): 1}


def test_the_mtu_is_the_underlays():
    model = board(LinkTables({1: tunnel(A, GRE)}), bridge(A, [1], vid=1), underlay())
    for mtu, reason in (len(INNER) + 28, Reason.FORWARDED), (len(INNER) + 27, Reason.PUNT_MTU):
        model.tables.write(Table.ADJACENCY, UNDERLAY, 0, adjacency_row(AdjacencyKind.FORWARD, UNDERLAY, 5, mtu))
        model.receive(A, INNER)
        assert counted(model)[UNDERLAY, X, reason] == 1


def test_a_given_packet_has_no_addresses_of_its_own():
    _, outputs = sent({**GRE, "ttl": 1}, INNER)
    punt = HostFrame.from_bytes(outputs[0].frame)
    assert punt.payload[:14] == bytes(12) + b"\x08\x00" and punt.tci == 0
    assert (punt.router, punt.port, punt.reason) == (UNDERLAY, X, Reason.PUNT_TTL)


# Out of a tunnel

ENDS = {(UNDERLAY, 0, 0xA1B2C3D4, REMOTE): 7, (UNDERLAY, 1, 0x123456, REMOTE): 7}
GOOD = {"src": "198.51.100.7", "dst": "192.0.2.1"}
TO_END = (UNDERLAY, UNDERLAY, Reason.FORWARDED)


def gre(*, ip: dict | None = None, inner: bytes = INNER, **fields):
    header = Gre(**{"key_present": 1, "key": 0xA1B2C3D4, "proto": 0x6558, **fields})
    return IP(**{**GOOD, **(ip or {})}) / header / inner


def vxlan(*, ip: dict | None = None, udp: dict | None = None, inner: bytes = INNER, **fields):
    return (IP(**{**GOOD, **(ip or {})}) / UDP(**{"sport": 7, "dport": 4789, **(udp or {})})
            / Vxlan(**{"flags": 8, "vni": 0x123456, **fields}) / inner)


def received(packet, *setups: RouterSetup, trailer: bytes = b"") -> tuple[GoldenModel, list]:
    """A packet comes to the underlay's wire."""
    model = board(LinkTables({}, ENDS), underlay(), *(setups or (vnic(7),)))
    return model, model.receive(UNDERLAY, bytes(Ether(dst="02:00:00:00:03:03") / packet) + trailer)


@pytest.mark.parametrize("packet", [
    gre(), vxlan(), gre(ip={"tos": 3, "ttl": 1, "id": 9, "flags": 0}), vxlan(udp={"chksum": 1}), vxlan(udp={"len": 5}),
    gre(recursion_control=3, flags=31), gre(inner=INNER + bytes(1390)),
    IP(**GOOD) / UDP(sport=7, dport=4789) / bytes.fromhex("ffabcdef12345677") / INNER,
], ids=lambda packet: packet.summary())
def test_the_inner_frame_comes_in_on_its_circuit(packet):
    model, (output,) = received(packet, trailer=b"padding")
    punt = HostFrame.from_bytes(output.frame)
    assert (punt.router, punt.port, punt.reason, punt.tci) == (VNIC, X, Reason.PUNT_LOCAL, 7)
    assert punt.payload == bytes(packet.lastlayer())
    assert counted(model) == {TO_END: 1, (VNIC, X, Reason.PUNT_LOCAL): 1}


def test_the_priority_is_zero_and_an_inner_tag_is_data():
    inner = with_tag(INNER, 0xE005)
    _, (output,) = received(gre(inner=inner))
    punt = HostFrame.from_bytes(output.frame)
    assert punt.tci == 7 and punt.payload == inner


@pytest.mark.parametrize("packet", [
    gre(key=0xA1B2C3D5), gre(ip={"src": "198.51.100.8"}), vxlan(vni=0x123457), vxlan(ip={"src": "198.51.100.6"}),
    gre(key=0x123456), gre(ip={"dst": "192.0.2.1", "src": "192.0.2.1"}),
], ids=lambda packet: packet.summary())
def test_who_is_not_a_member_reaches_nobody(packet):
    model, outputs = received(packet)
    assert outputs == [] and counted(model) == {TO_END: 1, (UNDERLAY, X, Reason.DROP_NO_ROUTER): 1}


def test_a_second_tag_names_no_circuit():
    """A bridge's frame that leaves without a tag of its own; what it carries is data."""
    model = board(LinkTables({1: direct(A, 7)}), bridge(A, []), vnic(7))
    inner = with_tag(INNER, 1)
    assert model.receive(A, with_tag(inner, 0xE000)) == []
    assert counted(model) == {(A, A, Reason.BRIDGED): 1, (A, X, Reason.DROP_MALFORMED): 1}


def test_an_end_is_one_routers():
    """The same packet through another router with the same addresses."""
    other = bridge(A, [], mode=RouterMode.SWITCHED, filter_size=1)
    other.rules = [FilterRule({}, {}, {"action": FilterAction.SEND, "ports": 1 << X})]
    model = board(LinkTables({}, ENDS), underlay(), other, vnic(7))
    assert model.receive(A, bytes(Ether(dst="02:00:00:00:03:03") / gre())) == []
    assert counted(model) == {(A, A, Reason.SWITCHED): 1, (A, X, Reason.DROP_NO_ROUTER): 1}


@pytest.mark.parametrize("packet", [
    gre(proto=0x0800), gre(proto=0x86DD), gre(key_present=0, key=None), gre(version=1),
    gre(chksum_present=1), gre(routing_present=1), gre(seqnum_present=1), gre(strict_route_source=1),
    gre(recursion_control=4), gre(ip={"flags": "MF"}), gre(ip={"frag": 1}), gre(inner=INNER[:13]),
    vxlan(inner=INNER[:13]),
    gre(inner=b""), vxlan(flags=0xF7), vxlan(flags=0), IP(**GOOD, proto=47) / b"\x20", IP(**GOOD, proto=47),
    IP(**GOOD) / UDP(dport=4789), IP(**GOOD) / UDP(dport=4789) / b"\x08",
], ids=lambda packet: packet.summary())
def test_headers_that_are_not_good(packet):
    model, outputs = received(packet)
    assert outputs == [] and counted(model) == {TO_END: 1, (UNDERLAY, X, Reason.DROP_MALFORMED): 1}


@pytest.mark.parametrize("packet", [
    gre(ip={"options": [IPOption_NOP()] * 4}), gre(ip={"version": 6, "ihl": 5}), gre(ip={"len": 1000}),
    gre(ip={"proto": 50}), vxlan(udp={"dport": 4790}), gre(ip={"ihl": 4}), gre(ip={"proto": 6}),
], ids=lambda packet: packet.summary())
def test_what_comes_there_by_a_rule_is_looked_at_too(packet):
    router = underlay(mode=RouterMode.SWITCHED, filter_size=1)
    router.rules = [FilterRule({}, {}, {"action": FilterAction.SEND, "ports": 1 << X})]
    model = board(LinkTables({}, ENDS), router, vnic(7))
    for frame in bytes(Ether(dst="02:00:00:00:03:03") / packet), bytes(12) + b"\x08\x00", bytes(12) + b"\x86\xdd" * 40:
        model.counters.clear()
        assert model.receive(UNDERLAY, bytes.fromhex("020000000303") + frame[6:]) == []
        assert counted(model) == {(UNDERLAY, UNDERLAY, Reason.SWITCHED): 1, (UNDERLAY, X, Reason.DROP_MALFORMED): 1}


@pytest.mark.parametrize(("packet", "context", "reason"), [
    (gre(), {"tunnels": 0}, Reason.PUNT_LOCAL), (vxlan(), {"ports": 1 << UNDERLAY}, Reason.PUNT_LOCAL),
    (vxlan(udp={"dport": 4790}), {}, Reason.PUNT_LOCAL), (gre(ip={"chksum": 1}), {}, Reason.PUNT_LOCAL),
    (gre(ip={"options": [IPOption_NOP()] * 4}), {}, Reason.PUNT_LOCAL),
    (IP(**GOOD) / TCP(dport=4789), {}, Reason.PUNT_LOCAL),
    (vxlan(ip={"flags": "MF"}), {}, Reason.PUNT_LOCAL), (vxlan(ip={"frag": 5}), {}, Reason.PUNT_LOCAL),
    (IP(**GOOD, proto=17), {}, Reason.PUNT_LOCAL), (gre(ip={"dst": "198.51.100.9", "ttl": 1}), {}, Reason.PUNT_TTL),
    (IP(**GOOD) / UDP(sport=4789, dport=53), {}, Reason.PUNT_LOCAL),
], ids=lambda value: value.summary() if isinstance(value, IP) else str(value))
def test_what_is_the_end_of_a_tunnel(packet, context, reason):
    model = board(LinkTables({}, ENDS), underlay(**context), vnic(7))
    model.receive(UNDERLAY, bytes(Ether(dst="02:00:00:00:03:03") / packet))
    assert counted(model) == {(UNDERLAY, UNDERLAY, reason): 1}


def test_the_packet_has_no_tag_whatever_the_ports_vlan_and_rules_say():
    router = underlay(filter_size=1)
    router.vids = {X: 9}
    router.rules = [FilterRule({}, {}, {"set_vid": 1, "vid": 9, "set_pcp": 1, "pcp": 7, "mirror": 1})]
    model, outputs = received(gre(), router, vnic(7))
    assert counted(model) == {TO_END: 1, (UNDERLAY, UNDERLAY, Reason.PUNT_MIRROR): 1, (VNIC, X, Reason.PUNT_LOCAL): 1}
    # Unchanged, TTL included
    assert HostFrame.from_bytes(outputs[0].frame).payload == bytes(Ether(dst="02:00:00:00:03:03") / gre())


def test_from_end_to_end():
    """Bridge A's tunnel ends where it begins: at the underlay's router."""
    headers = {**VXLAN, "destination": 0xC0000201, "source": REMOTE, "ttl": 1}
    model = board(LinkTables({1: tunnel(A, headers)}, ENDS), bridge(A, [1], vid=1), underlay(), vnic(7))
    (output,) = model.receive(A, INNER)
    assert HostFrame.from_bytes(output.frame).payload == INNER
    assert counted(model) == {(A, A, Reason.BRIDGED): 1, (UNDERLAY, X, Reason.FORWARDED): 1,
                              (VNIC, X, Reason.PUNT_LOCAL): 1}
    assert [hop.router for hop in output.path] == [A, UNDERLAY]


def test_a_circuit_without_an_owner_takes_nothing_out_of_a_tunnel():
    model = board(LinkTables({5: direct(VNIC, 1)}, {(UNDERLAY, 0, 0xA1B2C3D4, REMOTE): 5}), underlay(), vnic(7))
    assert model.receive(UNDERLAY, bytes(Ether(dst="02:00:00:00:03:03") / gre())) == []
    assert counted(model) == {TO_END: 1, (NONE, X, Reason.DROP_NO_ROUTER): 1}


def test_an_injected_frame_without_a_tag_is_taken_for_a_packet():
    model = board(LinkTables({}, ENDS), underlay(), vnic(7))
    (output,) = inject(model, UNDERLAY, bytes(Ether(dst="02:00:00:00:00:01") / gre()))
    assert HostFrame.from_bytes(output.frame).payload == INNER
    assert inject(model, UNDERLAY, ethernet(EVERYONE, STATION, 0x0806, bytes(46))) == []
    assert counted(model)[UNDERLAY, X, Reason.DROP_MALFORMED] == 1
    assert inject(model, UNDERLAY, bytes(Ether() / Dot1Q(vlan=0) / gre())) == []
    assert counted(model)[UNDERLAY, X, Reason.DROP_FAULT] == 1
