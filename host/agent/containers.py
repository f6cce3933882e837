"""Containers of a node's routers, and the interfaces in them, as the specification has them."""

from typing import Any

from ..fabric import Fabric
from ..runtime.base import ContainerSpec, Limits, RouterId, Runtime
from ..spec import PortSpec, RouterSpec
from .events import EventLog

__all__ = ["RouterContainers"]

#: A container forwards what the hardware hands up; of interfaces on one segment, each answers for itself only.
_SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.conf.all.arp_ignore": "1",
    "net.ipv4.conf.all.arp_announce": "2",
}
#: A bridge has no addresses; what the kernel would send for link-local ones would only be noise on its segments.
_NO_IPV6 = {
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.ipv6.conf.default.disable_ipv6": "1",
}


class RouterContainers:
    """Makes, changes and removes the containers of routers. What attaches them to the board is the caller's.

    Parameters
    ----------
    runtime : Runtime
        Runs them.
    events : EventLog
        Is told of limits that can't be enforced.
    """

    def __init__(self, runtime: Runtime, events: EventLog) -> None:
        self._runtime = runtime
        self._events = events

    @staticmethod
    def must_be_new(old: RouterSpec, new: RouterSpec) -> bool:
        """Whether a change of a router can't be made to a container that runs."""
        return (old.image != new.image or old.daemons != new.daemons
                or (old.mode == "routed") != (new.mode == "routed"))

    def make(self, id: RouterId, router: RouterSpec, fabric: Fabric) -> None:
        """Make a container and its interfaces, and start it; one that was there is removed before."""
        self.create(id, router, fabric)
        self.ensure_ports(id, router, fabric)
        self._runtime.start(id)

    def create(self, id: RouterId, router: RouterSpec, fabric: Fabric, **daemon_options: str) -> None:
        """Make a container without interfaces, which does not run yet; one that was there is removed before.

        Parameters
        ----------
        id : RouterId
        router : RouterSpec
        fabric : Fabric
        **daemon_options : str
            Further options of a routing daemon.
        """
        self.remove(id, router, fabric)
        self._runtime.create(ContainerSpec(
            id=id, config=router.frr, daemons=frozenset(router.daemons), image=router.image,
            limits=self._limits(router), hostname=router.name, daemon_options=daemon_options,
            sysctls=_SYSCTLS if router.mode == "routed" else _SYSCTLS | _NO_IPV6))

    def change(self, id: RouterId, old: RouterSpec, router: RouterSpec, fabric: Fabric) -> bool:
        """Change a container that runs; returns whether interfaces of it were made anew."""
        if old.limits != router.limits:
            self._runtime.set_limits(id, self._limits(router))
        kept = {port.name: port for port in router.ports}
        remade = False
        for port in old.ports:
            if port.name not in kept or _must_remake(port, kept[port.name]):
                remade |= fabric.remove_link(port.outer)
        remade |= bool(self.ensure_ports(id, router, fabric))
        if old.frr != router.frr:
            self._runtime.reload_config(id, router.frr)
        return remade

    def ensure_ports(self, id: RouterId, router: RouterSpec, fabric: Fabric) -> list[str]:
        """Make the interfaces that are not there; returns their names."""
        namespace = self._runtime.netns(id)
        return [port.name for port in router.ports
                if fabric.ensure_veth(port.outer, port.name, namespace, port.mac, port.mtu)]

    def remove(self, id: RouterId, router: RouterSpec, fabric: Fabric) -> None:
        """Remove a container, if there is one, and its interfaces."""
        self._runtime.delete(id)
        for port in router.ports:
            fabric.remove_link(port.outer)

    def row(self, id: RouterId) -> dict[str, Any]:
        """State of a container, for views."""
        status, usage = self._runtime.status(id), self._runtime.usage(id)
        return {"state": status.state.value, "container": True, "pid": status.pid, "ready": self._runtime.ready(id),
                "image": status.image, "memory_bytes": usage.memory_bytes, "cpu_seconds": usage.cpu_seconds,
                "pids": usage.pids}

    def _limits(self, router: RouterSpec) -> Limits:
        wanted = Limits(memory_bytes=router.limits.memory, cpus=router.limits.cpus, pids=router.limits.pids)
        possible = wanted.only(self._runtime.supported_limits)
        if possible != wanted:
            missing = ", ".join(sorted(wanted.kinds - possible.kinds))
            self._events.emit("limit skipped", router=router.name, limits=missing,
                              why="this machine's control groups can't enforce it")
        return possible


def _must_remake(old: PortSpec, new: PortSpec) -> bool:
    return (old.outer, old.mac, old.mtu) != (new.outer, new.mac, new.mtu)
