"""A namespace's kernel state, made again in another one: what iproute2 shows of both is the same. Needs root."""

import json
import random
import subprocess
import uuid
from pathlib import Path

import pytest
from polyrouter.host.fabric import create_namespace, namespace_path, remove_namespace
from polyrouter.host.migration.replica import DUMPS, ApplyError, Replica, apply
from polyrouter.host.mirror.netlink import MirrorSocket
from polyrouter.host.netns import in_namespace

pytestmark = pytest.mark.root

SETUP = """\
link set lo up
link add eth0 index 11 address 02:00:00:00:00:01 type veth peer name far0 index 12 address 02:00:00:00:00:03
link add eth1 index 13 address 02:00:00:00:00:02 type veth peer name far1 index 14 address 02:00:00:00:00:04
link set eth0 up
link set far0 up
link set eth1 up
link set far1 up
"""
STATE = """\
addr add 10.0.0.1/24 dev eth0
addr add 10.0.0.2/24 dev eth0
addr add 10.9.0.1/32 dev lo
addr add 10.1.0.1 peer 10.1.0.2/30 dev eth1
addr add 2001:db8::1/64 dev eth0 nodad
neigh add 10.0.0.9 lladdr 02:00:00:00:00:99 dev eth0 nud permanent
neigh add 10.0.0.10 lladdr 02:00:00:00:00:98 dev eth0 nud reachable
neigh add 2001:db8::9 lladdr 02:00:00:00:00:97 dev eth0 nud stale
nexthop add id 7 via 10.0.0.9 dev eth0 proto zebra
nexthop add id 8 via 10.0.0.10 dev eth0 proto zebra
nexthop add id 9 group 7,2/8,5 proto zebra
nexthop add id 10 blackhole proto zebra
nexthop add id 11 via 2001:db8::9 dev eth0 proto zebra
nexthop add id 12 via 172.16.0.1 dev eth1 onlink proto zebra
route add 192.0.2.0/24 nhid 7 proto ospf metric 20
route add 198.51.100.0/24 nhid 9 proto bgp metric 20
route add 203.0.113.0/24 nhid 10 proto static
route add 100.64.0.0/10 nhid 12 proto static
route add 10.5.0.0/16 via 10.0.0.9 proto static metric 100 src 10.0.0.2
route append 10.5.0.0/16 via 10.0.0.10 proto static metric 100
route add 10.6.0.0/16 proto static nexthop via 10.0.0.9 weight 3 nexthop via 10.1.0.2 weight 1
route add blackhole 10.7.0.0/16
route add unreachable 10.7.1.0/24 metric 5
route add default via 10.0.0.9 mtu 1400 advmss 1300
route add 10.8.0.0/16 via 10.0.0.9 table 1000
route add 10.0.0.0/8 via inet6 2001:db8::9 dev eth0
route add 2001:db8:1::/48 nhid 11 proto bgp
route add 2001:db8:2::/48 proto static nexthop via 2001:db8::9 dev eth0 nexthop via 2001:db8::8 dev eth0 weight 3
route add 2001:db8:3::/48 via 2001:db8::9 table 1000
rule add from 10.8.0.0/16 lookup 1000 priority 99
rule add iif eth1 lookup 1000 priority 100
"""


def ip(name, *arguments, text=None):
    command = ["ip", "-n", name, *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def with_ipv6():
    for setting in ("all/disable_ipv6", "default/disable_ipv6", "default/accept_dad"):
        Path("/proc/sys/net/ipv6/conf", setting).write_text("0")


@pytest.fixture
def two():
    names = [f"t{uuid.uuid4().hex[:8]}" for _ in range(2)]
    try:
        for name in names:
            create_namespace(name)
            in_namespace(namespace_path(name), with_ipv6)
            ip(name, "-batch", "-", text=SETUP)
        yield names
    finally:
        for name in names:
            remove_namespace(name)


def dumped(mirror, replica=None):
    replica = replica or Replica()
    for kind, message in DUMPS.items():
        replica.replace(message, mirror.dump_raw(kind))
    return replica


def state(name):
    """All that is there, but for what is the kernel's own and changes by itself."""
    found = {}
    for what in ("addr", "nexthop", "rule", "-6 rule", "neigh", "-6 neigh", "route show table all",
                 "-6 route show table all"):
        family, *words = ["", *what.split()] if not what.startswith("-6") else what.split()
        rows = json.loads(ip(name, *filter(None, [family]), "-j", "-d", *words))
        if words[0] == "neigh":
            rows = [{**row, "state": [value if value == "PERMANENT" else "known" for value in row["state"]]}
                    for row in rows if row.get("lladdr")]
        if words[0] == "addr":
            rows = [{"name": row["ifname"], "addresses": sorted(
                str(sorted(address.items())) for address in row["addr_info"] if address.pop("valid_life_time")
                 and address.pop("preferred_life_time") and address.pop("nodad", True))} for row in rows]
        for row in rows:
            row.pop("expires", None)
            row.pop("used", None)
        found[what] = sorted(json.dumps(row, sort_keys=True) for row in rows)
    return found


def test_all_of_it(two):
    ip(two[0], "-batch", "-", text=STATE)
    with_mirror(two[0], lambda mirror: in_namespace(namespace_path(two[1]), lambda: apply(dumped(mirror))))
    assert state(two[1]) == state(two[0])
    assert '"dst": "10.6.0.0/16"' in str(state(two[1]))
    # A second time changes nothing.
    with_mirror(two[0], lambda mirror: in_namespace(namespace_path(two[1]), lambda: apply(dumped(mirror))))
    assert state(two[1]) == state(two[0])


def with_mirror(name, function):
    mirror = MirrorSocket(namespace_path(name))
    try:
        return function(mirror)
    finally:
        mirror.close()


def steps(rng):
    """Commands that may fail."""
    for _ in range(120):
        net, hop, metric = rng.randrange(6), rng.choice(["10.0.0.9", "10.0.0.10", "10.1.0.2"]), rng.choice([0, 20])
        nhid = rng.choice([7, 8, 9, 12])
        yield rng.choice([
            f"route add 10.{20 + net}.0.0/16 via {hop} metric {metric}",
            f"route replace 10.{20 + net}.0.0/16 via {hop} metric {metric}",
            f"route append 10.{20 + net}.0.0/16 via {hop} metric {metric}",
            f"route del 10.{20 + net}.0.0/16 metric {metric}",
            f"route replace 10.{20 + net}.0.0/16 nhid {nhid} proto bgp metric {metric}",
            f"route replace 2001:db8:{net}::/48 nhid 11 metric 20",
            f"route del 2001:db8:{net}::/48",
            f"route add 2001:db8:{net}::/48 via 2001:db8::9 metric 20",
            f"route append 2001:db8:{net}::/48 via 2001:db8::8 dev eth0 metric 20",
            f"addr add 10.0.0.{100 + net}/24 dev eth0", f"addr del 10.0.0.{100 + net}/24 dev eth0",
            f"neigh replace 10.0.0.{20 + net} lladdr 02:00:00:00:01:0{net} dev eth0",
            f"neigh del 10.0.0.{20 + net} dev eth0",
            f"nexthop replace id {20 + net} via {hop} dev {'eth1' if hop == '10.1.0.2' else 'eth0'}",
            f"nexthop del id {20 + net}",
            f"nexthop replace id 30 group {7 + net % 2}/8"])


@pytest.mark.parametrize("seed", range(6))
def test_events_keep_it_as_a_dump_would_have_it(two, seed):
    ip(two[0], "-batch", "-", text=STATE)
    mirror = MirrorSocket(namespace_path(two[0]))
    dumps = compared = 0
    try:
        replica = dumped(mirror)
        mirror.discard()
        for step in steps(random.Random(seed)):
            subprocess.run(["ip", "-n", two[0], *step.split()], capture_output=True)
            while (data := mirror.receive()) is not None:
                replica.feed(data)
            if replica.unsure:      # it says so, and is dumped anew
                replica = dumped(mirror)
                dumps += 1
            else:
                assert requests(replica) == requests(dumped(mirror)), step
                compared += 1
    finally:
        mirror.close()
    assert compared > 100 and dumps < 20


def requests(replica):
    return {kind: sorted(filter(None, found)) for kind, found in replica.requests()}


def test_events_are_mostly_enough(two):
    """What zebra does: next-hop objects and routes by them, added, replaced and removed."""
    ip(two[0], "-batch", "-", text=STATE)
    mirror = MirrorSocket(namespace_path(two[0]))
    try:
        replica = dumped(mirror)
        mirror.discard()
        lines = [f"route add 10.{net}.{part}.0/24 nhid {7 + part % 2} proto bgp metric 20"
                 for net in range(20, 30) for part in range(100)]
        lines += [f"route replace 10.{net}.{part}.0/24 nhid 9 proto bgp metric 20" for net in range(20, 25)
                  for part in range(100)]
        lines += [f"route del 10.29.{part}.0/24 proto bgp metric 20" for part in range(100)]
        ip(two[0], "-batch", "-", text="\n".join(lines))
        while (data := mirror.receive()) is not None:
            replica.feed(data)
        assert not replica.unsure
        assert requests(replica) == requests(dumped(mirror))
    finally:
        mirror.close()


def test_a_refusal_is_told(two):
    ip(two[0], "-batch", "-", text=STATE)
    ip(two[1], "link", "del", "eth1")

    def move(mirror):
        replica = dumped(mirror)
        with pytest.raises(ApplyError, match="the kernel refuses an address: ipv4: Device not found"):
            in_namespace(namespace_path(two[1]), lambda: apply(replica))

    with_mirror(two[0], move)


def test_what_is_no_message_is_passed_over():
    replica = Replica()
    replica.feed(b"")
    replica.feed(bytes(7))
    replica.feed(bytes(64))
    replica.feed(b"\xff" * 64)
    assert len(replica) == 0
