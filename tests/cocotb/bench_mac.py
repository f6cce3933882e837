"""cocotb bench of a MAC alone: cocotbext-eth at its GMII, frame streams at its other side."""

import json
import os
from random import Random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import Timer
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import RxError
from polyrouter.sim.cocotb_stream import FrameSink, FrameSource, GmiiFrameSink, GmiiFrameSource, StreamClock


async def start(dut):
    """Clocks, reset, drivers; gives what sends and what was received, on both sides."""
    config = CoreConfig(**json.loads(os.environ["POLYROUTER_CONFIG"]))
    clock = StreamClock(dut.clk)
    from_line: list[bytes] = []
    to_line: list[bytes] = []
    line = GmiiFrameSource(dut, "gmii", dut.rx_clk, config.max_frame)
    stream = FrameSource(dut, "tx", config, clock)
    FrameSink(dut, "rx", config, clock, from_line.append)
    sink = GmiiFrameSink(dut, "gmii", dut.tx_clk, to_line.append)
    for reset in (dut.rst, dut.rx_rst, dut.tx_rst):
        reset.value = 1
    Clock(dut.clk, round(1e12 / config.clock_hz), "ps").start()
    Clock(dut.rx_clk, 7998, "ps").start()
    Clock(dut.tx_clk, 8002, "ps").start()
    await Timer(200, "ns")
    for reset in (dut.rst, dut.rx_rst, dut.tx_rst):
        reset.value = 0
    await Timer(200, "ns")
    cocotb.start_soon(clock.run())
    cocotb.start_soon(sink.run())
    return line, stream, from_line, to_line


async def until(condition) -> None:
    """Wait for a condition, but not for ever."""
    for _ in range(20000):
        if condition():
            return
        await Timer(1, "us")
    raise AssertionError("timeout")


@cocotb.test()
async def lengths_both_ways(dut):
    line, stream, from_line, to_line = await start(dut)
    rng = Random(1)
    frames = [rng.randbytes(length) for length in (*range(60, 130), *range(130, 1514, 97), 1513, 1514)]
    line.source.ifg = 1
    for frame in frames:
        line.send(frame)
        stream.send(frame)
    await until(lambda: len(from_line) == len(to_line) == len(frames))
    assert from_line == frames
    assert to_line == frames


@cocotb.test()
async def short_frames_are_padded(dut):
    _, stream, _, to_line = await start(dut)
    frames = [Random(length).randbytes(length) for length in range(1, 61)]
    for frame in frames:
        stream.send(frame)
    await until(lambda: len(to_line) == len(frames))
    assert to_line == [frame.ljust(60, b"\0") for frame in frames]


@cocotb.test()
async def bad_frames_between_good_ones(dut):
    line, _, from_line, _ = await start(dut)
    rng = Random(3)
    good = []
    for error in [RxError.FCS, RxError.PHY, RxError.LENGTH] * 8:
        frame = rng.randbytes(rng.randint(60, 200))
        short = rng.randbytes(rng.randint(1, 59)) if rng.random() < 0.5 else rng.randbytes(1515 + rng.randint(0, 40))
        line.send(short if error == RxError.LENGTH else frame, error)
        line.send(frame)
        good.append(frame)
    await until(lambda: len(from_line) == 2 * len(good))
    assert from_line[1::2] == good
