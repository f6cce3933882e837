"""polyrouter ps"""

from typing import TYPE_CHECKING, Any

from .common import Json, NetworkName, network_of, print_json, reporting, show_rows
from .link_common import with_rates
from .vnic import vnic_rows

if TYPE_CHECKING:
    from ..agent.client import AgentClient

__all__ = ["ps"]


def ps(network: NetworkName = None, as_json: Json = False) -> None:
    """List nodes, virtual routers, hosts and VNICs, and how they are."""
    from ..agent.client import AgentClient

    with reporting():
        found = network_of(network)
        spec = found.spec()
        nodes, routers = [], []
        for name, wanted in spec.nodes.items():
            with AgentClient(found.name, name) as agent:
                node, rows = _node(name, agent)
            nodes.append(node | {
                "routers": sum(router.container for router in wanted.routers.values()), "vnics": len(wanted.vnics),
                "numbers_used": len(wanted.routers), "numbers": wanted.core["routers"]})
            routers += [{"node": name} | row for row in rows if row["container"]]
        vnics = vnic_rows(found)
    hosts = [{"name": host.name, "network": host.network, "address": host.address, "gateway": host.gateway,
              "address6": host.address6, "gateway6": host.gateway6, "namespace": host.namespace}
             for host in spec.hosts.values()]
    if as_json:
        print_json({"network": found.name, "nodes": nodes, "routers": routers, "hosts": hosts, "vnics": vnics})
        return
    columns = ["node", "agent", "board", "routers", "vnics", "numbers_used", "numbers", "doing"]
    show_rows("Nodes", nodes, as_json=False, columns=columns)
    for row in routers:
        row["memory"] = "-" if row.get("memory_bytes") is None else f"{row['memory_bytes'] >> 20} MB"
        row["trouble"] = row.get("trouble") or "; ".join(row.get("problems") or []) or None
        row["addresses"] = [address for port in row.get("ports", {}).values() for address in port["addresses"]]
    columns = ["name", "node", "number", "state", "ready", "rib", "fib", "memory", "addresses", "trouble"]
    show_rows("Virtual routers", routers, as_json=False, columns=columns)
    show_rows("Hosts", hosts, as_json=False)
    if vnics:
        columns = ["name", "node", "lane", "leads_to", "router", "interface", "namespace", "mac", "addresses", "max_bw"]
        show_rows("VNICs", with_rates(vnics), as_json=False, columns=columns)


def _node(name: str, agent: "AgentClient") -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from ..agent.client import AgentError

    try:
        health = agent.get("/health")
        return ({"node": name, "agent": "running", "board": "running" if health["board"] else "not running",
                 "doing": health["doing"] or None}, agent.get("/routers"))
    except AgentError:
        return {"node": name, "agent": "not running", "board": None, "doing": None}, []
