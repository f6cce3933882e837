"""Topology files: what is read, and what is said of bad ones, to the letter."""

from pathlib import Path

import pytest
from polyrouter.host.allocate import allocate
from polyrouter.host.compile import network_spec
from polyrouter.host.topology import TopologyFile
from polyrouter.host.topology_document import TopologyError
from polyrouter.host.topology_file import load, parse

EXAMPLES = Path(__file__).parents[3] / "examples"

GOOD = """\
name: small
topology:
  defaults:
    limits: {memory: 64M, cpus: 500m, pids: 100}
  nodes:
    left: {kind: board, ports: 2}
    right: {ports: 2}
  links:
    - endpoints: ["left:p0", "right:p0"]
  networks:
    red: &red
      routers:
        left:
          interfaces:
            eth0: {address: 10.0.0.1/30}
            eth1: {address: [192.168.1.1/24]}
          ospf: {passive: [eth1]}
        right:
          interfaces:
            eth0: {address: 10.0.0.2/30}
      hosts:
        a: {attach: "left:p1", address: 192.168.1.10/24}
    blue: *red
    green:
      <<: *red
      hosts: {}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(TopologyError) as caught:
        parse(text, "net.yaml")
    return str(caught.value).splitlines()


def change(old: str, new: str) -> list[str]:
    assert GOOD.count(old) == 1
    return problems(GOOD.replace(old, new))


def test_good_file():
    file = parse(GOOD)
    assert file.name == "small"
    assert [full for full, *_ in file.topology.routers()] == [
        "red-left", "red-right", "blue-left", "blue-right", "green-left", "green-right"]
    assert [full for full, *_ in file.topology.hosts()] == ["red-a", "blue-a"]
    assert file.topology.segments() == {"leftp0-rightp0": ["left:p0", "right:p0"], "leftp1": ["left:p1"]}
    assert file.topology.defaults.limits.memory == 64 << 20
    assert file.topology.defaults.limits.cpus == 0.5


def test_the_example_is_good_and_has_eight_networks():
    file = load(EXAMPLES / "two-sites.yaml")
    assert len(file.topology.networks) == 8
    assert len(list(file.topology.routers())) == 16


def test_the_example_of_policies_is_good():
    routers = {full: router for full, _, _, router in load(EXAMPLES / "policies.yaml").topology.routers()}
    assert {full: router.mode for full, router in routers.items()} == {
        "red-left": "routed", "red-bridge": "bridged", "wire-left": "switched"}
    assert len(routers["red-left"].filters) == 3


def test_everything_wrong_is_said_at_once():
    text = GOOD.replace("ports: 2}\n    right: {ports: 2}", "ports: 12}\n    right: {prots: 2}").replace("500m", "lots")
    assert problems(text) == [
        "net.yaml:4: topology.defaults.limits.cpus: found 'lots'; expected e.g. 0.5 or 500m",
        "net.yaml:6: topology.nodes.left.ports: found 12; expected less than or equal to 8",
        "net.yaml:7: topology.nodes.right.prots: found an unknown key 'prots'; "
        "expected one of kind, type, host-link, ports, macs, core, mac-age",
    ]


@pytest.mark.parametrize("old,new,message", [
    ('"right:p0"]', '"right:p7"]',
     "net.yaml:9: topology.links[0].endpoints[1]: found 'right:p7'; expected a port of right, p0 to p1"),
    ('"right:p0"]', '"wrong:p0"]',
     "net.yaml:9: topology.links[0].endpoints[1]: found 'wrong:p0'; expected a port of one of the nodes left, right"),
    ('"right:p0"]', '"right"]',
     "net.yaml:9: topology.links[0].endpoints[1]: found 'right'; expected NODE:pK, as in left:p0"),
    ('"right:p0"]', '"left:p0"]',
     "net.yaml:9: topology.links[0].endpoints[1]: found 'left:p0', which is already on links[0]; "
     "expected each port on one link"),
    ("64M", "64Q", "net.yaml:4: topology.defaults.limits.memory: found '64Q'; "
     "expected a number with an optional unit K, M, G or T, e.g. 64M"),
    ("name: small", "name: Small", "net.yaml:1: name: found 'Small'; expected a name of at most 21 lower-case letters, "
     "digits and hyphens, a letter first, no hyphen last"),
    ("name: small\n", "", "net.yaml:1: found no key 'name'; expected it to be there"),
    ("ports: 2}\n    right", "ports: 2, core: {routers: 4, fib_words: 8}}\n    right",
     "net.yaml:6: topology.nodes.left.core: found fib_words must be 64 to 1048576, not 8; "
     "expected parameters that a core can be built with"),
    ("ports: 2}\n    right", "ports: 2, core: {routers: 2}}\n    right",
     "net.yaml:6: topology.nodes.left: found 3 routers on a node that has room for 2; "
     "expected fewer routers, or core.routers to be 3"),
])
def test_bad_file(old, new, message):
    assert change(old, new) == [message]


@pytest.mark.parametrize("old,new,line", [
    ("10.0.0.1/30", "10.0.0.1/33", 15),
    ("10.0.0.1/30", "10.0.0.0/30", 15),
    ("192.168.1.1/24", "10.0.0.2/24", 16),
    ("passive: [eth1]", "passive: [eth5]", 17),
    ("passive: [eth1]", "hello: 5, dead: 5", 17),
    ("attach: \"left:p1\"", "attach: \"left:p2\"", 22),
    ("192.168.1.10/24}", "192.168.1.10/24, gateway: 10.9.9.9}", 22),
    ("eth1: {address: [192", "eth3: {address: [192", 16),
])
def test_a_mistake_in_an_anchored_part_is_shown_where_it_is_written(old, new, line):
    text = GOOD.replace(old, new)
    assert text != GOOD
    assert {message.split(":")[1] for message in problems(text)} <= {str(line), "17"}
    assert any(message.startswith(f"net.yaml:{line}: topology.networks.red.") for message in problems(text))


@pytest.mark.parametrize("text,message", [
    ("name: [", "net.yaml:1: found '<stream end>'; expected the node content"),
    ("name: a\nname: b\n", "net.yaml:2: found the key 'name' twice; expected each key of a mapping once"),
    ("name: {a: 1\n", "net.yaml:2: found '<stream end>'; expected ',' or '}'"),
    ("name: a\n---\nname: b\n", "net.yaml:2: found another document; expected YAML"),
    ("name: a\nname2: b\0\n", "net.yaml:2: found the character U+0000; expected text"),
    ("name: " + 3000 * "[", "net.yaml:1: found brackets in brackets without end; expected YAML"),
    ("- 1\n", "net.yaml:1: found a list; expected a mapping with the keys name and topology"),
    ("", "net.yaml:1: found nothing; expected a mapping with the keys name and topology"),
])
def test_not_a_topology(text, message):
    found = problems(text)
    assert len(found) == 1 and found[0].startswith(message)


RED = "topology.networks.red"


@pytest.mark.parametrize("old,new,message", [
    ("10.0.0.2/30", "10.0.0.1/30", f"21: {RED}.routers.right.interfaces.eth0.address: found 10.0.0.1/30, which is the "
     "address of routers.left.interfaces.eth0 too; expected an address of its own"),
    ("10.0.0.2/30", "10.0.0.2/24", f"21: {RED}.routers.right.interfaces.eth0.address: found 10.0.0.2/24 on the segment "
     "of routers.left.interfaces.eth0, which has 10.0.0.1/30; expected the same prefix length"),
    ("10.0.0.2/30", "192.168.1.129/25", f"21: {RED}.routers.right.interfaces.eth0.address: found 192.168.1.129/25, "
     "which overlaps 192.168.1.0/24 of routers.left.interfaces.eth1 on another segment; "
     "expected each subnet of a network on one segment"),
    ("192.168.1.10/24", "192.168.1.1/24", f"23: {RED}.hosts.a.address: found 192.168.1.1/24, which is the address of "
     "routers.left.interfaces.eth1 too; expected an address of its own"),
    ("192.168.1.10/24", "172.16.0.1/24", f"23: {RED}.hosts.a.address: found 172.16.0.1/24; "
     "expected an address in the segment's subnet, 192.168.1.0/24"),
    ('"left:p1"', '"right:p1"', f"23: {RED}.hosts.a.attach: found 'right:p1'; "
     "expected a port on whose segment there is a router of red"),
    ("192.168.1.10/24", "192.168.1.10/24, gateway: 192.168.1.99", f"23: {RED}.hosts.a.gateway: found 192.168.1.99; "
     "expected an address of one of the routers of red"),
    ("10.0.0.1/30", "10.0.0.1", f"16: {RED}.routers.left.interfaces.eth0.address: found '10.0.0.1'; "
     "expected an IPv4 or IPv6 address with its prefix length, as in 192.0.2.1/24 or 2001:db8::1/64"),
    ("10.0.0.1/30", "2001:db8::1", f"16: {RED}.routers.left.interfaces.eth0.address: found '2001:db8::1'; "
     "expected an IPv4 or IPv6 address with its prefix length, as in 192.0.2.1/24 or 2001:db8::1/64"),
    ("10.0.0.1/30", "'fe80::1%eth0/64'", f"16: {RED}.routers.left.interfaces.eth0.address: found 'fe80::1%eth0/64'; "
     "expected an IPv4 or IPv6 address with its prefix length, as in 192.0.2.1/24 or 2001:db8::1/64"),
    ("10.0.0.1/30", "fe80::1/64", f"16: {RED}.routers.left.interfaces.eth0.address: found 'fe80::1/64'; "
     "expected an address that an interface can have, not one of ::, ::1, ff00::/8, fe80::/10 (each interface has one "
     "of those by itself) or ::ffff:0:0/96"),
    ("10.0.0.1/30", "'2001:db8::/64'", f"16: {RED}.routers.left.interfaces.eth0.address: found '2001:db8::/64'; "
     "expected an address that is not the subnet's anycast address of routers"),
    ("10.0.0.1/30", "2001:db8::1/64, mtu: 1279", f"16: {RED}.routers.left.interfaces.eth0.mtu: found 1279; "
     "expected at least 1280, or no IPv6 address"),
    ("192.168.1.10/24", "[192.168.1.10/24, 2001:db8::a/64]", f"23: {RED}.hosts.a.address: found 2001:db8::a/64; "
     "expected no IPv6 address, as the routers on the segment have none"),
    ("192.168.1.10/24", "[192.168.1.10/24, 192.168.1.11/24]", f"23: {RED}.hosts.a.address: found two IPv4 addresses; "
     "expected one of each of IPv4 and IPv6"),
    ("192.168.1.10/24", "192.168.1.10/24, gateway: 2001:db8::1", f"23: {RED}.hosts.a.gateway: found 2001:db8::1; "
     "expected an address in 192.168.1.0/24"),
    ("10.0.0.1/30", "224.0.0.1/24", f"16: {RED}.routers.left.interfaces.eth0.address: found '224.0.0.1/24'; "
     "expected an address that an interface can have, not one of 0/8, 127/8, 224/4 or 240/4"),
    ("10.0.0.1/30", "10.0.0.1/30, mtu: 9000", f"16: {RED}.routers.left.interfaces.eth0.mtu: found 9000; "
     "expected at most 1504, or core.max_frame of left to be larger"),
    ("64M", "1M", "4: topology.defaults.limits.memory: found '1M'; expected at least 16M"),
])
def test_a_part_that_does_not_fit_the_others(old, new, message):
    text = GOOD.replace("    blue: *red\n    green:\n      <<: *red\n      hosts: {}\n", "")
    text = text.replace("  networks:\n", "  networks:\n    # one only\n").replace(old, new)
    assert problems(text) == [f"net.yaml:{message}"]


def test_what_could_be_two_things_is_one_problem():
    assert change("          ospf: {passive: [eth1]}", "          static: [{prefix: 10.9.0.0/16, via: x}]")[:1] == [
        "net.yaml:17: topology.networks.red.routers.left.static[0].via: found 'x'; "
        "expected an IPv4 address or an IPv6 address or 'blackhole'"]
    wrong = "          static: [{prefix: 2001:db8::1/32, via: 10.0.0.2}]"
    assert change("          ospf: {passive: [eth1]}", wrong)[:1] == [
        "net.yaml:17: topology.networks.red.routers.left.static[0].prefix: found '2001:db8::1/32'; "
        "expected an IPv4 prefix without host bits, as in 192.0.2.0/24 or "
        "an IPv6 prefix without host bits, as in 2001:db8::/32"]
    assert change("192.168.1.10/24}", "192.168.1.10/24, gateway: [x]}")[:1] == [
        "net.yaml:22: topology.networks.red.hosts.a.gateway[0]: found 'x'; "
        "expected an IPv4 address or an IPv6 address"]
    assert change("192.168.1.10/24}", "[10.0.0.1/8, 10.0.0.2/8, 10.0.0.3/8]}")[:1] == [
        "net.yaml:22: topology.networks.red.hosts.a.address: found a list; expected at most 2 entries"]


DUAL = (EXAMPLES / "dual-stack.yaml").read_text()


@pytest.mark.parametrize("old,new,expected", [
    ("via: 2001:db8:0:1::2}", "via: 10.0.0.2}",
     "static[1].via: found 10.0.0.2; expected an IPv6 address, as the prefix is"),
    ("via: 2001:db8:0:1::2}", "via: 2001:db8:9::1}",
     "static[1].via: found 2001:db8:9::1; expected an address in a subnet of an interface"),
])
def test_static_routes_of_ipv6(old, new, expected):
    assert [problem.rpartition("routers.left.")[2] for problem in problems(DUAL.replace(old, new))] == [expected]


def test_addresses_of_ipv6_are_compared_like_those_of_ipv4():
    found = problems(DUAL.replace("2001:db8:0:1::2/64", "2001:db8:0:1::1/64"))
    assert "eth0.address: found 2001:db8:0:1::1/64, which is the address of routers.left.interfaces.eth0 too" in (
        found[0])
    found = problems(DUAL.replace("2001:db8:0:1::2/64", "2001:db8:a::2/64", 1))
    assert "which overlaps 2001:db8:a::/64 of routers.left.interfaces.eth1 on another segment" in found[0]
    found = problems(DUAL.replace("2001:db8:a::10/64", "2001:db8:c::10/64"))
    assert "hosts.a.address: found 2001:db8:c::10/64; expected an address in the segment's subnet, 2001:db8:a::/64" in (
        found[0])
    found = problems(DUAL.replace("gateway: [192.168.2.1, 2001:db8:b::1]", "gateway: 2001:db8:b::77"))
    assert "hosts.b.gateway: found 2001:db8:b::77; expected an address of one of the routers of red" in found[0]


def test_a_router_without_ipv4_needs_an_id():
    only6 = GOOD.replace("    green:\n      <<: *red\n      hosts: {}\n", "").replace("    blue: *red\n", "")
    only6 = only6.replace("10.0.0.1/30", "2001:db8:1::1/64").replace("192.168.1.1/24", "2001:db8:2::1/64")
    only6 = only6.replace("10.0.0.2/30", "2001:db8:1::2/64").replace("192.168.1.10/24", "2001:db8:2::a/64")
    assert problems(only6) == ["net.yaml:17: topology.networks.red.routers.left.ospf: found no key 'router_id' in a "
                               "router without an IPv4 address; expected it to be there"]
    file = parse(only6.replace("passive: [eth1]", "passive: [eth1], router_id: 1.2.3.4"))
    spec = network_spec(file, allocate(file, None))
    left, host = spec.nodes["left"].routers["red-left"], spec.hosts["red-a"]
    assert "router ospf6\n ospf6 router-id 1.2.3.4\n" in left.frr and "router ospf\n" not in left.frr
    assert left.daemons == ["zebra", "staticd", "ospf6d"]
    assert (host.address, host.gateway, host.address6, host.gateway6) == (
        None, None, "2001:db8:2::a/64", "2001:db8:2::1")


def test_dual_stack_to_the_last_address():
    file = load(EXAMPLES / "dual-stack.yaml")
    spec = network_spec(file, allocate(file, None))
    red, blue = (spec.nodes["left"].routers[f"{network}-left"] for network in ("red", "blue"))
    assert red.ports[0].addresses == ["10.0.0.1/30", "2001:db8:0:1::1/64"]
    assert " ip address 10.0.0.1/30\n ipv6 address 2001:db8:0:1::1/64\n ip ospf area 0\n" in red.frr
    assert " ipv6 ospf6 area 0\n ipv6 ospf6 passive\nexit" in red.frr
    assert "router ospf6\n ospf6 router-id 10.0.0.1\nexit" in red.frr
    assert "ip route 192.168.2.0/24 10.0.0.2\nipv6 route 2001:db8:b::/64 2001:db8:0:1::2\n" in blue.frr
    host = spec.hosts["red-a"]
    assert (host.address6, host.gateway6) == ("2001:db8:a::10/64", "2001:db8:a::1")
    assert host.neighbours == {"192.168.1.1": red.ports[1].mac, "2001:db8:a::1": red.ports[1].mac}
    assert spec.hosts["blue-a"].neighbours["2001:db8:a::1"] == blue.ports[1].mac != red.ports[1].mac


def test_missing_file(tmp_path):
    with pytest.raises(TopologyError, match=r"nothing\.yaml:1: found No such file or directory; "):
        load(tmp_path / "nothing.yaml")


def test_quotas_that_do_not_fit():
    text = GOOD.replace("          ospf: {passive: [eth1]}", "          fib_words: 9000")
    assert problems(text) == [
        "net.yaml:6: topology.nodes.left: found 27000 fib_words asked for by the node's routers; "
        "expected at most 16384, or core.fib_words to be larger"]


def test_names_that_meet():
    text = GOOD.replace("        a: {attach", "        left: {attach")
    assert problems(text)[0] == (
        "net.yaml:22: topology.networks.red.hosts.left: found 'red-left', which is the name of "
        "topology.networks.red.routers.left too; expected names that differ")


def test_schema_names_every_key():
    schema = TopologyFile.model_json_schema()
    assert set(schema["properties"]) == {"name", "topology"}
    assert set(schema["$defs"]["Router"]["properties"]) == {
        "node", "image", "limits", "interfaces", "static", "ospf", "bgp", "frr", "fib_words", "adjacencies", "mode",
        "filters", "filter_rules", "policers", "mac_rows", "rate", "punt-rate", "buffer", "mirror", "multicast",
        "pim"}
    assert set(schema["$defs"]["FilterEntry"]["properties"]) == {
        "match", "action", "set", "class", "police", "mirror"}
    assert set(schema["$defs"]["Match"]["properties"]) == {
        "port", "vlan", "pcp", "src-mac", "dst-mac", "ethertype", "src", "dst", "protocol", "tos", "src-port",
        "dst-port"}
