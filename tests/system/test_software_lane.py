"""VNICs of the software lane with real traffic, in namespaces that are made for it."""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import uuid

import pytest
from polyrouter.host.fabric import Fabric, list_namespaces, remove_namespace
from polyrouter.host.lanes import nft
from polyrouter.host.lanes.errors import LaneError
from polyrouter.host.lanes.software import SoftwareLane
from polyrouter.host.lanes.trunk import Trunk
from polyrouter.host.link_spec import PortPolicySpec, VnicSpec
from polyrouter.host.netns import in_namespace
from pyroute2 import IPRoute, netns

pytestmark = pytest.mark.root

ETH_P_TEST = 0x88B6
BROADCAST = "ff:ff:ff:ff:ff:ff"
HEADER, FCS = 14, 4
#: Largest part by which a rate may be off.
TOLERANCE = 0.02
ETH_P_ALL = 3
# Of Linux, not in Python's socket module.
_SO_TIMESTAMPNS, _SO_RCVBUFFORCE, _SO_SNDBUFFORCE = 35, 33, 32
_SOL_PACKET, _PACKET_STATISTICS = 263, 6


def mac(number: int) -> str:
    return f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"


def frame(destination: str, source: str, number: int, length: int = 100) -> bytes:
    head = bytes.fromhex((destination + source).replace(":", "")) + struct.pack("!HI", ETH_P_TEST, number)
    return head + bytes(length - len(head))


def wait_for(condition) -> None:
    pause = threading.Event()
    for _ in range(2000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("never so")


class Nic:
    """A packet socket on an interface; sees all that arrives there, whoever it is for."""

    def __init__(self, namespace: str, interface: str, protocol: int = ETH_P_TEST) -> None:
        self.socket = in_namespace(f"/run/netns/{namespace}", lambda: self._open(interface, protocol))

    @staticmethod
    def _open(interface: str, protocol: int) -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 256 << 20)
        made.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 16 << 20)
        made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        made.bind((interface, protocol))
        made.settimeout(20)
        return made

    def send(self, data: bytes) -> None:
        # A full queue is what some of the tests are about.
        with contextlib.suppress(BlockingIOError, OSError):
            self.socket.send(data)

    def until(self, last: int) -> list[int]:
        """Numbers of all frames that come, up to the last one."""
        numbers = []
        while not numbers or numbers[-1] != last:
            data, _, _, address = self.socket.recvmsg(64, 64)
            if address[2] != socket.PACKET_OUTGOING:
                numbers.append(struct.unpack_from("!I", data, HEADER)[0])
        return numbers

    def timed(self, wait: float) -> list[tuple[float, int, str]]:
        """What has come, or comes first within that time, 1000 at most: kernel's time of arrival, length, source."""
        found = []
        while len(found) < 1000 and select.select([self.socket], [], [], wait)[0]:
            data, ancillary, _, address = self.socket.recvmsg(10_000, 64)
            if address[2] != socket.PACKET_OUTGOING:
                seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
                found.append((seconds + nanoseconds / 1e9, len(data), data[6:12].hex(":")))
                wait = 0
        return found

    def lost(self) -> int:
        """Frames that found no room in the socket."""
        return struct.unpack("II", self.socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1]


class Site:
    """A fabric of its own, and a lane in it."""

    def __init__(self) -> None:
        self.name = f"prl-{uuid.uuid4().hex[:8]}"
        self.fabric = Fabric(self.name)
        self.fabric.ensure_namespace()
        self.lane = SoftwareLane(self.name, "n1")
        self.nics: list[Nic] = []

    def vnic(self, number: int, switch: str = "s1", **fields) -> VnicSpec:
        policy = PortPolicySpec(**{key: fields.pop(key) for key in list(fields) if key in PortPolicySpec.model_fields})
        values = {"name": f"v{number}", "lane": "sw", "switch": switch, "interface": "eth0",
                  "namespace": self.space(number), "outer": f"n1-v{number}", "mac": mac(number),
                  "addresses": [f"10.0.{number >> 8}.{number & 255}/16"]}
        return VnicSpec(**(values | fields), policy=policy)

    def space(self, number: int) -> str:
        return f"{self.name}.{number}"

    def nic(self, number: int, interface: str = "eth0", protocol: int = ETH_P_TEST) -> Nic:
        self.nics.append(Nic(self.space(number), interface, protocol))
        return self.nics[-1]

    def trunk(self, rate: int = 1_000_000_000) -> Trunk:
        """A trunk whose other end is in namespace 0."""
        netns.create(self.space(0))
        self.fabric.ensure_veth("trunk0", "eth0", f"/run/netns/{self.space(0)}", mac(0xFF00), 1500)
        return Trunk("s1", "trunk0", rate=rate)

    def index(self, number: int, interface: str = "eth0") -> int:
        def look() -> int:
            with IPRoute() as route:
                return route.link_lookup(ifname=interface)[0]
        return in_namespace(f"/run/netns/{self.space(number)}", look)

    def ping(self, number: int, address: str) -> bool:
        # A neighbour that was asked for in vain is asked for again a second later, which is all that ping waits.
        subprocess.run(["ip", "-n", self.space(number), "neighbour", "flush", "all"], check=True, capture_output=True)
        return subprocess.run(["ip", "netns", "exec", self.space(number), "ping", "-c", "1", "-W", "1", address],
                              capture_output=True).returncode == 0

    def left_over(self) -> tuple[set[str], set[str]]:
        """Interfaces of the fabric, and namespaces with names of this site, besides the fabric."""
        return (set(self.fabric.links()) - {"lo"},
                {name for name in list_namespaces() if name.startswith(f"{self.name}.")})

    def close(self) -> None:
        for nic in self.nics:
            nic.socket.close()
        self.lane.remove_all()
        remove_namespace(self.space(0))
        try:
            wait_for(lambda: self.left_over() == (set(), set()))
        finally:
            self.fabric.close()
            for name in list_namespaces():
                if name.startswith(self.name):
                    remove_namespace(name)


@pytest.fixture
def site():
    made = Site()
    yield made
    made.close()


def test_vnics_of_a_switch_reach_each_other_and_no_others(site):
    site.lane.apply([site.vnic(1), site.vnic(2), site.vnic(3, "s2"), site.vnic(4, "s2", vlan=7), site.vnic(5, vlan=7)])
    assert site.ping(1, "10.0.0.2") and site.ping(2, "10.0.0.1")
    nics = {number: site.nic(number) for number in (1, 2, 3, 4, 5)}
    # Of each, a frame to each other one by its address, and to all.
    for sender in nics:
        for target in nics:
            nics[sender].send(frame(mac(target), mac(sender), 10 * sender + target))
        nics[sender].send(frame(BROADCAST, mac(sender), 100 + sender))
    assert nics[1].until(102) == [21, 102]
    assert nics[2].until(101) == [12, 101]
    for alone in (3, 4, 5):
        assert nics[alone].timed(0) == []


def test_a_second_time_there_is_nothing_to_do(site):
    trunk = site.trunk()
    wanted = [site.vnic(1, max_bw=1_000_000, priority="high"), site.vnic(2, promiscuous=True, min_bw=64_000),
              site.vnic(3, addresses=["fd00::3/64", "10.0.0.3/16"], mac_changes=True, mtu=9000)]
    assert site.lane.apply(wanted, [trunk])
    assert site.lane.apply(wanted, [trunk]) == []
    assert SoftwareLane(site.name, "n1").apply(wanted, [trunk]) == []


def test_what_is_known_to_be_settled_is_not_looked_into(site):
    """With hundreds of VNICs, a look into each one's namespace is what takes the time."""
    def set_mtu(number: int, mtu: int | None = None) -> int:
        def work() -> int:
            with IPRoute() as route:
                if mtu is not None:
                    route.link("set", index=index, mtu=mtu)
                return route.link("get", index=index)[0].get("mtu")

        index = site.index(number)
        return in_namespace(f"/run/netns/{site.space(number)}", work)

    wanted = [site.vnic(1), site.vnic(2), site.vnic(3, mac_changes=True), site.vnic(4)]
    site.lane.apply(wanted)
    for number in (1, 2, 3):
        set_mtu(number, 1400)
    netns.remove(site.space(4))
    wait_for(lambda: "n1-v4" not in site.fabric.links())
    wanted += [site.vnic(5)]
    changes = site.lane.apply(wanted, settled={"v1", "v3", "v4", "v5"})
    # What its user may change is looked at all the same, and so is what is not there.
    assert [set_mtu(number) for number in (1, 2, 3)] == [1400, 1500, 1500]
    assert {"settled v2", "settled v3", "settled v4", "settled v5"} == {
        change for change in changes if change.startswith("settled")}
    assert site.ping(1, "10.0.0.5") and site.ping(5, "10.0.0.4") and site.ping(3, "10.0.0.1")
    # A property that is not the inner end's follows, and one that is does, too: the specification says more than this.
    wanted[0] = site.vnic(1, max_bw=1_000_000, macs=[mac(77)])
    assert site.lane.apply(wanted, settled={"v1"})
    assert site.lane.apply(wanted) == ["settled v1"] and set_mtu(1) == 1500
    assert site.lane.apply(wanted) == []


def test_forged_frames_reach_nobody_and_are_counted(site):
    wanted = [site.vnic(1, macs=[mac(77)]), site.vnic(2, max_bw=10_000_000), site.vnic(3, promiscuous=True),
              site.vnic(4, forged_transmits=True)]
    site.lane.apply(wanted)
    nics = {number: site.nic(number) for number in (1, 2, 3, 4)}
    for number in (1, 2, 4):
        for count in range(5):
            nics[number].send(frame(BROADCAST, mac(99), 100 * number + count))
            nics[number].send(frame(mac(3), mac(99), 100 * number + count))
        nics[number].send(frame(BROADCAST, mac(77), 1000 + number))
        nics[number].send(frame(BROADCAST, mac(number), 2000 + number))
    seen = nics[3].until(2004)
    if 2002 not in seen:        # comes by way of its limit
        seen += nics[3].until(2002)
    assert set(seen) == {1001, 2001, 2002, 1004, 2004, *range(400, 405)}
    counters = site.lane.counters(wanted)
    assert {name: row.forged for name, row in counters.items()} == {"v1": 10, "v2": 11, "v3": 0, "v4": 0}
    # What is allowed changes while the count goes on.
    wanted[1] = site.vnic(2, max_bw=10_000_000, macs=[mac(99)])
    site.lane.apply(wanted)
    nics[2].send(frame(BROADCAST, mac(99), 3000))
    nics[2].send(frame(BROADCAST, mac(98), 3001))
    nics[2].send(frame(BROADCAST, mac(2), 3002))
    assert nics[3].until(3002) == [3000, 3002]
    assert site.lane.counters(wanted)["v2"].forged == 12


def test_who_is_promiscuous_gets_all_frames_but_its_own(site):
    wanted = [site.vnic(1), site.vnic(2), site.vnic(3, promiscuous=True, forged_transmits=True),
              site.vnic(4, promiscuous=True), site.vnic(5)]
    site.lane.apply(wanted)
    nics = {number: site.nic(number) for number in range(1, 6)}
    nics[1].send(frame(mac(2), mac(1), 1))
    nics[1].send(frame(mac(88), mac(1), 2))             # nobody's
    nics[3].send(frame(mac(2), mac(3), 3))
    nics[3].send(frame(mac(2), mac(88), 4))
    nics[1].send(frame(BROADCAST, mac(1), 5))
    assert nics[2].until(5) == [1, 3, 4, 5]
    assert nics[3].until(5) == [1, 2, 5]
    assert nics[4].until(5) == [1, 2, 3, 4, 5]
    assert nics[5].until(5) == [5]
    # Without them, the switch sends a frame where it belongs.
    site.lane.apply([site.vnic(number) for number in range(1, 6)])
    nics[1].send(frame(mac(2), mac(1), 6))
    nics[1].send(frame(mac(88), mac(1), 7))
    nics[1].send(frame(BROADCAST, mac(1), 8))
    assert nics[2].until(8) == [6, 8]
    for number in (3, 4, 5):
        assert nics[number].until(8) == [8]


def test_an_address_of_two_vnics_reaches_both(site):
    """As the virtual router's MAC address of VRRP (RFC 5798, 7.3)."""
    virtual = "00:00:5e:00:01:01"
    site.lane.apply([site.vnic(1, macs=[virtual]), site.vnic(2, macs=[virtual]), site.vnic(3), site.vnic(4)])
    nics = {number: site.nic(number) for number in range(1, 5)}
    nics[3].send(frame(virtual, mac(3), 1))
    nics[1].send(frame(mac(3), virtual, 2))
    nics[3].send(frame(BROADCAST, mac(3), 3))
    assert nics[1].until(3) == nics[2].until(3) == [1, 3]
    assert nics[4].until(3) == [3]
    assert nics[3].until(2) == [2]


def test_mac_changes(site):
    wanted = [site.vnic(1, mac_changes=True), site.vnic(2), site.vnic(3)]
    site.lane.apply(wanted)
    for number in (1, 2):
        subprocess.run(["ip", "-n", site.space(number), "link", "set", "eth0", "address", mac(50 + number)], check=True)
    assert site.lane.apply(wanted)
    nics = {number: site.nic(number) for number in (1, 2, 3)}
    nics[3].send(frame(mac(51), mac(3), 1))
    nics[3].send(frame(mac(52), mac(3), 2))
    nics[3].send(frame(BROADCAST, mac(3), 3))
    nics[1].send(frame(mac(3), mac(51), 4))
    assert nics[1].until(3) == [1, 3]
    assert nics[2].until(3) == [3]
    assert nics[3].until(4) == [4]
    # The one that may not has its own address again; the other one gets a new one if that is asked for.
    assert site.ping(3, "10.0.0.2")
    wanted[0] = site.vnic(1, mac_changes=True, mac=mac(60))
    site.lane.apply(wanted)
    nics[3].send(frame(mac(60), mac(3), 5))
    nics[3].send(frame(BROADCAST, mac(3), 6))
    assert nics[1].until(6) == [5, 6]
    assert site.ping(3, "10.0.0.1")


@contextlib.contextmanager
def flooding(sender: Nic, data: bytes, rate: float):
    """A process that sends at least three times the rate, or all it can."""
    each = round(3 * rate / 8 * 0.005 / (len(data) + FCS)) + 1
    child = os.fork()
    if child == 0:
        pause = threading.Event()
        while True:
            for _ in range(each):
                sender.send(data)
            if rate < 10_000_000:
                pause.wait(0.005)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def measured_rate(sender: Nic, receiver: Nic, data: bytes, expected: float, seconds: float, skip: int) -> float:
    """Bits a second that pass, by the kernel's time stamps, while more than that is sent.

    All frames count, with header and FCS, once so many bytes have passed that the bucket was full of. The receiver has
    to take all protocols: what its namespace and the other one say on their own passes by the limit, too. Less than the
    limit may be for a sender that did not get the time to send; so the best of some attempts counts, and more than the
    limit is never good.
    """
    rate = 0.0
    with flooding(sender, data, expected):
        for _ in range(5):
            arrived: list[tuple[float, int]] = []
            size, left = 0, skip
            while size <= skip + expected / 8 * seconds:
                new = [(at, length + FCS) for at, length, _ in receiver.timed(20)]
                assert new, "nothing comes"
                arrived += new
                size += sum(length for _, length in new)
            assert receiver.lost() == 0
            while left > 0:
                left -= arrived.pop(0)[1]
            # A frame's time is when its last byte was paid for: the first one's bytes belong to the time before.
            rate = max(rate, 8 * sum(length for _, length in arrived[1:]) / (arrived[-1][0] - arrived[0][0]))
            if rate > expected * (1 - TOLERANCE):
                break
    return rate


@pytest.mark.parametrize(("rate", "length", "seconds"),
                         [(64_000, 196, 2.0), (1_000_000, 1014, 2.0), (100_000_000, 1514, 2.0)])
@pytest.mark.parametrize("limited", ["sender", "receiver"])
def test_limits_are_exact(site, rate, length, seconds, limited):
    wanted = [site.vnic(1, max_bw=rate if limited == "sender" else None),
              site.vnic(2, max_bw=rate if limited == "receiver" else None)]
    site.lane.apply(wanted)
    bucket = max(2 * 1518, rate / 8 * 0.02)
    got = measured_rate(site.nic(1), site.nic(2, protocol=ETH_P_ALL), frame(mac(2), mac(1), 1, length), rate, seconds,
                        round(bucket) + length)
    print(f"{rate} bit/s, limit of the {limited}: {got:.0f} bit/s, off by {got / rate - 1:+.3%}")
    assert abs(got / rate - 1) < TOLERANCE
    counters = site.lane.counters(wanted)
    assert (counters["v1"].tx_limited > 0) == (limited == "sender")
    assert (counters["v2"].rx_limited > 0) == (limited == "receiver")
    # All that was sent was got, or dropped by the limit, or waits.
    sent, got_frames = counters["v1"].tx_frames, counters["v2"].rx_frames
    waiting = sent - got_frames - counters["v1"].tx_limited - counters["v2"].rx_limited
    assert 0 <= waiting <= max(8 * 1518, rate / 8 * 0.05) / length + 2


def test_limits_change_under_traffic(site):
    wanted = [site.vnic(1), site.vnic(2)]
    site.lane.apply(wanted)
    sender, receiver, index = site.nic(1), site.nic(2, protocol=ETH_P_ALL), (site.index(1), site.index(2))
    data = frame(mac(2), mac(1), 1, 1014)
    for out, into in ((2_000_000, None), (2_000_000, 1_000_000), (8_000_000, 4_000_000), (8_000_000, None)):
        with flooding(sender, data, 8_000_000):
            assert site.lane.apply([site.vnic(1, max_bw=out), site.vnic(2, max_bw=into)])
        least = min(rate for rate in (out, into) if rate)
        # What came meanwhile, and what waits in the queues, goes first.
        while receiver.timed(0):
            pass
        got = measured_rate(sender, receiver, data, least, 0.5, 2 * 8 * 1518 + round(out / 8 * 0.1))
        assert abs(got / least - 1) < TOLERANCE, (out, into)
    assert site.lane.apply([site.vnic(1), site.vnic(2)])
    # Without a limit, all of it comes.
    check = site.nic(2)
    for number in range(2, 200):
        sender.send(frame(mac(2), mac(1), number, 1014))
    assert [number for number in check.until(199) if number > 1] == list(range(2, 200))
    assert (site.index(1), site.index(2)) == index


def test_every_property_changes_without_loss_of_the_interface(site):
    wanted = [site.vnic(1), site.vnic(2, addresses=["10.0.0.2/16", "fd00::2/64"]), site.vnic(3, "s2")]
    site.lane.apply(wanted)
    before = site.index(1), site.index(2)
    # Another address, MTU, and MAC address; a user's own address stays.
    subprocess.run(["ip", "-n", site.space(2), "address", "add", "192.0.2.1/24", "dev", "eth0"], check=True)
    wanted[1] = site.vnic(2, addresses=["10.0.9.9/16"], mtu=9000, mac=mac(70))
    wanted[0] = site.vnic(1, mtu=9000)
    site.lane.apply(wanted)
    shown = json.loads(subprocess.run(["ip", "-j", "-n", site.space(2), "address", "show", "eth0"], check=True,
                                      capture_output=True).stdout)[0]
    assert (shown["mtu"], shown["address"]) == (9000, mac(70))
    found = {row["local"] for row in shown["addr_info"] if row["scope"] == "global"}
    assert found == {"10.0.9.9", "192.0.2.1"}
    assert site.ping(1, "10.0.9.9")
    sender, receiver = site.nic(1), site.nic(2)
    sender.send(frame(mac(70), mac(1), 1, 9014))
    assert receiver.until(1) == [1]
    # Another switch, and back; another VLAN.
    for changed, reached in ((site.vnic(2, "s2"), 3), (site.vnic(2), 1), (site.vnic(2, "s2", vlan=5), None)):
        site.lane.apply([site.vnic(1), changed, site.vnic(3, "s2")])
        for number in (1, 3):
            site.nic(number).send(frame(BROADCAST, mac(number), 10 + number))
        assert [number for number in (1, 3) if site.ping(2, f"10.0.0.{number}")] == ([reached] if reached else [])
    assert (site.index(1), site.index(2)) == before
    # Another name, and another namespace.
    site.lane.apply([site.vnic(1), site.vnic(2, interface="net5"), site.vnic(3, "s2")])
    assert site.index(2, "net5") == before[1]
    assert site.ping(1, "10.0.0.2")
    site.lane.apply([site.vnic(1), site.vnic(2, namespace=site.space(4)), site.vnic(3, "s2")])
    assert site.ping(4, "10.0.0.1")
    assert site.space(2) not in list_namespaces()       # was made for it, and is empty now


def test_many_vnics_at_once(site):
    count = 64
    wanted = [site.vnic(number, max_bw=100_000_000 if number % 2 else None) for number in range(1, count + 1)]
    site.lane.apply(wanted)
    nics = {number: site.nic(number) for number in range(1, count + 1)}
    frames = 50
    for index in range(frames):
        for number in nics:
            nics[number].send(frame(mac(number % count + 1), mac(number), index, 500))
    for nic in nics.values():
        assert nic.until(frames - 1) == list(range(frames))
    counters = site.lane.counters(wanted)
    assert all((row.rx_limited, row.tx_limited, row.forged) == (0, 0, 0) for row in counters.values())
    assert all(row.tx_bytes >= frames * 500 and row.rx_bytes >= frames * 500 for row in counters.values())
    # Half of them go, and the others are as they were.
    assert len(site.lane.apply(wanted[:32])) >= 32
    nics[1].send(frame(mac(2), mac(1), 1000))
    assert nics[2].until(1000) == [1000]
    assert len([name for name in site.fabric.links() if name.startswith("n1-")]) == 32


def test_a_trunk_joins_the_switch_to_what_is_outside(site):
    trunk = site.trunk()
    site.lane.apply([site.vnic(1), site.vnic(2), site.vnic(3, "s2")], [trunk])
    outside, nics = site.nic(0), {number: site.nic(number) for number in (1, 2, 3)}
    nics[1].send(frame(mac(0xFF00), mac(1), 1))
    nics[1].send(frame(mac(2), mac(1), 2))
    nics[3].send(frame(BROADCAST, mac(3), 3))
    nics[1].send(frame(BROADCAST, mac(99), 4))
    nics[1].send(frame(BROADCAST, mac(1), 5))
    assert outside.until(5) == [1, 5]
    # From outside with an address of one of its VNICs: nothing goes astray afterwards.
    outside.send(frame(BROADCAST, mac(2), 6))
    outside.send(frame(mac(2), mac(0xFF00), 7))
    outside.send(frame(mac(50), mac(0xFF00), 8))
    nics[1].send(frame(mac(2), mac(1), 9))
    assert nics[2].until(9) == [2, 5, 6, 7, 9]
    assert nics[1].until(6) == [6]
    # Without the trunk, it stays as it was made by others.
    site.lane.apply([site.vnic(1), site.vnic(2)])
    assert site.fabric.links()["trunk0"]["master"] is None
    site.lane.apply([site.vnic(1, min_bw=64_000), site.vnic(2)], [trunk])
    site.lane.remove_all()
    assert site.left_over() == ({"trunk0"}, {site.space(0)})
    disciplines = subprocess.run(["tc", "-n", site.name, "qdisc", "show", "dev", "trunk0"], capture_output=True,
                                 text=True, check=True).stdout
    assert "htb" not in disciplines


def shares_at_trunk(outside: Nic, skip: int, frames: int) -> dict[str, float]:
    """Of so many frames that come out of the trunk after some others, which part is whose."""
    seen: list[str] = []
    while len(seen) < skip + frames:
        seen += [source for _, _, source in outside.timed(20)]
    return {source: seen[skip:].count(source) / len(seen[skip:]) for source in set(seen)}


def test_least_rate_and_priority_at_the_trunk(site):
    trunk, rate = site.trunk(rate=9_000_000), 9_000_000
    site.lane.apply([site.vnic(1, min_bw=5_000_000), site.vnic(2, min_bw=1_000_000), site.vnic(3)], [trunk])
    outside = site.nic(0)
    with contextlib.ExitStack() as stack:
        for number in (1, 2, 3):
            data = frame(mac(0xFF00), mac(number), 1, 1014)
            stack.enter_context(flooding(site.nic(number), data, rate))
        shares = shares_at_trunk(outside, 1000, 2000)
        # What nobody was promised is divided equally: (9 - 6) / 3 Mbit/s more for each.
        for number, part in ((1, 6), (2, 2), (3, 1)):
            assert shares[mac(number)] == pytest.approx(part / 9, abs=0.05)
        # While all of them have frames waiting.
        site.lane.apply([site.vnic(1, priority="low"), site.vnic(2, priority="high"), site.vnic(3)], [trunk])
        assert shares_at_trunk(outside, 1500, 2000)[mac(2)] > 0.95


def tables_of_bridges() -> set[str]:
    with nft.open_nft() as sock:
        return nft.tables(sock)


_OWNER = """
import sys
from polyrouter.host.lanes.software import SoftwareLane
from polyrouter.host.link_spec import VnicSpec
vnics = [VnicSpec.model_validate_json(line) for line in sys.stdin]
lane = SoftwareLane(sys.argv[1], "n1")
while True:
    lane.apply(vnics)
    lane.apply([])
"""


@pytest.mark.parametrize("last", ["apply", "remove_all"])
def test_after_its_owner_was_killed_all_is_repaired(site, last):
    wanted = [site.vnic(number, max_bw=1_000_000) for number in range(1, 7)]
    # In the midst of making, when there are more interfaces than that; and of removing, when there are fewer again.
    for more, fewer in ((1, None), (6, None), (12, None), (13, 6)):
        process = subprocess.Popen([sys.executable, "-c", _OWNER, site.name], stdin=subprocess.PIPE, text=True,
                                   env=os.environ)
        assert process.stdin is not None
        process.stdin.write("\n".join(vnic.model_dump_json() for vnic in wanted))
        process.stdin.close()
        wait_for(lambda more=more: len(site.fabric.links()) > more)
        if fewer is not None:
            wait_for(lambda fewer=fewer: len(site.fabric.links()) < fewer)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if last == "apply":
            site.lane.apply(wanted)
            assert all(site.ping(number, f"10.0.0.{number % 6 + 1}") for number in range(1, 7))
        site.lane.remove_all()
        wait_for(lambda: site.left_over() == (set(), set()))
    assert in_namespace(f"/run/netns/{site.name}", tables_of_bridges) == set()


def test_two_owners_in_one_fabric(site):
    other = SoftwareLane(site.name, "n2")
    mine = [site.vnic(1), site.vnic(2)]
    theirs = [site.vnic(3, outer="n2-v3"), site.vnic(4, outer="n2-v4", namespace=site.space(1), interface="eth1",
                                                     addresses=[])]
    site.lane.apply(mine)
    other.apply(theirs)
    nics = [site.nic(1), site.nic(3), site.nic(1, "eth1")]
    nics[0].send(frame(BROADCAST, mac(1), 1))
    nics[2].send(frame(BROADCAST, mac(4), 2))
    assert nics[1].until(2) == [2]
    # The namespace was made by the one and is still the other's.
    site.lane.remove_all()
    assert site.space(1) in list_namespaces()
    nics[2].send(frame(BROADCAST, mac(4), 3))
    assert nics[1].until(3) == [3]
    with pytest.raises(LaneError, match="n2-v3 already that is none of this lane's"):
        site.lane.apply([site.vnic(3, outer="n2-v3")])
    other.remove_all()
    assert site.left_over() == (set(), set())


def test_a_vnic_in_a_container(site):
    """A container's namespace is known by a path, and is not the lane's to make or remove."""
    process = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo ready; exec cat"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        wanted = [site.vnic(1), site.vnic(2, namespace="", router="r1")]
        with pytest.raises(LaneError, match="router 'r1' has no container"):
            site.lane.apply(wanted)
        site.lane.apply(wanted, containers={"r1": f"/proc/{process.pid}/ns/net"})
        assert site.ping(1, "10.0.0.2")
        site.lane.remove_all()
        assert site.left_over() == (set(), set())
    finally:
        process.kill()
        process.wait()


def test_what_is_in_the_way_is_named(site):
    netns.create(site.space(1))
    try:
        subprocess.run(["ip", "-n", site.space(1), "link", "add", "eth0", "type", "bridge"], check=True)
        with pytest.raises(LaneError, match="has another interface eth0 already"):
            site.lane.apply([site.vnic(1)])
        with pytest.raises(LaneError, match="its trunk trunk7 is not in"):
            site.lane.apply([], [Trunk("s1", "trunk7")])
        subprocess.run(["ip", "-n", site.space(1), "link", "del", "eth0"], check=True)
        site.lane.apply([site.vnic(1), site.vnic(2)])
        assert site.ping(2, "10.0.0.1")
        site.lane.remove_all()
        assert site.left_over() == (set(), {site.space(1)})     # was there before
    finally:
        remove_namespace(site.space(1))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("iperf3") is None, reason="iperf3 is not installed: apt-get install iperf3")
@pytest.mark.parametrize("limited", [1, 2])
def test_limit_as_tcp_sees_it(site, limited):
    """1448 bytes of each 1518 are payload; the part that TCP can't use, for its drops, is not the limit's."""
    rate = 50_000_000
    site.lane.apply([site.vnic(number, max_bw=rate if number == limited else None) for number in (1, 2)])
    server = subprocess.Popen(["ip", "netns", "exec", site.space(2), "iperf3", "-s", "-1", "--forceflush"],
                              stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        while "listening" not in server.stdout.readline():
            pass
        done = subprocess.run(["ip", "netns", "exec", site.space(1), "iperf3", "-J", "-c", "10.0.0.2", "-t", "5",
                               "-O", "1"], capture_output=True, text=True, check=True)
        got = json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]
        assert 0.9 < got / (rate * 1448 / 1518) < 1 + TOLERANCE
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
