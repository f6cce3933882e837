"""Readers and the control engine at the FIB's pool."""

import random
from itertools import pairwise

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.fib_pool import FibPool
from polyrouter.hdl.fib_ring import RING

from .bench import access, simulate

WORDS, REST = 64, RING
DEEP = 4100     # made of slices


@pytest.mark.parametrize(("words", "readers"), [(WORDS, 2), (DEEP, 2), (WORDS, 1), (DEEP, 1)])
def test_readers_and_control_engine(words, readers):
    rng = random.Random(1)
    dut = FibPool(CoreConfig(fib_words=words, fib_rings=readers), rest=REST)
    # The last ones of it: filling all of a deep pool would take long.
    first_row = words - WORDS
    rows = [rng.getrandbits(72) for _ in range(WORDS)]
    before = {}             # of a row that is being written: its word until now
    done, misses, reads = [], [], [0] * readers

    def possible(row):
        return {rows[row], before.get(row, rows[row])}

    async def control(ctx):
        for row, word in enumerate(rows):
            await access(ctx, dut.table, first_row + row, word)
        done.append("filled")
        for _ in range(300):
            row = rng.randrange(WORDS)
            if rng.random() < 0.5:
                before[row], rows[row] = rows[row], rng.getrandbits(72)
                await access(ctx, dut.table, first_row + row, rows[row])
                before.clear()
            else:
                assert await access(ctx, dut.table, first_row + row) == rows[row]
        done.append("accessed")

    def reader(port, number, duty):
        async def testbench(ctx):
            while not done:
                await ctx.tick()
            asked, cycle = None, 0          # the words that the read of the cycle before may deliver
            while len(done) < 2:
                row, en = rng.randrange(WORDS), rng.random() < duty
                ctx.set(port.addr, first_row + row)
                ctx.set(port.en, en)
                words = possible(row)
                *_, miss, word = await ctx.tick().sample(port.miss, port.data)
                if asked is not None:
                    assert word in asked
                    reads[number] += 1
                if miss:
                    assert en and number == readers - 1
                    misses.append(cycle)
                # A row that is being written may be read as it was, or as it will be, but whole.
                asked = words | possible(row) if en and not miss else None
                cycle += 1
        return testbench

    duties = (1.0, 0.97)[-readers:]
    simulate(dut, [control, *(reader(dut.ports[k], k, duty) for k, duty in enumerate(duties))])
    assert min(reads) > 1000 and len(misses) > 100
    assert all(later - earlier > REST for earlier, later in pairwise(misses))


def test_a_reader_that_pauses_does_not_keep_the_control_engine_waiting():
    dut = FibPool(CoreConfig(fib_words=WORDS), rest=REST)
    cycles = []

    async def control(ctx):
        for row in range(20):
            count = 0
            ctx.set(dut.table.stb, 1)
            ctx.set(dut.table.addr, row)
            while not (await ctx.tick().sample(dut.table.ack))[2]:
                count += 1
            ctx.set(dut.table.stb, 0)
            cycles.append(count)
            await ctx.tick()

    simulate(dut, [control])
    assert cycles == [2] * 20
