"""cocotb benches of the whole core, behind its MACs or at the frame-stream boundary, against the golden model.

Every test ends by comparing every frame, every counter and every queue's statistics.
"""

import json
import os
from copy import deepcopy
from random import Random

import cocotb
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    FIB_LEAF,
    VMAC_ROW,
    AdjacencyKind,
    HostFrameType,
    HostStatus,
    Opcode,
    QueueStat,
    Reason,
    Role,
    RxError,
    Table,
    pack,
)
from polyrouter.sim.cocotb_board import HOST_MAC, CocotbBoard
from polyrouter.sim.frames import FrameGenerator, RxFrame, ethernet, ipv4
from polyrouter.sim.host_frames import HostFrame, Op
from polyrouter.sim.tablegen import RowWrite, Scenario, VmacTable, adjacency_row, random_scenario, simple_scenario

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


def random_host_frame(random: Random, config: CoreConfig, generator: FrameGenerator) -> bytes:
    """Mostly an INJECT, sometimes something malformed."""
    frame = generator.payload(random.choice((14, 60, random.randint(14, 300))))
    inject = HostFrame.inject(random.randrange(config.routers), random.randrange(config.ports), frame, source=HOST_MAC)
    if random.random() < 0.3:
        for name, value in random.choice((
            {"version": 2}, {"ethertype": 0x0800}, {"type": HostFrameType.PUNT}, {"type": 9}, {"port": config.ports},
            {"length": len(frame) + 100}, {"length": 13}, {"router": config.routers}, {"router": 65535},
            {"type": HostFrameType.REQUEST, "length": 8}, {"type": HostFrameType.REQUEST, "length": 0},
            {"type": HostFrameType.RESPONSE},
        )).items():
            setattr(inject, name, value)
    octets = inject.to_bytes()
    return octets if random.random() < 0.9 else octets[:random.randint(14, 31)]


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
            board.send_host(random_host_frame(random, board.config, generator), error)
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
        for serial in range(3 * board.config.queue_frames):
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
    assert queues[0, QueueStat.DROPPED] > 0
    assert queues[0, QueueStat.HIGH_WATER] == board.config.queue_frames
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
        table = random.choice([*Table, *Table, 9, 255])
        router = random.choice((0, cfg.routers - 1, cfg.routers, cfg.routers + 1, 4095, random.randrange(cfg.routers)))
        limits = {Table.INFO: 12, Table.REGISTER: 3, Table.VMAC: cfg.vmac_slots, Table.CONTEXT: 1,
                  Table.PORT: cfg.ports, Table.FIB: cfg.fib_words // cfg.routers,
                  Table.ADJACENCY: cfg.adjacencies // cfg.routers, Table.COUNTER: cfg.all_ports * 32,
                  Table.QUEUE: cfg.all_ports * 8}
        limit = limits.get(table, 10)
        row = random.choice((0, limit - 1, limit, random.randrange(limit), random.randrange(limit),
                             random.getrandbits(32)))
        if table == Table.QUEUE and row % 8 == QueueStat.HIGH_WATER:
            row = 0
        return Op(random.choice((Opcode.READ, Opcode.READ, Opcode.WRITE, Opcode.FENCE, 0, 15)), table, router, row,
                  random.choice((0, 0, 1, 2)), random.getrandbits(64), status=random.getrandbits(4))

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
        (port, QueueStat.FREE_CELLS): cfg.cells for port in range(cfg.all_ports)}


def hitless_changes(scenario: Scenario) -> list[list[RowWrite]]:
    """Updates that each move something of router 0 without a gap: its route, its neighbour, its VMAC-VE entry."""
    router = scenario.routers[0]
    cfg = scenario.config
    leaf = pack(FIB_LEAF, {"leaf": 1, "length": 8, "bits": 10 << FIB_LEAF["bits"].width - 8, "result": 1})
    changes = [[RowWrite(Table.FIB, 0, 0, leaf)],
               [RowWrite(Table.ADJACENCY, 0, 0, adjacency_row(AdjacencyKind.FORWARD, 2, 0x060000009999, 1500))]]
    seeds = tuple(write.value for write in scenario.writes if write.table == Table.REGISTER)
    used = {write.row: write.value for write in scenario.writes if write.table == Table.VMAC}
    for port, mac in router.own.items():
        entry = pack(VMAC_ROW, {"mac": mac, "port": port, "role": Role.OWN, "valid": 1, "router": 0})
        old = next(row for row, value in used.items() if value == entry)
        candidates = VmacTable(cfg, (seeds[0], seeds[1])).candidates(entry & (1 << 53) - 1)
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
    scenario.routers[0].context["ipv4_root"] = 0
    await board.write(scenario.writes)
    first_leaf = pack(FIB_LEAF, {"leaf": 1, "length": 8, "bits": 10 << FIB_LEAF["bits"].width - 8, "result": 0})
    await board.write([RowWrite(Table.FIB, 0, 0, first_leaf)])

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
            ((*old, _),), ((*new, _),) = (model.receive(frame.port, frame.frame) for model in (old_model, board.model))
            assert list(seen[number]) in (old, new), (number, seen[number], old, new)
            if old != new:
                is_new = list(seen[number]) == new
                assert is_new or not (switched[frame.port] or position >= late), "old table after the new one"
                switched[frame.port] = is_new
    counters = await board.read_counters()
    assert counters == {(0, port, Reason.FORWARDED): count for port, count in enumerate(sent)}
    queues = await board.read_queues()
    enqueued = [0] * cfg.all_ports
    for egress, _ in seen.values():
        enqueued[egress] += 1
    for port in range(cfg.all_ports):
        stats = {stat: queues[port, stat] for stat in QueueStat if stat != QueueStat.HIGH_WATER}
        assert stats == {QueueStat.DEPTH: 0, QueueStat.ENQUEUED: enqueued[port], QueueStat.DROPPED: 0,
                         QueueStat.FREE_CELLS: cfg.cells, QueueStat.UNDERFLOW: 0}, port
