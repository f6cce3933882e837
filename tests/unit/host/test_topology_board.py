"""Nodes of a topology file whose board is one that there is: by its type, by a host link."""

import pytest
from polyrouter.boards.registry import BOARD_NAMES, boards
from polyrouter.host.allocate import allocate
from polyrouter.host.compile import network_spec
from polyrouter.host.plan import Seen, plan
from polyrouter.host.spec import NetworkSpec
from polyrouter.host.topology_file import TopologyError, parse

LINK = "uart:/dev/ttyUSB1"
VERSA = f"left: {{type: versa_ecp5, host-link: '{LINK}'}}"
ROUTERS = """\
  networks:
    red:
      routers:
        left: {interfaces: {eth0: {address: 10.0.0.1/24}}}
        right: {interfaces: {eth0: {address: 10.0.0.2/24}}}
"""


def text(*nodes: str, rest: str = "") -> str:
    return "name: net\ntopology:\n  nodes:\n" + "".join(f"    {node}\n" for node in nodes) + rest


def spec_of(written: str) -> NetworkSpec:
    file = parse(written)
    return network_spec(file, allocate(file, None))


def problem(written: str) -> str:
    with pytest.raises(TopologyError) as caught:
        parse(written)
    return str(caught.value)


@pytest.mark.parametrize("board", list(boards()), ids=BOARD_NAMES)
def test_a_node_of_a_type_has_its_ports_and_core(board):
    node = parse(text(f"left: {{type: {board.name}}}")).topology.nodes["left"]
    wanted = board.config(board.host_link)
    assert node.config() == wanted and node.ports == wanted.ports


def test_the_link_decides_how_many_ports_are_for_data():
    ports = {link: parse(text(f"left: {{type: netfpga_1g_cml, host-link: '{link}'}}")).topology.nodes["left"].ports
             for link in ("eth:eth1", "auth:eth1?key=/k", "uart:/dev/ttyUSB0")}
    assert ports == {"eth:eth1": 3, "auth:eth1?key=/k": 4, "uart:/dev/ttyUSB0": 4}


def test_what_the_board_was_built_with_can_be_said():
    node = parse(text(f"left: {{type: versa_ecp5, host-link: '{LINK}', core: {{routers: 8}}}}")).topology.nodes["left"]
    assert (node.config().routers, node.config().fib_words) == (8, 2048)


def test_a_board_file_of_ones_own(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from dataclasses import replace\nfrom polyrouter.boards.versa_ecp5 import BOARD\n"
                    "BOARD = replace(BOARD, name='mine', core=BOARD.core | {'routers': 4})\n")
    assert parse(text(f"left: {{type: {file}}}")).topology.nodes["left"].config().routers == 4
    assert "the absolute path of a board file, not mine.py" in problem(text("left: {type: mine.py}"))


@pytest.mark.parametrize("node, said", [
    ("left: {type: versa}", "topology.nodes.left: found a mapping; expected another type: there is no board 'versa'; "
                            "there are versa_ecp5, "),
    ("left: {type: versa_ecp5, ports: 3}", "expected 2 ports, which versa_ecp5 has for data, or no key 'ports'"),
    ("left: {type: ecpix5, host-link: 'eth:eth1'}", "expected another type: board ecpix5: it has one port"),
    ("left: {host-link: 'usb:1'}", "topology.nodes.left.host-link: found 'usb:1'; expected another link: "),
    ("left: {host-link: 'auth:eth1'}", "the file of the board's key is missing: ?key=FILE"),
    ("left: {host-link: 'auth:eth1?key=k'}", "expected an absolute path, not k"),
    ("left: {host-link: 'uart:dev/tty'}", "expected an absolute path, not dev/tty"),
    (f"left: {{host-link: '{LINK}', macs: true}}", "expected no key 'macs': a real board has its MACs")])
def test_what_is_wrong_is_said(node, said):
    assert said in problem(text(node))


def test_a_real_board_has_nothing_in_the_fabric():
    spec = spec_of(text(VERSA, "right: {ports: 2}"))
    left, right = spec.nodes["left"], spec.nodes["right"]
    assert (left.interfaces, left.link) == ([], LINK)
    assert (right.interfaces, right.link) == (["right-p0", "right-p1", "right-host"], "eth:right-host")


def test_a_cable_between_real_boards_is_known_and_not_made():
    both = text(VERSA, "right: {type: versa_ecp5, host-link: 'uart:/dev/ttyUSB2'}",
                rest="  links:\n    - endpoints: ['left:p0', 'right:p0']\n" + ROUTERS)
    spec = spec_of(both)
    assert not spec.segments
    ports = {name: spec.nodes[name].routers[f"red-{name}"].ports[0] for name in ("left", "right")}
    assert ports["left"].peers == [ports["right"].mac] and ports["right"].peers == [ports["left"].mac]
    mixed = both.replace("type: versa_ecp5, host-link: 'uart:/dev/ttyUSB2'", "ports: 2")
    assert "topology.links[0]: found left:p0 of a real board, joined to ports that are simulated" in problem(mixed)


def test_hosts_are_at_simulated_ports_only():
    found = problem(text(VERSA, rest="  networks:\n    red:\n      hosts:\n"
                                     "        a: {attach: 'left:p0', address: 10.0.0.9/24}\n"))
    assert "hosts.a.attach: found 'left:p0', a port of a real board" in found


def test_a_real_board_gets_no_circuits_that_it_was_not_built_with():
    vnics = ("  switches: {s: {node: left}}\n  vnics: {v: {switch: s, address: 10.0.0.1/24}}\n")
    circuits = {node: parse(text(node, rest=vnics)).topology.nodes["left"].config().circuits
                for node in ("left: {ports: 2}", VERSA)}
    assert circuits == {"left: {ports: 2}": 16, VERSA: 0}       # the switch is in software there


def test_another_link_is_another_board():
    before, after = (spec_of(text(f"left: {{type: versa_ecp5, host-link: '{link}'}}"))
                     for link in (LINK, "uart:/dev/ttyUSB2"))
    seen = Seen(fabric=True, agents={"left"})
    assert plan(before, before, seen) == []
    assert [str(change) for change in plan(before, after, seen)] == [
        f"replace node left: host-link was {LINK}, is uart:/dev/ttyUSB2"]
