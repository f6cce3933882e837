"""A network's life: ``up`` makes what its file says, ``down`` removes what ``up`` has made."""

import contextlib
import errno
import hashlib
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .agent.board import build
from .agent.client import AgentClient, pid_path
from .agent.pidfile import running_pid
from .allocate import Allocation, allocate
from .compile import network_spec
from .errors import NetworkError
from .fabric import remove_namespace
from .link_objects import Objects, keep
from .machine import require_machine, require_root
from .nodes import remove_node
from .paths import network_dir, run_dir, saved_networks, state_dir
from .plan import BY_FILE, Change, Source, plan
from .processes import end, end_in
from .progress import Progress, quiet
from .runtime.runc import RuncRuntime
from .see import see
from .settle import Settling
from .spec import NetworkSpec
from .store import NetworkStore
from .topology import Topology, TopologyFile
from .topology_file import parse, read

__all__ = ["Network"]


class Network:
    """A network of this machine, by name.

    Parameters
    ----------
    name : str
        Its name.
    progress : Progress, optional
        Is told what is being done.
    """

    def __init__(self, name: str, progress: Progress = quiet) -> None:
        self.name = name
        self.progress = progress

    @contextmanager
    def alone(self) -> Iterator[None]:
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
                old, unfinished = self.saved(store)
                allocation = store.get("allocation")
                previous = Allocation.model_validate(allocation) if allocation else None
        allocation_now = allocate(file, previous)
        new = network_spec(file, allocation_now)
        seen = see(self.name, old or new)
        seen.unfinished = unfinished
        return plan(old, new, seen, source), new, allocation_now

    @staticmethod
    def saved(store: NetworkStore) -> tuple[NetworkSpec | None, bool]:
        """What the network was to be, and whether the last change broke off; it may then have parts of both."""
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
        objects, running = self.links()
        objects = keep(objects, parse(text, str(path)).topology)
        file = parse(text, str(path), objects=objects, running=running)
        changes, spec, allocation = self.plan(file)
        saved: dict[str, Any] = {"file": str(path.absolute()), "text": text, "links": objects}
        if dry_run:
            return changes
        if not changes:
            if self.exists:         # what commands have made may be in the file now
                with self.alone(), self.store() as store:
                    store.set(**saved)
            return changes
        require_machine()
        self._check_images(spec)
        self._build_boards(spec)
        with self.alone(), self.store() as store:
            old, _ = self.saved(store)
            store.set(attempt=spec.model_dump(), allocation=allocation.model_dump(mode="json"))
            # Before its new node's agent is told of a router, which would take it for another's.
            store.keep_leases({router: name for name, node in spec.nodes.items() for router in node.routers})
            Settling(self.name, store, self.progress).execute(old, spec, changes)
            store.set(**saved, spec=spec.model_dump(), attempt=None)
        return changes

    def links(self) -> tuple[Objects, dict[str, int]]:
        """Link objects that commands have made, and the circuits of each node's board."""
        if not self.exists:
            return {}, {}
        with self.store() as store:
            spec, _ = self.saved(store)
            return store.get("links") or {}, {} if spec is None else {
                name: int(node.core.get("circuits", 0)) for name, node in spec.nodes.items()}

    def topology(self) -> Topology:
        """What the network was last made from: its file, and what commands have made of links."""
        self.spec()
        objects, running = self.links()
        with self.store() as store:
            return parse(store.get("text"), store.get("file"), objects=objects, running=running,
                         keep_boards=True).topology

    def _check_images(self, spec: NetworkSpec) -> None:
        images = RuncRuntime(state_dir(), run_dir()).images
        for name in sorted({router.image for node in spec.nodes.values() for router in node.routers.values()
                            if router.container}):
            images.describe(name)

    def _build_boards(self, spec: NetworkSpec) -> None:
        for name, node in spec.nodes.items():
            if node.host_link:
                continue
            build(node, lambda what, name=name: self.progress(f"board of {name}: {what}"))   # type: ignore[misc]

    # Down

    def down(self, *, leave_boards: bool = False) -> list[str]:
        """Remove everything, from the saved state; returns the names of what was removed.

        Agents and simulated boards need not run. What is gone already does not matter, so it can be repeated after a
        failure.

        Parameters
        ----------
        leave_boards : bool
            Leave real boards as they are; they go on forwarding.

        Raises
        ------
        NetworkError
            If something can't be removed, or a real board does not answer.
        """
        if not self.exists:
            running = ", ".join(saved_networks()) or "none"
            raise NetworkError(f"there is no network {self.name}; there are: {running}")
        require_root()
        removed = []
        with self.alone(), self.store() as store:
            resources = store.resources()
            namespaces = [name for kind, name in resources if kind == "namespace"]
            nodes = [name for kind, name in resources if kind == "node"]
            self.progress("ending agents")
            end([pid for name in nodes if (pid := running_pid(pid_path(self.name, name))) is not None])
            for name in nodes:
                self.progress(f"removing node {name}")
                remove_node(self.name, name, leave_board=leave_boards)
                store.removed("node", name)
                removed.append(f"node {name}")
            self.progress("ending processes")
            end_in(namespaces)
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
