"""A router moves to another node: what keeps it from that is said before anything is done."""

from uuid import uuid4

from .agent.client import AgentClient, AgentError
from .allocate import Allocation, AllocationError, allocate
from .compile import network_spec
from .link_objects import move as moved
from .migration.move import Mode, Move, MoveError, MoveResult
from .network import Network
from .spec import NetworkSpec, RouterSpec
from .topology_document import TopologyError
from .topology_file import parse

__all__ = ["migrate", "why_not_there"]


def migrate(network: Network, router: str, to: str, *, mode: Mode = Mode.LIVE, dry_run: bool = False
            ) -> MoveResult | None:
    """Move a router to another node, while it forwards.

    Parameters
    ----------
    network : Network
    router, to : str
        The router's full name, and the node.
    mode : Mode
    dry_run : bool
        Only find out whether it can be.

    Returns
    -------
    MoveResult or None
        How it went; None of a dry run.

    Raises
    ------
    MoveError
        If it can't be, or was not moved; it is where it was then.
    NetworkError
        If there is no such network or router.
    """
    source = network.node_of(router)
    with network.alone(), network.store() as store:
        old, unfinished = network.saved(store)
        if old is None or unfinished:
            raise MoveError(f"the last change of {network.name} did not end: run 'polyrouter up' again first")
        if to not in old.nodes:
            raise MoveError(f"there is no node {to} in {network.name}; there are: {', '.join(old.nodes)}")
        if to == source:
            raise MoveError(f"{router} is on {to} already")
        text, path = store.get("text"), store.get("file")
        objects, running = network.links()
        homes = {full: node for full, _, node, _ in parse(text, path).topology.routers()}
        wanted = moved(objects, router, homes[router], to)
        try:
            file = parse(text, path, objects=wanted, running=running, keep_boards=True)
            allocation = allocate(file, Allocation.model_validate(store.get("allocation")))
        except (TopologyError, AllocationError) as error:
            raise MoveError(f"{router} can't be on {to}: {error}") from None
        new = network_spec(file, allocation)
        if problem := why_not_there(old, new, router, source, to):
            raise MoveError(f"{router} can't move to {to}: {problem}")
        move = Move(id=uuid4().hex[:12], router=new.nodes[to].routers[router], source=source, destination=to, mode=mode)
        values = {"spec": new.model_dump(), "allocation": allocation.model_dump(mode="json"), "links": wanted}
        network.progress(f"asking {to}")
        with AgentClient(network.name, to) as there, AgentClient(network.name, source) as here:
            try:
                place = there.expect(move)
                if dry_run:
                    here.check_move(move, place)
                    return None
                result = here.send_router(move, place, values, network.progress)
            except AgentError as error:
                raise MoveError(str(error)) from None
        _tell(network, old, new)
    return result


def _tell(network: Network, old: NetworkSpec, new: NetworkSpec) -> None:
    """Tell the agents of all nodes that differ: also others have neighbours elsewhere now."""
    for name, node in new.nodes.items():
        if old.nodes[name] != node:
            network.progress(f"telling {name}")
            with AgentClient(network.name, name) as agent:
                agent.put_links(node)


def why_not_there(old: NetworkSpec, new: NetworkSpec, router: str, source: str, to: str) -> str | None:
    """Why a router would not be the same on another node, None if it would.

    Parameters
    ----------
    old, new : NetworkSpec
        The network as it is, and with the router there.
    router, source, to : str
    """
    before, after = old.nodes[source].routers[router], new.nodes[to].routers[router]
    if not before.container:
        return "it is a virtual switch or a VNIC, which belongs to its node"
    if before.mode != "routed":
        return f"it is {before.mode}: what it has learned of its segments, or sends by rules, is its node's"
    if before.tunnels or any(port.circuit for port in before.ports):
        return "it has VNICs or carries tunnels, which are its node's"
    segments = {tap: segment.name for segment in new.segments.values() for tap in segment.taps}
    for port, its in zip(before.ports, after.ports, strict=True):
        here, there = (None if node.host_link else segments.get(node.taps[port.port])
                       for node in (old.nodes[source], new.nodes[to]))
        if here is None or here != there:
            place = "on no segment that the topology file joins" if here is None else f"on segment {here}"
            return (f"its {port.name} is {place}, and port p{port.port} of {to} is on {there or 'none'}: join them by "
                    "a link in the topology file")
        if lost := sorted(set(port.peers) - set(its.peers)):
            return (f"{_who(new, to, lost[0]) or lost[0]}, which it talks to by {port.name}, is at the same port of "
                    f"{to}, and what a port sends does not come back to it")
    return None


def _who(spec: NetworkSpec, node: str, mac: str) -> str | None:
    def has(router: RouterSpec) -> bool:
        return any(port.mac == mac for port in router.ports)

    return next((name for name, router in spec.nodes[node].routers.items() if has(router)), None)
