"""A router's container becomes files, and a container of another name goes on: its neighbour sees no difference."""

import json
import os
import shutil
import signal
import time
import uuid
from pathlib import Path

import pytest
from polyrouter.host.fabric import Fabric, remove_namespace
from polyrouter.host.migration.layer import extract, pack
from polyrouter.host.migration.replica import DUMPS, Replica, apply
from polyrouter.host.mirror.netlink import MirrorSocket
from polyrouter.host.netns import in_namespace
from polyrouter.host.runtime.base import ContainerError, ContainerSpec, RouterId, State
from polyrouter.host.runtime.checkpoint import Checkpoints
from polyrouter.host.runtime.mounts import mount, umount
from polyrouter.host.runtime.runc import RuncRuntime
from polyrouter.host.runtime.sockets import memberships
from pyroute2 import IPRoute

from .test_runtime import assert_nothing_left, until

pytestmark = [pytest.mark.root, pytest.mark.image]

CONFIG = """\
ip route 172.{vr}.0.0/24 Null0
interface eth0
 ip address 10.0.0.{vr}/24
 ip ospf area 0
 ip ospf hello-interval 1
 ip ospf dead-interval 4
exit
router ospf
 ospf router-id 192.0.2.{vr}
exit
router bgp 6500{vr}
 no bgp ebgp-requires-policy
 timers bgp 1 4
 neighbor 10.0.0.{peer} remote-as 6500{peer}
 address-family ipv4 unicast
  redistribute static
 exit-address-family
exit
"""


def fill(namespace, fabric, outer, vr, ifindex=0, known=None):
    """A router's interface, as its agent would make it; and what its kernel knew."""
    descriptor = os.open(namespace, os.O_RDONLY)
    try:
        fabric.route.link("add", ifname=outer, kind="veth", peer={
            "ifname": "eth0", "address": f"02:00:00:00:00:0{vr}", "net_ns_fd": descriptor, "index": ifindex})
    finally:
        os.close(descriptor)
    fabric.ensure_bridge("br0", [outer])
    fabric.route.link("set", index=fabric.route.link_lookup(ifname=outer)[0], state="up")

    def inside():
        with IPRoute() as route:
            for name in ("lo", "eth0"):
                route.link("set", index=route.link_lookup(ifname=name)[0], state="up")
            if known is not None:
                apply(known)
            return route.link_lookup(ifname="eth0")[0]

    return in_namespace(namespace, inside)


def show(runtime, id, command):
    return json.loads(runtime.exec(id, ["vtysh", "-c", f"show {command} json"]).stdout)


def neighbour(runtime, id):
    """State of its only OSPF neighbour, and for how many ms that has been there."""
    for rows in show(runtime, id, "ip ospf neighbor")["neighbors"].values():
        return rows[0]["converged"], rows[0]["upTimeInMsec"]
    return None, 0


def session(runtime, id):
    """State of its only BGP session, for how many ms, and how often it was made."""
    for row in show(runtime, id, "bgp neighbor").values():
        return row["bgpState"], row.get("bgpTimerUpMsec", 0), row["connectionsEstablished"]
    return None, 0, 0


@pytest.fixture(scope="module")
def runtime(directories):
    runtime = RuncRuntime(*directories)
    yield runtime
    for status in runtime.list():
        runtime.delete(status.id)
    for owner in runtime._ranges.owners().values():
        runtime._ranges.release(owner)


@pytest.fixture(scope="module")
def lab(runtime):
    """Two routers, and the name of a third."""
    network = f"t{uuid.uuid4().hex[:10]}"
    ids = [RouterId(network, "n", vr) for vr in (1, 2)]
    with Fabric(f"f{network}") as fabric:
        fabric.ensure_namespace()
        try:
            for id in ids:
                runtime.create(ContainerSpec(id, CONFIG.format(vr=id.vr, peer=3 - id.vr),
                                             frozenset({"ospfd", "bgpd"})))
                fill(runtime.netns(id), fabric, f"o{id.vr}", id.vr)
                runtime.start(id)
            for id in ids:
                runtime.wait_ready(id)
            until(lambda: all(neighbour(runtime, id)[0] == "Full" and session(runtime, id)[0] == "Established"
                              for id in ids), 60)
            yield fabric, *ids, RouterId(network, "other", 7)
        finally:
            for status in runtime.list(network):
                runtime.delete(status.id)
            remove_namespace(fabric.namespace)


@pytest.fixture
def images(runtime):
    path = runtime.state_dir / f"images-of-{uuid.uuid4().hex[:6]}"
    path.mkdir()
    yield path
    shutil.rmtree(path)


def test_a_frozen_router_goes_on(runtime, criu, lab):
    _, peer, id, _ = lab
    checkpoints = Checkpoints(runtime, criu)
    before = memberships(runtime.cgroups.pids(id))
    assert {item.group for item in before} >= {"224.0.0.5", "224.0.0.6"}
    sockets = checkpoints.loosen(id)
    checkpoints.freeze(id)
    assert runtime.status(id).state is State.PAUSED
    assert sockets.multicast == before
    assert sockets.netlink, "zebra is in groups that CRIU refuses"
    with pytest.raises(ContainerError, match="it is paused"):
        checkpoints.loosen(id)
    checkpoints.thaw(id, sockets)
    assert runtime.status(id).state is State.RUNNING
    again = checkpoints.loosen(id)
    checkpoints.thaw(id, again)
    assert again == sockets
    assert session(runtime, peer)[2] == 1


def test_a_dump_that_fails_leaves_the_router_as_it_is(runtime, criu, lab, images):
    _, peer, id, _ = lab
    checkpoints = Checkpoints(runtime, criu)
    sockets = checkpoints.loosen(id)
    mount("tmpfs", images, "tmpfs", "size=1m")      # a disk that is full
    try:
        with pytest.raises(ContainerError, match=r"checkpoint: .*No space left on device"):
            checkpoints.dump(id, images)
    finally:
        umount(images)
        checkpoints.thaw(id, sockets)
    assert session(runtime, id)[0] == "Established"
    assert session(runtime, peer)[2] == 1


def test_a_copy_goes_on(runtime, criu, lab, images):
    fabric, peer, id, other = lab
    checkpoints = Checkpoints(runtime, criu)
    adjacency, session_before = neighbour(runtime, peer), session(runtime, peer)
    description = type(checkpoints.describe(id)).model_validate_json(checkpoints.describe(id).model_dump_json())
    runtime.exec(id, ["sh", "-c", "echo kept >/root/file; rm /etc/issue"])
    checkpoints.reserve(other, description)
    sockets = checkpoints.loosen(id)
    told = []
    checkpoints.dump(id, images, lambda: told.append(runtime.cgroups.frozen(id)), told.append)
    assert told[0] is True and set(told[1:]) == set(images.iterdir())
    assert runtime.status(id).state is State.PAUSED
    archive = images.with_suffix(".tar")
    archive.write_bytes(b"".join(pack(checkpoints.upper(id))))
    extract(checkpoints.upper(other), archive)
    archive.unlink()
    ifindex = in_namespace(runtime.netns(id), lambda: _ifindex("eth0"))
    known = Replica()
    mirror = MirrorSocket(runtime.netns(id))
    for kind, message in DUMPS.items():
        known.replace(message, mirror.dump_raw(kind))
    mirror.close()
    fabric.remove_link("o2")
    restoring = checkpoints.restore(other, description, images,
                                    lambda path: fill(path, fabric, "o7", 2, ifindex, known))
    restoring.go()
    checkpoints.complete(other, sockets)
    restoring.end()
    uid = runtime.status(id).uid_base
    runtime.delete(id)
    runtime.take_ids(other, str(id))
    # It was killed while it was frozen, without having been itself again.
    assert runtime.status(id).state is State.ABSENT and str(id) not in runtime._ranges.owners().values()

    assert runtime.status(other).state is State.RUNNING and runtime.status(other).uid_base == uid
    assert runtime.exec(other, ["cat", "/root/file"]).stdout == "kept\n"
    assert runtime.exec(other, ["ls", "/etc/issue"]).returncode != 0
    assert memberships(runtime.cgroups.pids(other)) == sockets.multicast
    # Longer than all that would have ended without it.
    begin = time.monotonic()
    until(lambda: time.monotonic() - begin > 6.0)
    for (state, up, *count), (_, was, *count_was) in ((neighbour(runtime, peer), adjacency),
                                                      (session(runtime, peer), session_before)):
        assert state in ("Full", "Established") and up >= was + 5000 and count == count_was
    # A route that it learns now gets to its kernel.
    runtime.exec(peer, ["vtysh", "-c", "configure", "-c", "ip route 198.51.100.0/24 Null0"])
    until(lambda: "198.51.100.0" in runtime.exec(other, ["ip", "route"]).stdout)
    runtime.delete(other)
    assert_nothing_left(runtime, other, uid)


def test_a_restore_that_fails_leaves_nothing_when_it_is_deleted(runtime, criu, lab, images):
    _, peer, _, other = lab
    checkpoints = Checkpoints(runtime, criu)
    checkpoints.reserve(other, checkpoints.describe(peer))
    called = []
    with pytest.raises(ContainerError, match="restore"):
        checkpoints.restore(other, checkpoints.describe(peer), images, called.append).go()
    assert not called
    uid = runtime.status(peer).uid_base
    runtime.delete(other)
    assert runtime.status(other).state is State.ABSENT
    assert not runtime.directory(other).exists()
    assert runtime.status(peer).uid_base == uid and runtime.status(peer).state is State.RUNNING


def test_a_network_that_can_t_be_made_ends_the_restore(runtime, criu, lab, images):
    _, peer, _, other = lab
    checkpoints = Checkpoints(runtime, criu)
    checkpoints.reserve(other, checkpoints.describe(peer))
    sockets = checkpoints.loosen(peer)
    try:
        checkpoints.dump(peer, images)
    finally:
        checkpoints.thaw(peer, sockets)

    def refuse(_: Path) -> None:
        raise LookupError("no such bridge")

    with pytest.raises(LookupError, match="no such bridge"):
        checkpoints.restore(other, checkpoints.describe(peer), images, refuse).go()
    runtime.delete(other)
    assert not runtime.directory(other).exists()
    assert runtime.cgroups.groups(other) == []


def test_a_name_that_is_taken(runtime, criu, lab):
    _, peer, _, _ = lab
    checkpoints = Checkpoints(runtime, criu)
    with pytest.raises(ContainerError, match="it is running; delete it first"):
        checkpoints.reserve(peer, checkpoints.describe(peer))
    os.kill(runtime.status(peer).pid, signal.SIGCONT)       # it is there as before


def _ifindex(name):
    with IPRoute() as route:
        return route.link_lookup(ifname=name)[0]
