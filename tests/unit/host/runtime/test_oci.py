import json
from pathlib import Path

import pytest
from polyrouter.host.runtime import oci
from polyrouter.host.runtime.base import Limits

ALL = frozenset({"memory", "cpu", "pids"})


def _config(**changes):
    given = {
        "rootfs": Path("/somewhere/rootfs"),
        "args": ["/init"],
        "hostname": "n1-3",
        "first_id": 0x7000_0000,
        "cgroup_path": "/polyrouter/lab/n1-3",
        "cgroup_namespace": False,
        "sysfs": True,
        "capabilities": frozenset(oci.CAPABILITIES),
        "sysctls": oci.SYSCTLS,
        "resources": oci.resources(Limits(pids=9), frozenset({"pids"}), False),
        "annotations": {"org.example": "x"},
    }
    return json.loads(json.dumps(oci.config(**(given | changes))))


def test_isolation():
    config = _config()
    linux = config["linux"]
    assert {n["type"] for n in linux["namespaces"]} == {"user", "mount", "pid", "uts", "ipc", "network"}
    assert all("path" not in n for n in linux["namespaces"])
    for kind in ("uidMappings", "gidMappings"):
        assert linux[kind] == [{"containerID": 0, "hostID": 0x7000_0000, "size": 65536}]
    assert linux["cgroupsPath"] == "/polyrouter/lab/n1-3"
    assert linux["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert linux["resources"]["pids"] == {"limit": 9}
    assert config["process"]["noNewPrivileges"]
    # A sandbox without CAP_SYS_RESOURCE refuses them, and CRIU a terminal.
    assert "rlimits" not in config["process"]
    assert not config["process"]["terminal"]


def test_mounts():
    types = {m["destination"]: m["type"] for m in _config()["mounts"]}
    assert types["/proc"] == "proc"
    assert types["/run"] == types["/tmp"] == types["/dev"] == "tmpfs"
    sys = next(m for m in _config()["mounts"] if m["destination"] == "/sys")
    assert "ro" in sys["options"]
    assert "/sys" not in {m["destination"] for m in _config(sysfs=False)["mounts"]}


def test_cgroup_namespace():
    assert {"type": "cgroup"} in _config(cgroup_namespace=True)["linux"]["namespaces"]


def test_router_sysctls():
    sysctls = _config()["linux"]["sysctl"]
    assert sysctls["net.ipv4.ip_forward"] == "1"
    # The kernel uses the larger of "all" and the interface's own, which starts as "default".
    assert sysctls["net.ipv4.conf.all.rp_filter"] == sysctls["net.ipv4.conf.default.rp_filter"] == "0"
    assert all(key.startswith("net.") and isinstance(value, str) for key, value in sysctls.items())


def test_capabilities_are_cut_to_the_bounding_set():
    net_admin, chown, sys_resource = 1 << 12, 1 << 0, 1 << 24
    held = oci.bounding_set(f"CapEff:\t0\nCapBnd:\t{net_admin | chown | sys_resource:016x}\nCapAmb:\t0\n")
    assert held == {"CAP_NET_ADMIN", "CAP_CHOWN"}
    given = _config(capabilities=held)["process"]["capabilities"]
    assert given == {kind: ["CAP_CHOWN", "CAP_NET_ADMIN"] for kind in ("bounding", "effective", "permitted")}
    assert oci.bounding_set("CapBnd:\tffffffffffffffff\n") == set(oci.CAPABILITIES)


def test_resources():
    limits = Limits(memory_bytes="64M", cpus="0.25", pids=50)
    assert oci.resources(limits, ALL, True) == {
        "memory": {"limit": 2**26, "swap": 2**26},
        "cpu": {"quota": 25_000, "period": 100_000},
        "pids": {"limit": 50},
    }
    assert oci.resources(limits, frozenset({"memory"}), False) == {"memory": {"limit": 2**26}}
    assert oci.resources(Limits(), ALL, True) == {
        "memory": {"limit": -1, "swap": -1},
        "cpu": {"quota": -1, "period": 100_000},
        "pids": {"limit": -1},
    }


@pytest.mark.parametrize("cpus", [0.01, 0.0100001])
def test_smallest_quota_is_what_the_kernel_takes(cpus):
    assert oci.resources(Limits(cpus=cpus), ALL, False)["cpu"]["quota"] == 1000
