"""A container that runs becomes files, and a container elsewhere that goes on where it was: by runc and CRIU.

The network is not part of it: a restored container gets an empty network namespace, which the caller fills while the
restore waits for it. Nor does CRIU lock the network: who freezes a container carries no frames for it meanwhile.
"""

import json
import os
import select
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from .base import ContainerError, RouterId, RuntimeFailure, State
from .criu import Criu
from .image import ImageInfo
from .rootfs import remove_tree
from .runc import CRIU_SETTINGS, RuncRuntime
from .sockets import (
    Membership,
    NetlinkGroup,
    join_groups,
    join_netlink_groups,
    leave_netlink_groups,
    memberships,
)

__all__ = ["Checkpoints", "Description", "SocketState"]

_OPTIONS = ("--tcp-established", "--file-locks", "--empty-ns", "network")
#: Seconds that a dump or a restore may take, and that the caller may take to fill the network namespace.
_TIMEOUT = 60
#: First argument: to tell the state by; second: what to wait for. A caller that ended has closed the latter.
_HOOK = 'cat >"$1" && read -r answer <"$2" && [ "$answer" = go ]'


class Description(BaseModel):
    """What another runtime must know of a container to have its copy.

    Attributes
    ----------
    owner : str
        The container that it is of.
    uid_base : int
        First of its ids, which the copy has too.
    hostname : str
    image : ImageInfo
    limits : dict
    config : dict
        Its OCI configuration.
    """

    owner: str
    uid_base: int
    hostname: str
    image: ImageInfo
    limits: dict[str, Any]
    config: dict[str, Any]


class SocketState(BaseModel):
    """What CRIU leaves out of sockets (:mod:`.sockets`)."""

    netlink: list[NetlinkGroup] = []
    multicast: list[Membership] = []


class Checkpoints:
    """Checkpoints of a runtime's containers.

    Parameters
    ----------
    runtime : RuncRuntime
    criu : Criu or None
        None if there is none; see :meth:`problem`.
    """

    def __init__(self, runtime: RuncRuntime, criu: Criu | None) -> None:
        self._runtime, self._criu = runtime, criu

    @property
    def criu_version(self) -> tuple[int, ...]:
        """Version of CRIU; empty if there is none."""
        return () if self._criu is None else self._criu.version

    def problem(self) -> str | None:
        """Why there are no checkpoints here, None if there are."""
        if self._criu is None:
            return "there is no CRIU here: polyrouter image criu"
        return self._criu.problem()

    @cached_property
    def tracks_memory(self) -> bool:
        """Whether memory can be copied while the processes run."""
        return self._criu is not None and self._criu.tracks_memory()

    def why_not_image(self, image: ImageInfo) -> str | None:
        """Why a container of an image elsewhere can't be restored here, None if it can."""
        try:
            mine = self._runtime.images.describe(image.name)
        except RuntimeFailure as error:
            return str(error)
        if (mine.created, mine.packages, mine.size_bytes) != (image.created, image.packages, image.size_bytes):
            return (f"image {mine.name!r} is another one here, made on {mine.created} and not on {image.created}; a "
                    "checkpoint needs the very same programs")
        return None

    # Of the one that runs

    def describe(self, id: RouterId) -> Description:
        """What the one to be restored elsewhere needs.

        Raises
        ------
        ContainerError
            If there is none.
        """
        record = self._runtime.record(id)
        try:
            config = json.loads((self._runtime.directory(id) / "config.json").read_text())
        except FileNotFoundError:
            record = None
        if record is None:
            raise ContainerError(id, "describe", "it is absent")
        return Description(owner=str(id), uid_base=record["uid_base"], hostname=record["hostname"],
                           image=self._runtime.images.describe(record["image"]), limits=record["limits"],
                           config=config)

    def upper(self, id: RouterId) -> Path:
        """Directory of a container's own files, the layer that is over its image's."""
        return self._runtime.directory(id) / "scratch" / "upper"

    def freeze(self, id: RouterId) -> SocketState:
        """Stop a container's processes, and take their sockets out of what CRIU refuses.

        Returns
        -------
        SocketState
            For :meth:`thaw`, or :meth:`complete` of the copy.

        Raises
        ------
        ContainerError
            If it does not run, or can't be stopped; it goes on then.
        """
        if (state := self._runtime.status(id).state) is not State.RUNNING:
            raise ContainerError(id, "freeze", f"it is {state}")
        with _as_errors_of(id, "freeze"):
            self._runtime.cgroups.freeze(id)
            state_of_sockets = SocketState()
            try:
                pids = self._runtime.cgroups.pids(id)
                state_of_sockets.multicast = memberships(pids)
                state_of_sockets.netlink = leave_netlink_groups(pids)
            except BaseException:
                self.thaw(id, state_of_sockets)
                raise
        return state_of_sockets

    def thaw(self, id: RouterId, sockets: SocketState) -> None:
        """Let a frozen container go on as if nothing had been."""
        try:
            join_netlink_groups(self._runtime.cgroups.pids(id), sockets.netlink)
        finally:
            self._runtime.cgroups.thaw(id)

    def dump(self, id: RouterId, images: Path) -> None:
        """Write a frozen container to files; it stays frozen, and may be thawed.

        Parameters
        ----------
        id : RouterId
        images : Path
            Directory, empty.

        Raises
        ------
        ContainerError
            With CRIU's reasons.
        """
        self._write_settings(id)
        work = self._work(id)
        self._run(id, "checkpoint", work / "dump.log", [
            "checkpoint", "--image-path", str(images), "--work-path", str(work), "--leave-running", *_OPTIONS,
            id.container])

    # Of the copy

    def reserve(self, id: RouterId, source: Description) -> None:
        """Make room for a copy: its directories, its user ids, and its layer of files, empty.

        Raises
        ------
        ContainerError
            If there is a container of that name, or the image or the ids are not to be had. Nothing is left then.
        """
        runtime = self._runtime
        if (state := runtime.status(id).state) not in (State.ABSENT, State.STOPPED):
            raise ContainerError(id, "reserve", f"it is {state}; delete it first")
        runtime.delete(id)
        if problem := self.why_not_image(source.image):
            raise ContainerError(id, "reserve", problem)
        try:
            with runtime.images.using(source.image.name):
                runtime.prepare(id, {"image": source.image.name, "uid_base": source.uid_base, "limits": source.limits,
                                     "hostname": source.hostname}, former=source.owner)
        except BaseException:
            runtime.delete(id)
            raise

    def restore(self, id: RouterId, source: Description, images: Path, network: Callable[[Path], None]) -> None:
        """Make a container that was reserved, and whose layer is filled, go on as its checkpoint says.

        Parameters
        ----------
        id : RouterId
        source : Description
        images : Path
            Directory of the checkpoint.
        network : callable
            Fills the network namespace at the path that it is given, before any process is there.

        Raises
        ------
        ContainerError
            With CRIU's reasons; what ``network`` raises is passed on. Delete it then.
        """
        runtime, directory = self._runtime, self._runtime.directory(id)
        self._write_settings(id)
        runtime.rootfs(id).mount()
        work = self._work(id)
        hook = _Hook(work)
        try:
            config = dict(source.config)
            config["root"] = {**config["root"], "path": str(directory / "rootfs")}
            config["linux"] = {**config["linux"], "cgroupsPath": runtime.cgroups.path(id)}
            config["annotations"] = {**config.get("annotations", {}), CRIU_SETTINGS: str(directory / "criu.conf")}
            config["hooks"] = {"createRuntime": [hook.as_dict()]}
            (directory / "config.json").write_text(json.dumps(config, indent=1))
            with runtime.cgroups.creating(id):
                process = self._start(id, [
                    "restore", "--detach", "--bundle", str(directory), "--image-path", str(images), "--work-path",
                    str(work), "--pid-file", str(directory / "pid"), *_OPTIONS, id.container])
                try:
                    hook.serve(process, network)
                except BaseException:
                    with suppress(ContainerError):      # which only says that the network was not made
                        self._end(id, "restore", process, work / "restore.log")
                    raise
                self._end(id, "restore", process, work / "restore.log")
        finally:
            hook.close()
        runtime.netns(id)

    def complete(self, id: RouterId, sockets: SocketState) -> None:
        """Give the sockets of a restored container what CRIU left out.

        Raises
        ------
        ContainerError
            If that can't be.
        """
        with _as_errors_of(id, "restore its sockets"):
            pids = self._runtime.cgroups.pids(id)
            join_groups(pids, sockets.multicast)
            join_netlink_groups(pids, sockets.netlink)

    # runc

    def _work(self, id: RouterId) -> Path:
        work = self._runtime.directory(id) / "criu"
        remove_tree(work)       # a restore that failed may have left mounts there
        work.mkdir(mode=0o700)
        return work

    def _write_settings(self, id: RouterId) -> None:
        (self._runtime.directory(id) / "criu.conf").write_text("network-lock skip\n")

    def _start(self, id: RouterId, arguments: list[str]) -> "subprocess.Popen[bytes]":
        log = self._runtime.directory(id) / "runc.log"
        log.unlink(missing_ok=True)
        command = ["setpriv", "--pdeathsig", "KILL", *self._runtime.command(id), "--log", str(log), "--log-format",
                   "json", *arguments]
        # runc looks for it there; an option for another place came and went.
        assert self._criu is not None
        path = f"{self._criu.program.parent}:{os.environ.get('PATH', os.defpath)}"
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                env={**os.environ, "PATH": path})

    def _run(self, id: RouterId, what: str, log: Path, arguments: list[str]) -> None:
        self._end(id, what, self._start(id, arguments), log)

    def _end(self, id: RouterId, what: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        try:
            code = process.wait(_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ContainerError(id, what, f"runc did not end within {_TIMEOUT} s") from None
        except BaseException:
            process.kill()
            process.wait()
            raise
        if code:
            raise ContainerError(id, what, _criu_reason(log) or self._runtime.log_reason(id))


class _Hook:
    """Where a restore waits for its network: two pipes in a directory."""

    def __init__(self, directory: Path) -> None:
        self._names = [directory / name for name in ("hook-state", "hook-answer")]
        for name in self._names:
            os.mkfifo(name, 0o600)
        # With a writer of its own, neither end waits to be opened; and when this process ends, so does the hook.
        self._state = os.open(self._names[0], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._answer = os.open(self._names[1], os.O_RDWR | os.O_CLOEXEC)

    def as_dict(self) -> dict[str, Any]:
        """As an OCI configuration has it."""
        return {"path": "/bin/sh", "args": ["sh", "-c", _HOOK, "hook", *map(str, self._names)], "timeout": _TIMEOUT}

    def serve(self, process: "subprocess.Popen[bytes]", network: Callable[[Path], None]) -> None:
        """Wait for the hook to be called, and call the function; return at once if the process ends without that."""
        state = self._read(process)
        if state is None:
            return
        try:
            network(Path(f"/proc/{state['pid']}/ns/net"))
        except BaseException:
            os.write(self._answer, b"stop\n")
            raise
        os.write(self._answer, b"go\n")

    def _read(self, process: "subprocess.Popen[bytes]") -> dict[str, Any] | None:
        ended = os.pidfd_open(process.pid)
        try:
            poller, text = select.poll(), b""
            poller.register(self._state, select.POLLIN)
            poller.register(ended, select.POLLIN)
            while True:
                ready = dict(poller.poll(_TIMEOUT * 1000))
                if not ready or (ended in ready and self._state not in ready):
                    return None
                part = os.read(self._state, 1 << 16)
                text += part
                if not part and text:
                    return json.loads(text)
                if not part and ended in ready:
                    return None
        finally:
            os.close(ended)

    def close(self) -> None:
        """Remove the pipes."""
        os.close(self._state)
        os.close(self._answer)
        for name in self._names:
            name.unlink(missing_ok=True)


@contextmanager
def _as_errors_of(id: RouterId, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ContainerError(id, what, str(error)) from error


def _criu_reason(log: Path) -> str:
    """What CRIU says was wrong, from its log."""
    with suppress(OSError):
        lines = [line.partition("Error (")[2] for line in log.read_text(errors="replace").splitlines()
                 if "Error (" in line]
        return "; ".join(dict.fromkeys(line.partition(": ")[2] for line in lines))
    return ""
