"""Changes of links: each is named with its why, and what is not concerned is left alone."""

import pytest
from polyrouter.host.allocate import allocate
from polyrouter.host.compile import network_spec
from polyrouter.host.plan import BY_COMMAND, Seen, plan
from polyrouter.host.spec import NetworkSpec
from polyrouter.host.topology_file import parse

from .link_text import TEXT, changed


def spec_of(text: str) -> NetworkSpec:
    file = parse(text, running={"left": 32, "right": 32})
    return network_spec(file, allocate(file, allocate(parse(TEXT))))


@pytest.fixture
def before() -> NetworkSpec:
    return spec_of(TEXT)


def all_there(spec: NetworkSpec) -> Seen:
    links: dict[str, str | None] = {node.host_tap: None for node in spec.nodes.values()}
    links |= {tap: None for node in spec.nodes.values() for tap in node.taps}
    for segment in spec.segments.values():
        links[segment.bridge] = None
        links |= {tap: segment.bridge for tap in segment.taps}
    namespaces = {vnic.namespace for node in spec.nodes.values() for vnic in node.vnics.values()}
    return Seen(fabric=True, links=links, hosts=set(spec.hosts), agents=set(spec.nodes), namespaces=namespaces)


def changes(old: NetworkSpec | None, new: NetworkSpec, seen: Seen) -> list[str]:
    return [str(change) for change in plan(old, new, seen)]


def test_new_network(before):
    found = changes(None, before, Seen())
    for line in ("create switch stub", "create switch left.p1.7", "create tunnel t", "create vnic web0",
                 "create vnic red-left.v0", "create router red-left", "create host red-a"):
        assert f"{line}: it is new in the file" in found
    assert not any("router web0" in line or "router stub" in line for line in found)


def test_nothing_to_do(before):
    assert changes(before, before, all_there(before)) == []


def test_a_vnic_more_changes_its_switch_and_nobody_else(before):
    after = spec_of(changed(("    end: {node", "    mine: {node: left, switch: stub}\n    end: {node")))
    assert [line.partition(": ")[0] for line in changes(before, after, all_there(before))] == [
        "update switch stub", "create vnic mine"]
    assert [change.why for change in plan(before, after, all_there(before), BY_COMMAND)
            if change.action == "create"] == ["it was asked for"]


def test_a_vnic_less(before):
    after = spec_of(changed(("count: 3", "count: 2")))
    assert [line.partition(": ")[0] for line in changes(before, after, all_there(before))] == [
        "update switch stub", "remove vnic web2"]


def test_a_limit_changes_the_vnic_alone(before):
    after = spec_of(changed(("port: p1, vlan: 7,", "port: p1, vlan: 7, max-bw: 5M,")))
    assert changes(before, after, all_there(before)) == [
        "update vnic phy: max_bw was None, is 5M; punt_rate was None, is 5M; phy: rate was None, is 5M"]


def test_a_group_changes_all_of_its_members(before):
    after = spec_of(changed(("max-bw: 10M", "max-bw: 20M")))
    found = changes(before, after, all_there(before))
    assert [line.partition(": ")[0] for line in found] == [f"update vnic web{index}" for index in range(3)]


def test_a_tunnel(before):
    after = spec_of(changed(("key: 9", "key: 10")))
    found = changes(before, after, all_there(before))
    assert len(found) == 1 and found[0].startswith("update tunnel t: ") and "key was 9, is 10" in found[0]
    gone = spec_of(changed(("    t: {node: left, switch: stub, kind: vxlan, key: 9, underlay: red-left, "
                            "remote: 10.0.0.2}\n", "    {}\n")))
    assert "remove tunnel t: it is not in the file any more" in changes(before, gone, all_there(before))


def test_what_has_died_is_repaired(before):
    seen = all_there(before)
    seen.namespaces.discard("pr-small.web1")
    seen.troubles["web2"] = "its interface is gone"
    assert changes(before, before, seen) == ["repair vnic web1: its namespace pr-small.web1 is gone",
                                             "repair vnic web2: its interface is gone"]


def test_a_node_that_goes_takes_its_links_along(before):
    text = "name: small\ntopology:\n  nodes:\n    left: {ports: 3, core: {routers: 16, circuits: 32}}\n"
    found = changes(before, spec_of(text), all_there(before))
    assert "remove vnic end: its node right is not in the file any more" in found
    assert "remove switch far: its node right is not in the file any more" in found
