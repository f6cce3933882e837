"""The choice that is made a cycle ahead, against a plain list."""

import random

import pytest
from polyrouter.hdl.roundrobin_ahead import RoundRobinAhead

from .bench import simulate


@pytest.mark.parametrize("count", [1, 2, 6])
@pytest.mark.parametrize("busy", [0.0, 0.6])
def test_the_first_one_behind_the_last_is_served(count, busy):
    rng = random.Random(count)
    dut = RoundRobinAhead(count)
    served = []
    waited = [0] * count

    async def requesters(ctx):
        asking, last, before = [False] * count, count - 1, None
        for _ in range(500):
            asking = [was or rng.random() < 0.3 for was in asking]
            ctx.set(dut.requests, sum(1 << k for k in range(count) if asking[k]))
            chosen = ctx.get(dut.chosen)
            assert chosen.bit_count() <= 1
            assert before is None or chosen == before
            serve = chosen != 0 and rng.random() >= busy
            ctx.set(dut.serve, serve)
            left = list(asking)
            if serve:
                number = chosen.bit_length() - 1
                assert asking[number]
                served.append(number)
                left[number] = False
                waited[:] = [turns + 1 if still else 0 for turns, still in zip(waited, left, strict=True)]
                assert max(waited) < 2 * count
            turns = [(last + distance) % count for distance in range(1, count + 1)]
            before = next((1 << k for k in turns if left[k]), 0)
            assert ctx.get(dut.choice) == before
            if serve:
                asking, last = left, number
            await ctx.tick()

    simulate(dut, [requesters])
    assert set(served) == set(range(count))


def test_nobody_waits_for_more_than_the_others():
    dut = RoundRobinAhead(4)
    served = []

    async def always(ctx):
        ctx.set(dut.requests, 0b1111)
        for _ in range(40):
            ctx.set(dut.serve, ctx.get(dut.chosen) != 0)
            if chosen := ctx.get(dut.chosen):
                served.append(chosen.bit_length() - 1)
            await ctx.tick()

    simulate(dut, [always])
    assert served == [k % 4 for k in range(39)]
