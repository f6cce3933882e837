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
        assert cycles <= 2


@pytest.mark.parametrize("rows", [1, 2, 5, 8])
def test_random_accesses_against_a_list(rows):
    dut = TableMemory(rows, 72)
    model = [0] * rows
    rng = random.Random(rows)

    async def control(ctx):
        for _ in range(200):
            row = rng.randrange(rows)
            if rng.random() < 0.5:
                model[row] = rng.getrandbits(72)
                await access(ctx, dut.table, row, model[row])
            else:
                r_data, cycles = await access(ctx, dut.table, row)
                assert r_data == model[row]
                assert cycles == 1
            row = rng.randrange(rows)
            ctx.set(dut.addr, row)
            ctx.set(dut.en, 1)
            await ctx.tick()
            ctx.set(dut.en, 0)
            ctx.set(dut.addr, (row + 1) % rows)
            assert ctx.get(dut.data) == model[row]
            await ctx.tick()
            assert ctx.get(dut.data) == model[row]    # held while ``en`` is low

    run(dut, control)


def test_lookup_during_a_write_sees_the_new_row():
    dut = TableMemory(16, 32)
    seen = []

    async def control(ctx):
        await access(ctx, dut.table, 3, 0x1111)
        ctx.set(dut.addr, 3)
        ctx.set(dut.en, 1)
        ctx.set(dut.table.stb, 1)
        ctx.set(dut.table.write, 1)
        ctx.set(dut.table.addr, 3)
        ctx.set(dut.table.w_data, 0x2222)
        await ctx.tick()
        seen.append(ctx.get(dut.data))
        assert ctx.get(dut.table.ack)

    run(dut, control)
    assert seen == [0x2222]


def test_address_bits():
    assert [table_addr_bits(rows) for rows in (1, 2, 3, 1024, 1025)] == [1, 1, 2, 10, 11]


@pytest.mark.parametrize("rows", [1, 16384])
def test_elaborates(rows):
    assert "module" in rtlil.convert(TableMemory(rows, 72))
