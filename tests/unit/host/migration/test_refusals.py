"""Why a router can't move, in words, before anything is done."""

import pytest
from polyrouter.host.allocate import allocate
from polyrouter.host.compile import network_spec
from polyrouter.host.link_objects import move
from polyrouter.host.migrate import why_not_there
from polyrouter.host.migration.outgoing import why_not_live
from polyrouter.host.spec import PortSpec, RouterSpec
from polyrouter.host.topology_file import parse

LINKS = [("lo", True), ("eth0", True), ("eth1", True)]


def router(**changes):
    ports = [PortSpec(port=port, name=f"eth{port}", outer=f"o{port}", mac=f"02:00:00:00:00:0{port}", addresses=[],
                      mtu=1500, guard=False, peers=[]) for port in range(2)]
    return RouterSpec.model_validate({
        "name": "red-west", "network": "red", "number": 0, "image": "default", "fib_words": 64, "adjacencies": 8,
        "limits": {"memory": 1, "cpus": 1.0, "pids": 1}, "ports": ports, "frr": "", "daemons": ["ospfd"], **changes})


@pytest.mark.parametrize("spec,config,links,mroutes,why", [
    (router(), "", LINKS, 0, None),
    (router(), "router bgp 65001\n neighbor 10.0.0.2 remote-as 65002\n", LINKS, 0, None),
    (router(), "router bgp 65001\n neighbor 10.0.0.2 password secret\n", LINKS, 0, "a BGP session has password"),
    (router(), " neighbor fe80::1 ttl-security hops 1\n", LINKS, 0, "a BGP session has ttl-security"),
    (router(daemons=["ospfd", "pimd"]), "", LINKS, 0, "pimd runs in it"),
    (router(), "", LINKS, 3, "its kernel has 3 multicast routes"),
    (router(), "", [*LINKS, ("gre7", True)], 0, "it has made interfaces of its own (gre7)"),
    (router(), "", [*LINKS, ("sit0", False)], 0, None),        # each namespace has it
    (router(), "", LINKS[:2], 0, "its interfaces eth1 are gone"),
])
def test_processes_that_can_t_move(spec, config, links, mroutes, why):
    found = why_not_live(spec, config, links, mroutes)
    assert found is None if why is None else why in found
    assert found is None or "secret" not in found


TEXT = """\
name: moved
topology:
  nodes:
    west: {kind: board, ports: 2}
    east: {kind: board, ports: 2}
  links:
    - endpoints: ["west:p0", "east:p0"]
  networks:
    red:
      routers:
        west: {interfaces: {eth0: {address: 10.0.0.1/24}}}
        near: {node: west, interfaces: {eth1: {address: 10.0.1.1/24}}}
        bridge: {node: west, mode: bridged, interfaces: {eth0: {vlan: 7}}}
    blue:
      routers:
        west: {interfaces: {eth0: {address: 10.0.0.1/24}}}
        east: {interfaces: {eth0: {address: 10.0.0.2/24}}}
"""


@pytest.mark.parametrize("name,why", [
    ("red-west", None),
    ("red-near", "its eth1 is on no segment that the topology file joins"),
    ("red-bridge", "it is bridged"),
    ("blue-west", "blue-east, which it talks to by eth0, is at the same port of east"),
])
def test_places_where_it_would_not_be_the_same(name, why):
    def spec(objects, previous=None):
        file = parse(TEXT, objects=objects)
        allocation = allocate(file, previous)
        return network_spec(file, allocation), allocation

    old, allocation = spec({})
    new, _ = spec(move({}, name, "west", "east"), allocation)
    found = why_not_there(old, new, name, "west", "east")
    assert found is None if why is None else why in found
