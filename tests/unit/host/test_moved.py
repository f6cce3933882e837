"""A router that was moved is on another node than its file says, with all that it had."""

import pytest
from polyrouter.host.allocate import allocate
from polyrouter.host.compile import network_spec
from polyrouter.host.link_objects import MOVES, keep, move
from polyrouter.host.topology_document import TopologyError
from polyrouter.host.topology_file import parse

TEXT = """\
name: moved
topology:
  nodes:
    west: {kind: board, ports: 2}
    east: {kind: board, ports: 2}
    far: {kind: board, ports: 1}
  links:
    - endpoints: ["west:p0", "east:p0", "far:p0"]
    - endpoints: ["west:p1", "east:p1"]
  networks:
    red: &both
      routers:
        west:
          interfaces:
            eth0: {address: 10.0.0.1/24}
            eth1: {address: 192.168.1.1/24}
          ospf: {passive: [eth1]}
        far:
          interfaces: {eth0: {address: 10.0.0.2/24}}
          ospf: {}
      hosts:
        a: {attach: "west:p1", address: 192.168.1.10/24}
    blue: *both
"""


def spec_of(objects, previous=None):
    file = parse(TEXT, objects=objects)
    allocation = allocate(file, previous)
    return network_spec(file, allocation), allocation


def test_only_the_one_that_was_moved_is_elsewhere():
    before, allocation = spec_of({})
    after, moved = spec_of(move({}, "red-west", "west", "east"), allocation)
    assert set(before.nodes["west"].routers) == {"red-west", "blue-west"}
    assert set(after.nodes["west"].routers) == {"blue-west"}
    assert set(after.nodes["east"].routers) == {"red-west"}
    old, new = before.nodes["west"].routers["red-west"], after.nodes["east"].routers["red-west"]
    assert [port.mac for port in new.ports] == [port.mac for port in old.ports]
    assert [(port.name, port.port, port.addresses, port.peers) for port in new.ports] == [
        (port.name, port.port, port.addresses, port.peers) for port in old.ports]
    assert [port.outer for port in new.ports] == [f"east-v{new.number}p0", f"east-v{new.number}p1"]
    assert (new.frr, new.daemons, new.image) == (old.frr, old.daemons, old.image)
    # Nobody else sees a difference: hosts and neighbours have the same addresses of it.
    assert after.hosts == before.hosts
    assert after.nodes["far"] == before.nodes["far"]
    assert after.nodes["west"].routers["blue-west"] == before.nodes["west"].routers["blue-west"]
    # And it stays there when the file is read again.
    again, _ = spec_of(move({}, "red-west", "west", "east"), moved)
    assert again == after


def test_back_again_is_as_it_was():
    there = move({}, "red-west", "west", "east")
    assert there == {MOVES: {"red-west": {"from": "west", "to": "east"}}}
    assert move(there, "red-west", "west", "west") == {MOVES: {}}
    before, allocation = spec_of({})
    _, moved = spec_of(there, allocation)
    assert spec_of(move(there, "red-west", "west", "west"), moved)[0] == before


def test_up_keeps_it_until_the_file_says_otherwise():
    there = move({}, "red-west", "west", "east")
    assert keep(there, parse(TEXT).topology) == there
    elsewhere = TEXT.replace("        west:\n          interfaces:", "        west:\n          node: far\n"
                             "          interfaces:", 1).replace("eth1: {address: 192.168.1.1/24}", "")
    for part, instead in (("ospf: {passive: [eth1]}", "ospf: {}"),
                          ('      hosts:\n        a: {attach: "west:p1", address: 192.168.1.10/24}\n', ""),
                          ("        far:\n          interfaces: {eth0: {address: 10.0.0.2/24}}\n"
                           "          ospf: {}\n", "")):
        assert part in elsewhere
        elsewhere = elsewhere.replace(part, instead)
    assert keep(there, parse(elsewhere).topology) == {}


def test_where_it_can_t_be():
    with pytest.raises(TopologyError, match="eth1"):
        parse(TEXT, objects=move({}, "red-west", "west", "far"))
