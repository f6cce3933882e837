"""Numbers and names of a topology's parts: pure functions, the same result every time.

What a previous allocation gave to a part that is still there stays as it is, so that adding or removing one part of a
running network changes nothing of the others.
"""

from hashlib import sha256

from pydantic import BaseModel

from .topology import Router, TopologyFile, interface_port

__all__ = ["Allocation", "AllocationError", "HostPlace", "RouterPlace", "allocate", "derive_mac", "fabric_namespace",
           "host_namespace", "interface_name"]

_NAME_MAX = 15                      # IFNAMSIZ without the final zero


class AllocationError(ValueError):
    """Something that was asked for does not fit; the message says what, what there is, and what to do."""


class RouterPlace(BaseModel):
    """What a virtual router was given."""

    node: str
    number: int
    fib_words: int
    adjacencies: int
    macs: dict[int, str]            # by port
    filter_rules: int = 0
    policers: int = 0
    mac_rows: int = 0


class HostPlace(BaseModel):
    """What a host was given."""

    mac: str
    namespace: str


class Allocation(BaseModel):
    """What each part of a topology was given, by full name."""

    routers: dict[str, RouterPlace] = {}
    hosts: dict[str, HostPlace] = {}


def interface_name(name: str) -> str:
    """The name itself if the kernel takes one so long, else its start and a hash of all of it."""
    if len(name) <= _NAME_MAX:
        return name
    return f"{name[:_NAME_MAX - 6]}-{sha256(name.encode()).hexdigest()[:5]}"


def fabric_namespace(topology: str) -> str:
    """Network namespace of a topology's cables."""
    return f"pr-{topology}"


def host_namespace(topology: str, host: str) -> str:
    """Network namespace of a host. The dot is in no name, so that no other topology can have the same one."""
    return f"pr-{topology}.{host}"


def derive_mac(taken: set[str], *parts: str | int) -> str:
    """A locally administered unicast address made from ``parts``, other than those taken; it is taken from then on."""
    attempt = 0
    while True:
        text = "/".join(str(part) for part in (*parts, *([attempt] if attempt else [])))
        mac = ":".join(f"{byte:02x}" for byte in (0x02, *sha256(text.encode()).digest()[:5]))
        if mac not in taken:
            taken.add(mac)
            return mac
        attempt += 1


def allocate(file: TopologyFile, previous: Allocation | None = None) -> Allocation:
    """Give each router its number, quotas and MAC addresses, each host its MAC address and namespace.

    Parameters
    ----------
    file : TopologyFile
        What is wanted; already checked.
    previous : Allocation, optional
        What a running network's parts have; kept for those that are still wanted on the same node.

    Raises
    ------
    AllocationError
        If it does not fit.
    """
    topology = file.topology
    wanted = {full: (network, node, router) for full, network, node, router in topology.routers()}
    kept = {name: place for name, place in (previous.routers if previous else {}).items()
            if name in wanted and wanted[name][1] == place.node}
    macs = {mac for place in kept.values() for mac in place.macs.values()}
    macs |= {place.mac for place in (previous.hosts if previous else {}).values()}
    result = Allocation()

    for full, (network, node, router) in wanted.items():
        config = topology.nodes[node].config()
        place = kept.get(full)
        if place is None:
            numbers = {other.number for other in (*kept.values(), *result.routers.values()) if other.node == node}
            number = next(index for index in range(len(numbers) + 1) if index not in numbers)
            if number >= config.routers:
                raise AllocationError(f"{full} needs a router number on {node}, which has {config.routers}, all in "
                                      "use: remove a router or set core.routers")
        else:
            number = place.number
        result.routers[full] = RouterPlace(
            node=node, number=number, **router.share(config),
            macs=_router_macs(macs, place, router, file.name, network, full, node))

    for full, _, _ in topology.hosts():
        known = previous.hosts.get(full) if previous else None
        result.hosts[full] = HostPlace(mac=known.mac if known else derive_mac(macs, file.name, "host", full),
                                       namespace=host_namespace(file.name, full))
    return result


def _router_macs(taken: set[str], place: RouterPlace | None, router: Router, *parts: str) -> dict[int, str]:
    ports = [interface_port(name) for name in router.interfaces]
    known = place.macs if place else {}
    return {port: known[port] if port in known else derive_mac(taken, *parts, port) for port in ports}


