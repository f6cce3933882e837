"""What link virtualization needs of a node: numbers and circuits, and which VNICs get them. Pure functions."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from polyrouter.hdl.config import LEAST_CIRCUITS, MOST_CIRCUITS, CoreConfig, power_of_two_at_least

from .links import Links, LinkTunnel, LinkVnic, links_of
from .topology import Topology

__all__ = ["Demand", "Shortage", "circuits_needed", "demand_of", "settle_circuits", "trunk_name"]

#: Least circuits of a core that has any; number 0 is none.


class Shortage(Exception):
    """A node does not have what is asked for.

    Attributes
    ----------
    found, expected : str
        The two parts of the message.
    """

    def __init__(self, found: str, expected: str) -> None:
        self.found, self.expected = found, expected
        super().__init__(f"{found}: {expected}")


def trunk_name(switch: str) -> str:
    """The VNIC that joins a switch with its part in software."""
    return f"{switch}.trunk"


@dataclass
class Demand:
    """What a node's links take.

    Attributes
    ----------
    hardware, software : list of LinkVnic
        VNICs by lane.
    switches, trunks : list of str
        Virtual switches that have a number in the data plane, and those of them with VNICs in software.
    tunnels : list of LinkTunnel
        Tunnels of switches.
    circuits : list of str
        Names of all circuits.
    """

    hardware: list[LinkVnic]
    software: list[LinkVnic]
    switches: list[str]
    trunks: list[str]
    tunnels: list[LinkTunnel]
    circuits: list[str]

    @property
    def numbered(self) -> list[str]:
        """VNICs that have a number of their own."""
        return [vnic.name for vnic in self.hardware if not vnic.router] + [trunk_name(name) for name in self.trunks]


def _demand(links: Links, node: str, hardware: list[LinkVnic], software: list[LinkVnic]) -> Demand:
    tunnels = [tunnel for tunnel in links.tunnels.values() if tunnel.node == node and tunnel.switch]
    outside = {vnic.switch for vnic in hardware} | {tunnel.switch for tunnel in tunnels}
    switches = [switch.name for switch in links.switches.values() if switch.node == node
                and (switch.uplinks or switch.name in outside)]
    soft = {vnic.switch for vnic in software}
    trunks = [name for name in switches if name in soft]
    circuits = [f"list {name}" for name in switches]
    for name, on_switch in [*((vnic.name, vnic.switch) for vnic in hardware),
                            *((trunk_name(name), name) for name in trunks)]:
        circuits += [f"vnic {name}", f"member {name}"] if on_switch else [f"vnic {name}"]
    circuits += [f"tunnel {tunnel.name}" for tunnel in tunnels]
    return Demand(hardware, software, switches, trunks, tunnels, circuits)


def demand_of(links: Links, node: str, virtual_routers: int, numbers: int, circuits: int | None,
              kept: Collection[str] = ()) -> Demand:
    """Who is in the data plane.

    Parameters
    ----------
    links : Links
        All of the topology's.
    node : str
        Whose are asked for.
    virtual_routers : int
        How many the node has.
    numbers, circuits : int
        What the core has; circuits None: as many as are needed.
    kept : collection of str
        VNICs that are in the hardware lane now, and stay there rather than others.

    Raises
    ------
    Shortage
        If even those that can't do without it find no room.
    """
    mine = [vnic for vnic in links.vnics.values() if vnic.node == node]
    forced = [vnic for vnic in mine if vnic.lanes == ("hw",)]
    # Who comes last goes into software first: new ones, and of the fullest switch, so that few switches need a trunk.
    sizes = Counter(vnic.switch for vnic in mine if len(vnic.lanes) > 1)
    either = sorted((vnic for vnic in mine if len(vnic.lanes) > 1),
                    key=lambda vnic: (vnic.name not in kept, sizes[vnic.switch]))
    for count in range(len(either), -1, -1):
        # In the order of the file, so that what is asked for twice comes out the same.
        chosen = {vnic.name for vnic in [*forced, *either[:count]]}
        demand = _demand(links, node, [vnic for vnic in mine if vnic.name in chosen],
                         [vnic for vnic in mine if vnic.name not in chosen])
        wanted = virtual_routers + len(demand.switches) + len(demand.numbered)
        if wanted <= numbers and (circuits is None or len(demand.circuits) <= max(0, circuits - 1)):
            return demand
    # With some more in hardware there may be fewer trunks, but not less than this is asked for.
    what = (f"{virtual_routers} virtual routers, {len(demand.switches)} virtual switches, "
            f"{len(demand.numbered) - len(demand.trunks)} VNICs in the hardware lane and {len(demand.trunks)} trunks "
            "of the software lane")
    if wanted > numbers:
        raise Shortage(f"{what} on {node}, which has room for {numbers} of these in all",
                       f"core.routers to be {wanted}, or fewer, or VNICs of switches to be in the software lane")
    raise Shortage(f"{what}, which need {len(demand.circuits)} circuits, on {node}, which has "
                   f"{max(0, (circuits or 0) - 1)} of them",
                   f"core.circuits to be {_room(len(demand.circuits))}, or fewer, or VNICs of switches to be in the "
                   "software lane")


def circuits_needed(links: Links, node: str, virtual_routers: int, numbers: int) -> int:
    """Circuits that a node's core is to have where the file does not say; 0 if it has no links."""
    if node not in links.nodes():
        return 0
    try:
        demand = demand_of(links, node, virtual_routers, numbers, None)
    except Shortage:
        return LEAST_CIRCUITS          # it is refused for another reason
    return _room(len(demand.circuits))


def settle_circuits(topology: Topology, running: Mapping[str, int], *, keep_boards: bool = False) -> None:
    """Set ``core.circuits`` of nodes of which the file does not say how many.

    Parameters
    ----------
    topology : Topology
        It is changed.
    running : mapping of str to int
        What boards have that run already: with another number they would have to be built and started anew.
    keep_boards : bool
        Leave it at what they have, even if that is not enough.
    """
    links = links_of(topology)
    for name, board in topology.nodes.items():
        if board.core.circuits is not None or board.host_link is not None:
            continue        # a real board has those that it was built with
        virtual_routers = sum(node == name for _, _, node, _ in topology.routers())
        needed = circuits_needed(links, name, virtual_routers, board.core.routers or CoreConfig().routers)
        now = running.get(name, 0)
        circuits = now if keep_boards and name in running else max(now, needed)
        board.core = board.core.model_copy(update={"circuits": circuits or None})


def _room(circuits: int) -> int:
    return min(MOST_CIRCUITS, max(LEAST_CIRCUITS, power_of_two_at_least(circuits + 1)))
