"""Numbers, circuits, lanes and addresses of links: the same every time, stable under change, refused when too many."""

import pytest
from polyrouter.host.allocate import Allocation, AllocationError, allocate
from polyrouter.host.topology_file import parse

from .link_text import TEXT, changed


def lanes(allocation: Allocation) -> dict[str, str]:
    return {name: place.lane for name, place in allocation.vnics.items()}


def test_the_same_every_time():
    file = parse(TEXT)
    first = allocate(file)
    assert allocate(parse(TEXT)) == first == allocate(file, first)


def test_numbers_and_circuits_are_there_once():
    allocation = allocate(parse(TEXT))
    for node in ("left", "right"):
        numbers = [place.number for part in (allocation.routers, allocation.switches, allocation.vnics)
                   for place in part.values() if place.node == node and place.number is not None]
        assert sorted(numbers) == list(range(len(numbers)))
        assert sorted(allocation.circuits[node].values()) == list(range(1, len(allocation.circuits[node]) + 1))
    assert {name for name, place in allocation.vnics.items() if place.number is None} == {"two", "red-left.v0"}
    assert set(allocation.circuits["left"]) == {
        "list stub", "list left.p1.7", "vnic fin", "tunnel t",
        *(f"{end} {name}" for end in ("vnic", "member") for name in ("web0", "web1", "web2", "phy", "red-left.v0"))}


def test_what_stays_keeps_what_it_has():
    first = allocate(parse(TEXT))
    fewer = allocate(parse(changed(("    phy: {node: left, port: p1, vlan: 7, address: 10.7.0.1/24}\n", ""))), first)
    assert "phy" not in fewer.vnics and "left.p1.7" not in fewer.switches
    for part in ("routers", "switches", "vnics"):
        for name, place in getattr(fewer, part).items():
            assert place == getattr(first, part)[name]
    for name, number in fewer.circuits["left"].items():
        assert number == first.circuits["left"][name]
    assert allocate(parse(TEXT), fewer) == first


def test_all_vnics_of_a_router_have_its_address_at_the_link_port():
    allocation = allocate(parse(changed(("{switch: stub}}", "{switch: stub}}\n            v1: {address: 10.3.0.1/24, "
                                         "vnic: {port: p2}}"))))
    assert allocation.vnics["red-left.v0"].mac == allocation.vnics["red-left.v1"].mac
    assert allocation.vnics["red-left.v0"].mac == allocation.routers["red-left"].macs[3]
    macs = [place.mac for name, place in allocation.vnics.items() if not name.startswith("red-left")]
    macs += [mac for place in allocation.routers.values() for mac in place.macs.values()]
    macs += [place.mac for place in allocation.switches.values()]
    assert len(macs) == len(set(macs)) + 1      # that of red-right and of its VNIC


def test_an_address_that_was_asked_for_is_given_back():
    first = allocate(parse(TEXT))
    asked = allocate(parse(changed(("end: {node", 'end: {mac: "02:00:00:00:00:09", node'))), first)
    assert asked.vnics["end"].mac == "02:00:00:00:00:09"
    assert allocate(parse(TEXT), asked).vnics["end"].mac == first.vnics["end"].mac


def test_what_finds_no_room_in_hardware_is_in_software_behind_one_trunk():
    allocation = allocate(parse(changed(("count: 3", "count: 40"))))
    # 16 numbers: a router, two switches, phy, fin, the trunk, and so 10 of the others.
    found = lanes(allocation)
    assert [name for name in found if name.startswith("web") and found[name] == "hw"] == [
        f"web{index}" for index in range(10)]
    assert found["stub.trunk"] == "hw" and "left.p1.7.trunk" not in found
    assert found["phy"] == found["fin"] == "hw"
    assert allocation.vnics["web30"].number is None
    assert "vnic web30" not in allocation.circuits["left"] and "member stub.trunk" in allocation.circuits["left"]


def test_circuits_may_be_what_there_is_too_little_of():
    text = changed(("count: 3", "count: 40"), ("routers: 16", "routers: 64, circuits: 16"))
    found = lanes(allocate(parse(text)))
    # 15 circuits: two lists, fin, the tunnel, the router's two, the trunk's two; the rest is for three more.
    assert [name for name, lane in found.items() if lane == "hw" and name.startswith(("web", "phy"))] == [
        "web0", "web1", "phy"]


def test_a_router_that_comes_takes_a_number_from_a_vnic_that_can_be_in_software():
    first = allocate(parse(changed(("count: 3", "count: 11"))))
    assert set(lanes(first).values()) == {"hw"}
    more = changed(("count: 3", "count: 11"), (
        "        right: {int", "        more: {node: left, interfaces: {eth2: {address: 10.9.0.1/24}}}\n"
        "        other: {node: left, interfaces: {eth0: {address: 10.8.0.1/24, vlan: 5}}}\n        right: {int"))
    after = allocate(parse(more), first)
    soft = [name for name, lane in lanes(after).items() if lane == "sw"]
    assert soft and set(soft) <= {f"web{index}" for index in range(11)}
    for name, place in after.vnics.items():
        if place.number is not None and name in first.vnics:
            assert place == first.vnics[name]


def test_who_is_in_hardware_stays_there_when_others_come_before():
    small = ("routers: 16", "routers: 9")
    web = "web: {node: left, switch: stub, count: 3, group: web}"
    first = allocate(parse(changed(small)))
    assert set(lanes(first).values()) == {"hw"}
    after = allocate(parse(changed(small, (web, f"new: {{node: left, switch: stub, count: 2}}\n    {web}"))), first)
    kept = lanes(after)
    assert (kept["new0"], kept["new1"]) == ("sw", "sw")
    assert sum(lane == "hw" for name, lane in kept.items() if name.startswith(("web", "phy"))) == 4


def test_software_alone_takes_nothing_of_the_data_plane():
    text = changed(("count: 3", "count: 3, lane: sw"), (", vnic: {switch: stub}}", ", vnic: {port: p2}}"), (
        "    t: {node: left, switch: stub, kind: vxlan, key: 9, underlay: red-left, remote: 10.0.0.2}\n", ""),
        ("  tunnels:\n", ""))
    allocation = allocate(parse(text))
    assert "stub" not in allocation.switches and "stub.trunk" not in allocation.vnics
    assert allocation.vnics["web0"].lane == "sw"


def test_what_can_only_be_in_hardware_is_refused_when_numbers_are_gone():
    file = parse(TEXT)
    file.topology.nodes["left"].core.routers = 3
    with pytest.raises(AllocationError, match=r"which has room for 3 of these in all: core\.routers to be "):
        allocate(file)


@pytest.mark.parametrize("core,hardware", [
    ("routers: 300, adjacencies: 4096, fib_words: 65536", 256),
    ("routers: 64", 58)])       # less a router, two switches, phy, fin and a trunk
def test_256_vnics_on_a_node(core, hardware):
    allocation = allocate(parse(changed(("count: 3", "count: 256"), ("routers: 16", core))))
    webs = [place.lane for name, place in allocation.vnics.items() if name.startswith("web")]
    assert len(webs) == 256 and webs.count("hw") == hardware
