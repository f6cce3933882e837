"""Link objects that commands make: laid over the topology file, kept by up, and refused when they don't fit."""

import pytest
from polyrouter.host.link_objects import (
    LinkObjectError,
    create,
    delete,
    keep,
    overlay,
    said_of_objects,
    update,
)
from polyrouter.host.links import links_of
from polyrouter.host.topology import Topology
from polyrouter.host.topology_document import TopologyError
from polyrouter.host.topology_file import document_of, parse

from .link_text import TEXT, changed

DATA = document_of(TEXT).data
MINE = {"vnics": {"mine": {"node": "left", "switch": "stub", "max-bw": "5M"}}}


def topology(objects) -> Topology:
    return parse(TEXT, objects=objects).topology


def test_what_is_made_is_as_if_it_were_in_the_file():
    objects = create({}, "vnic", "mine", {"node": "left", "switch": "stub", "max-bw": "5M", "mtu": None}, topology({}))
    assert objects == MINE
    assert links_of(topology(objects).model_copy()).vnics["mine"].max_bw == 5_000_000
    assert "mine" not in DATA["topology"]["vnics"]      # what was read is not changed


@pytest.mark.parametrize("kind,name", [("vnic", "web1"), ("vnic", "red-left.v0"), ("switch", "stub"), ("wire", "w"),
                                       ("portgroup", "web"), ("tunnel", "t")])
def test_each_is_made_once(kind, name):
    with pytest.raises(LinkObjectError, match=f"^there is a {kind} {name} already"):
        create({}, kind, name, {}, topology({}))


def test_what_is_made_can_be_changed_and_properties_cleared():
    objects = update(MINE, DATA, "vnic", "mine", {"max-bw": None, "priority": "high"}, topology(MINE))
    assert objects == {"vnics": {"mine": {"node": "left", "switch": "stub", "priority": "high"}}}


@pytest.mark.parametrize("name,others", [
    ("phy", {}), ("web1", {"web0": 10**7, "web2": 10**7}), ("red-left.v0", {"web0": 10**7})])
def test_what_the_file_has_can_be_changed_until_the_next_up(name, others):
    objects = update({}, DATA, "vnic", name, {"max-bw": "7M"}, topology({}))
    vnics = links_of(topology(objects)).vnics
    assert vnics[name].max_bw == 7_000_000
    assert {other: vnics[other].max_bw for other in others} == others
    assert [*vnics] and set(vnics) == set(links_of(topology({})).vnics)
    assert keep(objects, topology({})) == {}


def test_a_group_changes_for_all_members():
    objects = update({}, DATA, "portgroup", "web", {"max-bw": "3M"}, topology({}))
    vnics = links_of(topology(objects)).vnics
    assert [vnics[f"web{index}"].max_bw for index in range(3)] == 3 * [3_000_000]


def test_up_keeps_what_commands_made_and_the_file_does_not_name():
    assert keep(MINE, topology({})) == MINE
    named = parse(changed(("    end: {node", "    mine: {node: right}\n    end: {node"))).topology
    assert keep(MINE, named) == {}


def test_what_is_not_there_is_not_changed():
    for attempt in (lambda: update({}, DATA, "wire", "x", {"vlan": 5}, topology({})),
                    lambda: delete({}, DATA, "wire", "x", topology({}))):
        with pytest.raises(LinkObjectError, match=r"^there is no wire x; there are: w$"):
            attempt()
    with pytest.raises(LinkObjectError, match=r"^nothing is said to change of wire w"):
        update({}, DATA, "wire", "w", {}, topology({}))


def test_only_what_commands_made_is_deleted():
    assert delete(MINE, DATA, "vnic", "mine", topology(MINE)) == {"vnics": {}}
    for name in ("web1", "phy", "red-left.v0"):
        with pytest.raises(LinkObjectError, match=f"^vnic {name} is in the topology file: take it out there"):
            delete({}, DATA, "vnic", name, topology({}))


def test_several_that_are_made_as_one():
    objects = create({}, "vnic", "many", {"switch": "stub", "count": 3}, topology({}))
    with pytest.raises(LinkObjectError, match=r"^there is a vnic many already"):
        create(objects, "vnic", "many", {"switch": "stub"}, topology(objects))
    one = update(objects, DATA, "vnic", "many1", {"max-bw": "2M"}, topology(objects))
    vnics = links_of(topology(one)).vnics
    assert [vnics[f"many{index}"].max_bw for index in range(3)] == [None, 2_000_000, None]
    assert delete(one, DATA, "vnic", "many1", topology(one)) == objects
    with pytest.raises(LinkObjectError, match=r"^vnic many2 is one of several that were made as one"):
        delete(one, DATA, "vnic", "many2", topology(one))
    assert delete(objects, DATA, "vnic", "many", topology(objects)) == {"vnics": {}}
    all_of_them = update(objects, DATA, "vnic", "many", {"max-bw": "2M"}, topology(objects))
    assert links_of(topology(all_of_them)).vnics["many2"].max_bw == 2_000_000


@pytest.mark.parametrize("entry,message", [
    ({"node": "left", "switch": "nix"},
     "vnic mine: switch: found 'nix'; expected one of the virtual switches stub, far"),
    ({"node": "left", "max-bw": "1k"}, "vnic mine: max-bw: found '1k'; expected 64k to 1G bit/s"),
    ({"node": "moon"}, "vnic mine: node: found 'moon'; expected one of the nodes left, right"),
    ({"node": "left", "port": "p0"}, "vnic mine: found untagged frames of port p0 of left, which "
     "networks.red.routers.left has already; expected another VLAN, or a port that nobody else has on this VLAN"),
])
def test_what_is_wrong_with_one_is_said_without_the_file(entry, message):
    with pytest.raises(TopologyError) as caught:
        parse(TEXT, "net.yaml", objects={"vnics": {"mine": entry}})
    assert [said_of_objects(str(problem)) for problem in caught.value.problems] == [message]


def test_up_says_that_a_command_made_it():
    with pytest.raises(TopologyError) as caught:
        parse(changed(("    far: {node: right, uplinks: [p2, {port: p1, vlan: 9}]}\n", ""),
                      (", switch: far", ", port: p2")),
              "net.yaml", objects={"vnics": {"mine": {"switch": "far"}}})
    assert ("topology.vnics.mine.switch (made by command): found 'far'; expected one of the virtual switches stub"
            in str(caught.value))


def test_a_file_without_sections_gets_them():
    assert overlay({"name": "a", "topology": {"nodes": {}}}, MINE)["topology"]["vnics"] == MINE["vnics"]
    assert overlay({"topology": {"vnics": None}}, MINE)["topology"]["vnics"] == MINE["vnics"]
