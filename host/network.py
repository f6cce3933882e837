"""A network's life: ``up`` makes what its file says, ``down`` removes what ``up`` has made."""

import contextlib
import errno
import hashlib
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .agent.board import build, end_board
from .agent.client import AgentClient, AgentError, pid_path, socket_path
from .agent.pidfile import running_pid
from .allocate import Allocation, allocate
from .compile import network_spec
from .fabric import (
    HOST_TAP_MTU,
    Fabric,
    create_namespace,
    list_namespaces,
    processes_in,
    remove_namespace,
    tap_mtu,
)
from .link_objects import LinkObjectError, Objects, create, delete, keep, said_of_objects, update
from .paths import network_dir, node_dir, node_run_dir, run_dir, saved_networks, state_dir
from .plan import BY_COMMAND, BY_FILE, Change, Seen, Source, plan
from .runtime.runc import RuncRuntime
from .spec import HostSpec, NetworkSpec
from .store import NetworkStore
from .topology import Topology, TopologyFile
from .topology_document import TopologyError
from .topology_file import document_of, parse, read

__all__ = ["Network", "NetworkError", "Progress", "require_root"]

#: Is told, in a few words, what is being done.
Progress = Callable[[str], None]
#: Seconds that an agent or process may take to start or to end.
_START_TIMEOUT, _STOP_TIMEOUT = 30.0, 10.0
_POLL = 0.05
#: The device /dev/net/tun.
_TUN = os.makedev(10, 200)


class NetworkError(RuntimeError):
    """A network can't be made, or removed; the message says why."""


def _quiet(_: str) -> None:
    pass


class Network:
    """A network of this machine, by name.

    Parameters
    ----------
    name : str
        Its name.
    progress : Progress, optional
        Is told what is being done.
    """

    def __init__(self, name: str, progress: Progress = _quiet) -> None:
        self.name = name
        self.progress = progress

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from changing the network at the same time.

        An address of this kind is in no file system and goes with the process, however that ends.
        """
        place = hashlib.sha256(str(network_dir(self.name).absolute()).encode()).hexdigest()
        with socket.socket(socket.AF_UNIX) as lock:
            try:
                lock.bind(f"\0polyrouter/{place}")
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                raise NetworkError(f"another 'polyrouter up' or 'down' of {self.name} is running: "
                                   "wait until it has ended") from None
            yield

    @property
    def exists(self) -> bool:
        """Whether anything of it is saved."""
        return (network_dir(self.name) / "network.db").exists()

    @contextmanager
    def store(self) -> Iterator[NetworkStore]:
        """Its saved state."""
        store = NetworkStore(network_dir(self.name) / "network.db")
        try:
            yield store
        finally:
            store.close()

    def spec(self) -> NetworkSpec:
        """What it was last made to be.

        Raises
        ------
        NetworkError
            If it is not up.
        """
        if not self.exists:
            running = ", ".join(saved_networks()) or "none"
            raise NetworkError(f"there is no network {self.name}; there are: {running}")
        with self.store() as store:
            saved = store.get("spec")
        if saved is None:
            raise NetworkError(f"{self.name} was never completely up: run 'polyrouter up' again, or 'polyrouter down'")
        return NetworkSpec.model_validate(saved)

    # Up

    def plan(self, file: TopologyFile, source: Source = BY_FILE) -> tuple[list[Change], NetworkSpec, Allocation]:
        """What ``up`` would do; changes nothing.

        Raises
        ------
        AllocationError
            If it does not fit.
        """
        old, previous, unfinished = None, None, False
        if self.exists:
            with self.store() as store:
                old, unfinished = self._saved(store)
                allocation = store.get("allocation")
                previous = Allocation.model_validate(allocation) if allocation else None
        allocation_now = allocate(file, previous)
        new = network_spec(file, allocation_now)
        seen = self._see(old or new)
        seen.unfinished = unfinished
        return plan(old, new, seen, source), new, allocation_now

    @staticmethod
    def _saved(store: NetworkStore) -> tuple[NetworkSpec | None, bool]:
        """What the network was to be, and whether an ``up`` broke off; it may then have parts of both."""
        saved, attempt = store.get("spec"), store.get("attempt")
        spec = NetworkSpec.model_validate(saved) if saved else None
        if not attempt:
            return spec, False
        tried = NetworkSpec.model_validate(attempt)
        if spec is not None:
            for part in ("nodes", "segments", "hosts"):
                setattr(tried, part, {**getattr(spec, part), **getattr(tried, part)})
        return tried, True

    def up(self, path: Path, *, dry_run: bool = False) -> list[Change]:
        """Make the network what a file says.

        Parameters
        ----------
        path : Path
            Topology file.
        dry_run : bool
            Only say what would be done.

        Returns
        -------
        list of Change
            What was done, or would be.

        Raises
        ------
        TopologyError
            If something is wrong with the file; nothing is done then.
        AllocationError
            If it does not fit; nothing is done then.
        NetworkError
            If something could not be made.
        """
        text = read(path)
        objects, running = self._links()
        objects = keep(objects, parse(text, str(path)).topology)
        file = parse(text, str(path), objects=objects, running=running)
        changes, spec, allocation = self.plan(file)
        saved: dict[str, Any] = {"file": str(path.absolute()), "text": text, "links": objects}
        if dry_run:
            return changes
        if not changes:
            if self.exists:         # what commands have made may be in the file now
                with self._alone(), self.store() as store:
                    store.set(**saved)
            return changes
        require_machine()
        self._check_images(spec)
        self._build_boards(spec)
        with self._alone(), self.store() as store:
            old, _ = self._saved(store)
            store.set(attempt=spec.model_dump(), allocation=allocation.model_dump(mode="json"))
            self._execute(store, old, spec, changes)
            store.set(**saved, spec=spec.model_dump(), attempt=None)
        return changes

    def _links(self) -> tuple[Objects, dict[str, int]]:
        """Link objects that commands have made, and the circuits of each node's board."""
        if not self.exists:
            return {}, {}
        with self.store() as store:
            spec, _ = self._saved(store)
            return store.get("links") or {}, {} if spec is None else {
                name: int(node.core.get("circuits", 0)) for name, node in spec.nodes.items()}

    # Links by command

    def topology(self) -> Topology:
        """What the network was last made from: its file, and what commands have made of links."""
        self.spec()
        objects, running = self._links()
        with self.store() as store:
            return parse(store.get("text"), store.get("file"), objects=objects, running=running,
                         keep_boards=True).topology

    def create_link(self, kind: str, name: str, properties: Mapping[str, Any]) -> list[Change]:
        """Make a link object; see :meth:`set_link`."""
        return self._change_links(lambda objects, _, now: create(objects, kind, name, properties, now))

    def set_link(self, kind: str, name: str, properties: Mapping[str, Any]) -> list[Change]:
        """Change properties of a link object, while traffic flows.

        Parameters
        ----------
        kind, name : str
            A kind of :data:`.link_objects.KINDS`, and the object's name.
        properties : mapping
            Properties by the names of a topology file, and their new values; None: its default again.

        Returns
        -------
        list of Change
            What was done.

        Raises
        ------
        LinkObjectError
            If what is asked for is not possible; nothing is done then.
        AllocationError
            If it does not fit; nothing is done then.
        NetworkError
            If it could not be made; all is then as it was, as far as possible.
        """
        return self._change_links(lambda objects, data, now: update(objects, data, kind, name, properties, now))

    def delete_link(self, kind: str, name: str) -> list[Change]:
        """Remove a link object; see :meth:`set_link`."""
        return self._change_links(lambda objects, data, now: delete(objects, data, kind, name, now))

    def _change_links(self, edit: "Callable[[Objects, dict[str, Any], Topology], Objects]") -> list[Change]:
        now = self.topology()
        with self._alone(), self.store() as store:
            old, unfinished = self._saved(store)
            if unfinished or old is None:
                raise NetworkError(f"the last change of {self.name} did not end: run 'polyrouter up' again first")
            objects, running = self._links()
            text, path = store.get("text"), store.get("file")
            wanted = edit(objects, document_of(text, path).data, now)
            try:
                file = parse(text, path, objects=wanted, running=running, keep_boards=True)
            except TopologyError as error:
                raise LinkObjectError("\n".join(said_of_objects(str(problem)) for problem in error.problems)) from None
            changes, spec, allocation = self.plan(file, BY_COMMAND)
            replaced = [change for change in changes if change.kind == "node" and change.action == "replace"]
            if replaced:
                raise NetworkError(f"the board of {replaced[0].name} would have to be started anew "
                                   f"({replaced[0].why}): run 'polyrouter up {path}'")
            require_machine()
            before = store.get("allocation")
            store.set(attempt=spec.model_dump(), allocation=allocation.model_dump(mode="json"))
            try:
                self._execute(store, old, spec, changes, BY_COMMAND)
            except BaseException as error:      # Ctrl-C, too
                self._undo(store, old, spec, before, error)
                raise
            store.set(links=wanted, spec=spec.model_dump(), attempt=None)
        return changes

    def _undo(self, store: NetworkStore, old: NetworkSpec, tried: NetworkSpec, allocation: Any,
              why: BaseException) -> None:
        """Make it what it was.

        Raises
        ------
        NetworkError
            If that fails too; the next ``up`` finds the attempt and repairs what is there.
        """
        self.progress("undoing it")
        try:
            self._execute(store, tried, old, plan(tried, old, self._see(tried)))
        except Exception as error:
            raise NetworkError(f"{why or type(why).__name__}; nor could it be undone ({error}): run 'polyrouter up' "
                               "with the network's file, which repairs it") from why
        store.set(attempt=None, allocation=allocation)

    def _see(self, spec: NetworkSpec) -> Seen:
        seen = Seen(fabric=spec.namespace in list_namespaces())
        if not seen.fabric:
            return seen
        with Fabric(spec.namespace) as fabric:
            seen.links = {name: link["master"] for name, link in fabric.links().items()}
            namespaces = list_namespaces()
            seen.hosts = {name for name, host in spec.hosts.items() if host.namespace in namespaces
                          and (bool(host.vnic) or seen.links.get(host.outer) == host.bridge)}
            seen.namespaces = namespaces
        for node in spec.nodes:
            with AgentClient(self.name, node) as agent:
                if not agent.alive():
                    continue
                seen.agents.add(node)
                with contextlib.suppress(AgentError):
                    health = agent.get("/health")
                    seen.troubles |= health["troubles"]
                    if not health["board"]:
                        seen.boards_down.add(node)
                    known = {row["name"]: row for row in agent.get("/routers")}
                    for name, router in spec.nodes[node].routers.items():
                        if not router.container:
                            continue
                        if name not in known:
                            seen.troubles.setdefault(name, "its agent does not have it")
                        elif known[name]["state"] != "running":
                            seen.troubles.setdefault(name, f"its container is {known[name]['state']}")
        return seen

    def _check_images(self, spec: NetworkSpec) -> None:
        images = RuncRuntime(state_dir(), run_dir()).images
        for name in sorted({router.image for node in spec.nodes.values() for router in node.routers.values()
                            if router.container}):
            images.describe(name)

    def _build_boards(self, spec: NetworkSpec) -> None:
        for name, node in spec.nodes.items():
            build(node, lambda what, name=name: self.progress(f"board of {name}: {what}"))   # type: ignore[misc]

    def _execute(self, store: NetworkStore, old: NetworkSpec | None, spec: NetworkSpec, changes: list[Change],
                 source: Source = BY_FILE) -> None:
        removed = {(change.kind, change.name) for change in changes if change.action == "remove"}
        touched = {(change.kind, change.name) for change in changes if change.action != "remove"}
        # What is whole, and stays, need not be looked at.
        links_only = source is BY_COMMAND and not any(change.action == "repair" or change.kind == "node"
                                                      for change in changes)
        with Fabric(spec.namespace) as fabric:
            self.progress("making the cables")
            store.will_create("namespace", spec.namespace)
            fabric.ensure_namespace()
            for node in spec.nodes.values():
                for tap in node.taps:
                    fabric.ensure_tap(tap, tap_mtu(node.core))
                fabric.ensure_tap(node.host_tap, HOST_TAP_MTU)
            if old is not None:
                self._remove_parts(store, fabric, old, spec, removed)
            for segment in spec.segments.values():
                fabric.ensure_bridge(segment.bridge, segment.taps)
            nodes = [name for name in spec.nodes if self._node_touched(spec, name, old, touched)]
            for namespace in _vnic_namespaces(spec):
                store.will_create("namespace", namespace)
                create_namespace(namespace)
            with ThreadPoolExecutor(max(1, len(nodes))) as pool:
                futures = {name: pool.submit(self._settle_node, store, spec, name, links_only) for name in nodes}
                late = {name for part in (spec, old) if part for name, host in part.hosts.items() if host.vnic}
                self._make_hosts(store, fabric, [host for name, host in spec.hosts.items()
                                                 if ("host", name) in touched and name not in late])
                self._wait_for_agents(futures)
            errors = [f"{name}: {error}" for name, future in futures.items() if (error := future.exception())]
            if errors:
                raise NetworkError("\n".join(errors))
            # The interface of a host on a VNIC is its node's agent's.
            changed = {vnic for kind, vnic in touched if kind == "vnic"}
            self._make_hosts(store, fabric, [host for name, host in spec.hosts.items() if name in late
                                             and (("host", name) in touched or host.vnic in changed)])
            if old is not None:
                for namespace in sorted(_vnic_namespaces(old) - _vnic_namespaces(spec)
                                        - {host.namespace for host in spec.hosts.values()}):
                    self._remove_namespace(store, namespace)

    def _make_hosts(self, store: NetworkStore, fabric: Fabric, hosts: list[HostSpec]) -> None:
        for index, host in enumerate(hosts, 1):
            self.progress(f"making host {host.name} ({index} of {len(hosts)})")
            store.will_create("namespace", host.namespace)
            fabric.ensure_host(host)

    @staticmethod
    def _remove_namespace(store: NetworkStore, namespace: str) -> None:
        _end_processes([namespace])
        remove_namespace(namespace)
        store.removed("namespace", namespace)

    @staticmethod
    def _node_touched(spec: NetworkSpec, name: str, old: NetworkSpec | None, touched: set[tuple[str, str]]) -> bool:
        """Whether a node's agent has anything to do: it is told something else than before, or repairs."""
        if old is None or old.nodes.get(name) != spec.nodes[name]:
            return True
        parts = {("node", name), *(("router", router) for router in spec.nodes[name].routers),
                 *((kind, part) for kind in ("switch", "vnic") for part in (*spec.nodes[name].routers,
                                                                            *spec.nodes[name].vnics))}
        return not parts.isdisjoint(touched)

    def _remove_parts(self, store: NetworkStore, fabric: Fabric, old: NetworkSpec, spec: NetworkSpec,
                      removed: set[tuple[str, str]]) -> None:
        for name, host in old.hosts.items():
            if name in spec.hosts and spec.hosts[name].vnic and not host.vnic:
                fabric.remove_link(host.outer)
            if ("host", name) in removed:
                self.progress(f"removing host {name}")
                if host.vnic:
                    continue        # its namespace goes with its VNIC, when the agent has let go of that
                fabric.remove_link(host.outer)
                self._remove_namespace(store, host.namespace)
        for name, segment in old.segments.items():
            if ("segment", name) in removed:
                fabric.remove_link(segment.bridge)
            else:
                for tap in segment.taps:
                    if tap not in spec.segments[name].taps:
                        fabric.release(tap)
        for name, node in old.nodes.items():
            if ("node", name) in removed:
                self.progress(f"removing node {name}")
                self._remove_node(name)
                for tap in (*node.taps, node.host_tap):
                    fabric.remove_link(tap)
                store.removed("node", name)
            elif len(node.taps) > len(spec.nodes[name].taps):
                for tap in set(node.taps) - set(spec.nodes[name].taps):
                    fabric.remove_link(tap)

    def _settle_node(self, store: NetworkStore, spec: NetworkSpec, name: str, links_only: bool) -> list[str]:
        self._start_agent(store, name)
        with AgentClient(self.name, name) as agent:
            return (agent.put_links if links_only else agent.put_spec)(spec.nodes[name])

    def _start_agent(self, store: NetworkStore, name: str) -> None:
        with AgentClient(self.name, name) as agent:
            if agent.alive():
                return
            store.will_create("node", name)
            directory = node_dir(self.name, name)
            directory.mkdir(parents=True, exist_ok=True)
            node_run_dir(self.name, name).mkdir(parents=True, exist_ok=True)
            pid = running_pid(pid_path(self.name, name))
            if pid is not None:
                _end([pid])         # it holds its pid file and does not answer
            log = directory / "agent.log"
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "polyrouter.host.agent", self.name, name], stdin=subprocess.DEVNULL,
                    stdout=output, stderr=output, start_new_session=True, cwd="/")
            deadline = time.monotonic() + _START_TIMEOUT
            while not agent.alive():
                if process.poll() is not None or time.monotonic() > deadline:
                    tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
                    raise NetworkError(f"the agent of {name} did not start; the end of {log}:\n{tail}")
                time.sleep(_POLL)

    def _wait_for_agents(self, futures: "dict[str, Future[list[str]]]") -> None:
        clients = {name: AgentClient(self.name, name, timeout=5) for name in futures}
        try:
            while not all(future.done() for future in futures.values()):
                for name, client in clients.items():
                    if not futures[name].done() and socket_path(self.name, name).exists():
                        with contextlib.suppress(AgentError):
                            doing = client.get("/health")["doing"]
                            if doing:
                                self.progress(f"{name}: {doing}")
                time.sleep(4 * _POLL)
        finally:
            for client in clients.values():
                client.close()

    # Down

    def down(self) -> list[str]:
        """Remove everything, from the saved state; returns the names of what was removed.

        Agents and boards need not run. What is gone already does not matter, so it can be repeated after a failure.

        Raises
        ------
        NetworkError
            If something can't be removed.
        """
        if not self.exists:
            running = ", ".join(saved_networks()) or "none"
            raise NetworkError(f"there is no network {self.name}; there are: {running}")
        require_root()
        removed = []
        with self._alone(), self.store() as store:
            resources = store.resources()
            namespaces = [name for kind, name in resources if kind == "namespace"]
            nodes = [name for kind, name in resources if kind == "node"]
            self.progress("ending agents")
            _end([pid for name in nodes if (pid := running_pid(pid_path(self.name, name))) is not None])
            for name in nodes:
                self.progress(f"removing node {name}")
                self._remove_node(name)
                store.removed("node", name)
                removed.append(f"node {name}")
            self.progress("ending processes")
            _end_processes(namespaces)
            # The fabric goes last: with it go the outer ends of all links.
            for name in sorted(namespaces, key=len, reverse=True):
                self.progress(f"removing namespace {name}")
                if remove_namespace(name):
                    removed.append(f"namespace {name}")
                store.removed("namespace", name)
        shutil.rmtree(network_dir(self.name))
        shutil.rmtree(run_dir() / self.name, ignore_errors=True)
        with contextlib.suppress(OSError):
            run_dir().rmdir()
        return removed

    def _remove_node(self, name: str) -> None:
        pid = running_pid(pid_path(self.name, name))
        if pid is not None:
            _end([pid])
        end_board(self.name, name)
        runtime = RuncRuntime(state_dir(), run_dir())
        containers = runtime.list(self.name, name)
        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(runtime.delete, status.id) for status in containers]
        errors = [str(error) for future in futures if (error := future.exception())]
        if errors:
            raise NetworkError("; ".join(errors))
        shutil.rmtree(node_dir(self.name, name), ignore_errors=True)
        shutil.rmtree(node_run_dir(self.name, name), ignore_errors=True)

    # Questions

    def agents(self) -> Iterator[AgentClient]:
        """A client for each node."""
        for name in self.spec().nodes:
            with AgentClient(self.name, name) as client:
                yield client

    def node_of(self, router: str) -> str:
        """Node of a router.

        Raises
        ------
        NetworkError
            If there is no such router.
        """
        spec = self.spec()
        for name, node in spec.nodes.items():
            if router in node.routers:
                return name
        names = ", ".join(router for node in spec.nodes.values() for router in node.routers)
        raise NetworkError(f"there is no router {router} in {self.name}; there are: {names}")

    def ask(self, router: str, path: str, **parameters: Any) -> Any:
        """Answer of a router's agent."""
        with AgentClient(self.name, self.node_of(router)) as client:
            return client.get(path, **parameters)


def _vnic_namespaces(spec: NetworkSpec) -> set[str]:
    """Namespaces of VNICs' users. The fabric, where trunks are, is none."""
    return {vnic.namespace for node in spec.nodes.values() for vnic in node.vnics.values()} - {"", spec.namespace}


def require_root() -> None:
    """Say what is missing if this process may not make namespaces.

    Raises
    ------
    NetworkError
        If it is not root's.
    """
    if os.geteuid() != 0:
        raise NetworkError("this needs root, for namespaces and interfaces: run it with sudo")


def require_machine() -> None:
    """Say what is missing before anything is started, if networks can't be made here.

    Raises
    ------
    NetworkError
        If this process is not root's, or there is no runtime or no TAPs.
    """
    require_root()
    if shutil.which("runc") is None:
        raise NetworkError("runc is not in PATH: apt-get install runc")
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
        usable = stat.S_ISCHR(os.stat("/dev/net/tun").st_mode) and os.stat("/dev/net/tun").st_rdev == _TUN
    except OSError:
        usable = False
    if not usable:
        raise NetworkError("/dev/net/tun is not usable: modprobe tun; mkdir -p /dev/net; mknod /dev/net/tun c 10 200; "
                           "a container must be given that device")


def _end_processes(namespaces: list[str]) -> None:
    _end([pid for pid in processes_in(namespaces) if pid != os.getpid()])


def _end(pids: list[int]) -> None:
    """End processes, by force if need be, and wait until they are gone."""
    descriptors = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            descriptors.append(os.pidfd_open(pid))
    try:
        for number, timeout in ((signal.SIGTERM, 2.0), (signal.SIGKILL, _STOP_TIMEOUT)):
            waiting = [descriptor for descriptor in descriptors if not _ended(descriptor, 0)]
            for descriptor in waiting:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, number)
            deadline = time.monotonic() + timeout
            for descriptor in waiting:
                _ended(descriptor, max(0.0, deadline - time.monotonic()))
        if not all(_ended(descriptor, 0) for descriptor in descriptors):
            raise NetworkError("processes can't be killed: " + ", ".join(str(pid) for pid in pids))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _ended(descriptor: int, timeout: float) -> bool:
    return bool(select.select([descriptor], [], [], timeout)[0])

