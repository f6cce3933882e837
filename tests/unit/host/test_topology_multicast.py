"""Multicast of a topology file: what is refused, to the letter, and what comes of it."""

from collections.abc import Iterator

import pytest
from polyrouter.host import frr
from polyrouter.host.plan import router_differences
from polyrouter.host.topology import TopologyFile
from polyrouter.host.topology_file import parse

from .test_topology_policies import problems, spec_of

TEXT = """\
name: small
topology:
  nodes:
    left: {ports: 4}
  networks:
    red:
      routers:
        left:
          interfaces:
            eth0: {address: [10.0.0.1/30, "2001:db8::1/64"]}
            eth1: {address: 192.168.1.1/24}
            eth2: {address: 192.168.2.1/24}
          fib_words: 600
          multicast:
            - {group: 239.1.1.1, source: 192.168.1.10, from: eth1, to: [eth0, eth2]}
            - {group: 239.1.1.1, from: eth0, to: eth2, host: true}
            - {group: "ff05::101", from: eth1, host: true}
"""
RED = "topology.networks.red.routers.left"
FIRST = "{group: 239.1.1.1, source: 192.168.1.10, from: eth1, to: [eth0, eth2]}"
GROUPS = ("a multicast group that routers forward, of 224.0.0.0/4 without 224.0.0.0/24, or of ff00::/8 with a scope "
          "above 2")
NAMES = "one of the router's interfaces eth0, eth1, eth2"


def red(text: str = TEXT):
    return spec_of(text).nodes["left"].routers["red-left"]


def route(group: str = "239.1.1.9", source: str = "", rest: str = "from: eth1, to: eth0") -> str:
    return f"{{group: '{group}', {f'source: {source}, ' if source else ''}{rest}}}"


def wrong_groups() -> Iterator[tuple[str, str]]:
    for group in ("10.0.0.1", "224.0.0.9", "ff02::5", "ff01::1", "2001:db8::1"):
        yield route(group), f".group: found '{group}'; expected {GROUPS}"


def wrong_sources() -> Iterator[tuple[str, str]]:
    for source in ("239.1.1.1", "0.0.0.0", "127.0.0.1", "240.0.0.1", "'fe80::1'"):
        yield route(source=source), (f".source: found {source if source[0] == chr(39) else repr(source)}; "
                                     "expected a host's address that routers forward packets of")


@pytest.mark.parametrize(("entry", "message"), [
    *wrong_groups(), *wrong_sources(),
    (route("all"), ".group: found 'all'; expected an IPv4 address or an IPv6 address"),
    (route(source="'2001:db8::9'"), ".source: found 2001:db8::9; expected an IPv4 address, as the group is"),
    (route("ff05::9", "10.0.0.2"), ".source: found 10.0.0.2; expected an IPv6 address, as the group is"),
    (route(rest="from: eth3, to: eth0"), f".from: found 'eth3'; expected {NAMES}"),
    (route(rest="from: eth9, to: eth0"), f".from: found 'eth9'; expected {NAMES}"),
    (route(rest="from: eth1, to: [eth0, eth3]"), f".to[1]: found 'eth3'; expected {NAMES}"),
    (route(rest="from: eth1, to: [eth1]"),
     ".to[0]: found 'eth1'; expected another interface than its packets come from"),
    (route(rest="from: eth1"), ": found neither a key 'to' nor 'host: true'; expected one of them"),
    (route(rest="to: eth1"), ": found no key 'from'; expected it to be there"),
    (route(source="192.168.2.77"),
     ".from: found 'eth1'; expected eth2, whose subnet has the source 192.168.2.77"),
    (FIRST.replace("239.1.1.1", "239.1.1.9, colour: 1"),
     ".colour: found an unknown key 'colour'; expected one of group, source, from, to, host"),
])
def test_refused_routes(entry, message):
    assert problems(TEXT.replace(FIRST, entry)) == [f"net.yaml:15: {RED}.multicast[0]{message}"]


@pytest.mark.parametrize(("old", "new", "message"), [
    ("{group: 239.1.1.1, from: eth0", "{group: 239.1.1.1, source: 192.168.1.10, from: eth1", f"16: {RED}.multicast[1]: "
     "found (192.168.1.10, 239.1.1.1), which is multicast[0] too; expected one route for each of these"),
    ("fib_words: 600", "fib_words: 100", f"8: {RED}: found 100 fib_words and 128 adjacencies of a router with "
     "multicast; expected at least 64 words more than adjacencies"),
    ("fib_words: 600", "pim: {rp: [10.0.0.2, 10.0.0.3]}", f"13: {RED}.pim.rp: found two IPv4 addresses; expected one "
     "of each of IPv4 and IPv6"),
    ("fib_words: 600", "pim: {rp: 239.1.1.1}", f"13: {RED}.pim.rp: found '239.1.1.1'; expected a host's address that "
     "routers forward packets of"),
    ("fib_words: 600", "pim: {hello: 0}", f"13: {RED}.pim.hello: found 0; expected greater than or equal to 1"),
    ("fib_words: 600", "pim: fast", f"13: {RED}.pim: found 'fast'; expected a mapping"),
    (TEXT[TEXT.index("          multicast:"):], "          multicast: 7\n",
     f"14: {RED}.multicast: found 7; expected a list"),
])
def test_refused(old, new, message):
    assert TEXT.count(old) == 1
    assert problems(TEXT.replace(old, new)) == [f"net.yaml:{message}"]


def test_more_routes_than_there_is_room_for():
    text = TEXT + "".join(f"            - {route(f'ff05::{k:x}:{k:x}', f'2001:db8:{k:x}::{k:x}')}\n"
                          for k in range(1, 40))
    [problem] = problems(text)
    assert problem.startswith(f"net.yaml:14: {RED}.multicast: found 42 routes, of which ")
    assert problem.endswith(" do not fit; expected fewer, or fib_words or adjacencies of the router to be more")
    assert parse(text.replace("fib_words: 600", "fib_words: 6000"))


def test_more_routes_than_there_are_adjacencies_for():
    ways = [f"from: eth{k}, to: [{to}], host: {host}" for k, to in (
        (0, "eth1"), (0, "eth2"), (0, "eth1, eth2"), (1, "eth0"), (1, "eth2")) for host in ("true", "false")]
    text = TEXT.replace("fib_words", "adjacencies: 8\n          fib_words") + "".join(
        f"            - {route(f'239.2.2.{k}', rest=way)}\n" for k, way in enumerate(ways))
    [problem] = problems(text)
    assert problem.startswith(f"net.yaml:15: {RED}.multicast: found 13 routes, of which 5 do not fit")


@pytest.mark.parametrize("key", ["multicast: true", "multicast: []", "pim: true", "pim: {}"])
def test_only_a_routed_router_has_multicast(key):
    lan = f"    lan:\n      routers:\n        b: {{node: left, mode: bridged, {key}, interfaces: {{eth3: {{}}}}}}\n"
    name = key.partition(":")[0]
    assert problems(TEXT + lan) == [
        f"net.yaml:20: topology.networks.lan.routers.b.{name}: found {name} in a bridged router; expected mode: routed"]
    assert parse(TEXT + lan.replace(key, f"{name}: false"))


def test_specification():
    assert [group.model_dump() for group in red().groups] == [
        {"group": "239.1.1.1", "source": "192.168.1.10", "port": 1, "ports": [0, 2], "host": False},
        {"group": "239.1.1.1", "source": None, "port": 0, "ports": [2], "host": True},
        {"group": "ff05::101", "source": None, "port": 1, "ports": [], "host": True}]
    routes = TEXT[TEXT.index("          multicast:"):]
    for key, on in (("multicast: true", True), ("multicast: false", False), ("pim: true", True), ("pim: false", False)):
        spec = red(TEXT.replace(routes, f"          {key}\n"))
        assert spec.multicast is on and spec.groups == []
    assert not red(TEXT.replace(routes, "")).multicast


def test_differences_are_named():
    before = red()
    assert router_differences(before, red(TEXT.replace("to: [eth0, eth2]", "to: eth2"))) == [
        "multicast route (192.168.1.10, 239.1.1.1) differs"]
    assert router_differences(before, red(TEXT.replace("ff05::101", "ff05::102"))) == [
        "multicast route (*, ff05::102) added, multicast route (*, ff05::101) removed"]


def test_frr_configuration_of_pim():
    routes = TEXT[TEXT.index("          multicast:"):]
    spec = red(TEXT.replace(routes, "          pim: {rp: [10.0.0.1, '2001:db8::1'], hello: 5}\n"))
    blocks = spec.frr.split("\n!\n")
    assert ("interface eth0\n ip address 10.0.0.1/30\n ipv6 address 2001:db8::1/64\n ip pim\n ip igmp\n"
            " ip pim hello 5\n ipv6 pim\n ipv6 mld\n ipv6 pim hello 5\nexit") in blocks
    assert "interface eth1\n ip address 192.168.1.1/24\n ip pim\n ip igmp\n ip pim hello 5\nexit" in blocks
    assert "router pim\n rp 10.0.0.1 224.0.0.0/4\nexit" in blocks
    assert "router pim6\n rp 2001:db8::1 ff00::/8\nexit" in blocks
    assert spec.daemons == ["zebra", "staticd", "pimd", "pim6d"]
    assert frr.daemons("interface eth0\n ipv6 mld\n") == ["zebra", "staticd", "pim6d"]
    assert frr.daemons("interface eth0\n ip igmp\n") == ["zebra", "staticd", "pimd"]


def test_schema():
    schema = TopologyFile.model_json_schema()["$defs"]
    for key, arms in (("multicast", {"array", "null", "boolean"}), ("pim", {None, "null", "boolean"})):
        assert {arm.get("type") for arm in schema["Router"]["properties"][key]["anyOf"]} == arms
    assert set(schema["MulticastRoute"]["properties"]) == {"group", "source", "from", "to", "host"}
