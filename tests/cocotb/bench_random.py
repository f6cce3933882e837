"""Random frames through random tables.

Every test ends by comparing every frame, every counter and every queue's statistics.
"""

from copy import deepcopy

import cocotb
from polyrouter.hdl.layouts import MAC_ROW, Role, RouterMode, RxError, Table, unpack
from polyrouter.sim.frames import FrameGenerator, RxFrame
from polyrouter.sim.golden import EndlessError, GoldenModel
from polyrouter.sim.host_frames import Op
from polyrouter.sim.random_tables import random_scenario
from polyrouter.sim.random_updates import MOST_PASSES

from .bench import FRAMES, GMII, assert_reached, rng, start, unreached
from .traffic import RandomTraffic

#: Times as many frames as it is told to, random traffic sends at most to reach every reason.
MOST_TIMES = 3


@cocotb.test(timeout_time=500, timeout_unit="ms")
async def random_traffic(dut):
    """Everything at once: all kinds of frames at all ports, the host port included, and updates of the tables.

    Routers are taken out, filled anew and put back, and single rows are written, while frames flow that must not be
    touched by it.
    """
    board, random = await start(dut), rng()
    scenario = random_scenario(board.config, random)
    await board.write(scenario.writes)
    if not GMII:
        board.pause_randomly(random, sources=0.05, sinks=0.05)
    traffic = RandomTraffic(board, scenario, random)

    def incomplete() -> bool:
        """What is rare may take other routers than there were so far."""
        return bool(unreached("random_traffic", board.model.counters)) and traffic.sent < MOST_TIMES * FRAMES

    while traffic.sent < FRAMES or incomplete():
        for _ in range(random.randint(20, 80)):
            await traffic.send()
        await traffic.update(other_routers=traffic.sent > FRAMES)
    assert_reached("random_traffic", await board.check())


def _teaches_once(model: GoldenModel, frame: RxFrame) -> bool:
    """Whether no bridge gets a frame, or what becomes of it, more than once at the link port: the last one counts."""
    if not model.config.circuits:
        return True
    model = deepcopy(model)
    try:
        model.receive(*frame)
    except EndlessError:
        return False
    taught = [(model.tables.vmac(0, one.port, Role.SEGMENT, one.vid), one.smac) for one in model.passes
              if one.given is None]
    return len(model.passes) <= MOST_PASSES and len(set(taught)) == len(taught)


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
    sent = 0
    while sent < FRAMES:
        (frame,) = generator.frames(1)
        if sent % 4 and len(frame.frame) >= 14 and frame.error == RxError.NONE:
            octets = random.choice(stations).to_bytes(6, "big") + random.choice(stations).to_bytes(6, "big")
            frame = frame._replace(frame=octets + frame.frame[12:])
        if not _teaches_once(board.model, frame):
            continue
        sent += 1
        board.send(frame)
        while not board.sources[frame.port].idle:
            await board.cycles(50)
        await board.room(0)
        await board.cycles(200)
    await board.check()
    for setup in bridges:
        rows = range(setup.context["mac_size"])
        low, high = [await board.read([Op.read(Table.MAC, setup.number, row, word) for row in rows]) for word in (0, 1)]
        read = [one | other << 64 for one, other in zip(low, high, strict=True)]
        wrong = {row: (unpack(MAC_ROW, should), unpack(MAC_ROW, is_)) for row, is_ in enumerate(read)
                 if is_ != (should := board.model.tables.read(Table.MAC, setup.number, row))}
        assert not wrong, f"MAC table of router {setup.number} (expected, read): {wrong}"
