"""State of a kernel, and what the data plane should do by it."""

from ipaddress import ip_address

import pytest
from polyrouter.host.mirror.desired import FIXED, desired_target, way_to
from polyrouter.host.mirror.kernel import KernelState
from polyrouter.host.mirror.netlink import Address, Event, Hop, Link, Neighbour, NextHopObject, Route
from polyrouter.host.tables.adjacency import BLACKHOLE, LOCAL, UNREACHABLE, glean, group, next_hop
from polyrouter.host.tables.prefix import Prefix

CREATE, REPLACE, APPEND, EXCL = 0x400, 0x100, 0x800, 0x200
REACHABLE, STALE, FAILED, INCOMPLETE, NOARP = 0x02, 0x04, 0x20, 0x01, 0x40
DEAD, LINKDOWN = 1, 16
MAIN, LOCAL_TABLE = 254, 255
UP = 0x41


net = Prefix.parse


def ip(text: str) -> int:
    return net(text).address


def hop(port: int, address: str) -> object:
    return next_hop(port, ip(address), net(address).ipv6)


def via(gateway: str | None, ifindex: int = 2, flags: int = 0, weight: int = 1) -> Hop:
    if gateway is None:
        return Hop(ifindex, None, flags)
    return Hop(ifindex, ip(gateway), flags, False, net(gateway).ipv6, weight)


def route(prefix: str, *hops: Hop, kind: int = 1, priority: int = 0, tos: int = 0, table: int = MAIN,
          next_hop_id: int = 0, preference: int = 0, of_source: bool = False) -> Route:
    return Route(table, net(prefix), tos, priority, kind, hops, next_hop_id, preference, of_source)


def neighbour(address: str, mac: int | None = 0x02AA00000001, state: int = REACHABLE, ifindex: int = 2) -> Neighbour:
    return Neighbour(ifindex, ip(address), state, mac, net(address).ipv6)


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
    (route("20.0.0.0/8", via("fe80::2")), next_hop(0, ip("fe80::2"), True)),
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
    for text in ("::/128", "::1/128", "ff00::/8", "ff05::/16", "fe80::/64", "fe80::1/128"):
        kernel.add(route(text, via("2001:db8::2")))
    kernel.add(neighbour("fe80::1"), neighbour("ff02::1"))
    assert {prefix: desired_target(kernel.state, prefix) for prefix in FIXED} == FIXED
    assert [kernel.target(text) for text in ("127.0.0.1/32", "0.1.0.0/16", "232.0.0.0/8")] == [None] * 3
    assert [kernel.target(text) for text in ("ff05::/16", "fe80::/64", "fe80::1/128", "ff02::1/128")] == [None] * 4
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
        return [str(ip_address(made.hops[0].gateway))[-1] for made in kernel.state.main[net("20.0.0.0/8")]]

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
    kernel.add(route("20.0.0.0/8", via("10.0.0.9"), via("10.0.1.5", 3), via("fe80::7", weight=2),
                     via("10.0.0.3", flags=LINKDOWN), via("10.0.0.1", flags=DEAD), via(None), via("10.9.9.9", 17)))
    expected = {hop(0, "10.0.0.9"): 1, hop(1, "10.0.1.5"): 1, hop(0, "fe80::7"): 2}
    assert kernel.target("20.0.0.0/8") == group(expected)
    assert group(expected).members == (hop(0, "10.0.0.9"), hop(1, "10.0.1.5"), hop(0, "fe80::7"), hop(0, "fe80::7"))
    kernel.settle()
    kernel.add(neighbour("10.0.0.9"))       # the tables know what to do
    assert kernel.state.prefixes == {net("10.0.0.9/32")}
    assert kernel.state.touched == {hop(0, "10.0.0.9")}


@pytest.mark.parametrize(("weights", "shares"), [
    ([1, 1], [1, 1]), ([10, 20], [1, 2]), ([256, 256, 256], [1, 1, 1]), ([3, 13], [3, 13]), ([100, 1], [15, 1]),
    ([200, 1, 1], [14, 1, 1]), ([1] * 16, [1] * 16), ([1] * 20, [1] * 16), ([5], [1]),
])
def test_shares_of_a_group(weights, shares):
    hops = [next_hop(0, k + 1) for k in range(len(weights))]
    made = group(dict(zip(reversed(hops), reversed(weights), strict=True)))
    members = made.members or (made,)
    assert [members.count(hop) for hop in hops[:16]] == shares


def test_next_hop_objects(kernel):
    prefix = net("20.0.0.0/8")
    kernel.add(NextHopObject(7, via("10.0.0.7")), NextHopObject(8, via("10.0.0.8")),
               NextHopObject(70, None, ((7, 1), (8, 3))), NextHopObject(9, None, (), True))
    kernel.add(route("20.0.0.0/8", via("10.0.0.99"), next_hop_id=70))
    kernel.settle()
    assert kernel.target("20.0.0.0/8") == group({hop(0, "10.0.0.7"): 1, hop(0, "10.0.0.8"): 3})
    kernel.settle()
    kernel.add(NextHopObject(7, via("10.0.1.70", 3)))
    assert kernel.state.prefixes == {prefix}
    assert kernel.target("20.0.0.0/8") == group({hop(1, "10.0.1.70"): 1, hop(0, "10.0.0.8"): 3})
    kernel.settle()
    kernel.add(NextHopObject(70, None, ((7, 1),)))
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
    assert kernel.state.touched == {hop(0, "10.0.0.2")} and not kernel.state.prefixes
    kernel.remove(neighbour("10.0.0.2"))
    assert kernel.state.prefixes == {net("10.0.0.2/32")}


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
    assert hop(0, "10.0.0.2") in kernel.state.touched
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
    assert kernel.state.touched == {hop(0, "10.0.0.2")}
    assert kernel.state.neighbours == {}


def six(*names: str, flags: int = 0, **more) -> Route:
    return route("2001:db8:5::/48", *(via(f"fe80::{name}", flags=flags) for name in names), priority=1024, **more)


def aliases(kernel) -> list[str]:
    return ["".join(f"{made.gateway & 15:x}" for made in known.hops)
            for known in kernel.state.main.get(net("2001:db8:5::/48"), ())]


def test_ipv6_siblings(kernel):
    kernel.add(six("1"))
    assert kernel.target("2001:db8:5::/48") == hop(0, "fe80::1")
    # What is appended comes with all its siblings.
    kernel.add(six("1", "2"), flags=CREATE | APPEND)
    kernel.add(six("1", "2", "3"), flags=CREATE | APPEND)
    assert aliases(kernel) == ["123"]
    assert kernel.target("2001:db8:5::/48") == group({hop(0, f"fe80::{k}"): 1 for k in (1, 2, 3)})
    kernel.settle()
    kernel.remove(six("2", flags=LINKDOWN))     # what is withdrawn comes alone
    assert kernel.state.prefixes == {net("2001:db8:5::/48")}
    assert aliases(kernel) == ["13"]
    kernel.add(six("4", "5"), flags=CREATE | REPLACE)
    assert aliases(kernel) == ["45"]
    assert not kernel.state.outdated
    kernel.remove(six("5", "4"))
    assert aliases(kernel) == []
    assert kernel.target("2001:db8:5::/48") is None
    kernel.settle()
    kernel.add(six("1"))
    kernel.remove(six("7"))
    assert kernel.state.outdated                # the messages do not fit together
    assert aliases(kernel) == ["1"]


def test_ipv6_routes_that_are_no_siblings(kernel):
    kernel.add(six("1"), six("2", preference=-1), six("3", preference=1))
    assert aliases(kernel) == ["2", "1", "3"]
    kernel.add(six("4")._replace(priority=10))
    assert aliases(kernel) == ["4", "2", "1", "3"]
    kernel.remove(six("1"))
    assert aliases(kernel) == ["4", "2", "3"]
    before = kernel.state.main.copy()
    kernel.settle()
    kernel.state.replace_routes([route for known in reversed(before.values()) for route in reversed(known)])
    assert kernel.state.main == before and not kernel.state.prefixes
    # Two subnets that are the same.
    kernel.add(route("2001:db8:6::/64", via(None), priority=256), route("2001:db8:6::/64", via(None, 3), priority=256))
    assert kernel.target("2001:db8:6::/64") == glean(0)
    kernel.remove(route("2001:db8:6::/64", via(None), priority=256))
    assert kernel.target("2001:db8:6::/64") == glean(1)
    kernel.add(six("9", of_source=True))
    assert kernel.target("2001:db8:5::/48") == LOCAL
    kernel.remove(six("9", of_source=True))
    assert kernel.target("2001:db8:5::/48") == hop(0, "fe80::4")


def test_ipv6_routes_by_object(kernel):
    kernel.add(NextHopObject(7, via("fe80::7")), NextHopObject(8, via("fe80::8", 3)),
               NextHopObject(70, None, ((7, 2), (8, 1))))
    kernel.add(six("7", next_hop_id=70))
    assert kernel.target("2001:db8:5::/48") == group({hop(0, "fe80::7"): 2, hop(1, "fe80::8"): 1})
    kernel.settle()
    kernel.add(NextHopObject(7, via("fe80::9")))
    assert kernel.state.prefixes == {net("2001:db8:5::/48")}
    kernel.remove(six("9", next_hop_id=70))
    assert aliases(kernel) == []


def test_ipv6_neighbours(kernel):
    kernel.add(route("2001:db8:1::/64", via(None), priority=256), neighbour("2001:db8:1::9"),
               neighbour("2001:db8:1::a", None, FAILED), neighbour("2001:db8:2::9"))
    assert kernel.target("2001:db8:1::/64") == glean(0)
    assert kernel.target("2001:db8:1::9/128") == hop(0, "2001:db8:1::9")
    assert kernel.target("2001:db8:1::a/128") is kernel.target("2001:db8:2::9/128") is None
    kernel.settle()
    kernel.add(route("2001:db8:1::8/125", via("fe80::2"), priority=1024))
    assert net("2001:db8:1::9/128") in kernel.state.prefixes
    assert kernel.target("2001:db8:1::9/128") is None
    kernel.add(route("2001:db8:1::9/128", via(None, 1), kind=2, table=LOCAL_TABLE))
    assert kernel.target("2001:db8:1::9/128") == LOCAL
    # An address that is the same integer is another neighbour.
    kernel.settle()
    kernel.add(neighbour("10.0.0.5"))
    assert kernel.target("::a00:5/128") is None
    kernel.add(route("::/0", via("fe80::2"), priority=1024))
    assert kernel.state.prefixes >= {net("2001:db8:1::9/128"), net("2001:db8:2::9/128")}
    assert net("10.0.0.2/32") not in kernel.state.prefixes


def test_the_way_to_the_end_of_a_tunnel():
    """What the kernel would ask for who is not known: the gateway, or the end itself on a port's subnet."""
    kernel = Kernel()

    def way(address: str) -> tuple[object, ...]:
        return way_to(kernel.state, ip(address))

    assert way("10.0.1.9") == (hop(1, "10.0.1.9"),)
    assert way("192.0.2.1") == ()
    kernel.add(route("192.0.2.0/24", via("10.0.0.5")), route("198.51.100.0/24", via("10.0.0.5"), via("10.0.1.6", 3)))
    assert way("192.0.2.1") == (hop(0, "10.0.0.5"),)
    assert set(way("198.51.100.1")) == {hop(0, "10.0.0.5"), hop(1, "10.0.1.6")}
    kernel.add(neighbour("10.0.0.7"))
    assert way("10.0.0.7") == (hop(0, "10.0.0.7"),)
    kernel.add(route("10.0.0.8/32", kind=2, table=LOCAL_TABLE), route("203.0.113.0/24", kind=6))
    assert way("10.0.0.8") == () == way("203.0.113.1")
