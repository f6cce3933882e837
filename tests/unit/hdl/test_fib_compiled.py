"""The compiler and the FIB engine together: what the one writes, the other looks up."""

import random

from polyrouter.hdl.fib_ring import OUTCOME
from polyrouter.hdl.layouts import unpack
from polyrouter.hdl.records import FibOutcome
from polyrouter.host.tables.fib import FENCE, FibCompiler

from tests.fib_bench import Bench, request

BASE, SIZE = 41, 1000


def mask(address, length, bits=32):
    return address >> bits - length << bits - length


def longest_match(routes, address, bits=32):
    return next((routes[mask(address, n, bits), n] for n in range(bits, -1, -1)
                 if (mask(address, n, bits), n) in routes), None)


def result(bits):
    found = unpack(OUTCOME, bits)
    assert found["fib"] in (FibOutcome.HIT, FibOutcome.MISS)
    return found["result"] if found["fib"] == FibOutcome.HIT else None


def random_routes(rng, count, bits=32):
    """Prefixes of all lengths, most of them close to others."""
    bases = [rng.getrandbits(bits) for _ in range(4)]
    routes = {}
    while len(routes) < count:
        length = rng.choice([*range(bits + 1), *([16, 22, 24, 24] if bits == 32 else [32, 48, 48, 64] * 9)])
        address = rng.choice(bases) ^ (rng.getrandbits(bits) >> rng.randrange(bits + 1))
        routes[mask(address, length, bits), length] = rng.getrandbits(18)
    return routes


def addresses(rng, routes, count, bits=32):
    """Half of them near the ends of prefixes."""
    near = sorted(routes)
    for _ in range(count):
        prefix, length = rng.choice(near)
        yield rng.choice([rng.getrandbits(bits), prefix | rng.getrandbits(bits) & (1 << bits - length) - 1, prefix,
                          max(0, prefix - 1)])


def pool_of(writes, size=SIZE):
    pool = [0] * (BASE + size)
    for row, word in (write for write in writes if write != FENCE):
        pool[BASE + row] = word
    return pool


def requests(sought):
    return [request(address, base=BASE, size=SIZE) for address in sought]


def test_lookups_agree_with_longest_prefix_match():
    rng = random.Random(11)
    routes = random_routes(rng, 400)
    writes = FibCompiler(SIZE).apply((prefix, length, value) for (prefix, length), value in routes.items())
    sought = list(addresses(rng, routes, 500))
    out = Bench(pool_of(writes), requests(sought)).run()
    assert [result(bits) for bits in out] == [longest_match(routes, address) for address in sought]
    assert len({result(bits) for bits in out}) > 100


def test_ipv6_lookups_agree_with_longest_prefix_match():
    rng = random.Random(13)
    routes, size = random_routes(rng, 300, 128), 6000
    writes = FibCompiler(size, 128).apply((prefix, length, value) for (prefix, length), value in routes.items())
    sought = list(addresses(rng, routes, 300, 128))
    out = Bench(pool_of(writes, size), [request(address, base=BASE, size=size, ipv6=True) for address in sought]).run()
    assert [result(bits) for bits in out] == [longest_match(routes, address, 128) for address in sought]
    assert len({result(bits) for bits in out}) > 80


def test_lookups_under_way_see_a_change_whole_or_not_at_all():
    rng = random.Random(12)
    universe = random_routes(rng, 120)
    states = [dict(list(universe.items())[:80])]
    fib = FibCompiler(400)
    pool = pool_of(fib.apply((p, n, value) for (p, n), value in states[0].items()))
    lists = []
    for _ in range(40):
        after = dict(states[-1])
        for prefix in rng.sample(sorted(universe), rng.choice([1, 3, 10])):
            if prefix in after and rng.random() < 0.6:
                del after[prefix]
            else:
                after[prefix] = rng.getrandbits(18)
        old = states[-1]
        lists.append(fib.apply((p, n, after.get((p, n))) for p, n in old.keys() | after.keys()))
        states.append(after)
    sought = list(addresses(rng, universe, 700))
    bench = Bench(pool, requests(sought), i_duty=0.3, o_duty=0.7)

    async def control(ctx):
        while not bench.loaded:
            await ctx.tick()
        for writes in lists:
            for write in writes:
                if write == FENCE:
                    begun = bench.taken + 1     # one may just be on its way in
                    while len(bench.out) < min(begun, len(sought)):
                        await ctx.tick()
                else:
                    await bench.write(ctx, BASE + write.row, write.word)
            bench.version += 1

    out = bench.run(control)
    assert sum(writes.count(FENCE) for writes in lists) > 5
    assert bench.left[-1] == len(lists)
    for bits, address, entered, left in zip(out, sought, bench.entered, bench.left, strict=True):
        assert result(bits) in {longest_match(state, address) for state in states[entered:left + 2]}
