"""The agent of a node: makes board, tables and containers what its specification says, and keeps them so.

Everything it makes outlives it. An agent that starts again takes over what runs, and repairs what does not.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from polyrouter.hdl.config import CoreConfig
from pyroute2.netlink.exceptions import NetlinkError

from ..board.errors import BoardError
from ..board.transport import TransportError
from ..fabric import Fabric
from ..lanes.errors import LaneError
from ..lanes.hardware import HardwareInterfaces
from ..lanes.software import SoftwareLane
from ..lanes.trunk import Trunk
from ..link_spec import VnicSpec
from ..plan import router_differences
from ..runtime.base import ContainerError, NoSuchContainer, RouterId, Runtime, State
from ..spec import NodeSpec, RouterSpec
from ..store import AgentStore
from .board import BoardKeeper
from .containers import RouterContainers
from .dataplane import DataPlane
from .events import EventLog
from .moving import Moves, remove_work
from .node_links import is_served
from .supervisor import Supervisor

__all__ = ["Agent", "AgentBusy"]

#: Containers that are made or ended at the same time.
_WORKERS = 4
#: Restarts of a container or board that keeps dying wait longer and longer, up to this, in seconds.
_LONGEST_PAUSE = 30.0
#: What lives longer than this after a restart does not keep dying.
_STABLE = 10.0
#: Seconds between looks at whether the board still does what it is told.
_CHECK_SECONDS = 1.0


class AgentBusy(RuntimeError):
    """The agent can't do this now."""


class Agent:
    """A node's agent.

    Parameters
    ----------
    directory : Path
        Saved state.
    runtime : Runtime
        Runs the containers.
    make_board : callable
        From the node's specification to the keeper of its board; tests give it a stand-in.
    outside : str, optional
        Path of the network namespace with the interfaces that lead to real boards; by default that of the process.
    """

    def __init__(self, directory: Path, runtime: Runtime, make_board: Callable[[NodeSpec, Fabric], BoardKeeper], *,
                 outside: str | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.store = AgentStore(directory / "agent.db")
        self.events = EventLog(directory / "events.jsonl")
        self.runtime = runtime
        self.directory = directory
        self.moves = Moves(self)
        self.containers = RouterContainers(runtime, self.events)
        self.doing = ""
        self.spec: NodeSpec | None = None
        self.plane: DataPlane | None = None
        self._make_board = make_board
        self._outside = outside
        self._answers = True        # the board, as far as is known
        self._board: BoardKeeper | None = None
        self.fabric: Fabric | None = None
        self._routers: dict[str, RouterSpec] = {}
        self._lane: SoftwareLane | None = None
        self._vnics: dict[str, VnicSpec] = {}       # whose interfaces are as they should be, as far as is known
        self._troubles: dict[str, str] = {}
        self._failures: dict[str, int] = {}
        self._restarted: dict[str, float] = {}
        self.lock = threading.RLock()
        self.closing = threading.Event()
        self._supervisor = Supervisor()
        threading.Thread(target=self._check, name="check", daemon=True).start()

    # Life

    def recover(self) -> None:
        """Take over what a previous agent of this node has made."""
        saved = self.store.get("spec")
        if saved is None:
            return
        spec = NodeSpec.model_validate(saved)
        self.spec = spec
        remove_work(self.directory)
        spec.routers = self.moves.recover({name: RouterSpec.model_validate(row)
                                           for name, (_, row) in self.store.routers().items()})
        self.events.emit("recovering", routers=len(spec.routers))
        self.apply(spec)

    def close(self) -> None:
        """End without ending what was made."""
        self.closing.set()
        self._supervisor.close()
        with self.lock:
            if self.plane is not None:
                self.plane.close()
            if self.fabric is not None:
                self.fabric.close()
            self.moves.close()
            self.store.close()

    # What is to be

    def apply(self, spec: NodeSpec) -> list[str]:
        """Make the node what the specification says; returns what was changed.

        Raises
        ------
        AgentBusy
            If the agent is about to end.
        """
        return self._change(spec, self._apply)

    def apply_links(self, spec: NodeSpec) -> list[str]:
        """The same for a node of which only routers, circuits and VNICs differ from what it is: what does not is not
        looked at.

        Raises
        ------
        AgentBusy
            If the agent is about to end.
        ValueError
            If more differs, or the node does not run.
        """
        now = self.spec
        if now is None or self.plane is None or self._board is None or not self._board.running():
            raise ValueError("this node does not run: run 'polyrouter up'")
        links = set(NodeSpec.model_fields) - {"routers", "circuits", "terminations", "vnics"}
        different = [name for name in sorted(links) if getattr(now, name) != getattr(spec, name)]
        if different:
            raise ValueError(f"{', '.join(different)} of the node would change, too: run 'polyrouter up'")
        return self._change(spec, self._apply_parts)

    def _change(self, spec: NodeSpec, apply: Callable[[NodeSpec, list[str]], None]) -> list[str]:
        with self.lock:
            if self.closing.is_set():
                raise AgentBusy("the agent is about to end")
            changes: list[str] = []
            try:
                apply(spec, changes)
            finally:
                self.doing = ""
                for change in changes:
                    self.events.emit("changed", change=change)
            return changes

    def _apply(self, spec: NodeSpec, changes: list[str]) -> None:
        previous = self.spec
        self.store.set(spec=spec.model_copy(update={"routers": {}}).model_dump())
        self.spec = spec
        if previous is not None and (previous.core, previous.macs, previous.link) != (spec.core, spec.macs, spec.link):
            self._replace_board(previous, changes)
        self._ensure_board(spec, changes)
        self._vnics.clear()         # all of them are looked at
        self._settle(spec, spec.routers, changes)

    def _apply_parts(self, spec: NodeSpec, changes: list[str]) -> None:
        self.store.set(spec=spec.model_copy(update={"routers": {}}).model_dump())
        self.spec = spec
        self._settle(spec, {name: router for name, router in spec.routers.items()
                            if self._routers.get(name) != router or name in self._troubles}, changes)

    def _settle(self, spec: NodeSpec, routers: dict[str, RouterSpec], changes: list[str]) -> None:
        """Bring these routers, and all links, to what they should be; remove routers that the node is not to have."""
        assert self.plane is not None
        # Errors of single routers are collected: one that can't be made must not hold up the others.
        errors: list[str] = []
        known = {name: RouterSpec.model_validate(row) for name, (_, row) in self.store.routers().items()}
        gone = [router for name, router in known.items()
                if name not in spec.routers or self._must_recreate(router, spec.routers[name])]
        # Circuits go before their owners, and come after them.
        self.plane.release_links(spec, gone)
        for router in gone:
            self._say(f"removing {router.name}")
            self._remove_router(router)
            changes.append(f"removed router {router.name}")
        with ThreadPoolExecutor(_WORKERS) as pool:
            futures = {name: pool.submit(self._settle_router, known.get(name), router, changes)
                       for name, router in routers.items()}
        for name, future in futures.items():
            error = future.exception()
            if error is not None:
                self._trouble(name, str(error))
                errors.append(f"{name}: {error}")
        errors += self._settle_links(spec, changes)
        if errors:
            raise RuntimeError("; ".join(errors))

    @staticmethod
    def _must_recreate(old: RouterSpec, new: RouterSpec) -> bool:
        return any(getattr(old, field) != getattr(new, field)
                   for field in ("number", "fib_words", "adjacencies", "filter_rules", "policers", "mac_rows",
                                 "container"))

    # Links

    def _settle_links(self, spec: NodeSpec, changes: list[str]) -> list[str]:
        """Bring circuits, tunnels and VNICs to what they should be; returns what went wrong."""
        assert self.plane is not None
        if not spec.vnics and not spec.circuits and not self.store.get("links", False):
            return []
        self._say("making links")
        self.store.set(links=True)      # before there is anything to be removed
        errors = []
        if self.plane.set_links(spec):
            changes.append("programmed circuits")
        interfaces = HardwareInterfaces(spec.namespace, spec.node)
        served = [vnic for vnic in spec.vnics.values() if is_served(vnic)]
        changes += interfaces.keep_only(served)
        for vnic in served:
            try:
                self._settle_vnic(vnic, interfaces, changes)
            except (LaneError, NetlinkError, OSError) as error:
                self._trouble(vnic.name, str(error))
                errors.append(f"{vnic.name}: {error}")
        try:
            self._settle_software(spec, changes)
        except LaneError as error:
            errors.append(str(error))
        self.store.set(links=bool(spec.vnics or spec.circuits))
        return errors

    def _settle_vnic(self, vnic: VnicSpec, interfaces: HardwareInterfaces, changes: list[str]) -> None:
        assert self.plane is not None
        if self._vnics.get(vnic.name) == vnic and vnic.name in self.plane.links.served:
            return
        if interfaces.ensure(vnic):
            self.plane.links.disconnect(vnic.name)      # its outer end may be another one
            changes.append(f"made interface of {vnic.name}")
        self.plane.links.connect(vnic)
        self._vnics[vnic.name] = vnic
        self._troubles.pop(vnic.name, None)

    def _settle_software(self, spec: NodeSpec, changes: list[str]) -> None:
        wanted = [vnic for vnic in spec.vnics.values() if vnic.lane == "sw"]
        if not wanted and not self.store.get("software", False):
            return
        self.store.set(software=True)
        trunks = [Trunk(vnic.switch, vnic.interface, vnic.vlan) for vnic in spec.vnics.values()
                  if is_served(vnic) and vnic.namespace == spec.namespace]
        containers = {vnic.router: str(self.runtime.netns(self.router_id(self.router(vnic.router))))
                      for vnic in wanted if vnic.router}
        settled = {vnic.name for vnic in wanted if self._vnics.get(vnic.name) == vnic}
        for vnic in wanted:
            self._vnics.pop(vnic.name, None)    # what goes wrong may have changed any of them
        changes += self._software(spec).apply(wanted, trunks, containers, settled=settled)
        self._vnics |= {vnic.name: vnic for vnic in wanted}
        self.store.set(software=bool(wanted))

    def _software(self, spec: NodeSpec) -> SoftwareLane:
        """The software lane. It knows what the kernel has, which takes a while to find out."""
        if self._lane is None:
            self._lane = SoftwareLane(spec.namespace, spec.node)
        return self._lane

    # Board

    def _ensure_board(self, spec: NodeSpec, changes: list[str]) -> None:
        if self.fabric is None:
            self.fabric = Fabric(spec.namespace)
        changes += [f"made interface {name}" for name in self.fabric.ensure_board(spec)]
        if self._board is None:
            self._board = self._make_board(spec, self.fabric)
        self._say("starting the board")
        if self._board.ensure():
            changes.append("started the board")
        if not spec.host_link:
            self._supervisor.watch("board", self._board.pid, self._board_ended)
        if self.plane is None:
            config = CoreConfig(**spec.core)    # type: ignore[arg-type]
            self.plane = DataPlane(spec, config, self.store, self.events, outside=self._outside)
        self.plane.mac_age = spec.mac_age
        self._say("programming the board")
        if self.plane.start([*self._routers.values()] or list(spec.routers.values())):
            changes.append("programmed the board from nothing")

    def _replace_board(self, was: NodeSpec, changes: list[str]) -> None:
        self._supervisor.forget("board")
        if self.plane is not None:
            if was.host_link:
                self._release_board(was, self.plane, changes)
            self.plane.close()
            self.plane = None
        if self._board is not None:
            self._board.stop()
            self._board = None
        changes.append("let go of the board" if was.host_link else "stopped the board")

    @staticmethod
    def _release_board(was: NodeSpec, plane: DataPlane, changes: list[str]) -> None:
        try:
            plane.release()
        except (BoardError, TransportError) as error:
            changes.append(f"left the board at {was.host_link} as it is, which may go on forwarding: {error}")

    def _check(self) -> None:
        """A board that did not answer for a while, but lives, is told again what it may have missed."""
        while not self.closing.wait(_CHECK_SECONDS):
            plane = self.plane
            if plane is not None and not plane.in_step():
                self.events.emit("board out of step")
                self._answers = False
                self.again("data plane", self._step_again)
                self._answers = True

    def _step_again(self) -> None:
        assert self.spec is not None
        if self.plane is not None and self.plane.in_step():
            return      # somebody else has seen to it
        changes: list[str] = []
        if self.plane is not None and self.plane.hostport.gone is not None:
            # What comes by the same name is another line; so all is taken over, as by a new agent.
            self.plane.close()
            self.plane = None
        if self.plane is None:
            self._apply(self.spec, changes)
        else:
            self._ensure_board(self.spec, changes)
        self.events.emit("board in step", changes=changes)

    def _board_ended(self) -> None:
        self.events.emit("board ended")
        self.again("board", self._restart_board)

    def _restart_board(self) -> None:
        changes: list[str] = []
        assert self.spec is not None
        self._ensure_board(self.spec, changes)
        self.events.emit("board restarted", changes=changes)

    # Routers

    def router_id(self, router: RouterSpec) -> RouterId:
        """Name of a router's container."""
        assert self.spec is not None
        return RouterId(self.spec.topology, self.spec.node, router.number)

    def _settle_router(self, old: RouterSpec | None, router: RouterSpec, changes: list[str]) -> None:
        assert self.plane is not None and self.fabric is not None
        if old is not None and self._must_recreate(old, router):
            old = None
        self.store.save_router(router.name, router.number, router.model_dump())
        if self.plane.set_router(router):
            changes.append(f"programmed {self.spec.kind_of(router.name) if self.spec else 'router'} {router.name}")
        if not router.container:
            self._routers[router.name] = router
            self._troubles.pop(router.name, None)
            return
        id = self.router_id(router)
        status = self.runtime.status(id)
        if status.state is not State.RUNNING or (old is not None and self.containers.must_be_new(old, router)):
            self._say(f"starting the container of {router.name}")
            self.plane.detach(router.name)
            self.containers.make(id, router, self.fabric)
            changes.append(f"started the container of {router.name}"
                           + ("" if status.state is State.ABSENT else f", which was {status.state}"))
        elif old is not None and old != router:
            if self.containers.change(id, old, router, self.fabric):
                self.plane.detach(router.name)
            changes.append(f"updated router {router.name}: {'; '.join(router_differences(old, router))}")
        if made := self.containers.ensure_ports(id, router, self.fabric):
            changes += [f"made {name} of {router.name}" for name in made]
            self.plane.detach(router.name)      # the relay has the old ones
        self._routers[router.name] = router
        self._troubles.pop(router.name, None)
        self.plane.attach(router, self.runtime.netns(id))
        self._supervisor.watch(router.name, self.runtime.status(id).pid,
                               lambda: self._container_ended(router.name))

    def _remove_router(self, router: RouterSpec) -> None:
        assert self.plane is not None and self.fabric is not None
        self._supervisor.forget(router.name)
        self.plane.detach(router.name)
        self.plane.remove_router(router)
        if router.container:
            self.containers.remove(self.router_id(router), router, self.fabric)
        self._routers.pop(router.name, None)
        self._troubles.pop(router.name, None)
        self.store.forget_router(router.name)

    # Routers that move

    def take_router(self, router: RouterSpec) -> None:
        """Have a router whose container runs; it may be one that this node has."""
        assert self.spec is not None
        self.spec.routers[router.name] = router
        self._settle_router(self._routers.get(router.name, router), router, [])

    def forget_container(self, name: str) -> None:
        """What becomes of a router's container is somebody else's business."""
        self._supervisor.forget(name)

    def give_router(self, name: str) -> None:
        """Remove what there is of a router that is elsewhere now."""
        assert self.spec is not None
        self._remove_router(self._routers[name])
        self.spec.routers.pop(name, None)

    def _container_ended(self, name: str) -> None:
        self.events.emit("container ended", router=name)
        self._trouble(name, "its container ended")
        self.again(name, lambda: self._restart_container(name))

    def _restart_container(self, name: str) -> None:
        router = self._routers.get(name)
        if router is None:
            return
        status = self.runtime.status(self.router_id(router))
        if status.state is State.RUNNING:
            # Somebody else was faster, and it must be watched.
            self._troubles.pop(name, None)
            self._supervisor.watch(name, status.pid, lambda: self._container_ended(name))
            return
        changes: list[str] = []
        self._settle_router(router, router, changes)
        self.events.emit("container restarted", router=name)

    # Helpers

    def again(self, name: str, action: Callable[[], None]) -> None:
        """Do something until it succeeds, or the agent ends; wait longer after each failure, and if it must be done
        again soon after it succeeded."""
        restarted = self._restarted.pop(name, None)
        if restarted is not None:
            soon = time.monotonic() - restarted < _STABLE
            self._failures[name] = self._failures.get(name, 0) + 1 if soon else 0
        while not self.closing.is_set():
            failures = self._failures.get(name, 0)
            if failures and self.closing.wait(min(_LONGEST_PAUSE, 0.5 * 2 ** min(failures, 10))):
                return
            try:
                with self.lock:
                    if not self.closing.is_set():
                        action()
                self._restarted[name] = time.monotonic()
                return
            except Exception as error:      # whatever it is, the node must go on
                self._failures[name] = failures + 1
                self.events.emit("restart failed", what_failed=name, error=str(error))

    def _trouble(self, name: str, what: str) -> None:
        self._troubles[name] = what
        self.events.emit("trouble", **{self.spec.kind_of(name) if self.spec else "router": name}, what_is_wrong=what)

    def _say(self, what: str) -> None:
        self.doing = what

    # What there is

    def health(self) -> dict[str, Any]:
        """Short: what the agent is about, and whether the board runs; a real one, whether it answers."""
        there = self._board is not None and self._board.running()
        if self.spec is not None and self.spec.host_link:
            there = there and self._answers
        return {"node": self.spec.node if self.spec else None, "doing": self.doing, "board": there,
                "routers": len(self._routers), "troubles": self.troubles()}

    def troubles(self) -> dict[str, str]:
        """What is wrong, by router."""
        return dict(self._troubles)

    def routers(self) -> list[dict[str, Any]]:
        """Each router with its state."""
        rows = []
        for name, router in sorted(self._routers.items()):
            if not router.container:
                rows.append(self._number(router))
                continue
            row = {"name": name, "network": router.network, "number": router.number,
                   **self.containers.row(self.router_id(router)),
                   "ports": {port.name: {"mac": port.mac, "addresses": port.addresses} for port in router.ports},
                   "trouble": self._troubles.get(name)}
            row |= self.plane.summary(name) if self.plane else {}
            rows.append(row)
        return rows

    def _number(self, router: RouterSpec) -> dict[str, Any]:
        """A virtual switch or VNIC, in the form of a router's row."""
        return {"name": router.name, "network": router.network, "number": router.number, "state": "hardware",
                "container": False, "pid": 0, "ready": True, "image": "", "memory_bytes": None, "cpu_seconds": None,
                "pids": None, "ports": {port.name: {"mac": port.mac, "addresses": port.addresses}
                                        for port in router.ports},
                "rib": None, "fib": None, "problems": [], "trouble": self._troubles.get(router.name)}

    def vnics(self) -> list[dict[str, Any]]:
        """Each VNIC with its state."""
        if self.plane is None or self.spec is None:
            return []
        rows = self.plane.vnics()
        software = [vnic for vnic in self.spec.vnics.values() if vnic.lane == "sw"]
        counters = self._software(self.spec).counters(software) if software else {}
        for row in rows:
            found = counters.get(row["name"])
            if found is not None:
                row |= {"up": True, "sent": found.tx_frames, "received": found.rx_frames,
                        "lost": found.rx_limited + found.tx_limited + found.forged}
            row["trouble"] = self._troubles.get(row["name"])
        return rows

    def router(self, name: str) -> RouterSpec:
        """A router's specification.

        Raises
        ------
        LookupError
            If there is none of that name.
        """
        if name not in self._routers:
            raise LookupError(f"there is no router {name} on this node; there are {', '.join(sorted(self._routers))}")
        return self._routers[name]

    def exec_command(self, name: str, argv: list[str], *, tty: bool) -> list[str]:
        """Command line that runs a program in a router's container."""
        return self.runtime.exec_command(self._container(name), argv, tty=tty)

    def _container(self, name: str) -> RouterId:
        router = self.router(name)
        if not router.container:
            raise LookupError(f"{name} is a virtual switch or a VNIC, and has no container")
        return self.router_id(router)

    def logs(self, name: str, lines: int | None) -> str:
        """Log of a router's routing daemons."""
        try:
            return self.runtime.logs(self._container(name), lines)
        except (NoSuchContainer, ContainerError) as error:
            raise LookupError(str(error)) from None
