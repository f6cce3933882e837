"""Policers against a model that is told in which order frames, refills and writes came."""

import random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import POLICER_ROW, RATE_FRACTION, pack, unpack
from polyrouter.hdl.policers import Policers, policer_cycles
from polyrouter.hdl.records import POLICE

from .bench import access, run_stage, simulate, sink, source


class Model:
    """Step 12 of the specification."""

    def __init__(self, rows):
        self.rows = [unpack(POLICER_ROW, 0)] * rows
        self.tokens = [0] * rows

    def write(self, row, bits):
        self.rows[row] = unpack(POLICER_ROW, bits)
        self.tokens[row] = self.rows[row]["burst"] << RATE_FRACTION

    def refill(self, row):
        fields = self.rows[row]
        self.tokens[row] = min(self.tokens[row] + fields["rate"], fields["burst"] << RATE_FRACTION)

    def _bucket(self, row, cost):
        if not self.rows[row]["limit"]:
            return True
        if self.tokens[row] < cost:
            return False
        self.tokens[row] -= cost
        return True

    def frame(self, request):
        fields = unpack(POLICE, request)
        cost = (fields["length"] + 4) << RATE_FRACTION
        if fields["router_en"] and not self._bucket(fields["router_row"], cost):
            return False
        return not fields["rule_en"] or self._bucket(fields["rule_row"], cost)


def policer(rng, cycles):
    """A row whose bucket is nearly empty most of the time, or one of the extremes."""
    return pack(POLICER_ROW, {
        "rate": rng.choice((0, 1, rng.randrange(cycles << (RATE_FRACTION + 3)), (1 << 32) - 1)),
        "burst": rng.choice((0, 64, 1518, rng.randrange(5000), (1 << 18) - 1)),
        "limit": rng.random() < 0.9,
    })


@pytest.mark.parametrize(("rows", "rates"), [(1, (1, 1)), (2, (0.9, 1)), (4, (1, 0.6)), (7, (0.3, 0.9)), (3, (0.1, 1))])
def test_every_frame_sees_all_that_came_before(rows, rates):
    rng = random.Random(rows)
    config = CoreConfig(policers=rows)
    dut = Policers(config)
    model = Model(rows)
    requests = [pack(POLICE, {
        "router_en": rng.random() < 0.8, "router_row": rng.randrange(rows),
        "rule_en": rng.random() < 0.7, "rule_row": rng.randrange(rows),
        "length": rng.choice((60, 60, rng.randrange(14, 1515), (1 << 14) - 1)),
    }) for _ in range(1000)]
    expected, out, ended = [], [], []

    async def feed(ctx):
        await source(dut.i, requests, rng=rng, rate=rates[0])(ctx)
        ended.append(True)
        await ctx.tick().repeat(20)

    async def writer(ctx):
        picks = random.Random(9)
        for row in range(rows):
            await access(ctx, dut.table, row, policer(picks, policer_cycles(config)))
        while not ended:
            row, bits = picks.randrange(rows), policer(picks, policer_cycles(config))
            await access(ctx, dut.table, row, bits)
            assert await access(ctx, dut.table, row) == bits
            for _ in range(picks.choice((1, 3, 90))):
                if not ended:
                    await ctx.tick()

    async def observer(ctx):
        async for _, _, valid, ready, request, refill, sweep, fill, addr, row in ctx.tick().sample(
                dut.i.valid, dut.i.ready, dut.i.payload.as_value(), dut.refill, dut.sweep, dut.fill, dut.table.addr,
                dut.table.w_data):
            assert (valid & ready) + refill + fill <= 1
            if refill:
                model.refill(sweep)
            if fill:
                model.write(addr, row)
            if valid and ready:
                expected.append(model.frame(request))

    simulate(dut, [feed, writer], [observer, sink(dut.o, out, rng=random.Random(3), rate=rates[1])])
    assert out == expected
    assert min(out.count(1), out.count(0)) > 50


def test_latency_and_throughput():
    config = CoreConfig(policers=8)

    def requests(router, rule):
        return [pack(POLICE, {"router_en": router, "router_row": 1, "rule_en": rule, "rule_row": 2})] * 64

    for router, rule, latency in ((1, 1, 4), (1, 0, 3), (0, 1, 3), (0, 0, 3)):
        out, taken, given = run_stage(Policers(config), requests(router, rule))
        assert out == [1] * 64
        assert {b - a for a, b in zip(taken, given, strict=True)} == {latency}
        # One cycle each for a bucket, and for a refill in 16 cycles.
        assert taken[-1] - taken[0] <= 63 * max(1, router + rule) * 16 / 15 + 2


def test_a_frame_in_eight_cycles_while_rows_are_written():
    dut = Policers(CoreConfig(policers=2))
    out, times, ended, refills = [], [], [], []

    async def feed(ctx):
        await source(dut.i, [pack(POLICE, {"router_en": 1, "rule_en": 1, "rule_row": 1})] * 60, times=times)(ctx)
        ended.append(True)
        await ctx.tick().repeat(20)

    async def writer(ctx):
        while not ended:
            await access(ctx, dut.table, 1, pack(POLICER_ROW, {"burst": 100, "limit": 1}))

    async def observer(ctx):
        async for _, _, refill in ctx.tick().sample(dut.refill):
            refills.append(refill)

    simulate(dut, [feed, writer], [sink(dut.o, out), observer])
    assert times[-1] - times[0] <= 8 * 59
    assert len(out) == 60
    assert abs(refills.count(1) - len(refills) / 16) <= 1       # none is lost


@pytest.mark.parametrize("rows", [1, 5])
def test_rate(rows):
    """What passes under overload is the burst and the rate, as the sweep's period makes it."""
    config = CoreConfig(policers=rows)
    dut = Policers(config)
    burst, rate, length, cycles = 3000, 150 * rows, 96, 6000      # 9.4 bytes a cycle, of 25 offered
    out = []

    async def main(ctx):
        await access(ctx, dut.table, rows - 1, pack(POLICER_ROW, {
            "rate": rate << RATE_FRACTION, "burst": burst, "limit": 1}))
        ctx.set(dut.i.payload, {"router_en": 1, "router_row": rows - 1, "length": length})
        for cycle in range(cycles):
            ctx.set(dut.i.valid, cycle % 4 == 0)
            await ctx.tick()

    simulate(dut, [main], [sink(dut.o, out)])
    passed = out.count(1) * (length + 4)
    allowed = burst + rate * cycles / policer_cycles(config)
    assert policer_cycles(config) == 16 * rows
    assert allowed - 2 * (rate + length) < passed < allowed + rate + length
