"""What every runtime of control planes can do, whether it runs containers or virtual machines.

A control plane is created in two steps, so that the caller can put interfaces into its network namespace before
anything in it runs: `Runtime.create` makes the namespaces, `Runtime.start` lets the routing daemons go. All state is
on disk and in the kernel. An agent that starts again makes a new `Runtime` over the same directories, asks
`Runtime.list` what there is and goes on; nothing has to be handed over.
"""

import re
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from .limits import Limits

__all__ = [
    "Command",
    "ContainerError",
    "ContainerSpec",
    "ContainerStatus",
    "Limits",
    "LimitsUnsupported",
    "NoSuchContainer",
    "RouterId",
    "Runtime",
    "RuntimeFailure",
    "State",
    "Statuses",
    "Usage",
]

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,30}[A-Za-z0-9])?")


class RuntimeFailure(Exception):
    """Something below the runtime failed; the message says what was tried and what the reason was."""


class ContainerError(RuntimeFailure):
    """An operation on one container failed.

    Parameters
    ----------
    id : RouterId
    what : str
        What was tried, e.g. "create".
    reason : str
        What the lower layer said.
    """

    def __init__(self, id: "RouterId", what: str, reason: str):
        super().__init__(f"{id}: {what}: {reason}")
        self.id, self.what, self.reason = id, what, reason


class NoSuchContainer(ContainerError):
    """The container named doesn't exist, or doesn't run where it must."""


class LimitsUnsupported(RuntimeFailure):
    """This machine can't enforce a limit that was asked for. Nothing was changed."""


class State(StrEnum):
    """Life of a container. ABSENT: never created, or deleted. STOPPED: its first process ended; only delete is left."""

    ABSENT = "absent"
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True, order=True)
class RouterId:
    """Name of one virtual router on this machine.

    Raises
    ------
    ValueError
        If `network` or `node` is not 1-32 letters, digits, "-" or "_" (not at an end), or `vr` is negative.
    """

    network: str
    node: str
    vr: int

    def __post_init__(self) -> None:
        for what in ("network", "node"):
            if _NAME.fullmatch(getattr(self, what)) is None:
                raise ValueError(
                    f"{what} name {getattr(self, what)!r}: expected 1 to 32 letters, digits, '-' or '_', "
                    "starting and ending with a letter or digit"
                )
        if self.vr < 0:
            raise ValueError(f"virtual router number {self.vr} is negative")

    @property
    def container(self) -> str:
        """Name of the container, unique on the machine."""
        return f"{self.network}.{self.node}.{self.vr}"

    def __str__(self) -> str:
        return f"{self.network}/{self.node}/{self.vr}"


@dataclass(frozen=True)
class ContainerSpec:
    """What to create.

    Attributes
    ----------
    id : RouterId
    config : str
        Text of FRR's integrated configuration, `frr.conf`.
    daemons : frozenset of str
        Routing daemons besides zebra, mgmtd and staticd, which always run: "ospfd", "bgpd", ...
    image : str
    limits : Limits
    hostname : str or None
        None: `<node>-<vr>`.
    sysctls : mapping
        Network sysctls over the runtime's own, e.g. {"net.ipv4.fib_multipath_hash_policy": "1"}.
    daemon_options : mapping
        Further options per daemon, e.g. {"zebra": "--asic-offload=notify_on_offload"}.
    """

    id: RouterId
    config: str = ""
    daemons: frozenset[str] = frozenset()
    image: str = "default"
    limits: Limits = field(default_factory=Limits)
    hostname: str | None = None
    sysctls: Mapping[str, str] = field(default_factory=dict)
    daemon_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ContainerStatus:
    """What there is.

    Attributes
    ----------
    id : RouterId
    state : State
    pid : int
        First process as the machine sees it; 0 unless CREATED, RUNNING or PAUSED.
    image : str
    uid_base : int
        First of the 65,536 user and group ids of the machine that are this container's 0..65535.
    limits : Limits
    """

    id: RouterId
    state: State
    pid: int = 0
    image: str = ""
    uid_base: int = 0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Usage:
    """What a container uses now; None where the machine doesn't count it.

    Attributes
    ----------
    memory_bytes : int or None
    cpu_seconds : float or None
        Since creation.
    pids : int or None
    """

    memory_bytes: int | None = None
    cpu_seconds: float | None = None
    pids: int | None = None


#: Names of types, because `Runtime` has a method called `list`.
Command = list[str]
Statuses = list[ContainerStatus]


class Runtime(ABC):
    """Runs control planes. Every method can be called from any thread; calls for different ids run in parallel."""

    @abstractmethod
    def create(self, spec: ContainerSpec) -> ContainerStatus:
        """Make the container with all its namespaces; no routing daemon runs before `start`.

        Rests of an earlier container of this id that no longer runs are removed first.

        Raises
        ------
        ContainerError
            If it exists and lives, the image or a daemon is missing, or the lower layer refuses.
        LimitsUnsupported
            If a limit can't be enforced here (see `supported_limits`).
        """

    @abstractmethod
    def start(self, id: RouterId) -> None:
        """Start the routing daemons of a created container. Does nothing if it runs."""

    @abstractmethod
    def ready(self, id: RouterId) -> bool:
        """Whether all daemons of the container answer and its configuration has been read."""

    def wait_ready(self, id: RouterId, timeout: float = 60.0) -> None:
        """Wait until `ready`.

        Raises
        ------
        ContainerError
            If the container ended, or isn't ready in time; the message has the end of its log.
        """
        begin = checked = time.monotonic()
        while not self.ready(id):
            now = time.monotonic()
            # The state costs much more to find than readiness.
            if now - checked > 1.0 or now - begin > timeout:
                checked = now
                state = self.status(id).state
                if state is not State.RUNNING or now - begin > timeout:
                    reason = f"not ready after {timeout} s" if state is State.RUNNING else f"it is {state}"
                    raise ContainerError(id, "wait until ready", f"{reason}; log:\n{self.logs(id, 10)}")
            time.sleep(0.05)

    @abstractmethod
    def stop(self, id: RouterId, timeout: float = 10.0) -> None:
        """End the daemons in order, by force after `timeout` seconds. The container is STOPPED then, not deleted."""

    @abstractmethod
    def kill(self, id: RouterId, signal: int = 9) -> None:
        """Send a signal to the container's first process. Does nothing if it doesn't live."""

    @abstractmethod
    def delete(self, id: RouterId) -> None:
        """Remove container, namespaces, mounts, control group and files, whatever state they are in.

        Does nothing if there is nothing; can be repeated after a failure.
        """

    @abstractmethod
    def status(self, id: RouterId) -> ContainerStatus:
        """State of one container; ABSENT if there is none."""

    @abstractmethod
    def list(self, network: str | None = None, node: str | None = None) -> Statuses:
        """All containers there are, sorted, also stopped and half-made ones, from what is on disk."""

    @abstractmethod
    def netns(self, id: RouterId) -> Path:
        """Path that opens as the container's network namespace, from `create` to `delete`, also while it is STOPPED."""

    @abstractmethod
    def exec_command(self, id: RouterId, argv: Sequence[str], *, tty: bool = False) -> Command:
        """Command line that runs `argv` in the container with the caller's standard streams.

        With `tty` the program gets a terminal of its own, connected to the caller's.
        """

    @abstractmethod
    def exec(
        self, id: RouterId, argv: Sequence[str], *, input: str | None = None, timeout: float | None = 30.0
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program in the container to its end; the result has its true exit code and both outputs as text.

        Raises
        ------
        NoSuchContainer
            If the container doesn't live.
        subprocess.TimeoutExpired
        """

    @abstractmethod
    def reload_config(self, id: RouterId, config: str) -> None:
        """Change a running router to a new `frr.conf`: only what differs is applied, sessions stay up.

        Raises
        ------
        ContainerError
            If FRR refuses a line; the message has FRR's words.
        """

    @property
    @abstractmethod
    def supported_limits(self) -> frozenset[str]:
        """Which of "memory", "cpu" and "pids" this machine can enforce."""

    @abstractmethod
    def set_limits(self, id: RouterId, limits: Limits) -> None:
        """Change the limits of a container that lives; None lifts a limit.

        Raises
        ------
        LimitsUnsupported
        ContainerError
            E.g. when less memory than is in use was asked for.
        """

    @abstractmethod
    def usage(self, id: RouterId) -> Usage:
        """What the container uses now."""

    @abstractmethod
    def log_path(self, id: RouterId) -> Path:
        """FRR's log file, as the machine sees it. Its owner is the container: open it with `logs`, not by yourself."""

    @abstractmethod
    def logs(self, id: RouterId, lines: int | None = None) -> str:
        """Start-up output and FRR's log, or the last `lines` lines of each; also of a stopped container."""
