import random

import pytest
from polyrouter.hdl.layouts import FIB_BRANCH, FIB_LEAF, FIB_LEVELS, FIB_LEVELS_IPV6, pack, unpack
from polyrouter.hdl.records import META, FibOutcome

from tests.fib_bench import WORDS, Bench, record, settled
from tests.fib_reference import FAULT, MISS, walk


def expected(bits, pool):
    """The record as it should leave the stage."""
    meta = unpack(META, bits)
    outcome = MISS
    walks = meta["own"] and (meta["ipv4"] or meta["ipv6"]) and meta["enable"]
    if walks and not (meta["injected"] or meta["group"] or meta["malformed"]):
        ipv6 = bool(meta["ipv6"])
        outcome, _ = walk(pool.__getitem__, meta["ip_destination"], base=meta["fib_base"], size=meta["fib_size"],
                          words=len(pool), root=meta["ipv6_root" if ipv6 else "ipv4_root"], ipv6=ipv6)
    return settled(bits, outcome)


def random_word(rng, size):
    kind = rng.random()
    if kind < 0.1:
        return rng.getrandbits(72)
    if kind < 0.3:
        return pack(FIB_LEAF, {"leaf": 1, "length": rng.choice([0, 1, 3, 8, 46, 63]), "bits": rng.getrandbits(46),
                               "result": rng.getrandbits(18), "reserved": rng.getrandbits(1)})
    return pack(FIB_BRANCH, {
        "internal": rng.getrandbits(15) & rng.getrandbits(15) if rng.random() < 0.8 else 0,
        "external": rng.getrandbits(16) | rng.getrandbits(16),
        "child": rng.randrange(size), "result": rng.randrange(4 * size)})


@pytest.mark.parametrize(("seed", "i_duty", "o_duty"), [(1, 1, 1), (2, 0.1, 1), (3, 1, 0.1), (4, 0.5, 0.5)])
def test_random_words_against_the_specification(seed, i_duty, o_duty):
    rng = random.Random(seed)
    pool = [random_word(rng, 60) for _ in range(WORDS)]
    records = []
    for _ in range(250):
        base = rng.choice([0, 40, 88, WORDS - 1, (1 << 20) - 1])
        size = rng.choice([0, 1, 62, 62, 62, WORDS, (1 << 19) - 1])
        odd = rng.choice([{}] * 12 + [{"injected": 1}, {"group": 1}, {"own": 0}, {"malformed": 1}, {"enable": 0}])
        ipv6 = rng.random() < 0.5
        root = rng.randrange(60) if rng.random() < 0.95 else rng.getrandbits(18)
        records.append(record(rng.getrandbits(128 if ipv6 else 32), base=base, size=size, root=root, ipv6=ipv6,
                              length=rng.getrandbits(14), dmac=rng.getrandbits(48), fib=3, result=rng.getrandbits(18),
                              **odd))
    want = [expected(bits, pool) for bits in records]
    kinds = {unpack(META, bits)["fib"] for bits in want}
    assert kinds == set(FibOutcome)
    assert Bench(pool, records, i_duty=i_duty, o_duty=o_duty, seed=seed).run() == want


def chain(last_result, levels=FIB_LEVELS):
    """The longest walk there is: address 0 passes all levels, each with a prefix; the last one's is in row 40."""
    pool = [0] * WORDS
    for level in range(levels):
        pool[level] = pack(FIB_BRANCH, {"internal": 1, "external": 1 if level < levels - 1 else 0,
                                        "child": level + 1, "result": 160 if level == levels - 1 else 400})
    pool[40] = last_result
    return pool


@pytest.mark.parametrize(("ipv6", "levels", "most"), [(False, FIB_LEVELS, 5), (True, FIB_LEVELS_IPV6, 17)])
def test_longest_walks_follow_each_other(ipv6, levels, most):
    pool, count = chain(77, levels), 100
    assert len(walk(pool.__getitem__, 0, base=0, size=WORDS, words=WORDS, ipv6=ipv6)[1]) == levels + 1
    bench = Bench(pool, [record(0, ipv6=ipv6, length=k) for k in range(count)])
    assert bench.run() == [settled(record(0, ipv6=ipv6, length=k), 77) for k in range(count)]
    # Two reads a cycle, and what the first and the last one take alone
    assert bench.cycles <= most * count + 6 * (levels + 1) + 20


def test_an_ipv4_route_s_depth_does_not_show():
    pool = chain(77)
    pool[50] = pack(FIB_LEAF, {"leaf": 1, "result": 3})
    assert {latency(pool, record(0, root=root)) for root in (0, 5, 50, WORDS)} == {63}


@pytest.mark.parametrize(("bits", "cycles"), [
    (record(0, ipv6=True, root=60), 9),                         # one word, empty
    (record(0, ipv6=True), 6 * (FIB_LEVELS_IPV6 + 1) + 3),
    (record(0, group=1), 9),
])
def test_other_latencies_are_those_of_the_words_read(bits, cycles):
    assert latency(chain(77, FIB_LEVELS_IPV6), bits) == cycles


def latency(pool, bits):
    """Cycles from a record's way in to its way out, through an idle stage."""
    bench = Bench(pool, [bits])
    moments = []

    async def watch(ctx):
        i, o = bench.dut.i, bench.dut.o
        cycle = 0
        async for *_, entered, left in ctx.tick().sample(i.valid & i.ready, o.valid & o.ready):
            moments.extend([cycle] * (entered + left))
            cycle += 1
            if len(moments) == 2:
                break

    bench.run(watch)
    return moments[1] - moments[0]


def test_throughput_with_a_slow_neighbour_on_each_side():
    bench = Bench(chain(77), [record(0)] * 100, i_duty=0.2, o_duty=0.2)
    bench.run()
    assert bench.cycles <= 12 * 100 + 100


def test_walk_that_never_ends_is_a_fault():
    pool = [0] * WORDS
    pool[0] = pack(FIB_BRANCH, {"external": 0xFFFF, "internal": 0x7FFF})     # its child is itself, for address 0
    assert Bench(pool, [record(0)]).run() == [settled(record(0), FAULT)]


def test_pointers_do_not_wrap():
    top = (1 << 20) - 1
    pool = [0] * WORDS
    pool[0] = pack(FIB_BRANCH, {"external": 0b11, "child": top})
    pool[1] = pack(FIB_BRANCH, {"external": 0b10, "child": 2})
    pool[2] = pack(FIB_BRANCH, {"internal": 0b101, "result": top})
    records = [record(1 << 31, size=(1 << 19) - 1),                             # child: top + 1
               record(3 << 30, root=1, size=(1 << 19) - 1),                     # result: top + 1
               record(0, base=(1 << 20) - 1, root=1, size=2)]                   # window: top + 1
    assert Bench(pool, records).run() == [settled(bits, FAULT) for bits in records]


def test_records_are_right_while_the_table_is_written():
    pool = chain(1)
    bench = Bench(pool, [record(0)] * 60)

    async def writer(ctx):
        while not bench.loaded:
            await ctx.tick()
        value = 1
        while len(bench.out) < len(bench.records):
            value = 3 - value
            await bench.write(ctx, 40, value)                       # the result that every walk ends at
            await bench.write(ctx, 50 + bench.taken % 50, (1 << 72) - 1)    # rows of nobody

    outcomes = {unpack(META, bits)["result"] for bits in bench.run(writer)}
    assert outcomes == {1, 2}
    assert {unpack(META, bits)["fib"] for bits in bench.out} == {FibOutcome.HIT}
