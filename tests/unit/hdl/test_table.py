import random

import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator
from polyrouter.hdl.table import TableMemory, table_addr_bits


def run(dut, *processes):
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    for process in processes:
        sim.add_testbench(process)
    sim.run()


async def access(ctx, table, addr, data=None):
    """One access; returns the row read and the cycles it took."""
    ctx.set(table.stb, 1)
    ctx.set(table.write, data is not None)
    ctx.set(table.addr, addr)
    ctx.set(table.w_data, data or 0)
    cycles = 0
    while True:
        *_, ack, r_data = await ctx.tick().sample(table.ack, table.r_data)
        if ack:
            ctx.set(table.stb, 0)
            return r_data, cycles
        cycles += 1


@pytest.mark.parametrize("rows", [1, 2, 5, 8])
def test_random_accesses_against_a_list(rows):
    """With look-ups all the while, of rows that are just being written too: they see the old row or the new one."""
    dut = TableMemory(rows, 72)
    model = [0] * rows
    rng = random.Random(rows)
    ended = False
    busiest = 0

    async def control(ctx):
        nonlocal ended
        for _ in range(300):
            row = rng.randrange(rows)
            if rng.random() < 0.5:
                new = rng.getrandbits(72)
                changing[row] = new
                await access(ctx, dut.table, row, new)
                model[row] = new
            else:
                r_data, _ = await access(ctx, dut.table, row)
                assert r_data == model[row]
        ended = True

    changing = {}

    async def lookups(ctx):
        nonlocal busiest
        run_length = 0
        while not ended:
            row = rng.randrange(rows)
            en = rng.random() < 0.7
            run_length = run_length + 1 if en else 0
            busiest = max(busiest, run_length)
            before = model[row]
            ctx.set(dut.addr, row)
            ctx.set(dut.en, en)
            await ctx.tick()
            if en:
                assert ctx.get(dut.data) in (before, model[row], changing.get(row))

    run(dut, control, lookups)
    assert busiest > 5


@pytest.mark.parametrize("write", [False, True])
def test_an_access_waits_for_a_cycle_without_a_look_up(write):
    dut = TableMemory(16, 32)
    seen = []

    async def control(ctx):
        await access(ctx, dut.table, 3, 0x1111)
        ctx.set(dut.addr, 3)
        ctx.set(dut.en, 1)
        ctx.set(dut.table.stb, 1)
        ctx.set(dut.table.write, write)
        ctx.set(dut.table.addr, 3)
        ctx.set(dut.table.w_data, 0x2222)
        for _ in range(4):
            await ctx.tick()
            seen.append(ctx.get(dut.data))
            assert not ctx.get(dut.table.ack)
        ctx.set(dut.en, 0)
        await ctx.tick()
        assert ctx.get(dut.table.ack)
        assert write or ctx.get(dut.table.r_data) == 0x1111
        ctx.set(dut.table.stb, 0)
        ctx.set(dut.en, 1)
        await ctx.tick()
        seen.append(ctx.get(dut.data))

    run(dut, control)
    assert seen == [0x1111] * 4 + [0x2222 if write else 0x1111]


def test_address_bits():
    assert [table_addr_bits(rows) for rows in (1, 2, 3, 1024, 1025)] == [1, 1, 2, 10, 11]


@pytest.mark.parametrize("rows", [1, 16384])
def test_elaborates(rows):
    assert "module" in rtlil.convert(TableMemory(rows, 72))
