"""Rows that are put together of words, and brought to their tables."""

import random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import ROWS, Table, row_words
from polyrouter.hdl.rowwriter import RowWriter

from .bench import simulate


@pytest.mark.parametrize("access_bits", [16, 64])
@pytest.mark.parametrize("tables", [tuple(Table), (Table.REGISTER, Table.CONTEXT, Table.MAC)], ids=["all", "three"])
def test_rows(access_bits, tables):
    """Words come in any order and number; a row is what is there then, also of words that were meant for another."""
    rng = random.Random(f"{access_bits} {len(tables)}")
    dut = RowWriter(CoreConfig(access_bits=access_bits), tables)
    kept = [0] * max(row_words(table) for table in Table)
    rows = 0

    async def main(ctx):
        nonlocal rows
        for _ in range(600):
            table = rng.choice(tables)
            word, hand_over = rng.randrange(row_words(table)), rng.random() < 0.5
            kept[word] = rng.getrandbits(64)
            ctx.set(dut.table, table)
            ctx.set(dut.word, word)
            ctx.set(dut.i, kept[word])
            ctx.set(dut.put, 1)
            ctx.set(dut.hand_over, hand_over)
            await ctx.tick()
            ctx.set(dut.put, 0)
            ctx.set(dut.hand_over, rng.getrandbits(1))      # counts with put only
            cycles, parts = 1, -(-ROWS[table] // access_bits)
            while ctx.get(dut.busy):
                assert hand_over
                cycles += 1
                await ctx.tick()
            if hand_over:
                assert cycles == (1 if access_bits == 64 else parts + 2)
                assert ctx.get(getattr(dut, table.name.lower())) == sum(
                    value << 64 * index for index, value in enumerate(kept)) & (1 << ROWS[table]) - 1
                rows += 1
            # The word stays while it is put away, then not.
            for _ in range(max(0, 64 // access_bits - cycles)):
                await ctx.tick()
            ctx.set(dut.word, rng.randrange(row_words(table)))
            ctx.set(dut.i, rng.getrandbits(64))
            for _ in range(rng.choice([0, 0, 1, 5])):
                await ctx.tick()

    simulate(dut, [main], limit=60_000)
    assert rows >= 200
