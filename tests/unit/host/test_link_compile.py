"""What links become in a node's specification: rows of circuits and tunnels' ends, numbers of switches and VNICs."""

from pathlib import Path

import pytest
from polyrouter.host.allocate import allocate
from polyrouter.host.compile import network_spec
from polyrouter.host.filters import RateSpec
from polyrouter.host.spec import NetworkSpec, NodeSpec
from polyrouter.host.tables.rates import LEAST_BURST
from polyrouter.host.topology_file import load, parse

from .link_text import TEXT, changed

EXAMPLES = Path(__file__).parents[3] / "examples"


def spec_of(text: str = TEXT) -> NetworkSpec:
    file = parse(text)
    return network_spec(file, allocate(file))


def circuits(node: NodeSpec) -> dict[str, int]:
    return {circuit.name: circuit.number for circuit in node.circuits.values()}


@pytest.fixture
def left() -> NodeSpec:
    return spec_of().nodes["left"]


def test_wired_ports_have_taps_and_the_link_port_has_none(left):
    assert left.taps == ["left-p0", "left-p1", "left-p2"]
    assert (left.core["ports"], left.core["circuits"]) == (4, 16)


def test_a_vnic_and_its_switch_are_each_others_peers(left):
    switch, vnic = left.routers["stub"], left.routers["web1"]
    port = next(port for port in switch.ports if port.name == "web1")
    own = vnic.ports[0].circuit
    assert (left.circuits[str(own)].kind, left.circuits[str(own)].router) == ("direct", vnic.number)
    assert left.circuits[str(own)].peer == port.circuit
    assert left.circuits[str(port.circuit)].peer == own
    assert left.circuits[str(port.circuit)].router == switch.number
    assert left.vnics["web1"].circuit == own and left.vnics["web1"].number == vnic.number


def test_what_a_switch_floods_goes_to_each_of_its_circuits_once(left):
    switch = left.routers["stub"]
    head = left.circuits[str(switch.list_circuit)]
    assert (head.kind, head.router) == ("list", switch.number)
    found, at = [], head.next
    while at:
        found.append(at)
        at = left.circuits[str(at)].next
    assert sorted(found) == sorted(port.circuit for port in switch.ports) and len(found) == 5
    assert all(left.circuits[str(number)].router == switch.number for number in found)


def test_numbers_without_a_container(left):
    stub, web = left.routers["stub"], left.routers["web0"]
    assert (stub.container, stub.mode, stub.learn, stub.mac_rows) == (False, "bridged", True, 64)
    assert (web.container, web.mode, web.learn, web.mac_rows, web.filter_rules) == (False, "bridged", False, 0, 3)
    assert {port.port for port in (*stub.ports, *web.ports)} == {3}
    assert web.ports[0].logical == 3 | web.ports[0].circuit << 4


def test_an_uplink_is_a_port_of_the_switch(left):
    uplink, member = left.routers["left.p1.7"].ports
    assert (uplink.port, uplink.vlan, uplink.circuit, uplink.segment_guard) == (1, 7, 0, False)
    assert (member.port, member.name, member.segment_guard, member.peers) == (
        3, "phy", True, [left.vnics["phy"].mac])


def test_a_vnic_gets_its_own_frames_and_those_of_groups_and_nothing_else(left):
    rules = left.routers["web0"].rules
    mac = int(left.vnics["web0"].mac.replace(":", ""), 16)
    assert [rule.action for rule in rules] == ["punt", "punt", "drop"]
    assert [rule.match for rule in rules] == [[("dmac", mac, (1 << 48) - 1)], [("dmac", 1 << 40, 1 << 40)], []]


@pytest.mark.parametrize("policy,guarded,rules", [
    ("", True, 3), ("forged-transmits: accept", False, 3), ("promiscuous: accept", True, 1),
    ("mac-changes: accept", True, 1), ('macs: ["02:00:00:00:00:07"]', True, 3)])
def test_policies_of_a_port_group(policy, guarded, rules):
    left = spec_of(changed(("min-bw: 1M}", f"min-bw: 1M, {policy}}}"))).nodes["left"]
    port = next(port for port in left.routers["stub"].ports if port.name == "web0")
    assert port.segment_guard == guarded
    allowed = {left.vnics["web0"].mac} | ({"02:00:00:00:00:07"} if "macs" in policy else set())
    assert set(port.peers) == (allowed if guarded else set())
    assert len(left.routers["web0"].rules) == rules


def test_limits_and_weights():
    left = spec_of(changed(("group: web}", "group: web, priority: high, min-bw: 200M, max-bw: 300M}"))).nodes["left"]
    web = left.routers["web0"]
    assert web.ports[0].rate == web.punt_rate == RateSpec(rate=300_000_000, burst=LEAST_BURST)
    assert web.ports[0].weight == 8         # of 25 Mb/s each
    assert left.routers["phy"].ports[0].weight == 2 and left.routers["phy"].punt_rate is None


def test_a_router_with_one_vnic_is_shaped_and_policed():
    text = changed(("{switch: stub}}", "{switch: stub, max-bw: 5M}}"))
    left = spec_of(text).nodes["left"]
    router = left.routers["red-left"]
    port = next(port for port in router.ports if port.name == "v0")
    assert (port.port, port.circuit, port.rate, port.guard) == (3, left.vnics["red-left.v0"].circuit,
                                                                RateSpec(rate=5_000_000, burst=LEAST_BURST), False)
    assert [(rule.match, rule.action, rule.police) for rule in router.rules] == [
        ([("port", 3, 15), ("vid", port.circuit, 4095)], "permit", RateSpec(rate=5_000_000))]
    assert left.routers["stub"].rules == []


def test_a_router_with_several_vnics_is_policed_where_it_comes_in():
    text = changed(("{switch: stub}}", "{switch: stub, max-bw: 5M}}\n            v1: {address: 10.3.0.1/24, "
                    "vnic: {switch: stub}}"))
    left = spec_of(text).nodes["left"]
    assert [port.rate for port in left.routers["red-left"].ports] == [None, None, None]
    member = next(port for port in left.routers["stub"].ports if port.name == "red-left.v0")
    assert [(rule.match, rule.police) for rule in left.routers["stub"].rules] == [
        ([("port", 3, 15), ("vid", member.circuit, 4095)], RateSpec(rate=5_000_000))]


def test_rules_of_a_router_match_its_vnics():
    text = changed(("{switch: stub}}", "{switch: stub}}\n          filters: [{match: {port: v0}, action: drop}]"))
    left = spec_of(text).nodes["left"]
    assert left.routers["red-left"].rules[0].match == [
        ("port", 3, 15), ("vid", left.vnics["red-left.v0"].circuit, 4095)]


def test_a_tunnel_of_a_switch_and_one_of_a_wire():
    spec = spec_of()
    left, right = spec.nodes["left"], spec.nodes["right"]
    ends = {(end.kind, end.key, end.remote, end.circuit) for end in left.terminations}
    assert ends == {("gre", 5, "10.0.0.2", circuits(left)["fin"]), ("vxlan", 9, "10.0.0.2", circuits(left)["t"])}
    assert [(end.kind, end.remote, end.circuit) for end in right.terminations] == [
        ("gre", "10.0.0.1", circuits(right)["end"])]
    underlay = left.routers["red-left"]
    assert underlay.tunnels and not left.routers["stub"].tunnels
    circuit = left.circuits[str(circuits(left)["t"])]
    assert (circuit.kind, circuit.router) == ("tunnel", left.routers["stub"].number)
    assert circuit.tunnel is not None and circuit.tunnel.underlay == underlay.number
    assert (circuit.tunnel.source, circuit.tunnel.destination, circuit.tunnel.ttl) == ("10.0.0.1", "10.0.0.2", 64)
    assert left.circuits[str(circuits(left)["fin"])].router == left.routers["fin"].number


def test_a_wire_on_one_node():
    file = load(EXAMPLES / "virtual-wire.yaml")
    node = network_spec(file, allocate(file)).nodes["left"]
    one, two = (node.circuits[str(node.vnics[name].circuit)] for name in ("near-one", "near-two"))
    assert (one.peer, two.peer, one.kind, two.kind) == (two.number, one.number, "direct", "direct")


def test_all_of_an_overlay_reach_all_others():
    file = load(EXAMPLES / "overlay.yaml")
    spec = network_spec(file, allocate(file))
    addresses = {"one": "10.0.0.1", "two": "10.0.0.2", "three": "10.0.0.3"}
    for name, node in spec.nodes.items():
        others = {address for other, address in addresses.items() if other != name}
        for kind, tenant in (("vxlan", "red"), ("gre", "blue")):
            sent = {circuit.tunnel.destination: circuit for circuit in node.circuits.values()
                    if circuit.tunnel is not None and circuit.tunnel.kind == kind}
            got = {end.remote: end for end in node.terminations if end.kind == kind}
            assert set(sent) == set(got) == others
            assert {circuit.router for circuit in sent.values()} == {node.routers[f"{tenant}-lan-{name}"].number}
            assert {end.circuit for end in got.values()} == {circuit.number for circuit in sent.values()}


def test_interfaces_of_vnics():
    spec = spec_of()
    left = spec.nodes["left"]
    places = {name: (vnic.interface, vnic.namespace, vnic.router) for name, vnic in left.vnics.items()}
    assert places["web0"] == ("eth0", "pr-small.red-a", "")
    assert places["web1"] == ("web1", "pr-small.web1", "")
    assert places["red-left.v0"] == ("v0", "", "red-left")
    outers = [vnic.outer for vnic in left.vnics.values()]
    assert len(set(outers)) == len(outers) and max(map(len, outers)) <= 15
    host = spec.hosts["red-a"]
    assert (host.vnic, host.bridge, host.outer, host.gateway) == ("web0", "", left.vnics["web0"].outer, "10.1.0.1")


def test_software_and_its_trunk():
    left = spec_of(changed(("count: 3", "count: 3, lane: sw"))).nodes["left"]
    soft, trunk = left.vnics["web1"], left.vnics["stub.trunk"]
    assert (soft.lane, soft.number, soft.circuit, soft.switch) == ("sw", None, 0, "stub")
    assert "web1" not in left.routers
    assert (trunk.lane, trunk.switch, trunk.namespace) == ("hw", "stub", "pr-small")
    assert (trunk.policy.promiscuous, trunk.policy.forged_transmits) == (True, True)
    assert [rule.action for rule in left.routers["stub.trunk"].rules] == ["punt"]
    port = next(port for port in left.routers["stub"].ports if port.name == "stub.trunk")
    assert not port.segment_guard


def test_a_vnic_that_leads_nowhere_yet_has_no_row():
    left = spec_of(changed(("    fin: {node: left}", "    fin: {node: left}\n    alone: {node: left}"))).nodes["left"]
    assert str(left.vnics["alone"].circuit) not in left.circuits
    assert left.routers["alone"].ports[0].circuit == left.vnics["alone"].circuit
