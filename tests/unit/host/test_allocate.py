"""Allocation and specification: the same every time, stable under change, free of collisions."""

from pathlib import Path

from polyrouter.host.allocate import allocate, derive_mac, fabric_namespace, host_namespace, interface_name
from polyrouter.host.compile import network_spec
from polyrouter.host.topology_file import load, parse

EXAMPLE = Path(__file__).parents[3] / "examples" / "two-sites.yaml"


def without(text: str, name: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() != f"{name}: *ospf"]
    assert len(lines) == len(text.splitlines()) - 1
    return "\n".join(lines)


def test_the_same_every_time():
    file = load(EXAMPLE)
    first = allocate(file)
    assert allocate(file) == first
    assert allocate(file, first) == first
    assert network_spec(file, first) == network_spec(file, allocate(load(EXAMPLE)))


def test_what_stays_keeps_what_it_has():
    text = EXAMPLE.read_text()
    first = allocate(parse(text))
    fewer = allocate(parse(without(text, "orange")), first)
    assert "orange-left" not in fewer.routers
    for name, place in fewer.routers.items():
        assert place == first.routers[name]
    again = allocate(parse(text), fewer)
    assert again == first       # the free number is the one that orange had


def test_numbers_and_addresses_are_unique():
    result = allocate(load(EXAMPLE))
    for node in ("left", "right"):
        numbers = [place.number for place in result.routers.values() if place.node == node]
        assert sorted(numbers) == list(range(8))
    macs = [mac for place in result.routers.values() for mac in place.macs.values()]
    macs += [place.mac for place in result.hosts.values()]
    assert len(set(macs)) == len(macs) == 16 * 3 + 32
    for mac in macs:
        assert int(mac[:2], 16) & 3 == 2        # locally administered, unicast


def test_taken_addresses_are_avoided():
    taken: set[str] = set()
    first, second = derive_mac(taken, "a", 1), derive_mac(taken, "a", 1)
    assert first != second
    assert taken == {first, second}


def test_namespaces_of_different_topologies_differ():
    names = [fabric_namespace("a"), fabric_namespace("a-b"), fabric_namespace("a-b-c"), host_namespace("a", "b-c"),
             host_namespace("a-b", "c")]
    assert len(set(names)) == len(names)


def test_interface_names_fit_the_kernel():
    assert interface_name("left-p0") == "left-p0"
    long, other = interface_name("a-very-long-node-name-p0"), interface_name("a-very-long-node-name-p1")
    assert len(long) == len(other) == 15 and long != other


def test_peers_are_the_members_of_the_same_network_on_the_segment():
    file = load(EXAMPLE)
    allocation = allocate(file)
    spec = network_spec(file, allocation)
    red = spec.nodes["left"].routers["red-left"]
    cable, lan, other_lan = red.ports
    assert (cable.name, lan.name, other_lan.name) == ("eth0", "eth1", "eth2")
    assert cable.peers == [allocation.routers["red-right"].macs[0]]
    assert lan.peers == [allocation.hosts["red-a"].mac]
    assert other_lan.peers == [allocation.hosts["red-c"].mac]
    assert cable.guard and lan.guard


def test_hosts_know_their_gateway_for_good():
    file = load(EXAMPLE)
    allocation = allocate(file)
    host = network_spec(file, allocation).hosts["blue-b"]
    assert host.gateway == "192.168.2.1"
    assert host.neighbours == {"192.168.2.1": allocation.routers["blue-right"].macs[1]}


def test_interface_names_of_a_network_are_unique():
    file = load(EXAMPLE)
    spec = network_spec(file, allocate(file))
    names = [host.outer for host in spec.hosts.values()] + [segment.bridge for segment in spec.segments.values()]
    for node in spec.nodes.values():
        names += [*node.taps, node.host_tap]
        names += [port.outer for router in node.routers.values() for port in router.ports]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 15


def test_routing_configuration():
    file = load(EXAMPLE)
    spec = network_spec(file, allocate(file))
    red, grey = spec.nodes["left"].routers["red-left"], spec.nodes["left"].routers["grey-left"]
    assert red.daemons == ["zebra", "staticd", "ospfd"]
    assert grey.daemons == ["zebra", "staticd", "bgpd"]
    assert " ip ospf network point-to-point\n ip ospf hello-interval 1\n" in red.frr
    assert "interface eth1\n ip address 192.168.1.1/24\n ip ospf area 0\n ip ospf passive\nexit" in red.frr
    assert " neighbor 10.0.0.2 remote-as 65002\n" in grey.frr
