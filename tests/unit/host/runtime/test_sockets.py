"""Memberships of sockets of another process, in a network namespace of its own. Needs root."""

import json
import os
import subprocess
import sys

import pytest
from polyrouter.host.runtime.sockets import (
    join_groups,
    join_netlink_groups,
    leave_netlink_groups,
    memberships,
)

pytestmark = pytest.mark.root

#: Tells its sockets, then does as it is told: "drop" leaves the multicast groups; then it lists its netlink groups.
OTHER = r"""
import json, socket, struct, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
subprocess.run(["ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"], check=True)
for name in ("v0", "v1"):
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
subprocess.run(["ip", "addr", "add", "10.0.0.1/24", "dev", "v0"], check=True)
index = socket.if_nametoindex("v0")
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 89)
other = socket.socket(socket.AF_INET, socket.SOCK_RAW, 89)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", 520))
raw6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 89)
def mreq(group, index):
    return struct.pack("=4s4si", socket.inet_aton(group), bytes(4), index)
joined = [(raw, "224.0.0.5"), (raw, "224.0.0.6"), (udp, "224.0.0.9")]
for sock, group in joined:
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, mreq(group, index))
member6 = socket.inet_pton(socket.AF_INET6, "ff02::5") + struct.pack("=i", index)
raw6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member6)
netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
netlink.bind((0, 0))
for group in (1, 7, 33, 34):
    netlink.setsockopt(270, 1, group)
print(json.dumps({"index": index, "raw": raw.fileno(), "udp": udp.fileno(), "raw6": raw6.fileno(),
                  "netlink": netlink.fileno()}), flush=True)
for line in sys.stdin:
    if line.strip() == "drop":
        for sock, group in joined:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, mreq(group, index))
        raw6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_LEAVE_GROUP, member6)
    groups = int.from_bytes(netlink.getsockopt(270, 9, 64), "little")
    print(json.dumps([bit + 1 for bit in range(512) if groups >> bit & 1]), flush=True)
"""


@pytest.fixture
def other():
    process = subprocess.Popen(["unshare", "--net", sys.executable, "-c", OTHER], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    with process:
        yield process, json.loads(process.stdout.readline())
        process.kill()


def tell(process, what):
    process.stdin.write(what + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def members(process):
    return sorted((item.descriptor, item.group, item.ifindex) for item in memberships([process.pid]))


def test_memberships_are_found_by_socket_and_made_again(other):
    process, its = other
    index = its["index"]
    expected = sorted([(its["raw"], "224.0.0.5", index), (its["raw"], "224.0.0.6", index),
                       (its["udp"], "224.0.0.9", index), (its["raw6"], "ff02::5", index)])
    found = memberships([process.pid])
    assert members(process) == expected
    tell(process, "drop")
    assert members(process) == []
    join_groups([process.pid], found)
    assert members(process) == expected
    join_groups([process.pid], found)       # they are members already
    assert members(process) == expected


def test_only_high_netlink_groups_are_left(other):
    process, its = other
    assert tell(process, "") == [1, 7, 33, 34]
    left = leave_netlink_groups([process.pid])
    assert [(item.descriptor, item.group) for item in left] == [(its["netlink"], 33), (its["netlink"], 34)]
    assert tell(process, "") == [1, 7]
    join_netlink_groups([process.pid], left)
    assert tell(process, "") == [1, 7, 33, 34]


def test_a_process_that_is_not_there(other):
    process, _ = other
    found = memberships([process.pid])
    with pytest.raises(ProcessLookupError, match="no process"):
        join_groups([os.getpid()], [item.model_copy(update={"pid": 1 << 22}) for item in found])
