"""VNICs on a virtual switch of the live board: their users reach each other, and nobody else."""

import contextlib
import json
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest
from polyrouter.host.fabric import list_namespaces, namespace_path
from polyrouter.host.netns import in_namespace

from .site import Site, new_site, wait_until

pytestmark = pytest.mark.root

TEXT = """\
name: NAME
topology:
  nodes: {left: {kind: board, ports: 1, core: LINK_CORE}}
  networks: {}
  switches:
    stub: {node: left}
    other: {node: left}
  vnics:
    a: {switch: stub, address: 10.0.0.1/24, max-bw: 20M}
    b: {switch: stub, address: 10.0.0.2/24}
    x: {switch: other, address: 10.0.0.3/24}
    y: {switch: other, address: 10.0.0.4/24}
"""


@pytest.fixture(scope="module")
def site(image) -> Iterator[Site]:
    with new_site(image, "l", TEXT) as made:
        yield made


def reaches(site: Site, source: str, target: str) -> bool:
    return site.ping(source, target)


def test_two_vnics_on_an_etherstub_ping_each_other(site, agent):
    wait_until(lambda: reaches(site, "a", "10.0.0.2"), "a reaches b")
    assert reaches(site, "b", "10.0.0.1")
    rows = {row["name"]: row for row in agent.get("/vnics")}
    assert all(row["up"] and row["lane"] == "hw" for row in rows.values())
    assert rows["a"]["received"] and rows["a"]["sent"]


def test_who_is_on_another_switch_is_not_reached(site):
    assert not reaches(site, "x", "10.0.0.1")
    assert not reaches(site, "a", "10.0.0.3")


def test_forged_frames_are_counted_by_the_hardware(site, agent):
    """The interface gets another address, and the switch's port does not let it in."""
    def dropped() -> int:
        return sum(row["frames"] for row in agent.get("/links")["drops"]
                   if (row["owner"], row["reason"]) == ("stub", "drop_source"))

    def address(mac: str) -> None:
        subprocess.run(["ip", "-n", site.namespace("b"), "link", "set", "dev", "b", "address", mac], check=True)

    before = dropped()
    own = next(row["mac"] for row in agent.get("/vnics") if row["name"] == "b")
    address("02:00:00:00:00:99")
    try:
        assert not reaches(site, "b", "10.0.0.1")
        assert dropped() > before
    finally:
        address(own)
    wait_until(lambda: reaches(site, "b", "10.0.0.1"), "b reaches a again")


def flood(site: Site, vnic: str, target: str, frames: int) -> None:
    """Datagrams, all at once."""
    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(frames):
                with contextlib.suppress(OSError):
                    sock.sendto(bytes(1000), (target, 9))

    in_namespace(namespace_path(site.namespace(vnic)), send)


def test_a_vnic_that_floods_keeps_nobody_from_the_board(site, agent):
    """It gets what the board takes; the agent goes on to read and write its tables, and the other ones their frames."""
    wait_until(lambda: reaches(site, "b", "10.0.0.1"), "b reaches a")
    events = len(agent.get("/events").splitlines())
    stop = threading.Event()

    def keep_on() -> None:
        while not stop.wait(0.05):      # more than any board takes, but the processor is for others, too
            flood(site, "b", "10.0.0.1", 500)

    flooding = threading.Thread(target=keep_on)
    flooding.start()
    try:
        wait_until(lambda: sum(row["frames"] for row in agent.get("/counters", router="b")
                               if row["reason"] == "injected") > 1000, "a thousand frames are injected", 120)
        assert agent.get("/links")["circuits"]
        wait_until(lambda: reaches(site, "x", "10.0.0.4"), "others reach each other all the same")
    finally:
        stop.set()
        flooding.join()
    assert "out of step" not in "".join(agent.get("/events").splitlines()[events:])


def test_a_rate_changes_under_traffic_and_is_the_hardwares(site, agent):
    def rate() -> int | None:
        return next((row["bits"] for row in agent.get("/rates") if (row["router"], row["what"]) == ("a", "out link")),
                    None)

    def queue(port: str, what: str) -> int:
        return sum(row[what] for row in agent.get("/queues") if (row["router"], row["port"]) == ("a", port))

    def queued() -> int:
        return queue("link", "dropped")

    # Both directions have the rate: what a flood left in the other queue would hold back b's answers for minutes, as
    # the board's time passes slowly. So that goes first.
    site.write(TEXT.replace(", max-bw: 20M", ""))
    site.up()
    assert rate() is None
    wait_until(lambda: not queue("host", "depth"), "what came before has left the queue to a")
    wait_until(lambda: reaches(site, "a", "10.0.0.2"), "a knows b's address")
    site.write(TEXT)
    site.up()
    assert rate() == pytest.approx(20e6, rel=0.01)
    site.write(TEXT.replace("max-bw: 20M", "max-bw: 1M"))
    assert site.up() == ["update vnic a"]
    assert rate() == pytest.approx(1e6, rel=0.01)
    before = queued()
    wait_until(lambda: flood(site, "a", "10.0.0.2", 300) or queued() > before, "the hardware's queue holds frames back")
    site.write(TEXT)
    site.up()
    assert rate() == pytest.approx(20e6, rel=0.01)
    wait_until(lambda: reaches(site, "a", "10.0.0.2"), "a reaches b")


def test_an_agent_that_starts_again_takes_vnics_over(site, agent):
    subprocess.run(["kill", "-9", str(site.pid("left", "agent"))], check=True)
    wait_until(lambda: not agent.alive(), "the agent is gone")
    site.run("up", str(site.file))
    wait_until(lambda: reaches(site, "a", "10.0.0.2"), "a reaches b")


def test_a_board_that_starts_again_gets_its_circuits(site, agent):
    pid = site.pid("left", "board")
    subprocess.run(["kill", "-9", str(pid)], check=True)
    wait_until(lambda: site.pid("left", "board") != pid and agent.get("/health")["board"], "another board runs")
    wait_until(lambda: reaches(site, "a", "10.0.0.2"), "a reaches b")


def test_a_vnic_that_goes_leaves_nothing(site, agent):
    site.write(TEXT.replace("    x: {switch: other, address: 10.0.0.3/24}\n", ""))
    site.run("up", str(site.file))
    assert {row["name"] for row in agent.get("/vnics")} == {"a", "b", "y"}
    assert site.namespace("x") not in list_namespaces()
    links = json.loads(subprocess.run(["ip", "-n", f"pr-{site.name}", "-j", "link"], capture_output=True,
                                      check=True).stdout)
    assert sum(link["ifname"].startswith("left-c") for link in links) == 3
    assert reaches(site, "a", "10.0.0.2")
    site.write(TEXT)
    site.run("up", str(site.file))
