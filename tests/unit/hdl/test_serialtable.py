import itertools
import random

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Value
from polyrouter.hdl.serialtable import SerialTable

from .bench import access, pieces_of, simulate, sink, source, until

SHAPES = [(1, 1, 1), (8, 72, 1), (5, 7, 2), (3, 341, 4), (64, 340, 4)]


def ask(row, read=1):
    """A request, as ``i`` has it."""
    return read | row << 1


@pytest.mark.parametrize("rows, row_bits, words", SHAPES)
@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.4, 0.6)])
def test_random_accesses_against_a_list(rows, row_bits, words, rates):
    """The control port reads what it wrote last; look-ups see whole rows, of those that were written."""
    dut = SerialTable(rows, row_bits, words)
    rng = random.Random(rows)
    model = [0] * rows
    asked = [rng.randrange(rows) for _ in range(300)]
    out, seen, written = [], [], [{0} for _ in range(rows)]

    async def control(ctx):
        while len(out) < len(asked):
            row = rng.randrange(rows)
            if rng.random() < 0.5:
                value = rng.getrandbits(row_bits)
                written[row].add(value)
                await access(ctx, dut.table, row, value)
                model[row] = value
            else:
                assert await access(ctx, dut.table, row) == model[row]
            await ctx.tick().repeat(rng.randrange(1, 4))
        for row in range(rows):
            assert await access(ctx, dut.table, row) == model[row]
            seen.append(row)

    simulate(dut, [source(dut.i, [ask(row) for row in asked], rng=random.Random(1), rate=rates[0]), control],
             [sink(dut.o, out, rng=random.Random(2), rate=rates[1])])
    assert len(seen) == rows
    for row, value in zip(asked, out, strict=True):
        assert value in written[row], row
    if row_bits > 8:
        assert len(set(out)) > 20


@pytest.mark.parametrize("rows, row_bits, words", SHAPES)
def test_look_ups_see_what_was_written_before(rows, row_bits, words):
    dut = SerialTable(rows, row_bits, words)
    rng = random.Random(words)
    out, expected = [], []

    async def main(ctx):
        for _ in range(40):
            row, value = rng.randrange(rows), rng.getrandbits(row_bits)
            await access(ctx, dut.table, row, value)
            other = rng.randrange(rows)
            kept = await access(ctx, dut.table, other)
            expected.extend([value, kept])
            await source(dut.i, [ask(row), ask(other)])(ctx)

    simulate(dut, [main, until(lambda: len(out) == 80)], [sink(dut.o, out, rng=rng, rate=0.7)])
    assert out == expected


@pytest.mark.parametrize("words", [1, 2, 4])
def test_turns(words):
    """Look-ups without a pause and accesses without a pause take turns, each as long as there are words."""
    dut = SerialTable(4, 16, words)
    starts, out, accesses = [], [], []

    async def control(ctx):
        for _ in range(20):
            await access(ctx, dut.table, 1, 5)
            accesses.append(len(out))
            await ctx.tick()

    simulate(dut, [source(dut.i, [ask(0)] * 60, times=starts), control, until(lambda: len(out) == 60)],
             [sink(dut.o, out)])
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    assert max(gaps) == 2 * words
    assert set(gaps) <= {words, 2 * words}
    assert gaps.count(2 * words) >= 18
    # No more than one look-up between an access's request and it, and one that follows at once.
    assert max(after - before for before, after in itertools.pairwise(accesses)) <= 3


@pytest.mark.parametrize("words", [1, 2, 4])
def test_pace_and_latency(words):
    dut = SerialTable(4, 16, words)
    starts, ends, out = [], [], []
    simulate(dut, [source(dut.i, [ask(3)] * 20, times=starts), until(lambda: len(out) == 20)],
             [sink(dut.o, out, times=ends)])
    assert [after - before for before, after in itertools.pairwise(starts)] == [words] * 19
    assert [end - start for start, end in zip(starts, ends, strict=True)] == [words] * 20


def test_what_is_not_to_be_read_is_not_read():
    dut = SerialTable(4, 16, 4)
    read, out = [], []

    async def watch(ctx):
        async for *_, en, row in ctx.tick().sample(dut.en, dut.row):
            if en:
                read.append(row)

    simulate(dut, [source(dut.i, [ask(3, 0), ask(2), ask(1, 0)]), until(lambda: len(out) == 3)],
             [sink(dut.o, out), watch])
    assert read == [2] * 4


@pytest.mark.parametrize("part_bits", [1, 16])
@pytest.mark.parametrize("rows, row_bits, words", SHAPES)
def test_pieces(rows, row_bits, words, part_bits):
    """The words of a row that the control port reads come in their order, the last one with the acknowledgement."""
    dut = SerialTable(rows, row_bits, words, part_bits)
    bits = dut.piece.signature.bits
    assert bits % part_bits == 0
    assert bits * words >= row_bits > (bits - part_bits) * words
    rng = random.Random(row_bits)
    model, pieces, out = [rng.getrandbits(row_bits) for _ in range(rows)], [], []

    async def watch(ctx):
        piece, table = dut.piece, dut.table
        async for _, _, en, number, value, ack, write in ctx.tick().sample(
                piece.en, piece.number, piece.data, table.ack, table.write):
            if en:
                pieces.append((number, value, ack and not write))

    async def main(ctx):
        for row, value in enumerate(model):
            await access(ctx, dut.table, row, value)
        assert not pieces
        for row in rng.choices(range(rows), k=60):
            assert await access(ctx, dut.table, row) == model[row]
            expected = [(number, value, number == words - 1)
                        for number, value in enumerate(pieces_of(dut.piece.signature, model[row]))]
            await ctx.tick().repeat(rng.randrange(1, 4))
            assert pieces == expected
            pieces.clear()

    simulate(dut, [main], [source(dut.i, [ask(rng.randrange(rows)) for _ in range(2000)], rng=rng, rate=0.5),
                           sink(dut.o, out, rng=random.Random(2), rate=0.7), watch])
    assert out


@pytest.mark.parametrize("rows, row_bits, words", SHAPES)
def test_elaborates(rows, row_bits, words):
    dut = SerialTable(rows, row_bits, words)
    assert len(Value.cast(dut.o.payload)) == len(dut.table.r_data) == row_bits
    assert rtlil.convert(dut)
