"""Filters, VLANs, bridges, rates and captures of a topology file on a live board."""

import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import Reason
from polyrouter.host.agent import dataplane
from polyrouter.host.agent.dataplane import DataPlane, parse_mac
from polyrouter.host.agent.events import EventLog
from polyrouter.host.allocate import allocate
from polyrouter.host.compile import network_spec
from polyrouter.host.spec import NodeSpec
from polyrouter.host.store import AgentStore
from polyrouter.host.topology_file import parse
from polyrouter.sim.live.board import LiveBoard
from polyrouter.sim.live.build import build_board
from polyrouter.sim.packets import ethernet, ipv4, segment, with_tag

CONFIG = CoreConfig()
WAIT = 60
TEXT = """\
name: live
topology:
  nodes:
    left: {}
  networks:
    red:
      routers:
        left:
          interfaces:
            eth0: {address: 10.0.0.1/24, vlan: 100, mtu: 1400, open: true}
            eth1: {address: 10.0.1.1/24, open: true}
          filters:
            - {match: {protocol: tcp, dst-port: 23}, action: drop}
            - {match: {protocol: udp}, action: {send: eth1}, police: {rate: 64k, burst: 4000}, set: {tos: 8}}
    lan:
      routers:
        bridge: {node: left, mode: bridged, interfaces: {eth0: {}, eth2: {vlan: 7, mtu: 1400}, eth3: {}}}
"""
STATION, OTHER = 0x02BB00000001, 0x02BB00000002


class Site:
    """A live board and what an agent has of it."""

    def __init__(self, executable: Path, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(CONFIG.all_ports)]
        self.ports = [near for near, _ in pairs[:CONFIG.ports]]
        self.far = [far for _, far in pairs]
        self.board = LiveBoard(executable, [far.fileno() for far in self.far[:-1]], self.far[-1].fileno(),
                               top / "board.log", top / "board.pid")
        self.board.start()
        monkeypatch.setattr(dataplane, "open_transport", lambda *_: pairs[-1][0])
        self.store = AgentStore(top / "agent.db")
        self.node = self.spec_of(TEXT)
        self.plane = DataPlane(self.node, CONFIG, self.store, EventLog(top / "events.jsonl"))
        self.plane.start(list(self.node.routers.values()))
        self.set_all()

    @staticmethod
    def spec_of(text: str) -> NodeSpec:
        file = parse(text)
        return network_spec(file, allocate(file)).nodes["left"]

    def use(self, text: str) -> None:
        self.node = self.spec_of(text)
        self.set_all()

    def set_all(self) -> None:
        for router in self.node.routers.values():
            self.plane.set_router(router)

    def close(self) -> None:
        self.plane.close()
        self.board.stop()
        self.store.close()
        for end in (*self.ports, *self.far):
            end.close()

    def receive(self, port: int) -> bytes:
        assert select.select([self.ports[port]], [], [], WAIT)[0], f"nothing came out of port {port}"
        return self.ports[port].recv(4000)

    def counters(self, name: str) -> dict[str, int]:
        """Frames by reason, of all ports."""
        found: dict[str, int] = {}
        for row in self.plane.counters(self.node.routers[name].number):
            if row["router"] == name and row["frames"]:
                found[row["reason"]] = found.get(row["reason"], 0) + row["frames"]
        return found

    def mac(self, name: str, port: int) -> int:
        return next(parse_mac(entry.mac) for entry in self.node.routers[name].ports if entry.port == port)


@pytest.fixture(scope="module")
def executable() -> Path:
    return build_board(CONFIG)


@pytest.fixture
def site(executable, tmp_path, monkeypatch) -> Iterator[Site]:
    made = Site(executable, tmp_path, monkeypatch)
    yield made
    made.close()


def packet(destination: int, protocol: int, port: int, *, vlan: int = 0, payload: int = 30, tos: int = 0) -> bytes:
    body = segment(protocol, 0x0A000063, 0x0A000163, (4000, port), bytes(payload))
    frame = ethernet(destination, STATION, 0x0800, ipv4(0x0A000063, 0x0A000163, body, protocol=protocol, tos=tos))
    return with_tag(frame, vlan) if vlan else frame


def test_filter_and_vlan(site):
    own = site.mac("red-left", 0)
    site.ports[0].send(packet(own, 6, 23, vlan=100))
    site.ports[0].send(packet(own, 17, 53, vlan=100))
    out = site.receive(1)
    assert out[12:14] == b"\x81\x00"        # sent by a rule: with the tag that it came with
    assert out[:12] + out[16:] == packet(own, 17, 53, tos=8)
    assert site.counters("red-left") == {"drop_filter": 1, "switched": 1}
    assert [(row["frames"], row["bytes"]) for row in site.plane.filters("red-left")] == [
        (1, len(packet(own, 6, 23, vlan=100))), (1, len(packet(own, 17, 53, vlan=100)))]


def test_bridge(site):
    site.ports[0].send(ethernet(OTHER, STATION, 0x1234, bytes(50)))
    assert site.receive(3) == ethernet(OTHER, STATION, 0x1234, bytes(50))
    assert site.receive(2) == with_tag(ethernet(OTHER, STATION, 0x1234, bytes(50)), 7)
    site.ports[3].send(ethernet(STATION, OTHER, 0x1234, bytes(60)))
    assert site.receive(0) == ethernet(STATION, OTHER, 0x1234, bytes(60))
    assert {(row["mac"], row["port"]) for row in site.plane.macs("lan-bridge")} == {
        ("02:bb:00:00:00:01", "p0"), ("02:bb:00:00:00:02", "p3")}
    assert site.counters("lan-bridge") == {"bridged": 3}


def test_policer_lets_a_burst_through(site):
    own = site.mac("red-left", 0)
    frame = packet(own, 17, 53, vlan=100, payload=1000 - 4 - 4 - 42)
    assert len(frame) + 4 == 1000
    for _ in range(12):
        site.ports[0].send(frame)
    for _ in range(4):
        site.receive(1)
    # in order behind the others, so all of them have been decided on
    site.ports[0].send(packet(own, 6, 23, vlan=100))
    wait_for(site, "red-left", "drop_filter", 1)
    assert site.counters("red-left") == {"switched": 4, "drop_policer": 8, "drop_filter": 1}


def wait_for(site: Site, name: str, reason: str, count: int) -> None:
    waiter = threading.Event()
    for _ in range(WAIT * 10):
        if site.counters(name).get(reason, 0) >= count:
            return
        waiter.wait(0.1)
    raise AssertionError(f"{reason} of {name} is {site.counters(name)}")


def test_rules_change_while_frames_flow(site):
    own = site.mac("red-left", 0)
    done = threading.Event()

    def send() -> None:
        while not done.is_set():
            site.ports[0].send(packet(own, 6, 23, vlan=100))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for ports in ([], [1], [1, 2, 3], [3], []):
            more = "".join(f"            - {{match: {{protocol: tcp, dst-port: {port}}}, action: punt}}\n"
                           for port in ports)
            site.use(TEXT.replace("          filters:\n", "          filters:\n" + more))
    finally:
        done.set()
        sender.join()
    site.ports[0].send(packet(own, 17, 53, vlan=100))
    site.receive(1)
    found = site.counters("red-left")
    # What is not there yet when the burst of frames ends is an overflow of nobody's; all of the router's were dropped.
    assert set(found) == {"drop_filter", "switched"} and found["switched"] == 1


def test_capture_and_removal(site):
    own = site.mac("red-left", 0)
    frames: list[tuple[int, bytes]] = []
    arrived = threading.Event()

    def take(port: int, frame: bytes) -> None:
        frames.append((port, frame))
        arrived.set()

    end = site.plane.capture("red-left", take)
    site.ports[0].send(packet(own, 6, 23, vlan=100))
    assert arrived.wait(WAIT)
    end()
    assert frames == [(0, packet(own, 6, 23))]
    assert site.counters("red-left") == {"drop_filter": 1, Reason.PUNT_MIRROR.name.lower(): 1}
    assert {row["router"]: row["mirror"] for row in site.plane.context()} == {"red-left": False, "lan-bridge": False}
    for router in list(site.node.routers.values()):
        site.plane.remove_router(router)
    assert site.plane.context() == [] and site.plane.vmac() == []
