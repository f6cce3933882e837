"""A container that runs becomes files, and a container elsewhere that goes on where it was: by runc and CRIU.

The network is not part of it: a restored container gets an empty network namespace, which the caller fills while the
restore waits for it. Nor does CRIU lock the network: who freezes a container carries no frames for it meanwhile.
"""

import json
import os
import select
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from . import criu_gate
from .base import ContainerError, RouterId, RuntimeFailure, State
from .criu import Criu
from .image import ImageInfo
from .inotify import Written
from .pipes import TIMEOUT, Hook, Pipes
from .restoring import Restoring
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

    def files(self, id: RouterId) -> Path:
        """Directory of all files as the container sees them, while they are mounted."""
        return self._runtime.directory(id) / "rootfs"

    def upper(self, id: RouterId) -> Path:
        """Directory of a container's own files, the layer that is over its image's."""
        return self._runtime.directory(id) / "scratch" / "upper"

    def loosen(self, id: RouterId) -> SocketState:
        """Take the sockets of a container that runs out of what CRIU refuses.

        Returns
        -------
        SocketState
            For :meth:`thaw`, or :meth:`complete` of the copy.

        Raises
        ------
        ContainerError
            If it does not run.
        """
        if (state := self._runtime.status(id).state) is not State.RUNNING:
            raise ContainerError(id, "loosen its sockets", f"it is {state}")
        with _as_errors_of(id, "loosen its sockets"):
            pids = self._runtime.cgroups.pids(id)
            return SocketState(multicast=memberships(pids), netlink=leave_netlink_groups(pids))

    def freeze(self, id: RouterId) -> None:
        """Stop a container's processes; takes a millisecond.

        Raises
        ------
        ContainerError
            If they can't be stopped; they go on then.
        """
        with _as_errors_of(id, "freeze"):
            self._runtime.cgroups.freeze(id)

    def thaw(self, id: RouterId, sockets: SocketState) -> None:
        """Let a container go on as if nothing had been, whether it is frozen or was only loosened."""
        try:
            with _as_errors_of(id, "thaw"):
                join_netlink_groups(self._runtime.cgroups.pids(id), sockets.netlink)
        finally:
            self._runtime.cgroups.thaw(id)

    def dump(self, id: RouterId, images: Path, stopped: Callable[[], None] = lambda: None,
             written: Callable[[Path], None] = lambda _: None) -> None:
        """Freeze a container and write it to files; it stays frozen, and may be thawed.

        It goes on until CRIU has found out what it must know of the kernel, and is about to begin.

        Parameters
        ----------
        id : RouterId
            One whose sockets were loosened.
        images : Path
            Directory, empty.
        stopped : callable
            Is called when the processes have stopped; CRIU goes on meanwhile.
        written : callable
            Is told each file as soon as it is written; one may be written again.

        Raises
        ------
        ContainerError
            With CRIU's reasons. It may be frozen. What a callable raises is passed on.
        """
        self._write_settings(id)
        work = self._work(id)
        images.mkdir(exist_ok=True)
        told: dict[str, tuple[int, int]] = {}

        def tell(name: str) -> None:
            with suppress(FileNotFoundError):
                info = (images / name).stat()
                if told.get(name) != (info.st_size, info.st_mtime_ns):
                    told[name] = info.st_size, info.st_mtime_ns
                    written(images / name)

        gate = Pipes(work, "gate")
        files = Written(images)
        try:
            process = self._start(id, [
                "checkpoint", "--image-path", str(images), "--work-path", str(work), "--leave-running", *_OPTIONS,
                id.container], self._gated(work, gate))
            try:
                waits = gate.wait(process) is not None
                if waits:
                    self.freeze(id)
                    gate.answer("go")
                    stopped()
                    self._while_it_runs(process, files, tell)
            except BaseException:
                gate.close()
                with suppress(ContainerError):      # what it has begun, it must end
                    self._end(id, "checkpoint", process, work / "dump.log")
                raise
            self._end(id, "checkpoint", process, work / "dump.log")
            if not waits:
                raise ContainerError(id, "checkpoint", "CRIU did not say that it was about to begin")
        finally:
            files.close()
            gate.close()
        for path in sorted(images.iterdir()):
            tell(path.name)

    def _gated(self, work: Path, gate: Pipes) -> Path:
        """Directory with a ``criu`` that waits at a gate."""
        assert self._criu is not None
        directory = work / "bin"
        directory.mkdir()
        script = directory / "criu"
        command = [sys.executable, "-I", "-S", str(Path(criu_gate.__file__)), str(self._criu.program), *gate.names]
        script.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        script.chmod(0o755)
        return directory

    @staticmethod
    def _while_it_runs(process: "subprocess.Popen[bytes]", files: Written, tell: Callable[[str], None]) -> None:
        ended = os.pidfd_open(process.pid)
        try:
            poller = select.poll()
            poller.register(files.fileno(), select.POLLIN)
            poller.register(ended, select.POLLIN)
            while True:
                ready = dict(poller.poll(TIMEOUT * 1000))
                for name in files.names():
                    tell(name)
                if not ready or (ended in ready and len(ready) == 1):
                    return
        finally:
            os.close(ended)

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

    def restore(self, id: RouterId, source: Description, images: Path, network: Callable[[Path], None]) -> Restoring:
        """Begin to make a container that was reserved, and whose layer is filled, go on as its checkpoint says.

        What does not need the checkpoint is done while that is on its way; :meth:`Restoring.go` does the rest.

        Parameters
        ----------
        id : RouterId
        source : Description
        images : Path
            Directory for the checkpoint's files, but for what is in :attr:`Restoring.inventory`.
        network : callable
            Fills the network namespace at the path that it is given, before any process is there.

        Raises
        ------
        ContainerError
            If it can't begin.
        """
        runtime, directory = self._runtime, self._runtime.directory(id)
        self._write_settings(id)
        runtime.rootfs(id).mount()
        work = self._work(id)
        hook = Hook(work, directory / "pid")
        config = dict(source.config)
        config["root"] = {**config["root"], "path": str(directory / "rootfs")}
        config["linux"] = {**config["linux"], "cgroupsPath": runtime.cgroups.path(id)}
        config["annotations"] = {**config.get("annotations", {}), CRIU_SETTINGS: str(directory / "criu.conf")}
        config["hooks"] = {"createRuntime": [hook.as_dict()]}
        (directory / "config.json").write_text(json.dumps(config, indent=1))
        return Restoring(self, id, images, hook, network)

    def start_restore(self, id: RouterId, images: Path) -> "subprocess.Popen[bytes]":
        """runc, as it restores a container."""
        directory = self._runtime.directory(id)
        return self._start(id, [
            "restore", "--detach", "--bundle", str(directory), "--image-path", str(images), "--work-path",
            str(directory / "criu"), *_OPTIONS, id.container])

    def end_restore(self, id: RouterId, process: "subprocess.Popen[bytes]") -> None:
        """Wait for it.

        Raises
        ------
        ContainerError
            With CRIU's reasons.
        """
        self._end(id, "restore", process, self._runtime.directory(id) / "criu" / "restore.log")
        self._runtime.netns(id)

    def creating(self, id: RouterId) -> AbstractContextManager[None]:
        """While in here, a control group of the container may be made."""
        return self._runtime.cgroups.creating(id)

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

    def _start(self, id: RouterId, arguments: list[str], programs: Path | None = None) -> "subprocess.Popen[bytes]":
        log = self._runtime.directory(id) / "runc.log"
        log.unlink(missing_ok=True)
        command = ["setpriv", "--pdeathsig", "KILL", *self._runtime.command(id), "--log", str(log), "--log-format",
                   "json", *arguments]
        # runc looks for it there; an option for another place came and went.
        assert self._criu is not None
        path = f"{programs or self._criu.program.parent}:{os.environ.get('PATH', os.defpath)}"
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                env={**os.environ, "PATH": path})

    def _end(self, id: RouterId, what: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        try:
            code = process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ContainerError(id, what, f"runc did not end within {TIMEOUT} s") from None
        except BaseException:
            process.kill()
            process.wait()
            raise
        if code:
            raise ContainerError(id, what, _criu_reason(log) or self._runtime.log_reason(id))


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
