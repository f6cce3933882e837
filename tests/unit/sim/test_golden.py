"""Golden model against frames that scapy builds, and against a plain longest-prefix match."""

from random import Random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    AdjacencyKind,
    HostFrameType,
    Reason,
    Role,
    RxError,
    Table,
)
from polyrouter.sim.golden import GoldenModel, update_checksum
from polyrouter.sim.golden_tables import RouteFault
from polyrouter.sim.host_frames import BOARD_MAC, BROADCAST, HostFrame
from polyrouter.sim.tablegen import Route, RouterSetup, VmacTable, adjacency_row, fib_image, simple_scenario
from scapy.layers.inet import IP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import ICMPv6ND_NS, IPv6, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Ether

from .board import CONFIG, HOST, NEIGHBOUR, OWN, load, plain, receive, update


@pytest.fixture
def scenario():
    return simple_scenario(CONFIG, mtu=1500)


@pytest.fixture
def model(scenario) -> GoldenModel:
    model = GoldenModel(CONFIG)
    load(model, scenario.writes)
    return model


def packet(**fields):
    return IP(**{"src": "192.0.2.1", "dst": "13.1.2.3", **fields}) / UDP(sport=1, dport=2) / b"payload of a datagram"


def test_forwards_with_new_addresses_ttl_and_checksum(model):
    outputs, key = receive(model, Ether(dst=OWN, src="0a:00:00:00:00:09") / packet() / b"trailer")
    assert key == (1, 2, Reason.FORWARDED)
    expected = Ether(dst=NEIGHBOUR, src="02:00:00:00:01:03") / packet(ttl=63) / b"trailer"
    assert plain(outputs) == [(3, bytes(expected), key)]


@pytest.mark.parametrize("ttl", [2, 64, 255])
def test_checksum_after_decrement_is_right_for_every_header(model, ttl):
    for identification in range(0, 65536, 257):
        outputs, _ = receive(model, Ether(dst=OWN) / packet(id=identification, ttl=ttl))
        header = IP(outputs[0].frame[14:34])
        given = header.chksum
        del header.chksum
        assert given == IP(bytes(header)).chksum


def test_forwards_ipv6_with_new_addresses_and_hop_limit(model):
    packet6 = IPv6(src="2001:db8::1", dst="fd0d::7", hlim=64, fl=5) / UDP(sport=1, dport=2) / bytes(100)
    outputs, key = receive(model, Ether(dst=OWN, src="0a:00:00:00:00:09") / packet6 / b"trailer")
    assert key == (1, 2, Reason.FORWARDED)
    packet6.hlim = 63
    assert plain(outputs) == [(3, bytes(Ether(dst=NEIGHBOUR, src="02:00:00:00:01:03") / packet6 / b"trailer"), key)]


def test_rfc_1624_example():
    # RFC 1624, section 4: equation 3 gives 0x0000 where RFC 1141 gave 0xFFFF
    assert update_checksum(0xDD2F, 0x5555, 0x3285) == 0x0000


@pytest.mark.parametrize(("frame", "reason"), [
    (Ether(dst=OWN) / packet(ttl=1), Reason.PUNT_TTL),
    (Ether(dst=OWN) / packet(ttl=0), Reason.PUNT_TTL),
    (Ether(dst=OWN) / packet(options=[IPOption_Router_Alert()]), Reason.PUNT_OPTIONS),
    (Ether(dst=OWN) / packet(options=[IPOption_Router_Alert()], ttl=1, chksum=1), Reason.PUNT_OPTIONS),
    (Ether(dst=OWN) / packet(dst="99.0.0.1"), Reason.PUNT_NO_ROUTE),
    (Ether(dst=OWN) / packet(ttl=1, dst="99.0.0.1", chksum=1), Reason.PUNT_TTL),
    (Ether(dst=OWN) / ARP(pdst="13.0.0.1"), Reason.PUNT_NOT_IP),
    (Ether(dst=OWN) / IPv6(dst="2001:db8::1") / UDP(), Reason.PUNT_NO_ROUTE),
    (Ether(dst=OWN) / IPv6(dst="fd0d::1", hlim=1) / UDP(), Reason.PUNT_TTL),
    (Ether(dst=OWN) / IPv6(dst="2001:db8::1", hlim=0) / UDP(), Reason.PUNT_TTL),
    (Ether(dst=OWN) / IPv6(dst="fd0d::1", hlim=1) / IPv6ExtHdrHopByHop() / UDP(), Reason.PUNT_OPTIONS),
    (Ether(dst=OWN) / IPv6(dst="fe80::1", hlim=255) / ICMPv6ND_NS(), Reason.PUNT_LOCAL),
    (Ether(dst=OWN) / IPv6(dst="febf::1", hlim=1) / UDP(), Reason.PUNT_LOCAL),
    (Ether(dst=OWN) / IPv6(src="fe80::1", dst="fd0d::1") / UDP(), Reason.PUNT_NO_ROUTE),
    (Ether(dst=OWN) / IPv6(dst="fd0d::1", version=4) / UDP(), Reason.DROP_MALFORMED),
    (Ether(dst=OWN) / IPv6(dst="fd0d::1", plen=9) / UDP(), Reason.DROP_MALFORMED),
    (bytes(Ether(dst=OWN) / IPv6(dst="fd0d::1", plen=0))[:53], Reason.DROP_MALFORMED),
    (Ether(dst="ff:ff:ff:ff:ff:ff") / ARP(pdst="13.0.0.1"), None),
    (Ether(dst=OWN) / packet(chksum=1), Reason.DROP_CHECKSUM),
    (Ether(dst=OWN) / packet(chksum=1, dst="99.0.0.1"), Reason.DROP_CHECKSUM),
    (Ether(dst=OWN) / packet(version=5), Reason.DROP_MALFORMED),
    (Ether(dst=OWN) / packet(ihl=4), Reason.DROP_MALFORMED),
    (Ether(dst=OWN) / packet(ihl=15), Reason.DROP_MALFORMED),
    (Ether(dst=OWN) / packet(len=1000), Reason.DROP_MALFORMED),
    (Ether(dst=OWN) / packet(len=19), Reason.DROP_MALFORMED),
    (bytes(Ether(dst=OWN) / packet())[:33], Reason.DROP_MALFORMED),
    (bytes(Ether(dst=OWN) / packet())[:14], Reason.DROP_MALFORMED),
])
def test_decisions(model, frame, reason):
    if reason is None:
        # Both routers ask for broadcast: a copy each, counted each
        outputs = model.receive(2, bytes(frame))
        assert [HostFrame.from_bytes(output.frame).router for output in outputs] == [0, 1]
        assert model.counters[0, 2, Reason.PUNT_GROUP] == model.counters[1, 2, Reason.PUNT_GROUP] == 1
        return
    outputs, key = receive(model, frame)
    assert key == (1, 2, reason)
    if reason.name.startswith("DROP"):
        assert outputs == []
        return
    ((port, punted, event),) = plain(outputs)
    host_frame = HostFrame.from_bytes(punted)
    assert port == CONFIG.host_port and event == key
    assert host_frame == HostFrame(HostFrameType.PUNT, bytes(frame), HOST, BOARD_MAC, router=1, port=2, reason=reason,
                                   length=len(bytes(frame)))


@pytest.mark.parametrize(("kind", "reason"), [
    (AdjacencyKind.INVALID, Reason.DROP_FAULT), (AdjacencyKind.LOCAL, Reason.PUNT_LOCAL),
    (AdjacencyKind.UNRESOLVED, Reason.PUNT_UNRESOLVED), (AdjacencyKind.BLACKHOLE, Reason.DROP_BLACKHOLE),
    (AdjacencyKind.UNREACHABLE, Reason.PUNT_NO_ROUTE), (AdjacencyKind.MULTICAST, Reason.DROP_FAULT),
    (AdjacencyKind.ECMP, Reason.DROP_FAULT),
])
def test_adjacency_kinds(model, scenario, kind, reason):
    model.tables.write(Table.ADJACENCY, 1, 3, adjacency_row(kind))
    assert receive(model, Ether(dst=OWN) / packet())[1] == (1, 2, reason)
    assert receive(model, Ether(dst=OWN) / packet(ttl=1, chksum=1))[1][2] == (
        Reason.PUNT_LOCAL if kind == AdjacencyKind.LOCAL else Reason.PUNT_TTL)


def test_mtu_is_of_the_packet(model):
    model.tables.write(Table.ADJACENCY, 1, 3, adjacency_row(AdjacencyKind.FORWARD, 3, 1, 100))
    for total, reason in (100, Reason.FORWARDED), (101, Reason.PUNT_MTU):
        frame = Ether(dst=OWN) / IP(dst="13.0.0.1") / (b"x" * (total - 20)) / b""
        assert receive(model, frame)[1] == (1, 2, reason)


def test_windows_and_ports_are_checked(model, scenario):
    setup = scenario.routers[1]
    good = {**setup.context, "mode": 0, "guard": 0, "ipv4_root": 0}
    for change, reason in (
        ({"fib_size": 1}, Reason.DROP_FAULT), ({"fib_base": CONFIG.fib_words}, Reason.DROP_FAULT),
        ({"adj_size": 3}, Reason.DROP_FAULT), ({"adj_base": CONFIG.adjacencies - 3}, Reason.DROP_FAULT),
        ({"ipv4_root": good["fib_size"]}, Reason.DROP_FAULT), ({"ports": 0b0100}, Reason.DROP_FAULT),
        ({"ports": 0b1011}, Reason.DROP_DISABLED), ({"enable": 0}, Reason.DROP_DISABLED),
        ({"mode": 3}, Reason.DROP_DISABLED), ({"guard": 0b0100}, Reason.DROP_SOURCE), ({}, Reason.FORWARDED),
    ):
        update(model, setup, **{**good, **change})
        assert receive(model, Ether(dst=OWN) / packet())[1] == (1, 2, reason), change


def test_guard_wants_a_peer_of_the_same_router():
    scenario = simple_scenario(CONFIG)
    table = VmacTable(CONFIG, (0x1234_5678_9ABC_DEF0, 0x0FED_CBA9_8765_4321))
    for setup in scenario.routers:
        setup.context["guard"] = 15
        table.insert(setup.own[2], 2, Role.OWN, setup.number)
        table.insert(0x0A0000000000 + setup.number, 2, Role.PEER, setup.number)
    model = GoldenModel(CONFIG)
    load(model, [write for setup in scenario.routers for write in setup.writes(CONFIG)] + table.writes())
    good = Ether(dst=OWN, src="0a:00:00:00:00:01") / packet()
    other = Ether(dst=OWN, src="0a:00:00:00:00:00") / packet()
    assert receive(model, good)[1] == (1, 2, Reason.PUNT_NO_ROUTE)
    assert receive(model, other)[1] == (1, 2, Reason.DROP_SOURCE)
    everyone = "ff:ff:ff:ff:ff:ff"
    outputs, key = receive(model, Ether(dst=everyone, src="0a:00:00:00:00:00") / packet())
    assert key == (0, 2, Reason.PUNT_GROUP) and len(outputs) == 1
    assert receive(model, Ether(dst=everyone, src="0a:00:00:00:00:07") / packet())[1] == (2, 2, Reason.DROP_NO_ROUTER)


def test_address_of_a_router_that_does_not_exist_matches_nothing():
    for router, reason in (CONFIG.routers - 1, Reason.DROP_DISABLED), (CONFIG.routers, Reason.DROP_NO_ROUTER):
        table = VmacTable(CONFIG, (1, 2))
        table.insert(int(OWN.replace(":", ""), 16), 2, Role.OWN, router)
        model = GoldenModel(CONFIG)
        load(model, table.writes())
        assert receive(model, Ether(dst=OWN) / packet())[1][2] == reason


@pytest.mark.parametrize(("length", "error", "reason"), [
    (60, RxError.FCS, Reason.DROP_FCS), (60, RxError.PHY, Reason.DROP_FCS), (60, RxError.LENGTH, Reason.DROP_LENGTH),
    (13, RxError.NONE, Reason.DROP_LENGTH), (1519, RxError.NONE, Reason.DROP_LENGTH),
    (5, RxError.FCS, Reason.DROP_FCS), (14, RxError.NONE, Reason.DROP_NO_ROUTER),
    (1518, RxError.NONE, Reason.DROP_NO_ROUTER),
])
def test_port_checks(model, length, error, reason):
    assert model.receive(0, bytes(length), error) == []
    assert model.counters == {(CONFIG.no_router, 0, reason): 1}


def test_inject(model, scenario):
    frame = bytes(Ether(dst="ff:ff:ff:ff:ff:ff") / ARP())
    inject = HostFrame.inject(1, 3, frame, source=HOST)
    event = (1, CONFIG.host_port, Reason.INJECTED)
    assert plain(model.host_receive(inject.to_bytes())) == [(3, frame, event)]
    inject.length = 14          # what comes after is sent all the same
    assert plain(model.host_receive(inject.to_bytes())) == [(3, frame, event)]
    update(model, scenario.routers[1], ports=0b0111)
    assert model.host_receive(inject.to_bytes()) == []
    assert model.counters == {(1, CONFIG.host_port, Reason.INJECTED): 2, (1, CONFIG.host_port, Reason.DROP_INJECT): 1}


@pytest.mark.parametrize("change", [
    {"version": 2}, {"ethertype": 0x0800}, {"type": HostFrameType.PUNT}, {"type": HostFrameType.RESPONSE}, {"type": 0},
    {"length": 61}, {"length": 13}, {"router": 2}, {"port": 4}, {"type": HostFrameType.REQUEST, "length": 0},
    {"type": HostFrameType.REQUEST, "length": 17}, {"type": HostFrameType.REQUEST, "length": 64},
    {"type": HostFrameType.REQUEST, "length": 1040, "payload": bytes(1040)},
])
def test_malformed_from_host(model, change):
    frame = HostFrame(**{"type": HostFrameType.INJECT, "payload": bytes(60), "source": b"\x0a" + bytes(5), **change})
    assert model.host_receive(frame.to_bytes()) == []
    assert model.counters == {(CONFIG.no_router, CONFIG.host_port, Reason.DROP_HOST): 1}
    assert model.host_mac == HOST


def test_host_frame_limits(model):
    inject = HostFrame.inject(0, 0, bytes(1518), source=HOST).to_bytes()
    assert plain(model.host_receive(inject)) == [(0, bytes(1518), (0, CONFIG.host_port, Reason.INJECTED))]
    assert model.host_receive(inject + b"\0") == model.host_receive(inject[:31]) == []
    assert model.host_receive(inject, RxError.FCS) == []
    assert model.counters[CONFIG.no_router, CONFIG.host_port, Reason.DROP_HOST] == 3


def test_punts_go_to_everyone_before_the_host_was_heard():
    model = GoldenModel(CONFIG)
    load(model, simple_scenario(CONFIG).writes)
    model.host_mac = GoldenModel(CONFIG).host_mac
    outputs, _ = receive(model, Ether(dst=OWN) / ARP())
    assert outputs[0].frame[:6] == BROADCAST


@pytest.mark.parametrize("seed", range(20))
def test_fib_walk_is_a_longest_prefix_match(seed):
    rng = Random(seed)
    config = CoreConfig(routers=1)
    model = GoldenModel(config)
    routes = [Route(prefix & 0xFFFFFFFF >> 32 - length << 32 - length, length, number)
              for number in range(rng.choice((1, 3, 300)))
              for prefix, length in [(rng.getrandbits(32) | rng.choice((0, 0xFF000000)), rng.randint(0, 32))]]
    setup = RouterSetup(0, {"enable": 1, "fib_base": 100, "fib_size": config.fib_words - 100})
    load(model, [setup.context_write(), *fib_image(routes, rng if seed % 2 else None).writes(0)])
    table = {(route.length, route.prefix): route.adjacency for route in routes}

    def plain(address: int) -> int | None:
        for length in range(32, -1, -1):
            found = table.get((length, address & 0xFFFFFFFF >> 32 - length << 32 - length))
            if found is not None:
                return found
        return None

    addresses = [rng.getrandbits(32) for _ in range(200)]
    addresses += [route.prefix ^ (1 << rng.randrange(32) if rng.random() < 0.3 else 0) for route in routes]
    for address in addresses:
        assert model.tables.route(model.tables.context(0), address) == plain(address), hex(address)


def test_walk_without_an_end_is_a_fault():
    model = GoldenModel(CoreConfig(routers=1))
    load(model, [RouterSetup(0, {"fib_size": 8}).context_write()])
    # Every child of every branch is row 0 again
    model.tables.write(Table.FIB, 0, 0, 1 << 16)
    with pytest.raises(RouteFault):
        model.tables.route(model.tables.context(0), 0)
