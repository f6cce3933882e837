"""Counters of a link: each pulse counts once, whatever comes together, and a reading is never half an update."""

import random
from collections import Counter

import pytest
from polyrouter.hdl.hostlink.counters import LinkCounters

from ..bench import simulate

COUNT = 6


async def read(ctx, dut):
    values = {}
    for row in range(COUNT):
        ctx.set(dut.row, row)
        await ctx.tick()
        values[row] = ctx.get(dut.value)
    return values


def run(pulses):
    """Values after pulses, one set of kinds a cycle."""
    dut, result = LinkCounters(COUNT), {}

    async def main(ctx):
        for kinds in pulses:
            ctx.set(dut.events, sum(1 << kind for kind in kinds))
            await ctx.tick()
        ctx.set(dut.events, 0)
        await ctx.tick().repeat(COUNT + 1)
        result.update(await read(ctx, dut))

    simulate(dut, [main])
    return result


def test_zero_after_power_up():
    assert run([]) == dict.fromkeys(range(COUNT), 0)


@pytest.mark.parametrize("kind", range(COUNT))
def test_one_kind_every_cycle(kind):
    assert run([{kind}] * 50) == dict.fromkeys(range(COUNT), 0) | {kind: 50}


def test_all_at_once():
    """They are counted one a cycle; meanwhile none may come again."""
    assert run([set(range(COUNT)), *[set()] * COUNT] * 7) == dict.fromkeys(range(COUNT), 7)


@pytest.mark.parametrize("seed", range(4))
def test_random_pulses(seed):
    """Up to three kinds together, as many cycles apart."""
    rng = random.Random(seed)
    pulses = []
    for _ in range(300):
        kinds = set(rng.sample(range(COUNT), rng.randrange(4)))
        pulses += [kinds, *[set()] * max(0, len(kinds) - 1)]
    expected = Counter(kind for kinds in pulses for kind in kinds)
    assert run(pulses) == {kind: expected[kind] for kind in range(COUNT)}


def test_readings_only_rise_by_what_came():
    dut, seen = LinkCounters(COUNT), []

    async def main(ctx):
        ctx.set(dut.row, 2)
        for cycle in range(200):
            ctx.set(dut.events, (cycle % 3 == 0) << 2)
            await ctx.tick()
            seen.append(ctx.get(dut.value))

    simulate(dut, [main])
    assert seen == sorted(seen) and set(seen) == set(range(seen[-1] + 1)) and seen[-1] in (65, 66)
