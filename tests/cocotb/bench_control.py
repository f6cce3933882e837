"""The control engine: accesses at the host port, without any other traffic."""

import cocotb
from polyrouter.hdl.layouts import (
    QUEUE_STATS,
    REASONS,
    HostStatus,
    Info,
    Opcode,
    QueueStat,
    Register,
    Table,
    row_words,
)
from polyrouter.sim.cocotb_board import HOST_MAC
from polyrouter.sim.host_frames import HostFrame, Op
from polyrouter.sim.random_tables import random_scenario

from .bench import FRAMES, rng, start


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def requests(dut):
    """Random accesses, valid and not, with the right and with wrong sequence numbers."""
    board, random = await start(dut), rng()
    cfg = board.config
    scenario = random_scenario(cfg, random)
    await board.write(scenario.writes)

    def access() -> Op:
        table = random.choice([*Table, *Table, len(Table), 255])
        router = random.choice((0, cfg.routers - 1, cfg.routers, cfg.routers + 1, 4095, random.randrange(cfg.routers)))
        window = board.model.tables.window(table, min(router, cfg.routers - 1)) if table in list(Table) else None
        limits = {Table.INFO: len(Info), Table.REGISTER: len(Register), Table.VMAC: cfg.vmac_slots,
                  Table.CONTEXT: 1, Table.PORT: cfg.ports, Table.COUNTER: cfg.all_ports * REASONS,
                  Table.QUEUE: cfg.all_ports * QUEUE_STATS, Table.SHAPER: cfg.all_ports, Table.QUOTA: 1,
                  Table.LINK: max(1, cfg.circuits), Table.TERMINATION: max(1, cfg.circuits)}
        if window is not None:
            # HIT has two rows for each of the window
            limits[table] = max(1, min(window[1], window[2] - window[0])) * (1 + (table == Table.HIT))
        limit = limits.get(table, 10)
        row = random.choice((0, limit - 1, limit, random.randrange(limit), random.randrange(limit),
                             random.getrandbits(32)))
        if table == Table.QUEUE and row % 8 == QueueStat.HIGH_WATER:
            row = 0
        if table == Table.INFO and row in (Info.POLICER_CYCLES, Info.SHAPER_CYCLES):
            row = Info.CIRCUITS
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
