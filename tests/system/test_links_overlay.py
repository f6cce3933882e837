"""Tunnels between live boards, whose underlay is routed by containers' kernels; a virtual router on a switch."""

import subprocess
from collections.abc import Iterator

import pytest
from polyrouter.host.agent.client import AgentClient

from .site import Site, new_site, wait_until

pytestmark = pytest.mark.root

CORE = "{kind: board, ports: 1, core: LINK_CORE}"
TEXT = f"""\
name: NAME
topology:
  defaults: {{limits: {{memory: 128M, cpus: 0.5, pids: 200}}}}
  nodes:
    left: {CORE}
    right: {CORE}
  links: [{{endpoints: ["left:p0", "right:p0"]}}]
  networks:
    under:
      routers:
        left: {{interfaces: {{eth0: {{address: 10.9.0.1/24}}}}}}
        right: {{interfaces: {{eth0: {{address: 10.9.0.2/24}}}}}}
    red:
      routers:
        gate:
          node: left
          interfaces:
            one: {{vnic: {{switch: near}}, address: 10.0.0.254/24}}
            two: {{vnic: {{switch: side}}, address: 10.1.0.254/24}}
  switches:
    near: {{node: left}}
    far: {{node: right}}
    side: {{node: left}}
  vnics:
    a: {{switch: near, address: 10.0.0.1/24}}
    b: {{switch: far, address: 10.0.0.2/24}}
    c: {{switch: side, address: 10.1.0.3/24}}
    d: {{switch: near, address: 10.0.0.4/24, lane: sw}}
  tunnels:
    out: {{node: left, switch: near, kind: KIND, key: 7, underlay: under-left, remote: 10.9.0.2}}
    back: {{node: right, switch: far, kind: KIND, key: 7, underlay: under-right, remote: 10.9.0.1}}
"""


@pytest.fixture(scope="module")
def site(image) -> Iterator[Site]:
    with new_site(image, "o", TEXT.replace("KIND", "vxlan")) as made:
        yield made


def forwarded(agent: AgentClient) -> int:
    return sum(row["frames"] for row in agent.get("/counters", router="under-left") if row["reason"] == "forwarded")


def test_switches_on_both_sides_are_one_network(site, agent):
    wait_until(lambda: site.ping("a", "10.0.0.2"), "a reaches b through the tunnel")
    before = forwarded(agent)
    assert site.ping("b", "10.0.0.1") and forwarded(agent) > before
    [tunnel] = agent.get("/tunnels")["tunnels"]
    assert (tunnel["kind"], tunnel["remote"], tunnel["underlay"]) == ("vxlan", "10.9.0.2", "under-left")


def test_a_vnic_in_software_is_on_the_same_switch(site, agent):
    wait_until(lambda: site.ping("a", "10.0.0.4"), "a reaches d")
    assert site.ping("d", "10.0.0.1")
    wait_until(lambda: site.ping("d", "10.0.0.2"), "d reaches b through the tunnel")
    row = next(row for row in agent.get("/vnics") if row["name"] == "d")
    assert row["lane"] == "sw" and row["up"] and row["number"] is None and row["received"]


def test_frames_as_long_as_fit_go_through(site, agent):
    mtu = next(row["mtu"] for row in agent.get("/vnics") if row["name"] == "a")
    assert mtu == 1450
    done = subprocess.run(["ip", "netns", "exec", site.namespace("a"), "ping", "-n", "-q", "-c", "1", "-W", "3", "-M",
                           "do", "-s", str(mtu - 28), "10.0.0.2"], capture_output=True, timeout=30)
    assert done.returncode == 0, done.stdout


def test_next_hops_of_a_tunnel_come_back_by_themselves(site, agent):
    """The kernel of the underlay has forgotten the other end, and no packet of its own goes there."""
    pid = next(row["pid"] for row in agent.get("/routers") if row["name"] == "under-left")
    subprocess.run(["nsenter", "-t", str(pid), "-n", "ip", "neigh", "flush", "dev", "eth0"], check=True)
    wait_until(lambda: site.ping("a", "10.0.0.2"), "a reaches b again")


def test_a_virtual_router_routes_between_switches_in_hardware(site, agent):
    for name, gateway in (("a", "10.0.0.254"), ("c", "10.1.0.254"), ("b", "10.0.0.254")):
        subprocess.run(["ip", "-n", site.namespace(name), "route", "replace", "default", "via", gateway], check=True)
    wait_until(lambda: site.ping("a", "10.1.0.3"), "a reaches c")
    wait_until(lambda: site.ping("b", "10.1.0.3"), "b reaches c, through tunnel and router")

    def routed() -> int:
        return sum(row["frames"] for row in agent.get("/counters", router="red-gate") if row["reason"] == "forwarded")

    def in_hardware() -> bool:
        before = routed()
        return site.ping("a", "10.1.0.3") and routed() >= before + 2

    wait_until(in_hardware, "packets of both directions are forwarded by the hardware")


def test_another_kind_of_tunnel_under_traffic(site, agent):
    site.write(TEXT.replace("KIND", "gre"))
    site.run("up", str(site.file))
    wait_until(lambda: site.ping("a", "10.0.0.2"), "a reaches b through the other tunnel")
    assert [row["kind"] for row in agent.get("/tunnels")["tunnels"]] == ["gre"]
    assert next(row["mtu"] for row in agent.get("/vnics") if row["name"] == "a") == 1458
