"""Virtual links of a node without any container: from a file, and by command while traffic flows."""

from collections.abc import Iterator

import pytest
from polyrouter.host.fabric import list_namespaces, namespace_path
from polyrouter.host.netns import in_namespace
from pyroute2 import IPRoute, netns

from .site import Site, flows_again, new_site, traffic, wait_until

pytestmark = pytest.mark.root

TEXT = """\
name: NAME
topology:
  nodes:
    left: {ports: 1, core: LINK_CORE}
  networks:
    talk:
      hosts:
        carol: {vnic: near-one, address: 192.168.1.1/24}
        dave: {vnic: near-two, address: 192.168.1.2/24}
  vnics:
    near-one: {node: left}
    near-two: {node: left}
    web: {switch: stub, group: web, address: 172.16.0.1/24}
    shop: {switch: stub, group: web, address: 172.16.0.2/24, priority: high}
    soft: {switch: stub, max-bw: 5M, address: 172.16.0.3/24, lane: sw}
  port-groups:
    web: {max-bw: 20M, min-bw: 1M}
  switches:
    stub: {node: left}
  wires:
    near: {endpoints: [near-one, near-two]}
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with new_site(None, "l", TEXT) as site:
        yield site


def reaches(site: Site, first: str, target: str) -> None:
    wait_until(lambda: site.ping(first, target), f"{target} answers {first}")


def vnics(site: Site) -> dict[str, dict]:
    return {row["name"]: row for row in site.json("vnic", "list")}


def shaped(site: Site, vnic: str) -> set[int]:
    return {row["bits"] for row in site.json("show", "rates") if row["router"] == vnic}


def test_a_wire_and_an_etherstub_pass_frames(site):
    reaches(site, "talk-carol", "192.168.1.2")
    reaches(site, "web", "172.16.0.2")
    reaches(site, "web", "172.16.0.3")      # in software, behind the trunk
    reaches(site, "soft", "172.16.0.2")
    assert not site.ping("web", "192.168.1.2")
    assert {name: row["lane"] for name, row in vnics(site).items()} == {
        "near-one": "hw", "near-two": "hw", "web": "hw", "shop": "hw", "soft": "sw", "stub.trunk": "hw"}
    assert site.up() == []


@pytest.mark.parametrize("vnic,address", [("shop", "172.16.0.2"), ("soft", "172.16.0.3")])
def test_frames_of_a_vnic_are_captured_in_either_lane(site, vnic, address):
    """What its user gets and sends."""
    from scapy.layers.inet import ICMP
    from scapy.utils import rdpcap

    path = site.top / f"{vnic}.pcapng"
    capture = site.process("capture", vnic, "-w", str(path), "-c", "6")
    wait_until(lambda: site.ping("web", address) and capture.poll() is not None, "six frames were seen")
    assert capture.communicate() and capture.returncode == 0
    mac = vnics(site)[vnic]["mac"]
    frames = rdpcap(str(path))
    kinds = {frame[ICMP].type for frame in frames if ICMP in frame and mac in (frame.src, frame.dst)}
    assert len(frames) == 6 and kinds == {0, 8}


@pytest.mark.parametrize("arguments,code,said", [
    (["shop", "eth0"], 2, "shop is a VNIC, which has one interface only: leave eth0 out"),
    (["soft", "--hardware"], 1, "soft is in software: leave --hardware out"),
    (["nobody", "eth0"], 1, "there is no router nobody in "),
])
def test_what_can_not_be_captured_is_said(site, tmp_path, arguments, code, said):
    capture = site.process("capture", *arguments, "-w", str(tmp_path / "none.pcapng"))
    assert said in capture.communicate(timeout=60)[1] and capture.returncode == code
    assert not (tmp_path / "none.pcapng").exists()


def test_links_change_while_traffic_flows(site):
    with traffic(site, "talk-carol", "talk-dave", "192.168.1.2") as arrivals:
        flows_again(arrivals)
        site.run("vnic", "create", "extra", "--switch", "stub", "--address", "172.16.0.9/24", "--max-bw", "1M")
        reaches(site, "extra", "172.16.0.1")
        site.run("vnic", "set", "extra", "--max-bw", "2M")
        site.run("portgroup", "set", "web", "--max-bw", "9M")
        for vnic, rate in (("extra", 2_000_000), ("web", 9_000_000), ("shop", 9_000_000)):
            assert any(bits is not None and abs(bits - rate) < rate / 100 for bits in shaped(site, vnic)), vnic
        flows_again(arrivals)
    assert not arrivals.lost


def test_up_keeps_what_commands_made_and_takes_back_what_they_set(site):
    assert set(site.up()) == {"update vnic web", "update vnic shop"}
    assert "extra" in vnics(site)
    reaches(site, "extra", "172.16.0.1")
    assert site.up() == []


def test_a_wire_by_command(site):
    for name, address in (("w1", "10.5.0.1/24"), ("w2", "10.5.0.2/24")):
        site.run("vnic", "create", name, "--node", "left", "--address", address)
    assert not site.ping("w1", "10.5.0.2")
    site.run("wire", "create", "ww", "w1", "w2")
    reaches(site, "w1", "10.5.0.2")
    site.run("vnic", "delete", "w1", code=1)        # an end of the wire
    assert site.ping("w1", "10.5.0.2")
    site.run("wire", "delete", "ww")
    assert not site.ping("w1", "10.5.0.2")
    site.run("vnic", "delete", "w1")
    site.run("vnic", "delete", "w2")
    assert not {site.namespace("w1"), site.namespace("w2")} & list_namespaces()


def test_what_finds_no_number_is_in_software(site):
    site.run("vnic", "create", "many", "--switch", "stub", "--count", "12")
    lanes = [row["lane"] for name, row in vnics(site).items() if name.startswith("many")]
    assert len(lanes) == 12 and {"hw", "sw"} == set(lanes)
    hard, soft = (next(name for name, row in vnics(site).items() if name.startswith("many") and row["lane"] == lane)
                  for lane in ("hw", "sw"))
    for index, name in enumerate((hard, soft)):
        def settle(name: str = name, index: int = index) -> None:
            with IPRoute() as route:
                route.addr("add", index=route.link_lookup(ifname=name)[0], address=f"172.16.0.{20 + index}",
                           prefixlen=24)

        in_namespace(namespace_path(site.namespace(name)), settle)
    reaches(site, hard, "172.16.0.21")
    reaches(site, soft, "172.16.0.1")
    site.run("vnic", "create", "refused", "--switch", "stub", "--count", "20", "--lane", "hw", code=1)
    assert "refused0" not in vnics(site)
    site.run("vnic", "delete", "many")


def test_what_can_not_be_carried_out_is_undone(site):
    before = vnics(site)
    namespace = site.namespace("victim")
    netns.create(namespace)

    def in_the_way() -> None:
        with IPRoute() as route:
            route.link("add", ifname="victim", kind="veth", peer="other")

    in_namespace(namespace_path(namespace), in_the_way)
    site.run("vnic", "create", "victim", "--switch", "stub", code=1)
    assert vnics(site) == before
    assert namespace not in list_namespaces()
    assert site.up() == []
    reaches(site, "web", "172.16.0.2")


def test_a_namespace_that_is_gone_comes_back(site):
    netns.remove(site.namespace("web"))
    assert "repair vnic web" in site.up()
    reaches(site, "web", "172.16.0.2")
