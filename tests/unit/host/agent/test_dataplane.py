"""A node's policies from its topology file to the frames of the golden model's ports."""

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    ADJACENCY_MULTICAST,
    MAC_AGES,
    AdjacencyKind,
    Reason,
    Register,
    Role,
    Table,
    pack,
)
from polyrouter.hdl.policers import policer_cycles
from polyrouter.hdl.queues import least_quantum
from polyrouter.hdl.shapers import shaper_cycles
from polyrouter.host.agent import dataplane
from polyrouter.host.agent.dataplane import DataPlane, parse_mac
from polyrouter.host.agent.events import EventLog
from polyrouter.host.agent.metrics import metrics
from polyrouter.host.allocate import Allocation, allocate
from polyrouter.host.compile import network_spec
from polyrouter.host.spec import NetworkSpec, NodeSpec
from polyrouter.host.store import AgentStore
from polyrouter.host.tables.adjacency import glean, group, next_hop
from polyrouter.host.tables.prefix import Prefix
from polyrouter.host.tables.windows import WindowsFull
from polyrouter.host.topology_file import parse
from polyrouter.sim.golden import GoldenModel, Output
from polyrouter.sim.packets import ethernet, ipv4, segment, with_tag

from ..board.link import Link

TEXT = """\
name: policies
topology:
  nodes:
    left: {ports: 4, mac-age: 70s, core: {routers: 4, filter_rules: 32, policers: 16, max_frame: 1522}}
  networks:
    red:
      routers:
        left:
          interfaces:
            eth0: {address: 10.0.0.1/24, vlan: 100, open: true, rate: {out: 50M, weight: 2}}
            eth1: {address: 10.0.1.1/24, open: true}
          rate: {in: 100M, burst: 64k}
          punt-rate: 1M
          buffer: {reserved: 16k, limit: 32k}
          filters:
            - {match: {protocol: tcp, dst-port: 23}, action: drop}
            - {match: {src: 10.0.0.0/24, protocol: udp}, action: {send: eth1}, police: 10M, set: {tos: 8}}
            - {match: {port: eth1}, action: punt}
    lan:
      routers:
        bridge: {node: left, mode: bridged, interfaces: {eth0: {}, eth2: {vlan: 7}, eth3: {}}}
        switch:
          node: left
          mode: switched
          interfaces: {eth2: {vlan: 9}, eth1: {vlan: 9}}
          filters: [{match: {port: eth2}, action: {send: [eth1]}}]
"""
STATION, OTHER = 0x02BB00000001, 0x02BB00000002
CORE = CoreConfig(ports=4, routers=4, filter_rules=32, policers=16, max_frame=1522)


class Board:
    """A node's data plane on a golden model."""

    def __init__(self, model: GoldenModel, link: Link, store: AgentStore, events: EventLog) -> None:
        self.model, self.link, self.store, self.events = model, link, store, events
        self.spec: NetworkSpec
        self.plane: DataPlane
        self.allocation: Allocation | None = None
        self.use(TEXT)

    def begin(self) -> None:
        self.plane = DataPlane(self.node, CoreConfig(**self.node.core), self.store,     # type: ignore[arg-type]
                               self.events)
        self.plane.start(list(self.node.routers.values()))

    def restart(self) -> None:
        """The agent's end and a new one."""
        self.plane.close()
        self.link = Link(self.model)
        self.begin()

    @property
    def node(self) -> NodeSpec:
        return self.spec.nodes["left"]

    def use(self, text: str) -> None:
        file = parse(text)
        self.allocation = allocate(file, self.allocation)
        self.spec = network_spec(file, self.allocation)

    def set_all(self) -> None:
        for router in self.node.routers.values():
            self.plane.set_router(router)

    def number(self, name: str) -> int:
        return self.node.routers[name].number

    def mac(self, name: str, port: int) -> int:
        return next(parse_mac(entry.mac) for entry in self.node.routers[name].ports if entry.port == port)

    def receive(self, port: int, frame: bytes) -> list[tuple[int, Reason]]:
        """Where a frame goes, and as what."""
        outputs = self.model.receive(port, frame)
        for output in outputs:
            if output.port == CORE.host_port:
                self.link.deliver(output.frame)
        return [(output.port, reason_of(output)) for output in outputs]


def reason_of(output: Output) -> Reason:
    assert output.event is not None
    return Reason(output.event[2])


@pytest.fixture
def board(tmp_path, monkeypatch) -> Iterator[Board]:
    model = GoldenModel(CORE, policer_cycles=policer_cycles(CORE), shaper_cycles=shaper_cycles(CORE))
    store = AgentStore(tmp_path / "agent.db")
    made = Board(model, Link(model), store, EventLog(tmp_path / "events.jsonl"))
    monkeypatch.setattr(dataplane, "open_transport", lambda *_: made.link)
    made.begin()
    yield made
    made.plane.close()
    store.close()


def packet(destination: int, protocol: int, port: int, *, vlan: int = 0, source: int = STATION) -> bytes:
    body = segment(protocol, 0x0A000063, 0x0A000163, (4000, port), bytes(30))
    frame = ethernet(destination, source, 0x0800, ipv4(0x0A000063, 0x0A000163, body, protocol=protocol))
    return with_tag(frame, vlan) if vlan else frame


def test_filter_rules_decide_and_count(board):
    board.set_all()
    own = board.mac("red-left", 0)
    assert board.receive(0, packet(own, 6, 23, vlan=100)) == []
    assert board.receive(0, packet(own, 17, 53, vlan=100)) == [(1, Reason.SWITCHED)]
    assert board.receive(1, packet(board.mac("red-left", 1), 6, 80)) == [(CORE.host_port, Reason.PUNT_FILTER)]
    assert board.model.counters[board.number("red-left"), 0, Reason.DROP_FILTER] == 1
    length = len(packet(own, 17, 53, vlan=100))
    assert [(row["rule"], row["action"], row["frames"]) for row in board.plane.filters("red-left")] == [
        (0, "drop", 1), (1, "send", 1), (2, "punt", 1)]
    assert board.plane.filters("red-left")[1]["bytes"] == length
    assert board.plane.filters("red-left")[0]["text"] == "protocol 6 dst-port 23: drop"
    assert {row["router"] for row in board.plane.all_filters()} == {"red-left", "lan-switch"}


def test_a_router_is_on_its_vlan_only(board):
    board.set_all()
    own = board.mac("red-left", 0)
    assert board.receive(0, packet(own, 17, 53, vlan=100))
    assert board.receive(0, packet(own, 17, 53, vlan=101)) == []
    assert board.receive(0, packet(own, 17, 53)) != [(1, Reason.SWITCHED)]      # the bridge's, which floods it
    assert board.model.tables.port(board.number("red-left"), 0).vid == 100
    entries = {(row["port"], row["vlan"], row["role"]) for row in board.plane.vmac() if row["router"] == "red-left"}
    assert entries == {("p0", 100, "own"), ("p1", None, "own")}


def test_a_bridge_learns_between_its_vlans(board):
    board.set_all()
    frame = ethernet(OTHER, STATION, 0x1234, bytes(50))
    assert board.receive(0, frame) == [(2, Reason.BRIDGED), (3, Reason.BRIDGED)]
    assert board.receive(3, ethernet(STATION, OTHER, 0x1234, bytes(50))) == [(0, Reason.BRIDGED)]
    [output] = board.model.receive(0, ethernet(OTHER, STATION, 0x1234, bytes(50)))
    assert output.port == 3
    assert {(row["mac"], row["port"]) for row in board.plane.macs("lan-bridge")} == {
        ("02:bb:00:00:00:01", "p0"), ("02:bb:00:00:00:02", "p3")}
    tagged = [output for output in board.model.receive(3, ethernet(0x02BB00000009, OTHER, 0x1234, bytes(50)))
              if output.port == 2]
    assert tagged[0].frame[12:16] == bytes.fromhex("81000007")
    assert board.receive(0, ethernet(board.mac("lan-bridge", 0), STATION, 0x1234, bytes(50))) == [
        (CORE.host_port, Reason.PUNT_LOCAL)]


def test_a_switch_does_what_its_rules_say(board):
    board.set_all()
    assert board.receive(2, with_tag(ethernet(OTHER, STATION, 0x1234, bytes(50)), 9)) == [(1, Reason.SWITCHED)]
    assert board.receive(1, with_tag(ethernet(OTHER, STATION, 0x1234, bytes(50)), 9)) == []
    assert {row["role"] for row in board.plane.vmac() if row["router"] == "lan-switch"} == {"segment"}


def test_rates_are_in_the_board(board):
    board.set_all()
    rates = {(row["router"], row["what"]): row for row in board.plane.rates()}
    for what, wanted in (("in", 100e6), ("rule 1", 10e6), ("out p0", 50e6), ("out host", 1e6)):
        assert abs(rates["red-left", what]["bits"] / wanted - 1) < 0.01, what
    assert rates["red-left", "in"]["burst"] == 65536
    assert rates["red-left", "out p0"]["quantum"] == 2 * least_quantum(CORE)
    assert ("red-left", "out p1") not in rates
    assert abs(rates["lan-bridge", "out host"]["bits"] / 100e6 - 1) < 0.01
    tables = board.model.tables
    assert tables.register(Register.MAC_AGE_CYCLES) * MAC_AGES / CORE.clock_hz == pytest.approx(70, rel=1e-6)
    reserved = [router.reserved_cells for router in board.node.routers.values()]
    assert reserved == [256, 128, 128]
    assert tables.register(Register.SHARED_CELLS) == CORE.cells - sum(reserved)


def reserved_on_the_board(model: GoldenModel) -> int:
    quotas = model.tables._rows[Table.QUOTA]
    return sum(row & 0xFFFF for row in quotas.values()) + model.tables.register(Register.SHARED_CELLS)


def watch(board: Board, look: Callable[[], None]) -> None:
    """Have a function called after every write."""
    tables, write = board.model.tables, board.model.tables.write

    def watched(*arguments) -> None:
        write(*arguments)
        look()

    tables.write = watched      # type: ignore[method-assign]


def test_cells_are_never_shared_out_twice(board):
    def look() -> None:
        assert reserved_on_the_board(board.model) <= CORE.cells

    watch(board, look)
    board.set_all()
    for text in (TEXT.replace("reserved: 16k, limit: 32k", "reserved: 24k"), TEXT):
        board.use(text)
        board.set_all()
    board.plane.remove_router(board.node.routers["red-left"])
    assert reserved_on_the_board(board.model) == CORE.cells
    board.restart()
    assert reserved_on_the_board(board.model) == CORE.cells
    board.set_all()
    assert reserved_on_the_board(board.model) == CORE.cells


def test_routes_and_adjacencies_of_both_families_are_shown(board):
    board.set_all()
    tables = board.plane._tables["red-left"]
    first, second = next_hop(0, 0x0A000002), next_hop(1, 0x20010DB8 << 96 | 9, True)
    tables.set_neighbour(0, first.address, 0x02AA00000001)
    tables.set_neighbour(1, second.address, 0x02AA00000002, True)
    routes = {"198.51.100.0/24": first, "198.51.101.0/24": glean(1), "2001:db8:1::/48": second,
              "2001:db8:2::/48": group({first: 3, second: 1})}
    for text, target in routes.items():
        tables.set_route(Prefix.parse(text), target)
    tables.commit()
    shown = board.plane.fib("red-left")
    fib = {row["prefix"]: row for row in shown}
    assert fib.keys() >= routes.keys()
    assert [row["prefix"] for row in shown] == [str(prefix) for prefix in tables.prefixes()]
    nothing: dict[str, object] = {"port": None, "mac": None, "mtu": None, "members": None, "ports": None}

    def named(text: str) -> dict[str, object]:
        return {key: fib[text][key] for key in ("kind", *nothing)}

    assert named("198.51.100.0/24") == nothing | {
        "kind": "forward", "port": "p0", "mac": "02:aa:00:00:00:01", "mtu": 1500}
    assert named("198.51.101.0/24") == nothing | {"kind": "unresolved"}
    assert named("2001:db8:1::/48") == nothing | {
        "kind": "forward", "port": "p1", "mac": "02:aa:00:00:00:02", "mtu": 1500}
    start, count = fib["2001:db8:2::/48"]["members"]
    assert count == 4 and named("2001:db8:2::/48") == nothing | {"kind": "ecmp", "members": [start, 4]}
    rows = {row["row"]: row for row in board.plane.adjacency("red-left")}
    assert sorted(rows[start + k]["mac"][-1] for k in range(4)) == ["1", "1", "1", "2"]
    assert rows[fib["198.51.100.0/24"]["adjacency"]]["routes"]


def test_a_row_of_multicast_is_shown(board):
    board.set_all()
    row = board.plane._tables["red-left"].window.adj_size // 2
    bits = pack(ADJACENCY_MULTICAST, {"kind": AdjacencyKind.MULTICAST, "port": 3, "ports": 0b0101, "host": 1,
                                      "mtu": 1400})
    board.model.tables.write(Table.ADJACENCY, board.number("red-left"), row, bits)
    shown = next(entry for entry in board.plane.adjacency("red-left") if entry["row"] == row)
    assert shown == {"row": row, "kind": "multicast", "port": "p3", "mac": None, "mtu": 1400, "members": None,
                     "ports": ["p0", "p2", "host"], "routes": None}


GROUP, SOURCE = 0xEF010101, 0x0A000163
MULTICAST = """\
          multicast:
            - {group: 239.1.1.1, source: 10.0.1.99, from: eth1, to: eth0}
            - {group: 239.1.1.1, from: eth0, host: true}
"""


def group_packet(source: int) -> bytes:
    body = segment(17, source, GROUP, (4000, 5000), bytes(30))
    return ethernet(0x01005E010101, STATION, 0x0800, ipv4(source, GROUP, body, protocol=17))


def test_multicast_routes_of_the_file(board):
    """They are there before frames are looked up by them, change, and go."""
    routed = TEXT[:TEXT.index("          filters:")].replace("open: true", "open: false")
    lan = TEXT[TEXT.index("    lan:"):]
    hosts = "      hosts: {a: {attach: 'left:p1', address: 10.0.1.99/24}}\n"
    board.use(routed + hosts + lan)
    board.set_all()
    sender = parse_mac(board.spec.hosts["red-a"].mac)
    frame = group_packet(SOURCE)
    frame = frame[:6] + sender.to_bytes(6, "big") + frame[12:]

    def outputs() -> list[tuple[int, Reason]]:
        return board.receive(1, frame)

    host = board.model.config.host_port
    assert outputs() == [(host, Reason.PUNT_GROUP)] and board.plane.mroutes("red-left") == []
    board.use(routed + MULTICAST + hosts + lan)
    board.set_all()
    shown = [{key: row[key] for key in ("source", "group", "kind", "from", "to", "mtu")}
             for row in board.plane.mroutes("red-left")]
    assert shown == [
        {"source": "*", "group": "239.1.1.1", "kind": "multicast", "from": "p0", "to": ["host"], "mtu": 1500},
        {"source": "10.0.1.99", "group": "239.1.1.1", "kind": "multicast", "from": "p1", "to": ["p0"], "mtu": 1500}]
    assert outputs() == [(0, Reason.FORWARDED)]
    assert "224.0.0.0/4" not in {row["prefix"] for row in board.plane.fib("red-left")}
    board.restart()
    board.set_all()
    assert outputs() == [(0, Reason.FORWARDED)] and len(board.plane.mroutes("red-left")) == 2
    first, *_ = MULTICAST.splitlines(keepends=True)
    board.use(routed + first + "            - {group: 239.1.1.1, from: eth1, host: true}\n" + hosts + lan)
    board.set_all()
    assert outputs() == [(host, Reason.PUNT_GROUP)]
    assert [row["source"] for row in board.plane.mroutes("red-left")] == ["*"]
    board.use(routed + hosts + lan)
    board.set_all()
    assert outputs() == [(host, Reason.PUNT_GROUP)] and board.plane.mroutes("red-left") == []


def test_an_agent_that_restarts_has_the_same_windows(board):
    board.set_all()
    before = board.plane.context()
    board.restart()
    board.set_all()
    assert board.plane.context() == before
    assert board.receive(0, packet(board.mac("red-left", 0), 6, 23, vlan=100)) == []


def test_changes_touch_no_other_router(board):
    board.set_all()
    others = {board.number("lan-bridge"), board.number("lan-switch")}
    written: list[tuple[Table, int]] = []
    tables, write = board.model.tables, board.model.tables.write

    def noted(table: Table, router: int, row: int, value: int) -> None:
        written.append((table, router))
        write(table, router, row, value)

    tables.write = noted        # type: ignore[method-assign]
    board.use(TEXT.replace("dst-port: 23", "dst-port: 24").replace("rate: {in: 100M, burst: 64k}", "")
              .replace("vlan: 100", "vlan: 101"))
    board.set_all()
    mine = {entry for entry in written if entry[0] not in (Table.VMAC, Table.REGISTER)}
    assert mine and not any(router in others for _, router in mine)
    own = board.mac("red-left", 0)
    assert board.receive(0, packet(own, 6, 24, vlan=101)) == []
    assert board.model.counters[board.number("red-left"), 0, Reason.DROP_FILTER] == 1
    assert "in" not in {row["what"] for row in board.plane.rates() if row["router"] == "red-left"}
    before = len(written)
    board.set_all()
    assert len(written) == before


def test_a_removed_router_leaves_nothing(board):
    board.set_all()
    board.receive(0, ethernet(OTHER, STATION, 0x1234, bytes(50)))
    for router in list(board.node.routers.values()):
        board.plane.remove_router(router)
    for table in (Table.CONTEXT, Table.PORT, Table.VMAC, Table.FILTER, Table.ACTION, Table.HIT, Table.POLICER,
                  Table.MAC, Table.SHAPER, Table.QUOTA):
        assert not any(board.model.tables._rows[table].values()), table
    assert board.model.tables.register(Register.SHARED_CELLS) == CORE.cells


def test_segments_are_owned_once(board):
    board.set_all()
    slots = {(port, vlan): board.model.tables.vmac(0, port, Role.SEGMENT, vlan)
             for port, vlan in ((0, 0), (2, 7), (3, 0), (2, 9), (1, 9), (1, 0))}
    owners = {place: None if slot is None else slot.router for place, slot in slots.items()}
    bridge, switch = board.number("lan-bridge"), board.number("lan-switch")
    assert owners == {(0, 0): bridge, (2, 7): bridge, (3, 0): bridge, (2, 9): switch, (1, 9): switch, (1, 0): None}


def test_copies_for_capture_go_to_who_listens_and_never_to_the_container(board):
    board.set_all()
    frames: list[tuple[int, bytes]] = []
    arrived = threading.Event()

    def take(port: int, frame: bytes) -> None:
        frames.append((port, frame))
        arrived.set()

    own = board.mac("red-left", 0)
    board.receive(0, packet(own, 6, 23, vlan=100))
    end = board.plane.capture("red-left", take)
    assert board.model.tables.context(board.number("red-left")).mirror == 1
    assert board.receive(0, packet(own, 6, 23, vlan=100)) == [(CORE.host_port, Reason.PUNT_MIRROR)]
    assert arrived.wait(5)
    assert frames == [(0, packet(own, 6, 23))]
    second = board.plane.capture("red-left", take)
    end()
    assert board.model.tables.context(board.number("red-left")).mirror == 1
    second()
    assert board.model.tables.context(board.number("red-left")).mirror == 0
    assert board.receive(0, packet(own, 6, 23, vlan=100)) == []
    assert board.plane.relay.mirrored == 1 and board.plane.relay.homeless == 0
    with pytest.raises(LookupError, match="there is no router moon"):
        board.plane.capture("moon", take)


def test_prometheus_has_what_rules_matched(board):
    board.set_all()
    board.receive(0, packet(board.mac("red-left", 0), 6, 23, vlan=100))
    text = metrics(SimpleNamespace(plane=board.plane, routers=lambda: []))      # type: ignore[arg-type]
    assert 'polyrouter_rule_frames_total{action="drop",router="red-left",rule="0"} 1.0' in text
    assert 'polyrouter_rule_bytes_total{action="send",router="lan-switch",rule="0"} 0.0' in text


# Routers that come from elsewhere


def comer(board, **changes):
    """A router like red-left, from another node."""
    router = board.node.routers["red-left"]
    ports = [port.model_copy(update={"mac": f"02:cc:00:00:00:0{port.port}", "vlan": 200 + port.port})
             for port in router.ports]
    return router.model_copy(update={"name": "blue-left", "network": "blue", "number": 3, "ports": ports,
                                     "reserved_cells": 4, **changes})


def test_a_router_is_held_until_it_is_released(board):
    board.set_all()
    router = comer(board)
    assert board.plane.why_no_room(router) is None
    assert board.plane.set_router(router, held=True)
    frame = packet(parse_mac(router.ports[0].mac), 17, 53, vlan=200)
    assert board.receive(0, frame) == []
    board.plane.release_router("blue-left")
    assert board.receive(0, frame) == [(1, Reason.SWITCHED)]
    # What was counted where it came from is counted on.
    before = {(row["port"], row["reason"]): row["frames"] for row in board.plane.counters(3)}
    board.plane.carry("blue-left", {"0 SWITCHED": 40, "1 DROP_FILTER": 2})
    after = {(row["port"], row["reason"]): row["frames"] for row in board.plane.counters(3)}
    assert {key: after[key] - before[key] for key in after if after[key] != before[key]} == {
        ("p0", "switched"): 40, ("p1", "drop_filter"): 2}
    board.plane.remove_router(router)
    assert board.store.get("carried") == {}


@pytest.mark.parametrize("changes,why", [
    ({"fib_words": 200_000}, "FIB"), ({"filter_rules": 1000}, "filter"),
])
def test_a_router_that_does_not_fit_leaves_nothing(board, changes, why):
    board.set_all()
    saved = {name: board.store.get(name) for name in ("windows", "reserved")}
    context = board.plane.context()
    router = comer(board, **changes)
    assert why.lower() in board.plane.why_no_room(router).lower()
    assert board.store.get("windows") == saved["windows"]
    with pytest.raises(WindowsFull):
        board.plane.set_router(router, held=True)
    board.plane.discard_router(router)
    assert {name: board.store.get(name) for name in saved} == saved
    assert board.plane.context() == context
    board.plane.discard_router(router)      # again


def test_a_router_that_does_not_come_leaves_nothing(board):
    board.set_all()
    saved, context, vmac = board.store.get("windows"), board.plane.context(), board.plane.vmac()
    board.plane.set_router(comer(board), held=True)
    assert board.plane.vmac() != vmac
    board.plane.discard_router(comer(board))
    assert (board.store.get("windows"), board.plane.context(), board.plane.vmac()) == (saved, context, vmac)


def test_a_router_without_room_for_its_addresses(board):
    board.set_all()
    peers = [f"02:dd:00:00:{index >> 8:02x}:{index & 255:02x}" for index in range(CORE.vmac_slots)]
    router = comer(board)
    router = router.model_copy(update={"ports": [router.ports[0].model_copy(update={"peers": peers, "guard": True})]})
    assert "rows of the VMAC-VE table" in board.plane.why_no_room(router)
