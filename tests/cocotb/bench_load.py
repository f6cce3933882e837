"""Frames as fast and as many as a port or the core can take, and more.

Every test ends by comparing every frame, every counter and every queue's statistics.
"""

import cocotb
from polyrouter.hdl.layouts import QueueStat, Reason, RxError
from polyrouter.sim.frames import RxFrame
from polyrouter.sim.tablegen import simple_scenario

from .bench import FRAMES, GMII, assert_reached, packet, rng, start


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def lengths(dut):
    """Frames of 60 to 1514 bytes, which are 64 to 1518 with FCS, with the least gap that GMII has.

    Of each length, or of as many lengths as frames are asked for, the shortest and the longest among them.
    """
    board = await start(dut)
    scenario = simple_scenario(board.config)
    await board.write(scenario.writes)
    if GMII:
        for source in board.sources.values():
            source.source.ifg = 1
    ports = board.config.wired_ports
    shortest, *others, longest = range(60, board.config.max_frame - 3)
    if FRAMES:
        others = sorted(rng().sample(others, FRAMES - 2))
    for serial, length in enumerate((shortest, *others, longest)):
        # To each egress port from one ingress port only, as the gap is smaller on the way in than on the way out
        port = serial % ports
        setup = scenario.routers[serial // ports % board.config.routers]
        board.send(packet(setup, port, 10 + (port + 1) % ports << 24 | serial, length, serial))
        if port == ports - 1:
            # An ingress buffer has room for two of the longest frames
            await board.room(ports)
    await board.check()
    assert sum(board.model.counters.values()) == len(others) + 2


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def line_rate(dut):
    """All ports full of the shortest frames with the standard gap: everything is forwarded, nothing is dropped."""
    board = await start(dut)
    scenario = simple_scenario(board.config)
    await board.write(scenario.writes)
    ports = board.config.wired_ports
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
        for source in board.sources.values():
            source.source.ifg = 1
    for serial in range(FRAMES // 2):
        port = random.randrange(board.config.wired_ports)
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
    assert_reached("bad_frames_back_to_back", await board.check())


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def full_queues(dut):
    """Sinks that nearly stand still: queues fill up, with long and with short frames, and drop whole frames only."""
    board, random = await start(dut, may_drop=True), rng()
    scenario = simple_scenario(board.config)
    await board.write(scenario.writes)
    ports = board.config.wired_ports
    for round_, length in enumerate((60, 1514, None)):
        for sink in board.sinks.values():
            sink.pause = lambda: 40
        # Each router has room for ``queue_frames`` at a port
        for serial in range(3 * board.config.queue_frames * board.config.routers):
            port = random.randrange(ports)
            setup = random.choice(scenario.routers)
            # Half of them to one port; now and then one that is punted
            egress = random.choice((0, 0, 0, *range(ports), 40))
            board.send(packet(setup, port, 10 + egress << 24, length or random.randint(60, 600),
                              round_ << 16 | serial))
            while not all(source.idle for source in board.sources.values()):
                await board.cycles(20)
        for sink in board.sinks.values():
            sink.pause = lambda: 0
        await board.drain()
    assert_reached("full_queues", await board.check())
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
        port = random.randrange(board.config.wired_ports)
        board.send(packet(random.choice(scenario.routers), port, 10 + random.randrange(4) << 24,
                          random.choice((60, 61, 63, 64, 65, random.randint(60, 1514))), serial,
                          ttl=random.choice((64, 64, 64, 1)), checksum_error=random.choice((0, 0, 0, 0, 1))))
    assert_reached("overload", await board.check())
