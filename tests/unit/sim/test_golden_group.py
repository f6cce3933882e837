"""IP multicast through the second trie, and adjacencies that stand for several."""

from ipaddress import IPv4Address
from random import Random

import pytest
from polyrouter.hdl.layouts import (
    ADJACENCY_ECMP,
    ADJACENCY_MULTICAST,
    AdjacencyKind,
    Reason,
    Table,
    TrafficClass,
    pack,
)
from polyrouter.sim.golden_packet import parse
from polyrouter.sim.golden_tables import vmac_hash
from polyrouter.sim.host_frames import HostFrame
from polyrouter.sim.random_tables import relocated
from polyrouter.sim.tablegen import IPV6_ROOT, FibImage, Route, RouterSetup, adjacency_row, fib_image
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Ether

from .board import CONFIG, OWN, load, make, moved, receive, update

GROUP, ANY_GROUP, GROUP6 = 0xE8010203, 0xE9000000, 0xFF0E << 112 | 7
K = AdjacencyKind


def group(port: int = 2, ports: int = 0b1011, host: int = 0, mtu: int = 1500, kind: int = K.MULTICAST) -> int:
    return pack(ADJACENCY_MULTICAST, {"kind": kind, "port": port, "ports": ports, "host": host, "mtu": mtu})


def setup(**context: int) -> RouterSetup:
    """Router 1, with peers on port 2; adjacency 0 is the one of GROUP from 10.0.0.0/8, 1 that from anywhere."""
    return RouterSetup(1, {"enable": 1, "ports": 15, "group": 15, "multicast": 1, "fib_base": 512, "fib_size": 512,
                           "adj_base": 32, "adj_size": 32, **context},
                       own={port: 0x020000000100 | port for port in range(4)},
                       peers={port: [0x060000000100 | port] for port in range(4)},
                       adjacencies=[group(), adjacency_row(K.LOCAL), group(ports=0b1000, host=1)])


def model_of(router: RouterSetup | None = None):
    """GROUP has an (S,G) and a (*,G) entry, ANY_GROUP an (S,G) only, GROUP6 likewise."""
    router = router or setup()
    words: list[int] = []
    routes = []
    for address, sources, ipv6 in (
        (GROUP, [Route(10 << 24, 8, 0), Route(0, 0, 1)], False), (ANY_GROUP, [Route(10 << 24, 8, 2)], False),
        (GROUP6, [Route(0xFD << 120, 8, 0, True)], True),
    ):
        routes.append(Route(address, 128 if ipv6 else 32, len(words) + IPV6_ROOT * ipv6, ipv6))
        words += relocated(fib_image(sources).words, len(words))
    root = len(words)
    words += relocated(fib_image(routes).words, root)
    router.context |= {"ipv4_root": root, "ipv6_root": root + IPV6_ROOT}
    model = make(router)
    load(model, FibImage(words).writes(1))
    return model


def packet(**fields):
    return (Ether(dst="01:00:5e:01:02:03", src="06:00:00:00:01:02")
            / IP(**{"src": "10.0.0.1", "dst": "232.1.2.3", "ttl": 9, **fields}) / UDP(sport=1) / bytes(30))


def packet6(**fields):
    return (Ether(dst="33:33:00:00:00:07", src="06:00:00:00:01:02")
            / IPv6(**{"src": "fd00::1", "dst": "ff0e::7", "hlim": 9, **fields}) / UDP(sport=1) / bytes(30))


def test_copies_have_new_ttl_and_source_but_the_same_destination():
    for frame in packet(), packet6():
        model = model_of()
        outputs, counters = moved(model, lambda frame=frame, model=model: model.receive(2, bytes(frame)))
        assert counters == {(1, 2, Reason.FORWARDED): 3}
        assert [output.port for output in outputs] == [0, 1, 3]
        for output in outputs:
            sent = frame.copy()
            sent.src = f"02:00:00:00:01:{output.port:02x}"
            if IP in sent:
                sent.ttl = 8
            else:
                sent[IPv6].hlim = 8
            assert output.frame == bytes(sent)


def test_host_has_a_copy_of_what_is_stored():
    frame = packet(dst="233.0.0.0")
    frame.dst = "01:00:5e:00:00:00"
    model = model_of()
    outputs, counters = moved(model, lambda: model.receive(2, bytes(frame)))
    assert counters == {(1, 2, Reason.FORWARDED): 1, (1, 2, Reason.PUNT_GROUP): 1}
    assert [(output.port, *output[3:5]) for output in outputs] == [(3, TrafficClass.NORMAL, False), (4, 0, False)]
    frame.ttl = 8
    assert HostFrame.from_bytes(outputs[1].frame).payload == bytes(frame)
    # Without any data port the frame is as it came
    update(model, setup(ipv4_root=model.tables.context(1).ipv4_root), ports=0b0111)
    outputs, key = receive(model, frame)
    assert key[2] == Reason.PUNT_GROUP and HostFrame.from_bytes(outputs[0].frame).payload == bytes(frame)


@pytest.mark.parametrize(("frame", "reason"), [
    (packet(len=900), Reason.DROP_MALFORMED), (packet(ttl=1), Reason.PUNT_TTL),
    (packet(options=[IPOption_Router_Alert()]), Reason.PUNT_OPTIONS), (packet(chksum=1), Reason.DROP_CHECKSUM),
    (packet(src="11.0.0.1"), Reason.PUNT_GROUP),                    # (*,G), which is LOCAL
    (packet(dst="233.0.0.0", src="11.0.0.1"), Reason.PUNT_GROUP),   # no source
    (packet(dst="234.0.0.0"), Reason.PUNT_GROUP),                   # no group
    (packet6(hlim=1), Reason.PUNT_TTL), (packet6(src="fe80::1"), Reason.DROP_FAULT),
    (packet6(dst="ff0e::8"), Reason.PUNT_GROUP), (packet6(plen=200), Reason.DROP_MALFORMED),
    (Ether(dst="33:33:00:00:00:07", src="06:00:00:00:01:02") / IPv6(src="fd00::1", dst="ff0e::7")
     / IPv6ExtHdrHopByHop(), Reason.PUNT_OPTIONS),
])
def test_decisions(frame, reason):
    outputs, key = receive(model_of(), frame)
    assert key == (1, 2, reason)
    assert all(output.traffic_class == (reason == Reason.PUNT_GROUP) and not output.replicated for output in outputs)


@pytest.mark.parametrize(("row", "reason"), [
    (group(port=3), Reason.DROP_RPF), (group(mtu=57), Reason.PUNT_MTU), (group(mtu=58), Reason.FORWARDED),
    (group(ports=0b0100), Reason.DROP_NO_PORT), (group(ports=0xF0), Reason.DROP_NO_PORT),
    (group(ports=0, host=1), Reason.PUNT_GROUP), (group(kind=K.UNREACHABLE), Reason.PUNT_GROUP),
    (group(kind=K.BLACKHOLE), Reason.DROP_BLACKHOLE), (group(kind=K.FORWARD), Reason.DROP_FAULT),
    (group(kind=K.UNRESOLVED), Reason.DROP_FAULT), (group(kind=K.INVALID), Reason.DROP_FAULT),
    (pack(ADJACENCY_ECMP, {"kind": K.ECMP, "first": 2, "count": 1}), Reason.DROP_FAULT),
])
def test_adjacencies(row, reason):
    model = model_of(setup(ports=0xFF))
    model.tables.write(Table.ADJACENCY, 1, 0, row)
    _, counters = moved(model, lambda: model.receive(2, bytes(packet())))
    assert {key[2] for key in counters} == {reason}


@pytest.mark.parametrize("change", [{"fib_size": 1}, {"adj_size": 0}, {"adj_base": CONFIG.adjacencies}])
def test_windows(change):
    model = model_of()
    update(model, setup(ipv4_root=model.tables.context(1).ipv4_root), **change)
    assert receive(model, packet())[1][2] == Reason.DROP_FAULT


@pytest.mark.parametrize(("change", "frame", "port"), [
    ({}, packet(dst="224.0.0.5"), 2), ({}, packet6(dst="ff02::5"), 2), ({"multicast": 0}, packet(), 2),
    ({}, packet(dst="10.0.0.1"), 2), ({}, packet(version=5), 2), ({}, packet6(dst="fd00::1"), 2),
    ({}, Ether(dst="01:00:5e:01:02:03", src="06:00:00:00:01:02") / ARP(), 2),
    ({}, Ether(dst="01:00:5e:01:02:03", src="06:00:00:00:00:99") / packet()[IP], 2),    # no peer, no segment
])
def test_what_is_no_ip_multicast_is_delivered_as_a_group_frame(change, frame, port):
    outputs, key = receive(model_of(setup(**change)), frame, port)
    assert key == (1, 2, Reason.PUNT_GROUP) and outputs[0].replicated
    assert outputs[0].traffic_class == TrafficClass.CONTROL


@pytest.mark.parametrize(("address", "multicast"), [
    ("223.255.255.255", False), ("224.0.0.255", False), ("224.0.1.0", True), ("239.255.255.255", True),
    ("240.0.0.0", False), ("ff00::1", False), ("ff02::1", False), ("ff12::1", False), ("ff03::1", True),
    ("ff0e::1", True), ("fe0e::1", False),
])
def test_ip_multicast_addresses(address, multicast):
    frame = Ether() / (IPv6(dst=address) if ":" in address else IP(dst=address)) / UDP()
    assert parse(0, bytes(frame)).packet.multicast == multicast


def test_multicast_address_behind_an_own_address_is_routed_as_unicast():
    frame = packet()
    frame.dst = OWN
    model = model_of()
    root = model.tables.route(model.tables.context(1), GROUP)
    # The group's root row is taken as an adjacency
    assert root == 0
    assert receive(model, frame)[1][2] == Reason.DROP_FAULT


def test_relocated_tries_route_as_before():
    rng = Random(5)
    routes = [Route(rng.getrandbits(32) & 0xFFFFFF00, 24, number) for number in range(20)]
    image, model = fib_image(routes, rng).words, make(RouterSetup(0, {"fib_size": 400, "ipv4_root": 100}))
    load(model, FibImage([0] * 100 + relocated(image, 100)).writes(0))
    for route in routes:
        assert model.tables.route(model.tables.context(0), route.prefix | 77) == route.adjacency


def ecmp(first: int, count: int) -> int:
    return pack(ADJACENCY_ECMP, {"kind": K.ECMP, "first": first, "count": count})


def ecmp_model(row: int, **context: int):
    router = setup(ecmp_seed=0x0123456789ABCDEF0123456789AB, **context)
    router.adjacencies = [row] + [adjacency_row(K.FORWARD, port % 4, 0x0A0000000000 | port) for port in range(1, 6)]
    model = make(router)
    load(model, fib_image([Route(13 << 24, 8, 0), Route(0xFD << 120, 8, 0, True)]).writes(1))
    return model


def flow(source: int, l4=None):
    return Ether(dst=OWN) / IP(src=str(IPv4Address(source)), dst="13.0.0.1") / (l4 or UDP(sport=7, dport=9)) / bytes(20)


def test_member_is_chosen_by_the_flow_hash():
    model = ecmp_model(ecmp(2, 3))
    seed, chosen = model.tables.context(1).ecmp_seed, set()
    for source in range(1, 200):
        key = 9 | 7 << 16 | 0x0D000001 << 32 | source << 64
        member = 2 + (vmac_hash(seed, key, 16) * 3 >> 16)
        outputs, _ = receive(model, flow(source))
        assert (outputs[0].port, outputs[0].frame[5]) == (member % 4, member)
        chosen.add(member)
    assert chosen == {2, 3, 4}


def test_flow_key_has_folded_ipv6_addresses_and_icmp_types():
    def key(frame) -> int:
        return parse(0, bytes(frame)).packet.flow_key

    assert key(flow(5, ICMP(type=8, code=3))) == 3 | 8 << 16 | 0x0D000001 << 32 | 5 << 64
    frame = Ether() / IPv6(src="1:2:3:4:5:6:7:8", dst="::1:0:0:0:3") / TCP(sport=2, dport=1)
    source = 0x10002 ^ 0x30004 ^ 0x50006 ^ 0x70008
    assert key(frame) == 1 | 2 << 16 | (3 ^ 1) << 32 | source << 64


@pytest.mark.parametrize(("row", "reason"), [
    (ecmp(2, 0), Reason.DROP_FAULT), (ecmp(0, 1), Reason.DROP_FAULT), (ecmp(32, 1), Reason.DROP_FAULT),
    (ecmp(2, 1), Reason.FORWARDED), (ecmp(9, 1), Reason.DROP_FAULT), (ecmp((1 << 18) - 1, 4095), Reason.DROP_FAULT),
])
def test_broken_groups(row, reason):
    assert receive(ecmp_model(row), flow(1))[1][2] == reason


@pytest.mark.parametrize(("kind", "reason"), [
    (K.LOCAL, Reason.PUNT_LOCAL), (K.BLACKHOLE, Reason.DROP_BLACKHOLE), (K.UNRESOLVED, Reason.PUNT_UNRESOLVED),
    (K.MULTICAST, Reason.DROP_FAULT), (K.UNREACHABLE, Reason.PUNT_NO_ROUTE),
])
def test_member_may_be_of_any_kind_but_a_group(kind, reason):
    model = ecmp_model(ecmp(5, 1))
    model.tables.write(Table.ADJACENCY, 1, 5, adjacency_row(kind))
    assert receive(model, flow(1))[1][2] == reason
