"""Control groups of both versions: which there are, a container's, what it uses, and their removal.

runc makes and fills a container's groups; this finds, kills and removes what is left of them also when runc no longer
knows of the container.
"""

import errno
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from .base import RouterId, Usage
from .mounts import read_mounts

__all__ = ["Cgroups"]

_TOP = "polyrouter"
#: Limits, named like the controllers that enforce them in both versions.
_KINDS = frozenset({"memory", "cpu", "pids"})


class Cgroups(NamedTuple):
    """The machine's control groups.

    Attributes
    ----------
    version : int
        2 if /sys/fs/cgroup is the unified hierarchy, 1 if each controller has its own (also "hybrid"), 0 if none.
    hierarchies : tuple of Path
        Top directory of each hierarchy that runc makes groups in.
    controllers : dict
        Name of a controller to its hierarchy.
    flat : bool
        Whether this process is in the top group for processor time, as without a service manager.
    """

    version: int
    hierarchies: tuple[Path, ...]
    controllers: dict[str, Path]
    flat: bool = False

    @classmethod
    def detect(
        cls, mountinfo: str | None = None, top: Path = Path("/sys/fs/cgroup"), own: str | None = None
    ) -> "Cgroups":
        """Look at what is mounted, as runc does: `top` itself being version 2 decides.

        Parameters
        ----------
        mountinfo, own : str or None
            Replace /proc/self/mountinfo and /proc/self/cgroup.
        top : Path
        """
        lines = (Path("/proc/self/cgroup").read_text() if own is None else own).splitlines()
        fields = [line.split(":", 2) for line in lines]
        mounts = read_mounts(mountinfo)
        if any(m.fstype == "cgroup2" and m.point == str(top) for m in mounts):
            try:
                names = (top / "cgroup.controllers").read_text().split()
            except FileNotFoundError:
                names = []
            return cls(2, (top,), {name: top for name in names}, ["0", "", "/"] in fields)
        hierarchies: list[Path] = []
        controllers: dict[str, Path] = {}
        for m in mounts:
            if m.fstype not in ("cgroup", "cgroup2") or not Path(m.point).is_relative_to(top):
                continue
            if Path(m.point) not in hierarchies:
                hierarchies.append(Path(m.point))
            if m.fstype == "cgroup":
                for option in m.options.split(","):
                    if option in ("cpu", "cpuacct", "memory", "pids", "freezer", "devices"):
                        controllers[option] = Path(m.point)
        flat = any("cpu" in names.split(",") and path == "/" for _, names, path in fields)
        return cls(1 if controllers else 0, tuple(hierarchies), controllers, flat)

    @property
    def limits(self) -> frozenset[str]:
        """Which of "memory", "cpu" and "pids" can be limited."""
        return _KINDS & self.controllers.keys()

    @property
    def swap(self) -> bool:
        """Whether swap is limited together with memory; without, a memory limit only bounds what isn't swapped."""
        hierarchy = self.controllers.get("memory")
        if hierarchy is None:
            return False
        if self.version == 1:
            return (hierarchy / "memory.memsw.limit_in_bytes").exists()
        # The file isn't in the root group; the kernel has it in all others if it has it in one.
        return next(hierarchy.glob("*/memory.swap.max"), None) is not None

    @staticmethod
    def path(id: RouterId) -> str:
        """A container's group as runc is told it, from the top of each hierarchy."""
        return f"/{_TOP}/{id.network}/{id.node}-{id.vr}"

    def groups(self, id: RouterId) -> list[Path]:
        """The container's groups that exist."""
        found = [hierarchy / self.path(id)[1:] for hierarchy in self.hierarchies]
        return [group for group in found if group.is_dir()]

    def pids(self, id: RouterId) -> set[int]:
        """Processes in the container's groups, those of groups inside it too."""
        found: set[int] = set()
        for group in self.groups(id):
            for directory, _, _ in os.walk(group):
                # A group can vanish while it is read, and a threaded one refuses.
                with suppress(OSError):
                    found.update(int(line) for line in Path(directory, "cgroup.procs").read_text().split())
        found.discard(0)
        return found

    def freeze(self, id: RouterId, timeout: float = 10.0) -> None:
        """Stop all processes of the container, until `thaw`; they don't notice, but for the time.

        Raises
        ------
        OSError
            If there is no controller for it, or a process does not stop in time; all of them go on then.
        """
        self._set_frozen(id, True)
        end = time.monotonic() + timeout
        while not self.frozen(id):
            if time.monotonic() > end:
                self._set_frozen(id, False)
                raise OSError(errno.ETIMEDOUT, f"the processes of {id} could not be stopped within {timeout} s")
            time.sleep(0.0005)

    def thaw(self, id: RouterId) -> None:
        """Let the container's processes go on. Does nothing if it has none that are stopped."""
        if self.version == 2 or "freezer" in self.controllers:
            with suppress(FileNotFoundError):
                self._set_frozen(id, False)

    def frozen(self, id: RouterId) -> bool:
        """Whether all processes of the container are stopped."""
        try:
            if self.version == 2:
                return "frozen 1" in (self.hierarchies[0] / self.path(id)[1:] / "cgroup.events").read_text()
            return self._freezer(id).read_text().strip() == "FROZEN"
        except FileNotFoundError:
            return False

    def _set_frozen(self, id: RouterId, frozen: bool) -> None:
        if self.version == 2:
            (self.hierarchies[0] / self.path(id)[1:] / "cgroup.freeze").write_text(str(int(frozen)))
        else:
            self._freezer(id).write_text("FROZEN" if frozen else "THAWED")

    def _freezer(self, id: RouterId) -> Path:
        if "freezer" not in self.controllers:
            raise OSError(errno.ENOTSUP, "this machine's control groups have no freezer")
        return self.controllers["freezer"] / self.path(id)[1:] / "freezer.state"

    def kill(self, id: RouterId) -> set[int]:
        """Kill all processes of the container; those that were there."""
        pids = self.pids(id)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return pids

    @contextmanager
    def _lock(self, operation: int) -> Iterator[None]:
        # A directory of the kernel's own file system as the lock: the same for everybody, and no file is left over.
        if not self.hierarchies:
            yield
            return
        fd = os.open(self.hierarchies[0], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, operation)
            yield
        finally:
            os.close(fd)

    @contextmanager
    def creating(self, id: RouterId) -> Iterator[None]:
        """While in here, the directories above containers' groups are not removed for being empty."""
        with self._lock(fcntl.LOCK_SH):
            yield
            self._weigh(id)

    def _weigh(self, id: RouterId) -> None:
        """Give the groups above containers as much processor time as all their containers together would get.

        The scheduler shares the time among what is in a group. Where the machine's other processes are in the top
        group, each of them would otherwise get as much as all containers of all networks together.
        """
        if not self.flat or "cpu" not in self.controllers:
            return
        file, unit, most = ("cpu.shares", 1024, 262_144) if self.version == 1 else ("cpu.weight", 100, 10_000)
        top = self.controllers["cpu"] / _TOP
        for directory, inner in ((top, [group for network in _children(top) for group in _children(network)]),
                                 (top / id.network, _children(top / id.network))):
            count = len(inner)
            with suppress(OSError):
                (directory / file).write_text(str(min(most, unit * max(1, count))))

    def remove(self, id: RouterId) -> None:
        """Remove the container's groups, which must be empty of processes, and those above if nothing else is there.

        Raises
        ------
        OSError
            EBUSY if processes are left.
        """
        for group in self.groups(id):
            for inner, _, _ in os.walk(group, topdown=False):
                with suppress(FileNotFoundError):
                    os.rmdir(inner)
        self._weigh(id)
        above = [h / part for h in self.hierarchies for part in (f"{_TOP}/{id.network}", _TOP)]
        if not any(directory.is_dir() and not _children(directory) for directory in above):
            return
        with self._lock(fcntl.LOCK_EX):
            for directory in above:
                try:
                    directory.rmdir()
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.EBUSY, errno.ENOTEMPTY):
                        raise

    def usage(self, id: RouterId) -> Usage:
        """What the container uses now."""

        def number(controller: str, file: str) -> int | None:
            hierarchy = self.controllers.get(controller)
            if hierarchy is None:
                return None
            try:
                return int((hierarchy / self.path(id)[1:] / file).read_text())
            except (OSError, ValueError):
                return None

        if self.version == 2:
            seconds = None
            with suppress(OSError, IndexError, ValueError):
                text = (self.hierarchies[0] / self.path(id)[1:] / "cpu.stat").read_text()
                seconds = int(text.split("usage_usec ")[1].split()[0]) / 1e6
            return Usage(number("memory", "memory.current"), seconds, number("pids", "pids.current"))
        nanoseconds = number("cpuacct", "cpuacct.usage")
        return Usage(
            number("memory", "memory.usage_in_bytes"),
            None if nanoseconds is None else nanoseconds / 1e9,
            number("pids", "pids.current"),
        )


def _children(directory: Path) -> list[Path]:
    """Groups in a group, none if it is gone: others remove theirs at the same time."""
    with suppress(OSError), os.scandir(directory) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []
