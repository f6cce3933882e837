"""VNICs on a virtual switch of the live board: their users reach each other, and nobody else."""

import json
import subprocess
from collections.abc import Iterator

import pytest
from polyrouter.host.agent.client import AgentClient
from polyrouter.host.fabric import list_namespaces

from .site import Site, new_site, wait_until

pytestmark = pytest.mark.root

TEXT = """\
name: NAME
topology:
  nodes: {left: {kind: board, ports: 1, core: {routers: 8, circuits: 64, filter_rules: 64}}}
  networks: {}
  switches:
    stub: {node: left}
    other: {node: left}
  vnics:
    a: {switch: stub, address: 10.0.0.1/24, max-bw: 20M}
    b: {switch: stub, address: 10.0.0.2/24}
    x: {switch: other, address: 10.0.0.3/24}
"""


@pytest.fixture(scope="module")
def site(image) -> Iterator[Site]:
    with new_site(image, "l", TEXT) as made:
        yield made


@pytest.fixture
def agent(site, monkeypatch) -> Iterator[AgentClient]:
    for name in ("POLYROUTER_STATE", "POLYROUTER_RUN"):
        monkeypatch.setenv(name, site.environment[name])
    with AgentClient(site.name, "left") as client:
        yield client


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
                   if row["owner"] in ("stub", "none") and row["reason"] in ("drop_source", "drop_no_router"))

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
    assert {row["name"] for row in agent.get("/vnics")} == {"a", "b"}
    assert site.namespace("x") not in list_namespaces()
    links = json.loads(subprocess.run(["ip", "-n", f"pr-{site.name}", "-j", "link"], capture_output=True,
                                      check=True).stdout)
    assert sum(link["ifname"].startswith("left-c") for link in links) == 2
    assert reaches(site, "a", "10.0.0.2")
    site.write(TEXT)
    site.run("up", str(site.file))
