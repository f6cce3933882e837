"""The part of :mod:`.cocotb_bench` that runs inside of the simulation."""

import json
import os
import time
from pathlib import Path

import cocotb
from cocotb.triggers import RisingEdge
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import Reason

from .cocotb_board import CocotbBoard
from .frames import RxFrame, ethernet, ipv4
from .tablegen import simple_scenario

__all__ = ["forward"]

#: Frames that are in the core or in front of it at a time, for each port.
WINDOW = 8


@cocotb.test()
async def forward(dut):
    """Forward frames from every port to the next one and write how long it took."""
    config = CoreConfig(**json.loads(os.environ["POLYROUTER_CONFIG"]))
    frames = int(os.environ["POLYROUTER_FRAMES"])
    board = CocotbBoard(dut, config)
    await board.start()
    scenario = simple_scenario(config)
    await board.write(scenario.writes)
    inputs = []
    for serial in range(frames):
        port = serial % config.wired_ports
        setup = scenario.routers[serial // config.wired_ports % config.routers]
        packet = ipv4(0x0A000001, (10 + (port + 1) % config.wired_ports) << 24 | serial, serial.to_bytes(26, "big"))
        inputs.append(RxFrame(port, ethernet(setup.own[port], 0x060000000000, 0x0800, packet)))
    # The core and its drivers are what is measured, not the model
    for frame in inputs:
        board.scoreboard.enter(*frame)
    received, edge = board.scoreboard.received, RisingEdge(dut.clk)

    first_cycle, began = board.clock.cycle, time.perf_counter()
    sent = 0
    while board.scoreboard.received - received < frames:
        while sent < frames and sent - (board.scoreboard.received - received) < WINDOW * config.wired_ports:
            board.sources[inputs[sent].port].send(inputs[sent].frame)
            sent += 1
        await edge
        assert board.clock.cycle - first_cycle < 10000 + 200 * frames, "frames are missing"
    seconds = time.perf_counter() - began
    cycles = board.clock.cycle - first_cycle

    await board.check()
    assert {key[2] for key in board.model.counters} == {Reason.FORWARDED}
    Path(os.environ["POLYROUTER_RESULT"]).write_text(json.dumps({
        "frames": frames, "seconds": seconds, "cycles": cycles, "frames_per_second": frames / seconds,
        "cycles_per_second": cycles / seconds,
    }))
