import random

import pytest
from polyrouter.hdl.fib import MOST_REQUESTS
from polyrouter.hdl.fib_ring import OUTCOME, REQUEST
from polyrouter.hdl.layouts import FIB_BRANCH, FIB_LEAF, FIB_LEVELS, FIB_LEVELS_IPV6, pack, unpack
from polyrouter.hdl.records import FibOutcome

from tests.fib_bench import WORDS, Bench, outcome, request
from tests.fib_reference import FAULT, MISS, walk

FIXED = 39      # cycles that an IPv4 unicast walk takes


def expected(bits, pool):
    """The outcome of a request."""
    fields = unpack(REQUEST, bits)
    if not fields["walk"]:
        return outcome(MISS)
    found, _ = walk(pool.__getitem__, fields["address"], base=fields["base"], size=fields["size"], words=len(pool),
                    root=fields["root"], ipv6=bool(fields["ipv6"]),
                    source=fields["source"] if fields["multicast"] else None)
    return outcome(found)


def random_word(rng, size):
    kind = rng.random()
    if kind < 0.1:
        return rng.getrandbits(72)
    if kind < 0.3:
        return pack(FIB_LEAF, {"leaf": 1, "length": rng.choice([0, 1, 3, 8, 46, 63]), "bits": rng.getrandbits(46),
                               "result": rng.choice([rng.getrandbits(18), rng.randrange(size)]),
                               "reserved": rng.getrandbits(1)})
    return pack(FIB_BRANCH, {
        "internal": rng.getrandbits(15) & rng.getrandbits(15) if rng.random() < 0.8 else 0,
        "external": rng.getrandbits(16) | rng.getrandbits(16),
        "child": rng.randrange(size), "result": rng.randrange(4 * size)})


@pytest.mark.parametrize(("seed", "i_duty", "o_duty", "rings", "slices"), [
    (1, 1, 1, 2, 1), (2, 0.05, 1, 2, 1), (3, 1, 0.1, 2, 1), (4, 0.5, 0.5, 2, 1), (5, 1, 1, 1, 1), (6, 0.5, 0.5, 1, 1),
    (7, 1, 1, 2, 0), (8, 0.5, 0.5, 2, 0)])
def test_random_words_against_the_specification(seed, i_duty, o_duty, rings, slices):
    rng = random.Random(seed)
    pool = [random_word(rng, 60) for _ in range(WORDS)]
    requests = []
    for _ in range(300):
        base = rng.choice([0, 40, 88, WORDS - 1, (1 << 20) - 1])
        size = rng.choice([0, 1, 2, 62, 62, 62, WORDS, (1 << 19) - 1])
        ipv6 = rng.random() < 0.5
        root = rng.choice([rng.randrange(60)] * 20 + [size - 1 & (1 << 18) - 1, rng.getrandbits(18)])
        bits = 128 if ipv6 else 32
        requests.append(request(rng.getrandbits(bits), base=base, size=size, root=root, ipv6=ipv6,
                                source=rng.choice([None, rng.getrandbits(bits)]), walk=rng.random() < 0.9))
    want = [expected(bits, pool) for bits in requests]
    assert {unpack(OUTCOME, bits)["fib"] for bits in want} == set(FibOutcome)
    assert Bench(pool, requests, i_duty=i_duty, o_duty=o_duty, seed=seed, rings=rings, slices=slices).run() == want


def chain(last_result, levels=FIB_LEVELS):
    """The longest walk there is: address 0 passes all levels, each with a prefix; the last one's is in row 60."""
    pool = [0] * WORDS
    for level in range(levels):
        pool[level] = pack(FIB_BRANCH, {"internal": 1, "external": 1 if level < levels - 1 else 0,
                                        "child": level + 1, "result": 240 if level == levels - 1 else 400})
    pool[60] = last_result
    return pool


@pytest.mark.parametrize(("ipv6", "levels", "source", "most"), [
    (False, FIB_LEVELS, None, 5), (False, FIB_LEVELS, 0, 10), (True, FIB_LEVELS_IPV6, None, 17),
    (True, FIB_LEVELS_IPV6, 0, 34)])
@pytest.mark.parametrize("rings, slices", [(2, 1), (1, 1), (2, 0)])
def test_longest_walks_follow_each_other(ipv6, levels, source, most, rings, slices):
    pool, count = chain(0, levels), 100
    reads = len(walk(pool.__getitem__, 0, base=0, size=WORDS, words=WORDS, ipv6=ipv6, source=source)[1])
    assert reads == (levels + 1) * (1 if source is None else 2)
    bits = request(0, ipv6=ipv6, source=source)
    bench = Bench(pool, [bits] * count, rings=rings, slices=slices)
    assert bench.run() == [outcome(0)] * count
    # What the first and the last one take alone comes on top.
    assert bench.cycles <= 2 * most // rings * count + 4 * (reads + 1) + 10


def test_an_ipv4_route_s_depth_does_not_show():
    pool = chain(77)
    pool[50] = pack(FIB_LEAF, {"leaf": 1, "result": 3})
    assert {latency(pool, request(0, root=root)) for root in (0, 5, 50, 70, WORDS)} == {FIXED}


@pytest.mark.parametrize(("bits", "cycles"), [
    (request(0, ipv6=True, root=70), 4 + 3),                    # one word, empty
    (request(0, ipv6=True), 4 * (FIB_LEVELS_IPV6 + 1) + 3),
    (request(0, walk=False), 3),
    (request(0, source=0, root=70), 4 + 3),                     # no group
    (request(0, source=0, root=80), 4 * 2 + 4 + 3),             # two leaves, and a turn to begin anew
    (request(0, source=0, root=WORDS), 3),
])
def test_other_latencies_are_those_of_the_words_read(bits, cycles):
    pool = chain(77, FIB_LEVELS_IPV6)
    pool[80] = pack(FIB_LEAF, {"leaf": 1, "result": 80})
    assert latency(pool, bits) == cycles


def latency(pool, bits):
    """Cycles from a request's way in to its outcome's way out, through an idle engine."""
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
    bench = Bench(chain(77), [request(0)] * 100, i_duty=0.2, o_duty=0.2)
    bench.run()
    assert bench.cycles <= 12 * 100 + 100


@pytest.mark.parametrize("rings", [2, 1])
def test_capacity(rings):
    bench = Bench(chain(77), [request(0)] * 40, o_duty=0, rings=rings)

    async def watch(ctx):
        await ctx.tick().until(bench.dut.i.valid)
        await ctx.tick().repeat(400)
        assert bench.taken == bench.dut.capacity == MOST_REQUESTS * rings // 2
        bench._o_duty = 1

    assert bench.run(watch) == [outcome(77)] * 40


def test_walk_that_never_ends_is_a_fault():
    pool = [0] * WORDS
    pool[0] = pack(FIB_BRANCH, {"external": 0xFFFF, "internal": 0x7FFF})     # its child is itself, for address 0
    requests = [request(0), request(0, ipv6=True), request(0, source=0)]
    assert Bench(pool, requests).run() == [outcome(FAULT)] * 3


def test_pointers_do_not_wrap():
    top = (1 << 20) - 1
    pool = [0] * WORDS
    pool[0] = pack(FIB_BRANCH, {"external": 0b11, "child": top})
    pool[2] = pack(FIB_BRANCH, {"external": 0b10, "child": 2})
    pool[4] = pack(FIB_BRANCH, {"internal": 0b101, "result": top})
    pool[6] = pack(FIB_LEAF, {"leaf": 1, "result": (1 << 18) - 1})
    largest = (1 << 19) - 1
    requests = [request(1 << 27, size=largest),                         # child: top + 1
                request(1 << 30, root=4, size=largest),                 # result: top + 1
                request(0, root=6, source=1 << 31, size=largest),       # second root: 2**18
                request(1 << 31, root=(1 << 18) - 1, size=largest),
                request(0, base=top, root=1, size=2)]                   # window: top + 1
    assert Bench(pool, requests).run() == [outcome(FAULT)] * len(requests)
    assert [expected(bits, pool) for bits in requests] == [outcome(FAULT)] * len(requests)


@pytest.mark.parametrize("short", [0, 1])
@pytest.mark.parametrize(("what", "before"), [
    *(("child", before) for before in (0, 1, 4, 5, 15)), *(("result", before) for before in (11, 12, 13, 14)),
    ("source", 0), ("root", 0)])
def test_last_row_of_the_window(what, before, short):
    """A window that just reaches the row that is needed, or lacks one; ``before`` are what that row is counted from."""
    pool, last = [0] * WORDS, 37
    address, root = {"child": before << 27, "result": 0xF << 28, "source": 0, "root": 1 << 31}[what], 0
    pool[0] = {
        "child": pack(FIB_BRANCH, {"external": 0xFFFF, "child": last - before}),
        "result": pack(FIB_BRANCH, {"internal": 0x7FFF, "result": 4 * last - before}),
        "source": pack(FIB_LEAF, {"leaf": 1, "result": last - 1}),
        "root": 0,
    }[what]
    pool[1] = pool[0]
    pool[last] = 9 << 54 | 9 << 36 | 9 << 18 | 9 if what == "result" else pack(FIB_LEAF, {"leaf": 1, "result": 9})
    if what == "root":
        root = last - 1
    source = 1 << 31 if what == "source" else None
    bits = request(address, size=last + 1 - short, root=root, source=source)
    assert Bench(pool, [bits]).run() == [outcome(FAULT if short else 9)] == [expected(bits, pool)]


@pytest.mark.parametrize("rings", [2, 1])
def test_outcomes_are_right_while_the_table_is_written(rings):
    pool = chain(1)
    bench = Bench(pool, [request(0)] * 60, rings=rings)

    async def writer(ctx):
        while not bench.loaded:
            await ctx.tick()
        value = 1
        while len(bench.out) < len(bench.requests):
            value = 3 - value
            await bench.write(ctx, 60, value)                       # the result that every walk ends at
            await bench.write(ctx, 70 + bench.taken % 50, (1 << 72) - 1)    # rows of nobody

    outcomes = {unpack(OUTCOME, bits)["result"] for bits in bench.run(writer)}
    assert outcomes == {1, 2}
    assert {unpack(OUTCOME, bits)["fib"] for bits in bench.out} == {FibOutcome.HIT}
