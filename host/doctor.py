"""What a machine must have to run networks, and what to do about what it lacks."""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from .lanes.features import FEATURES, missing_features
from .paths import state_dir
from .runtime.cgroup import Cgroups
from .runtime.criu import find_criu
from .runtime.image import Images
from .runtime.rootfs import Lower, probe

__all__ = ["Check", "check_all"]

_AS_ROOT = "run it as root: without root this can't be found out"

#: Program -> Debian package.
_PROGRAMS = {"runc": "runc", "mmdebstrap": "mmdebstrap", "ip": "iproute2", "ping": "iputils-ping",
             "traceroute": "traceroute", "iperf3": "iperf3", "g++": "g++", "make": "make", "unshare": "util-linux",
             "setpriv": "util-linux"}
_LINK_KINDS = {
    "veth": "virtual Ethernet pairs (CONFIG_VETH)",
    "bridge": "bridges (CONFIG_BRIDGE)",
    "tuntap": "TAP interfaces (CONFIG_TUN)",
}


@dataclass(frozen=True)
class Check:
    """One requirement."""

    what: str
    ok: bool
    found: str
    advice: str = ""
    needed: bool = True

    def as_dict(self) -> dict[str, str | bool]:
        """By field, for JSON."""
        return asdict(self)


def check_all() -> list[Check]:
    """All requirements, each looked at."""
    checks: list[Check] = []
    for group in (_process, _programs, _python, _kernel, _software_lane, _cgroups, _root_file_systems, _image, _criu):
        try:
            checks += group()
        except PermissionError as error:
            checks.append(Check(group.__name__.strip("_").replace("_", " "), False,
                                f"no access to {error.filename}", _AS_ROOT))
        except Exception as error:      # what can't be found out is not there
            checks.append(Check(group.__name__.strip("_").replace("_", " "), False, f"{type(error).__name__}: {error}",
                                "see the message"))
    return checks


def _process() -> Iterator[Check]:
    root = os.geteuid() == 0
    yield Check("root", root, f"user id {os.geteuid()}", "run it as root, for instance with sudo")
    version = sys.version_info
    yield Check("Python 3.11 or later", version >= (3, 11), f"{version.major}.{version.minor}.{version.micro}",
                "install Debian 12 or later")


def _programs() -> Iterator[Check]:
    for program, package in _PROGRAMS.items():
        path = shutil.which(program)
        yield Check(f"program {program}", path is not None, path or "not in PATH", f"apt-get install {package}")


def _python() -> Iterator[Check]:
    try:
        requirements = importlib.metadata.requires("polyrouter") or []
    except importlib.metadata.PackageNotFoundError:
        yield Check("Python packages", False, "polyrouter is not installed", "run: make venv")
        return
    names = [line.split(";")[0] for line in requirements if "extra ==" not in line]
    missing = []
    for name in names:
        bare = name.split("[")[0].split("<")[0].split(">")[0].split("=")[0].split("!")[0].strip()
        try:
            importlib.metadata.version(bare)
        except importlib.metadata.PackageNotFoundError:
            missing.append(bare)
    found = f"lacks {', '.join(missing)}" if missing else f"all {len(names)} are there"
    yield Check("Python packages", not missing, found, "run: make venv")


def _works(*command: str) -> tuple[bool, str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    return done.returncode == 0, (done.stderr or done.stdout).strip().splitlines()[-1] if done.returncode else "works"


def _kernel() -> Iterator[Check]:
    root = os.geteuid() == 0
    ok, found = _works("unshare", "--net", "true")
    yield Check("network namespaces", ok, found, "use a kernel with CONFIG_NET_NS" if root else _AS_ROOT)
    ok, found = _works("unshare", "--user", "--map-root-user", "true")
    yield Check("user namespaces", ok, found, "sysctl user.max_user_namespaces=10000, and a kernel with CONFIG_USER_NS")
    for kind, what in _LINK_KINDS.items():
        make = {"veth": "ip link add prtest0 type veth peer name prtest1", "bridge": "ip link add prtest0 type bridge",
                "tuntap": "ip tuntap add prtest0 mode tap"}[kind]
        ok, found = _works("unshare", "--net", "sh", "-c", make)
        module = "tun" if kind == "tuntap" else kind
        yield Check(what, ok, found, f"modprobe {module}, or another kernel" if root else _AS_ROOT)
    tun = Path("/dev/net/tun")
    usable = tun.exists() and os.access(tun, os.R_OK | os.W_OK)
    yield Check("/dev/net/tun", usable, "usable" if usable else "not usable",
                _AS_ROOT if tun.exists() and not root else
                "mkdir -p /dev/net; mknod /dev/net/tun c 10 200, or give the container that device")


def _software_lane() -> Iterator[Check]:
    root = os.geteuid() == 0
    missing = missing_features() if root else dict.fromkeys(FEATURES, "not looked at")
    for feature, remedy in FEATURES.items():
        advice = f"{remedy}; until then VNICs that need it can be in the hardware lane only" if root else _AS_ROOT
        yield Check(f"VNICs in software: {feature}", feature not in missing, missing.get(feature, "works"), advice,
                    needed=False)


def _cgroups() -> Iterator[Check]:
    limits = Cgroups.detect().limits
    for limit, controller in (("memory", "memory"), ("cpu", "cpu"), ("pids", "pids")):
        there = limit in limits
        yield Check(f"control groups: limits of {limit}", there, "works" if there else "not available",
                    f"mount or delegate the {controller} controller; until then these limits are skipped", needed=False)


def _root_file_systems() -> Iterator[Check]:
    images = state_dir() / "images"
    images.mkdir(parents=True, exist_ok=True)
    support = probe(images, state_dir())
    yield Check("id-mapped mounts", support.lower is not Lower.COPIED, support.lower.name.lower(),
                "Linux 5.19 or later and a file system that has them; until then images are copied once more",
                needed=False)
    ok = "overlay" in Path("/proc/filesystems").read_text() or _works("modprobe", "overlay")[0]
    yield Check("overlay file system", ok, "available" if ok else "not available",
                "modprobe overlay, or a kernel with CONFIG_OVERLAY_FS")


def _image() -> Iterator[Check]:
    images = Images(state_dir())
    exists = images.exists()
    yield Check("image 'default'", exists, f"FRR {images.describe().frr_version}" if exists else "not built",
                "run: polyrouter image build")


def _criu() -> Iterator[Check]:
    found = find_criu(state_dir())
    if found is None:
        yield Check("CRIU", False, "there is none", "polyrouter image criu; without it, routers move by a restart",
                    needed=False)
        return
    problem = found.problem()
    what = f"{found.program}, {'.'.join(map(str, found.version))}" if problem is None else problem
    yield Check("CRIU", problem is None, what, "polyrouter image criu; without it, routers move by a restart",
                needed=False)
