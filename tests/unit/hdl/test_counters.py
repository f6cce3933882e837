"""Counters against a model, with accesses in between."""

import random
from collections import Counter

import pytest
from amaranth.hdl import Cat
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.counters import Counters, counter_rows
from polyrouter.hdl.layouts import pack
from polyrouter.hdl.records import EVENT

from .bench import simulate, source


def row_of(config, event):
    router, port, reason = event
    return (router * config.all_ports + port) * 32 + reason


def bits(event):
    return pack(EVENT, dict(zip(("router", "port", "reason"), event, strict=True)))


async def access(ctx, table, row, data=None):
    ctx.set(table.stb, 1)
    ctx.set(table.write, data is not None)
    ctx.set(table.addr, row)
    ctx.set(table.w_data, data or 0)
    for _ in range(9):
        *_, ack, value = await ctx.tick().sample(table.ack, table.r_data)
        if ack:
            ctx.set(table.stb, 0)
            return value
    raise AssertionError("no acknowledgement within 8 cycles")


@pytest.mark.parametrize(("ports", "routers", "inputs"), [(1, 1, 1), (4, 3, 3), (2, 20, 4)])
def test_random_events_and_reads(ports, routers, inputs):
    config = CoreConfig(ports=ports, routers=routers)
    dut = Counters(config, inputs)
    rng = random.Random(ports)
    # Few different rows, so that equal ones follow each other.
    kinds = [(rng.randrange(routers + 1), rng.randrange(ports + 1), rng.randrange(24)) for _ in range(6)]
    kinds.append((routers, ports, 23))
    streams = [[rng.choice(kinds) for _ in range(80)] for _ in range(inputs)]
    total = Counter(event for events in streams for event in events)
    ended = []

    def driver(k):
        feed = source(dut.i[k], [bits(event) for event in streams[k]], rng=random.Random(k), rate=0.6)

        async def testbench(ctx):
            await feed(ctx)
            ended.append(k)
        return testbench

    async def reader(ctx):
        before = Counter()
        while len(ended) < inputs:
            event = rng.choice(kinds)
            value = await access(ctx, dut.table, row_of(config, event))
            assert before[event] <= value <= total[event]
            before[event] = value
        await ctx.tick().repeat(100)
        counted = {event: await access(ctx, dut.table, row_of(config, event)) for event in kinds}
        assert counted == {event: total[event] for event in kinds}
        assert await access(ctx, dut.table, 9) == 0 or any(row_of(config, event) == 9 for event in kinds)

    assert counter_rows(config) == 1 + row_of(config, (routers, ports, 31))
    simulate(dut, [*(driver(k) for k in range(inputs)), reader])


def test_write_among_events_loses_none():
    """A counter that is set to a value while events come ends as that value and the events after it, or before."""
    config = CoreConfig(ports=1, routers=1)
    dut = Counters(config, 1)
    event = (0, 1, 5)
    row = row_of(config, event)
    base = (1 << 63) + 1000

    async def writer(ctx):
        ctx.set(dut.i[0].payload, dict(zip(("router", "port", "reason"), event, strict=True)))
        ctx.set(dut.i[0].valid, 1)
        taken, at_write = 0, 0
        for n in range(60):
            if n == 30:
                ctx.set(dut.table.stb, 1)
                ctx.set(dut.table.write, 1)
                ctx.set(dut.table.addr, row)
                ctx.set(dut.table.w_data, base)
                at_write = taken
            _, _, ready, ack = await ctx.tick().sample(dut.i[0].ready, dut.table.ack)
            taken += ready
            if ack:
                ctx.set(dut.table.stb, 0)
        ctx.set(dut.i[0].valid, 0)
        await ctx.tick().repeat(100)
        value = await access(ctx, dut.table, row)
        assert base < value
        # What had been taken before the write may still have waited in the FIFO (16 deep, and one row ahead).
        assert taken - at_write - 3 <= value - base <= taken - at_write + 18

    simulate(dut, [writer])


def test_one_event_in_four_cycles():
    config = CoreConfig(ports=1, routers=1)
    dut = Counters(config, 1)
    times = []
    feed = source(dut.i[0], [bits((0, 0, 3))] * 90, times=times)

    async def testbench(ctx):
        await feed(ctx)
        await ctx.tick().repeat(100)
        assert await access(ctx, dut.table, 3) == 90

    simulate(dut, [testbench])
    assert times[-1] - times[30] == 4 * 59


def test_every_input_gets_its_turn():
    config = CoreConfig(ports=1, routers=1)
    dut = Counters(config, 3)
    taken = Counter()

    async def testbench(ctx):
        for i in dut.i:
            ctx.set(i.valid, 1)
        for _ in range(120):
            _, _, ready = await ctx.tick().sample(Cat(i.ready for i in dut.i))
            assert ready in (0, 1, 2, 4)
            taken[ready] += 1
        assert max(taken[1], taken[2], taken[4]) - min(taken[1], taken[2], taken[4]) <= 1

    simulate(dut, [testbench])
