# amaranth: UnusedElaboratable=no
# What is refused is not used.
"""The nonce: made of many samples, another one each time, and none of a source that is broken."""

from random import Random

import pytest
from amaranth.sim import Simulator
from polyrouter.boards import nonce
from polyrouter.boards.nonce import REPEATED, SAMPLES, NonceCollector
from polyrouter.hdl.config import ConfigError

CLOCK_HZ = 1e6      # the time between samples is two cycles


def collect(bits, *, cycles, then=0, clock_hz=CLOCK_HZ):
    """The nonce, how many cycles it took, and what the alarm did; ``bits(cycle)`` is the source."""
    dut = NonceCollector(clock_hz)
    seen = {"alarm": [], "nonce": None, "cycles": None}

    async def testbench(ctx):
        for cycle in range(cycles):
            ctx.set(dut.entropy, bits(cycle))
            await ctx.tick()
            if not cycle % 64:
                seen["alarm"].append(ctx.get(dut.alarm))
            if ctx.get(dut.ready):
                seen["nonce"], seen["cycles"] = ctx.get(dut.nonce), cycle
                break
        for cycle in range(then):
            ctx.set(dut.entropy, bits(cycle))
            await ctx.tick()
            assert ctx.get(dut.ready) and ctx.get(dut.nonce) == seen["nonce"]

    sim = Simulator(dut)
    sim.add_clock(1 / clock_hz)
    sim.add_testbench(testbench)
    sim.run()
    return seen


def noise(seed, ones=0.5):
    rng = Random(seed)
    return lambda cycle: rng.random() < ones


def test_every_start_has_another_one_that_stays():
    found = [collect(noise(seed), cycles=3 * SAMPLES, then=300) for seed in range(6)]
    assert len({seen["nonce"] for seen in found}) == len(found)
    assert all(2 * SAMPLES - 4 <= seen["cycles"] <= 2 * SAMPLES + 4 for seen in found)
    assert not any(alarm for seen in found for alarm in seen["alarm"])


def test_every_sample_counts():
    """Two sources that differ in one sample, whichever, give two nonces."""
    def source(changed):
        rng = Random(1)
        stream = [rng.randrange(2) for _ in range(3 * SAMPLES)]
        if changed is not None:
            stream[changed] ^= 1
            stream[changed + 1] ^= 1
        return lambda cycle: stream[cycle]

    rng = Random(2)
    nonces = {collect(source(changed), cycles=3 * SAMPLES)["nonce"]
              for changed in (None, *(rng.randrange(0, 2 * SAMPLES - 8, 2) for _ in range(4)))}
    assert len(nonces) == 5 and None not in nonces


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("repeated", [5, pytest.param(REPEATED, marks=pytest.mark.slow)])
def test_a_source_that_does_not_change_gives_none_and_that_shows(monkeypatch, repeated, level):
    """The alarm is off for 2048 failures and then on for as many; with few samples a failure, it is quicker."""
    monkeypatch.setattr(nonce, "REPEATED", repeated)
    dut = NonceCollector(1e5)       # a sample each cycle
    half = 2048 * (repeated - 1) // 2

    async def testbench(ctx):
        ctx.set(dut.entropy, level)
        for alarm in (0, 1, 0):
            await ctx.tick().repeat(half)
            assert ctx.get(dut.alarm) == alarm and not ctx.get(dut.ready)
            await ctx.tick().repeat(half)

    sim = Simulator(dut)
    sim.add_clock(1e-5)
    sim.add_testbench(testbench)
    sim.run()


def test_a_source_that_gets_well():
    rng = Random(3)
    seen = collect(lambda cycle: rng.randrange(2) if cycle > 2000 else 1, cycles=2000 + 3 * SAMPLES)
    assert seen["nonce"] is not None and seen["cycles"] > 2000 + 2 * (SAMPLES - REPEATED) - 4


def test_a_source_that_repeats_now_and_then_begins_anew():
    rng = Random(4)
    stop = 6000
    seen = collect(lambda cycle: rng.randrange(2) if not stop <= cycle < stop + 2 * REPEATED + 4 else 0,
                   cycles=stop + 4 * SAMPLES)
    assert seen["cycles"] > stop + 2 * SAMPLES


@pytest.mark.parametrize("clock, scale, message", [
    (0, 1, "clock_hz must be positive, not 0"), (1e6, -1, "time_scale must be positive, not -1")])
def test_refuses(clock, scale, message):
    with pytest.raises(ConfigError, match=message):
        NonceCollector(clock, time_scale=scale)
