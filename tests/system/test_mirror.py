"""The route mirror with real kernels, against tables in memory and the golden model's look-ups."""

import json
import os
import subprocess
import threading
import uuid
from ipaddress import IPv4Address, ip_network

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import AdjacencyKind, Table
from polyrouter.host.mirror.loop import MirrorLoop
from polyrouter.host.mirror.mirror import RouteMirror
from polyrouter.host.tables.router import RouterTables
from polyrouter.host.tables.windows import Window

from ..table_board import TableBoard

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root and namespaces")]

CONFIG = CoreConfig(routers=2, fib_words=65536, adjacencies=512)
WINDOW = Window(1000, 60000, 100, 300)
ROUTER = 1
PORTS = {"eth0": 0, "eth1": 1}
K = AdjacencyKind


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

    def routes(self) -> dict[tuple[int, int], str | None]:
        """Gateways of the main table."""
        result = {}
        for route in json.loads(self.ip("-j", "route", "show", "table", "main")):
            network = ip_network("0.0.0.0/0" if route["dst"] == "default" else route["dst"])
            result[int(network.network_address), network.prefixlen] = route.get("gateway")
        return result

    def far_mac(self, port: int) -> int:
        [link] = json.loads(self.ip("-j", "link", "show", f"eth{port}", namespace=self.far))
        return int(link["address"].replace(":", ""), 16)

    def remove(self) -> None:
        for name in (self.name, self.far):
            subprocess.run(["ip", "netns", "del", name], check=False)


class Node:
    """An agent's part: tables, mirror and its loop."""

    def __init__(self, path: str, board: TableBoard | None = None, window: Window = WINDOW) -> None:
        self.board = board or TableBoard(CONFIG)
        self.tables = RouterTables(self.board, ROUTER, window, {0: 2, 1: 3})
        self.adopted = self.tables.synchronize()
        self.mirror = RouteMirror(self.tables, path, PORTS)
        self.loop = MirrorLoop()
        self.loop.start()
        self.loop.add(self.mirror)

    def settled(self) -> bool:
        return self.loop.call(lambda: not self.mirror.receive() and not self.mirror.wants_work()
                              and not self.mirror.state.outdated and self.mirror.resyncs > 0).result()

    def kind(self, address: str) -> AdjacencyKind | None:
        return self.board.kind(ROUTER, int(IPv4Address(address)))

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
    """Every route of the kernel leads to its gateway in the tables, and the tables have no others."""
    routes = container.routes()
    tables = node.board.tables
    context = tables.context(ROUTER)
    for (address, length), gateway in routes.items():
        row = tables.route(context, address | (1 if length < 32 else 0))
        assert row is not None
        found = tables.adjacency(context, row)
        if gateway is not None:
            assert (found.kind, found.mac) == (K.FORWARD, macs[gateway])
    others = {prefix for prefix in node.tables.prefixes() if prefix not in routes}
    assert all(length == 32 or prefix >> 28 == 0xE or prefix >> 24 in (0, 127) for prefix, length in others)


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
            "20.8.0.1": K.LOCAL, "20.8.1.1": K.LOCAL, "20.9.0.1": K.LOCAL,
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


def test_several_next_hops_give_one(container, node):
    gateways(container, 10)

    def wait_mac(mac: int) -> None:
        wait_for(lambda: node.kind("20.0.0.1") == K.FORWARD
                 and node.board.adjacency(ROUTER, 20 << 24).mac == mac, f"{mac:#x} is used")

    container.ip("route", "add", "20.0.0.0/8", "nexthop", "via", "10.0.0.9", "nexthop", "via", "10.0.0.5",
                 "nexthop", "via", "10.0.0.100")
    wait_mac(0x02AA00000003)
    container.ip("neigh", "del", "10.0.0.5", "dev", "eth0")
    wait_mac(0x02AA00000007)
    container.ip("neigh", "replace", "10.0.0.5", "lladdr", "02:aa:00:00:00:55", "dev", "eth0")
    wait_mac(0x02AA00000055)


def test_next_hop_objects(container, node):
    gateways(container, 10)

    def wait_mac(mac: int) -> None:
        wait_for(lambda: node.kind("20.0.0.1") == K.FORWARD
                 and node.board.adjacency(ROUTER, 20 << 24).mac == mac, f"{mac:#x} is used")

    container.batch(["nexthop add id 7 via 10.0.0.7 dev eth0", "nexthop add id 8 via 10.0.0.8 dev eth0",
                     "nexthop add id 70 group 7/8", "nexthop add id 9 blackhole", "route add 20.0.0.0/8 nhid 70"])
    wait_mac(0x02AA00000005)
    container.ip("nexthop", "replace", "id", "7", "via", "10.0.0.11", "dev", "eth0")
    wait_mac(0x02AA00000006)
    container.ip("nexthop", "del", "id", "8")
    wait_mac(0x02AA00000009)
    container.ip("route", "replace", "20.0.0.0/8", "nhid", "9")
    node.wait_kind("20.0.0.1", K.BLACKHOLE)
    container.ip("route", "replace", "20.0.0.0/8", "nhid", "70")
    wait_mac(0x02AA00000009)
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
    node.board = node.tables.driver = TableBoard(CONFIG)
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
        for (address, _), gateway in container.routes().items():
            if gateway is not None:
                found = node.board.adjacency(ROUTER, address + 1)
                assert found.kind == K.LOCAL or found.mac == macs[gateway]
        container.batch([f"route del 20.{k * 7 % 256}.{k // 256 * 99}.0/24" for k in range(50, 500)])
        wait_for(lambda: node.settled() and node.mirror.summary()["rib"] == 53, "all deletions have arrived")
        wait_for(lambda: node.mirror.summary()["problems"] == [], "all fit now")
        check_gateways(node, container, macs)
    finally:
        node.stop()
