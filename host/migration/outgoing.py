"""The source's side of a move: it has the say, stage by stage, until the lease says that the router is elsewhere.

Whatever goes wrong before that, the router goes on here as if nothing had been; after it, there is no way back, and all
of it here goes.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from ..mirror.netlink import RTM_GETLINK, Link, MirrorSocket, Overflow
from ..runtime.base import ContainerError, RouterId
from ..runtime.checkpoint import Checkpoints, SocketState
from ..runtime.rootfs import remove_tree
from ..spec import RouterSpec
from .channel import TIMEOUT, Channel
from .faults import point
from .follow import DUMP_KINDS
from .image import make_image_directory
from .layer import Manifest, changed_since, manifest_of, pack
from .move import Mode, Move, MoveError, MoveResult, Stage, Unfinished
from .namespace import NamespaceState, state_of

__all__ = ["Outgoing", "Owner", "why_not_live"]

#: Looks at the counters of a data plane that should not get frames any more: how many in a row must agree, how far
#: apart, and how long it may take, in seconds.
_QUIET_LOOKS, _QUIET_SECONDS, _DRAIN_SECONDS = 3, 0.05, 20.0
#: Seconds that the destination may leave us without a word while the processes stand still: their neighbours wait less
#: long than the other way round.
_FROZEN_PATIENCE = 8.0
#: Blocks of FRR's configuration.
_OSPF, _BGP = r"^router ospf6?$.*?^exit$", r"^router bgp \d+$.*?^exit$"
_PASSWORD = re.compile(r"^\s*neighbor \S+ (password|ttl-security)\b", re.MULTILINE)
#: Daemons that have sockets which CRIU can't restore, as the kernel's multicast routing is theirs.
_MULTICAST_DAEMONS = frozenset({"pimd", "pim6d"})
_PART = 1 << 18


class Owner(Protocol):
    """What the source's side needs of its agent."""

    @property
    def checkpoints(self) -> Checkpoints:
        """Of its containers; CRIU is looked for each time."""
        ...

    def router_id(self, router: RouterSpec) -> RouterId:
        """Its container's name here."""

    def namespace(self, router: RouterSpec) -> Path:
        """Its container's network namespace."""

    def running_config(self, router: RouterSpec) -> str:
        """Its routing stack's configuration, as that shows it."""

    def emit(self, what: str, **details: Any) -> None:
        """Tell of an event."""

    def begin(self, move: Move) -> None:
        """Write the move down here and in the lease."""

    def suspend(self, move: Move, sockets: SocketState) -> None:
        """What becomes of its container is the move's business; what is needed to let that go on is written down."""

    def silence(self, move: Move) -> None:
        """Carry no frames to and from its container any more."""

    def resume(self, move: Move) -> None:
        """It stays: all is as it was before."""

    def prepare_restart(self, router: RouterSpec) -> None:
        """Tell its neighbours that it is about to be started anew."""

    def end_container(self, router: RouterSpec) -> None:
        """End its processes at once, so that they take nothing back."""

    def commit(self, move: Move) -> None:
        """The lease says that it is the destination's."""

    def frames(self, router: RouterSpec) -> dict[str, int]:
        """Counters of its data plane, by port and reason, as in "0 FORWARDED"."""

    def probe(self, router: RouterSpec) -> list[int]:
        """Send it a frame on each port after all that wait there; ports on which that can be done."""

    def is_away(self, move: Move) -> bool:
        """Whether the lease says that it is the destination's."""

    def give_away(self, move: Move) -> None:
        """Remove all that there is of it here."""


def why_not_live(router: RouterSpec, running_config: str, links: list[tuple[str, bool]], mroutes: int) -> str | None:
    """Why a router's processes can't be moved as they are, None if they can.

    Parameters
    ----------
    router : RouterSpec
    running_config : str
        As FRR shows it.
    links : list of (str, bool)
        Interfaces of its container, and whether they are up.
    mroutes : int
        Multicast routes of its kernel.
    """
    if match := _PASSWORD.search(running_config):
        return (f"a BGP session has {match[1]}, and the kernel's state of it can't be read (neighbor ... {match[1]}); "
                "take it out, or use --restart")
    if found := _MULTICAST_DAEMONS & set(router.daemons):
        return (f"{', '.join(sorted(found))} runs in it, whose socket for multicast routing can't be restored; use "
                "--restart")
    if mroutes:
        return f"its kernel has {mroutes} multicast routes, which are not moved; use --restart"
    ports = {"lo", *(port.name for port in router.ports)}
    if others := sorted(name for name, up in links if up and name not in ports):
        return f"it has made interfaces of its own ({', '.join(others)}), which are not moved; remove them"
    if missing := sorted(ports - {name for name, _ in links}):
        return f"its interfaces {', '.join(missing)} are gone; run 'polyrouter up' first"
    return None


def why_not_restart(router: RouterSpec, running_config: str, links: list[tuple[str, bool]], mroutes: int) -> str | None:
    """Why neighbours would notice that a router's processes are started anew, None if they would not.

    Parameters
    ----------
    router, running_config, links, mroutes
        As of :func:`why_not_live`.
    """
    missing = [what for what, pattern in (("ospf", _OSPF), ("bgp", _BGP)) if any(
        "graceful-restart" not in block for block in re.findall(pattern, running_config, re.MULTILINE | re.DOTALL))]
    if missing:
        return (f"its neighbours would take its routes away, as it has no graceful restart: set graceful-restart of "
                f"{' and '.join(missing)} to true, at it and at its neighbours")
    if others := sorted({"isisd", "ripd", "pimd", "pim6d"} & set(router.daemons)):
        return f"{', '.join(others)} runs in it, which knows no graceful restart"
    if missing := sorted({port.name for port in router.ports} - {name for name, _ in links}):
        return f"its interfaces {', '.join(missing)} are gone; run 'polyrouter up' first"
    return None


class Outgoing:
    """Moves a router to the agent at the other end of a channel.

    Parameters
    ----------
    owner : Owner
    move : Move
    router : RouterSpec
        As it is here.
    channel : Channel
        To the destination.
    work : Path
        Directory of its own, for the checkpoint.
    fresh : dict
        Settings of a new network namespace.
    cancelled : callable
        Whether whoever wanted the move does not want it any more.
    """

    def __init__(self, owner: Owner, move: Move, router: RouterSpec, channel: Channel, work: Path,
                 fresh: dict[str, str], cancelled: Callable[[], bool] = lambda: False) -> None:
        self._owner, self._move, self._router, self._channel, self._work = owner, move, router, channel, work
        self._fresh, self._cancelled = fresh, cancelled
        self._id = owner.router_id(router)
        self._checkpoints = owner.checkpoints       # CRIU is looked for once
        self._begin = time.monotonic()
        self._stages: dict[str, float] = {}
        self._steps: dict[str, float] = {}
        self._routes = 0
        self._frozen = 0.0
        self._committed = self._begun = False
        self._sockets: SocketState | None = None
        self._mirror: MirrorSocket | None = None

    @property
    def move(self) -> Move:
        """What is to move."""
        return self._move

    def run(self) -> MoveResult:
        """Move it.

        Raises
        ------
        MoveError
            If it was not moved; it is here, as before.
        Unfinished
            If the destination is gone, to which it belongs.
        """
        try:
            return self._run()
        except BaseException as error:
            # What the store did with a commitment that failed, only the store knows.
            if self._committed or (self._begun and self._owner.is_away(self._move)):
                self._owner.emit("move unfinished", router=self._router.name, to=self._move.destination, why=str(error))
                raise Unfinished(f"{self._router.name} is {self._move.destination}'s now, which did not say that it "
                                 f"has it: {error}; if its agent does not run, 'polyrouter up' starts it") from error
            self._undo(error)
            if isinstance(error, Exception):
                raise MoveError(f"{self._router.name} stays on {self._move.source}: {error}") from error
            raise
        finally:
            if self._mirror is not None:
                self._mirror.close()
            remove_tree(self._work)

    def check(self) -> None:
        """Find out whether the move can be, here and on the destination; changes nothing.

        Raises
        ------
        MoveError
            With all reasons why it can't.
        """
        checkpoints, router = self._checkpoints, self._router
        problems = []
        mirror = MirrorSocket(self._owner.namespace(router))
        try:
            links = [(event.item.name, bool(event.item.flags & 1)) for event in mirror.dump(RTM_GETLINK)
                     if isinstance(event.item, Link)]
            mroutes = len(mirror.dump_mroutes())
        finally:
            mirror.close()
        config = self._owner.running_config(router)
        live = self._move.mode is Mode.LIVE
        if problem := (why_not_live if live else why_not_restart)(router, config, links, mroutes):
            problems.append(f"{router.name}: {problem}")
        if live and (problem := checkpoints.problem()):
            problems.append(f"{self._move.source}: {problem}; or use --restart")
        found = self._call("check", kernel=os.uname().release, criu=list(checkpoints.criu_version),
                           image=checkpoints.describe(self._id).image.model_dump())
        problems += [f"{self._move.destination}: {problem}" for problem in found]
        if problems:
            raise MoveError("; ".join(problems))

    def _undo(self, error: BaseException) -> None:
        self._channel.close()
        try:
            if self._sockets is not None:
                self._checkpoints.thaw(self._id, self._sockets)
        except ContainerError as failure:       # its processes did not live through it: they are started anew
            self._owner.emit("container lost", router=self._router.name, why=str(failure))
        if self._begun:
            self._owner.resume(self._move)
        self._owner.emit("move failed", router=self._router.name, to=self._move.destination, why=str(error))

    def _run(self) -> MoveResult:
        owner, checkpoints, name = self._owner, self._checkpoints, self._router.name
        with self._stage(Stage.PRE_MIGRATION):
            self.check()
            point("source-checked")
            self._begun = True
            owner.begin(self._move)
            point("source-begun")
        with self._stage(Stage.RESERVATION):
            self._call("reserve", description=checkpoints.describe(self._id).model_dump())
            point("source-reserved")
        with self._stage(Stage.COPY):
            if self._move.mode is Mode.LIVE and not checkpoints.tracks_memory:
                owner.emit("memory is not copied beforehand", router=name,
                           why="the kernel does not track which pages are written (CONFIG_MEM_SOFT_DIRTY)")
            layer_bytes, manifest = self._copy_layer()
            namespace = owner.namespace(self._router)
            self._mirror = mirror = MirrorSocket(namespace)
            self._dump(mirror)
            state = state_of(namespace, self._fresh)
            self._settle(mirror, fresh=True)
            point("source-copied")
        with self._stage(Stage.STOP_AND_COPY):
            self._channel.set_patience(_FROZEN_PATIENCE)
            stop = self._stop_live if self._move.mode is Mode.LIVE else self._stop_for_restart
            image_bytes, restored = stop(mirror, manifest, state)
            point("source-restored")
        with self._stage(Stage.COMMITMENT):
            self._stop_if_cancelled()
            owner.commit(self._move)
            self._committed = True
            point("source-committed")
            self._call("activate")
            self._step("activate")
            point("source-activated")
        with self._stage(Stage.ACTIVATION):
            counters = self.drain(lambda: self._call("announce"))
            point("source-drained")
            self._call("finish", counters=counters)
            owner.give_away(self._move)
            point("source-freed")
        steps = {**self._steps, **{f"restore: {key}": 1000 * value for key, value in restored.items()}}
        result = MoveResult(
            freeze_ms=sum(self._steps.values()), total_ms=1000 * (time.monotonic() - self._begin),
            stages_ms=self._stages, steps_ms=steps, image_bytes=image_bytes, layer_bytes=layer_bytes,
            routes=self._routes)
        owner.emit("moved", router=name, to=self._move.destination, **result.model_dump())
        return result

    # Steps

    @contextmanager
    def _stage(self, stage: Stage) -> Iterator[None]:
        self._stop_if_cancelled()
        begin = time.monotonic()
        self._owner.emit("stage", router=self._router.name, move=self._move.id, stage=stage.value,
                         to=self._move.destination)
        yield
        self._stages[stage.value] = 1000 * (time.monotonic() - begin)
        self._owner.emit("stage ended", router=self._router.name, move=self._move.id, stage=stage.value,
                         milliseconds=round(self._stages[stage.value], 3))

    def _step(self, name: str) -> None:
        """Note how long a step of the stand-still took."""
        self._steps[name] = 1000 * (time.monotonic() - self._frozen) - sum(self._steps.values())

    def _stop_if_cancelled(self) -> None:
        if not self._committed and self._cancelled():
            raise MoveError("it is not wanted any more")

    def _answer(self) -> Any:
        message = self._channel.receive()
        if "error" in message:
            raise MoveError(f"{self._move.destination} says: {message['error']}")
        return message.get("ok")

    def _call(self, call: str, **arguments: Any) -> Any:
        self._channel.send(call=call, **arguments)
        return self._answer()

    def _call_with(self, call: str, parts: Iterator[bytes] | list[bytes], **arguments: Any) -> int:
        self._channel.send(call=call, **arguments)
        sent = self._channel.send_data(parts)
        self._answer()
        return sent

    def _copy_layer(self) -> tuple[int, Manifest]:
        upper = self._checkpoints.upper(self._id)
        manifest = manifest_of(upper)       # before: what changes meanwhile is sent again
        return self._call_with("layer", pack(upper)), manifest

    def _changes(self, before: Manifest) -> None:
        upper = self._checkpoints.upper(self._id)
        changed, gone = changed_since(before, manifest_of(upper))
        if changed or gone:
            self._call_with("changes", pack(upper, changed) if changed else [], gone=gone)

    def _dump(self, mirror: MirrorSocket) -> None:
        mirror.discard()
        for kind in DUMP_KINDS:
            parts = mirror.dump_raw(kind)
            self._call_with("dump", parts, kind=int(kind))

    def _settle(self, mirror: MirrorSocket, *, fresh: bool = False) -> None:
        """Tell the destination what the kernel has said since, until it knows all of it."""
        while True:
            try:
                events = []
                while (data := mirror.receive()) is not None:
                    events.append(data)
            except Overflow:
                self._dump(mirror)
                continue
            if events:
                self._call_with("events", events)
            answer = self._call("settle", fresh=fresh)
            self._routes = answer["routes"]
            if not answer["again"]:
                return
            self._dump(mirror)
            fresh = True

    def _stop_live(self, mirror: MirrorSocket, manifest: Manifest, state: NamespaceState
                   ) -> tuple[int, dict[str, float]]:
        """Have the processes go on at the destination; returns the bytes of their checkpoint, and what took so long."""
        self._sockets = self._checkpoints.loosen(self._id)
        self._owner.suspend(self._move, self._sockets)
        self._call("prepare", state=state.model_dump())
        image_bytes = self._image(mirror, manifest)
        point("source-sent")
        restored = self._call("restore", sockets=self._sockets.model_dump())
        self._step("restore")
        return image_bytes, restored

    def _stop_for_restart(self, mirror: MirrorSocket, manifest: Manifest, state: NamespaceState
                          ) -> tuple[int, dict[str, float]]:
        """End the processes here, and have them started at the destination; neighbours were told."""
        self._owner.suspend(self._move, SocketState())
        self._owner.prepare_restart(self._router)
        self._frozen = time.monotonic()
        self._owner.silence(self._move)
        self._owner.end_container(self._router)
        point("source-frozen")
        self._settle(mirror)
        self._step("routes")
        self._changes(manifest)
        self._step("files")
        point("source-dumped")
        point("source-sent")
        self._channel.set_patience(TIMEOUT)     # neighbours are patient, too
        started = self._call("start", state=state.model_dump())
        self._step("start")
        return 0, started

    def _image(self, mirror: MirrorSocket, manifest: Manifest) -> int:
        """Freeze the processes, and send their checkpoint as it is written, after all that they have changed last."""
        make_image_directory(self._work)
        sent = 0

        def stopped() -> None:
            self._frozen = time.monotonic()
            self._owner.silence(self._move)
            point("source-frozen")
            self._settle(mirror)
            self._step("routes")
            self._changes(manifest)
            self._step("files")
            self._channel.send(call="image")

        def written(file: Path) -> None:
            nonlocal sent
            self._channel.send(file=file.name)
            sent += self._channel.send_data(_read(file))

        self._checkpoints.dump(self._id, self._work / "image", stopped, written)
        self._step("dump")
        point("source-dumped")
        self._channel.send(end=True)
        self._answer()
        self._step("send")
        return sent

    def drain(self, announce: Callable[[], None]) -> dict[str, int]:
        """Wait until no frame comes in here any more; returns the counters at the end.

        What waits before the data plane is not counted yet. So a frame of our own is sent after it on each port, where
        that can be: when it is counted, nothing is left before it.

        Parameters
        ----------
        announce : callable
            Has the destination say again where the router is.
        """
        end = time.monotonic() + _DRAIN_SECONDS
        before, quiet, probes, mine = self._owner.frames(self._router), 0, 0, set()
        while quiet < _QUIET_LOOKS:
            own = self._owner.probe(self._router)
            probes += 1
            now = self._wait_for_probes(before, own, end)
            alone = _total(now) - _total(before) == len(own)
            if alone:
                mine = {key for key, value in now.items() if value != before.get(key, 0)}
            before = now
            if alone:
                quiet += 1
                continue
            quiet = 0
            if time.monotonic() > end:
                self._owner.emit("frames still come to the old place", router=self._router.name, why=(
                    "something on its segments does not learn where it is now"))
                break
            announce()
        # Those of our own were nobody's.
        return {key: value - probes * (key in mine) for key, value in before.items()}

    def _wait_for_probes(self, before: dict[str, int], ports: list[int], end: float) -> dict[str, int]:
        while True:
            time.sleep(_QUIET_SECONDS)
            now = self._owner.frames(self._router)
            if all(_total(now, port) > _total(before, port) for port in ports) or time.monotonic() > end:
                return now


def _total(frames: dict[str, int], port: int | None = None) -> int:
    """Sum of counters, of one port or of all."""
    return sum(value for key, value in frames.items() if port is None or key.split()[0] == str(port))


def _read(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while part := opened.read(_PART):
            yield part
