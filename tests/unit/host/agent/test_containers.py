"""What is done to a container, and in which order, for each change of its router."""

from pathlib import Path

import pytest
from polyrouter.host.agent.containers import RouterContainers
from polyrouter.host.agent.events import EventLog
from polyrouter.host.runtime.base import RouterId
from polyrouter.host.spec import LimitSpec, PortSpec, RouterSpec

ID = RouterId("net", "n1", 3)


class Fabric:
    """Interfaces that there are, and what was done."""

    def __init__(self, done):
        self.done, self.there = done, {}

    def ensure_veth(self, outer, inner, namespace, mac, mtu):
        assert namespace == Path("/netns")
        if outer in self.there:
            return False
        self.there[outer] = (inner, mac, mtu)
        self.done.append(f"veth {outer}")
        return True

    def remove_link(self, name):
        there = self.there.pop(name, None) is not None
        if there:
            self.done.append(f"no {name}")
        return there


class Runtime:
    def __init__(self, done, supported):
        self.done, self.supported_limits, self.spec = done, frozenset(supported), None

    def netns(self, id):
        assert id == ID
        return Path("/netns")

    def delete(self, id):
        self.done.append("delete")

    def create(self, spec):
        assert spec.id == ID
        self.spec = spec
        self.done.append("create")

    def start(self, id):
        self.done.append("start")

    def set_limits(self, id, limits):
        self.done.append(f"pids {limits.pids}")

    def reload_config(self, id, config):
        self.done.append(f"reload {config}")


def limits(pids: int, memory: int = 32 << 20) -> LimitSpec:
    return LimitSpec(pids=pids, memory=memory, cpus=1)


def router(**changes) -> RouterSpec:
    ports = [PortSpec(name=f"eth{k}", outer=f"o{k}", mac=f"02:00:00:00:00:0{k}", mtu=1500, port=k, addresses=[],
                      guard=False, peers=[]) for k in range(2)]
    return RouterSpec(**{"name": "r3", "network": "net", "number": 3, "image": "frr", "limits": limits(50),
                         "fib_words": 64, "adjacencies": 8, "ports": ports, "frr": "one", "daemons": ["zebra"],
                         **changes})


@pytest.fixture
def made(tmp_path):
    done: list[str] = []
    runtime, fabric = Runtime(done, {"pids"}), Fabric(done)
    events = EventLog(tmp_path / "events.jsonl")
    return RouterContainers(runtime, events), runtime, fabric, done, tmp_path / "events.jsonl"


def test_interfaces_are_there_before_it_starts(made):
    containers, runtime, fabric, done, _ = made
    containers.make(ID, router(), fabric)
    assert done == ["delete", "create", "veth o0", "veth o1", "start"]
    assert runtime.spec.limits.pids == 50 and runtime.spec.sysctls["net.ipv4.ip_forward"] == "1"
    done.clear()
    containers.make(ID, router(mode="bridged"), fabric)
    assert done == ["delete", "no o0", "no o1", "create", "veth o0", "veth o1", "start"]
    assert runtime.spec.sysctls["net.ipv6.conf.all.disable_ipv6"] == "1"


def test_a_limit_that_cannot_be_enforced_is_told_and_left_out(made):
    containers, runtime, fabric, _, log = made
    containers.make(ID, router(limits=limits(50, memory=64 << 20)), fabric)
    assert runtime.spec.limits.memory_bytes is None and runtime.spec.limits.pids == 50
    assert "limit skipped" in log.read_text()


def test_only_what_differs_is_changed(made):
    containers, _, fabric, done, _ = made
    old = router()
    containers.make(ID, old, fabric)
    done.clear()
    assert not containers.change(ID, old, router(), fabric) and not done
    assert not containers.change(ID, old, router(frr="two", limits=limits(7)), fabric)
    assert done == ["pids 7", "reload two"]
    done.clear()
    ports = [old.ports[0].model_copy(update={"mtu": 9000})]
    assert containers.change(ID, old, router(ports=ports), fabric)
    assert done == ["no o0", "no o1", "veth o0"] and fabric.there["o0"][2] == 9000
    done.clear()
    containers.remove(ID, router(ports=ports), fabric)
    assert done == ["delete", "no o0"]


@pytest.mark.parametrize("changes, new", [
    ({}, False), ({"frr": "two"}, False), ({"image": "other"}, True), ({"daemons": ["zebra", "bgpd"]}, True),
    ({"mode": "bridged"}, True)])
def test_what_takes_a_new_container(changes, new):
    assert RouterContainers.must_be_new(router(), router(**changes)) == new
