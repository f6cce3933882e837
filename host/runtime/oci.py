"""The OCI run-time configuration (config.json, runtime-spec 1.0.2) of a virtual router's container."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .base import Limits
from .idrange import SIZE

__all__ = ["CAPABILITIES", "CPU_PERIOD", "SYSCTLS", "bounding_set", "config", "resources"]

#: What FRR, its scripts and the usual tools need. All hold in the container's own user namespace only.
CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
)
_NUMBERS = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_FOWNER": 3,
    "CAP_FSETID": 4,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_ADMIN": 21,
}

#: Microseconds over which a share of a core is counted.
CPU_PERIOD = 100_000

_PER_INTERFACE = {
    # A path may be asymmetric: what comes in need not go out there.
    "rp_filter": "0",
    "accept_redirects": "0",
    "secure_redirects": "0",
    "send_redirects": "0",
    "accept_source_route": "0",
    # Several ports may be on one segment; each answers and asks for its own addresses only.
    "arp_ignore": "1",
    "arp_announce": "2",
    # Neighbours learn at once when a router comes back with another MAC address.
    "arp_notify": "1",
    "ignore_routes_with_linkdown": "0",
}

_PER_INTERFACE_IPV6 = {
    "disable_ipv6": "0",
    "accept_ra": "0",
    "autoconf": "0",
    "accept_redirects": "0",
    "accept_dad": "0",
}

#: Set in every container. The neighbour table's garbage collector can't be set per namespace (gc_thresh*).
SYSCTLS: Mapping[str, str] = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv6.conf.default.forwarding": "1",
    # Addresses follow from the topology file, and no two members of a network have the same: nothing to look for.
    **{f"net.ipv6.conf.{scope}.{key}": value for scope in ("all", "default")
       for key, value in _PER_INTERFACE_IPV6.items()},
    # By addresses and ports, as the hardware's flow hash does, and not to a neighbour known to be gone.
    "net.ipv4.fib_multipath_hash_policy": "1",
    "net.ipv4.fib_multipath_use_neigh": "1",
    # OSPF joins two groups on each interface; the kernel's default of 20 is soon used up.
    "net.ipv4.igmp_max_memberships": "1000",
    **{f"net.ipv4.conf.{scope}.{key}": value for scope in ("all", "default") for key, value in _PER_INTERFACE.items()},
}

_MASKED = (
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
)
# Not /proc/sys: a router's network sysctls are its own business, and the kernel refuses it all others.
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sysrq-trigger")


def bounding_set(status: str | None = None) -> frozenset[str]:
    """Those of `CAPABILITIES` that this process may hand on; `status` replaces /proc/self/status."""
    text = Path("/proc/self/status").read_text() if status is None else status
    bits = int(text.split("CapBnd:")[1].split()[0], 16)
    return frozenset(name for name in CAPABILITIES if bits >> _NUMBERS[name] & 1)


def resources(limits: Limits, supported: frozenset[str], swap: bool) -> dict[str, Any]:
    """Limits as runc wants them, at creation and for an update.

    Parameters
    ----------
    limits : Limits
    supported : frozenset of str
        Kinds that the machine has a controller for; the others are left out, since runc fails on them.
    swap : bool
        Whether swap can be limited: to nothing, so that a limit on memory is one.
    """
    found: dict[str, Any] = {}
    if "memory" in supported:
        amount = -1 if limits.memory_bytes is None else limits.memory_bytes
        found["memory"] = {"limit": amount, "swap": amount} if swap else {"limit": amount}
    if "cpu" in supported:
        quota = -1 if limits.cpus is None else max(1000, round(limits.cpus * CPU_PERIOD))
        found["cpu"] = {"quota": quota, "period": CPU_PERIOD}
    if "pids" in supported:
        found["pids"] = {"limit": -1 if limits.pids is None else limits.pids}
    return found


def config(
    *,
    rootfs: Path,
    args: list[str],
    hostname: str,
    first_id: int,
    cgroup_path: str,
    cgroup_namespace: bool,
    sysfs: bool,
    capabilities: frozenset[str],
    sysctls: Mapping[str, str],
    resources: Mapping[str, Any],
    annotations: Mapping[str, str],
) -> dict[str, Any]:
    """The configuration as an object ready for JSON.

    Parameters
    ----------
    rootfs : Path
        Mounted root file system, whose files belong to the container's ids.
    args : list of str
        First process.
    hostname : str
    first_id : int
        The machine's id that is 0 in the container.
    cgroup_path : str
    cgroup_namespace : bool
    sysfs : bool
        Whether /sys can be mounted in a new user namespace; an empty directory is there if not.
    capabilities : frozenset of str
    sysctls, resources, annotations : mapping
    """
    mapping = [{"containerID": 0, "hostID": first_id, "size": SIZE}]
    kinds = ["user", "mount", "pid", "uts", "ipc", "network"] + (["cgroup"] if cgroup_namespace else [])
    held = sorted(capabilities)
    tmpfs = ["nosuid", "nodev"]
    mounts: list[dict[str, Any]] = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": [*tmpfs, "noexec"]},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=64k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {
            "destination": "/dev/shm",
            "type": "tmpfs",
            "source": "shm",
            "options": [*tmpfs, "noexec", "mode=1777", "size=16m"],
        },
        {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": [*tmpfs, "mode=755", "size=16m"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": [*tmpfs, "mode=1777", "size=64m"]},
    ]
    if sysfs:
        mounts.append(
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*tmpfs, "noexec", "ro"]},
        )
    return {
        "ociVersion": "1.0.2",
        "root": {"path": str(rootfs), "readonly": False},
        "hostname": hostname,
        "annotations": dict(annotations),
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "cwd": "/",
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME=/root",
                "LANG=C.UTF-8",
                "TERM=xterm",
                # vtysh would page its output also when nobody is there to turn the pages.
                "VTYSH_PAGER=cat",
            ],
            "capabilities": {kind: held for kind in ("bounding", "effective", "permitted")},
            "noNewPrivileges": True,
        },
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": kind} for kind in kinds],
            "uidMappings": mapping,
            "gidMappings": mapping,
            "cgroupsPath": cgroup_path,
            "resources": {"devices": [{"allow": False, "access": "rwm"}], **resources},
            "sysctl": dict(sysctls),
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READONLY),
        },
    }
