"""Numbers and names of a topology's parts: pure functions, the same result every time.

What a previous allocation gave to a part that is still there stays as it is, so that adding or removing one part of a
running network changes nothing of the others.
"""

from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256

from pydantic import BaseModel

from .link_demand import Shortage, demand_of, trunk_name
from .link_rows import switch_rows, vnic_rows
from .links import Links, LinkVnic, links_of
from .topology import Router, TopologyFile, interface_port

__all__ = ["Allocation", "AllocationError", "HostPlace", "RouterPlace", "SwitchPlace", "VnicPlace", "allocate",
           "derive_mac", "fabric_namespace", "host_namespace", "interface_name"]

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


class SwitchPlace(BaseModel):
    """What a virtual switch was given; of each table as a router."""

    node: str
    number: int
    mac: str
    fib_words: int
    adjacencies: int
    filter_rules: int
    policers: int
    mac_rows: int


class VnicPlace(BaseModel):
    """What a VNIC was given."""

    node: str
    lane: str                       # hw, sw
    mac: str
    number: int | None = None       # hw: its own, if it is no virtual router's
    chosen: bool = False            # its address is one that was asked for
    fib_words: int = 0
    adjacencies: int = 0
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
    switches: dict[str, SwitchPlace] = {}
    vnics: dict[str, VnicPlace] = {}
    circuits: dict[str, dict[str, int]] = {}        # by node and name


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
    """Give each router its number, quotas and MAC addresses, each host its MAC address and namespace, and each VNIC its
    lane.

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
    previous = previous or Allocation()
    macs = {mac for place in previous.routers.values() for mac in place.macs.values()}
    macs |= {place.mac for part in (previous.hosts, previous.vnics, previous.switches) for place in part.values()}
    links = links_of(file.topology)
    result = Allocation()
    for node in file.topology.nodes:
        _node(file, links, node, previous, result, macs)
    for full, _, host in file.topology.hosts():
        known = previous.hosts.get(full)
        mac = result.vnics[host.vnic].mac if host.vnic is not None else None
        result.hosts[full] = HostPlace(mac=mac or (known.mac if known else derive_mac(macs, file.name, "host", full)),
                                       namespace=host_namespace(file.name, full))
    return result


def _node(file: TopologyFile, links: Links, node: str, previous: Allocation, result: Allocation, taken: set[str]
          ) -> None:
    """What a node's parts get."""
    config = file.topology.nodes[node].config()
    routers = {full: (network, router) for full, network, place, router in file.topology.routers() if place == node}
    if len(routers) > config.routers:
        raise AllocationError(f"{node} is to have {len(routers)} virtual routers and has {config.routers} numbers for "
                              "them: remove a router or set core.routers")
    try:
        demand = demand_of(links, node, len(routers), config.routers, config.circuits, {
            name for name, place in previous.vnics.items() if place.node == node and place.lane == "hw"})
    except Shortage as error:
        raise AllocationError(f"{node}: {error}") from None

    numbers = _Lowest(config.routers, {
        name: place.number for part in (previous.routers, previous.switches, previous.vnics)
        for name, place in part.items() if place.node == node and place.number is not None},
        [*routers, *demand.switches, *demand.numbered])
    circuits = _Lowest(config.circuits, previous.circuits.get(node, {}), demand.circuits, first=1)
    if demand.circuits:
        result.circuits[node] = {name: circuits.of(name) for name in demand.circuits}
    for full, (network, router) in routers.items():
        known = previous.routers.get(full)
        result.routers[full] = RouterPlace(
            node=node, number=numbers.of(full), **router.share(config),
            macs=_router_macs(taken, known.macs if known else {}, router,
                              [vnic.mac for vnic in links.of_router(full)], config.link_port,
                              file.name, network, full, node))
    for name in demand.switches:
        result.switches[name] = SwitchPlace(
            node=node, number=numbers.of(name), mac=_mac(previous.switches.get(name), taken, file.name, "switch", name),
            **asdict(switch_rows(config, links.switches[name].mac_rows)))
    for vnic in (*demand.hardware, *demand.software):
        place = VnicPlace(node=node, lane="hw" if vnic in demand.hardware else "sw",
                          chosen=vnic.mac is not None, mac=vnic.mac or _vnic_mac(
            previous.vnics.get(vnic.name), links, vnic, result, taken, config.link_port, file.name))
        if vnic.name in demand.numbered:
            place = VnicPlace(**{**place.model_dump(), **asdict(vnic_rows(config)), "number": numbers.of(vnic.name)})
        result.vnics[vnic.name] = place
    for name in map(trunk_name, demand.trunks):
        result.vnics[name] = VnicPlace(node=node, lane="hw", number=numbers.of(name), **asdict(vnic_rows(config)),
                                       mac=_mac(previous.vnics.get(name), taken, file.name, "vnic", name))


class _Lowest:
    """Gives names numbers: the one that it had, else the lowest that nobody has."""

    def __init__(self, room: int, had: Mapping[str, int], wanted: list[str], *, first: int = 0) -> None:
        self._has: dict[str, int] = {name: had[name] for name in wanted if first <= had.get(name, -1) < room}
        used = set(self._has.values())
        free = (number for number in range(first, room) if number not in used)
        for name in wanted:
            if name not in self._has:
                self._has[name] = next(free)

    def of(self, name: str) -> int:
        return self._has[name]


def _router_macs(taken: set[str], known: dict[int, str], router: Router, asked: list[str | None],
                 link_port: int | None, *parts: str) -> dict[int, str]:
    ports = [interface_port(name) for name in router.physical]
    macs = {port: known[port] if port in known else derive_mac(taken, *parts, port) for port in ports}
    if asked and link_port is not None:     # one for all of its VNICs
        chosen = next((mac for mac in asked if mac is not None), None)
        macs[link_port] = chosen or known.get(link_port) or derive_mac(taken, *parts, "vnic")
    return macs


def _vnic_mac(known: VnicPlace | None, links: Links, vnic: LinkVnic, result: Allocation, taken: set[str],
              link_port: int | None, topology: str) -> str:
    if vnic.router and link_port is not None:
        return result.routers[vnic.router].macs[link_port]
    return _mac(None if known is None or known.chosen else known, taken, topology, "vnic", vnic.name)


def _mac(known: SwitchPlace | VnicPlace | None, taken: set[str], *parts: str) -> str:
    return known.mac if known is not None else derive_mac(taken, *parts)
