"""cocotb benches of the whole core, behind its MACs or at the frame-stream boundary, against the golden model.

Every test ends by comparing every frame, every counter and every queue's statistics.
"""

import json
import os
from copy import deepcopy
from random import Random

import cocotb
from cocotb.utils import get_sim_time
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    POLICER_ROW,
    QUEUE_STATS,
    QUOTA_ROW,
    RATE_FRACTION,
    REASONS,
    SHAPER_ROW,
    VMAC_KEY_BITS,
    VMAC_ROW,
    AdjacencyKind,
    HostFrameType,
    HostStatus,
    Info,
    Opcode,
    QueueStat,
    Reason,
    Register,
    Role,
    RouterMode,
    RxError,
    Table,
    pack,
    row_words,
)
from polyrouter.sim.cocotb_board import HOST_MAC, CocotbBoard
from polyrouter.sim.frames import FrameGenerator, RxFrame, ethernet, ipv4
from polyrouter.sim.host_frames import HostFrame, Op
from polyrouter.sim.random_tables import random_scenario
from polyrouter.sim.tablegen import (
    FilterRule,
    Route,
    RowWrite,
    Scenario,
    VmacTable,
    adjacency_row,
    fib_image,
    simple_scenario,
)

GMII = os.environ["POLYROUTER_TOP"] == "gmii"
FRAMES = int(os.environ.get("POLYROUTER_FRAMES", "300"))


def config() -> CoreConfig:
    """Parameters of the core that was built."""
    return CoreConfig(**json.loads(os.environ["POLYROUTER_CONFIG"]))


def rng() -> Random:
    """Generator of all random choices of a run."""
    return Random(int(os.environ.get("COCOTB_RANDOM_SEED", "1")))


async def start(dut, *, may_drop: bool = False) -> CocotbBoard:
    """A board after reset."""
    board = CocotbBoard(dut, config(), gmii=GMII, may_drop=may_drop)
    await board.start()
    return board


def packet(setup, port: int, destination: int, length: int, serial: int, **fields) -> RxFrame:
    """A good IPv4 frame of ``length`` bytes for a router, with a serial number at the start of its payload."""
    payload = serial.to_bytes(4, "big").ljust(length - 34, b"\xa5")
    source = 0x060000000000 | setup.number << 8 | port
    return RxFrame(port, ethernet(setup.own[port], source, 0x0800,
                                  ipv4(0x0A000001, destination, payload, identification=serial & 0xFFFF, **fields)))


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def random_traffic(dut):
    """Everything at once: all kinds of frames at all ports, the host port included."""
    board, random = await start(dut), rng()
    scenario = random_scenario(board.config, random)
    await board.write(scenario.writes)
    if not GMII:
        board.pause_randomly(random, sources=0.05, sinks=0.05)
    generator = FrameGenerator(scenario, random, short_frames=not GMII)
    for number, frame in enumerate(generator.frames(FRAMES)):
        board.send(frame)
        if number % 8 == 0:
            error = random.choice((RxError.NONE, RxError.NONE, RxError.NONE, RxError.FCS))
            board.send_host(generator.host_frame(HOST_MAC), error)
        # Slow enough for no buffer to fill, yet often with several frames at once
        await board.cycles(random.choice((0, 0, 50, 400)) if len(frame.frame) < 600 else 400)
        await board.room(board.config.queue_frames // 2)
    await board.check()


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def every_length(dut):
    """Frames of 60 to 1514 bytes, which are 64 to 1518 with FCS, with the least gap that GMII has."""
    board = await start(dut)
    scenario = simple_scenario(board.config)
    await board.write(scenario.writes)
    if GMII:
        for source in board.sources:
            source.source.ifg = 1
    ports = board.config.ports
    for serial, length in enumerate(range(60, board.config.max_frame - 3)):
        # To each egress port from one ingress port only, as the gap is smaller on the way in than on the way out
        port = serial % ports
        setup = scenario.routers[serial // ports % board.config.routers]
        board.send(packet(setup, port, 10 + (port + 1) % ports << 24 | serial, length, serial))
        if port == ports - 1:
            # An ingress buffer has room for two of the longest frames
            await board.room(ports)
    await board.check()
    assert sum(board.model.counters.values()) == board.config.max_frame - 63


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def line_rate(dut):
    """All ports full of the shortest frames with the standard gap: everything is forwarded, nothing is dropped."""
    board = await start(dut)
    scenario = simple_scenario(board.config)
    await board.write(scenario.writes)
    ports = board.config.ports
    # The receive clock of a port may be faster than its transmit clock, so that the queue grows by a frame in 4000
    for serial in range(FRAMES // ports):
        for port in range(ports):
            setup = scenario.routers[serial % board.config.routers]
            board.send(packet(setup, port, 10 + (port + 1) % ports << 24 | serial, 60, serial))
    await board.check()
    assert {key[2] for key in board.model.counters} == {Reason.FORWARDED}


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def bad_frames_back_to_back(dut):
    """Good frames directly after bad ones of every kind, which are known to be bad at their last beat only."""
    board, random = await start(dut), rng()
    scenario = simple_scenario(board.config)
    await board.write(scenario.writes)
    if GMII:
        for source in board.sources:
            source.source.ifg = 1
    for serial in range(FRAMES // 2):
        port = random.randrange(board.config.ports)
        setup = random.choice(scenario.routers)
        good = packet(setup, port, 10 + port << 24 | serial, random.randint(60, 130), serial)
        bad = good._replace(error=random.choice((RxError.FCS, RxError.PHY)))
        length = random.choice((random.randint(1, 59), board.config.max_frame - 4 + random.randint(1, 20)))
        wrong_length = RxFrame(port, good.frame[:length].ljust(length, b"\0"), RxError.LENGTH)
        for frame in random.sample([good, bad, wrong_length], 3):
            board.send(frame)
        while not board.sources[port].idle:
            await board.cycles(50)
        await board.room(16)
    await board.check()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def full_queues(dut):
    """Sinks that nearly stand still: queues fill up, with long and with short frames, and drop whole frames only."""
    board, random = await start(dut, may_drop=True), rng()
    scenario = simple_scenario(board.config)
    await board.write(scenario.writes)
    ports = board.config.ports
    for round_, length in enumerate((60, 1514, None)):
        for sink in board.sinks:
            sink.pause = lambda: 40
        # Each router has room for ``queue_frames`` at a port
        for serial in range(3 * board.config.queue_frames * board.config.routers):
            port = random.randrange(ports)
            setup = random.choice(scenario.routers)
            # Half of them to one port; now and then one that is punted
            egress = random.choice((0, 0, 0, *range(ports), 40))
            board.send(packet(setup, port, 10 + egress << 24, length or random.randint(60, 600),
                              round_ << 16 | serial))
            while not all(source.idle for source in board.sources):
                await board.cycles(20)
        for sink in board.sinks:
            sink.pause = lambda: 0
        await board.drain()
    await board.check()
    queues = await board.read_queues()
    routers = range(board.config.routers)
    assert all(queues[router, 0, QueueStat.DROPPED] > 0 for router in routers)
    assert max(queues[router, 0, QueueStat.HIGH_WATER] for router in routers) == board.config.queue_frames
    assert board.scoreboard.missing


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def overload(dut):
    """All frame streams at a beat a cycle, more than the core can do: what is lost is lost whole and counted."""
    board, random = await start(dut, may_drop=True), rng()
    scenario = simple_scenario(board.config)
    await board.write(scenario.writes)
    for serial in range(4 * FRAMES):
        port = random.randrange(board.config.ports)
        board.send(packet(random.choice(scenario.routers), port, 10 + random.randrange(4) << 24,
                          random.choice((60, 61, 63, 64, 65, random.randint(60, 1514))), serial,
                          ttl=random.choice((64, 64, 64, 1)), checksum_error=random.choice((0, 0, 0, 0, 1))))
    await board.check()
    counters = await board.read_counters()
    assert sum(count for key, count in counters.items() if key[2] == Reason.DROP_OVERFLOW) > 0


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def requests(dut):
    """Random accesses, valid and not, with the right and with wrong sequence numbers."""
    board, random = await start(dut), rng()
    cfg = board.config
    scenario = random_scenario(cfg, random)
    await board.write(scenario.writes)

    def access() -> Op:
        table = random.choice([*Table, *Table, 16, 255])
        router = random.choice((0, cfg.routers - 1, cfg.routers, cfg.routers + 1, 4095, random.randrange(cfg.routers)))
        window = board.model.tables.window(table, min(router, cfg.routers - 1)) if table in list(Table) else None
        limits = {Table.INFO: Info.CLOCK_HZ, Table.REGISTER: len(Register), Table.VMAC: cfg.vmac_slots,
                  Table.CONTEXT: 1, Table.PORT: cfg.ports, Table.COUNTER: cfg.all_ports * REASONS,
                  Table.QUEUE: cfg.all_ports * QUEUE_STATS, Table.SHAPER: cfg.all_ports, Table.QUOTA: 1}
        if window is not None:
            # HIT has two rows for each of the window
            limits[table] = max(1, min(window[1], window[2] - window[0])) * (1 + (table == Table.HIT))
        limit = limits.get(table, 10)
        row = random.choice((0, limit - 1, limit, random.randrange(limit), random.randrange(limit),
                             random.getrandbits(32)))
        if table == Table.QUEUE and row % 8 == QueueStat.HIGH_WATER:
            row = 0
        return Op(random.choice((Opcode.READ, Opcode.READ, Opcode.WRITE, Opcode.FENCE, 0, 15)), table, router, row,
                  random.choice((0, 0, 1, row_words(table) - 1, row_words(table)) if table in list(Table) else (0, 15)),
                  random.getrandbits(64), status=random.getrandbits(4))

    sequence = random.getrandbits(32)
    for number in range(FRAMES // 5):
        ops = [access() for _ in range(random.choice((1, 1, 64, random.randint(1, 64))))]
        # Rows of more than one word are written whole, lowest word first
        for write in random.sample(scenario.writes, 3):
            ops += write.ops()
        frame = HostFrame.request(sequence, ops[:64], source=HOST_MAC, sync=number == 0)
        if number and random.random() < 0.2:
            frame.sequence = random.getrandbits(32)
            frame.reason = random.choice((HostStatus.OK, HostStatus.SYNC))
        response = await board.transact(frame.to_bytes())
        sequence = response.expected
    board.resynchronize()
    board.scoreboard.finish()
    # Counters were written with random values among the rest; nothing was sent, so the queues never held a frame
    board.scoreboard.check_counters(await board.read_counters())
    queues = await board.read_queues()
    assert {key: value for key, value in queues.items() if value} == {
        (router, port, QueueStat.FREE_CELLS): cfg.cells
        for router in range(cfg.routers + 1) for port in range(cfg.all_ports)}


def leaf_of_ten(adjacency: int) -> int:
    """Root word of addresses that begin with a zero, if 10.0.0.0/8 is the only route."""
    return fib_image([Route(10 << 24, 8, adjacency)]).words[0]


def hitless_changes(scenario: Scenario) -> list[list[RowWrite]]:
    """Updates that each move something of router 0 without a gap: its route, its neighbour, its VMAC-VE entry."""
    router = scenario.routers[0]
    cfg = scenario.config
    changes = [[RowWrite(Table.FIB, 0, 0, leaf_of_ten(1))],
               [RowWrite(Table.ADJACENCY, 0, 0, adjacency_row(AdjacencyKind.FORWARD, 2, 0x060000009999, 1500))]]
    seeds = tuple(write.value for write in scenario.writes if write.table == Table.REGISTER)
    used = {write.row: write.value for write in scenario.writes if write.table == Table.VMAC}
    for port, mac in router.own.items():
        entry = pack(VMAC_ROW, {"mac": mac, "port": port, "role": Role.OWN, "valid": 1, "router": 0})
        old = next(row for row, value in used.items() if value == entry)
        candidates = VmacTable(cfg, (seeds[0], seeds[1])).candidates(entry & (1 << VMAC_KEY_BITS) - 1)
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


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def learning(dut):
    """Bridges learn, one frame at a time: what one frame teaches is known when the next one is looked up."""
    board, random = await start(dut), rng()
    scenario = random_scenario(board.config, random, faults=False)
    await board.write(scenario.writes)
    bridges = [setup for setup in scenario.routers if setup.mode == RouterMode.BRIDGED]
    for setup in bridges:
        setup.context["learn"] = 1
        await board.write([setup.context_write()])
    generator = FrameGenerator(scenario, random, short_frames=not GMII)
    # Few addresses, which move
    stations = [random.getrandbits(48) & ~(1 << 40) for _ in range(20)]
    for number, frame in enumerate(generator.frames(FRAMES)):
        if number % 4 and len(frame.frame) >= 14 and frame.error == RxError.NONE:
            octets = random.choice(stations).to_bytes(6, "big") + random.choice(stations).to_bytes(6, "big")
            frame = frame._replace(frame=octets + frame.frame[12:])
        board.send(frame)
        while not board.sources[frame.port].idle:
            await board.cycles(50)
        await board.room(0)
        await board.cycles(200)
    await board.check()
    for setup in bridges:
        rows = range(setup.context["mac_size"])
        read = await board.read([Op.read(Table.MAC, setup.number, row) for row in rows])
        assert read == [board.model.tables.read(Table.MAC, setup.number, row) for row in rows], setup.number


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
        egress = random.choice((*range(board.config.ports), 40))
        board.send(packet(setup, 0, 10 + egress << 24 | serial, random.randint(60, 400), serial))
        await board.cycles(random.choice((0, 100)))
        await board.room(16)
        if random.random() < 0.05:
            while not board.sources[0].idle:
                await board.cycles(50)
            await board.cycles(600)
            # Writing the row fills the bucket
            await board.write([RowWrite(Table.POLICER, setup.number, 0, setup.policers[0])])
    await board.check()
    assert any(key[2] == Reason.DROP_POLICER for key in board.model.counters)


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
        board.send(packet(scenario.routers[0], serial % board.config.ports, 10 << 24 | serial, 500, serial))
    while not all(source.idle for source in board.sources):
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
            while not all(source.idle for source in board.sources):
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
    for sink in board.sinks:
        sink.pause = lambda: random.choice((0, 0, 5))
    await board.check()
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
