"""A small network by the command line: up, change, what dies comes back, and down leaves nothing behind."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from polyrouter.host.board.driver import Driver
from polyrouter.host.board.hostport import HostPort
from polyrouter.host.board.transport import open_packet_socket
from polyrouter.host.fabric import list_namespaces

from .site import Site, flows_again, new_site, traffic, wait_until

pytestmark = [pytest.mark.root, pytest.mark.image]

TOPOLOGY = """\
name: NAME
topology:
  defaults:
    limits: {memory: 128M, cpus: 1, pids: 200}
  nodes:
    left: {ports: 4}
    right: {ports: 4}
  links:
    - endpoints: ["left:p0", "right:p0"]
  networks:
    red: &ospf
      routers:
        left:
          interfaces:
            eth0: {address: 10.0.0.1/30}
            eth1: {address: 192.168.1.1/24}
          ospf: {passive: [eth1], hello: 1, dead: 60}
        right:
          interfaces:
            eth0: {address: 10.0.0.2/30}
            eth1: {address: 192.168.2.1/24}
          ospf: {passive: [eth1], hello: 1, dead: 60}
      hosts:
        a: {attach: "left:p1", address: 192.168.1.10/24}
        b: {attach: "right:p1", address: 192.168.2.10/24}
    blue: *ospf
"""
HOST = '        a: {attach: "left:p1", address: 192.168.1.10/24}\n'


def ours(name: str) -> set[str]:
    """Everything of this machine that has the network's name in it."""
    found = {f"namespace {entry}" for entry in list_namespaces() if name in entry}
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found |= {f"mount {line.split()[4]}" for line in mounts if name in line}
    for path in Path("/sys/fs/cgroup").rglob(f"*{name}*"):
        found.add(f"cgroup {path}")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if name in command:
                found.add(f"process {entry.name} {command}")
    links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    return found | {f"link {line}" for line in links.splitlines() if line.startswith(("left-", "right-", "h.", "b."))}


@pytest.fixture(scope="module")
def site(image) -> Iterator[Site]:
    with new_site(image, "n", TOPOLOGY, up=False) as site:
        yield site


def test_a_bad_file_starts_nothing(site):
    site.write(TOPOLOGY.replace("ports: 4", "ports: 40", 1))
    site.run("up", str(site.file), code=2)
    assert ours(site.name) == set()
    assert not (site.top / "state/networks").exists()
    site.write(TOPOLOGY)


def test_dry_run_changes_nothing(site):
    assert "create router red-left" in site.up("--dry-run")
    assert ours(site.name) == set()


def test_up_and_traffic_by_hardware(site):
    site.up()
    for network in ("red", "blue"):
        wait_until(lambda network=network: site.ping(f"{network}-a", "192.168.2.10"), f"{network} answers")

    def forwarded() -> int:
        rows = site.json("show", "counters", "--router", "red-left")
        return sum(row["frames"] for row in rows if row["reason"] == "forwarded")

    before = forwarded()
    with traffic(site, "red-a", "red-b", "192.168.2.10") as arrivals:
        flows_again(arrivals)
    assert forwarded() - before >= 20


def test_up_again_is_no_change(site):
    assert site.up() == []


def test_tables_are_shown_as_the_hardware_has_them(site):
    fib = {row["prefix"]: row for row in site.json("show", "fib", "red-left")}
    assert fib["192.168.2.0/24"]["kind"] == "forward" and fib["192.168.2.0/24"]["port"] == "p0"
    assert fib["192.168.1.1/32"]["kind"] == "local"
    vmac = site.json("show", "vmac")
    assert len(vmac) == 2 * 2 * 2 * 2       # nodes, networks, ports, own and peer
    context = site.json("show", "context", "--node", "left")
    assert [row["router"] for row in context] == ["red-left", "blue-left"]
    assert context[0]["guard"] == ["p0", "p1"]
    assert {row["kind"] for row in site.json("show", "adjacency", "red-left")} >= {"forward", "local"}
    assert {row["port"] for row in site.json("show", "queues", "--node", "left")} == {"p0", "p1", "p2", "p3", "host"}


def test_exec_has_the_true_exit_code(site):
    router = site.process("exec", "red-left", "--", "sh", "-c", "hostname; exit 7")
    host = site.process("exec", "red-a", "--", "sh", "-c", "ip -4 -o address show eth0; exit 5")
    assert "red-left" in router.communicate(timeout=60)[0] and router.returncode == 7
    assert "192.168.1.10/24" in host.communicate(timeout=60)[0] and host.returncode == 5


def test_capture(site):
    from scapy.layers.inet import ICMP
    from scapy.utils import rdpcap

    path = site.top / "red.pcapng"
    with traffic(site, "blue-a", "blue-b", "192.168.2.10"):
        capture = site.process("capture", "red-left", "eth1", "-w", str(path), "-c", "6")
        wait_until(lambda: site.ping("red-a", "192.168.2.10") and capture.poll() is not None, "six frames were seen")
    assert capture.communicate() and capture.returncode == 0
    macs = {router["ports"]["eth1"]["mac"] for router in site.json("ps")["routers"] if router["name"] == "red-left"}
    frames = rdpcap(str(path))
    assert len(frames) == 6
    assert any(ICMP in frame for frame in frames)
    for frame in frames:        # nothing of blue, which uses the same wire and the same addresses
        assert {frame.src, frame.dst} & macs or int(frame.dst[:2], 16) & 1


def test_only_what_changed_is_changed(site):
    before = {row["name"]: row["pid"] for row in site.json("ps")["routers"]}
    site.write(TOPOLOGY.replace(HOST, HOST + '        c: {attach: "left:p1", address: 192.168.1.11/24}\n')
               .replace("blue: *ospf", "blue: *ospf\n    green: *ospf").replace("memory: 128M", "memory: 96M"))
    with traffic(site, "red-a", "red-b", "192.168.2.10") as arrivals:
        changes = site.up()
        flows_again(arrivals)
    new = {f"create host {network}-c" for network in ("red", "blue", "green")}
    new |= {"update host red-a", "update host blue-a"}      # they know c's address
    new |= {"create host green-a", "create host green-b", "create router green-left", "create router green-right"}
    assert set(changes) == new | {f"update router {network}-{node}" for network in ("red", "blue")
                                  for node in ("left", "right")}
    after = {row["name"]: row["pid"] for row in site.json("ps")["routers"]}
    assert {name: after[name] for name in before} == before
    wait_until(lambda: site.ping("green-a", "192.168.2.10"), "green answers")

    site.write(TOPOLOGY)
    assert {change for change in site.up() if "green" in change} == {
        "remove host green-a", "remove host green-b", "remove host green-c", "remove router green-left",
        "remove router green-right"}
    assert site.namespace("green-a") not in list_namespaces()
    assert {row["name"]: row["pid"] for row in site.json("ps")["routers"]} == before
    assert site.up() == []


def test_a_killed_agent_stops_no_traffic_and_comes_back(site):
    pids = {row["name"]: row["pid"] for row in site.json("ps")["routers"]}
    board = site.pid("left", "board")
    with traffic(site, "red-a", "red-b", "192.168.2.10") as arrivals:
        flows_again(arrivals)
        os.kill(site.pid("left", "agent"), signal.SIGKILL)
        flows_again(arrivals)
        assert site.up() == ["repair node left"]
        flows_again(arrivals)
    assert arrivals.lost == set()
    assert site.pid("left", "board") == board
    assert {row["name"]: row["pid"] for row in site.json("ps")["routers"]} == pids
    assert site.up() == []


def test_a_board_that_is_out_of_step_is_told_again(site):
    board = site.pid("left", "board")
    # Somebody else takes the board's sequence of requests, as if it had not answered for long.
    hostport = HostPort(open_packet_socket("left-host", f"pr-{site.name}"))
    try:
        Driver(hostport).sync()
    finally:
        hostport.close()
    site.process("exec", "red-left", "--", "vtysh", "-c", "configure terminal", "-c",
                 "ip route 172.16.0.0/16 192.168.1.10").communicate(timeout=60)
    events = site.top / "state/networks" / site.name / "left/events.jsonl"
    wait_until(lambda: "board in step" in events.read_text(), "the agent and the board agree again")
    wait_until(lambda: "172.16.0.0/16" in {row["prefix"] for row in site.json("show", "fib", "red-left")},
               "the route is in the hardware")
    assert not any(row["problems"] for row in site.json("ps")["routers"])
    assert site.pid("left", "board") == board


def test_a_killed_board_comes_back_and_is_programmed_again(site):
    board = site.pid("left", "board")
    with traffic(site, "red-a", "red-b", "192.168.2.10") as arrivals:
        flows_again(arrivals)
        os.kill(board, signal.SIGKILL)
        wait_until(lambda: site.pid("left", "board") != board, "another board")
        flows_again(arrivals)
    assert wait_until(lambda: site.up() == [], "nothing left to repair")


def test_a_killed_container_comes_back(site):
    pid = {row["name"]: row["pid"] for row in site.json("ps")["routers"]}["red-right"]
    with traffic(site, "blue-a", "blue-b", "192.168.2.10") as others:
        os.kill(pid, signal.SIGKILL)

        def again() -> bool:
            row = next(row for row in site.json("ps")["routers"] if row["name"] == "red-right")
            return row["pid"] not in (0, pid) and row["ready"]

        wait_until(again, "another container")
        flows_again(others)
    wait_until(lambda: site.ping("red-a", "192.168.2.10"), "red answers again")


def test_down_leaves_nothing_behind_when_all_is_dead(site):
    processes = [site.pid(node, what) for node in ("left", "right") for what in ("agent", "board")]
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    site.file.unlink()      # it must not be needed
    site.run("down")
    wait_until(lambda: ours(site.name) == set(), f"nothing left: {ours(site.name)}", 10)
    assert not (site.top / "state/networks" / site.name).exists()
    assert not (site.top / "run").exists() or not list((site.top / "run").iterdir())
    site.run("down", code=1)
