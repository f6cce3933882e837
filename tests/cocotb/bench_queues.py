"""What a router gets of the core: buckets, classes, cells and rates."""

import cocotb
from cocotb.utils import get_sim_time
from polyrouter.hdl.layouts import (
    POLICER_ROW,
    QUOTA_ROW,
    RATE_FRACTION,
    SHAPER_ROW,
    Info,
    QueueStat,
    Register,
    Table,
    pack,
)
from polyrouter.sim.cocotb_board import HOST_MAC
from polyrouter.sim.frames import ethernet
from polyrouter.sim.host_frames import HostFrame, Op
from polyrouter.sim.tablegen import FilterRule, RowWrite, simple_scenario

from .bench import FRAMES, GMII, assert_reached, packet, rng, start


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def policing(dut):
    """Buckets that are not refilled, of routers and of rules: frames of one port, so that their order is known."""
    board, random = await start(dut), rng()
    scenario = simple_scenario(board.config)
    rules, policers = board.config.filter_rules // board.config.routers, board.config.policers // board.config.routers
    for setup in scenario.routers:
        setup.context |= {"filter_base": setup.number * rules, "filter_size": rules, "policer_size": policers,
                          "policer_base": setup.number * policers}
        setup.rules = [FilterRule({}, {}, {"police": 1, "policer": policers - 1})]
        setup.policers = [pack(POLICER_ROW, {"limit": 1, "burst": random.randint(500, 5000)}) for _ in range(policers)]
        scenario.writes += setup.writes(board.config)
    await board.write(scenario.writes)
    for serial in range(FRAMES // 2):
        setup = random.choice(scenario.routers)
        # Punts, also with an unknown destination, are policed too
        egress = random.choice((*range(board.config.wired_ports), 40))
        board.send(packet(setup, 0, 10 + egress << 24 | serial, random.randint(60, 400), serial))
        await board.cycles(random.choice((0, 100)))
        await board.room(16)
        if random.random() < 0.05:
            while not board.sources[0].idle:
                await board.cycles(50)
            await board.cycles(600)
            # Writing the row fills the bucket
            await board.write([RowWrite(Table.POLICER, setup.number, 0, setup.policers[0])])
    assert_reached("policing", await board.check())


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def classes(dut):
    """An injected frame leaves before all that wait at its port, but for the few that are on their way out."""
    board = await start(dut)
    scenario = simple_scenario(board.config)
    await board.write(scenario.writes)
    order: list[bytes] = []
    leave = board.scoreboard.leave

    def note(port: int, frame: bytes) -> None:
        if port == 0:
            order.append(frame)
        leave(port, frame)

    board.scoreboard.leave = note
    if not GMII:
        board.sinks[0].pause = lambda: 200
    waiting = min(20, board.config.queue_frames // 2)
    for serial in range(waiting):
        # From two ports, which together are faster than a MAC that sends
        board.send(packet(scenario.routers[0], serial % board.config.wired_ports, 10 << 24 | serial, 500, serial))
    while not all(source.idle for source in board.sources.values()):
        await board.cycles(50)
    injected = ethernet((1 << 48) - 1, 0x020000000000, 0x0806, bytes(46))
    board.send_host(HostFrame.inject(board.config.routers - 1, 0, injected, source=HOST_MAC).to_bytes())
    await board.cycles(2000)
    if not GMII:
        board.sinks[0].pause = lambda: 0
    await board.check()
    assert len(order) == waiting + 1
    # One is on its way out, one was fetched before, and while the injected one came in some have left a MAC
    assert order.index(injected) < (waiting - 2 if GMII else 4)


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def quotas(dut):
    """A router that fills the buffer takes neither the cells that another has reserved, nor more than its own limit."""
    board, random = await start(dut, may_drop=True), rng()
    cfg = board.config
    scenario = simple_scenario(cfg)
    reserved, limit = cfg.cells // 4, cfg.cells // 2
    await board.write([
        *scenario.writes, RowWrite(Table.REGISTER, 0, Register.SHARED_CELLS, cfg.cells - reserved),
        RowWrite(Table.QUOTA, 1, 0, pack(QUOTA_ROW, {"reserved": reserved})),
        RowWrite(Table.QUOTA, 0, 0, pack(QUOTA_ROW, {"limited": 1, "limit": limit}))])

    async def emit(number: int, count: int, length: int, port: int) -> None:
        for serial in range(count):
            ingress = serial % cfg.ports
            board.send(packet(scenario.routers[number], ingress, 10 + port << 24 | serial, length, serial))
            while not all(source.idle for source in board.sources.values()):
                await board.cycles(50)

    board.sinks[0].pause = lambda: 400
    cells = -(-1514 // cfg.cell_bytes)
    await emit(0, cfg.queue_frames, 1514, 0)
    free = (await board.read([Op.read(Table.QUEUE, 0, QueueStat.FREE_CELLS)]))[0]
    assert free >= cfg.cells - limit, "more cells than the limit"
    for number in range(2, cfg.routers):
        await emit(number, cfg.queue_frames, 1514, 0)
    free = (await board.read([Op.read(Table.QUEUE, 0, QueueStat.FREE_CELLS)]))[0]
    assert free >= reserved, "cells that are reserved"
    frames = min(reserved // cells, cfg.queue_frames)
    board.sinks[1].pause = lambda: 400
    await emit(1, frames, 1514, 1)
    for sink in board.sinks.values():
        sink.pause = lambda: random.choice((0, 0, 5))
    assert_reached("quotas", await board.check())
    lost = {item.event[0] for _, item in board.scoreboard.missing}
    assert lost and 1 not in lost, lost


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def shaping(dut):
    """A shaped router leaves a port at its rate, to a few percent; another one at the same port is not held up."""
    board = await start(dut)
    cfg = board.config
    scenario = simple_scenario(cfg)
    (cycles,) = await board.read([Op.read(Table.INFO, 0, Info.SHAPER_CYCLES)])
    rate = 0.125                                            # bytes a core cycle
    row = pack(SHAPER_ROW, {"limit": 1, "burst": 1000, "rate": round(rate * cycles * (1 << RATE_FRACTION))})
    await board.write([*scenario.writes, RowWrite(Table.SHAPER, 0, 0, row)])
    times: dict[int, list[float]] = {number: [] for number in range(cfg.routers)}
    leave = board.scoreboard.leave

    def note(port: int, frame: bytes) -> None:
        if port == 0:
            # The source address is the router's own on the port
            times[int.from_bytes(frame[6:12], "big") >> 8 & 0xFF].append(get_sim_time("ps") / board.period_ps)
        leave(port, frame)

    board.scoreboard.leave = note
    length, count = 200, min(30, cfg.queue_frames)
    for serial in range(count):
        for number in range(min(2, cfg.routers)):
            board.send(packet(scenario.routers[number], serial % cfg.ports, 10 << 24 | serial, length, serial))
        await board.cycles(100)
    await board.check()
    # What is in the bucket at first leaves at once
    first = 2 + 1000 // (length + 4)
    measured = (count - 1 - first) * (length + 4) / (times[0][-1] - times[0][first])
    assert abs(measured / rate - 1) < 0.05, measured
    if cfg.routers > 1:
        assert times[1][-1] < times[0][-1] / 2
