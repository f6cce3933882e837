"""The destination's side of a move: it does what the source asks for, one call after the other, until the move is over.

Until the lease says that the router is its own, all that it makes is on trial, and is gone when the source gives up, or
is gone itself. From then on the router stays, whatever becomes of the source.
"""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from pyroute2.netlink.exceptions import NetlinkError

from ..board.errors import BoardError
from ..fabric import Fabric, set_up
from ..netns import in_namespace
from ..runtime.base import RouterId, RuntimeFailure
from ..runtime.checkpoint import Checkpoints, Description, SocketState
from ..runtime.image import ImageInfo
from ..runtime.restoring import INVENTORY, Restoring
from ..runtime.rootfs import remove_tree
from ..spec import RouterSpec
from .channel import Channel, ChannelError
from .faults import point
from .follow import Followed
from .image import make_image_directory
from .layer import extract, remove
from .move import Mode, Move
from .namespace import NamespaceState, put_state
from .replica import apply

__all__ = ["Host", "Incoming"]

#: Seconds that a mirror may take to bring what it was told into the tables.
_CATCH_UP = 60.0
_POLL = 0.002
#: What can go wrong with a call without being a mistake of this program's.
_REFUSALS = (RuntimeFailure, BoardError, NetlinkError, OSError, LookupError, ValueError)


class Host(Protocol):
    """What the destination's side needs of its agent."""

    @property
    def fabric(self) -> Fabric:
        """Cables of the node's boards."""
        ...

    @property
    def checkpoints(self) -> Checkpoints:
        """Of its containers; CRIU is looked for each time."""
        ...

    def router_id(self, router: RouterSpec) -> RouterId:
        """Its container's name here."""

    def why_no_room(self, move: Move) -> str | None:
        """Why its router does not fit, None if it does."""

    def hold(self, move: Move) -> None:
        """Write the move down; have tables for its router, which takes no frame."""

    def discard(self, move: Move) -> None:
        """Remove all that there is of a router that does not come."""

    def follow(self, move: Move, source: Followed) -> None:
        """Have the tables as that kernel says."""

    def look_again(self, move: Move) -> None:
        """Compare all with what that kernel says now."""

    def caught_up(self, move: Move, source: Followed) -> bool:
        """Whether the tables are so."""

    def is_mine(self, move: Move) -> bool:
        """Whether the lease says so."""

    def enable(self, move: Move) -> None:
        """Have the router take frames, say on its segments that it is here, and carry frames to and from its container.
        """

    def start(self, move: Move, network: Callable[[Path], None], files: Callable[[Path], None]) -> None:
        """Make the router's container anew, have its network namespace and its files filled, and start it.

        Its routing stack leaves the routes that it finds, for a while.
        """

    def take(self, move: Move, former: str) -> None:
        """Enable and adopt the router, whose source is gone."""

    def insist(self, move: Move, action: Callable[[], None]) -> None:
        """Do something for it now, or as soon as it can be done, if the board does not answer now."""

    def why_not_ready(self) -> str | None:
        """Why the node can't take a router just now, None if it can."""

    def announce(self, move: Move) -> None:
        """Say it again."""

    def adopt(self, move: Move, former: str, counters: dict[str, int]) -> None:
        """It is one of the node's routers from now on; user ids that were ``former``'s are its own."""


class Incoming:
    """Serves the source until the move is over.

    Parameters
    ----------
    host : Host
    move : Move
    channel : Channel
        To the source.
    work : Path
        Directory of its own, for what is sent.
    """

    def __init__(self, host: Host, move: Move, channel: Channel, work: Path) -> None:
        self._host, self._move, self._channel, self._work = host, move, channel, work
        self._id = host.router_id(move.router)
        self._checkpoints = host.checkpoints        # CRIU is looked for once
        self._followed = Followed()
        self._description: Description | None = None
        self._state = NamespaceState()
        self._restoring: Restoring | None = None
        self._gone: list[str] = []
        self._times: dict[str, float] = {}
        self._reserved = self._adopted = False
        self.ended = False

    def serve(self) -> None:
        """Until the source says that it is over, or is gone; then either all of the router is here, or nothing."""
        calls: dict[str, Callable[..., Any]] = {
            "check": self._check, "reserve": self._reserve, "layer": self._layer, "changes": self._changes,
            "dump": self._dump, "events": self._events, "settle": self._settle, "prepare": self._prepare,
            "image": self._image, "restore": self._restore, "start": self._start,
            "activate": self._activate, "announce": self._announce, "finish": self._finish}
        try:
            while not self.ended:
                message = self._channel.receive()
                name = str(message.pop("call", ""))
                if name not in calls:
                    self._channel.send(error=f"there is no call {name!r}")
                    continue
                try:
                    self._channel.send(ok=calls[name](**message))
                except _REFUSALS as error:
                    if isinstance(error, ChannelError):
                        raise
                    self._channel.send(error=str(error))
        except ChannelError:
            pass            # the source gave up, or is gone: what becomes of the router, the lease says
        finally:
            self._end()

    def _end(self) -> None:
        try:
            if self._restoring is not None:
                self._restoring.give_up()
            if self._description is not None and self._reserved and not self._adopted:
                move, former = self._move, self._description.owner
                self._host.insist(move, (lambda: self._host.take(move, former)) if self._host.is_mine(move) else
                                  (lambda: self._host.discard(move)))
        finally:
            remove_tree(self._work)

    # Calls

    def _check(self, kernel: str, criu: list[int], image: dict[str, Any]) -> list[str]:
        """What keeps the router from coming here."""
        mine, checkpoints = os.uname().release, self._checkpoints
        problems = []
        if self._move.mode is Mode.RESTART:
            problem = self._host.why_no_room(self._move)
            return [problem] if problem else []
        if kernel != mine:
            problems.append(f"its kernel is Linux {mine}, and the source's {kernel}; use --restart")
        if problem := checkpoints.problem():
            problems.append(f"{problem}; or use --restart")
        elif tuple(criu) > checkpoints.criu_version:
            problems.append(f"its CRIU {_dotted(checkpoints.criu_version)} is older than the source's {_dotted(criu)}")
        if problem := checkpoints.why_not_image(ImageInfo.model_validate(image)):
            problems.append(problem)
        if problem := self._host.why_no_room(self._move):
            problems.append(problem)
        return problems

    def _reserve(self, description: dict[str, Any]) -> None:
        point("destination-reserved")
        self._description = Description.model_validate(description)
        make_image_directory(self._work)
        self._reserved = True       # before there is anything to be discarded
        self._host.hold(self._move)
        if self._move.mode is Mode.LIVE:
            self._checkpoints.reserve(self._id, self._description)
        self._host.follow(self._move, self._followed)

    def _spool(self, name: str) -> Path:
        """What is sent, in a file; all of it is taken even if there is no room for it."""
        path, failure = self._work / name, None
        with path.open("wb") as file:
            for part in self._channel.receive_parts():
                try:
                    if failure is None and isinstance(part, int):
                        file.seek(part, os.SEEK_CUR)
                    elif failure is None:
                        file.write(part)                # type: ignore[arg-type]
                except OSError as error:
                    failure = error
            file.truncate()     # at the end, also if that is zeros
        if failure is not None:
            raise OSError(failure.errno, f"no room for what is sent: {failure.strerror}")
        return path

    def _layer(self) -> int:
        archive = self._spool("layer.tar")
        size = archive.stat().st_size
        if self._move.mode is Mode.LIVE:
            extract(self._checkpoints.upper(self._id), archive)
            archive.unlink()
        point("destination-copied")
        return size

    def _changes(self, gone: list[str]) -> None:
        archive = self._spool("changes.tar")
        if self._move.mode is Mode.RESTART:
            self._gone = gone       # there are no files yet
            return
        files = self._checkpoints.files(self._id)
        remove(files, gone)
        if archive.stat().st_size:
            extract(files, archive, above=True)

    def _dump(self, kind: int) -> None:
        # In one piece: the channel cuts where it likes, and messages must be whole.
        self._followed.put_dump(kind, [b"".join(self._channel.receive_data())])

    def _events(self) -> None:
        self._followed.put_events(b"".join(self._channel.receive_data()))

    def _settle(self, fresh: bool = False) -> dict[str, int]:
        """Wait until the tables are as the source's kernel says; says whether that takes dumps."""
        if fresh:
            self._host.look_again(self._move)
        end = time.monotonic() + _CATCH_UP
        while not self._host.caught_up(self._move, self._followed) and not self._followed.replica.unsure:
            if time.monotonic() > end:
                raise TimeoutError(f"the tables did not follow within {_CATCH_UP} s")
            time.sleep(_POLL)
        return {"again": self._followed.replica.unsure, "routes": self._followed.replica.route_count()}

    def _prepare(self, state: dict[str, Any]) -> None:
        """Have all ready that the container needs but its checkpoint."""
        assert self._description is not None
        self._state = NamespaceState.model_validate(state)
        self._restoring = self._checkpoints.restore(self._id, self._description, self._work / "image",
                                                         self._network)

    def _image(self) -> None:
        """Files of the checkpoint, as they are written."""
        assert self._restoring is not None
        while "end" not in (message := self._channel.receive()):
            name = str(message["file"])
            if os.sep in name or name in ("", ".", ".."):
                raise ChannelError(f"{name!r} is no name of a file of a checkpoint")
            self._spool(f"image/{self._restoring.inventory.name if name == INVENTORY else name}")

    def _restore(self, sockets: dict[str, Any]) -> dict[str, float]:
        point("destination-restoring")
        assert self._restoring is not None
        begin = time.monotonic()
        self._times = {"begin": begin}
        self._restoring.go()
        self._checkpoints.complete(self._id, SocketState.model_validate(sockets))
        if problem := self._host.why_not_ready():       # there will be no way back
            raise RuntimeFailure(problem)
        self._times["to the end"] = time.monotonic() - begin
        point("destination-restored")
        return {name: value for name, value in self._times.items() if name != "begin"}

    def _start(self, state: dict[str, Any]) -> dict[str, float]:
        """Make a container of its own, with all that the other one's kernel knew and its files, and start it."""
        point("destination-restoring")
        self._state = NamespaceState.model_validate(state)
        begin = time.monotonic()
        self._times = {"begin": begin}

        def put_files(files: Path) -> None:
            remove(files, self._gone)
            for name in ("layer.tar", "changes.tar"):
                archive = self._work / name
                if archive.exists() and archive.stat().st_size:
                    extract(files, archive, above=True)

        self._host.start(self._move, self._network, put_files)
        if problem := self._host.why_not_ready():
            raise RuntimeFailure(problem)
        self._times["to the end"] = time.monotonic() - begin
        point("destination-restored")
        return {name: value for name, value in self._times.items() if name != "begin"}

    def _network(self, namespace: Path) -> None:
        begin = time.monotonic()
        self._times["to the network"] = begin - self._times["begin"]
        self._fill(namespace)
        self._times["network"] = time.monotonic() - begin

    def _fill(self, namespace: Path) -> None:
        """Give a namespace the router's interfaces, and let its kernel know what the other one did."""
        fabric, names = self._host.fabric, {link.name: link for link in self._state.links}
        in_namespace(namespace, lambda: put_state(self._state))
        for port in self._move.router.ports:
            fabric.ensure_veth(port.outer, port.name, namespace, port.mac, port.mtu, index=names[port.name].index)

        def know() -> None:
            set_up("lo")
            put_state(self._state.of_interfaces(port.name for port in self._move.router.ports))
            apply(self._followed.replica)

        in_namespace(namespace, know)

    def _activate(self) -> None:
        point("destination-activating")
        if not self._host.is_mine(self._move):
            raise ValueError(f"{self._move.router.name} is still {self._move.source}'s")
        self._host.enable(self._move)
        point("destination-activated")

    def _settle_down(self) -> None:
        """What could wait until the router was itself again."""
        if self._restoring is not None:
            self._restoring.end()

    def _announce(self) -> None:
        self._host.announce(self._move)

    def _finish(self, counters: dict[str, int]) -> None:
        assert self._description is not None
        self._settle_down()
        self._host.adopt(self._move, self._description.owner, counters)
        self._adopted = self.ended = True


def _dotted(version: Iterable[int]) -> str:
    return ".".join(map(str, version))
