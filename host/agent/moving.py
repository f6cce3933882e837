"""Moves of routers to and from a node, as its agent takes part in them (:mod:`..migration`)."""

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..fabric import Fabric, namespace_path
from ..frr import GRACE_SECONDS
from ..migration.channel import ChannelError, Listener, Place, connect
from ..migration.follow import Followed
from ..migration.incoming import Incoming
from ..migration.move import Mode, Move, MoveError, MoveResult, Unfinished
from ..migration.namespace import settings
from ..migration.outgoing import Outgoing
from ..netns import in_namespace
from ..paths import network_dir, state_dir
from ..runtime.base import RouterId
from ..runtime.checkpoint import Checkpoints, SocketState
from ..runtime.criu import find_criu
from ..runtime.rootfs import remove_tree
from ..runtime.runc import RuncRuntime
from ..spec import RouterSpec
from ..store import NetworkStore
from .announce import announcements, probe
from .client import AgentClient, AgentError

if TYPE_CHECKING:
    from .agent import Agent
    from .dataplane import DataPlane

__all__ = ["Moves", "remove_work"]

#: Seconds that a move waits for what else the agent is about, and a destination for its caller.
_PATIENCE = 15.0
#: Seconds between looks whether the destination of a move has come back.
_FAREWELL_SECONDS = 0.5


class Moves:
    """Moves of an agent's routers; while one is under way, the agent changes nothing else.

    Parameters
    ----------
    agent : Agent
    """

    def __init__(self, agent: "Agent") -> None:
        self._agent = agent
        self._lease: tuple[str, int] = "", 0
        self._values: dict[str, Any] = {}
        self._store: NetworkStore | None = None

    # What is asked of it

    def expect(self, move: Move) -> Place:
        """Wait for a router's source to call, in a thread of its own; returns where it is to call."""
        listener = Listener()
        threading.Thread(target=self._serve, args=(move, listener), name=f"move-{move.id}", daemon=True).start()
        return listener.place

    def check(self, move: Move, place: Place) -> None:
        """Find out whether a router can move; changes nothing.

        Raises
        ------
        MoveError
            With the reasons why it can't.
        """
        with self._alone():
            self._outgoing(move, place, lambda outgoing: outgoing.check())

    def send(self, move: Move, place: Place, values: dict[str, Any], cancelled: Callable[[], bool]) -> MoveResult:
        """Move a router to the agent that waits for it.

        Parameters
        ----------
        move : Move
        place : Place
            Where that waits.
        values : dict
            Named values of the network's store that change with the move.
        cancelled : callable
            Whether it is not wanted any more.

        Raises
        ------
        MoveError
            If it was not moved; it is here, as before.
        """
        with self._alone():
            self._values = values       # only now: another move may have been under way
            return self._outgoing(move, place, self._run, cancelled)

    def _run(self, outgoing: Outgoing) -> MoveResult:
        try:
            return outgoing.run()
        except Unfinished:
            threading.Thread(target=self._wait_for_destination, args=(outgoing,), name="farewell", daemon=True).start()
            raise

    def _wait_for_destination(self, outgoing: Outgoing) -> None:
        """Forward on for a router that is elsewhere until it is there, and then let go of it."""
        move = outgoing.move
        while not self._agent.closing.wait(_FAREWELL_SECONDS):
            with suppress(AgentError), AgentClient(self._topology, move.destination) as there:
                if any(row["name"] == move.router.name and row["state"] == "running" for row in there.get("/routers")):
                    break

        def let_go() -> None:
            outgoing.drain(lambda: None)
            self.give_away(move)

        self._agent.again(move.router.name, let_go)

    def recover(self, routers: dict[str, RouterSpec]) -> dict[str, RouterSpec]:
        """What this node's routers are, after an agent that ended in the midst of moves.

        Parameters
        ----------
        routers : dict
            Those that were saved.

        Returns
        -------
        dict
            Those that are this node's, by the leases. What else was saved is to be removed.
        """
        store, agent, network = self._agent.store, self._agent, self._network
        leases = network.leases()
        mine = {name: router for name, router in routers.items()
                if name not in leases or leases[name].node == self._node}
        for name, saved in store.get("outgoing", {}).items():
            move = Move.model_validate(saved["move"])
            if name in mine:
                if saved["sockets"] is not None:
                    self._let_go_on(mine[name], SocketState.model_validate(saved["sockets"]))
                agent.events.emit("move given up", router=name, to=move.destination, why="the agent ended")
            network.end_move(name, move.id)
        for name, saved in store.get("incoming", {}).items():
            move = Move.model_validate(saved)
            store.save_router(name, move.router.number, move.router.model_dump())
            if name in leases and leases[name].node == self._node:
                mine[name] = move.router
                network.end_move(name, move.id)
            else:
                agent.events.emit("move given up", router=name, source=move.source, why="the agent ended")
        store.set(outgoing={}, incoming={})
        return mine

    def _let_go_on(self, router: RouterSpec, sockets: SocketState) -> None:
        id = self.router_id(router)
        if self._runtime.status(id).pid:
            self.checkpoints.thaw(id, sockets)

    # Both sides

    @property
    def _node(self) -> str:
        assert self._agent.spec is not None
        return self._agent.spec.node

    @property
    def _topology(self) -> str:
        assert self._agent.spec is not None
        return self._agent.spec.topology

    @property
    def _plane(self) -> "DataPlane":
        if self._agent.plane is None:
            raise MoveError("this node does not run: run 'polyrouter up'")
        return self._agent.plane

    @property
    def _runtime(self) -> RuncRuntime:
        assert isinstance(self._agent.runtime, RuncRuntime)
        return self._agent.runtime

    @property
    def fabric(self) -> Fabric:
        assert self._agent.fabric is not None
        return self._agent.fabric

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self._runtime, find_criu(state_dir()))

    def router_id(self, router: RouterSpec) -> RouterId:
        return self._agent.router_id(router)

    @property
    def _network(self) -> NetworkStore:
        """The network's saved state; opened once, as that takes as long as all that is asked of it in a move."""
        if self._store is None:
            self._store = NetworkStore(network_dir(self._topology) / "network.db")
        return self._store

    def close(self) -> None:
        """Let go of it."""
        if self._store is not None:
            self._store.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._agent.lock.acquire(timeout=_PATIENCE):
            raise MoveError(f"the agent of {self._node} is busy: {self._agent.doing or 'try again'}")
        try:
            yield
        finally:
            self._agent.doing = ""
            self._agent.lock.release()

    def _work(self, move: Move) -> Path:
        return self._agent.directory / f"move-{move.id}"

    def _saved(self, kind: str, name: str, value: dict[str, Any] | None) -> None:
        saved = self._agent.store.get(kind, {})
        saved.pop(name, None)
        self._agent.store.set(**{kind: saved if value is None else {**saved, name: value}})

    # Destination

    def _serve(self, move: Move, listener: Listener) -> None:
        try:
            with listener.accept(_PATIENCE) as channel, self._alone():
                listener.close()
                self._agent.events.emit("move expected", router=move.router.name, source=move.source)
                Incoming(self, move, channel, self._work(move)).serve()
        except (ChannelError, MoveError) as error:
            self._agent.events.emit("move failed", router=move.router.name, source=move.source, why=str(error))
        finally:
            listener.close()

    def why_no_room(self, move: Move) -> str | None:
        return self._plane.why_no_room(move.router)

    def hold(self, move: Move) -> None:
        self._saved("incoming", move.router.name, move.model_dump())
        self._plane.set_router(move.router, held=True)
        for port in move.router.ports:      # made now, as there will be no time for it
            announcements(port)

    def discard(self, move: Move) -> None:
        router = move.router
        self._plane.detach(router.name)
        self._plane.discard_router(router)
        self._runtime.delete(self.router_id(router))
        for port in router.ports:
            self.fabric.remove_link(port.outer)
        self._saved("incoming", router.name, None)
        self._agent.events.emit("move given up", router=router.name, source=move.source, why="the source gave it up")

    def follow(self, move: Move, source: Followed) -> None:
        self._plane.follow(move.router.name, source)

    def look_again(self, move: Move) -> None:
        self._plane.mirrors.resync(move.router.number, "the source told all")

    def caught_up(self, move: Move, source: Followed) -> bool:
        return self._plane.mirrors.call(lambda: not source.pending() and (
            mirror := self._plane.mirrors.get(move.router.number)) is not None and mirror.settled()).result()

    def is_mine(self, move: Move) -> bool:
        lease = self._network.lease(move.router.name)
        return lease is not None and lease.node == self._node

    def is_away(self, move: Move) -> bool:
        lease = self._network.lease(move.router.name)
        return lease is not None and lease.node == move.destination

    def enable(self, move: Move) -> None:
        self._plane.release_router(move.router.name)
        self._plane.announce(move.router.name)
        self._plane.attach(move.router, self._runtime.netns(self.router_id(move.router)))

    def start(self, move: Move, network: Callable[[Path], None], files: Callable[[Path], None]) -> None:
        router, id = move.router, self.router_id(move.router)
        # Its routes stay until it knows better, or the neighbours' patience is at its end.
        self._agent.containers.create(id, router, self.fabric, zebra=f"-K {GRACE_SECONDS}")
        network(self._runtime.netns(id))
        files(self.checkpoints.files(id))
        self._runtime.start(id)

    def take(self, move: Move, former: str) -> None:
        self.enable(move)
        self.adopt(move, former, {})
        self._agent.events.emit("move completed", router=move.router.name, source=move.source)

    def insist(self, move: Move, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:      # whatever it is, it must be done
            self._agent.events.emit("move not settled yet", router=move.router.name, why=str(error))
            threading.Thread(target=self._agent.again, args=(move.router.name, action), name="insist",
                             daemon=True).start()

    def why_not_ready(self) -> str | None:
        there = self._agent.health()["board"] and self._plane.in_step()
        return None if there else f"the board of {self._node} does not run, or does not answer"

    def announce(self, move: Move) -> None:
        self._plane.announce(move.router.name)

    def adopt(self, move: Move, former: str, counters: dict[str, int]) -> None:
        router = move.router
        self._agent.store.save_router(router.name, router.number, router.model_dump())
        if move.mode is Mode.LIVE:
            self._runtime.take_ids(self.router_id(router), former)
        self._plane.carry(router.name, counters)
        self._agent.take_router(router)
        self._saved("incoming", router.name, None)
        self._network.end_move(router.name, move.id)

    # Source

    def _outgoing(self, move: Move, place: Place, action: Callable[[Outgoing], Any],
                  cancelled: Callable[[], bool] = lambda: False) -> Any:
        router = self._agent.router(move.router.name)
        try:
            with connect(place) as channel:
                return action(Outgoing(self, move, router, channel, self._work(move), _fresh_settings(), cancelled))
        except ChannelError as error:
            raise MoveError(str(error)) from None

    def namespace(self, router: RouterSpec) -> Path:
        return self._runtime.netns(self.router_id(router))

    def running_config(self, router: RouterSpec) -> str:
        return self._runtime.exec(self.router_id(router), ["vtysh", "-c", "show running-config"]).stdout

    def emit(self, what: str, **details: Any) -> None:
        if what == "stage":
            self._agent.doing = f"moving {details['router']} to {details['to']}: {details['stage']}"
        self._agent.events.emit(what, **details)

    def begin(self, move: Move) -> None:
        name = move.router.name
        self._lease = name, self._network.begin_move(name, self._node, move.destination, move.id)
        self._saved("outgoing", name, {"move": move.model_dump(), "sockets": None})

    def suspend(self, move: Move, sockets: SocketState) -> None:
        self._saved("outgoing", move.router.name, {"move": move.model_dump(), "sockets": sockets.model_dump()})
        self._agent.forget_container(move.router.name)

    def silence(self, move: Move) -> None:
        self._plane.detach(move.router.name)

    def resume(self, move: Move) -> None:
        name = move.router.name
        self._network.end_move(name, move.id)
        self._saved("outgoing", name, None)
        self.insist(move, lambda: self._agent.take_router(self._agent.router(name)))

    def commit(self, move: Move) -> None:
        name, fence = self._lease
        self._network.commit_move(name, move.id, fence, **self._values)

    def prepare_restart(self, router: RouterSpec) -> None:
        id = self.router_id(router)
        for daemon, family in (("ospfd", "ip"), ("ospf6d", "ipv6")):
            if daemon in router.daemons:
                done = self._runtime.exec(id, ["vtysh", "-c", f"graceful-restart prepare {family} ospf"])
                if done.returncode or "%" in done.stdout:
                    raise MoveError(f"{daemon} can't tell its neighbours of a restart: "
                                    f"{(done.stdout + done.stderr).strip()}")

    def end_container(self, router: RouterSpec) -> None:
        self._runtime.stop(self.router_id(router), timeout=0)

    def frames(self, router: RouterSpec) -> dict[str, int]:
        counters = self._plane.driver.read_counters(router.number)
        return {f"{port} {reason.name}": value for (port, reason), value in counters.items() if value}

    def probe(self, router: RouterSpec) -> list[int]:
        spec = self._agent.spec
        if spec is None or spec.host_link:
            return []           # the segment of a real board is out of reach
        for port in router.ports:
            with in_namespace(namespace_path(spec.namespace), lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
                              ) as line:
                line.bind((spec.taps[port.port], 0))
                line.send(probe(port))
        return [port.port for port in router.ports]

    def give_away(self, move: Move) -> None:
        self._agent.give_router(move.router.name)
        self._saved("outgoing", move.router.name, None)
        self._network.end_move(move.router.name, move.id)


def _fresh_settings() -> dict[str, str]:
    """Settings of a network namespace that nobody has changed."""
    # The holder lives as long as its input.
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; read -r _"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        return in_namespace(f"/proc/{holder.pid}/ns/net", settings)


def remove_work(directory: Path) -> None:
    """Remove what moves that broke off have left."""
    for path in directory.glob("move-*"):
        remove_tree(path)

