"""Loop-back of a MAC: with clocks that differ, with clock enables, switched at any time."""

from random import Random

import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator
from polyrouter.boards.rgmii.loopback import GmiiLoopback

GAP = 12


def frames_of(rng, count, longest=300):
    return [rng.randbytes(rng.randint(72, longest)) for _ in range(count)]


def run(testbenches, dut, rx_ns, tx_ns):
    m = Module()
    m.domains += [ClockDomain("rx"), ClockDomain("tx")]
    m.submodules.dut = dut
    sim = Simulator(m)
    sim.add_clock(rx_ns * 1e-9, domain="rx")
    sim.add_clock(tx_ns * 1e-9, domain="tx", phase=1e-9)
    for testbench in testbenches[:1]:
        sim.add_testbench(testbench)
    for testbench in testbenches[1:]:
        sim.add_testbench(testbench, background=True)
    sim.run()


def enabled(ctx, dut, domain, period, phase=0):
    """Waits for the next cycle that counts, of a domain of which one in ``period`` does."""
    async def tick():
        nonlocal phase
        while True:
            if period > 1:
                ctx.set(getattr(dut, f"{domain}_clk_enable"), phase % period == 0)
            counts = phase % period == 0
            phase += 1
            await ctx.tick(domain)
            if counts:
                return
    return tick


def sender(dut, frames, period, errors=(), then=lambda ctx: None):
    async def testbench(ctx):
        tick = enabled(ctx, dut, "tx", period)
        for _ in range(20):
            await tick()
        for number, frame in enumerate(frames):
            for position, byte in enumerate(frame):
                ctx.set(dut.mac.txd, byte)
                ctx.set(dut.mac.tx_en, 1)
                ctx.set(dut.mac.tx_er, (number, position) in errors)
                await tick()
            ctx.set(dut.mac.tx_en, 0)
            ctx.set(dut.mac.tx_er, 0)
            for _ in range(GAP):
                await tick()
        for _ in range(60):
            await tick()
        then(ctx)
    return testbench


def receiver(dut, received, period):
    async def testbench(ctx):
        tick = enabled(ctx, dut, "rx", period)
        frame, bad = bytearray(), False
        while True:
            await tick()
            if ctx.get(dut.mac.rx_dv):
                frame.append(ctx.get(dut.mac.rxd))
                bad |= bool(ctx.get(dut.mac.rx_er))
            elif frame:
                received.append((bytes(frame), bad))
                frame, bad = bytearray(), False
    return testbench


# 200 ppm are too little to see in frames as short as these, so the clocks are up to 1 % apart.
@pytest.mark.parametrize("rx_ns, tx_ns", [(8, 8), (8.05, 8), (8, 8.05)])
@pytest.mark.parametrize("period", [1, 10])
def test_hears_what_it_sends(rx_ns, tx_ns, period):
    rng = Random(f"{rx_ns}{tx_ns}{period}")
    dut = GmiiLoopback(clock_enables=period > 1)
    frames = frames_of(rng, 8)
    received = []

    async def enable(ctx):
        ctx.set(dut.enable, 1)

    run([sender(dut, frames, period), receiver(dut, received, period), enable], dut, rx_ns, tx_ns)
    assert received == [(frame, False) for frame in frames]


def test_keeps_errors_and_sends_to_the_line():
    rng = Random(1)
    dut = GmiiLoopback()
    frames = frames_of(rng, 4)
    received, on_line = [], []

    async def enable(ctx):
        ctx.set(dut.enable, 1)

    async def line(ctx):
        frame = bytearray()
        while True:
            await ctx.tick("tx")
            if ctx.get(dut.line.tx_en):
                frame.append(ctx.get(dut.line.txd))
            elif frame:
                on_line.append(bytes(frame))
                frame.clear()

    run([sender(dut, frames, 1, errors={(1, 30), (3, 71)}), receiver(dut, received, 1), line, enable], dut, 8, 8)
    assert received == [(frame, number in (1, 3)) for number, frame in enumerate(frames)]
    assert on_line == frames


def test_hears_the_line_when_it_is_off():
    rng = Random(2)
    dut = GmiiLoopback()
    sent, from_line = frames_of(rng, 6), frames_of(rng, 6)
    received = []

    async def line(ctx):
        for frame in from_line:
            for byte in frame:
                ctx.set(dut.line.rxd, byte)
                ctx.set(dut.line.rx_dv, 1)
                await ctx.tick("rx")
            ctx.set(dut.line.rx_dv, 0)
            await ctx.tick("rx").repeat(GAP)

    run([sender(dut, sent, 1), receiver(dut, received, 1), line], dut, 8, 8.02)
    assert received[:5] == [(frame, False) for frame in from_line[:5]]


@pytest.mark.parametrize("seed", range(4))
def test_switched_at_any_time(seed):
    """What is heard whole was sent, in its order; after the switch is on for good, nothing is lost."""
    rng = Random(seed)
    dut = GmiiLoopback()
    frames = frames_of(rng, 24, longest=120)
    received = []
    steady = 16

    async def switch(ctx):
        for _ in range(steady):
            await ctx.tick("tx").repeat(rng.randint(1, 150))
            ctx.set(dut.enable, rng.randrange(2))
        ctx.set(dut.enable, 1)

    run([sender(dut, frames, 1), receiver(dut, received, 1), switch], dut, 8, 8.02)
    whole = [frame for frame, bad in received if frame in frames]
    rest = iter(frames)
    assert all(frame in rest for frame in whole)
    assert [frame for frame, _ in received[-4:]] == frames[-4:]


def test_receive_clock_that_is_too_slow_damages_frames():
    rng = Random(5)
    dut = GmiiLoopback()
    frames = frames_of(rng, 3)
    received = []

    async def enable(ctx):
        ctx.set(dut.enable, 1)

    run([sender(dut, frames, 1), receiver(dut, received, 1), enable], dut, 80, 8)
    assert all(frame not in frames for frame, _ in received)
