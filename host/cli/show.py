"""polyrouter show: what is in the hardware's tables"""

from typing import Annotated, Any

import typer

from .common import Json, NetworkName, each_agent, network_of, print_json, reporting, show_rows

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Show the data plane's tables, as the hardware has them.")

Node = Annotated[str | None, typer.Option("--node", envvar="POLYROUTER_NODE", help="Only this node.")]
RouterName = Annotated[str, typer.Argument(help="Virtual router, as in red-left.")]
OneRouter = Annotated[str | None, typer.Option("--router", "-r", help="Only this virtual router.")]


def _of_nodes(path: str, title: str, network: str | None, node: str | None, as_json: bool) -> None:
    show_rows(title, _rows(path, network, node), as_json=as_json)


def _rows(path: str, network: str | None, node: str | None, part: str | None = None) -> list[dict[str, Any]]:
    """What each agent answers, or a part of it."""
    rows: list[dict[str, Any]] = []
    with reporting():
        for agent in each_agent(network_of(network), node):
            answer = agent.get(path)
            rows += [{"node": agent.node} | row for row in (answer if part is None else answer[part])]
    return rows


def _of_router(what: str, title: str, router: str, network: str | None, as_json: bool) -> None:
    with reporting():
        rows = network_of(network).ask(router, f"/{what}/{router}")
    show_rows(f"{title} {router}", rows, as_json=as_json)


@app.command()
def vmac(network: NetworkName = None, node: Node = None, as_json: Json = False) -> None:
    """(MAC address, port, VLAN) to virtual router: own addresses, those of peers, and segments."""
    _of_nodes("/vmac", "VMAC-VE table", network, node, as_json)


@app.command()
def context(network: NetworkName = None, node: Node = None, as_json: Json = False) -> None:
    """Context registers: ports, flags, and rows of the tables that each virtual router may use."""
    rows = _rows("/context", network, node)
    show_rows("Context registers", rows if as_json else [_windows(row) for row in rows], as_json=as_json)


def _windows(row: dict[str, Any]) -> dict[str, Any]:
    """First and last row in one cell for each table, so that a context fits into a line."""
    tables = [name.removesuffix("_base") for name in row if name.endswith("_base")]
    found = {name: value for name, value in row.items() if not name.endswith(("_base", "_size"))}
    for table in tables:
        base, size = row[f"{table}_base"], row[f"{table}_size"]
        found[table] = f"{base}-{base + size - 1}" if size else None
    return found


@app.command()
def queues(network: NetworkName = None, node: Node = None, as_json: Json = False) -> None:
    """Output queues of each virtual router at each port."""
    _of_nodes("/queues", "Output queues", network, node, as_json)


@app.command()
def counters(network: NetworkName = None, node: Node = None, router: OneRouter = None,
             everything: Annotated[bool, typer.Option("--all", help="Also those that are zero.")] = False,
             as_json: Json = False) -> None:
    """Frames by virtual router, ingress port and what became of them."""
    with reporting():
        found = network_of(network)
        node = found.node_of(router) if router else node
        rows: list[dict[str, Any]] = []
        for agent in each_agent(found, node):
            found_rows = agent.get("/counters", **({"router": router} if router else {}))
            rows += [{"node": agent.node} | row for row in found_rows]
    show_rows("Counters", [row for row in rows if everything or row["frames"]], as_json=as_json)


@app.command()
def fib(router: RouterName, network: NetworkName = None, as_json: Json = False) -> None:
    """Routes of a virtual router, as they are in its hardware FIB."""
    _of_router("fib", "FIB of", router, network, as_json)


@app.command()
def mroutes(router: RouterName, network: NetworkName = None, as_json: Json = False) -> None:
    """Multicast routes of a virtual router, as they are in its hardware FIB."""
    _of_router("mroutes", "Multicast routes of", router, network, as_json)


@app.command()
def adjacency(router: RouterName, network: NetworkName = None, as_json: Json = False) -> None:
    """Next hops of a virtual router."""
    _of_router("adjacency", "Adjacencies of", router, network, as_json)


@app.command()
def filters(router: RouterName, network: NetworkName = None, as_json: Json = False) -> None:
    """Filter rules of a virtual router, and what they have matched."""
    _of_router("filters", "Filter of", router, network, as_json)


@app.command()
def rates(network: NetworkName = None, node: Node = None, as_json: Json = False) -> None:
    """Policers and shapers of each virtual router, in bits a second, and bytes of a burst."""
    _of_nodes("/rates", "Rates", network, node, as_json)


@app.command()
def macs(router: RouterName, network: NetworkName = None, as_json: Json = False) -> None:
    """MAC addresses that a bridged virtual router knows."""
    _of_router("macs", "MAC addresses of", router, network, as_json)


@app.command()
def circuits(network: NetworkName = None, node: Node = None, as_json: Json = False) -> None:
    """Circuits of the link port: what leads from VNIC to VNIC, to a switch, into a tunnel."""
    show_rows("Circuits", _rows("/links", network, node, "circuits"), as_json=as_json)


@app.command()
def tunnels(network: NetworkName = None, node: Node = None, as_json: Json = False) -> None:
    """Tunnels, and packets of them that could not go on, with what to do about it."""
    found = _rows("/tunnels", network, node, "tunnels")
    problems = _rows("/tunnels", network, node, "problems")
    if as_json:
        print_json({"tunnels": found, "problems": problems})
        return
    show_rows("Tunnels", found, as_json=False)
    show_rows("Packets that could not go on", problems, as_json=False)
