"""Crossing of a value: mixtures of old and new never get out."""

from random import Random

import pytest
from amaranth.sim import Simulator
from polyrouter.boards.rgmii.steady import SteadySynchronizer


@pytest.mark.parametrize("seed", range(3))
def test_mixtures_never_get_out(seed):
    """Each bit of a new value arrives up to a cycle later than the others, as on a real crossing."""
    rng = Random(seed)
    dut = SteadySynchronizer(4, domain="sync", init=2)
    values = [2]
    seen = []

    async def drive(ctx):
        for _ in range(300):
            old, new = values[-1], rng.randrange(16)
            values.append(new)
            late = rng.randrange(16)
            ctx.set(dut.i, (old & late) | (new & ~late))
            await ctx.tick()
            ctx.set(dut.i, new)
            for _ in range(rng.randint(4, 8)):
                await ctx.tick()
            assert ctx.get(dut.o) == new
        await ctx.tick()

    async def watch(ctx):
        async for _, _, value in ctx.tick().sample(dut.o):
            seen.append(value)

    sim = Simulator(dut)
    sim.add_clock(8e-9)
    sim.add_process(watch)
    sim.add_testbench(drive)
    sim.run()
    changes = [value for before, value in zip([None, *seen], seen, strict=False) if value != before]
    assert changes == [value for before, value in zip([None, *values], values, strict=False) if value != before]


def test_one_sample_is_not_enough():
    dut = SteadySynchronizer(2, domain="sync", init=1)
    seen = set()

    async def drive(ctx):
        for value in (3, 1, 1, 1, 0, 1, 1, 2, 1, 1, 1, 1, 1):
            ctx.set(dut.i, value)
            await ctx.tick()
            seen.add(ctx.get(dut.o))

    sim = Simulator(dut)
    sim.add_clock(8e-9)
    sim.add_testbench(drive)
    sim.run()
    assert seen == {1}
