"""Readback: a word of any row, of one moment where rows change."""

import random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import ROWS, Table, row_words
from polyrouter.hdl.pieces import context_pieces
from polyrouter.hdl.readback import STILL, Readback

from .bench import pieces_of, simulate

WORD = (1 << 64) - 1


@pytest.mark.parametrize("access_bits, context_words", [(16, 1), (16, 2), (16, 4), (64, 1), (64, 4)])
@pytest.mark.parametrize("tables", [tuple(Table), (Table.INFO, Table.COUNTER, Table.MAC)], ids=["all", "three"])
def test_words(access_bits, context_words, tables):
    """Rows that stand still do so while they are read; all others, and these before and after, are noise."""
    rng = random.Random(f"{access_bits} {len(tables)}")
    config = CoreConfig(access_bits=access_bits, context_words=context_words)
    dut = Readback(config, tables)
    pieces = context_pieces(config) if Table.CONTEXT in tables else None
    assert (pieces is None) == (access_bits == 64 or context_words == 1 or Table.CONTEXT not in tables)
    parts = 64 // access_bits
    reads = 0

    def noise(ctx, *, but=None):
        for table in tables:
            if table is Table.CONTEXT and pieces:
                ctx.set(dut.context_piece.data, rng.getrandbits(pieces.bits))
                ctx.set(dut.context_piece.number, rng.randrange(pieces.words))
                ctx.set(dut.context_piece.en, 0)
            elif table is not but:
                ctx.set(getattr(dut, table.name.lower()), rng.getrandbits(ROWS[table]))

    async def deliver(ctx, row):
        """The pieces one after the other, now and then with a pause; the last one stays for the cycle of ``take``."""
        for number, value in enumerate(pieces_of(pieces, row)):
            if number:
                await ctx.tick()
                if rng.random() < 0.3:
                    noise(ctx)
                    await ctx.tick()
            ctx.set(dut.context_piece.en, 1)
            ctx.set(dut.context_piece.number, number)
            ctx.set(dut.context_piece.data, value)

    async def read(ctx, table, word, pauses):
        """The word is as it was in the row when it was taken first."""
        ctx.set(dut.table, table)
        ctx.set(dut.word, word)
        noise(ctx)
        await ctx.tick().repeat(1 + rng.choice(pauses))
        row = rng.getrandbits(ROWS[table])
        for part in range(parts if table in STILL else 1):
            if part:
                noise(ctx)
                await ctx.tick().repeat(rng.choice(pauses) + 1)
            noise(ctx, but=table)
            if table is Table.CONTEXT and pieces:
                await deliver(ctx, row)
            else:
                ctx.set(getattr(dut, table.name.lower()), row)
            ctx.set(dut.take, 1)
            assert ctx.get(dut.more) == (table in STILL and part < parts - 1)
            await ctx.tick()
            ctx.set(dut.take, 0)
            noise(ctx)
        waits = 0
        while ctx.get(dut.busy):
            waits += 1
            await ctx.tick()
            noise(ctx)
        assert waits == (0 if table in STILL else parts - 1)
        await ctx.tick()
        expected = row >> 64 * word & WORD
        for _ in range(rng.randrange(4)):
            assert ctx.get(dut.o) == expected
            noise(ctx)
            await ctx.tick()
        assert ctx.get(dut.o) == expected

    async def main(ctx):
        nonlocal reads
        every = [(table, word) for table in tables for word in range(row_words(table))]
        for table, word in every + rng.choices(every, k=300):
            await read(ctx, table, word, [0, 0, 1, 7])
            reads += 1

    simulate(dut, [main], limit=40_000)
    assert reads >= 300
