"""A plan is carried out: parts of a network are made, changed and removed, its agents are told their nodes' specs."""

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor, wait

from .agent.client import AgentClient, AgentError, socket_path
from .errors import NetworkError
from .fabric import Fabric, create_namespace, remove_namespace
from .nodes import remove_node, start_agent
from .plan import BY_COMMAND, BY_FILE, Change, Source
from .processes import end_in
from .progress import Progress
from .spec import HostSpec, NetworkSpec
from .store import NetworkStore

__all__ = ["Settling"]

#: Seconds between two questions to agents that are at work.
_POLL = 0.2


class Settling:
    """Carries plans for a network out.

    Parameters
    ----------
    name : str
        The network's name.
    store : NetworkStore
        Its saved state: is told before anything is made, and after anything is gone.
    progress : Progress
        Is told what is being done.
    """

    def __init__(self, name: str, store: NetworkStore, progress: Progress) -> None:
        self.name, self.store, self.progress = name, store, progress

    def execute(self, old: NetworkSpec | None, spec: NetworkSpec, changes: list[Change],
                source: Source = BY_FILE) -> None:
        """Make what is wanted of what there is.

        Parameters
        ----------
        old, spec : NetworkSpec
            What there may be parts of, and what is to be.
        changes : list of Change
            The plan.
        source : Source
            Where what is wanted was said: a command leaves what it does not name alone.

        Raises
        ------
        NetworkError
            If something could not be made; the rest may be there.
        """
        removed = {(change.kind, change.name) for change in changes if change.action == "remove"}
        touched = {(change.kind, change.name) for change in changes if change.action != "remove"}
        # What is whole, and stays, need not be looked at.
        links_only = source is BY_COMMAND and not any(change.action == "repair" or change.kind == "node"
                                                      for change in changes)
        with Fabric(spec.namespace) as fabric:
            self.progress("making the cables")
            self.store.will_create("namespace", spec.namespace)
            fabric.ensure_namespace()
            for node in spec.nodes.values():
                fabric.ensure_board(node)
            if old is not None:
                self._remove_parts(fabric, old, spec, removed)
            for segment in spec.segments.values():
                fabric.ensure_bridge(segment.bridge, segment.taps)
            nodes = [name for name in spec.nodes if self._node_touched(spec, name, old, touched)]
            for namespace in _vnic_namespaces(spec):
                self.store.will_create("namespace", namespace)
                create_namespace(namespace)
            with ThreadPoolExecutor(max(1, len(nodes))) as pool:
                futures = {name: pool.submit(self._settle_node, spec, name, links_only) for name in nodes}
                late = {name for part in (spec, old) if part for name, host in part.hosts.items() if host.vnic}
                self._make_hosts(fabric, [host for name, host in spec.hosts.items()
                                          if ("host", name) in touched and name not in late])
                self._wait_for_agents(futures)
            errors = [f"{name}: {error}" for name, future in futures.items() if (error := future.exception())]
            if errors:
                raise NetworkError("\n".join(errors))
            # The interface of a host on a VNIC is its node's agent's.
            changed = {vnic for kind, vnic in touched if kind == "vnic"}
            self._make_hosts(fabric, [host for name, host in spec.hosts.items() if name in late
                                      and (("host", name) in touched or host.vnic in changed)])
            if old is not None:
                for namespace in sorted(_vnic_namespaces(old) - _vnic_namespaces(spec)
                                        - {host.namespace for host in spec.hosts.values()}):
                    self._remove_namespace(namespace)

    def _make_hosts(self, fabric: Fabric, hosts: list[HostSpec]) -> None:
        for index, host in enumerate(hosts, 1):
            self.progress(f"making host {host.name} ({index} of {len(hosts)})")
            self.store.will_create("namespace", host.namespace)
            fabric.ensure_host(host)

    def _remove_namespace(self, namespace: str) -> None:
        end_in([namespace])
        remove_namespace(namespace)
        self.store.removed("namespace", namespace)

    @staticmethod
    def _node_touched(spec: NetworkSpec, name: str, old: NetworkSpec | None, touched: set[tuple[str, str]]) -> bool:
        """Whether a node's agent has anything to do: it is told something else than before, or repairs."""
        if old is None or old.nodes.get(name) != spec.nodes[name]:
            return True
        parts = {("node", name), *(("router", router) for router in spec.nodes[name].routers),
                 *((kind, part) for kind in ("switch", "vnic") for part in (*spec.nodes[name].routers,
                                                                            *spec.nodes[name].vnics))}
        return not parts.isdisjoint(touched)

    def _remove_parts(self, fabric: Fabric, old: NetworkSpec, spec: NetworkSpec, removed: set[tuple[str, str]]) -> None:
        for name, host in old.hosts.items():
            if name in spec.hosts and spec.hosts[name].vnic and not host.vnic:
                fabric.remove_link(host.outer)
            if ("host", name) in removed:
                self.progress(f"removing host {name}")
                if host.vnic:
                    continue        # its namespace goes with its VNIC, when the agent has let go of that
                fabric.remove_link(host.outer)
                self._remove_namespace(host.namespace)
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
                remove_node(self.name, name)
                for tap in node.interfaces:
                    fabric.remove_link(tap)
                self.store.removed("node", name)
            else:
                for tap in set(node.interfaces) - set(spec.nodes[name].interfaces):
                    fabric.remove_link(tap)

    def _settle_node(self, spec: NetworkSpec, name: str, links_only: bool) -> list[str]:
        start_agent(self.store, self.name, name)
        with AgentClient(self.name, name) as agent:
            return (agent.put_links if links_only else agent.put_spec)(spec.nodes[name])

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
                wait(futures.values(), timeout=_POLL)
        finally:
            for client in clients.values():
                client.close()


def _vnic_namespaces(spec: NetworkSpec) -> set[str]:
    """Namespaces of VNICs' users. The fabric, where trunks are, is none."""
    return {vnic.namespace for node in spec.nodes.values() for vnic in node.vnics.values()} - {"", spec.namespace}
