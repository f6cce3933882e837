"""The plan of an ``up``: named changes, each with its why, and nothing else."""

from pathlib import Path

import pytest
from polyrouter.host.allocate import allocate
from polyrouter.host.compile import network_spec
from polyrouter.host.plan import Seen, plan
from polyrouter.host.spec import NetworkSpec
from polyrouter.host.topology_file import parse

TEXT = (Path(__file__).parents[3] / "examples" / "two-sites.yaml").read_text()


def spec_of(text: str, previous: NetworkSpec | None = None) -> NetworkSpec:
    file = parse(text)
    return network_spec(file, allocate(file, allocate(parse(TEXT)) if previous else None))


@pytest.fixture
def before() -> NetworkSpec:
    return spec_of(TEXT)


def all_there(spec: NetworkSpec) -> Seen:
    links: dict[str, str | None] = {node.host_tap: None for node in spec.nodes.values()}
    links |= {tap: None for node in spec.nodes.values() for tap in node.taps}
    for segment in spec.segments.values():
        links[segment.bridge] = None
        links |= {tap: segment.bridge for tap in segment.taps}
    return Seen(fabric=True, links=links, hosts=set(spec.hosts), agents=set(spec.nodes))


def changes(old: NetworkSpec | None, new: NetworkSpec, seen: Seen) -> list[str]:
    return [str(change) for change in plan(old, new, seen)]


def test_new_network(before):
    found = changes(None, before, Seen())
    assert found[0] == "create fabric pr-two-sites: the network is new"
    assert len(found) == 1 + 2 + 5 + 32 + 16
    assert "create router grey-right: it is new in the file" in found


def test_nothing_to_do(before):
    assert changes(before, before, all_there(before)) == []


def test_a_network_less(before):
    after = spec_of(TEXT.replace("    orange: *ospf\n", ""), before)
    assert changes(before, after, all_there(before)) == [
        f"remove {kind} orange-{name}: it is not in the file any more"
        for kind, names in (("host", "abcd"), ("router", ("left", "right"))) for name in names]


def test_a_host_more_is_a_peer_more_of_its_router_only(before):
    marker = "    orange: *ospf\n"
    extra = TEXT.replace(marker, "    orange:\n      <<: *ospf\n      hosts:\n"
                         "        a: {attach: \"left:p1\", address: 192.168.1.10/24}\n"
                         "        b: {attach: \"right:p1\", address: 192.168.2.10/24}\n"
                         "        c: {attach: \"left:p2\", address: 192.168.3.10/24}\n"
                         "        d: {attach: \"right:p3\", address: 192.168.4.10/24}\n"
                         "        e: {attach: \"left:p1\", address: 192.168.1.11/24}\n")
    after = spec_of(extra, before)
    assert changes(before, after, all_there(before)) == [
        "update host orange-a: neighbours differ",
        "create host orange-e: it is new in the file",
        f"update router orange-left: eth1: peer {after.hosts['orange-e'].mac} added"]


def test_limits_and_configuration(before):
    after = spec_of(TEXT.replace("memory: 128M", "memory: 64M").replace("hello: 1, dead: 4", "hello: 2, dead: 8", 1),
                    before)
    found = changes(before, after, all_there(before))
    assert len(found) == 16
    assert ("update router red-left: memory was 128M, is 64M; its routing configuration differs") in found
    assert ("update router red-right: memory was 128M, is 64M") in found


def test_ports_of_a_node(before):
    after = spec_of(TEXT.replace("left: {kind: board, ports: 4}", "left: {kind: board, ports: 6}"), before)
    assert "replace node left: ports was 4, is 6" in changes(before, after, all_there(before))


@pytest.mark.parametrize("damage,expected", [
    (lambda seen: seen.agents.remove("left"), ["repair node left: its agent does not run"]),
    (lambda seen: seen.boards_down.add("left"), ["repair node left: its board does not run"]),
    (lambda seen: seen.hosts.remove("red-a"), ["repair host red-a: its namespace or interface is gone"]),
    (lambda seen: seen.links.pop("b.leftp1"), ["repair segment leftp1: its bridge b.leftp1 is gone"]),
    (lambda seen: seen.links.update({"left-p1": None}), ["repair segment leftp1: left-p1 is not in its bridge"]),
    (lambda seen: seen.links.pop("left-host"), ["repair node left: it has lost left-host"]),
    (lambda seen: seen.troubles.update({"red-left": "its container does not run"}),
     ["repair router red-left: its container does not run"]),
])
def test_what_has_died_is_repaired(before, damage, expected):
    seen = all_there(before)
    damage(seen)
    assert changes(before, before, seen) == expected


def test_an_up_that_broke_off_is_done_again(before):
    seen = all_there(before)
    seen.unfinished = True
    found = plan(before, before, seen)
    assert {(change.action, change.why) for change in found} == {("repair", "the last 'up' did not end")}
    assert [change.name for change in found if change.kind == "node"] == ["left", "right"]
    assert len([change for change in found if change.kind == "host"]) == 32
