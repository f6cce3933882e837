"""Hit counters against a model, with accesses in between."""

import random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.hits import HitCounters, hit_rows
from polyrouter.hdl.layouts import HitStat, pack
from polyrouter.hdl.records import HIT

from .bench import access, simulate, source


def hit(rule, length):
    return pack(HIT, {"rule": rule, "length": length})


@pytest.mark.parametrize("rules", [1, 5, 64])
def test_random_hits_and_accesses(rules):
    rng = random.Random(rules)
    dut = HitCounters(CoreConfig(filter_rules=rules))
    # Few different rules, so that equal ones follow each other.
    kinds = sorted({0, rules - 1, rng.randrange(rules)})
    hits = [(rng.choice(kinds), rng.choice((60, 1514, (1 << 14) - 1, 0))) for _ in range(200)]
    total = {(rule, stat): 0 for rule in kinds for stat in HitStat}
    for rule, length in hits:
        total[rule, HitStat.FRAMES] += 1
        total[rule, HitStat.BYTES] += length
    ended = []

    async def feed(ctx):
        await source(dut.i, [hit(*each) for each in hits], rng=rng, rate=0.6)(ctx)
        ended.append(True)

    async def reader(ctx):
        before = dict.fromkeys(total, 0)
        picks = random.Random(2)
        while not ended:
            rule, stat = row = picks.choice(list(total))
            value = await access(ctx, dut.table, rule * 2 + stat)
            assert before[row] <= value <= total[row]
            before[row] = value
        await ctx.tick().repeat(100)
        assert {row: await access(ctx, dut.table, row[0] * 2 + row[1]) for row in total} == total

    assert hit_rows(CoreConfig(filter_rules=rules)) == rules * 2
    simulate(dut, [feed, reader])


def test_a_write_is_one_counter_s_and_loses_no_event():
    """Each write that falls among events is before or after every one of them, and 64 bits are carried."""
    dut = HitCounters(CoreConfig(filter_rules=4))
    base = (1 << 64) - 20
    taken, at_write = [0], []

    async def feed(ctx):
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.i.payload.rule, 2)
        ctx.set(dut.i.payload.length, 1000)
        for _ in range(400):
            *_, ready = await ctx.tick().sample(dut.i.ready)
            taken[0] += ready
        ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(60)
        frames = await access(ctx, dut.table, 2 * 2 + HitStat.FRAMES)
        total = await access(ctx, dut.table, 2 * 2 + HitStat.BYTES)
        assert total == taken[0] * 1000
        # What was counted since the write: all but what was counted before; at most 10 had been taken and waited.
        since = (frames - base) % (1 << 64)
        assert taken[0] - at_write[0] <= since <= taken[0] - at_write[0] + 10
        assert [await access(ctx, dut.table, row) for row in (0, 1, 2, 3, 6, 7)] == [0, 0, 0, 0, 0, 77]

    async def writer(ctx):
        await ctx.tick().repeat(150)
        await access(ctx, dut.table, 3 * 2 + HitStat.BYTES, 77)
        at_write.append(taken[0])
        await access(ctx, dut.table, 2 * 2 + HitStat.FRAMES, base)

    simulate(dut, [feed, writer])


@pytest.mark.parametrize(("accessing", "cycles"), [(False, 5), (True, 9)])
def test_throughput(accessing, cycles):
    dut = HitCounters(CoreConfig(filter_rules=4))
    times, ended = [], []

    async def feed(ctx):
        await source(dut.i, [hit(3, 60)] * 60, times=times)(ctx)
        ended.append(True)
        await ctx.tick().repeat(100)
        assert await access(ctx, dut.table, 3 * 2 + HitStat.BYTES) == 3600

    async def reader(ctx):
        while accessing and not ended:
            await access(ctx, dut.table, 7)

    simulate(dut, [feed, reader])
    assert times[-1] - times[20] <= cycles * 39


def test_no_rules():
    dut = HitCounters(CoreConfig(filter_rules=0))

    async def testbench(ctx):
        await source(dut.i, [hit(0, 60)] * 20)(ctx)
        assert await access(ctx, dut.table, 0) == 0

    simulate(dut, [testbench])
