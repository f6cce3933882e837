"""The relay between a board and real veth pairs."""

import contextlib
import socket
import struct
import subprocess
import threading
import time
import uuid

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import Reason
from polyrouter.host.netns import in_namespace
from polyrouter.host.ports import logical
from polyrouter.host.relay import Relay

pytestmark = pytest.mark.root

CONFIG = CoreConfig()
LINKED = CoreConfig(circuits=64)
LONGEST = CONFIG.max_frame - 4
OWN, OTHER = 0x020000000001, 0x020000000002
ETH_P_TEST = 0x88B6


class HostPort:
    """Keeps what is injected."""

    def __init__(self) -> None:
        self.handler = None
        self.frames: list[tuple[int, int, bytes]] = []
        self.arrived = threading.Condition()
        self.free = 1000

    def set_punt_handler(self, handler) -> None:
        self.handler = handler

    def inject(self, router: int, port: int, frame: bytes) -> None:
        with self.arrived:
            self.frames.append((router, port, frame))
            self.arrived.notify_all()

    def room(self) -> int:
        return max(0, self.free - len(self.frames))

    def wait(self, count: int) -> list[tuple[int, int, bytes]]:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.frames) >= count, timeout=20)
            return self.frames


def wait_for(condition) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("never so")


def frame(number: int, length: int = 100, source: int = OWN, tag: int | None = None) -> bytes:
    head = OTHER.to_bytes(6, "big") + source.to_bytes(6, "big")
    if tag is not None:
        head += struct.pack("!HH", 0x8100, tag)
    head += struct.pack("!HI", ETH_P_TEST, number)
    return head + bytes(length - len(head))


def packet_socket(interface: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.bind((interface, ETH_P_TEST))
    made.settimeout(20)
    return made


@pytest.fixture
def namespaces():
    """The fabric and a container, with two veth pairs between them."""
    name = f"prt-{uuid.uuid4().hex[:8]}"
    fabric, container = f"{name}o", f"{name}i"
    for namespace in (fabric, container):
        subprocess.run(["ip", "netns", "add", namespace], check=True)
        # No frames of its own: no IPv6 router solicitations.
        in_namespace(f"/run/netns/{namespace}", quiet)
    for port in range(2):
        for words in (["link", "add", f"outer{port}", "mtu", "3000", "type", "veth", "peer", "name", f"eth{port}",
                       "mtu", "3000", "netns", container], ["link", "set", f"outer{port}", "up"]):
            subprocess.run(["ip", "-n", fabric, *words], check=True)
        subprocess.run(["ip", "-n", container, "link", "set", f"eth{port}", "up"], check=True)
    yield f"/run/netns/{fabric}", f"/run/netns/{container}"
    for namespace in (fabric, container):
        subprocess.run(["ip", "netns", "del", namespace], check=True)


def quiet() -> None:
    for which in ("all", "default"):
        # Without IPv6 in the kernel it is quiet anyway.
        with contextlib.suppress(FileNotFoundError), open(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6", "w") as file:
            file.write("1")


@pytest.fixture
def served(namespaces):
    fabric, container = namespaces
    hostport = HostPort()
    with Relay(hostport, CONFIG) as relay:
        relay.add(3, 0, "outer0", fabric, OWN)
        relay.add(3, 1, "outer1", fabric)
        inner = [in_namespace(container, lambda name=f"eth{port}": packet_socket(name)) for port in range(2)]
        yield relay, hostport, inner, fabric
        for made in inner:
            made.close()


def test_punts_arrive_in_the_container_unchanged(served):
    relay, hostport, inner, _ = served
    for number, length in enumerate((14 + 4, 60, 61, 1514)):
        hostport.handler(3, number % 2, Reason.PUNT_LOCAL, frame(number, length, OTHER))
        assert inner[number % 2].recv(4000) == frame(number, length, OTHER)
    counters = relay.counters()
    assert (counters[3, 0].delivered, counters[3, 1].delivered) == (2, 2)
    # What the relay sends it does not take for the container's.
    inner[0].send(frame(9))
    assert hostport.wait(1) == [(3, 0, frame(9))]


def test_copies_for_capture_never_reach_the_container(served):
    relay, hostport, inner, _ = served
    heard: list[tuple[int, bytes]] = []
    listening = relay.listen(3, lambda port, data: heard.append((port, data)))
    hostport.handler(3, 0, Reason.PUNT_MIRROR, frame(1))
    hostport.handler(4, 0, Reason.PUNT_MIRROR, frame(2))
    hostport.handler(3, 0, Reason.PUNT_FILTER, frame(3))
    assert inner[0].recv(4000) == frame(3)          # and nothing before it
    assert heard == [(0, frame(1))]
    relay.unlisten(listening)
    hostport.handler(3, 0, Reason.PUNT_MIRROR, frame(4))
    assert heard == [(0, frame(1))]
    assert (relay.mirrored, relay.homeless, relay.counters()[3, 0].delivered) == (3, 0, 1)


def test_frames_of_the_container_are_injected_in_order(served):
    relay, hostport, inner, _ = served
    sent = [frame(number, 60 + number) for number in range(300)]
    for data in sent:
        inner[0].send(data)
    assert hostport.wait(300) == [(3, 0, data) for data in sent]
    inner[1].send(frame(1, 100, OTHER))
    assert hostport.wait(301)[300] == (3, 1, frame(1, 100, OTHER))
    assert (relay.counters()[3, 0].sent, relay.counters()[3, 1].sent) == (300, 1)


def test_vlan_tags_stay(served):
    _, hostport, inner, _ = served
    inner[0].send(frame(1, 100, tag=0x2064))
    assert hostport.wait(1) == [(3, 0, frame(1, 100, tag=0x2064))]


def test_frames_that_come_too_fast_are_counted(served):
    relay, hostport, inner, _ = served
    with hostport.arrived:          # the relay waits here with its first frame
        for number in range(20_000):
            inner[0].send(frame(number))
    wait_for(lambda: (counters := relay.counters()[3, 0]).sent + counters.overflow == 20_000)
    counters = relay.counters()[3, 0]
    assert counters.overflow > 0
    assert counters.sent == len(hostport.frames) > 1000


def test_a_port_that_floods_gets_its_share_and_others_theirs(namespaces):
    fabric, container = namespaces
    hostport, rate, burst = HostPort(), 500.0, 50
    with Relay(hostport, CONFIG, rate=rate, burst=burst) as relay:
        begin = time.monotonic()
        relay.add(3, 0, "outer0", fabric)
        relay.add(4, 1, "outer1", fabric)
        inner = [in_namespace(container, lambda name=f"eth{port}": packet_socket(name)) for port in range(2)]
        for number in range(600):
            inner[0].send(frame(number))
        inner[1].send(frame(9))
        wait_for(lambda: relay.counters()[4, 1].sent == 1)
        sent = relay.counters()[3, 0].sent
        assert 0 < sent <= burst + rate * (time.monotonic() - begin)
        # Nothing that found room to wait is lost.
        wait_for(lambda: relay.counters()[3, 0].sent == 600)
        assert [data for router, _, data in hostport.frames if router == 3] == [frame(n) for n in range(600)]
        assert time.monotonic() - begin >= (600 - burst) / rate
        # A port can go while it is kept waiting.
        for number in range(200):
            inner[0].send(frame(number))
        relay.remove(3)
        assert list(relay.counters()) == [(4, 1)]
        for made in inner:
            made.close()


def test_a_vnic_sends_what_the_board_takes_and_from_any_address(namespaces):
    """More than a container may; none is lost while the board is slow, and each VNIC gets its turn."""
    fabric, container = namespaces
    hostport = HostPort()
    hostport.free = 0
    with Relay(hostport, LINKED, rate=1.0, burst=1) as relay:
        for port in range(2):
            relay.add(3 + port, logical(3, 17 + port), f"outer{port}", fabric, vnic=True)
        inner = [in_namespace(container, lambda name=f"eth{port}": packet_socket(name)) for port in range(2)]
        for number in range(200):
            for sock in inner:
                sock.send(frame(number, source=OTHER))
        for free in (40, 80, 400):
            assert len(hostport.frames) <= hostport.free
            hostport.free = free
            hostport.wait(free)
            counts = [sum(router == number for router, _, _ in hostport.frames) for number in (3, 4)]
            assert sum(counts) == free and min(counts) >= free // 2 - 32
        for port in range(2):
            assert [data for router, _, data in hostport.frames if router == 3 + port] == [
                frame(number, source=OTHER) for number in range(200)]
        assert {entry[:2] for entry in hostport.frames} == {(3, logical(3, 17)), (4, logical(3, 18))}
        # The circuit's tag needs room, too.
        inner[0].send(frame(1, LONGEST - 3))
        inner[0].send(frame(2, LONGEST - 4))
        hostport.free = 1000
        assert hostport.wait(401)[400] == (3, logical(3, 17), frame(2, LONGEST - 4))
        assert relay.counters()[3, logical(3, 17)].long == 1
        hostport.handler(4, logical(3, 18), Reason.PUNT_LOCAL, frame(5))
        assert inner[1].recv(4000) == frame(5)
        for made in inner:
            made.close()


def test_packets_of_tunnels_are_for_who_asks(served):
    hostport, given = HostPort(), []
    with Relay(hostport, LINKED) as relay:
        hostport.handler(2, 3, Reason.PUNT_UNRESOLVED, frame(1))
        assert relay.homeless == 1
        relay.on_given = lambda *what: given.append(what)
        hostport.handler(2, 3, Reason.PUNT_UNRESOLVED, frame(2))
        hostport.handler(2, logical(3, 9), Reason.PUNT_LOCAL, frame(3))
        assert given == [(2, Reason.PUNT_UNRESOLVED, frame(2))] and relay.homeless == 2


def test_what_is_refused(served):
    relay, hostport, inner, _ = served
    inner[0].send(frame(1, LONGEST + 1))
    inner[0].send(frame(2, 2000))
    inner[0].send(frame(3, 100, OTHER))
    inner[0].send(frame(4, LONGEST))
    assert hostport.wait(1) == [(3, 0, frame(4, LONGEST))]
    assert relay.counters()[3, 0].as_dict() == {
        "delivered": 0, "undelivered": 0, "sent": 1, "overflow": 0, "short": 0, "long": 2, "spoofed": 1}


def test_punts_that_have_nowhere_to_go_are_counted(served):
    relay, hostport, _, fabric = served
    hostport.handler(4, 0, Reason.PUNT_LOCAL, frame(1))
    hostport.handler(3, 5, Reason.PUNT_LOCAL, frame(1))
    assert relay.homeless == 2
    subprocess.run(["ip", "-n", fabric.rsplit("/", 1)[1], "link", "set", "outer0", "down"], check=True)
    hostport.handler(3, 0, Reason.PUNT_LOCAL, frame(1))
    assert relay.counters()[3, 0].undelivered == 1
    # The thread lives on, and so does the port when it is up again.
    name = fabric.rsplit("/", 1)[1]
    subprocess.run(["ip", "-n", name, "link", "set", "outer0", "up"], check=True)
    relay.add(3, 0, "outer0", fabric)
    served[2][0].send(frame(7))
    assert hostport.wait(1) == [(3, 0, frame(7))]


def test_interfaces_that_vanish_and_come_back(served, namespaces):
    relay, hostport, inner, fabric = served
    name = fabric.rsplit("/", 1)[1]
    subprocess.run(["ip", "-n", name, "link", "del", "outer0"], check=True)
    hostport.handler(3, 0, Reason.PUNT_LOCAL, frame(1))
    assert relay.counters()[3, 0].undelivered == 1
    inner[1].send(frame(8))
    assert hostport.wait(1) == [(3, 1, frame(8))]
    with pytest.raises(OSError):
        relay.add(3, 0, "outer0", fabric)
    relay.remove(3, 0)
    assert list(relay.counters()) == [(3, 1)]
    relay.remove(3)
    assert relay.counters() == {}


def test_another_host_port_after_the_board_was_started_again(served):
    relay, hostport, inner, _ = served
    second = HostPort()
    relay.attach(second)
    assert hostport.handler is None
    inner[0].send(frame(5))
    assert second.wait(1) == [(3, 0, frame(5))]
    second.handler(3, 0, Reason.PUNT_LOCAL, frame(6, 100, OTHER))
    assert inner[0].recv(4000) == frame(6, 100, OTHER)
    assert hostport.frames == []
