"""Multicast from one host to two receivers on live boards: by routes of the file, and by PIM."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from polyrouter.host.fabric import namespace_path
from polyrouter.host.netns import in_namespace

from ..multicast_host import Receiver, receiver, sender
from .site import Site, new_site, wait_until

pytestmark = [pytest.mark.root, pytest.mark.image]

EXAMPLE = Path(__file__).parents[2] / "examples/multicast.yaml"
TOPOLOGY = EXAMPLE.read_text().replace("name: multicast", "name: NAME")
ROUTERS = "left", "right"
SENDER = {False: "192.168.1.10", True: "2001:db8:a::10"}


@pytest.fixture(scope="module")
def site(image) -> Iterator[Site]:
    with new_site(image, "m", TOPOLOGY) as site:
        yield site


def counters(site: Site, router: str) -> dict[tuple[str, str], int]:
    """Frames by port and reason."""
    rows = site.json("show", "counters", "--router", router)
    return {(row["port"], row["reason"]): row["frames"] for row in rows}


def forwarded(site: Site, network: str) -> list[int]:
    """Copies that each router has made of what came in where the sender is."""
    return [counters(site, f"{network}-{router}").get((port, "forwarded"), 0)
            for router, port in zip(ROUTERS, ("p1", "p0"), strict=True)]


def mroutes(site: Site, router: str) -> dict[tuple[str, str], tuple[str, str | None, list[str] | None]]:
    return {(row["source"], row["group"]): (row["kind"], row["from"], row["to"])
            for row in site.json("show", "mroutes", router)}


def flows(arrived: Receiver, count: int = 50, seconds: float = 60.0) -> None:
    """Wait until datagrams that are sent after now arrive."""
    before = len(arrived)
    wait_until(lambda: len(arrived) >= before + count, "datagrams arrive", seconds)


def quiet(arrived: Receiver) -> bool:
    """Whether nothing arrives for a while."""
    before = len(arrived)
    threading.Event().wait(0.5)
    return len(arrived) == before


@pytest.mark.parametrize("group", ["239.1.1.1", "ff0e::101"])
def test_routes_of_the_file_in_hardware(site, group):
    source = SENDER[":" in group]
    assert mroutes(site, "red-left")[source, group] == ("multicast", "p1", ["p0", "p2"])
    assert mroutes(site, "red-right")[source, group] == ("multicast", "p0", ["p1"])
    before, others = forwarded(site, "red"), forwarded(site, "blue")
    punted = [counters(site, f"red-{router}").get((port, "punt_group"), 0)
              for router, port in (("left", "p1"), ("right", "p0"))]
    with ExitStack() as stack:
        far, near = (stack.enter_context(receiver(site.namespace(host), group)) for host in ("red-b", "red-c"))
        with sender(site.namespace("red-a"), group) as sent:
            flows(far, 100)
        wait_until(lambda: len(far) == len(near) == len(sent), "all arrive", 10)
        assert far.numbers() == near.numbers() == sent      # once, in order
    assert forwarded(site, "blue") == others
    after = forwarded(site, "red")
    assert after[0] - before[0] == 2 * len(sent)    # a copy for each way out
    assert after[1] - before[1] == len(sent)
    # None came by way of a container.
    assert sum(counters(site, f"red-{router}").get((port, "punt_group"), 0)
               for router, port in (("left", "p1"), ("right", "p0"))) - sum(punted) < 20


def test_what_comes_in_elsewhere_is_dropped(site):
    def raw() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 16)
        return made

    before = counters(site, "red-left").get(("p2", "drop_rpf"), 0)
    with receiver(site.namespace("red-b"), "239.1.1.1") as arrived, in_namespace(
            namespace_path(site.namespace("red-c")), raw) as spoof:
        source, group = (socket.inet_aton(text) for text in (SENDER[False], "239.1.1.1"))
        for _ in range(10):
            spoof.sendto(bytes([0x45, 0, 0, 28, 0, 0, 0, 0, 16, 17, 0, 0]) + source + group
                         + (7100).to_bytes(2, "big") * 2 + bytes([0, 8, 0, 0]), ("239.1.1.1", 0))
        wait_until(lambda: counters(site, "red-left").get(("p2", "drop_rpf"), 0) == before + 10, "they are counted")
        assert arrived == []


def test_a_route_that_is_withdrawn_stops_the_stream_of_its_group_alone(site):
    route = "            - {group: 239.1.1.1, source: 192.168.1.10, from: eth1, to: [eth0, eth2]}\n"
    assert route in TOPOLOGY
    with ExitStack() as stack:
        for group in ("239.1.1.1", "239.1.1.2"):
            stack.enter_context(sender(site.namespace("red-a"), group))
        far, near = (stack.enter_context(receiver(site.namespace(host), "239.1.1.1")) for host in ("red-b", "red-c"))
        other = stack.enter_context(receiver(site.namespace("red-b"), "239.1.1.2"))
        flows(far)
        flows(other)
        site.write(TOPOLOGY.replace(route, route.replace("[eth0, eth2]", "[eth2]")))
        changes = site.json("up", str(site.file))["changes"]
        assert [(change["name"], change["why"]) for change in changes] == [
            ("red-left", "multicast route (192.168.1.10, 239.1.1.1) differs")]
        wait_until(lambda: quiet(far), "only one receiver is left")
        flows(near)
        site.write(TOPOLOGY.replace(route, ""))
        site.up()
        assert (SENDER[False], "239.1.1.1") not in mroutes(site, "red-left")
        wait_until(lambda: quiet(near), "the stream ends")
        flows(other)
        assert other.numbers() == list(range(other.numbers()[0], other.numbers()[-1] + 1))      # without a gap
        site.write(TOPOLOGY)
        site.up()
        flows(far)
        flows(near)
    assert site.up() == []


@pytest.mark.parametrize(("group", "source"), [
    ("239.2.2.2", None), ("232.1.1.1", SENDER[False]), ("ff0e::202", None)])
def test_pim_finds_the_routes_and_the_hardware_forwards(site, group, source):
    key = SENDER[":" in group], group
    with ExitStack() as stack:
        far, near = (stack.enter_context(receiver(site.namespace(host), group, source))
                     for host in ("blue-b", "blue-c"))
        sent = stack.enter_context(sender(site.namespace("blue-a"), group))
        flows(far)
        flows(near)
        for router, way in (("blue-left", ("multicast", "p1", ["p0", "p2"])),
                            ("blue-right", ("multicast", "p0", ["p1"]))):
            wait_until(lambda router=router, way=way: mroutes(site, router).get(key) == way,
                       f"{router} has its route in hardware")
        threading.Event().wait(0.5)     # what is on its way through the containers
        begin, count = forwarded(site, "blue"), len(sent)
        flows(far, 200)
        end, more = forwarded(site, "blue"), len(sent) - count
        assert end[0] - begin[0] >= 2 * (more - 60) and end[1] - begin[1] >= more - 60
        # Each once, without a gap. The kernel is given a packet from time to time, which the next one may overtake.
        tail = sorted(far.numbers()[-150:])
        assert len(tail) - 2 <= tail[-1] - tail[0] + 1 <= len(tail) + 2 and len(set(far)) == len(far)
    def left() -> object:
        found = mroutes(site, "blue-left").get(key)
        return found is None or found[2] == []

    wait_until(left, "nobody wants it any more", 60)


@pytest.mark.slow
def test_a_stream_outlives_the_daemons_keepalive(site):
    """PIM takes a route away of which the kernel has seen no packet for that long (RFC 7761, 4.11)."""
    keepalive, group = 40, "239.2.2.3"
    pim = "          pim: &pim {rp: [10.0.0.1, 2001:db8:0:1::1], hello: 5}\n"
    timer = f'          frr: "router pim\\n keep-alive-timer {keepalive}\\nexit"\n'
    site.write(TOPOLOGY.replace(pim, pim + timer))
    site.up()
    punted: list[int] = []
    with receiver(site.namespace("blue-b"), group) as arrived, sender(site.namespace("blue-a"), group):
        flows(arrived, seconds=200)
        wait_until(lambda: mroutes(site, "blue-left").get((SENDER[False], group), ("",))[0] == "multicast",
                   "the route is in hardware")
        begin, reached = forwarded(site, "blue")[0], len(arrived)
        for _ in range(3 * keepalive):
            threading.Event().wait(1.0)
            assert (SENDER[False], group) in mroutes(site, "blue-left")
            punted.append(counters(site, "blue-left").get(("p1", "punt_group"), 0))
        copies, came = forwarded(site, "blue")[0] - begin, len(arrived) - reached
        assert copies > 0.95 * came             # by the hardware but for a few
        assert 0 < punted[-1] - punted[0] < 0.05 * came
        assert len(set(arrived)) == len(arrived)
        numbers = sorted(arrived.numbers())
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
    site.write(TOPOLOGY)
    site.up()
