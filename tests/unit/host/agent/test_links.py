"""VNICs, virtual switches and tunnels from a topology file to what their users get."""

from collections.abc import Iterator

import pytest
from polyrouter.hdl.layouts import Reason, Table
from polyrouter.host.agent.policies import parse_mac
from polyrouter.host.ports import logical
from polyrouter.host.tables.adjacency import LOCAL, next_hop
from polyrouter.host.tables.prefix import Prefix
from polyrouter.sim.packets import ethernet

from .linked_nodes import Node, Site

NODE = "{kind: board, ports: 2, core: {routers: 16, circuits: 64, filter_rules: 64, filter_banks: 4}}"
STUB = f"""\
name: stub
topology:
  nodes: {{left: {NODE}}}
  networks: {{}}
  switches:
    stub: {{node: left}}
    other: {{node: left}}
  vnics:
    a: {{switch: stub, address: 10.0.0.1/24, max-bw: 50M}}
    b: {{switch: stub, address: 10.0.0.2/24}}
    c: {{switch: stub, address: 10.0.0.3/24}}
    x: {{switch: other, address: 10.0.0.1/24}}
    y: {{switch: other, address: 10.0.0.2/24}}
"""
TUNNEL = f"""\
name: overlay
topology:
  nodes:
    left: {NODE}
    right: {NODE}
  links: [{{endpoints: ["left:p0", "right:p0"]}}]
  networks:
    under:
      routers:
        left: {{interfaces: {{eth0: {{address: 10.9.0.1/24}}}}}}
        right: {{interfaces: {{eth0: {{address: 10.9.0.2/24}}}}}}
  switches:
    one: {{node: left}}
    two: {{node: right}}
  vnics:
    a: {{switch: one, address: 10.0.0.1/24}}
    b: {{switch: two, address: 10.0.0.2/24}}
  tunnels:
    out: {{node: left, switch: one, kind: vxlan, key: 7, underlay: under-left, remote: 10.9.0.2, ttl: 9}}
    back: {{node: right, switch: two, kind: vxlan, key: 7, underlay: under-right, remote: 10.9.0.1}}
"""
EVERYBODY = 0xFFFFFFFFFFFF


@pytest.fixture
def start(tmp_path, monkeypatch) -> Iterator:
    sites: list[Site] = []

    def begin(text: str) -> Site:
        sites.append(Site(tmp_path, monkeypatch, text))
        for node in sites[-1].nodes.values():
            node.settle()
        return sites[-1]

    yield begin
    for site in sites:
        site.close()


def mac(node: Node, vnic: str) -> int:
    return parse_mac(node.spec.vnics[vnic].mac)


def frame(node: Node, source: str, destination: str | int, number: int = 0) -> bytes:
    to = destination if isinstance(destination, int) else mac(node, destination)
    return ethernet(to, mac(node, source), 0x1234, bytes([number]) * 50)


def exchange(node: Node, names: tuple[str, ...] = ("a", "b", "c")) -> None:
    """Everybody hears what is for all, and from then on each what is for it."""
    for source in names:
        node.send(source, frame(node, source, EVERYBODY))
        assert node.got() == {name: [frame(node, source, EVERYBODY)] for name in names if name != source}
    for source in names:
        for other in names:
            if other != source:
                node.send(source, frame(node, source, other, 1))
                assert node.got() == {other: [frame(node, source, other, 1)]}


def test_vnics_of_a_switch_hear_each_other_and_nobody_else(start):
    node = start(STUB).nodes["left"]
    exchange(node)
    exchange(node, ("x", "y"))
    shown = {row["circuit"]: row for row in node.plane.circuits()}
    assert shown.keys() == {circuit.number for circuit in node.spec.circuits.values()}
    heads = [row for row in shown.values() if row["kind"] == "list"]
    assert sorted(len(row["members"]) for row in heads) == [2, 3]
    assert {row["owner"] for row in heads} == {"stub", "other"}


def test_a_forged_source_is_counted_and_goes_nowhere(start):
    node = start(STUB).nodes["left"]
    node.send("a", frame(node, "b", "c"))
    node.send("a", frame(node, "b", EVERYBODY))
    assert node.got() == {}
    assert node.counter("stub", Reason.DROP_SOURCE) + node.counter("stub", Reason.DROP_NO_ROUTER) >= 1
    forged = STUB.replace("a: {switch: stub,", "a: {switch: stub, group: free,") + (
        "  port-groups: {free: {forged-transmits: accept}}\n")
    node.site.use(forged)
    node.settle()
    node.send("a", frame(node, "b", "c"))
    assert node.got() == {"c": [frame(node, "b", "c")]}
    node.site.use(STUB)
    node.settle()
    node.send("a", frame(node, "b", "c"))
    assert node.got() == {}


def test_an_agent_that_restarts_takes_circuits_over(start):
    node = start(STUB).nodes["left"]
    exchange(node)
    node.restart()
    written: list[Table] = []
    write = node.model.tables.write
    node.model.tables.write = lambda table, *rest: (written.append(table), write(table, *rest))
    node.settle()
    assert not {Table.LINK, Table.TERMINATION, Table.VMAC} & set(written)
    exchange(node)


def test_a_board_that_starts_again_gets_all_circuits(start):
    node = start(STUB).nodes["left"]
    node.restart(board=True)
    node.settle()
    exchange(node)
    # The same agent, another board.
    node.replace_board()
    assert node.plane.start(list(node.spec.routers.values()))
    exchange(node)


def test_a_change_of_a_vnics_rate_is_one_row_of_its_shaper_in_each_direction(start):
    node = start(STUB).nodes["left"]
    written: list[tuple[Table, int, int]] = []
    write = node.model.tables.write

    def noted(table: Table, router: int, row: int, value: int) -> None:
        written.append((table, router, row))
        write(table, router, row, value)

    node.model.tables.write = noted
    node.site.use(STUB.replace("max-bw: 50M", "max-bw: 80M"))
    node.settle()
    number = node.router("a").number
    assert set(written) == {(Table.SHAPER, number, node.model.config.link_port),
                            (Table.SHAPER, number, node.model.config.host_port)}
    written.clear()
    node.settle()
    assert written == []


def test_a_circuit_that_another_vnic_gets_leads_to_nobody_of_before(start):
    """c goes and d comes on another switch, with the numbers that c had."""
    node = start(STUB).nodes["left"]
    exchange(node)
    before = node.spec
    moved = STUB.replace("    c: {switch: stub, address: 10.0.0.3/24}\n", "").replace(
        "    y: {", "    d: {switch: other, address: 10.0.0.3/24}\n    y: {")
    node.site.use(moved)
    assert before.vnics["c"].circuit in {circuit.number for circuit in node.spec.circuits.values()}
    node.settle()
    node.send("a", ethernet(parse_mac(before.vnics["c"].mac), mac(node, "a"), 0x1234, bytes(50)))
    assert node.got().keys() <= {"b"}       # a stranger's: flooded on its switch
    exchange(node, ("a", "b"))
    exchange(node, ("x", "y", "d"))
    node.site.use(STUB)
    node.settle()
    exchange(node)
    exchange(node, ("x", "y"))


def test_all_that_goes_leaves_nothing(start):
    node = start(STUB).nodes["left"]
    exchange(node)
    node.site.use(STUB[:STUB.index("  switches:")])
    node.settle()
    for table in (Table.LINK, Table.TERMINATION, Table.VMAC, Table.CONTEXT, Table.PORT, Table.MAC, Table.SHAPER):
        assert not any(node.model.tables._rows[table].values()), table


@pytest.fixture
def overlay(start) -> Site:
    """The kernels of both underlays would tell: each knows the other's MAC address."""
    site = start(TUNNEL)
    left, right = site.nodes.values()
    for node, other, address in ((left, right, 0x0A090002), (right, left, 0x0A090001)):
        tables = node.plane._tables[f"under-{node.name}"]
        hop = next_hop(0, address)
        port = next(port for port in other.router(f"under-{other.name}").ports if port.port == 0)
        tables.set_neighbour(0, address, parse_mac(port.mac))
        tables.set_route(Prefix.host(address, False), hop)
        own = 0x0A090001 + 0x0A090002 - address
        tables.set_route(Prefix.host(own, False), LOCAL)
        tables.commit()
    return site


def test_a_tunnel_joins_two_switches(overlay):
    left, right = overlay.nodes.values()
    left.send("a", frame(left, "a", EVERYBODY))
    assert right.got() == {"b": [frame(left, "a", EVERYBODY)]}
    right.send("b", ethernet(mac(left, "a"), mac(right, "b"), 0x1234, bytes(50)))
    assert left.got() == {"a": [ethernet(mac(left, "a"), mac(right, "b"), 0x1234, bytes(50))]}
    [row] = left.plane.tunnels()
    assert (row["kind"], row["key"], row["remote"], row["underlay"], row["ttl"]) == (
        "vxlan", 7, "10.9.0.2", "under-left", 9)
    assert row["circuit_in"] == row["circuit"]


def test_a_tunnel_without_its_next_hop_asks_for_it_and_is_a_problem(overlay):
    left, _ = overlay.nodes.values()
    asked: list[tuple[int, int]] = []
    left.plane.tunnel_packets._resolve = lambda *what: asked.append(what)
    left.plane.hostport.set_punt_handler(left.plane.relay.deliver)
    tables = left.plane._tables["under-left"]
    tables.set_neighbour(0, 0x0A090002, None)
    tables.commit()
    for _ in range(3):
        left.send("a", frame(left, "a", EVERYBODY))
    left.plane.driver.fence()
    number = left.router("under-left").number
    assert asked == [(number, 0x0A090002)]
    [row] = left.plane.tunnel_problems()
    assert (row["router"], row["destination"], row["reason"], row["frames"]) == (
        "under-left", "10.9.0.2", "punt_unresolved", 3)
    assert left.plane.relay.homeless == 0
    drops = left.plane.link_drops()
    assert drops == []


def test_a_tunnel_that_nobody_ends_is_dropped_and_counted(overlay):
    left, right = overlay.nodes.values()
    spec = right.spec.model_copy(update={"terminations": []})
    right.plane.set_links(spec)
    left.send("a", frame(left, "a", EVERYBODY))
    assert right.got() == {}
    assert right.plane.link_drops() == [{"owner": "under-right", "reason": "drop_no_router", "frames": 1}]


def test_the_same_circuit_twice_at_a_router_has_two_logical_ports(start):
    node = start(STUB).nodes["left"]
    assert node.plane.port_name(logical(2, 5)) == "circuit 5"
    assert node.plane.port_name(2) == "link" and node.plane.port_name(1) == "p1"
