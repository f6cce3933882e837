"""Tunnels and trunks of a live board against who else speaks their protocols: the kernel, scapy, tcpdump, tshark."""

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from polyrouter.host.agent.client import AgentClient
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.utils import wrpcap

from .listener import TEST_ETHERTYPE, Listener, odd_frame
from .site import Site, new_site, wait_until

pytestmark = [pytest.mark.root, pytest.mark.image]

TEXT = """\
name: NAME
topology:
  defaults: {limits: {memory: 128M, cpus: 0.5, pids: 200}}
  nodes:
    left: {kind: board, ports: 1, core: LINK_CORE}
  networks:
    under:
      routers:
        left: {interfaces: {eth0: {address: 10.9.0.1/24}}}
      hosts:
        peer: {attach: "left:p0", address: 10.9.0.2/24}
        stranger: {attach: "left:p0", address: 10.9.0.3/24}
  switches:
    near: {node: left}
    far: {node: left}
    lan: {node: left, uplinks: [{port: p0, vlan: 5}]}
  vnics:
    a: {switch: near, address: 10.0.0.1/24}
    b: {switch: near, address: 10.0.0.2/24}
    g: {switch: far, address: 10.1.0.1/24}
    t: {switch: lan, address: 10.2.0.1/24}
  tunnels:
    vx: {node: left, switch: near, kind: vxlan, key: 9, underlay: under-left, remote: 10.9.0.2}
    gr: {node: left, switch: far, kind: gre, key: 7, underlay: under-left, remote: 10.9.0.2, tos: 0x28, ttl: 9}
"""
LOCAL, REMOTE, STRANGER = "10.9.0.1", "10.9.0.2", "10.9.0.3"
BROADCAST = "ff:ff:ff:ff:ff:ff"
#: Of somebody behind the other end of a tunnel or trunk.
THERE = "02:00:00:00:0f:01"
VLAN = 5
FRAMES = 5


@pytest.fixture(scope="module")
def site(image) -> Iterator[Site]:
    with new_site(image, "p", TEXT) as made:
        yield made


@pytest.fixture
def macs(agent) -> dict[str, str]:
    """MAC addresses of VNICs, and of the underlay's router."""
    router = next(row for row in agent.get("/routers") if row["name"] == "under-left")
    return {row["name"]: row["mac"] for row in agent.get("/vnics")} | {"under": router["ports"]["eth0"]["mac"]}


@pytest.fixture
def ears(site, agent) -> Iterator[dict[str, Listener]]:
    """Listeners everywhere: users of VNICs, hosts on the cable, the container of the underlay's router."""
    places: dict[str, tuple[str | Path, str]] = {name: (site.namespace(name), name) for name in "abgt"}
    places |= {name: (site.namespace(f"under-{name}"), "eth0") for name in ("peer", "stranger")}
    pid = next(row["pid"] for row in agent.get("/routers") if row["name"] == "under-left")
    places["under"] = Path(f"/proc/{pid}/ns/net"), "eth0"
    found = {name: Listener(*place) for name, place in places.items()}
    yield found
    for ear in found.values():
        ear.close()


@pytest.fixture
def marker() -> bytes:
    return uuid.uuid4().bytes


def ip(site: Site, host: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["ip", "-n", site.namespace(host), *arguments], capture_output=True, text=True)


def mac_of(site: Site, host: str, interface: str = "eth0") -> str:
    return ip(site, host, "-br", "link", "show", "dev", interface).stdout.split()[2]


# Against the kernel

@dataclass(frozen=True)
class Kernel:
    """A tunnel device of the kernel at the other end, with an address and a VNIC of ours behind the tunnel."""

    kind: str
    options: str
    vnic: str
    switch: str
    prefix: str
    mtu: int

    @property
    def address(self) -> str:
        return f"{self.prefix}.100"

    @property
    def other(self) -> str:
        """Address of our VNIC."""
        return f"{self.prefix}.1"


KERNELS = {
    "vxlan": Kernel("vxlan", f"id 9 local {REMOTE} remote {LOCAL} dstport 4789 dev eth0 learning", "a", "near",
                    "10.0.0", 1450),
    "gretap": Kernel("gretap", f"local {REMOTE} remote {LOCAL} key 7", "g", "far", "10.1.0", 1458),
}


@pytest.fixture(scope="module", params=KERNELS)
def kernel(site, request) -> Iterator[Kernel]:
    """The device ``tun`` in the host ``peer``."""
    made = KERNELS[request.param]
    done = ip(site, "under-peer", "link", "add", "tun", "address", THERE, "type", made.kind, *made.options.split())
    if done.returncode and ("Unknown device type" in done.stderr or "not supported" in done.stderr):
        pytest.skip(f"this machine's kernel has no {made.kind} devices")
    assert not done.returncode, done.stderr
    for arguments in (f"link set tun mtu {made.mtu} up", f"address add {made.address}/24 dev tun"):
        done = ip(site, "under-peer", *arguments.split())
        assert not done.returncode, done.stderr
    yield made
    ip(site, "under-peer", "link", "del", "tun")


@pytest.fixture
def tun(site, kernel) -> Iterator[Listener]:
    """Listens at the kernel's device."""
    made = Listener(site.namespace("under-peer"), "tun")
    yield made
    made.close()


def test_the_kernels_tunnel_and_ours_are_one_network(site, agent, kernel):
    """ARP by broadcast and echo by unicast, from either side; what each learns of the other."""
    def neighbours(host: str) -> str:
        return ip(site, host, "neigh").stdout

    for host in (kernel.vnic, "under-peer"):
        ip(site, host, "neigh", "flush", "all")
    wait_until(lambda: site.ping(kernel.vnic, kernel.address), f"{kernel.vnic} reaches the kernel's device")
    assert THERE in neighbours(kernel.vnic)
    ip(site, "under-peer", "neigh", "flush", "dev", "tun")
    assert site.ping("under-peer", kernel.other)
    own = next(row["mac"] for row in agent.get("/vnics") if row["name"] == kernel.vnic)
    assert own in neighbours("under-peer")
    assert THERE in {row["mac"] for row in agent.get(f"/macs/{kernel.switch}")}
    if kernel.kind == "vxlan":
        entries = subprocess.run(["bridge", "-n", site.namespace("under-peer"), "fdb", "show", "dev", "tun"],
                                 capture_output=True, text=True, check=True).stdout.splitlines()
        assert any(line.startswith(own) and f"dst {LOCAL}" in line for line in entries), entries


@pytest.mark.parametrize("length", [60, 61, "longest"])
@pytest.mark.parametrize("group", [False, True], ids=["unicast", "broadcast"])
def test_frames_that_are_not_ip_pass_as_they_are(kernel, tun, ears, macs, marker, group, length):
    length = kernel.mtu + 14 if length == "longest" else length
    own = macs[kernel.vnic]
    there = odd_frame(BROADCAST if group else THERE, own, marker + b"there", length=length)
    ears[kernel.vnic].send(there)
    wait_until(lambda: tun.heard(marker), "the kernel's device has the frame")
    back = odd_frame(BROADCAST if group else own, THERE, marker + b"back", length=length)
    tun.send(back)
    wait_until(lambda: ears[kernel.vnic].heard(marker), "the VNIC has the frame")
    assert tun.heard(marker) == [there] and ears[kernel.vnic].heard(marker) == [back]
    others = [name for name in ears if name not in (kernel.vnic, "peer", "stranger")]
    if kernel.switch == "near":     # b is on the same switch
        others.remove("b")
        if group:       # copies of one frame arrive one after the other
            wait_until(lambda: len(ears["b"].heard(marker)) >= 2, "the switch's other VNIC has both frames")
        assert ears["b"].heard(marker) == ([there, back] if group else [])
    assert not [name for name in others if ears[name].heard(marker)]


@pytest.mark.parametrize("far", [False, True], ids=["from a VNIC", "from the kernel"])
def test_the_longest_packets_fit(site, kernel, far):
    source, target = ("under-peer", kernel.other) if far else (kernel.vnic, kernel.address)

    def ping() -> int:
        return subprocess.run(["ip", "netns", "exec", site.namespace(source), "ping", "-n", "-q", "-c", "1", "-W", "5",
                               "-M", "do", "-s", str(kernel.mtu - 28), target], capture_output=True,
                              timeout=30).returncode

    wait_until(lambda: ping() == 0, "the longest packet comes back")


# Against dissectors

#: VNIC, and the protocols of its tunnel's packets, as tcpdump and tshark call them.
TUNNELS = {"vxlan": ("a", "VXLAN, flags [I] (0x08), vni 9", "eth:ethertype:ip:udp:vxlan:eth:ethertype:data"),
           "gre": ("g", "GREv0, Flags [key present], key=0x7, proto TEB (0x6558)",
                   "eth:ethertype:ip:gre:eth:ethertype:data")}


def outside(kind: str, inner: bytes, *, key: int, source: str = REMOTE) -> "IP":
    """A tunnel's packet to our end, by scapy."""
    headers = (GRE(key_present=1, key=key, proto=0x6558) if kind == "gre"
               else UDP(sport=50000, dport=4789, chksum=0) / VXLAN(flags=8, vni=key))
    return IP(src=source, dst=LOCAL, flags="DF") / headers / inner


def on_the_cable(site: Site, macs: dict[str, str], packet: "IP", host: str = "under-peer") -> bytes:
    return bytes(Ether(dst=macs["under"], src=mac_of(site, host), type=0x0800) / packet)


def captured(kind: str, ears: dict[str, Listener], macs: dict[str, str], marker: bytes) -> tuple[bytes, list[bytes]]:
    """A frame that a VNIC sends into its tunnel, so often, and what is on the cable then."""
    vnic = TUNNELS[kind][0]
    inner = odd_frame(BROADCAST, macs[vnic], marker)

    def passes() -> bool:
        # The first ones wait for no next hop of the underlay's: they are lost.
        ears[vnic].send(inner)
        return len(ears["peer"].heard(marker)) >= FRAMES

    wait_until(passes, "the tunnel's packets are on the cable")
    return inner, ears["peer"].heard(marker)


@pytest.mark.parametrize("kind", TUNNELS)
def test_packets_of_tunnels_are_what_scapy_makes_of_their_fields(site, ears, macs, marker, kind):
    inner, found = captured(kind, ears, macs, marker)
    for frame in found:
        packet = Ether(frame)
        assert (packet.dst, packet.src) == (mac_of(site, "under-peer"), macs["under"])
        outer = packet[IP]
        assert (outer.src, outer.dst, str(outer.flags), outer.ihl, outer.id, outer.frag) == (
            LOCAL, REMOTE, "DF", 5, 0, 0)
        assert (outer.tos, outer.ttl) == ((0x28, 9) if kind == "gre" else (0, 64))
        if kind == "gre":
            gre = packet[GRE]
            assert (gre.key_present, gre.key, gre.proto, gre.version) == (1, 7, 0x6558, 0)
            assert not gre.chksum_present and not gre.seqnum_present and not gre.routing_present
            assert bytes(gre.payload) == inner
        else:
            udp, vxlan = packet[UDP], packet[VXLAN]
            assert udp.dport == 4789 and udp.sport >= 49152 and udp.chksum == 0
            assert (int(vxlan.flags), vxlan.vni, vxlan.reserved1, vxlan.reserved2) == (8, 9, 0, 0)
            assert bytes(vxlan.payload) == inner
        del packet[IP].len, packet[IP].chksum
        if kind == "vxlan":
            del packet[UDP].len
        assert bytes(packet) == frame       # lengths and checksum are as scapy works them out


@pytest.mark.parametrize("kind", TUNNELS)
def test_packets_that_scapy_makes_are_taken(site, ears, macs, marker, kind):
    vnic = TUNNELS[kind][0]
    inner = odd_frame(macs[vnic], THERE, marker)
    ears["peer"].send(on_the_cable(site, macs, outside(kind, inner, key=9 if kind == "vxlan" else 7)))
    wait_until(lambda: ears[vnic].heard(marker), f"{vnic} has the inner frame")
    assert ears[vnic].heard(marker) == [inner]


def by_tcpdump(agent: AgentClient, frames: list[bytes], path: Path) -> list[str]:
    """What tcpdump reads of frames, in lines; it is in the image of routers' containers."""
    wrpcap(str(path), [Ether(frame) for frame in frames])
    pid = next(row["pid"] for row in agent.get("/routers") if row["name"] == "under-left")
    with path.open("rb") as capture:
        done = subprocess.run(["nsenter", "-t", str(pid), "-m", "tcpdump", "-e", "-n", "-t", "-v", "-r", "-"],
                              stdin=capture, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("kind", TUNNELS)
def test_packets_of_tunnels_are_read_by_tcpdump(agent, ears, macs, marker, tmp_path, kind):
    _, found = captured(kind, ears, macs, marker)
    vnic, header, _ = TUNNELS[kind]
    text = "\n".join(by_tcpdump(agent, found, tmp_path / "cable.pcap"))
    assert text.count(header) == len(found), text
    assert text.count(f"{macs[vnic]} > {BROADCAST}, ethertype Unknown (0x88b6)") == len(found), text
    assert "bad" not in text and "invalid" not in text, text


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed: apt-get install tshark")
@pytest.mark.parametrize("kind", TUNNELS)
def test_packets_of_tunnels_are_read_by_tshark(ears, macs, marker, tmp_path, kind):
    _, found = captured(kind, ears, macs, marker)
    path = tmp_path / "cable.pcap"
    wrpcap(str(path), [Ether(frame) for frame in found])
    done = subprocess.run(["tshark", "-r", str(path), "-o", "ip.check_checksum:TRUE", "-T", "fields",
                           "-e", "frame.protocols", "-e", "ip.checksum.status", "-e", "gre.key", "-e", "vxlan.vni",
                           "-e", "_ws.malformed"], capture_output=True, text=True, check=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    key = ["0x00000007", ""] if kind == "gre" else ["", "9"]
    assert rows == [[TUNNELS[kind][2], "1", *key, ""]] * len(found)


def test_a_trunks_frames_are_tagged_as_scapy_and_tcpdump_read_them(agent, ears, macs, marker, tmp_path):
    untagged = odd_frame(BROADCAST, macs["t"], marker)
    ears["t"].send(untagged)
    wait_until(lambda: ears["peer"].heard(marker), "the frame is on the cable")
    [frame] = ears["peer"].heard(marker)
    packet = Ether(frame)
    tag = packet[Dot1Q]
    assert (tag.vlan, tag.prio, tag.type, bytes(tag.payload)) == (VLAN, 0, TEST_ETHERTYPE, untagged[14:])
    assert frame == bytes(Ether(dst=BROADCAST, src=macs["t"]) / Dot1Q(vlan=VLAN, type=TEST_ETHERTYPE)
                          / untagged[14:])
    [line] = [line for line in by_tcpdump(agent, [frame], tmp_path / "trunk.pcap") if "vlan" in line]
    assert line.startswith(f"{macs['t']} > {BROADCAST}, ethertype 802.1Q (0x8100), length {len(frame)}: vlan {VLAN}, "
                           "p 0, ethertype Unknown (0x88b6)"), line
    assert [name for name in ears if ears[name].heard(marker)] == ["peer", "stranger"]


def test_a_trunk_takes_the_frames_that_scapy_tags(ears, macs, marker):
    frame = bytes(Ether(dst=macs["t"], src=THERE) / Dot1Q(vlan=VLAN, prio=3, type=TEST_ETHERTYPE)
                  / marker.ljust(100, b"\x5a"))
    ears["peer"].send(frame)
    wait_until(lambda: ears["t"].heard(marker), "t has the frame")
    assert ears["t"].heard(marker) == [frame[:12] + frame[16:]]


# Who is not one of them reaches nobody

def dropped(site: Site, router: str, port: str, reason: str) -> int:
    return sum(row["frames"] for row in site.json("show", "counters")
               if (row["router"], row["port"], row["reason"]) == (router, port, reason))


def reaches_nobody(site: Site, ears: dict[str, Listener], source: str, bad: list[bytes], good: bytes, target: str,
                   where: tuple[str, str, str], *, good_source: str = "") -> None:
    """Bad frames are counted there and arrive nowhere; a good one behind them, with another marker, arrives."""
    before = dropped(site, *where)
    for frame in bad:
        ears[source].send(frame)
    wait_until(lambda: dropped(site, *where) >= before + len(bad), f"{where} counts {len(bad)} frames")
    ears[good_source or source].send(good)
    wait_until(lambda: ears[target].heard(b"good"), "what is right arrives")
    assert dropped(site, *where) == before + len(bad)
    # Hosts have what their neighbour on the cable sends to the board.
    cable = {"peer", "stranger"} if source in ("peer", "stranger") else set()
    assert not [name for name in ears.keys() - cable if ears[name].heard(b"evil")]


@pytest.mark.parametrize("group", [False, True], ids=["unicast", "broadcast"])
def test_forged_sources_reach_nobody(site, ears, macs, group):
    """Not the address of nobody, nor that of another VNIC of the switch."""
    target = BROADCAST if group else macs["b"]
    bad = [odd_frame(target, source, b"evil") for source in ("02:00:00:00:00:99", macs["b"], THERE) * 2]
    reaches_nobody(site, ears, "a", bad, odd_frame(target, macs["a"], b"good"), "b", ("near", "link", "drop_source"))


def test_foreign_vlans_reach_nobody(site, ears, macs):
    def tagged(vlan: int, what: bytes) -> bytes:
        return bytes(Ether(dst=macs["t"], src=THERE) / Dot1Q(vlan=vlan, type=TEST_ETHERTYPE) / what.ljust(80, b"\0"))

    bad = [tagged(vlan, b"evil") for vlan in (0, 1, 4, 6, 77, 4094, 4095)]
    bad += [bytes(Ether(dst=BROADCAST, src=THERE) / Dot1Q(vlan=77, type=TEST_ETHERTYPE) / b"evil".ljust(80, b"\0")),
            odd_frame(macs["t"], THERE, b"evil")]
    reaches_nobody(site, ears, "peer", bad, tagged(VLAN, b"good"), "t", ("none", "p0", "drop_no_router"))


@pytest.mark.parametrize(("kind", "key", "keys"), [
    ("gre", 7, (0, 6, 8, 9, 0x07000000, 0xFFFFFFFF)), ("vxlan", 9, (0, 7, 8, 10, 0x090000, 0xFFFFFF))])
def test_spoofed_keys_reach_nobody(site, ears, macs, kind, key, keys):
    vnic = TUNNELS[kind][0]

    def packet(number: int, what: bytes) -> bytes:
        return on_the_cable(site, macs, outside(kind, odd_frame(macs[vnic], THERE, what), key=number))

    reaches_nobody(site, ears, "peer", [packet(number, b"evil") for number in keys], packet(key, b"good"), vnic,
                   ("under-left", "link", "drop_no_router"))


@pytest.mark.parametrize(("kind", "key"), [("gre", 7), ("vxlan", 9)])
def test_right_keys_from_wrong_addresses_reach_nobody(site, ears, macs, kind, key):
    vnic = TUNNELS[kind][0]

    def packet(destination: str, what: bytes, source: str) -> "IP":
        return outside(kind, odd_frame(destination, THERE, what), key=key, source=source)

    bad = [on_the_cable(site, macs, packet(destination, b"evil", STRANGER), "under-stranger")
           for destination in (macs[vnic], BROADCAST)]
    good = on_the_cable(site, macs, packet(macs[vnic], b"good", REMOTE))
    reaches_nobody(site, ears, "stranger", bad, good, vnic, ("under-left", "link", "drop_no_router"),
                   good_source="peer")


def test_malformed_packets_reach_nobody(site, ears, macs):
    inner = odd_frame(macs["g"], THERE, b"evil")
    right = GRE(key_present=1, key=7, proto=0x6558)
    packets = [
        IP(src=REMOTE, dst=LOCAL) / GRE(proto=0x6558) / inner,                                      # no key
        IP(src=REMOTE, dst=LOCAL) / GRE(chksum_present=1, key_present=1, key=7, proto=0x6558) / inner,
        IP(src=REMOTE, dst=LOCAL) / GRE(seqnum_present=1, key_present=1, key=7, proto=0x6558) / inner,
        IP(src=REMOTE, dst=LOCAL) / GRE(version=1, key_present=1, key=7, proto=0x6558) / inner,
        IP(src=REMOTE, dst=LOCAL) / GRE(key_present=1, key=7, proto=0x0800) / inner,                # not Ethernet
        IP(src=REMOTE, dst=LOCAL) / right / b"evil",                                                # too short inside
        IP(src=REMOTE, dst=LOCAL, flags="MF") / right / inner,
        IP(src=REMOTE, dst=LOCAL) / UDP(sport=50000, dport=4789, chksum=0) / VXLAN(flags=0, vni=9) / inner,
    ]
    good = odd_frame(macs["g"], THERE, b"good")
    reaches_nobody(site, ears, "peer", [on_the_cable(site, macs, packet) for packet in packets],
                   on_the_cable(site, macs, IP(src=REMOTE, dst=LOCAL) / right / good), "g",
                   ("under-left", "link", "drop_malformed"))
