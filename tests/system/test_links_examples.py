"""examples/virtual-wire.yaml and examples/overlay.yaml come up, carry what they say and nothing else, and go."""

import contextlib
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from polyrouter.host.fabric import list_namespaces
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet
from scapy.utils import rdpcap

from .site import Site, new_site, wait_until

pytestmark = [pytest.mark.root, pytest.mark.image]

EXAMPLES = Path(__file__).parents[2] / "examples"
TENANTS, MEMBERS = ("red", "blue"), ("a", "b", "c")
#: Of all tenants: of each the first, second and third member.
ADDRESSES = {"a": "192.168.1.1", "b": "192.168.1.2", "c": "192.168.1.3"}
_ECHO_REQUEST, _ETHERNET_IN_GRE, _GRE_PROTOCOL = 8, 0x6558, 47


def example(name: str) -> str:
    return (EXAMPLES / f"{name}.yaml").read_text().replace(f"name: {name}", "name: NAME")


@pytest.fixture(scope="module")
def wires(image) -> Iterator[Site]:
    with new_site(image, "v", example("virtual-wire")) as site:
        yield site


@pytest.fixture(scope="module")
def overlay(image) -> Iterator[Site]:
    with new_site(image, "o", example("overlay")) as site:
        yield site


class Chat:
    """examples/chat.py at a host or VNIC: what is said there, and what it has heard so far."""

    def __init__(self, site: Site, where: str, interface: str = "eth0") -> None:
        self.name = where
        self._process = site.process("exec", where, "--", "python3", str(EXAMPLES / "chat.py"), interface, where)
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))

    def hears(self) -> str:
        return self._lines.get(timeout=60)

    def says(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def end(self) -> None:
        assert self._process.stdin is not None and self._process.stderr is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._thread.join()
        errors = self._process.stderr.read()
        assert not errors and self._process.returncode == 0, errors


@contextmanager
def chats(site: Site, *names: str) -> Iterator[dict[str, Chat]]:
    with ExitStack() as ends:
        found = {}
        for name in names:
            found[name] = Chat(site, name)
            ends.callback(found[name].end)
        for chat in found.values():
            assert chat.hears().startswith("EtherType 0x88b5 on eth0")
        yield found


def count(site: Site, router: str, port: str, reason: str) -> int:
    return sum(row["frames"] for row in site.json("show", "counters", "--router", router)
               if (row["port"], row["reason"]) == (port, reason))


def reaches(site: Site, first: str, target: str) -> None:
    wait_until(lambda: site.ping(first, target), f"{target} answers {first}")


def goes_without_a_trace(site: Site) -> None:
    """Neither namespaces nor processes nor files are left."""
    assert namespaces(site) and processes(site)
    site.run("down")
    assert not namespaces(site)
    assert not processes(site)
    assert not (site.top / "state/networks" / site.name).exists() and not (site.top / "run" / site.name).exists()


def namespaces(site: Site) -> list[str]:
    return [name for name in list_namespaces() if name == f"pr-{site.name}" or name.startswith(f"pr-{site.name}.")]


def processes(site: Site) -> list[str]:
    """Those that have this network's directories in their environment or their arguments."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):      # it has ended in the meantime
            told = (directory / "cmdline").read_bytes() + (directory / "environ").read_bytes()
            if str(site.top).encode() in told:
                found.append((directory / "cmdline").read_text())
    return found


# Wires


def test_a_chat_without_ip_crosses_the_wire_between_nodes(wires):
    # A frame without IP is not sent again: first the underlay has to know its next hop.
    reaches(wires, "chat-alice", ADDRESSES["b"])
    before = {name: count(wires, name, "link", "forwarded") for name in ("under-left", "under-right")}
    with chats(wires, "chat-alice", "chat-bob") as chat:
        alice, bob = chat.values()
        for number in range(3):
            alice.says(f"question {number}")
            assert bob.hears() == f"chat-alice: question {number}"
            bob.says(f"answer {number}")
            assert alice.hears() == f"chat-bob: answer {number}"
    for name, frames in before.items():
        assert count(wires, name, "link", "forwarded") >= frames + 3      # each line was a packet of the tunnel


def test_equal_addresses_on_two_wires_are_two_links(wires):
    reaches(wires, "chat-alice", ADDRESSES["b"])
    with chats(wires, "chat-alice", "chat-bob", "talk-carol", "talk-dave") as chat:
        chat["talk-carol"].says("near")
        assert chat["talk-dave"].hears() == "talk-carol: near"
        chat["chat-alice"].says("far")
        assert chat["chat-bob"].hears() == "chat-alice: far"        # and nothing before it
        chat["chat-bob"].says("back")
        assert chat["chat-alice"].hears() == "chat-bob: back"

    def only_near() -> bool:        # now and then a kernel says something by itself
        far = count(wires, "under-left", "link", "forwarded")
        return wires.ping("talk-carol", ADDRESSES["b"]) and count(wires, "under-left", "link", "forwarded") == far

    wait_until(only_near, "dave answers carol, and the tunnel has carried nothing")


def test_the_etherstub_has_limits_and_no_way_out(wires):
    for first, target in (("web", "172.16.0.2"), ("shop", "172.16.0.3"), ("mail", "172.16.0.1")):
        reaches(wires, first, target)
    assert not wires.ping("web", ADDRESSES["a"])
    rates = {(row["router"], row["what"]): row["bits"] for row in wires.json("show", "rates", "--node", "left")}
    for vnic, bits in (("web", 20e6), ("shop", 20e6), ("mail", 5e6)):
        for direction in ("out link", "out host"):
            assert rates[vnic, direction] == pytest.approx(bits, rel=0.01)


def test_the_wires_are_so_already_and_go_without_a_trace(wires):
    assert wires.up() == []
    goes_without_a_trace(wires)


# Tenants


def test_all_members_of_a_tenant_reach_each_other(overlay):
    for tenant in TENANTS:
        for first in MEMBERS:
            for second in set(MEMBERS) - {first}:
                reaches(overlay, f"{tenant}-{first}", ADDRESSES[second])


def test_tenants_with_equal_addresses_do_not_hear_each_other(overlay):
    names = [f"{tenant}-{member}" for tenant in TENANTS for member in MEMBERS]
    with chats(overlay, *names) as chat:
        for tenant in TENANTS:          # what both hear first is their own tenant's
            chat[f"{tenant}-a"].says(f"for {tenant}")
            for member in "bc":
                assert chat[f"{tenant}-{member}"].hears() == f"{tenant}-a: for {tenant}"
        chat["red-b"].says("reply")     # and in the other order
        for member in "ac":
            assert chat[f"red-{member}"].hears() == "red-b: reply"
        chat["blue-c"].says("last")
        for member in "ab":
            assert chat[f"blue-{member}"].hears() == "blue-c: last"


def test_counters_of_the_tunnels_are_those_of_their_underlay(overlay):
    tunnels = overlay.json("tunnel", "list")
    assert len(tunnels) == 12
    assert {(row["kind"], row["key"]) for row in tunnels} == {("gre", 7), ("vxlan", 7)}
    for tenant in TENANTS:
        reaches(overlay, f"{tenant}-a", ADDRESSES["b"])
        before = [count(overlay, "under-one", port, "forwarded") for port in ("link", "p0")]
        assert overlay.ping(f"{tenant}-a", ADDRESSES["b"])
        after = [count(overlay, "under-one", port, "forwarded") for port in ("link", "p0")]
        assert all(new > old for new, old in zip(after, before, strict=True))

        def not_to_three(tenant: str = tenant) -> bool:     # the switch has learned who is where
            before = count(overlay, "under-three", "p0", "forwarded")
            return (overlay.ping(f"{tenant}-a", ADDRESSES["b"])
                    and count(overlay, "under-three", "p0", "forwarded") == before)

        wait_until(not_to_three, "b answers a, and node three gets none of it")


@pytest.fixture(scope="module")
def capture(overlay) -> Path:
    """What was on the cable at node one while members of both tenants were pinged."""
    path = overlay.top / "cable.pcapng"
    process = overlay.process("capture", "under-one", "eth0", "-w", str(path), "-c", "16", "-s", "60")

    def enough() -> bool:
        for tenant in TENANTS:
            overlay.ping(f"{tenant}-a", ADDRESSES["b"])
        return process.poll() is not None

    wait_until(enough, "sixteen frames are captured")
    output, errors = process.communicate()
    assert process.returncode == 0, output + errors
    return path


def inner_pings(frames: list[Packet], kind: type[Packet]) -> list[Packet]:
    """Inner frames of echo requests and replies in tunnels of a kind."""
    return [frame[kind].payload for frame in frames if kind in frame and ICMP in frame[kind].payload]


def test_what_is_on_the_cable_are_tunnels_by_the_standards(capture):
    frames = list(rdpcap(str(capture)))
    outer = [frame for frame in frames if IP in frame]
    assert not {frame[IP].src for frame in outer} & set(ADDRESSES.values())
    gre = [frame[GRE] for frame in outer if frame[IP].proto == _GRE_PROTOCOL]
    assert gre and all((row.key_present, row.key, row.proto, row.version) == (1, 7, _ETHERNET_IN_GRE, 0)
                       for row in gre)
    vxlan = [frame for frame in outer if UDP in frame and frame[UDP].dport == 4789]
    assert vxlan and all(frame[VXLAN].vni == 7 and frame[VXLAN].flags.Instance for frame in vxlan)
    macs = {}
    for kind in (GRE, VXLAN):
        inner = inner_pings(outer, kind)
        requests = [frame for frame in inner if frame[ICMP].type == _ECHO_REQUEST]
        assert requests and len(inner) > len(requests)        # both ways
        assert all((frame[IP].src, frame[IP].dst) == (ADDRESSES["a"], ADDRESSES["b"]) for frame in requests)
        macs[kind] = {frame[Ether].src for frame in inner}
    assert len(macs[GRE]) == len(macs[VXLAN]) == 2 and not macs[GRE] & macs[VXLAN]


def test_wireshark_reads_it_too(capture):
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("tshark is not installed")

    def fields(which: str, *names: str) -> set[tuple[str, ...]]:
        command = [tshark, "-r", str(capture), "-Y", f"{which} && icmp", "-T", "fields", "-E", "occurrence=l"]
        done = subprocess.run([*command, *(word for name in names for word in ("-e", name))],
                              capture_output=True, text=True, timeout=60, check=True)
        return {tuple(line.split("\t")) for line in done.stdout.splitlines()}

    there, back = ("192.168.1.1", "192.168.1.2"), ("192.168.1.2", "192.168.1.1")
    assert fields("gre", "gre.key", "ip.src", "ip.dst") == {("0x00000007", *there), ("0x00000007", *back)}
    assert fields("vxlan", "vxlan.vni", "ip.src", "ip.dst") == {("7", *there), ("7", *back)}
    assert not fields("_ws.malformed", "frame.number")


def test_the_tenants_are_so_already_and_go_without_a_trace(overlay):
    assert overlay.up() == []
    goes_without_a_trace(overlay)
