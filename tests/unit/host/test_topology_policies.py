"""Modes, VLANs, filters, rates and quotas of a topology file: what is refused, to the letter, and what comes of it."""

import pytest
from polyrouter.hdl.layouts import FILTER_KEY, unpack
from polyrouter.host.allocate import allocate
from polyrouter.host.compile import network_spec
from polyrouter.host.plan import Seen, plan, router_differences
from polyrouter.host.spec import NetworkSpec, RouterSpec
from polyrouter.host.tables.policy import FilterRule
from polyrouter.host.topology_document import TopologyError
from polyrouter.host.topology_file import parse

TEXT = """\
name: small
topology:
  nodes:
    left: {ports: 3, core: {max_frame: 1522}}
  links:
    - endpoints: ["left:p0"]
  networks:
    red:
      routers:
        left:
          interfaces:
            eth0: {address: 10.0.0.1/30}
            eth1: {address: 192.168.1.1/24}
          buffer: {}
          filters:
            - {match: {protocol: tcp, dst-port: 23}, action: drop}
            - {match: {src: 10.0.0.0/8}, action: permit}
"""
BRIDGE = "    lan:\n      routers:\n        b: {node: left, mode: bridged, interfaces: {eth1: {}, eth2: {vlan: 7}}}\n"
RED = "topology.networks.red.routers.left"
LAN = "topology.networks.lan.routers.b"


def problems(text: str) -> list[str]:
    with pytest.raises(TopologyError) as caught:
        parse(text, "net.yaml")
    return str(caught.value).splitlines()


def spec_of(text: str) -> NetworkSpec:
    file = parse(text)
    return network_spec(file, allocate(file))


def red(text: str) -> RouterSpec:
    return spec_of(text).nodes["left"].routers["red-left"]


FIRST = "{match: {protocol: tcp, dst-port: 23}, action: drop}"


@pytest.mark.parametrize("old,new,message", [
    ("buffer: {}", "mode: fast", f"14: {RED}.mode: found 'fast'; expected 'routed', 'bridged' or 'switched'"),
    ("buffer: {}", "rate: {in: 32k}", f"14: {RED}.rate.in: found '32k'; expected 64k to 1G bit/s"),
    ("buffer: {}", "rate: {in: 2G}", f"14: {RED}.rate.in: found '2G'; expected 64k to 1G bit/s"),
    ("buffer: {}", "rate: {in: fast}", f"14: {RED}.rate.in: found 'fast'; "
     "expected bits a second with an optional unit k, M or G, e.g. 10M"),
    ("buffer: {}", "rate: {in: 1M, burst: 1k}", f"14: {RED}.rate.in: found a burst of 1024 bytes at 1M bit/s; "
     "expected 1523 to 262143 bytes"),
    ("buffer: {}", "punt-rate: 1k", f"14: {RED}.punt-rate: found '1k'; expected 64k to 1G bit/s"),
    ("10.0.0.1/30}", "10.0.0.1/30, rate: {out: 10}}",
     f"12: {RED}.interfaces.eth0.rate.out: found 10; expected 64k to 1G bit/s"),
    ("10.0.0.1/30}", "10.0.0.1/30, rate: {out: 10M, weight: 43}}",
     f"12: {RED}.interfaces.eth0.rate.weight: found 43; expected at most 42"),
    ("10.0.0.1/30}", "10.0.0.1/30, rate: {burst: 4k}}",
     f"12: {RED}.interfaces.eth0.rate: found a burst without a rate; expected a key 'out'"),
    ("10.0.0.1/30}", "10.0.0.1/30, vlan: 4095}",
     f"12: {RED}.interfaces.eth0.vlan: found 4095; expected less than or equal to 4094"),
    ("buffer: {}", "buffer: {limit: 1k}", f"14: {RED}.buffer.limit: found 1024 bytes; "
     "expected 4096 to 65536 bytes, what is reserved and the longest frame at least"),
    ("buffer: {}", "buffer: {limit: 1M}", f"14: {RED}.buffer.limit: found 1048576 bytes; "
     "expected 4096 to 65536 bytes, what is reserved and the longest frame at least"),
    ("buffer: {}", "buffer: {reserved: 64k}", "4: topology.nodes.left: found 65536 bytes of the frame buffer reserved "
     "by the node's routers; expected at most 64000, or core.buffer_bytes to be larger"),
    ("buffer: {}", "filter_rules: 1", f"15: {RED}.filters: found 2 rules; "
     "expected at most 1, or filter_rules of the router to be larger"),
    ("buffer: {}", "policers: 17", "4: topology.nodes.left: found 17 policers asked for by the node's routers; "
     "expected at most 16, or core.policers to be larger"),
    ("buffer: {}", "filter_rules: 29", f"14: {RED}.filter_rules: found 29 filter_rules; "
     "expected at most 28, which line rate on 3 ports allows with core.filter_banks 1, or that to be more"),
    ("action: permit", "action: permit, police: 1M}\n            - {action: punt, police: 1M",
     f"15: {RED}.filters: found 3 policers (the router's own, and one for each rule that polices); "
     "expected at most 2, or policers of the router to be larger"),
    (FIRST, "{match: {port: eth2}, action: drop}",
     f"16: {RED}.filters[0].match.port: found 'eth2'; expected one of the router's interfaces eth0, eth1"),
    (FIRST, "{action: {send: [eth0, eth5]}}",
     f"16: {RED}.filters[0].action.send[1]: found 'eth5'; expected one of the router's interfaces eth0, eth1"),
    (FIRST, "{match: {dst-port: 80}, action: drop}", f"16: {RED}.filters[0].match.dst-port: found dst-port without a "
     "protocol that has it; expected protocol to be tcp, udp, icmp or icmp6"),
    (FIRST, "{match: {src: '2001:db8::/48'}, action: drop}",
     f"16: {RED}.filters[0].match.src: found 2001:db8::/48; expected at most /32 of IPv6"),
    (FIRST, "{match: {src: '2001:db8::/32', dst: 10.0.0.0/8}, action: drop}",
     f"16: {RED}.filters[0].match.dst: found 10.0.0.0/8; expected a prefix of IPv6, as src"),
    (FIRST, "{match: {src: 10.0.0.0/8, ethertype: arp}, action: drop}",
     f"16: {RED}.filters[0].match.ethertype: found 0x0806; expected ipv4, which src and dst are of"),
    (FIRST, "{match: {ethertype: ipx}, action: drop}", f"16: {RED}.filters[0].match.ethertype: found 'ipx'; "
     "expected a number or one of ipv4, arp, ipv6, lldp, mpls"),
    (FIRST, "{match: {src-mac: 02-00-00-00-00-01}, action: drop}", f"16: {RED}.filters[0].match.src-mac: "
     "found '02-00-00-00-00-01'; expected a MAC address, as in 02:00:00:00:00:01"),
    (FIRST, "{match: {colour: 1}, action: drop}", f"16: {RED}.filters[0].match.colour: found an unknown key 'colour'; "
     "expected one of port, vlan, pcp, src-mac, dst-mac, ethertype, src, dst, protocol, tos, src-port, dst-port"),
    (FIRST, "{action: drop, set: {tos: 1}}",
     f"16: {RED}.filters[0].set: found changes in a rule with action drop; expected action: permit or send"),
    (FIRST, "{action: punt, class: control}",
     f"16: {RED}.filters[0].class: found a class in a rule with action punt; expected action: permit or send"),
    (FIRST, "{match: {}}", f"16: {RED}.filters[0]: found no key 'action'; expected it to be there"),
    ("10.0.0.1/30}", "10.0.0.1/30, vlan: 5, mtu: 1501}", f"12: {RED}.interfaces.eth0.mtu: found 1501; "
     "expected at most 1500 on a VLAN, or core.max_frame of left to be larger"),
    ("{address: 10.0.0.1/30}", "{}", f"12: {RED}.interfaces.eth0: found no key 'address'; expected it to be there"),
    ("buffer: {}", "mac_rows: 64", f"14: {RED}.mac_rows: found mac_rows in a routed router; expected mode: bridged"),
    ("{ports: 3,", "{mac-age: soon, ports: 3,", "4: topology.nodes.left.mac-age: found 'soon'; "
     "expected a number with an optional unit ms, s, m or h, e.g. 300s"),
    ("core: {max", "core: {filter_banks: 3, max", "4: topology.nodes.left.core: found filter_banks must be a "
     "power of two, 1 to 8, not 3; expected parameters that a core can be built with"),
])
def test_refused(old, new, message):
    assert TEXT.count(old) == 1
    assert problems(TEXT.replace(old, new)) == [f"net.yaml:{message}"]


@pytest.mark.parametrize("old,new,message", [
    ("{eth1: {}", "{eth1: {address: 10.0.0.1/24}",
     f"20: {LAN}.interfaces.eth1.address: found an address of a bridged router; expected no address"),
    ("mode: bridged", "mode: bridged, ospf: {}",
     f"20: {LAN}.ospf: found ospf in a bridged router; expected mode: routed"),
    ("mode: bridged", "mode: bridged, mac_rows: 48",
     f"20: {LAN}.mac_rows: found 48 mac_rows; expected a power of two, at least 4"),
    ("mode: bridged", "mode: bridged, mac_rows: 2048", "4: topology.nodes.left: found 2048 mac_rows asked for by the "
     "node's routers; expected at most 1024, or core.mac_rows to be larger"),
])
def test_refused_of_a_bridge(old, new, message):
    assert BRIDGE.count(old) == 1
    assert problems(TEXT + BRIDGE.replace(old, new)) == [f"net.yaml:{message}"]


def test_no_bridge_without_mac_rows():
    text = (TEXT + BRIDGE).replace("core: {max", "core: {mac_rows: 0, max")
    assert problems(text) == [f"net.yaml:20: {LAN}: found 0 mac_rows; expected a power of two, at least 4, or "
                              "core.mac_rows of the node to be larger"]
    asked = text.replace("mode: bridged", "mode: bridged, mac_rows: 64")
    assert problems(asked) == ["net.yaml:4: topology.nodes.left: found 64 mac_rows asked for by the node's routers; "
                               "expected at most 0, or core.mac_rows to be larger"]


def test_a_segment_has_one_owner():
    other = "    z:\n      routers:\n        s: {node: left, mode: switched, interfaces: {eth2: {vlan: 7}, eth0: {}}}\n"
    assert problems(TEXT + BRIDGE + other) == [
        "net.yaml:23: topology.networks.z.routers.s.interfaces.eth2: found VLAN 7 of port p2, which lan.routers.b "
        "bridges or switches already; expected a port and VLAN that no other such router of the node has"]
    assert parse(TEXT + BRIDGE + other.replace("vlan: 7", "vlan: 8"))
    untagged = other.replace("eth2: {vlan: 7}", "eth1: {}")
    assert "found untagged frames of port p1, which lan.routers.b" in problems(TEXT + BRIDGE + untagged)[0]


def test_what_a_rule_becomes():
    text = TEXT.replace(FIRST, "{match: {port: eth1, vlan: 5, pcp: 3, src-mac: 02:00:00:00:00:0A, src: 10.1.0.0/16, "
                        "protocol: udp, tos: 0xb8, src-port: 53}, action: {send: eth0}, set: {vlan: untagged, "
                        "dst-mac: 02:00:00:00:00:01, dst: 10.0.0.9}, class: control, police: {rate: 1M, burst: 4k}, "
                        "mirror: true}")
    rule = red(text).rules[0]
    assert rule.text == ("port eth1 vlan 5 pcp 3 src-mac 02:00:00:00:00:0a src 10.1.0.0/16 protocol 17 tos 184 "
                         "src-port 53: send eth0 set dst-mac 02:00:00:00:00:01 vlan untagged dst 10.0.0.9 "
                         "class control police 1M burst 4096 mirror")
    bits = FilterRule(match=tuple(rule.match)).filter_row()
    value, mask = unpack(FILTER_KEY, bits), unpack(FILTER_KEY, bits >> FILTER_KEY.size)
    assert {name for name, field in mask.items() if field} == {
        "port", "tagged", "vid", "pcp", "smac", "ethertype", "ip_source", "protocol", "tos", "l4_source"}
    assert (value["ethertype"], value["ip_source"], mask["ip_source"]) == (0x0800, 0x0A010000, 0xFFFF0000)
    assert (rule.action, rule.ports, rule.strip_vlan, rule.traffic_class) == ("send", [0], True, "control")
    assert rule.changes == {"dmac": 0x020000000001, "ip_destination": 0x0A000009}


@pytest.mark.parametrize("match,fields", [
    ("{vlan: untagged}", {"tagged": (0, 1)}),
    ("{vlan: 0}", {"vid": (0, 0xFFF)}),
    ("{src: '2001:db8::/32'}", {"ip_source": (0x20010DB8, 0xFFFFFFFF), "ethertype": (0x86DD, 0xFFFF)}),
    ("{protocol: icmp6, src-port: 135}", {"protocol": (58, 0xFF), "l4_source": (135, 0xFFFF)}),
    ("{dst: 0.0.0.0/0}", {"ip_destination": (0, 0), "ethertype": (0x0800, 0xFFFF)}),
    ("{}", {}),
])
def test_what_a_match_becomes(match, fields):
    rule = red(TEXT.replace(FIRST, f"{{match: {match}, action: drop}}")).rules[0]
    assert {name: (value, mask) for name, value, mask in rule.match} == fields


def test_defaults_share_what_there_is():
    router = red(TEXT)
    assert (router.filter_rules, router.policers, router.mac_rows) == (8, 2, 0)
    assert router.punt_rate is not None and router.punt_rate.rate == 100_000_000
    assert router.reserved_cells == 64 and router.limit_cells is None
    many = red(TEXT.replace("core: {max", "core: {routers: 1000, filter_rules: 2000, max"))
    assert many.punt_rate is not None and many.punt_rate.rate == 1_000_000
    assert many.reserved_cells == 0
    bridge = spec_of(TEXT + BRIDGE).nodes["left"].routers["lan-b"]
    assert (bridge.mode, bridge.mac_rows, bridge.frr.count("ip address")) == ("bridged", 128, 0)
    assert [(port.vlan, port.guard, port.peers) for port in bridge.ports] == [(0, False, []), (7, False, [])]


JOINED = """\
name: joined
topology:
  nodes:
    left: {ports: 3, core: {max_frame: 1522}}
    right: {ports: 3, core: {max_frame: 1522}}
  links:
    - endpoints: ["left:p0", "right:p0"]
  networks:
    red:
      routers:
        left: {interfaces: {eth0: {address: 10.0.0.1/24, vlan: 5}}}
        bridge: {node: right, mode: bridged, interfaces: {eth0: {vlan: 5}, eth1: {}, eth2: {}}}
      hosts:
        a: {attach: "right:p1", address: 10.0.0.2/24}
        b: {attach: "right:p2", address: 10.0.0.3/24}
"""


def test_members_hear_each_other_across_a_bridge():
    file = parse(JOINED)
    allocation = allocate(file)
    spec = network_spec(file, allocation)
    router = spec.nodes["left"].routers["red-left"]
    assert router.ports[0].peers == sorted(allocation.hosts[f"red-{name}"].mac for name in "ab")
    assert spec.hosts["red-a"].gateway == "10.0.0.1"
    assert set(spec.hosts["red-a"].neighbours) == {"10.0.0.1", "10.0.0.3"}


def test_vlans_of_a_segment_do_not_hear_each_other():
    found = problems(JOINED.replace("eth0: {vlan: 5}, eth1", "eth0: {vlan: 6}, eth1").replace(
        "10.0.0.3/24", "10.0.0.1/24"))
    assert found == ["net.yaml:15: topology.networks.red.hosts.b.address: found 10.0.0.1/24, which is the address of "
                     "routers.left.interfaces.eth0 too; expected an address of its own"]
    apart = spec_of(JOINED.replace("eth0: {vlan: 5}, eth1", "eth0: {vlan: 6}, eth1"))
    assert apart.nodes["left"].routers["red-left"].ports[0].peers == []
    alone = JOINED.replace("mode: bridged, ", "").replace("{vlan: 5}, eth1: {}, eth2: {}", "{address: 10.1.0.4/24}")
    assert problems(alone)[0] == ("net.yaml:14: topology.networks.red.hosts.a.attach: found 'right:p1'; "
                                  "expected a port on whose segment there is a router of red")


def test_plan_tells_what_differs():
    before = red(TEXT)
    text = TEXT.replace("dst-port: 23", "dst-port: 22").replace("10.0.0.1/30}", "10.0.0.1/30, vlan: 9, "
                                                                "rate: {out: 10M, weight: 2}}")
    text = text.replace("buffer: {}", "buffer: {limit: 32k}\n          mirror: true\n          rate: {in: 5M}")
    assert router_differences(before, red(text)) == [
        "mirror was False, is True", "rate was None, is 5M", "limit_cells was None, is 512",
        "rule 'protocol 6 dst-port 22: drop' added, rule 'protocol 6 dst-port 23: drop' removed",
        "eth0: vlan was 0, is 9, rate was None, is 10M, weight was 1, is 2"]
    moved = TEXT.replace(f"            - {FIRST}\n", "") + f"            - {FIRST}\n"
    assert router_differences(before, red(moved)) == ["order of each rule"]


def test_plan_of_a_node_whose_addresses_age_faster():
    old, new = spec_of(TEXT), spec_of(TEXT.replace("{ports: 3,", "{mac-age: 1m, ports: 3,"))
    seen = Seen(fabric=True, agents={"left"}, links={tap: None for tap in (
        *old.nodes["left"].taps, old.nodes["left"].host_tap)})
    changes = [str(change) for change in plan(old, new, seen) if change.kind == "node"]
    assert changes == ["update node left: mac-age was 300s, is 60s"]


def test_a_specification_of_an_older_agent_is_read():
    saved = red(TEXT).model_dump()
    for name in ("mode", "multicast", "mirror", "filter_rules", "policers", "mac_rows", "rules", "rate", "punt_rate",
                 "reserved_cells", "limit_cells"):
        del saved[name]
    for port in saved["ports"]:
        for name in ("vlan", "rate", "weight"):
            del port[name]
    assert RouterSpec.model_validate(saved).mode == "routed"
    assert RouterSpec.model_validate(red(TEXT).model_dump()) == red(TEXT)


def test_rules_are_at_most_what_line_rate_allows():
    rule = "            - {match: {src: 10.0.0.0/8}, action: permit}\n"
    large = TEXT.replace("core: {max", "core: {filter_rules: 2048, max")
    [router] = [router for *_, router in parse(large).topology.routers()]
    config = parse(large).topology.nodes["left"].config()
    assert router.share(config)["filter_rules"] == 28 < 2048 // config.routers
    parse(large + 26 * rule)
    assert problems(large + 27 * rule) == [
        f"net.yaml:15: {RED}.filters: found 29 rules; expected at most 28, which line rate on 3 ports allows with "
        "core.filter_banks 1, or that to be more"]
    more = large.replace("filter_rules: 2048", "filter_rules: 2048, filter_banks: 2")
    parse(more + 27 * rule)
    assert len(problems(more.replace("buffer: {}", "filter_rules: 57"))) == 1
    parse(more.replace("buffer: {}", "filter_rules: 56"))
