"""Tunnels are found by all of their key, and by nothing else."""

import random
from itertools import pairwise

import pytest
from polyrouter.hdl.layouts import TERMINATION_KEY, TERMINATION_ROW, TunnelKind, pack, unpack
from polyrouter.hdl.terminations import TERMINATED, Terminations

from .bench import access, simulate, sink, source, until

SEEDS = (0x6D5A56DA255B0EC2, 0x4167253D43A38FB0)


def hashed(key, number, index_bits):
    """Toeplitz hash, bit by bit from its definition."""
    seed = SEEDS[number] | SEEDS[1 - number] << 64
    result = 0
    for bit in range(TERMINATION_KEY.size):
        if key >> bit & 1:
            result ^= seed >> bit
    return result & (1 << index_bits) - 1


def places(key, index_bits):
    return [(number * 2 + way) << index_bits | hashed(key, number, index_bits) for number in (0, 1) for way in (0, 1)]


def random_key(rng):
    return {"router": rng.randrange(1024), "kind": rng.choice(list(TunnelKind)), "key": rng.getrandbits(32),
            "remote": rng.getrandbits(32)}


def neighbours(fields):
    """The key with a bit of each field changed."""
    return [fields | {name: fields[name] ^ 1 << bit} for name, field in TERMINATION_KEY
            for bit in {0, field.width // 2, field.width - 1}]


def run(index_bits, rows, keys, *, rate=1.0, seed=0):
    """Write rows, look keys up; gives the outcomes and the cycles of both."""
    dut = Terminations(index_bits)
    rng = random.Random(seed)
    out, given, taken = [], [], []

    async def main(ctx):
        await ctx.tick()
        ctx.set(dut.seed0, SEEDS[0])
        ctx.set(dut.seed1, SEEDS[1])
        for addr, row in rows.items():
            await access(ctx, dut.table, addr, row)
            assert await access(ctx, dut.table, addr) == row
        await source(dut.i, [pack(TERMINATION_KEY, key) for key in keys], rng=rng, rate=rate, times=taken)(ctx)

    async def monitor(ctx):
        await ctx.changed(dut.i.valid)
        await sink(dut.o, out, rng=rng, rate=rate, times=given)(ctx)

    simulate(dut, [main, until(lambda: len(out) == len(keys))], [monitor])
    return [unpack(TERMINATED, item) for item in out], taken, given


@pytest.mark.parametrize("rate", [1.0, 0.6])
@pytest.mark.parametrize("index_bits", [2, 6])
def test_found_wherever_it_may_be(index_bits, rate):
    """Each key in each of its four places in turn; keys that differ in one bit are not found."""
    rng = random.Random(index_bits)
    rows, known = {}, []
    for _ in range(8 << index_bits):
        fields = random_key(rng)
        row = rng.choice(places(pack(TERMINATION_KEY, fields), index_bits))
        if row not in rows:
            circuit = rng.randrange(1, 4096)
            rows[row] = pack(TERMINATION_ROW, fields | {"circuit": circuit, "valid": 1})
            known.append((fields, circuit))
    assert {row >> index_bits for row in rows} == {0, 1, 2, 3}
    asked = [(fields, {"hit": 1, "circuit": circuit}) for fields, circuit in known]
    asked += [(other, {"hit": 0, "circuit": 0}) for fields, _ in known[:4] for other in neighbours(fields)]
    rng.shuffle(asked)
    out, _, _ = run(index_bits, rows, [fields for fields, _ in asked], rate=rate, seed=index_bits)
    assert out == [expected for _, expected in asked]


def test_rows_that_are_not_valid_are_not_found():
    rng = random.Random(5)
    fields = random_key(rng)
    rows = {row: pack(TERMINATION_ROW, fields | {"circuit": 7}) for row in places(pack(TERMINATION_KEY, fields), 3)}
    assert run(3, rows, [fields, dict.fromkeys(fields, 0)])[0] == [{"hit": 0, "circuit": 0}] * 2


def test_pace():
    """Eight cycles, whatever is found."""
    rng = random.Random(6)
    _, taken, given = run(3, {}, [random_key(rng) for _ in range(5)])
    assert [after - before for before, after in zip(taken, given, strict=True)] == [8] * 5
    assert [after - before for before, after in pairwise(taken)] == [8] * 4
