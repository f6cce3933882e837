"""What there is of a network: parts of this machine, and what agents say of theirs."""

import contextlib

from .agent.client import AgentClient, AgentError
from .fabric import Fabric, list_namespaces
from .plan import Seen
from .spec import NetworkSpec

__all__ = ["see"]


def see(network: str, spec: NetworkSpec) -> Seen:
    """What there is of a network on this machine, and what its agents say.

    Parameters
    ----------
    network : str
        Its name.
    spec : NetworkSpec
        What it was, or is, to be: where to look.
    """
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
        with AgentClient(network, node) as agent:
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
