"""The UART alone: bytes to a line and back, at other rates than the nominal one, with noise."""

import random

import pytest
from polyrouter.hdl.config import ConfigError
from polyrouter.hdl.hostlink.uart import UartReceiver, UartTransmitter, baud_step

from ..bench import simulate, source

CLOCKS = (50e6, 62.5e6, 80e6, 125e6)


def line_levels(data, clocks_per_bit, rng, idle=30.0):
    """Levels of a line at each clock; bytes may have some idle time between them."""
    edges, time = [], idle
    for byte, broken in data:
        for bit in (0, *(byte >> k & 1 for k in range(8)), 0 if broken else 1):
            edges.append((time, bit))
            time += clocks_per_bit
        if broken:
            edges.append((time, 1))
            time += 3 * clocks_per_bit
        if rng.random() < 0.3:
            time += rng.random() * 5 * clocks_per_bit
    levels, level, position = [], 1, 0
    for clock in range(int(time) + 100):
        while position < len(edges) and edges[position][0] <= clock:
            level = edges[position][1]
            position += 1
        levels.append(level)
    return levels


def receive(levels, clock_hz):
    dut = UartReceiver(clock_hz)
    got = []

    async def drive(ctx):
        for level in levels:
            ctx.set(dut.rxd, level)
            await ctx.tick()

    async def watch(ctx):
        async for _, _, strobe, data, broken in ctx.tick().sample(dut.strobe, dut.data, dut.broken):
            if strobe:
                got.append((data, bool(broken)))

    simulate(dut, [drive], [watch], limit=500_000)
    return got


@pytest.mark.parametrize("error", [-0.02, 0, 0.02])
@pytest.mark.parametrize("clock_hz", CLOCKS)
def test_a_sender_that_is_off_by_two_percent(clock_hz, error):
    rng = random.Random(clock_hz + error)
    data = [(byte, False) for byte in [0, 255, 0x55, 0xAA, 1, 0x80, *rng.randbytes(60)]]
    assert receive(line_levels(data, clock_hz / 3e6 * (1 + error), rng), clock_hz) == data


def test_bytes_without_a_stop_bit_are_told():
    rng = random.Random(1)
    data = [(rng.randrange(256), rng.random() < 0.3) for _ in range(60)]
    assert receive(line_levels(data, 62.5 / 3, rng), 62.5e6) == data


def test_glitches_of_a_clock_do_not_matter():
    rng = random.Random(2)
    data = [(byte, False) for byte in rng.randbytes(40)]
    levels = line_levels(data, 125 / 3, rng)
    for k in range(0, len(levels) - 20, 20):
        levels[k + rng.randrange(17)] ^= 1
    assert receive(levels, 125e6) == data


def test_a_short_low_pulse_is_no_byte():
    assert receive([1] * 20 + [0] * 6 + [1] * 300, 62.5e6) == []


@pytest.mark.parametrize("clock_hz", CLOCKS)
def test_what_is_sent(clock_hz):
    """Each bit seen in its middle as the line has it, and the rate right over the whole."""
    dut = UartTransmitter(clock_hz)
    rng = random.Random(3)
    data = rng.randbytes(50)
    levels = []

    async def watch(ctx):
        async for _, _, level in ctx.tick().sample(dut.txd):
            levels.append(level)

    async def main(ctx):
        await source(dut.i, list(data))(ctx)
        await ctx.tick().repeat(600)

    simulate(dut, [main], [watch])
    bit = clock_hz / 3e6
    first = levels.index(0)
    bits = [levels[round(first + (k + 0.5) * bit)] for k in range(10 * len(data))]
    assert bits == [level for byte in data for level in (0, *(byte >> k & 1 for k in range(8)), 1)]
    assert all(levels[round(first + 10 * len(data) * bit) + 2:])


def test_with_pauses_between_bytes():
    dut, rng = UartTransmitter(62.5e6), random.Random(5)
    levels, data = [], rng.randbytes(30)

    async def watch(ctx):
        async for _, _, level in ctx.tick().sample(dut.txd):
            levels.append(level)

    async def main(ctx):
        await source(dut.i, list(data), rng=rng, rate=0.01)(ctx)
        await ctx.tick().repeat(600)

    simulate(dut, [main], [watch])
    assert receive(levels, 62.5e6) == [(byte, False) for byte in data]


def test_the_rate_is_within_one_percent():
    for clock_hz in (50e6, 57.3e6, 62.5e6, 66.6e6, 80e6, 100e6, 125e6):
        for baud in (115_200, 921_600, 3_000_000):
            assert abs(baud_step(clock_hz, baud) / (1 << 18) * clock_hz / baud - 1) < 0.01
    with pytest.raises(ConfigError, match="needs a clock of at least 24 MHz, not 20"):
        baud_step(20e6, 3_000_000)
    with pytest.raises(ConfigError, match="to within 1 %"):
        baud_step(125e6, 9600)
