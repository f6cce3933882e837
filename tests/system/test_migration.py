"""A router moves to and fro between two nodes: nobody notices, and whoever is killed on the way, it runs once."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from polyrouter.host.migration.faults import FAULTS_VARIABLE, POINTS
from polyrouter.host.migration.move import Stage
from polyrouter.host.runtime.criu import CRIU_VARIABLE, Criu

from .site import Arrivals, Site, new_site, traffic, wait_until

pytestmark = [pytest.mark.root, pytest.mark.image]

TOPOLOGY = """\
name: NAME
topology:
  defaults:
    limits: {memory: 128M, cpus: 1, pids: 200}
  nodes:
    west: {ports: 4}
    east: {ports: 4}
    core: {ports: 4}
  links:
    - endpoints: ["west:p0", "east:p0", "core:p0"]
    - endpoints: ["west:p1", "east:p1"]
  networks:
    red: &both
      routers:
        west:
          interfaces:
            eth0: {address: [10.0.0.1/24, "2001:db8::1/64"]}
            eth1: {address: [192.168.1.1/24, "2001:db8:1::1/64"]}
          ospf: {passive: [eth1], hello: 1, dead: 20}
          bgp:
            asn: 65001
            neighbors: [{address: 10.0.0.2, asn: 65002}]
            networks: [192.168.1.0/24]
            keepalive: 5
            hold: 20
        core:
          interfaces:
            eth0: {address: [10.0.0.2/24, "2001:db8::2/64"]}
            eth1: {address: [192.168.2.1/24, "2001:db8:2::1/64"]}
          ospf: {passive: [eth1], hello: 1, dead: 20}
          bgp:
            asn: 65002
            neighbors: [{address: 10.0.0.1, asn: 65001}]
            networks: [192.168.2.0/24]
            keepalive: 5
            hold: 20
      hosts:
        a: {attach: "west:p1", address: 192.168.1.10/24}
        b: {attach: "core:p1", address: 192.168.2.10/24}
    blue:
      routers:
        west: {interfaces: {eth0: {address: 10.0.0.1/24}}}
        east: {interfaces: {eth0: {address: 10.0.0.2/24}}}
"""
A, B = "192.168.1.10", "192.168.2.10"
#: Kills that ``make test`` tries: before all, in the midst, at the moment itself, and after it.
SOME = frozenset({"source-frozen", "destination-restored", "source-committed", "destination-activated"})


@pytest.fixture(scope="module")
def site(image: Path, criu: Criu) -> Iterator[Site]:
    with new_site(image, "m", TOPOLOGY, up=False) as site:
        (site.top / "faults").mkdir()
        site.environment |= {CRIU_VARIABLE: str(criu.program), FAULTS_VARIABLE: str(site.top / "faults")}
        site.up()
        settled(site)
        yield site


def where(site: Site) -> str:
    """Node of the router that moves."""
    node, = nodes_with_it(site)
    return node


def nodes_with_it(site: Site) -> list[str]:
    return [row["node"] for row in site.json("ps")["routers"] if row["name"] == "red-west"]


def other(node: str) -> str:
    return "east" if node == "west" else "west"


def inside(site: Site, router: str, *command: str) -> str:
    """What a program in a router's container says. 'exec' becomes that program, so it needs a process of its own."""
    output, errors = site.process("exec", router, "--", *command).communicate(timeout=60)
    assert not errors, errors
    return output


def show(site: Site, router: str, command: str) -> dict:
    return json.loads(inside(site, router, "vtysh", "-c", f"show {command} json"))


def sessions(site: Site) -> tuple[tuple[str, int], tuple[str, int, int]]:
    """What the peer thinks of its OSPF neighbour and its BGP session: state, for how long (ms), and how often made."""
    ospf = [rows[0] for rows in show(site, "red-core", "ip ospf neighbor")["neighbors"].values()]
    bgp, = show(site, "red-core", "bgp neighbor").values()
    return ((ospf[0]["converged"], ospf[0]["upTimeInMsec"]) if ospf else ("none", 0),
            (bgp["bgpState"], bgp.get("bgpTimerUpMsec", 0), bgp["connectionsEstablished"]))


def settled(site: Site) -> None:
    """Wait until routing is up, and the hardware forwards."""
    wait_until(lambda: site.ping("red-a", B), "the hosts reach each other", 90)
    wait_until(lambda: [state for state, *_ in sessions(site)] == ["Full", "Established"], "sessions are up")


@contextmanager
def both_ways(site: Site) -> Iterator[tuple[Arrivals, Arrivals]]:
    with ExitStack() as stack:
        flows = (stack.enter_context(traffic(site, "red-a", "red-b", B)),
                 stack.enter_context(traffic(site, "red-b", "red-a", A)))
        yield flows
    # Each once, none lost.
    for flow in flows:
        assert len(flow.sent) > 50
        assert flow.lost == set() and len(flow) == len(flow.sent)


def runs_once(site: Site, node: str) -> None:
    """The router is on this node, whole, and nothing of it on the other one."""
    elsewhere = other(node)
    assert where(site) == node
    containers = {side: sorted(path.name for path in (site.top / "state/networks" / site.name / side / "vrs").iterdir())
                  for side in (node, elsewhere)}
    number = {row["name"]: str(row["number"]) for row in site.json("ps")["routers"]}
    blue = number[f"blue-{elsewhere}"]
    assert containers[elsewhere] == [blue]
    assert sorted(containers[node]) == sorted([number["red-west"], number[f"blue-{node}"]])
    context = {side: {row["router"]: row for row in site.json("show", "context", "--node", side)
                      } for side in (node, elsewhere)}
    assert set(context[elsewhere]) == {f"blue-{elsewhere}"}
    assert set(context[node]) == {"red-west", f"blue-{node}"} and context[node]["red-west"]["enable"]
    assert {row["router"] for row in site.json("show", "vmac", "--node", elsewhere)} == {f"blue-{elsewhere}"}
    links = os.popen(f"ip -n pr-{site.name} -brief link").read()
    assert f"{elsewhere}-v{number['red-west']}p1" not in links and f"{node}-v{number['red-west']}p1" in links
    mounts = Path("/proc/self/mountinfo").read_text()
    assert f"{site.name}/{elsewhere}/move-" not in mounts and f"{site.name}/{node}/move-" not in mounts
    assert not traces(site, node) and not traces(site, elsewhere)


def traces(site: Site, node: str) -> list[Path]:
    """What a move has on a node's disk."""
    return list((site.top / "state/networks" / site.name / node).glob("move-*"))


def events(site: Site, node: str, since: int) -> list[dict]:
    rows = [json.loads(line) for line in site.run("events", node, "--json").splitlines()]
    return [row for row in rows if row["number"] > since]


def last_event(site: Site, node: str) -> int:
    return max((row["number"] for row in events(site, node, 0)), default=0)


@pytest.mark.parametrize("router,to,why", [
    ("red-west", "nowhere", "there is no node nowhere"),
    ("red-west", "west", "red-west is on west already"),
    ("red-west", "core", "expected a port on whose segment there is a router of red"),
    ("blue-west", "east", "blue-east, which it talks to by eth0, is at the same port of east"),
    ("green-west", "east", "there is no router green-west"),
])
def test_what_can_t_move_is_refused_before_anything_is_done(site, router, to, why):
    before = {node: last_event(site, node) for node in ("west", "east", "core")}
    done = site.process("migrate", router, "--to", to)
    _, errors = done.communicate(timeout=60)
    assert done.returncode == 1
    assert why in " ".join(errors.split())
    assert {node: last_event(site, node) for node in before} == before


def test_to_and_fro(site):
    assert where(site) == "west"
    site.run("migrate", "red-west", "--to", "east", "--dry-run")
    site.run("migrate", "blue-east", "--to", "core", "--dry-run")       # on its segment, with nobody of its network
    assert where(site) == "west"
    before = sessions(site)
    forwarded = counters(site)
    with both_ways(site):
        for to in ("east", "west", "east"):
            since = last_event(site, other(to))
            result = json.loads(site.run("migrate", "red-west", "--to", to, "--json"))
            assert result["routes"] and result["freeze_ms"] > 0 and result["image_bytes"] > 1 << 20
            stages = [row["stage"] for row in events(site, other(to), since) if row["what"] == "stage"]
            assert stages == [stage.value for stage in Stage]
            runs_once(site, to)
    after = sessions(site)
    for (state, up, *count), (_, was, *count_before) in zip(after, before, strict=True):
        assert state in ("Full", "Established") and up > was and count == count_before
    assert counters(site) > forwarded       # they did not begin anew
    # A route that it learns now gets to the hardware.
    inside(site, "red-core", "vtysh", "-c", "configure", "-c", "router ospf", "-c", "redistribute static", "-c", "exit",
           "-c", "ip route 203.0.113.0/24 Null0")
    wait_until(lambda: "203.0.113.0/24" in [row["prefix"] for row in site.json("show", "fib", "red-west")],
               "the hardware has the new route")


def counters(site: Site) -> int:
    rows = site.json("show", "counters", "--router", "red-west")
    return sum(row["frames"] for row in rows if row["reason"] == "forwarded")


def test_up_leaves_it_where_it_is(site):
    assert where(site) == "east"
    assert site.up() == []
    runs_once(site, "east")


def test_where_it_was_moved_is_forgotten_with_it(site):
    """A router that was taken out of the file and comes back is where the file has it, also for a new agent."""
    site.run("migrate", "blue-east", "--to", "core")
    try:
        site.write(TOPOLOGY.replace("        east: {interfaces: {eth0: {address: 10.0.0.2/24}}}\n", ""))
        assert "remove router blue-east" in site.up()
    finally:
        site.write(TOPOLOGY)
    assert "create router blue-east" in site.up()

    def container():
        return [(row["node"], row["pid"]) for row in site.json("ps")["routers"]
                if row["name"] == "blue-east" and row["state"] == "running"]

    before = container()
    os.kill(site.pid("east", "agent"), signal.SIGKILL)
    site.up()
    wait_until(container, "it runs")
    assert container() == before and before[0][0] == "east"     # a new agent has let it live
    assert site.up() == []


def test_what_its_container_wrote_is_there(site):
    to = other(where(site))
    inside(site, "red-west", "sh", "-c", "echo mine >/root/note; rm -f /etc/motd")
    site.run("migrate", "red-west", "--to", to)
    assert inside(site, "red-west", "cat", "/root/note") == "mine\n"


def test_ctrl_c_leaves_it_where_it_is(site):
    node = where(site)
    fault = site.top / "faults" / "source-copied"
    fault.write_text("wait")
    with both_ways(site):
        command = site.process("migrate", "red-west", "--to", other(node))
        wait_until(fault.with_name("source-copied.reached").exists, "it is copied")
        command.send_signal(signal.SIGINT)
        command.communicate(timeout=60)
        assert command.returncode != 0
        fault.unlink()
        wait_until(lambda: any(row["what"] == "move failed" for row in events(site, node, 0)), "it was given up")
        wait_until(lambda: not traces(site, other(node)), "all is gone")
    fault.with_name("source-copied.reached").unlink()
    runs_once(site, node)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in SOME else [pytest.mark.slow])
                                  for name in POINTS])
def test_an_agent_is_killed(site, name):
    """Whichever agent is at that point: afterwards, the router runs once."""
    node = where(site)
    (site.top / "faults" / name).write_text("kill")
    with both_ways(site):
        _, errors = site.process("migrate", "red-west", "--to", other(node)).communicate(timeout=120)
        assert not (site.top / "faults" / name).exists(), f"it did not come that far: {errors}"
        site.up()
        settled(site)
        wait_until(lambda: len(nodes_with_it(site)) == 1, "it is on one node")
    runs_once(site, where(site))
    assert site.up() == []


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name == "destination-restored" else [pytest.mark.slow])
                                  for name in POINTS if POINTS.index(name) < POINTS.index("source-committed")])
def test_a_failure_before_the_commitment_leaves_it_where_it_is(site, name):
    node, before = where(site), sessions(site)
    (site.top / "faults" / name).write_text("raise")
    with both_ways(site):
        done = site.process("migrate", "red-west", "--to", other(node))
        _, errors = done.communicate(timeout=120)
        assert done.returncode == 1 and "a test wants a failure" in errors
        wait_until(lambda: not traces(site, other(node)), "all is gone")
    runs_once(site, node)
    assert sessions(site)[1][2] == before[1][2]


@contextmanager
def stopped_at(site: Site, name: str, to: str) -> Iterator[None]:
    """A move that stops at a point for as long as the block takes, and ends then; it is to fail."""
    fault = site.top / "faults" / name
    reached = fault.with_name(f"{name}.reached")
    fault.write_text("wait")
    command = site.process("migrate", "red-west", "--to", to)
    try:
        wait_until(reached.exists, f"it is at {name}")
        yield
    finally:
        fault.unlink()
        reached.unlink(missing_ok=True)
        _, errors = command.communicate(timeout=120)
    assert command.returncode == 1, errors


def processes(*words: str) -> list[int]:
    """Processes whose command line has all of these."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if all(word in text for word in words):
            found.append(int(path.parent.name))
    return found


def test_criu_is_killed(site):
    node = where(site)
    with both_ways(site), stopped_at(site, "destination-restoring", other(node)):
        runc, = processes("runc", "restore", site.name)
        found = [pid for pid in processes("criu: restore") if _parent(pid) == runc]    # its name for itself
        assert found
        for pid in found:
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not traces(site, other(node)), "all is gone")
    runs_once(site, node)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize("name", ["destination-restoring", pytest.param("source-committed", marks=pytest.mark.slow)])
def test_the_destination_s_board_dies(site, name):
    node = where(site)
    before = site.pid(other(node), "board")
    with both_ways(site):
        with stopped_at(site, name, other(node)):
            os.kill(site.pid(other(node), "board"), signal.SIGKILL)
        # Before the commitment, it stays; after it, it is the destination's, and there when its board is back.
        expected = node if name != "source-committed" else other(node)
        wait_until(lambda: nodes_with_it(site) == [expected] and not traces(site, other(node)), "it is on one node")
        wait_until(lambda: site.pid(other(node), "board") != before, "the board is back")
    settled(site)
    runs_once(site, expected)
    assert site.up() == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["source-copied", "source-sent"])
def test_the_agents_are_cut_off_from_each_other(site, name):
    node, fabric = where(site), f"pr-{site.name}"
    with both_ways(site):
        try:
            with stopped_at(site, name, other(node)):
                os.system(f"ip -n {fabric} link set lo down")
        finally:
            os.system(f"ip -n {fabric} link set lo up")
        wait_until(lambda: not traces(site, other(node)), "all is gone", 120)
    runs_once(site, node)
