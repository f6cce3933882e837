"""VNICs, port groups, switches, wires and tunnels of a topology file: what is read, and what is said of bad ones."""

from pathlib import Path

import pytest
from polyrouter.host.links import links_of
from polyrouter.host.topology_document import TopologyError
from polyrouter.host.topology_file import load, parse

from .link_text import TEXT, changed

EXAMPLES = Path(__file__).parents[3] / "examples"
WEB = "web: {node: left, switch: stub, count: 3,"
PHY = "phy: {node: left, port: p1, vlan: 7,"
TWO = "two: {vr: red-right, switch: far, address: 10.2.0.1/24}"
TUNNEL = "tunnel: {kind: gre, key: 5, underlay: [red-left, red-right]}"
UPLINK = "uplinks: [p2, {port: p1, vlan: 9}]"
VNICS = "one of the VNICs web0, web1, web2, phy, end, fin, two, red-left.v0"


def problems(text: str) -> list[str]:
    with pytest.raises(TopologyError) as caught:
        parse(text, "net.yaml")
    return str(caught.value).splitlines()


def test_what_there_is_in_normal_form():
    links = links_of(parse(TEXT).topology)
    assert [*links.vnics] == ["web0", "web1", "web2", "phy", "end", "fin", "two", "red-left.v0"]
    web = links.vnics["web1"]
    assert (web.node, web.switch, web.max_bw, web.min_bw, web.priority) == ("left", "stub", 10**7, 10**6, "medium")
    assert links.vnics["web0"].host == "red-a"
    assert (links.vnics["two"].router, links.vnics["two"].node) == ("red-right", "right")
    assert links.vnics["red-left.v0"].addresses == ("10.1.0.1/24",)
    assert {name: switch.uplinks for name, switch in links.switches.items()} == {
        "stub": (), "far": ((2, 0), (1, 9)), "left.p1.7": ((1, 7),)}
    assert {name: (str(tunnel.local), str(tunnel.remote)) for name, tunnel in links.tunnels.items()} == {
        "w.right": ("10.0.0.2", "10.0.0.1"), "w.left": ("10.0.0.1", "10.0.0.2"), "t": ("10.0.0.1", "10.0.0.2")}


def test_the_mtu_is_what_fits_into_the_tunnel():
    links = links_of(parse(TEXT).topology)
    # 1500 less IPv4, UDP, VXLAN and Ethernet; less IPv4, GRE with a key and Ethernet.
    assert links.mtu(links.vnics["web1"]) == links.mtu(links.vnics["red-left.v0"]) == 1500 - 20 - 8 - 8 - 14
    assert links.mtu(links.vnics["end"]) == 1500 - 20 - 8 - 14
    assert links.mtu(links.vnics["phy"]) == 1500


def test_a_vnic_with_vr_is_an_interface_like_those_written_there():
    routers = {full: router for full, _, _, router in parse(TEXT).topology.routers()}
    assert [*routers["red-right"].interfaces] == ["eth0", "two"]
    assert [*routers["red-left"].virtual] == ["v0"]


def test_an_alias_makes_vnics_of_its_own():
    text = changed(("  vnics:\n", "    blue: *red\n  vnics:\n"), ("    red:\n", "    red: &red\n"),
                   ("      hosts:\n        a: {vnic: web0, address: 10.1.0.10/24}\n", ""), (f"    {TWO}\n", ""))
    assert {"red-left.v0", "blue-left.v0"} <= set(links_of(parse(text).topology).vnics)


def test_what_a_vnic_says_itself_counts_more_than_its_group():
    text = changed((WEB, f"{WEB} max-bw: 5M, priority: high,"), ("max-bw: 10M,", "max-bw: 10M, priority: low,"))
    vnic = links_of(parse(text).topology).vnics["web0"]
    assert (vnic.max_bw, vnic.min_bw, vnic.priority) == (5 * 10**6, 10**6, "high")


def test_an_entry_of_its_own_name_takes_the_place_of_one_of_a_count():
    text = changed((WEB, "web1: {node: right, switch: far}\n    " + WEB))
    vnics = links_of(parse(text).topology).vnics
    assert sorted(name for name in vnics if name.startswith("web")) == ["web0", "web1", "web2"]
    assert (vnics["web1"].node, vnics["web2"].node) == ("right", "left")


def test_a_wire_over_a_vlan_is_a_switch_on_each_side():
    links = links_of(parse(changed((TUNNEL, "vlan: 50"))).topology)
    assert {name: switch.uplinks for name, switch in links.switches.items() if switch.wire} == {
        "w.right": ((0, 50),), "w.left": ((0, 50),)}
    assert (links.vnics["end"].switch, links.vnics["fin"].switch) == ("w.right", "w.left")


def test_a_node_with_links_has_a_link_port_more_and_the_circuits_that_it_needs():
    file = parse(changed(("count: 3", "count: 100"), ("routers: 16", "routers: 128")))
    config = file.topology.nodes["left"].config()
    assert (config.ports, config.wired_ports, config.link_port, config.circuits) == (4, 3, 3, 256)
    assert parse(TEXT).topology.nodes["right"].config().circuits == 16
    plain = "name: a\ntopology:\n  nodes: {left: {ports: 2}}\n"
    assert parse(plain).topology.nodes["left"].config().circuits == 0


def test_a_board_that_runs_keeps_its_circuits():
    assert parse(TEXT, running={"left": 64}).topology.nodes["left"].config().circuits == 64
    more = changed(("count: 3", "count: 10"))
    assert parse(more, running={"left": 16}).topology.nodes["left"].config().circuits == 32
    assert parse(more, running={"left": 16}, keep_boards=True).topology.nodes["left"].config().circuits == 16


@pytest.mark.parametrize("old,new,line,message", [
    ("max-bw: 10M", "max-bw: 32k", 25, "port-groups.web.max-bw: found '32k'; expected 64k to 1G bit/s"),
    ("max-bw: 10M", "max-bw: 100k", 19, "vnics.web: found min-bw 1M; expected at most max-bw, which is 100k"),
    ("max-bw: 10M", "promiscuous: 1", 25, "port-groups.web.promiscuous: found 1; expected 'accept' or 'reject'"),
    ("group: web}", "group: shop}", 19, "vnics.web.group: found 'shop'; expected one of the port groups web"),
    (WEB, WEB + " colour: red,", 19, "vnics.web.colour: found an unknown key 'colour'; expected one of max-bw, min-bw, "
     "priority, port, switch, vlan, mac, group, lane, node, vr, address, mtu, count"),
    (WEB, WEB.replace("stub", "stab"), 19,
     "vnics.web.switch: found 'stab'; expected one of the virtual switches stub, far"),
    (WEB, WEB.replace("left", "right"), 19, "vnics.web.switch: found 'stub', which is on left; expected one on right"),
    (WEB, WEB + " mtu: 1500,", 19,
     "vnics.web.mtu: found 1500; expected at most 1450, which fits into the tunnel's packets"),
    (WEB, WEB + ' mac: "02:00:00:00:00:01",', 19,
     "vnics.web.mac: found one mac for 3 VNICs; expected no mac, or no count"),
    (PHY, PHY.replace("node: left, ", ""), 20,
     "vnics.phy: found no key 'node'; expected it to be there, or 'switch' or 'vr'"),
    (PHY, PHY.replace("left", "middle"), 20, "vnics.phy.node: found 'middle'; expected one of the nodes left, right"),
    (PHY, PHY.replace("p1", "p5"), 20, "vnics.phy.port: found 'p5'; expected a port of left, p0 to p2"),
    (PHY, PHY.replace("p1", "eth1"), 20, "vnics.phy.port: found 'eth1'; expected a physical port, p0 to p7"),
    (PHY, PHY.replace("port: p1, ", ""), 20, "vnics.phy.vlan: found a VLAN without a port; "
     "expected a key 'port', or vlan to be that of the switch's uplink"),
    (PHY, PHY.replace("port: p1, vlan: 7", "port: p0"), 20, "vnics.phy: found untagged frames of port p0 of left, "
     "which networks.red.routers.left has already; expected another VLAN, or a port that nobody else has on this VLAN"),
    (PHY, PHY.replace("vlan: 7", "switch: stub"), 20,
     "vnics.phy.port: found a port and a switch; expected one of them"),
    (PHY, PHY + " lane: fast,", 20, "vnics.phy.lane: found 'fast'; expected 'hw', 'sw' or 'auto'"),
    (PHY, PHY + " mtu: 8000,", 20,
     "vnics.phy.mtu: found 8000; expected at most 1500, or core.max_frame of left to be larger"),
    (PHY, PHY + ' mac: "03:00:00:00:00:01",', 20, "vnics.phy.mac: found 03:00:00:00:00:01; "
     "expected an address of one interface: even in its first byte, and not zero"),
    ("end: {node: right}", "end: {node: right, lane: sw}", 21,
     "vnics.end.lane: found lane sw of a wire's or tunnel's end; expected hw or auto"),
    ("[end, fin]", "[end, nix]", 30, f"wires.w.endpoints[1]: found 'nix'; expected {VNICS}"),
    ("[end, fin]", "[end, end]", 30, "wires.w.endpoints[1]: found 'end' twice; expected two VNICs"),
    ("[end, fin]", "[end]", 30, "wires.w.endpoints: found a list; expected at least 2 entry"),
    ("[end, fin]", "[end, web1]", 30,
     "wires.w.endpoints[1]: found 'web1', which is on switch stub already; expected each VNIC in one place"),
    (f", {TUNNEL}", "", 30, "wires.w: found VNICs of right and left; "
     "expected a key 'vlan' or 'tunnel' for what is between them"),
    (TUNNEL, TUNNEL.replace("red-right", "red-middle"), 30, "wires.w.tunnel.underlay[1]: found 'red-middle'; "
     "expected one of the virtual routers red-left, red-right"),
    (TUNNEL, TUNNEL.replace("red-right", "red-left"), 30, "wires.w.tunnel.underlay: found red-left and red-left; "
     "expected a virtual router on right and one on left"),
    ("kind: vxlan, key: 9", "kind: vxlan, key: 99999999", 32,
     "tunnels.t.key: found 99999999; expected at most 16777215 of VXLAN"),
    ("kind: vxlan, key: 9", "kind: gre, key: 5", 32, "tunnels.t: found gre with key 5 from 10.0.0.2 by red-left, which "
     "tunnel w.left has too; expected another key"),
    ("remote: 10.0.0.2", "remote: 10.0.0.1", 32,
     "tunnels.t.remote[0]: found 10.0.0.1, which is red-left's own; expected another node's address"),
    ("remote: 10.0.0.2", "remote: 10.0.0.2, local: 10.9.9.9", 32,
     "tunnels.t.local: found 10.9.9.9; expected an address of red-left: 10.0.0.1"),
    ("remote: 10.0.0.2", "remote: 10.0.0.2, vnic: fin", 32,
     "tunnels.t: found a switch and a vnic; expected one of them"),
    ("switch: stub, kind: vxlan", "kind: vxlan", 32,
     "tunnels.t: found neither a switch nor a vnic; expected one of them"),
    (TWO, TWO.replace("red-right", "red-wrong"), 23,
     "vnics.two.vr: found 'red-wrong'; expected one of the virtual routers red-left, red-right"),
    (TWO, TWO.replace(", address: 10.2.0.1/24", ""), 23,
     "vnics.two: found no key 'address'; expected it to be there, since the VNIC is a virtual router's"),
    (TWO, TWO.replace("switch", "lane: sw, switch"), 23,
     "vnics.two.lane: found lane sw of a virtual router's VNIC; expected hw or auto"),
    (TWO, TWO.replace("two", "two-is-a-long-name"), 23, "vnics.two-is-a-long-name: found 'two-is-a-long-name', which "
     "can't be an interface of red-right; expected a name of at most 15 characters that does not begin with eth"),
    ("vnic: web0", "vnic: web9", 17, f"networks.red.hosts.a.vnic: found 'web9'; expected {VNICS}"),
    ("vnic: web0", "vnic: two", 17,
     "networks.red.hosts.a.vnic: found 'two', which is a virtual router's; expected another VNIC"),
    ("vnic: web0", "vnic: phy", 17,
     "networks.red.hosts.a.vnic: found 'phy', which has an address; expected the address in the host only"),
    ("vnic: web0", 'vnic: web0, attach: "left:p2"', 17,
     "networks.red.hosts.a: found the keys attach and vnic; expected one of them"),
    ("vnic: web0, ", "", 17, "networks.red.hosts.a: found neither a key 'attach' nor 'vnic'; expected one of them"),
    (", vnic: {switch: stub}", "", 14,
     "networks.red.routers.left.interfaces.v0: found 'v0'; expected eth0 to eth7, or a key 'vnic'"),
    ("v0: {", "eth9: {", 14, "networks.red.routers.left.interfaces.eth9: found 'eth9' with a key 'vnic'; "
     "expected another name, since that is no VNIC's"),
    (UPLINK, "uplinks: [p0]", 28, "switches.far.uplinks[0]: found untagged frames of port p0 of right, which "
     "networks.red.routers.right has already; expected another VLAN, or a port that nobody else has on this VLAN"),
    (UPLINK, "uplinks: [p2], mac-rows: 24", 28,
     "switches.far.mac-rows: found 24; expected a power of two, at least 4, at most 1024"),
    ("    stub: {node", "    red-left: {node: left}\n    stub: {node", 27,
     "switches.red-left: found 'red-left', which is the name of topology.networks.red.routers.left too; "
     "expected names that differ"),
    ("left: {ports: 3", "left: {ports: 8", 4,
     "nodes.left.ports: found 8 ports and the link port of its VNICs; expected at most 7 ports"),
    ("routers: 16", "circuits: 8", 4, "nodes.left.core: found circuits must be a power of two, 16 to 4096, not 8; "
     "expected parameters that a core can be built with"),
    ("routers: 16", "routers: 16, circuits: 0", 4, "nodes.left: found 1 virtual routers, 2 virtual switches, 1 VNICs "
     "in the hardware lane and 2 trunks of the software lane, which need 10 circuits, on left, which has 0 of them; "
     "expected core.circuits to be 16, or fewer, or VNICs of switches to be in the software lane"),
    (WEB, WEB.replace("count: 3", "count: 30, lane: hw"), 4, "nodes.left: found 1 virtual routers, 2 virtual switches, "
     "31 VNICs in the hardware lane and 1 trunks of the software lane on left, which has room for 16 of these in all; "
     "expected core.routers to be 35, or fewer, or VNICs of switches to be in the software lane"),
])
def test_refused(old, new, line, message):
    assert problems(changed((old, new))) == [f"net.yaml:{line}: topology.{message}"]


def test_least_rates_of_a_switch_are_no_more_than_its_uplink_carries():
    group = ("web: {max-bw: 10M, min-bw: 1M}", "web: {min-bw: 400M}")
    assert parse(changed(group))        # an etherstub has no uplink
    assert problems(changed(group, ("stub: {node: left}", "stub: {node: left, uplinks: [p2]}"))) == [
        "net.yaml:27: topology.switches.stub: found min-bw of 1.2G in all on switch stub; "
        "expected at most 1G, which its uplink carries"]


def test_no_rule_of_a_filter_lets_frames_past_a_limit():
    limited = ("{switch: stub}}", "{switch: stub, max-bw: 5M}}\n          filters: [{action: permit}]")
    assert problems(changed(limited)) == [
        "net.yaml:15: topology.networks.red.routers.left.filters[0]: found a rule that lets frames of v0 past its "
        "max-bw; expected police in the rule, match.port to be another interface, or no max-bw"]
    for rule in ("{match: {port: eth0}, action: permit}", "{action: drop}"):
        assert parse(changed((limited[0], limited[1].replace("{action: permit}", rule))))


def test_a_router_has_one_address_for_all_of_its_vnics():
    two = "{switch: stub, mac: \"02:00:00:00:00:01\"}}\n            v1: {address: 10.3.0.1/24, vnic: " \
          "{switch: stub, mac: \"02:00:00:00:00:02\"}}"
    assert problems(changed(("{switch: stub}}", two))) == [
        "net.yaml:15: topology.networks.red.routers.left.interfaces.v1.mac: found 02:00:00:00:00:02; "
        "expected 02:00:00:00:00:01, as red-left has one address for all of its VNICs"]


def test_the_examples_are_good():
    assert len(links_of(load(EXAMPLES / "virtual-wire.yaml").topology).wires) == 1
    overlay = links_of(load(EXAMPLES / "overlay.yaml").topology)
    assert len(overlay.tunnels) == 12 and {tunnel.kind for tunnel in overlay.tunnels.values()} == {"gre", "vxlan"}


def test_one_board_is_built_for_all_nodes_of_the_examples():
    configs = {node.config() for name in ("virtual-wire", "overlay")
               for node in load(EXAMPLES / f"{name}.yaml").topology.nodes.values()}
    assert len(configs) == 1
