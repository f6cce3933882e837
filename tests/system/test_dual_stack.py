"""IPv6 beside IPv4 from a topology file to the hardware: OSPFv3, static routes, two networks with equal addresses."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .site import Site, new_site, wait_until

pytestmark = [pytest.mark.root, pytest.mark.image]

EXAMPLE = Path(__file__).parents[2] / "examples/dual-stack.yaml"
TOPOLOGY = EXAMPLE.read_text().replace("name: dual-stack", "name: NAME")
PINGS = 30


@pytest.fixture(scope="module")
def site(image) -> Iterator[Site]:
    with new_site(image, "d", TOPOLOGY) as site:
        yield site


def forwarded(site: Site, router: str) -> int:
    rows = site.json("show", "counters", "--router", router)
    return sum(row["frames"] for row in rows if row["reason"] == "forwarded")


@pytest.mark.parametrize("network", ["red", "blue"])
def test_both_families_are_forwarded_by_the_hardware(site, network):
    for first, target in (("a", "192.168.2.10"), ("a", "2001:db8:b::10"), ("b", "2001:db8:a::10")):
        wait_until(lambda first=first, target=target: site.ping(f"{network}-{first}", target), f"{target} answers")
    for router, host, cable in (("left", "a", "2001:db8:b::/64"), ("right", "b", "2001:db8:a::/64")):
        name = f"{network}-{router}"

        def far(name: str = name, cable: str = cable) -> dict:
            return {row["prefix"]: row for row in site.json("show", "fib", name)}.get(cable, {})

        wait_until(lambda far=far: far().get("kind") == "forward", f"{name} has its route in hardware")
        assert far()["port"] == "p0" and far()["mtu"] == 1500
        fib = {row["prefix"]: row for row in site.json("show", "fib", name)}
        own = "2001:db8:a::" if router == "left" else "2001:db8:b::"
        wait_until(lambda name=name, own=own: any(
            row["prefix"] == f"{own}10/128" and row["kind"] == "forward" and row["port"] == "p1"
            for row in site.json("show", "fib", name)), f"{name} has host {host} in hardware")
        assert fib[f"{own}1/128"]["kind"] == "local"
        assert fib["ff00::/8"]["kind"] == "local" and "192.168.1.0/24" in fib
    other = "blue" if network == "red" else "red"
    before, strangers = forwarded(site, f"{network}-left"), forwarded(site, f"{other}-left")
    process = site.process("exec", f"{network}-a", "--", "ping", "-6", "-n", "-q", "-c", str(PINGS), "-i", "0.05",
                           "2001:db8:b::10")
    output = process.communicate(timeout=60)[0]
    assert int(re.search(r"(\d+) received", output)[1]) >= PINGS - 1, output     # type: ignore[index]
    assert forwarded(site, f"{network}-left") - before >= 2 * (PINGS - 1)
    assert forwarded(site, f"{other}-left") - strangers < PINGS


def test_a_router_answers_what_has_no_hops_left(site):
    process = site.process("exec", "red-a", "--", "ping", "-6", "-n", "-c", "1", "-W", "5", "-t", "1", "2001:db8:b::10")
    assert "From 2001:db8:a::1" in process.communicate(timeout=60)[0]


def test_hosts_settle_once_and_have_no_addresses_that_nobody_gave(site):
    assert site.up() == []
    process = site.process("exec", "red-a", "--", "ip", "-6", "-o", "address", "show", "eth0")
    found = re.findall(r"inet6 (\S+)", process.communicate(timeout=60)[0])
    assert found[0] == "2001:db8:a::10/64" and len(found) == 2 and found[1].startswith("fe80::")
    process = site.process("exec", "red-a", "--", "ip", "-6", "neighbour")
    assert "2001:db8:a::1 dev eth0 lladdr" in process.communicate(timeout=60)[0]


def test_a_host_loses_its_ipv6_address(site):
    site.write(TOPOLOGY.replace('attach: "left:p1", address: [192.168.1.10/24, 2001:db8:a::10/64]',
                                'attach: "left:p1", address: 192.168.1.10/24'))
    changes = site.json("up", str(site.file))["changes"]
    assert {change["name"] for change in changes} == {"red-a", "blue-a"}
    process = site.process("exec", "red-a", "--", "ip", "-6", "-o", "address", "show", "eth0")
    assert process.communicate(timeout=60)[0] == ""
    assert site.ping("red-a", "192.168.2.10")
    site.write(TOPOLOGY)
    site.up()
    wait_until(lambda: site.ping("red-a", "2001:db8:b::10"), "it answers again")
