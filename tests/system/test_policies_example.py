"""examples/policies.yaml comes up and passes traffic as its filters, VLANs and rates say."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from polyrouter.host.fabric import namespace_path
from polyrouter.host.netns import in_namespace

from .site import Site, flows_again, new_site, traffic, wait_until

pytestmark = [pytest.mark.root, pytest.mark.image]

EXAMPLE = Path(__file__).parents[2] / "examples/policies.yaml"
A, B, C = "10.0.0.10", "10.0.0.11", "192.168.1.10"


@pytest.fixture(scope="module")
def site(image) -> Iterator[Site]:
    with new_site(image, "p", EXAMPLE.read_text().replace("name: policies", "name: NAME")) as site:
        yield site


def count(site: Site, router: str, reason: str) -> int:
    return sum(row["frames"] for row in site.json("show", "counters", "--router", router) if row["reason"] == reason)


def udp(site: Site, host: str, address: str | None = None) -> socket.socket:
    """A socket of a host; with an address, one that receives there."""
    made = in_namespace(namespace_path(site.namespace(host)), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    made.settimeout(5)
    if address is not None:
        made.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        made.bind((address, 5001))
    return made


def test_hosts_reach_each_other_over_the_bridge_and_the_tagged_cable(site):
    for first, target in (("a", B), ("a", C), ("b", C), ("c", A)):
        wait_until(lambda first=first, target=target: site.ping(f"red-{first}", target), f"{target} answers {first}")
    ports = {row["port"] for row in site.json("show", "macs", "red-bridge")}
    assert ports == {"p0", "p1", "p2"}
    bridged, routed = count(site, "red-bridge", "bridged"), count(site, "red-left", "forwarded")
    with traffic(site, "red-a", "red-c", C) as arrivals:
        flows_again(arrivals)
    assert len(arrivals) >= 20 and not arrivals.lost
    assert count(site, "red-bridge", "bridged") - bridged >= len(arrivals)
    assert count(site, "red-left", "forwarded") - routed >= len(arrivals)


def test_the_filter_drops_and_rewrites(site):
    before = count(site, "red-left", "drop_filter")
    with in_namespace(namespace_path(site.namespace("red-c")),
                      lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as telnet:
        telnet.settimeout(1)
        with pytest.raises(TimeoutError):
            telnet.connect((A, 23))
    assert count(site, "red-left", "drop_filter") > before
    with udp(site, "red-c") as out, udp(site, "red-a", A) as into:
        out.sendto(b"five", (A, 5001))
        data, ancillary, _, (source, _) = into.recvmsg(100, 100)
        assert (data, source) == (b"five", C)
        assert [value for _, kind, value in ancillary if kind == socket.IP_TOS] == [b"\x28"]
    rules = site.json("show", "filters", "red-left")
    assert [row["frames"] > 0 for row in rules] == [False, True, True]


def test_rates_are_as_the_file_says(site):
    rates = {(row["router"], row["what"]): row for row in site.json("show", "rates", "--node", "left")}
    for what, bits in (("in", 100e6), ("out p0", 50e6), ("out host", 1e6), ("rule 2", 10e6)):
        assert abs(rates["red-left", what]["bits"] / bits - 1) < 0.01
    assert rates["red-left", "in"]["burst"] == 64 << 10
    assert site.up() == []
