"""Hitless updates: what is written while frames of the same router flow."""

from copy import deepcopy

import cocotb
from polyrouter.hdl.layouts import (
    VMAC_KEY_BITS,
    VMAC_ROW,
    AdjacencyKind,
    HostFrameType,
    QueueStat,
    Reason,
    Role,
    Table,
    pack,
)
from polyrouter.sim.frames import RxFrame
from polyrouter.sim.host_frames import HostFrame
from polyrouter.sim.tablegen import Route, RowWrite, Scenario, adjacency_row, fib_image, simple_scenario

from .bench import GMII, packet, rng, start


def leaf_of_ten(adjacency: int) -> int:
    """Root word of addresses that begin with a zero, if 10.0.0.0/8 is the only route."""
    return fib_image([Route(10 << 24, 8, adjacency)]).words[0]


def hitless_changes(scenario: Scenario) -> list[list[RowWrite]]:
    """Updates that each move something of router 0 without a gap: its route, its neighbour, its VMAC-VE entry."""
    router = scenario.routers[0]
    changes = [[RowWrite(Table.FIB, 0, 0, leaf_of_ten(1))],
               [RowWrite(Table.ADJACENCY, 0, 0, adjacency_row(AdjacencyKind.FORWARD, 2, 0x060000009999, 1500))]]
    used = {write.row: write.value for write in scenario.writes if write.table == Table.VMAC}
    for port, mac in router.own.items():
        entry = pack(VMAC_ROW, {"mac": mac, "port": port, "role": Role.OWN, "valid": 1, "router": 0})
        old = next(row for row, value in used.items() if value == entry)
        candidates = scenario.vmac.candidates(entry & (1 << VMAC_KEY_BITS) - 1)
        free = [row for row in candidates if row not in used]
        if free:
            changes.append([RowWrite(Table.VMAC, 0, free[0], entry), RowWrite(Table.VMAC, 0, old, 0)])
    assert len(changes) > 2
    return changes


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def updates_under_traffic(dut):
    """Tables change while frames flow: each frame is treated by the old or by the new table, none is lost.

    A route to one neighbour becomes a route to another, an adjacency is written over, VMAC-VE entries move to other
    slots. For each ingress port, once a frame was treated by the new table, so are all that come later.
    """
    board, random = await start(dut), rng()
    cfg = board.config
    scenario = simple_scenario(cfg, mtu=1500)
    # Router 0 has one route only, in a leaf, so that it is moved by a single word
    await board.write(scenario.writes)
    await board.write([RowWrite(Table.FIB, 0, 0, leaf_of_ten(0))])

    seen: dict[int, tuple[int, bytes]] = {}

    def leave(port: int, frame: bytes) -> None:
        if port == cfg.host_port:
            assert HostFrame.from_bytes(frame).type == HostFrameType.RESPONSE, frame.hex()
            board.scoreboard.responses.append(HostFrame.from_bytes(frame))
            return
        serial = int.from_bytes(frame[34:38], "big")
        assert serial not in seen, "a frame came out twice"
        seen[serial] = port, frame

    board.scoreboard.leave = leave
    serial = 0
    sent = [0] * cfg.ports

    def emit(pending: list[RxFrame], count: int) -> None:
        nonlocal serial
        for _ in range(count):
            for port in range(cfg.ports):
                serial += 1
                sent[port] += 1
                frame = packet(scenario.routers[0], port, 10 << 24 | serial, random.randint(60, 70), serial)
                pending.append(frame)
                board.sources[port].send(frame.frame)

    for change in hitless_changes(scenario):
        old_model = deepcopy(board.model)
        pending: list[RxFrame] = []
        emit(pending, 3)
        task = cocotb.start_soon(board.write(change))
        while not task.done():
            emit(pending, 1)
            # All go to one port at a time, which is the bottleneck behind a MAC
            await board.cycles(400 if GMII else 100)
        late = len(pending)
        emit(pending, 2)
        for _ in range(100):
            if len(seen) == serial:
                break
            await board.cycles(500)

        switched = [False] * cfg.ports
        for position, frame in enumerate(pending):
            number = int.from_bytes(frame.frame[34:38], "big")
            assert number in seen, f"frame {number} was lost"
            (old,), (new,) = ([(output.port, output.frame) for output in model.receive(frame.port, frame.frame)]
                              for model in (old_model, board.model))
            assert seen[number] in (old, new), (number, seen[number], old, new)
            if old != new:
                is_new = seen[number] == new
                assert is_new or not (switched[frame.port] or position >= late), "old table after the new one"
                switched[frame.port] = is_new
    counters = await board.read_counters()
    assert counters == {(0, port, Reason.FORWARDED): count for port, count in enumerate(sent)}
    queues = await board.read_queues()
    enqueued = [0] * cfg.all_ports
    for egress, _ in seen.values():
        enqueued[egress] += 1
    for port in range(cfg.all_ports):
        stats = {stat: queues[0, port, stat] for stat in QueueStat if stat != QueueStat.HIGH_WATER}
        assert stats == {QueueStat.DEPTH: 0, QueueStat.ENQUEUED: enqueued[port], QueueStat.DROPPED: 0,
                         QueueStat.FREE_CELLS: cfg.cells, QueueStat.UNDERFLOW: 0}, port
