"""The route mirror with real kernels, against tables in memory and the golden model's look-ups."""

import json
import random
import subprocess
import threading
import uuid
from ipaddress import IPv4Address, ip_address

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import AdjacencyKind, Table
from polyrouter.host.mirror.desired import FIXED
from polyrouter.host.mirror.loop import MirrorLoop
from polyrouter.host.mirror.mirror import RouteMirror
from polyrouter.host.tables.policy import Policy
from polyrouter.host.tables.prefix import Prefix, format_address
from polyrouter.host.tables.router import RouterTables
from polyrouter.host.tables.windows import Window

from ..table_board import TableBoard

pytestmark = pytest.mark.root

CONFIG = CoreConfig(routers=2, fib_words=65536, adjacencies=512)
WINDOW = Window(1000, 60000, 100, 300)
ROUTER = 1
PORTS = {"eth0": 0, "eth1": 1}
K = AdjacencyKind
FLOWS = [source.getrandbits(96) for source in [random.Random(1)] for _ in range(100)]


class Container:
    """A network namespace with two ports, and one with what is on the other ends."""

    def __init__(self) -> None:
        self.name = f"prt-{uuid.uuid4().hex[:8]}"
        self.far = f"{self.name}f"
        for name in (self.name, self.far):
            subprocess.run(["ip", "netns", "add", name], check=True)
        for port in range(2):
            self.ip("link", "add", f"eth{port}", "type", "veth", "peer", "name", f"eth{port}", "netns", self.far)
            self.ip("link", "set", f"eth{port}", "up")
            self.ip("addr", "add", f"10.0.{port}.1/24", "dev", f"eth{port}")
            self.ip("link", "set", f"eth{port}", "up", namespace=self.far)
            self.ip("addr", "add", f"10.0.{port}.2/24", "dev", f"eth{port}", namespace=self.far)
        self.ip("link", "set", "lo", "up")

    @property
    def path(self) -> str:
        return f"/run/netns/{self.name}"

    def ip(self, *words: str, namespace: str | None = None) -> str:
        return subprocess.run(["ip", "-n", namespace or self.name, *words], check=True, capture_output=True,
                              text=True).stdout

    def batch(self, lines: list[str]) -> None:
        subprocess.run(["ip", "-n", self.name, "-batch", "-"], input="\n".join(lines), text=True, check=True)

    def routes(self, family: str = "-4") -> dict[Prefix, set[str]]:
        """Gateways of the main table."""
        result: dict[Prefix, set[str]] = {}
        for route in json.loads(self.ip(family, "-j", "route", "show", "table", "main")):
            default = "::/0" if family == "-6" else "0.0.0.0/0"
            prefix = Prefix.parse(default if route["dst"] == "default" else route["dst"])
            if not prefix.is_link_local:
                found = result.setdefault(prefix, set())
                found |= {hop["gateway"] for hop in [route, *route.get("nexthops", [])] if "gateway" in hop}
        return result

    def far_mac(self, port: int) -> int:
        [link] = json.loads(self.ip("-j", "link", "show", f"eth{port}", namespace=self.far))
        return int(link["address"].replace(":", ""), 16)

    def remove(self) -> None:
        for name in (self.name, self.far):
            subprocess.run(["ip", "netns", "del", name], check=False)


class Node:
    """An agent's part: tables, mirror and its loop."""

    def __init__(self, path: str, board: TableBoard | None = None, window: Window = WINDOW,
                 policy: Policy | None = None) -> None:
        self.board = board or TableBoard(CONFIG)
        self.tables = RouterTables(self.board, ROUTER, window, {0: 2, 1: 3}, policy=policy)
        self.adopted = self.tables.synchronize()
        self.mirror = RouteMirror(self.tables, path, PORTS)
        self.loop = MirrorLoop()
        self.loop.start()
        self.loop.add(self.mirror)

    def settled(self) -> bool:
        return self.loop.call(lambda: not self.mirror.receive() and not self.mirror.wants_work()
                              and not self.mirror.state.outdated and self.mirror.resyncs > 0).result()

    def kind(self, address: str) -> AdjacencyKind | None:
        return self.board.kind(ROUTER, int(ip_address(address)), ipv6=":" in address)

    def macs(self, address: str, flows: int = len(FLOWS)) -> set[int]:
        """MAC addresses that flows go to; none if some are not forwarded."""
        found = [self.board.adjacency(ROUTER, int(ip_address(address)), ipv6=":" in address, flow=flow)
                 for flow in FLOWS[:flows]]
        return {adjacency.mac for adjacency in found} if all(
            adjacency is not None and adjacency.kind == K.FORWARD for adjacency in found) else set()

    def wait_macs(self, address: str, macs: set[int]) -> None:
        wait_for(lambda: self.macs(address) == macs, f"{address} goes to {macs}")

    def wait_kind(self, address: str, kind: AdjacencyKind | None) -> None:
        wait_for(lambda: self.kind(address) == kind, f"{address} is {kind!r}")

    def stop(self) -> None:
        self.loop.stop()


def wait_for(condition, what: str) -> None:
    pause = threading.Event()
    for _ in range(1500):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError(f"never so: {what}")


def check_gateways(node: Node, container: Container, macs: dict[str, int]) -> None:
    """Every route of the kernel leads to its gateways in the tables, and the tables have no others."""
    routes = container.routes() | container.routes("-6")
    for route, hops in routes.items():
        address = format_address(route.address + (not route.is_host), route.ipv6)
        assert node.kind(address) is not None
        if hops:
            assert node.macs(address, 1 if len(hops) == 1 else len(FLOWS)) == {macs[gateway] for gateway in hops}
    others = {prefix for prefix in node.tables.prefixes() if prefix not in routes}
    assert all(other.is_host or any(fixed.covers(other) for fixed in FIXED) for other in others)


@pytest.fixture
def container():
    made = Container()
    yield made
    made.remove()


@pytest.fixture
def node(container):
    made = Node(container.path)
    wait_for(made.settled, "the first comparison is done")
    yield made
    made.stop()


def gateways(container: Container, count: int) -> dict[str, int]:
    macs = {f"10.0.0.{2 + k}": 0x02AA00000000 + k for k in range(count)}
    container.batch([f"neigh replace {gateway} lladdr 02:aa:00:00:00:{mac & 255:02x} nud permanent dev eth0"
                     for gateway, mac in macs.items()])
    return macs


def prefix(number: int) -> str:
    return f"{IPv4Address((20 << 24) + (number << 8))}/24"


def test_burst_of_20000_routes(container, node):
    count = 20_000
    macs = gateways(container, 100)
    names = list(macs)

    container.batch([f"route add {prefix(k)} via {names[k % 50]}" for k in range(count)])
    wait_for(lambda: node.settled() and node.mirror.summary()["rib"] == count + 2, "all routes have arrived")
    check_gateways(node, container, macs)

    container.batch([f"route replace {prefix(k)} via {names[50 + k % 50]}" for k in range(count)])
    wait_for(node.settled, "all changes have arrived")
    check_gateways(node, container, macs)

    container.batch([f"route del {prefix(k)}" for k in range(0, count) if k % 100])
    wait_for(lambda: node.settled() and node.mirror.summary()["rib"] == count // 100 + 2, "all deletions have arrived")
    check_gateways(node, container, macs)

    summary = node.mirror.summary()
    assert summary["resyncs"] == 1          # nothing was lost
    assert summary["problems"] == []
    assert summary["batches"] > 10          # not all in one
    assert summary["fib"] == node.tables.route_count()


def test_lost_events_are_repaired(container):
    board = TableBoard(CONFIG)
    tables = RouterTables(board, ROUTER, WINDOW, {0: 2, 1: 3})
    tables.program_all()
    mirror = RouteMirror(tables, container.path, PORTS, receive_buffer=8192)

    def serve() -> None:
        mirror.receive()
        while mirror.wants_work():
            mirror.work()

    node = Node.__new__(Node)
    node.board, node.tables, node.mirror = board, tables, mirror
    try:
        macs = gateways(container, 10)
        names = list(macs)
        serve()
        container.batch([f"route add {prefix(k)} via {names[k % 5]}" for k in range(3000)])
        serve()
        assert (mirror.resyncs, mirror.last_resync) == (2, "events were lost")
        check_gateways(node, container, macs)
        container.batch([f"route {'del' if k % 3 else 'replace'} {prefix(k)} via {names[k % 5 + (k % 3 == 0) * 5]}"
                         for k in range(3000)])
        before = len(board.log)
        container.batch([f"route replace {prefix(0)} via {names[1]}"])
        serve()
        assert mirror.resyncs == 3
        check_gateways(node, container, macs)
        # Mark and sweep: what did not change was not touched.
        serve()
        mirror.resync("asked for")
        before = len(board.log)
        serve()
        assert mirror.resyncs == 4
        assert len(board.log) == before
    finally:
        mirror.close()


def test_kinds_of_routes(container, node):
    far = container.far_mac(0)
    container.batch([
        "route add 20.0.0.0/8 via 10.0.0.2",
        "route add blackhole 20.1.0.0/16",
        "route add unreachable 20.2.0.0/16",
        "route add prohibit 20.3.0.0/16",
        "route add 20.4.0.0/16 dev lo",
        "route add throw 20.5.0.0/16",
        "route add 20.6.0.0/16 via 10.0.1.2 metric 50",
        "route add 20.6.0.0/16 via 10.0.0.2 metric 20",
        "route add 20.7.0.0/16 dev eth1",
        "route add local 20.8.0.0/16 dev lo",
        "route add 20.8.1.0/24 via 10.0.0.2",
        "route add 20.9.0.0/16 via inet6 fe80::1 dev eth0",
    ])
    for address, kind in {
            "20.99.0.1": K.FORWARD, "20.1.0.1": K.BLACKHOLE, "20.2.0.1": K.UNREACHABLE, "20.3.0.1": K.UNREACHABLE,
            "20.4.0.1": K.LOCAL, "20.5.0.1": K.UNREACHABLE, "20.6.0.1": K.FORWARD, "20.7.0.1": K.UNRESOLVED,
            "20.8.0.1": K.LOCAL, "20.8.1.1": K.LOCAL, "20.9.0.1": K.UNRESOLVED,
            "10.0.0.1": K.LOCAL, "10.0.0.255": K.LOCAL, "10.0.1.1": K.LOCAL, "10.0.0.77": K.UNRESOLVED,
            "224.0.0.5": K.LOCAL, "255.255.255.255": K.LOCAL, "127.0.0.1": K.BLACKHOLE, "0.1.2.3": K.BLACKHOLE,
            "99.0.0.1": None}.items():
        node.wait_kind(address, kind)
    assert node.board.adjacency(ROUTER, 20 << 24 | 6 << 16).mac == far
    container.ip("route", "del", "20.6.0.0/16", "metric", "20")
    wait_for(lambda: node.board.adjacency(ROUTER, 20 << 24 | 6 << 16).port == 1, "the other metric is used")
    container.ip("route", "del", "local", "20.8.0.0/16", "dev", "lo")
    node.wait_kind("20.8.1.1", K.FORWARD)
    node.wait_kind("20.8.0.1", K.FORWARD)


def test_neighbours_come_and_go(container, node):
    # The mirror has the kernel ask for the gateway; the host gets a route of its own.
    assert node.kind("10.0.0.2") == K.UNRESOLVED
    container.ip("route", "add", "default", "via", "10.0.0.2")
    node.wait_kind("99.0.0.1", K.FORWARD)
    node.wait_kind("10.0.0.2", K.FORWARD)
    assert node.board.adjacency(ROUTER, 99 << 24).mac == container.far_mac(0)

    container.ip("link", "set", "eth0", "address", "02:aa:bb:cc:dd:ee", namespace=container.far)
    container.ip("neigh", "replace", "10.0.0.2", "lladdr", "02:aa:bb:cc:dd:ee", "dev", "eth0")
    wait_for(lambda: node.board.adjacency(ROUTER, 99 << 24).mac == 0x02AABBCCDDEE, "the new address is used")

    container.ip("link", "set", "eth0", "mtu", "1400")
    wait_for(lambda: node.board.adjacency(ROUTER, 99 << 24).mtu == 1400, "the MTU is the link's")

    container.ip("route", "add", "10.0.0.128/25", "via", "10.0.1.2")
    container.ip("neigh", "replace", "10.0.0.200", "lladdr", "02:00:00:00:00:99", "dev", "eth0")
    container.ip("neigh", "replace", "10.0.0.20", "lladdr", "02:00:00:00:00:98", "dev", "eth0")
    wait_for(lambda: node.board.adjacency(ROUTER, 0x0A000014).mac == 0x020000000098, "a host's address is used")
    assert node.board.adjacency(ROUTER, 0x0A0000C8).port == 1      # the longer prefix, not the neighbour
    container.ip("route", "del", "10.0.0.128/25")
    wait_for(lambda: node.board.adjacency(ROUTER, 0x0A0000C8).mac == 0x020000000099, "the neighbour is used now")

    container.ip("neigh", "del", "10.0.0.20", "dev", "eth0")
    node.wait_kind("10.0.0.20", K.UNRESOLVED)


def test_several_next_hops_share_the_flows(container, node):
    gateways(container, 10)
    container.ip("route", "add", "20.0.0.0/8", "nexthop", "via", "10.0.0.9", "nexthop", "via", "10.0.0.5",
                 "nexthop", "via", "10.0.0.100")
    node.wait_macs("20.0.0.1", {0x02AA00000003, 0x02AA00000007})
    container.ip("neigh", "del", "10.0.0.5", "dev", "eth0")
    node.wait_macs("20.0.0.1", {0x02AA00000007})
    container.ip("neigh", "replace", "10.0.0.5", "lladdr", "02:aa:00:00:00:55", "dev", "eth0")
    node.wait_macs("20.0.0.1", {0x02AA00000055, 0x02AA00000007})


def test_next_hop_objects(container, node):
    gateways(container, 10)
    container.batch(["nexthop add id 7 via 10.0.0.7 dev eth0", "nexthop add id 8 via 10.0.0.8 dev eth0",
                     "nexthop add id 70 group 7/8", "nexthop add id 9 blackhole", "route add 20.0.0.0/8 nhid 70"])
    node.wait_macs("20.0.0.1", {0x02AA00000005, 0x02AA00000006})
    container.ip("nexthop", "replace", "id", "7", "via", "10.0.0.11", "dev", "eth0")
    node.wait_macs("20.0.0.1", {0x02AA00000009, 0x02AA00000006})
    container.ip("nexthop", "del", "id", "8")
    node.wait_macs("20.0.0.1", {0x02AA00000009})
    container.ip("route", "replace", "20.0.0.0/8", "nhid", "9")
    node.wait_kind("20.0.0.1", K.BLACKHOLE)
    container.ip("route", "replace", "20.0.0.0/8", "nhid", "70")
    node.wait_macs("20.0.0.1", {0x02AA00000009})
    container.ip("nexthop", "del", "id", "7")       # takes its routes along, which the kernel does not tell
    node.wait_kind("20.0.0.1", None)


def test_a_link_that_goes_down_takes_its_routes_along(container, node):
    container.ip("route", "add", "20.0.0.0/8", "via", "10.0.0.2")
    container.ip("route", "add", "30.0.0.0/8", "via", "10.0.1.2")
    node.wait_kind("20.0.0.1", K.FORWARD)
    node.wait_kind("30.0.0.1", K.FORWARD)
    container.ip("link", "set", "eth0", "down")
    node.wait_kind("20.0.0.1", None)
    assert node.kind("30.0.0.1") == K.FORWARD
    container.ip("link", "set", "eth0", "up")
    container.ip("route", "add", "20.0.0.0/8", "via", "10.0.0.2")
    node.wait_kind("20.0.0.1", K.FORWARD)


def test_a_restarted_agent_goes_on_without_a_gap(container, node):
    macs = gateways(container, 20)
    names = list(macs)
    container.batch([f"route add {prefix(k)} via {names[k % 20]}" for k in range(1000)])
    wait_for(lambda: node.settled() and node.mirror.summary()["rib"] == 1002, "all routes have arrived")
    node.stop()

    # While nobody looks, some routes change.
    container.batch([f"route replace {prefix(k)} via {names[(k + 1) % 20]}" for k in range(100)]
                    + [f"route del {prefix(k)}" for k in range(100, 200)])
    missing = []

    def look() -> None:
        try:
            if any(node.kind(prefix(k)[:-3]) != K.FORWARD for k in (0, 50, 200, 999)):
                missing.append(len(node.board.log))
        except Exception as error:
            missing.append(error)

    node.board.on_write = look
    before = len(node.board.log)
    again = Node(container.path, node.board)
    try:
        assert again.adopted
        wait_for(again.settled, "the comparison is done")
        assert missing == []
        check_gateways(again, container, macs)
        # One router's neighbours did not change, so no row is written but those that are for nobody any more.
        log = [entry for entry in node.board.log[before:] if entry != "fence"]
        assert not any(table == Table.ADJACENCY and bits for table, _, _, bits in log)
        assert len(log) < 800
    finally:
        again.stop()
    node.loop = MirrorLoop()        # for the fixture
    node.loop.start()


def test_a_board_that_fails_and_comes_back(container, node):
    macs = gateways(container, 5)
    names = list(macs)
    container.batch([f"route add {prefix(k)} via {names[k % 5]}" for k in range(200)])
    wait_for(lambda: node.settled() and node.mirror.summary()["rib"] == 202, "all routes have arrived")
    node.board.fail_after = 30
    container.batch([f"route replace {prefix(k)} via {names[(k + 1) % 5]}" for k in range(200)])
    wait_for(lambda: node.tables.out_of_step, "the board has failed")
    wait_for(lambda: any("nothing is written" in text for text in node.mirror.summary()["problems"]), "this is told")
    container.batch([f"route del {prefix(k)}" for k in range(20)])

    # Whoever takes care of the board starts it again, empty.
    node.board = node.tables.writer.driver = TableBoard(CONFIG)
    assert not node.tables.synchronize()
    node.loop.wake()
    wait_for(lambda: node.settled() and node.mirror.summary()["problems"] == [], "all is well again")
    check_gateways(node, container, macs)
    assert node.mirror.summary()["rib"] == 182


def test_an_unforeseen_error_of_one_step_is_repaired(container, node, monkeypatch):
    monkeypatch.setattr("polyrouter.host.mirror.mirror.REFRESH_SECONDS", 0.2)
    real, left = node.tables.commit, [3]

    def fail() -> None:
        if left[0]:
            left[0] -= 1
            raise RuntimeError("unforeseen")
        real()

    monkeypatch.setattr(node.tables, "commit", fail)
    container.ip("route", "add", "blackhole", "20.0.0.0/8")
    node.wait_kind("20.0.0.1", K.BLACKHOLE)
    assert left == [0]
    wait_for(lambda: node.settled() and node.mirror.summary()["problems"] == [], "nothing is wrong any more")
    assert node.mirror.last_resync == "an error"


def test_a_namespace_of_an_unprivileged_user(container):
    """Containers' network namespaces belong to user namespaces."""
    script = "ip link set lo up; ip route add blackhole 20.0.0.0/8; echo ready; exec sleep infinity"
    process = subprocess.Popen(["unshare", "--user", "--map-root-user", "--net", "sh", "-c", script],
                               stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        node = Node(f"/proc/{process.pid}/ns/net")
        try:
            node.wait_kind("20.0.0.1", K.BLACKHOLE)
        finally:
            node.stop()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_more_routes_than_room(container):
    macs = gateways(container, 3)
    node = Node(container.path, window=Window(0, 200, 0, 64))
    try:
        container.batch(["route add 16.0.0.0/5 via 10.0.0.2"] + [
            f"route add 20.{k * 7 % 256}.{k // 256 * 99}.0/24 via 10.0.0.3" for k in range(500)])
        wait_for(lambda: node.settled() and node.mirror.summary()["rib"] == 503, "all routes have arrived")
        assert "do not fit the FIB window of 200 words" in node.mirror.summary()["problems"][0]
        for route, hops in container.routes().items():
            for gateway in hops:
                found = node.board.adjacency(ROUTER, route.address + 1)
                assert found.kind == K.LOCAL or found.mac == macs[gateway]
        container.batch([f"route del 20.{k * 7 % 256}.{k // 256 * 99}.0/24" for k in range(50, 500)])
        wait_for(lambda: node.settled() and node.mirror.summary()["rib"] == 53, "all deletions have arrived")
        wait_for(lambda: node.mirror.summary()["problems"] == [], "all fit now")
        check_gateways(node, container, macs)
    finally:
        node.stop()


@pytest.fixture
def container6(container):
    """With IPv6 on both ports, and its neighbours' link-local addresses."""
    for port in range(2):
        for namespace, host in ((container.name, 1), (container.far, 2)):
            container.ip("addr", "add", f"2001:db8:{port}::{host}/64", "dev", f"eth{port}", "nodad",
                         namespace=namespace)
            container.ip("addr", "add", f"fe80::{host}/64", "dev", f"eth{port}", "nodad", namespace=namespace)
    return container


def gateways6(container: Container, count: int, port: int = 0) -> dict[str, int]:
    macs = {f"fe80::{port + 1}:{k:x}": 0x02BB00000000 + 256 * port + k for k in range(count)}
    container.batch([f"neigh replace {gateway} lladdr 02:bb:00:00:{mac >> 8 & 255:02x}:{mac & 255:02x} nud permanent "
                     f"dev eth{port}" for gateway, mac in macs.items()])
    return macs


def test_kinds_of_ipv6_routes(container6, node):
    container6.batch([
        "route add 3001::/16 via fe80::2 dev eth0",
        "route add 3001:1::/32 via 2001:db8:1::2",
        "route add blackhole 3001:2::/32",
        "route add unreachable 3001:3::/32",
        "route add prohibit 3001:4::/32",
        "route add 3001:5::/32 dev lo",
        "route add 3001:6::/32 dev eth1",
        "route add 3001:7::/32 via fe80::2 dev eth1 metric 50",
        "route add 3001:7::/32 via fe80::2 dev eth0 metric 20",
        "route add local 3001:8::/32 dev lo",
        "route add 3001:8:1::/48 via fe80::2 dev eth0",
        "route add 20.0.0.0/8 via inet6 fe80::2 dev eth0",
    ])
    for address, kind in {
            "3001:99::1": K.FORWARD, "3001:1::1": K.FORWARD, "3001:2::1": K.BLACKHOLE, "3001:3::1": K.UNREACHABLE,
            "3001:4::1": K.UNREACHABLE, "3001:5::1": K.LOCAL, "3001:6::1": K.UNRESOLVED, "3001:7::1": K.FORWARD,
            "3001:8::1": K.LOCAL, "3001:8:1::1": K.LOCAL, "2001:db8::1": K.LOCAL, "2001:db8:1::1": K.LOCAL,
            "2001:db8::77": K.UNRESOLVED, "ff02::1": K.LOCAL, "ff0e::1": K.LOCAL, "::1": K.BLACKHOLE,
            "::": K.BLACKHOLE, "4000::1": None, "20.0.0.1": K.FORWARD}.items():
        node.wait_kind(address, kind)
    # The mirror had the kernel ask for both neighbours.
    far = [container6.far_mac(port) for port in range(2)]
    assert node.macs("3001:99::1") == node.macs("3001:7::1") == node.macs("20.0.0.1") == {far[0]}
    assert node.macs("3001:1::1") == node.macs("2001:db8:1::2") == {far[1]}
    container6.ip("-6", "route", "del", "3001:7::/32", "metric", "20")
    node.wait_macs("3001:7::1", {far[1]})
    container6.ip("-6", "route", "del", "local", "3001:8::/32", "dev", "lo")
    node.wait_macs("3001:8:1::1", {far[0]})
    node.wait_kind("3001:8::1", K.FORWARD)


def test_ipv6_neighbours_come_and_go(container6, node):
    node.wait_kind("2001:db8::2", K.UNRESOLVED)
    container6.ip("neigh", "replace", "2001:db8::2", "lladdr", "02:aa:bb:cc:dd:ee", "dev", "eth0")
    node.wait_macs("2001:db8::2", {0x02AABBCCDDEE})
    container6.ip("neigh", "replace", "2001:db8::2", "lladdr", "02:aa:bb:cc:dd:ef", "dev", "eth0")
    node.wait_macs("2001:db8::2", {0x02AABBCCDDEF})
    container6.ip("-6", "route", "add", "2001:db8::/120", "via", "fe80::2", "dev", "eth1")
    node.wait_macs("2001:db8::2", {container6.far_mac(1)})
    container6.ip("-6", "route", "del", "2001:db8::/120")
    node.wait_macs("2001:db8::2", {0x02AABBCCDDEF})
    container6.ip("neigh", "del", "2001:db8::2", "dev", "eth0")
    node.wait_kind("2001:db8::2", K.UNRESOLVED)
    container6.ip("addr", "del", "2001:db8::1/64", "dev", "eth0")
    node.wait_kind("2001:db8::2", None)
    node.wait_kind("2001:db8::1", None)


def test_ipv6_siblings_come_and_go(container6, node):
    macs = gateways6(container6, 5) | gateways6(container6, 2, port=1)
    a, b, c, d, e, x, y = macs
    route = Prefix.parse("3001::/16")

    def change(*words: str, to: set[str]) -> None:
        container6.ip("-6", "route", *words)
        assert container6.routes("-6").get(route, set()) == to      # so says the kernel
        node.wait_macs("3001::1", {macs[gateway] for gateway in to})
        wait_for(node.settled, "nothing is left to do")

    change("add", "3001::/16", "via", a, "dev", "eth0", to={a})
    change("append", "3001::/16", "via", b, "dev", "eth0", to={a, b})
    change("append", "3001::/16", "nexthop", "via", x, "dev", "eth1", "nexthop", "via", c, "dev", "eth0",
           to={a, b, c, x})
    change("del", "3001::/16", "via", a, "dev", "eth0", to={b, c, x})
    change("del", "3001::/16", "nexthop", "via", b, "dev", "eth0", "nexthop", "via", c, "dev", "eth0", to={x})
    change("replace", "3001::/16", "nexthop", "via", d, "dev", "eth0", "nexthop", "via", y, "dev", "eth1", "weight",
           "3", to={d, y})
    found = [node.board.adjacency(ROUTER, route.address, ipv6=True, flow=flow).mac for flow in FLOWS]
    assert 10 < found.count(macs[d]) < 42       # a quarter of 100
    change("replace", "3001::/16", "via", e, "dev", "eth0", to={e})
    change("append", "3001::/16", "via", x, "dev", "eth1", to={e, x})
    assert node.mirror.resyncs == 1
    container6.ip("link", "set", "eth1", "down")
    node.wait_macs("3001::1", {macs[e]})
    container6.ip("-6", "route", "del", "3001::/16")
    node.wait_kind("3001::1", None)


def test_ipv6_next_hop_objects(container6, node):
    macs = gateways6(container6, 3)
    a, b, c = macs
    container6.batch([f"nexthop add id 7 via {a} dev eth0", f"nexthop add id 8 via {b} dev eth0",
                      "nexthop add id 70 group 7/8,3", "route add 3001::/16 nhid 70"])
    node.wait_macs("3001::1", {macs[a], macs[b]})
    container6.ip("nexthop", "replace", "id", "8", "via", c, "dev", "eth0")
    node.wait_macs("3001::1", {macs[a], macs[c]})
    container6.ip("nexthop", "del", "id", "7")
    node.wait_macs("3001::1", {macs[c]})
    container6.ip("nexthop", "del", "id", "70")     # takes its routes along
    node.wait_kind("3001::1", None)


def test_ipv6_routes_that_go_with_a_link(container6, node):
    container6.ip("-6", "route", "add", "3001::/16", "via", "fe80::2", "dev", "eth0")
    container6.ip("-6", "route", "add", "3002::/16", "via", "fe80::2", "dev", "eth1")
    node.wait_kind("3001::1", K.FORWARD)
    node.wait_kind("3002::1", K.FORWARD)
    container6.ip("link", "set", "eth0", "down")
    for address in ("3001::1", "2001:db8::1", "2001:db8::77"):
        node.wait_kind(address, None)
    assert node.kind("3002::1") == K.FORWARD


def test_a_burst_of_both_families_and_a_restart(container6, node):
    macs = gateways(container6, 8) | gateways6(container6, 8)
    four, six = list(macs)[:8], list(macs)[8:]
    count = 3000
    container6.batch([f"route add {prefix(k)} via {four[k % 8]}" for k in range(count)]
                     + [f"route add 3001:{k:x}::/{32 + k % 33} via {six[k % 8]} dev eth0" for k in range(count)]
                     + [f"route append 3001:{k:x}::/{32 + k % 33} via {six[k // 9 % 8]} dev eth0"
                        for k in range(0, count, 3) if k // 9 % 8 != k % 8])
    wait_for(lambda: node.settled() and node.kind("3001:bb7::1") == K.FORWARD, "all routes have arrived")
    check_gateways(node, container6, macs)
    assert node.mirror.resyncs == 1
    assert node.mirror.summary()["problems"] == []
    wait_for(node.settled, "nothing is left to do")
    node.stop()

    before = len(node.board.log)
    again = Node(container6.path, node.board)
    try:
        assert again.adopted
        wait_for(again.settled, "the comparison is done")
        assert not any(entry[0] in (Table.FIB, Table.ADJACENCY) for entry in node.board.log[before:])
        container6.batch([f"route del 3001:{k:x}::/{32 + k % 33}" for k in range(0, count, 2)])
        wait_for(lambda: again.settled() and again.kind("3001:bb6::1") is None, "all deletions have arrived")
        check_gateways(again, container6, macs)
    finally:
        again.stop()
    node.loop = MirrorLoop()        # for the fixture
    node.loop.start()
