"""The mirror of multicast routes with a real kernel, against tables in memory and the golden model's look-ups."""

import socket
from collections.abc import Iterator

import pytest
from polyrouter.hdl.layouts import AdjacencyKind
from polyrouter.host.mirror import sampling
from polyrouter.host.netns import in_namespace
from polyrouter.host.tables.groups import MulticastKey
from polyrouter.host.tables.policy import Policy
from polyrouter.host.tables.prefix import Prefix
from polyrouter.sim.packets import ethernet, ipv4, ipv6, segment

from ..mroute_socket import MrouteSocket
from .test_mirror import ROUTER, Container, Node, wait_for

pytestmark = pytest.mark.root

K = AdjacencyKind
#: What a packet meets: kind, the port that it must come in at, ports that it leaves by.
Found = tuple[AdjacencyKind, int, int]
PUNTED = K.LOCAL, 0, 0


@pytest.fixture
def container() -> Iterator[Container]:
    made = Container()
    made.ip("link", "add", "other", "type", "veth", "peer", "name", "rehto")
    made.ip("link", "set", "other", "up")
    yield made
    made.remove()


@pytest.fixture(params=[False, True], ids=["ipv4", "ipv6"])
def kernel(container, request) -> Iterator[MrouteSocket]:
    made = MrouteSocket(container.path, ipv6=request.param)
    for number, name in enumerate(("eth0", "eth1", "other")):
        made.add_interface(number, name)
    yield made
    made.close()


@pytest.fixture
def node(container, kernel) -> Iterator[Node]:
    made = Node(container.path, policy=Policy(multicast=True))
    wait_for(made.settled, "the first comparison is done")
    yield made
    made.stop()


def texts(kernel: MrouteSocket) -> tuple[str, str, str]:
    """Two sources and a group."""
    return ("2001:db8::1", "2001:db8::2", "ff05::1") if kernel.ipv6 else ("10.9.0.1", "10.9.0.2", "239.1.1.1")


def meet(node: Node, source: str, group: str) -> Found:
    tables = node.board.tables
    context = tables.context(ROUTER)
    assert context.multicast
    place, sender = Prefix.parse(group), Prefix.parse(source)
    row = tables.route(context, place.address, ipv6=place.ipv6, source=sender.address)
    if row is None:
        return PUNTED
    found = tables.group_ports(context, row)
    return AdjacencyKind(found.kind), found.port, found.ports


def wait(node: Node, source: str, group: str, found: Found) -> None:
    wait_for(lambda: meet(node, source, group) == found, f"({source}, {group}) is {found}")


def test_routes_come_change_and_go(node, kernel):
    source, other, group = texts(kernel)
    assert meet(node, source, group) == PUNTED
    kernel.add(source, group, 0, {1: 1})
    wait(node, source, group, (K.MULTICAST, 0, 0b10))
    assert meet(node, other, group) == PUNTED
    kernel.add(None, group, 1, {0: 1, 1: 1})        # as a daemon does it: with the way in among the ways out
    wait(node, other, group, (K.MULTICAST, 1, 0b01))
    kernel.add(source, group, 0, {})
    wait(node, source, group, (K.MULTICAST, 0, 0))
    kernel.delete(source, group, 0)
    wait(node, source, group, (K.MULTICAST, 1, 0b01))
    assert node.mirror.summary()["mroutes"] == 1
    kernel.delete(None, group, 1)
    wait(node, other, group, PUNTED)
    assert node.mirror.summary()["problems"] == [] and node.mirror.resyncs == 1


def test_what_the_hardware_cannot_do_is_punted(node, kernel):
    source, other, group = texts(kernel)
    kernel.add(None, group, 0, {1: 1})
    wait(node, other, group, (K.MULTICAST, 0, 0b10))
    ways = [{1: 1, 2: 1}] if kernel.ipv6 else [{1: 1, 2: 1}, {1: 5}]
    for out in ways:
        kernel.add(source, group, 0, out)
        wait(node, source, group, PUNTED)       # and does not go by (*,G)
        kernel.add(source, group, 0, {1: 1})
        wait(node, source, group, (K.MULTICAST, 0, 0b10))
    kernel.add(source, group, 2, {1: 1})
    wait(node, source, group, PUNTED)


def test_the_end_of_the_daemon_and_an_agent_that_restarts(container, kernel):
    source, other, group = texts(kernel)
    node = Node(container.path, policy=Policy(multicast=True))
    kernel.add(source, group, 0, {1: 1})
    kernel.add(None, group, 1, {0: 1})
    wait(node, source, group, (K.MULTICAST, 0, 0b10))
    wait(node, other, group, (K.MULTICAST, 1, 0b01))
    node.stop()
    kernel.delete(None, group, 1)
    again = Node(container.path, board=node.board, policy=Policy(multicast=True))
    try:
        assert again.adopted
        assert meet(again, source, group) == (K.MULTICAST, 0, 0b10)
        wait(again, other, group, PUNTED)
        assert meet(again, source, group) == (K.MULTICAST, 0, 0b10)
        kernel.close()
        wait(again, source, group, PUNTED)
        assert again.mirror.groups.routes == {}
    finally:
        again.stop()


def test_an_interface_that_goes(container, node, kernel):
    source, _, group = texts(kernel)
    kernel.add(source, group, 0, {1: 1})
    wait(node, source, group, (K.MULTICAST, 0, 0b10))
    container.ip("link", "del", "eth1")
    wait(node, source, group, (K.MULTICAST, 0, 0))


def test_many_routes(node, kernel):
    source, _, group = texts(kernel)
    first = Prefix.parse(group)
    for number in range(300):
        kernel.add(source, str(Prefix(first.ipv6, first.address + number, first.length)).partition("/")[0], 0, {1: 1})
    last = str(Prefix(first.ipv6, first.address + 299, first.length)).partition("/")[0]
    wait(node, source, last, (K.MULTICAST, 0, 0b10))
    assert meet(node, source, group) == (K.MULTICAST, 0, 0b10)
    sender = Prefix.parse(source).address
    assert set(node.mirror.groups.routes) == {
        MulticastKey.of(first.address + number, sender, first.ipv6) for number in range(300)}
    node.loop.resync(ROUTER, "a test")
    wait_for(lambda: node.mirror.resyncs == 2 and node.settled(), "it is compared again")
    assert meet(node, source, last) == (K.MULTICAST, 0, 0b10)


def send(container: Container, source: str, group: str) -> None:
    """A packet that comes in at eth0."""
    def from_far() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
            out.bind(("eth0", 0))
            sender, target = (Prefix.parse(text).address for text in (source, group))
            if ":" in group:
                body = segment(17, sender, target, (7000, 7000), b"text", ipv6=True)
                frame = ethernet(0x333300000001, 0x02AA00000001, 0x86DD, ipv6(sender, target, body, next_header=17))
            else:
                body = segment(17, sender, target, (7000, 7000), b"text")
                frame = ethernet(0x01005E010101, 0x02AA00000001, 0x0800, ipv4(sender, target, body, protocol=17))
            out.send(frame)

    in_namespace(f"/run/netns/{container.far}", from_far)


def test_the_kernel_has_a_route_until_it_has_seen_a_packet(container, kernel, monkeypatch):
    """As long as it takes, if need be; the hardware forwards for the rest of the time."""
    monkeypatch.setattr(sampling, "PERIOD", 1.0)
    monkeypatch.setattr(sampling, "LONGEST", 1000.0)
    source, _, group = texts(kernel)
    node = Node(container.path, policy=Policy(multicast=True))
    try:
        kernel.add(source, group, 0, {1: 1})
        wait(node, source, group, (K.MULTICAST, 0, 0b10))
        for _ in range(2):
            wait(node, source, group, PUNTED)
            node.loop.resync(ROUTER, "a test")
            wait_for(node.settled, "it is compared again")
            assert meet(node, source, group) == PUNTED
            send(container, source, group)
            wait(node, source, group, (K.MULTICAST, 0, 0b10))
        wait(node, source, group, PUNTED)
        kernel.delete(source, group, 0)
        wait_for(lambda: not node.tables.describe_groups(), "the route is gone")
    finally:
        node.stop()
