"""State of a kernel, and what the data plane should do by it."""

from ipaddress import IPv4Address, ip_network

import pytest
from polyrouter.host.mirror.desired import FIXED, desired_target
from polyrouter.host.mirror.kernel import KernelState
from polyrouter.host.mirror.netlink import Address, Event, Hop, Link, Neighbour, NextHopObject, Route
from polyrouter.host.tables.adjacency import BLACKHOLE, LOCAL, UNREACHABLE, glean, next_hop

CREATE, REPLACE, APPEND, EXCL = 0x400, 0x100, 0x800, 0x200
REACHABLE, STALE, FAILED, INCOMPLETE, NOARP = 0x02, 0x04, 0x20, 0x01, 0x40
DEAD, LINKDOWN = 1, 16
MAIN, LOCAL_TABLE = 254, 255
UP = 0x41


def ip(text: str) -> int:
    return int(IPv4Address(text))


def net(text: str) -> tuple[int, int]:
    network = ip_network(text)
    return int(network.network_address), network.prefixlen


def via(gateway: str | None, ifindex: int = 2, flags: int = 0) -> Hop:
    return Hop(ifindex, None if gateway is None else ip(gateway), flags)


def route(prefix: str, *hops: Hop, kind: int = 1, priority: int = 0, tos: int = 0, table: int = MAIN,
          next_hop_id: int = 0) -> Route:
    return Route(table, *net(prefix), tos, priority, kind, hops, next_hop_id)


def neighbour(address: str, mac: int | None = 0x02AA00000001, state: int = REACHABLE, ifindex: int = 2) -> Neighbour:
    return Neighbour(ifindex, ip(address), state, mac)


class Kernel:
    """A state with two ports, eth0 (interface 2) and eth1 (3)."""

    def __init__(self) -> None:
        self.state = KernelState({"eth0": 0, "eth1": 1})
        for link in (Link(1, "lo", UP, 65536, 0), Link(2, "eth0", UP, 1500, 0x020000000001),
                     Link(3, "eth1", UP, 9000, 0x020000000002)):
            self.state.apply(Event(True, link))
        self.add(route("10.0.0.0/24", via(None)), route("10.0.1.0/24", via(None, 3)))
        self.settle()

    def add(self, *items, flags: int = CREATE | EXCL) -> None:
        for item in items:
            self.state.apply(Event(True, item, flags))

    def remove(self, *items) -> None:
        for item in items:
            self.state.apply(Event(False, item))

    def settle(self) -> None:
        for prefix in self.state.prefixes:
            desired_target(self.state, prefix)
        self.state.prefixes.clear()
        self.state.touched.clear()
        self.state.outdated = False

    def target(self, prefix: str):
        return desired_target(self.state, net(prefix))


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.mark.parametrize(("made", "expected"), [
    (route("20.0.0.0/8", via("10.0.0.2")), next_hop(0, 0x0A000002)),
    (route("20.0.0.0/8", via("10.0.1.2", 3)), next_hop(1, 0x0A000102)),
    (route("20.0.0.0/8", via(None)), glean(0)),
    (route("20.0.0.0/8", via(None, 1)), LOCAL),
    (route("20.0.0.0/8", via("10.9.9.9", 17)), LOCAL),
    (route("20.0.0.0/8", Hop(2, None, 0, True)), LOCAL),
    (route("20.0.0.0/8", via("10.0.0.2", 2, DEAD)), None),
    (route("20.0.0.0/8", kind=6), BLACKHOLE),
    (route("20.0.0.0/8", kind=7), UNREACHABLE),
    (route("20.0.0.0/8", kind=8), UNREACHABLE),
    (route("20.0.0.0/8", kind=9), UNREACHABLE),
    (route("20.0.0.0/8", via(None, 1), kind=2), LOCAL),
    (route("20.0.0.0/8", via(None), kind=3), LOCAL),
    (route("20.0.0.0/8", kind=11), LOCAL),
    (route("20.0.0.0/8", via("10.0.0.2"), tos=16), None),
    (route("20.0.0.0/8", via("10.0.0.2"), table=1000), None),
])
def test_kinds(kernel, made, expected):
    kernel.add(made)
    assert kernel.target("20.0.0.0/8") == expected
    kernel.remove(made)
    assert kernel.target("20.0.0.0/8") is None


def test_fixed_routes_can_not_be_overridden(kernel):
    for text in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "127.0.0.1/32", "0.1.0.0/16",
                 "232.0.0.0/8"):
        kernel.add(route(text, via("10.0.0.2")))
    assert {prefix: desired_target(kernel.state, prefix) for prefix in FIXED} == FIXED
    assert [kernel.target(text) for text in ("127.0.0.1/32", "0.1.0.0/16", "232.0.0.0/8")] == [None] * 3
    kernel.add(route("0.0.0.0/0", via("10.0.0.2")), route("0.0.0.0/1", via("10.0.0.2")))
    assert kernel.target("0.0.0.0/0") == kernel.target("0.0.0.0/1") == next_hop(0, 0x0A000002)


def test_lowest_metric_wins(kernel):
    slow, fast, faster = (route("20.0.0.0/8", via(f"10.0.0.{metric}"), priority=metric) for metric in (50, 20, 10))
    for made, best in ((slow, 50), (faster, 10), (fast, 10)):
        kernel.add(made)
        assert kernel.target("20.0.0.0/8") == next_hop(0, ip(f"10.0.0.{best}"))
    kernel.remove(faster)
    assert kernel.target("20.0.0.0/8") == next_hop(0, ip("10.0.0.20"))
    assert kernel.state.route_count() == 4


def test_routes_of_equal_rank_in_the_order_of_the_requests(kernel):
    def hops():
        return [str(IPv4Address(made.hops[0].gateway))[-1] for made in kernel.state.main[net("20.0.0.0/8")]]

    kernel.add(route("20.0.0.0/8", via("10.0.0.1")))
    kernel.add(route("20.0.0.0/8", via("10.0.0.2")), flags=CREATE | APPEND)
    kernel.add(route("20.0.0.0/8", via("10.0.0.3")), flags=CREATE)              # prepend
    assert hops() == ["3", "1", "2"]
    assert not kernel.state.outdated
    kernel.add(route("20.0.0.0/8", via("10.0.0.4")), flags=CREATE | REPLACE)
    assert hops() == ["4", "1", "2"]
    assert kernel.state.outdated
    kernel.remove(route("20.0.0.0/8", via("10.0.0.1", flags=LINKDOWN)))
    assert hops() == ["4", "2"]


def test_replace_of_a_single_route(kernel):
    kernel.add(route("20.0.0.0/8", via("10.0.0.1")))
    kernel.settle()
    kernel.add(route("20.0.0.0/8", via("10.0.0.2")), flags=CREATE | REPLACE)
    assert kernel.state.prefixes == {net("20.0.0.0/8")}
    assert kernel.target("20.0.0.0/8") == next_hop(0, ip("10.0.0.2"))
    assert kernel.state.route_count() == 3
    assert not kernel.state.outdated


def test_several_next_hops(kernel):
    def best():
        return str(IPv4Address(kernel.target("20.0.0.0/8").address))

    kernel.add(route("20.0.0.0/8", via("10.0.0.9"), via("10.0.0.5"), via("10.0.0.7"), via("10.0.0.3", flags=LINKDOWN),
                     via("10.0.0.1", flags=DEAD)))
    kernel.settle()
    kernel.target("20.0.0.0/8")
    assert best() == "10.0.0.5"
    for address, expected in (("10.0.0.9", "10.0.0.9"), ("10.0.0.7", "10.0.0.7"), ("10.0.0.3", "10.0.0.7")):
        kernel.state.prefixes.clear()
        kernel.add(neighbour(address))
        assert net("20.0.0.0/8") in kernel.state.prefixes
        assert best() == expected
    kernel.state.prefixes.clear()
    kernel.add(neighbour("10.0.0.7", None, FAILED))
    assert net("20.0.0.0/8") in kernel.state.prefixes
    assert best() == "10.0.0.9"


def test_next_hop_objects(kernel):
    prefix = net("20.0.0.0/8")
    kernel.add(NextHopObject(7, via("10.0.0.7")), NextHopObject(8, via("10.0.0.8")), NextHopObject(70, None, (7, 8)),
               NextHopObject(9, None, (), True))
    kernel.add(route("20.0.0.0/8", via("10.0.0.99"), next_hop_id=70))
    kernel.settle()
    assert kernel.target("20.0.0.0/8") == next_hop(0, ip("10.0.0.7"))
    kernel.settle()
    kernel.add(NextHopObject(7, via("10.0.1.70", 3)))
    assert kernel.state.prefixes == {prefix}
    assert kernel.target("20.0.0.0/8") == next_hop(0, ip("10.0.0.8"))
    kernel.settle()
    kernel.add(NextHopObject(70, None, (7,)))
    assert kernel.state.prefixes == {prefix}
    assert kernel.target("20.0.0.0/8") == next_hop(1, ip("10.0.1.70"))
    kernel.settle()
    kernel.remove(NextHopObject(8, None))
    assert not kernel.state.outdated
    kernel.remove(NextHopObject(70, None))
    assert kernel.state.outdated            # the route went along
    kernel.state.replace_routes([route("10.0.0.0/24", via(None)), route("10.0.1.0/24", via(None, 3))])
    assert not kernel.state.outdated
    assert kernel.state.prefixes == {prefix}
    assert kernel.target("20.0.0.0/8") is None


def test_route_before_its_next_hop_object_takes_its_own_hops(kernel):
    kernel.add(route("20.0.0.0/8", via("10.0.0.7"), next_hop_id=7))
    assert kernel.target("20.0.0.0/8") == next_hop(0, ip("10.0.0.7"))
    kernel.settle()
    kernel.add(NextHopObject(7, None, (), True))
    assert kernel.state.prefixes == {net("20.0.0.0/8")}
    assert kernel.target("20.0.0.0/8") == BLACKHOLE


@pytest.mark.parametrize(("state", "mac", "usable"), [
    (REACHABLE, 0x02AA00000001, True), (STALE, 0x02AA00000001, True), (NOARP, 0x02AA00000001, True),
    (INCOMPLETE, None, False), (FAILED, None, False), (FAILED, 0x02AA00000001, False), (REACHABLE, None, False),
    (NOARP, 0x01005E000005, False), (NOARP, 0, False),
])
def test_which_neighbours_get_a_host_route(kernel, state, mac, usable):
    kernel.add(neighbour("10.0.0.2", mac, state))
    assert kernel.target("10.0.0.2/32") == (next_hop(0, ip("10.0.0.2")) if usable else None)
    assert kernel.state.neighbour_mac(2, ip("10.0.0.2")) == (mac if usable else None)


def test_neighbour_states_that_do_not_matter_change_nothing(kernel):
    kernel.add(neighbour("10.0.0.2"))
    kernel.settle()
    kernel.add(neighbour("10.0.0.2", state=STALE))
    assert not kernel.state.prefixes and not kernel.state.touched
    kernel.add(neighbour("10.0.0.2", 0x02AA00000002))
    assert kernel.state.touched == {(0, ip("10.0.0.2"))} and not kernel.state.prefixes
    kernel.remove(neighbour("10.0.0.2"))
    assert kernel.state.prefixes == {(ip("10.0.0.2"), 32)}


def test_host_route_only_where_the_kernel_would_go_to_the_neighbour(kernel):
    prefix = net("10.0.0.200/32")
    kernel.add(neighbour("10.0.0.200"))
    assert kernel.target("10.0.0.200/32") == next_hop(0, ip("10.0.0.200"))
    kernel.settle()
    longer = route("10.0.0.128/25", via("10.0.1.2", 3))
    kernel.add(longer)
    assert prefix in kernel.state.prefixes
    assert kernel.target("10.0.0.200/32") is None
    kernel.settle()
    kernel.remove(longer)
    assert prefix in kernel.state.prefixes
    kernel.add(route("10.0.0.200/32", via("10.0.1.2", 3)))
    assert kernel.target("10.0.0.200/32") == next_hop(1, ip("10.0.1.2"))
    kernel.add(neighbour("99.0.0.1"))
    assert kernel.target("99.0.0.1/32") is None


def test_the_same_address_on_two_ports(kernel):
    kernel.add(neighbour("10.0.1.2", ifindex=2), neighbour("10.0.1.2", 0x02AA00000002, ifindex=3))
    assert kernel.target("10.0.1.2/32") == next_hop(1, ip("10.0.1.2"))
    kernel.remove(neighbour("10.0.1.2", ifindex=3))
    assert kernel.target("10.0.1.2/32") is None


def test_local_table_comes_first(kernel):
    kernel.add(route("10.0.0.1/32", via(None), kind=2, table=LOCAL_TABLE), route("10.0.0.1/32", via("10.0.1.2", 3)))
    assert kernel.target("10.0.0.1/32") == LOCAL
    short = route("20.0.0.0/8", via(None, 1), kind=2, table=LOCAL_TABLE)
    kernel.add(route("20.1.0.0/16", via("10.0.0.2")))
    kernel.settle()
    kernel.add(short)
    assert net("20.1.0.0/16") in kernel.state.prefixes
    assert kernel.target("20.1.0.0/16") is None
    assert kernel.target("20.0.0.0/8") == LOCAL
    kernel.settle()
    kernel.remove(short)
    assert net("20.1.0.0/16") in kernel.state.prefixes
    assert kernel.target("20.1.0.0/16") == next_hop(0, ip("10.0.0.2"))


def test_links_that_come_and_go(kernel):
    kernel.add(route("20.0.0.0/8", via("10.0.0.2")), neighbour("10.0.0.2"))
    kernel.settle()
    kernel.remove(Link(2, "eth0", UP, 1500, 1))
    assert kernel.state.outdated
    assert net("20.0.0.0/8") in kernel.state.prefixes
    assert (0, ip("10.0.0.2")) in kernel.state.touched
    assert kernel.target("20.0.0.0/8") == LOCAL
    assert kernel.state.ifindex(0) is None
    kernel.settle()
    kernel.add(Link(9, "eth0", UP, 1400, 1))
    kernel.add(route("20.0.0.0/8", via("10.0.0.2", 9)), flags=CREATE | REPLACE)
    assert kernel.target("20.0.0.0/8") == next_hop(0, ip("10.0.0.2"))
    assert (kernel.state.ifindex(0), kernel.state.port(9), kernel.state.mtu(0)) == (9, 0, 1400)


def test_what_makes_the_routes_outdated(kernel):
    kernel.add(Link(2, "eth0", UP, 1400, 1), Address(2, ip("10.0.0.1"), 24))
    assert not kernel.state.outdated
    kernel.add(Link(2, "eth0", 0, 1400, 1))
    assert kernel.state.outdated
    kernel.state.outdated = False
    kernel.remove(Address(2, ip("10.0.0.1"), 24))
    assert kernel.state.outdated


def test_dumps_mark_only_what_differs(kernel):
    routes = [route(f"20.{k}.0.0/16", via("10.0.0.2")) for k in range(50)]
    links = list(kernel.state.links.values())
    kernel.state.replace_routes(routes)
    kernel.add(neighbour("10.0.0.2"), NextHopObject(7, via("10.0.0.7")))
    kernel.settle()
    kernel.state.replace_links(links)
    kernel.state.replace_next_hops([NextHopObject(7, via("10.0.0.7"))])
    kernel.state.replace_neighbours([neighbour("10.0.0.2")])
    kernel.state.replace_routes(reversed(routes))
    assert not kernel.state.prefixes and not kernel.state.touched and not kernel.state.outdated
    changed = [*routes[1:], route("20.1.0.0/16", via("10.0.0.3"), priority=1), route("30.0.0.0/8", kind=6)]
    kernel.state.replace_routes(changed)
    assert kernel.state.prefixes == {net("20.0.0.0/16"), net("20.1.0.0/16"), net("30.0.0.0/8")}
    kernel.state.replace_neighbours([])
    assert kernel.state.touched == {(0, ip("10.0.0.2"))}
    assert kernel.state.neighbours == {}
