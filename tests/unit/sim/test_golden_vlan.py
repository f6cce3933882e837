"""802.1Q tags, VLANs in the VMAC-VE, segments, and group delivery by VLAN."""

import pytest
from polyrouter.hdl.layouts import AdjacencyKind, Reason, RouterMode, Table, TrafficClass
from polyrouter.sim.golden_packet import Frame, parse
from polyrouter.sim.golden_tables import Tables, toeplitz_keys, vmac_hash, vmac_key
from polyrouter.sim.host_frames import HostFrame
from polyrouter.sim.packets import ethernet, ipv4, with_tag
from polyrouter.sim.tablegen import Route, RouterSetup, adjacency_row, fib_image
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether

from .board import CONFIG, HOST, OWN, load, make, moved, plain, receive, vmacs

HOST_PORT = CONFIG.host_port
EVERYONE = "ff:ff:ff:ff:ff:ff"
OWN_MAC = int(OWN.replace(":", ""), 16)


def setup(**fields) -> RouterSetup:
    """Router 1, on all ports; on port 2 in VLAN 7, on port 3 in VLAN 9; 13.0.0.0/8 leaves by 3, 11.0.0.0/8 by 1."""
    context = {"enable": 1, "ports": 15, "group": 15, "fib_base": 512, "fib_size": 512, "adj_base": 32, "adj_size": 32,
               **fields.pop("context", {})}
    return RouterSetup(1, context, own={port: 0x020000000100 | port for port in range(4)}, vids={2: 7, 3: 9},
                       adjacencies=[adjacency_row(AdjacencyKind.FORWARD, 3, 0x060000000103),
                                    adjacency_row(AdjacencyKind.FORWARD, 1, 0x060000000101)], **fields)


def model_of(router: RouterSetup):
    model = make(router)
    load(model, fib_image([Route(13 << 24, 8, 0), Route(11 << 24, 8, 1)]).writes(1))
    return model


def packet(destination: str = "13.0.0.1"):
    return IP(dst=destination, ttl=9) / UDP(sport=1, dport=2) / bytes(30)


def test_a_tag_is_seen_from_18_bytes_on():
    head = bytes(12) + bytes.fromhex("8100e0070806")
    assert parse(0, head) == Frame(0, bytes(12) + b"\x08\x06", 0xE007, 18, None)
    assert parse(0, head[:17]).tci is None and parse(0, head[:17]).ethertype == 0x8100
    double = parse(0, with_tag(with_tag(ethernet(0, 0, 0x0800, ipv4(0, 0, b"")), 5), 6))
    assert double.tci == 6 and double.ethertype == 0x8100 and double.packet is None


def test_ip_lengths_are_compared_with_the_frame_without_its_tag():
    whole = bytes(Ether() / packet())
    assert parse(0, with_tag(whole, 1)).packet.whole
    assert not parse(0, with_tag(whole[:-1], 1)).packet.whole


@pytest.mark.parametrize(("tag", "reason"), [
    ((), Reason.DROP_NO_ROUTER), ((Dot1Q(vlan=7),), Reason.FORWARDED),
    ((Dot1Q(vlan=7, prio=3, dei=1),), Reason.FORWARDED),
    ((Dot1Q(vlan=8),), Reason.DROP_NO_ROUTER), ((Dot1Q(vlan=0),), Reason.DROP_NO_ROUTER),
    ((Dot1Q(vlan=7), Dot1Q(vlan=7)), Reason.PUNT_NOT_IP),
])
def test_own_address_is_one_in_its_vlan(tag, reason):
    frame = Ether(dst=OWN)
    for part in tag:
        frame /= part
    _, key = receive(model_of(setup()), frame / packet())
    assert key[2] == reason


def test_egress_tag_is_the_ports_vlan_with_the_frames_priority():
    model = model_of(setup())
    for prio in 0, 5:
        outputs, key = receive(model, Ether(dst=OWN) / Dot1Q(vlan=7, prio=prio, dei=1) / packet())
        sent = Ether(dst="06:00:00:00:01:03", src="02:00:00:00:01:03") / Dot1Q(vlan=9, prio=prio) / packet()
        sent[IP].ttl = 8
        assert plain(outputs) == [(3, bytes(sent), key)]
    outputs, key = receive(model, Ether(dst=OWN) / Dot1Q(vlan=7, prio=5) / packet("11.0.0.1"))
    sent = Ether(dst="06:00:00:00:01:01", src="02:00:00:00:01:01") / packet("11.0.0.1")
    sent[IP].ttl = 8
    assert plain(outputs) == [(1, bytes(sent), key)]


def test_priority_tagged_frames_are_those_of_no_vlan():
    outputs, key = receive(model_of(setup()), Ether(dst="02:00:00:00:01:00") / Dot1Q(vlan=0, prio=6) / packet(), port=0)
    assert key == (1, 0, Reason.FORWARDED) and Ether(outputs[0].frame)[Dot1Q].prio == 6


def test_punted_frames_have_their_tag_in_the_header():
    model = model_of(setup())
    for tag, tci in (Dot1Q(vlan=7, prio=5, dei=1), 0xB007), (Dot1Q(vlan=7), 7):
        outputs, _ = receive(model, Ether(dst=OWN) / tag / ARP())
        punted = HostFrame.from_bytes(outputs[0].frame)
        assert punted.tci == tci and punted.payload == bytes(Ether(dst=OWN) / ARP())
        assert punted.length == len(punted.payload)
    outputs, _ = receive(model, Ether(dst="02:00:00:00:01:00") / ARP(), port=0)
    assert HostFrame.from_bytes(outputs[0].frame).tci == 0


def test_injected_frames_get_the_ports_tag_or_keep_their_own():
    model = model_of(setup())
    frame = bytes(Ether(dst="0a:00:00:00:00:09") / packet())
    for port, sent, given in (3, with_tag(frame, 9), frame), (1, frame, frame), (3, with_tag(frame, 0xFFFF),
                                                                                 with_tag(frame, 0xFFFF)):
        outputs = model.host_receive(HostFrame.inject(1, port, given, source=HOST).to_bytes())
        assert plain(outputs) == [(port, sent, (1, HOST_PORT, Reason.INJECTED))]
        assert outputs[0].traffic_class == TrafficClass.CONTROL


@pytest.mark.parametrize(("vid", "routers"), [(0, []), (7, [1]), (8, [])])
def test_group_frames_go_to_the_routers_of_the_vlan(vid, routers):
    model = model_of(setup())
    frame = Ether(dst=EVERYONE) / Dot1Q(vlan=vid) / ARP()
    outputs, counters = moved(model, lambda: model.receive(2, bytes(frame)))
    assert [HostFrame.from_bytes(output.frame).router for output in outputs] == routers
    assert all(output.replicated and output.traffic_class == TrafficClass.CONTROL for output in outputs)
    assert counters == ({(1, 2, Reason.PUNT_GROUP): 1} if routers else {(2, 2, Reason.DROP_NO_ROUTER): 1})


def two(owner: RouterSetup, *, segment: tuple[int, int] = (2, 7)):
    """Router 1 as above, and router 0, which has a segment."""
    owner.segments = [segment]
    model = model_of(setup())
    load(model, owner.writes(CONFIG))
    vmacs(model, setup(), owner)
    return model


def test_group_frames_of_a_segment_go_to_its_router_alone():
    owner = RouterSetup(0, {"enable": 1, "ports": 15, "group": 15}, own={}, vids={2: 7})
    for segment, receivers in ((2, 7), []), ((2, 8), [1]), ((1, 7), [1]):
        model = two(owner, segment=segment)
        outputs = model.receive(2, bytes(Ether(dst=EVERYONE) / Dot1Q(vlan=7) / ARP()))
        assert [HostFrame.from_bytes(output.frame).router for output in outputs] == receivers
    # It has no MAC address, hence no row of the port table, and so is in no VLAN there
    owner.own = {2: 0x020000000002}
    model = two(owner)
    outputs = model.receive(2, bytes(Ether(dst=EVERYONE) / Dot1Q(vlan=7) / ARP()))
    assert [HostFrame.from_bytes(output.frame).router for output in outputs] == [0]


@pytest.mark.parametrize(("context", "reason", "counted"), [
    ({}, Reason.DROP_NO_ROUTER, 2),                             # routed, but not to its own address
    ({"mode": RouterMode.SWITCHED}, Reason.DROP_FILTER, 0),
    ({"mode": RouterMode.BRIDGED}, Reason.BRIDGED, 0),
    ({"mode": 3}, Reason.DROP_DISABLED, 0), ({"enable": 0}, Reason.DROP_DISABLED, 0),
    ({"ports": 11}, Reason.DROP_DISABLED, 0),
    ({"mode": RouterMode.SWITCHED, "guard": 4}, Reason.DROP_SOURCE, 0),
    ({"guard": 4}, Reason.DROP_NO_ROUTER, 2),
])
def test_segment_takes_all_that_is_no_routers_own(context, reason, counted):
    model = two(RouterSetup(0, {"enable": 1, "ports": 7, **context}))
    stranger = Ether(dst="00:11:22:33:44:55") / Dot1Q(vlan=7) / packet()
    _, counters = moved(model, lambda: model.receive(2, bytes(stranger)))
    assert set(counters) == {(counted, 2, reason)}
    # What is another router's own address goes to that one
    assert receive(model, Ether(dst=OWN) / Dot1Q(vlan=7) / packet())[1] == (1, 2, Reason.FORWARDED)


def test_peer_decides_before_the_segment_about_group_frames():
    owner = RouterSetup(0, {"enable": 1, "ports": 15, "mode": RouterMode.BRIDGED})
    frame = Ether(dst=EVERYONE, src="06:00:00:00:00:77") / Dot1Q(vlan=7) / ARP()
    model = two(owner)
    assert {output.event[2] for output in model.receive(2, bytes(frame))} == {Reason.BRIDGED}
    peer = setup(peers={2: [0x060000000077]})
    vmacs(model, peer, owner)
    # It is the peer of a routed router, whose group delivery the segment forbids
    assert receive(model, frame)[1] == (2, 2, Reason.DROP_NO_ROUTER)


def test_segment_needs_admission_for_group_frames():
    model = two(RouterSetup(0, {"enable": 1, "ports": 15, "guard": 4, "mode": RouterMode.BRIDGED}))
    frame = Ether(dst=EVERYONE) / Dot1Q(vlan=7) / ARP()
    assert receive(model, frame)[1] == (2, 2, Reason.DROP_NO_ROUTER)


def test_hash_keys_are_both_seeds_in_either_order():
    first, second = toeplitz_keys((1, 1 << 63))
    assert first == 1 | 1 << 127 and second == 1 << 63 | 1 << 64
    # Bit 64 of the key, the lowest of the role, meets the second half
    assert vmac_hash(first, 1 << 64, 16) == 0 and vmac_hash(second, 1 << 64, 16) == 1
    assert vmac_hash(0b1100, 0b101, 4) == 0b1100 ^ 0b11
    assert vmac_key(1, 2, 1, 3) == 1 | 2 << 48 | 3 << 52 | 1 << 64


def test_unknown_role_and_slots_of_no_router_match_nothing():
    tables = Tables(CONFIG)
    assert tables.vmac(0, 0, 0) is None
    key = vmac_key(OWN_MAC, 2, 3, 7)
    for router, found in (1, True), (2, False):
        for row in range(CONFIG.vmac_slots):
            tables.write(Table.VMAC, 0, row, key | 1 << 66 | router << 67)
        assert (tables.vmac(OWN_MAC, 2, 3, 7) is not None) == found
        assert tables.vmac(OWN_MAC, 2, 0, 7) is tables.vmac(OWN_MAC, 2, 3, 6) is tables.vmac(OWN_MAC, 1, 3, 7) is None
