"""Containers by runc, each with a user namespace and a root file system of its own.

Directories: `<state>/networks/<network>/<node>/vrs/<vr>/` holds a container's bundle and files;
`<run>/<network>/<node>/runc/` is runc's own state and `netns/<vr>` beside it a handle of the network namespace.
A container is found again by these alone.
"""

import json
import os
import select
import shutil
import signal as signals
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

from . import frr, oci
from .base import (
    Command,
    ContainerError,
    ContainerSpec,
    ContainerStatus,
    Limits,
    LimitsUnsupported,
    NoSuchContainer,
    RouterId,
    Runtime,
    State,
    Statuses,
    Usage,
)
from .cgroup import Cgroups
from .idrange import IdRanges
from .image import Images
from .mounts import bind_file, is_mount, umount
from .rootfs import Lower, Rootfs, Support, probe, remove_tree, shifted_copy

__all__ = ["CRIU_SETTINGS", "RuncRuntime"]

#: Annotation that names a file of CRIU's settings, which runc hands on to it.
CRIU_SETTINGS = "org.criu.config"
_LIVING = (State.CREATED, State.RUNNING, State.PAUSED)
#: Seconds until a killed process must be gone.
_KILL_TIMEOUT = 10.0


class RuncRuntime(Runtime):
    """The containers of a pair of directories.

    Parameters
    ----------
    state_dir : Path
        What outlives a restart of the machine: images, root file systems.
    run_dir : Path
        What doesn't.
    support : Support or None
        How to make root file systems; None finds out.
    """

    def __init__(self, state_dir: Path, run_dir: Path, *, support: Support | None = None):
        self.state_dir, self.run_dir = Path(state_dir).absolute(), Path(run_dir).absolute()
        self.images = Images(self.state_dir)
        self.cgroups = Cgroups.detect()
        self._ranges = IdRanges(self.state_dir / "idranges")
        self._known_support = support
        self._mutex = threading.Lock()
        self._locks: dict[RouterId, threading.RLock] = {}

    # Where things are

    def directory(self, id: RouterId) -> Path:
        """The container's own directory."""
        return self.state_dir / "networks" / id.network / id.node / "vrs" / str(id.vr)

    def _run(self, id: RouterId) -> Path:
        return self.run_dir / id.network / id.node

    def _lock(self, id: RouterId) -> threading.RLock:
        with self._mutex:
            return self._locks.setdefault(id, threading.RLock())

    # What the machine can do

    @property
    def supported_limits(self) -> frozenset[str]:
        return self.cgroups.limits

    @property
    def support(self) -> Support:
        """How root file systems are made here."""
        with self._mutex:
            if self._known_support is None:
                images = self.state_dir / "images"
                images.mkdir(parents=True, exist_ok=True)
                self._known_support = probe(images, self.state_dir)
            return self._known_support

    @cached_property
    def _sysfs(self) -> bool:
        """Whether a new user namespace may mount sysfs; not where the machine's own one is partly covered."""
        namespaces = ("--user", "--map-root-user", "--net", "--mount", "--fork")
        command = ["unshare", *namespaces, "mount", "-t", "sysfs", "sysfs", "/sys"]
        return subprocess.run(command, capture_output=True).returncode == 0

    # runc

    def command(self, id: RouterId) -> Command:
        """runc with the directory that it keeps a container's state in; arguments follow."""
        return ["runc", "--root", str(self._run(id) / "runc")]

    def log_reason(self, id: RouterId) -> str:
        """What runc has written to a container's log file of errors."""
        log = self.directory(id) / "runc.log"
        return _reason(log.read_text() if log.exists() else "")

    def _runc(
        self, id: RouterId, *args: str, input: str | None = None, timeout: float = 60.0
    ) -> "subprocess.CompletedProcess[str]":
        command = [*self.command(id), *args]
        try:
            return subprocess.run(
                command,
                input=input,
                stdin=subprocess.DEVNULL if input is None else None,
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        except FileNotFoundError:
            raise ContainerError(id, args[0], "runc is not installed; it is a Debian package of that name") from None
        except subprocess.TimeoutExpired:
            raise ContainerError(id, args[0], f"runc did not end within {timeout} s") from None

    def _must(self, id: RouterId, *args: str, input: str | None = None) -> None:
        done = self._runc(id, *args, input=input)
        if done.returncode:
            raise ContainerError(id, args[0], _reason(done.stderr))

    def _launch(self, id: RouterId, bundle: Path) -> None:
        """`runc create`, whose streams the container keeps, so that its errors have to come by a file."""
        log = bundle / "runc.log"
        command = [*self.command(id), "--log", str(log), "--log-format", "json"]
        command += ["create", "--bundle", str(bundle), "--pid-file", str(bundle / "pid"), id.container]
        # If this process is killed, runc must not go on making a container that a successor is already removing.
        command = ["setpriv", "--pdeathsig", "KILL", *command]
        with self.cgroups.creating(id):
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        if done.returncode:
            missing = not log.exists() and shutil.which("runc") is None
            raise ContainerError(id, "create", "runc is not installed; it is a Debian package of that name" if missing
                                 else self.log_reason(id))

    # Life

    def create(self, spec: ContainerSpec) -> ContainerStatus:
        id = spec.id
        self._check_limits(spec.limits)
        try:
            daemons = frr.daemons_file(spec.daemons, spec.daemon_options)
        except ValueError as error:
            raise ContainerError(id, "create", str(error)) from None
        with self._lock(id):
            if (state := self.status(id).state) in _LIVING:
                raise ContainerError(id, "create", f"it is {state}; delete it first")
            self.delete(id)
            try:
                self._create(spec, daemons)
            except BaseException as error:
                try:
                    self.delete(id)
                except Exception as second:
                    error.add_note(f"and cleaning up failed: {second}")
                if isinstance(error, OSError):
                    raise ContainerError(id, "create", str(error)) from error
                raise
            return self.status(id)

    def _create(self, spec: ContainerSpec, daemons: str) -> None:
        id, directory = spec.id, self.directory(spec.id)
        hostname = spec.hostname or f"{id.node}-{id.vr}"
        self._make_directories(id)
        with self.images.using(spec.image) as image:
            record = {"image": spec.image, "uid_base": 0, "limits": spec.limits.model_dump(), "hostname": hostname}
            self._write_record(id, record)
        for daemon in spec.daemons | frr.ALWAYS:
            if not (self.images.path(spec.image) / "rootfs/usr/lib/frr" / daemon).is_file():
                raise ContainerError(id, "create", f"image {spec.image!r} has no routing daemon {daemon}")
        lower, first = self._lower(spec.image, lambda: self._ranges.take(str(id), self._owner_exists))
        self._write_record(id, record | {"uid_base": first})

        rootfs = Rootfs(directory, lower, first, self.support)
        rootfs.prepare()
        user, group, vty = image.frr_uid, image.frr_gid, image.frrvty_gid
        rootfs.put("etc/frr/daemons", daemons, mode=0o640, uid=user, gid=group)
        rootfs.put("etc/frr/frr.conf", frr.with_hostname(spec.config, hostname), mode=0o640, uid=user, gid=group)
        rootfs.put("etc/frr/vtysh.conf", "service integrated-vtysh-config\n", mode=0o640, uid=user, gid=vty)
        rootfs.put("etc/hostname", f"{hostname}\n", mode=0o644)
        rootfs.put("etc/hosts", f"127.0.0.1 localhost {hostname}\n::1 localhost\n", mode=0o644)
        rootfs.put(frr.CONSOLE, "", mode=0o640)
        rootfs.put(frr.INIT, frr.INIT_SCRIPT, mode=0o755)
        rootfs.mount()

        sysctls = {k: v for k, v in oci.SYSCTLS.items() if Path("/proc/sys", *k.split(".")).exists()}
        config = oci.config(
            rootfs=rootfs.path,
            args=[f"/{frr.INIT}"],
            hostname=hostname,
            first_id=first,
            cgroup_path=self.cgroups.path(id),
            # As other runtimes do: with version 1 the namespace hides little and gets in the way of checkpoints.
            cgroup_namespace=self.cgroups.version == 2,
            sysfs=self._sysfs,
            capabilities=oci.bounding_set(),
            sysctls=sysctls | dict(spec.sysctls),
            resources=oci.resources(spec.limits, spec.limits.kinds, self.cgroups.swap),
            annotations={CRIU_SETTINGS: str(directory / "criu.conf")},
        )
        (directory / "config.json").write_text(json.dumps(config, indent=1))
        self._launch(id, directory)
        self.netns(id)

    def _make_directories(self, id: RouterId) -> None:
        directory, run = self.directory(id), self._run(id)
        with self._mutex:
            directory.mkdir(parents=True, mode=0o755)
            (run / "netns").mkdir(parents=True, exist_ok=True)
            (run / "runc").mkdir(exist_ok=True)
        directory.chmod(0o711)
        for parent in directory.parents:
            if not parent.stat().st_mode & stat.S_IXOTH:
                raise ContainerError(id, "create", f"the container's user can't enter {parent}; do: chmod o+x {parent}")

    def _lower(self, image: str, take: Callable[[], int]) -> tuple[Path, int]:
        """Files of an image as a container has them below its own, and the first of its ids, which ``take`` gives if
        they are its alone."""
        lower = self.images.path(image) / "rootfs"
        if self.support.lower is Lower.COPIED:
            return shifted_copy(lower.parent, lambda: self._ranges.take(f"images/{image}", self._owner_exists))
        return lower, take()

    def prepare(self, id: RouterId, record: dict[str, Any], *, former: str = "") -> None:
        """Make what a container has on the disk, but for its files, for a record as :meth:`record` gives it.

        Its files are a layer that is empty and not mounted yet; nothing runs. `delete` removes it.

        Parameters
        ----------
        id : RouterId
        record : dict
        former : str
            Container that has the user ids so far, which may be of this machine; :meth:`take_ids` takes them from it.

        Raises
        ------
        ContainerError, RuntimeFailure
            If its user ids are not to be had.
        """
        self._make_directories(id)
        lower, first = self._lower(record["image"], lambda: self._borrow(id, record["uid_base"], former))
        if first != record["uid_base"]:
            raise ContainerError(id, "prepare", f"image {record['image']!r} has user ids from {first} on here, and the "
                                 f"container from {record['uid_base']} on")
        self._write_record(id, record)
        Rootfs(self.directory(id), lower, first, self.support).prepare()

    def _borrow(self, id: RouterId, first: int, former: str) -> int:
        if former not in self._ranges.owners().values():
            self._ranges.claim(str(id), first, self._owner_exists)
        return first

    def take_ids(self, id: RouterId, former: str) -> None:
        """Have the user ids of a container belong to it, and no longer to the one that it is a copy of.

        Raises
        ------
        RuntimeFailure
            If they are somebody else's.
        """
        record = self.record(id)
        if record is not None and self.support.lower is not Lower.COPIED:
            self._ranges.claim(str(id), record["uid_base"], self._owner_exists, former=former)

    def rootfs(self, id: RouterId) -> Rootfs:
        """Root file system of a container that was made or prepared.

        Raises
        ------
        NoSuchContainer
            If it was not.
        """
        record = self.record(id)
        if record is None:
            raise NoSuchContainer(id, "find its files", "it is absent")
        lower, first = self._lower(record["image"], lambda: record["uid_base"])
        return Rootfs(self.directory(id), lower, first, self.support)

    def _owner_exists(self, owner: str) -> bool:
        """Whether the owner of a range of ids, a container or an image, still is there."""
        match owner.split("/"):
            case ["images", name]:
                return (self.state_dir / "images" / name).exists()
            case [network, node, vr]:
                return (self.state_dir / "networks" / network / node / "vrs" / vr).exists()
        return False

    def record(self, id: RouterId) -> dict[str, Any] | None:
        """What was written down of a container: ``image``, ``uid_base``, ``limits``, ``hostname``; None if nothing."""
        try:
            return json.loads((self.directory(id) / "spec.json").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def _write_record(self, id: RouterId, record: dict[str, Any]) -> None:
        file = self.directory(id) / "spec.json"
        new = file.with_suffix(".new")
        new.write_text(json.dumps(record))
        new.replace(file)

    def start(self, id: RouterId) -> None:
        with self._lock(id):
            match self.status(id).state:
                case State.RUNNING:
                    return
                case State.CREATED:
                    self._must(id, "start", id.container)
                case state:
                    raise NoSuchContainer(id, "start", f"it is {state}, not created")

    def _living_pid(self, id: RouterId) -> int:
        """First process, 0 if it is gone; cheaper than asking runc."""
        try:
            pid = int((self.directory(id) / "pid").read_text())
            mapping = Path(f"/proc/{pid}/uid_map").read_text().split()
        except (OSError, ValueError):
            return 0
        record = self.record(id)
        # The number may be another process's by now, but no other has these ids.
        return pid if record and mapping[1:2] == [str(record["uid_base"])] else 0

    def ready(self, id: RouterId) -> bool:
        pid = self._living_pid(id)
        return bool(pid) and os.path.lexists(f"/proc/{pid}/root/{frr.READY}")

    def stop(self, id: RouterId, timeout: float = 10.0) -> None:
        with self._lock(id):
            status = self.status(id)
            if status.state is State.CREATED:
                timeout = 0.0  # nothing runs in it yet that could end in order
            if status.state not in _LIVING:
                return
            if status.state is State.PAUSED:
                self._must(id, "resume", id.container)
            try:
                fd = os.pidfd_open(status.pid)
            except ProcessLookupError:
                return
            try:
                if timeout:
                    self.kill(id, signals.SIGTERM)
                if not _ended(fd, timeout):
                    self.kill(id, signals.SIGKILL)
                    if not _ended(fd, _KILL_TIMEOUT):
                        raise ContainerError(id, "stop", f"process {status.pid} can't be killed")
            finally:
                os.close(fd)

    def kill(self, id: RouterId, signal: int = signals.SIGKILL) -> None:
        if self.status(id).state not in _LIVING:
            return
        done = self._runc(id, "kill", id.container, str(int(signal)))
        if done.returncode and self.status(id).state in _LIVING:
            raise ContainerError(id, "kill", _reason(done.stderr))

    def delete(self, id: RouterId) -> None:
        with self._lock(id):
            directory, run = self.directory(id), self._run(id)
            bundle = run / "runc" / id.container
            # What is frozen ends as it goes on, and does nothing any more.
            self.cgroups.kill(id)
            self.cgroups.thaw(id)
            # runc would poll ten times a second for the end of the processes; this waits for it.
            end = time.monotonic() + _KILL_TIMEOUT
            while pids := self.cgroups.kill(id):
                _wait_for(pids, end)
                if time.monotonic() > end:
                    raise ContainerError(id, "delete", f"processes {sorted(pids)} can't be killed")
            if bundle.exists():
                # Its answer doesn't matter: it fails on what is half made, and the rest is done here anyway.
                self._runc(id, "delete", "--force", id.container)
                if bundle.exists():
                    remove_tree(bundle)
            handle = run / "netns" / str(id.vr)
            umount(handle)
            handle.unlink(missing_ok=True)
            try:
                remove_tree(directory)
                self.cgroups.remove(id)
            except OSError as error:
                raise ContainerError(id, "delete", str(error)) from error
            self._ranges.release(str(id))
            with self._mutex:
                for parent in (directory.parent, run / "netns", run / "runc"):
                    with suppress(OSError):
                        parent.rmdir()
                # A container that waits for its lock still has it; a later one gets a new one.
                self._locks.pop(id, None)

    # State

    def _status(self, id: RouterId, runc: dict[str, Any] | None) -> ContainerStatus:
        record = self.record(id)
        if runc is None:
            state = State.STOPPED if self.directory(id).exists() else State.ABSENT
            pid = 0
        else:
            # runc has more words while it works on a container: "creating", "pausing".
            state = {"created": State.CREATED, "running": State.RUNNING, "paused": State.PAUSED}.get(
                runc["status"], State.STOPPED
            )
            pid = runc["pid"] if state in _LIVING else 0
        if record is None:
            return ContainerStatus(id, state, pid)
        return ContainerStatus(
            id, state, pid, record["image"], record["uid_base"], Limits.model_validate(record["limits"])
        )

    def status(self, id: RouterId) -> ContainerStatus:
        runc = None
        if (self._run(id) / "runc" / id.container).exists():
            done = self._runc(id, "state", id.container)
            if done.returncode == 0:
                runc = json.loads(done.stdout)
        return self._status(id, runc)

    def list(self, network: str | None = None, node: str | None = None) -> Statuses:
        pattern = f"{network or '*'}/{node or '*'}"
        ids = set()
        for path in self.state_dir.glob(f"networks/{pattern}/vrs/*"):
            with suppress(ValueError):
                ids.add(RouterId(path.parts[-4], path.parts[-3], int(path.name)))
        known: dict[str, dict[str, Any]] = {}
        for root in self.run_dir.glob(f"{pattern}/runc"):
            for path in root.iterdir():
                with suppress(ValueError):
                    ids.add(RouterId(root.parts[-3], root.parts[-2], int(path.name.rpartition(".")[2])))
            done = subprocess.run(["runc", "--root", str(root), "list", "--format", "json"], capture_output=True)
            if done.returncode == 0:
                known.update((entry["id"], entry) for entry in json.loads(done.stdout) or [])
        return [self._status(id, known.get(id.container)) for id in sorted(ids)]

    def netns(self, id: RouterId) -> Path:
        path = self._run(id) / "netns" / str(id.vr)
        with self._lock(id):
            if not is_mount(path):
                status = self.status(id)
                if status.state not in _LIVING:
                    raise NoSuchContainer(id, "find its network namespace", f"it is {status.state}")
                with self._mutex:   # another container's deletion may just have removed the empty directory
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.touch()
                bind_file(f"/proc/{status.pid}/ns/net", path)
        return path

    # Inside

    def exec_command(self, id: RouterId, argv: Sequence[str], *, tty: bool = False) -> Command:
        return [
            *self.command(id),
            "exec",
            *(["--tty"] if tty else []),
            id.container,
            *argv,
        ]

    def exec(
        self, id: RouterId, argv: Sequence[str], *, input: str | None = None, timeout: float | None = 30.0
    ) -> "subprocess.CompletedProcess[str]":
        if not self._living_pid(id):
            raise NoSuchContainer(id, "exec", f"it is {self.status(id).state}")
        pid_file = self.directory(id) / f"exec-{uuid4().hex}.pid"
        command = self.exec_command(id, argv)
        command[4:4] = ["--pid-file", str(pid_file)]
        try:
            with subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            ) as process:
                try:
                    output, errors = process.communicate(input, timeout)
                except BaseException:
                    # The program is no child of runc's that would end with it.
                    with suppress(OSError, ValueError):
                        os.kill(int(pid_file.read_text()), signals.SIGKILL)
                    process.kill()
                    raise
        finally:
            pid_file.unlink(missing_ok=True)
        return subprocess.CompletedProcess(list(argv), process.returncode, output, errors)

    def reload_config(self, id: RouterId, config: str) -> None:
        record = self.record(id)
        if record is None:
            raise NoSuchContainer(id, "reload", "it is absent")
        if not self.images.describe(record["image"]).reload:
            raise ContainerError(
                id, "reload", f"image {record['image']!r} has no frr-reload.py; install frr-pythontools in it"
            )
        with self._lock(id):
            text = frr.with_hostname(config, record["hostname"])
            done = self.exec(id, ["/bin/bash", "-c", frr.RELOAD], input=text, timeout=120.0)
        if done.returncode:
            raise ContainerError(id, "reload", (done.stdout + done.stderr).strip())

    # Limits

    def _check_limits(self, limits: Limits) -> None:
        if missing := limits.kinds - self.supported_limits:
            kinds = ", ".join(sorted(missing))
            have = ", ".join(sorted(self.supported_limits)) or "none"
            raise LimitsUnsupported(
                f"no control group controller for the limit on {kinds} on this machine (there are: {have}); "
                "leave the limit out or enable the controller"
            )

    def set_limits(self, id: RouterId, limits: Limits) -> None:
        self._check_limits(limits)
        with self._lock(id):
            if self.status(id).state not in _LIVING or (record := self.record(id)) is None:
                raise NoSuchContainer(id, "set limits", f"it is {self.status(id).state}")
            wanted = oci.resources(limits, self.supported_limits, self.cgroups.swap)
            self._must(id, "update", "--resources", "-", id.container, input=json.dumps(wanted))
            self._write_record(id, record | {"limits": limits.model_dump()})

    def usage(self, id: RouterId) -> Usage:
        return self.cgroups.usage(id)

    # Logs

    def log_path(self, id: RouterId) -> Path:
        return self.directory(id) / "rootfs" / frr.LOG

    def logs(self, id: RouterId, lines: int | None = None) -> str:
        directory = self.directory(id)
        top = directory / "rootfs"
        if not is_mount(top):
            top = directory / "scratch" / "upper"  # after a restart of the machine
        texts = [_read_inside(top, name).splitlines(keepends=True) for name in (frr.CONSOLE, frr.LOG)]
        return "".join(
            line for text in texts for line in (text if lines is None else text[max(0, len(text) - lines) :])
        )


def _reason(text: str) -> str:
    """What runc says was wrong, from its log in text or JSON."""
    found = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            found.append(line.partition("msg=")[2].strip('"') if line.startswith("time=") else line)
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal"):
            found.append(str(entry.get("msg", line)))
    return "; ".join(dict.fromkeys(filter(None, found))) or "runc gave no reason"


def _ended(pidfd: int, timeout: float) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(max(0.0, timeout) * 1000))


def _wait_for(pids: set[int], end: float) -> None:
    """Wait until processes ended, or the clock shows `end`."""
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            _ended(fd, end - time.monotonic())
        finally:
            os.close(fd)


def _read_inside(top: Path, name: str) -> str:
    """A text file of a container, "" if there is none; links are not followed, they could lead out of it."""
    fd = -1
    try:
        fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        *directories, last = Path(name).parts
        for part, flags in (*((d, os.O_DIRECTORY) for d in directories), (last, os.O_NONBLOCK)):
            inner = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=fd)
            os.close(fd)
            fd = inner
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        with open(fd, errors="replace", closefd=False) as file:
            return file.read()
    except OSError:
        return ""
    finally:
        if fd >= 0:
            os.close(fd)
