import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polyrouter.hdl.layouts import FIB_BRANCH, FIB_LEAF, RESULTS_PER_WORD, pack, unpack
from polyrouter.host.tables.fib import FENCE, IPV6_ROOT_ROW, ROOT_ROW, ROOTS, FibCompiler, FibFull, FibWrite, statistics

from tests.effort import examples
from tests.fib_reference import MISS, walk

ALL = (1 << 32) - 1


def mask(address, length, bits=32):
    return address >> bits - length << bits - length


def longest_match(routes, address, bits=32):
    """By trying every length."""
    return next((routes[mask(address, n, bits), n] for n in range(bits, -1, -1)
                 if (mask(address, n, bits), n) in routes), None)


def seen(routes, bits=32):
    """Routes as lookups show them: those of no or one bit are one if all addresses have the same, else two."""
    halves = [routes.get((half << bits - 1, 1), routes.get((0, 0))) for half in (0, 1)]
    after = {prefix: result for prefix, result in routes.items() if prefix[1] > 1}
    if halves[0] is not None and halves[0] == halves[1]:
        return after | {(0, 0): halves[0]}
    return after | {(half << bits - 1, 1): result for half, result in enumerate(halves) if result is not None}


def changed(routes, changes):
    after = dict(routes)
    for prefix, length, result in changes:
        if result is None:
            after.pop((prefix, length), None)
        else:
            after[prefix, length] = result
    return after


def borders(*tables, bits=32):
    """Every address at which the result of a lookup can change, and its neighbours."""
    most = (1 << bits) - 1
    found = {0, most}
    for prefix, length in set().union(*tables):
        last = prefix | (1 << bits - length) - 1
        found |= {prefix, last, max(0, prefix - 1), min(most, last + 1)}
    return found


class Pool:
    """A window of the hardware's pool; checks that what lookups under way may still read is left alone."""

    def __init__(self, size, bits=32, roots=(ROOT_ROW,)):
        self.size = size
        self.bits = bits
        self.roots = roots
        self.rows = {}
        self.recent = self.live()       # what lookups could reach at some time since the last fence

    def lookup(self, address):
        return self.search(address, self.bits, self.roots[0])

    def search(self, address, bits, root):
        result, _ = walk(lambda row: self.rows.get(row, 0), address << 128 - bits, base=0, size=self.size,
                         words=self.size, root=root, ipv6=bits == 128)
        return None if result == MISS else result

    def live(self):
        """Fields that can be reached: (row, None) for a node or a leaf, (row, position) for a result."""
        found, waiting = set(), [root + half for root in self.roots for half in range(ROOTS)]
        while waiting:
            row = waiting.pop()
            found.add((row, None))
            word = self.rows.get(row, 0)
            if unpack(FIB_LEAF, word)["leaf"]:
                continue
            node = unpack(FIB_BRANCH, word)
            waiting += range(node["child"], node["child"] + node["external"].bit_count())
            found |= {divmod(node["result"] + k, RESULTS_PER_WORD) for k in range(node["internal"].bit_count())}
        return found

    def carry_out(self, write):
        if write == FENCE:
            self.recent = self.live()
            return
        assert 0 <= write.row < self.size and 0 <= write.word < 1 << 72
        live = self.live()
        difference = self.rows.get(write.row, 0) ^ write.word
        assert difference or not any(row == write.row for row, _ in live), "a write without effect"
        for row, position in self.recent - live:
            if row == write.row:
                field = (1 << 72) - 1 if position is None else (1 << 18) - 1 << 18 * position
                assert not difference & field, f"row {row} was written while a lookup could still read it"
        self.rows[write.row] = write.word
        self.recent |= self.live()


def check_hitless(pool, writes, old, new):
    """Every address has its old or its new result all the time, and at the end its new one."""
    bits = pool.bits
    sought = {address: {longest_match(old, address, bits), longest_match(new, address, bits)}
              for address in borders(old, new, bits=bits)}
    for write in writes:
        pool.carry_out(write)
        for address, results in sought.items():
            assert pool.lookup(address) in results, f"{address:#x} after {write}"
    for address in sought:
        assert pool.lookup(address) == longest_match(new, address, bits)


@st.composite
def ipv6_prefixes(draw):
    """The same for IPv6; of many, more follows than a leaf has room for."""
    near = draw(st.sampled_from([0, 0xFD00 << 112, 0x20010DB8 << 96, 0x20010DB8 << 96 | 1, (1 << 128) - 1]))
    far = draw(st.sampled_from([0, 0, 0, 1, 1 << 64, 0x30000 << 64, 1 << 79, 1 << 80, 1 << 127, 0xF0 << 112]))
    length = draw(st.one_of(st.integers(0, 128), st.sampled_from([0, 1, 32, 46, 47, 48, 50, 51, 64, 127, 128])))
    return mask(near ^ far, length, 128), length


@st.composite
def prefixes(draw):
    """Prefixes that often cover one another or are neighbours."""
    near = draw(st.sampled_from([0, 0x0A000000, 0x0A018000, 0x0A01FFFF, 0xC0A80101, ALL]))
    far = draw(st.sampled_from([0, 0, 0, 1, 2, 0x80, 0x1000, 0x30000, 0x01000000, 0xF0000000]))
    length = draw(st.one_of(st.integers(0, 32), st.sampled_from([0, 1, 5, 8, 16, 24, 31, 32])))
    return mask(near ^ far, length), length


def transactions_of(kind):
    return st.lists(st.lists(st.tuples(kind, st.one_of(st.none(), st.integers(0, 5))), max_size=12),
                    min_size=1, max_size=6)


TRANSACTIONS = transactions_of(prefixes())


def flat(transaction):
    return [(*prefix, result) for prefix, result in transaction]


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TRANSACTIONS, st.sampled_from([12, 40, 200]))
def test_every_single_write_leaves_old_or_new_results(transactions, size):
    check_transactions(transactions, FibCompiler(size), Pool(size))


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(transactions_of(ipv6_prefixes()), st.sampled_from([40, 200, 800]))
def test_every_single_write_of_ipv6_routes_leaves_old_or_new_results(transactions, size):
    check_transactions(transactions, FibCompiler(size, 128), Pool(size, 128))


def check_transactions(transactions, fib, pool):
    routes, bits = {}, pool.bits
    for transaction in transactions:
        new = changed(routes, flat(transaction))
        try:
            writes = fib.apply(flat(transaction))
        except FibFull:
            new, writes = routes, []
        check_hitless(pool, writes, routes, new)
        routes = new
        assert {(prefix, length): result for prefix, length, result in fib.routes()} == routes
        assert all(fib.lookup(address) == longest_match(routes, address, bits)
                   for address in borders(routes, bits=bits))
        image = fib.image()
        assert image == {row: pool.rows.get(row, 0) for row in image}
        assert {row for row, _ in pool.live()} == set(image)
        again = FibCompiler.from_image(fib.size_words, image, bits)
        assert {(prefix, length): result for prefix, length, result in again.routes()} == seen(routes, bits)


@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(*(st.tuples(st.just(ipv6), st.lists(st.tuples(kind, st.one_of(
    st.none(), st.integers(0, 5))), max_size=12)) for ipv6, kind in ((0, prefixes()), (1, ipv6_prefixes())))),
    min_size=1, max_size=8), st.sampled_from([20, 60, 300]))
def test_two_families_in_one_window(transactions, size):
    """Each single write leaves old or new results in one family, and all as it was in the other."""
    fibs = FibCompiler.dual_stack(size)
    widths, roots = (32, 128), (ROOT_ROW, IPV6_ROOT_ROW)
    pool = Pool(size, roots=roots)
    tables = [{}, {}]
    for ipv6, transaction in transactions:
        old = tables[ipv6]
        new = changed(old, flat(transaction))
        try:
            writes = fibs[ipv6].apply(flat(transaction))
        except FibFull:
            new, writes = old, []
        sought = [(family, address, {longest_match(tables[family], address, bits)}
                   | ({longest_match(new, address, bits)} if family == ipv6 else set()))
                  for family, bits in enumerate(widths) for address in borders(tables[family], bits=bits)]
        for write in writes:
            pool.carry_out(write)
            for family, address, results in sought:
                assert pool.search(address, widths[family], roots[family]) in results
        tables[ipv6] = new
        for family, bits in enumerate(widths):
            for address in borders(tables[family], bits=bits):
                assert pool.search(address, bits, roots[family]) == longest_match(tables[family], address, bits)
        assert {row for row, _ in pool.live()} == set(fibs[0].image() | fibs[1].image())
        again = FibCompiler.dual_stack(size, pool.rows | {row: pool.rows.get(row, 0) for row in range(4)})
        assert [{(prefix, length): result for prefix, length, result in fib.routes()} for fib in again] == [
            seen(table, bits) for table, bits in zip(tables, widths, strict=True)]
        assert statistics(again).words_free == statistics(fibs).words_free


def test_images_that_overlap_are_refused():
    fibs = FibCompiler.dual_stack(100)
    image = dict.fromkeys(range(IPV6_ROOT_ROW + ROOTS), 0)
    for fib, bits in zip(fibs, (32, 128), strict=True):
        for write in fib.apply([(k << bits - 8, 8, k) for k in range(20)]):
            image |= {} if write == FENCE else {write.row: write.word}
    FibCompiler.dual_stack(100, image)
    with pytest.raises(ValueError, match="overlaps"):
        FibCompiler.dual_stack(100, image | {IPV6_ROOT_ROW + half: image[ROOT_ROW + half] for half in range(ROOTS)})
    with pytest.raises(ValueError, match="4 words at least, not 3"):
        FibCompiler.dual_stack(3)


@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TRANSACTIONS, st.lists(st.tuples(prefixes(), st.one_of(st.none(), st.integers(0, 5))), max_size=12))
def test_compiler_made_from_an_image_goes_on(transactions, last):
    first, pool, routes = FibCompiler(500), Pool(500), {}
    for transaction in transactions:
        for write in first.apply(flat(transaction)):
            pool.carry_out(write)
        routes = changed(routes, flat(transaction))
    second = FibCompiler.from_image(500, {row: 0 for row in range(ROOTS)} | pool.rows)
    routes = seen(routes)
    assert {(prefix, length): result for prefix, length, result in second.routes()} == routes
    assert second.image() == first.image()
    new = changed(routes, flat(last))
    check_hitless(pool, second.apply(flat(last)), routes, new)


def random_routes(count, seed, results=64):
    rng = random.Random(seed)
    routes = {}
    while len(routes) < count:
        length = rng.choice([8, 12, 16, 20, 22, 24, 24, 24, 32])
        routes[mask(rng.getrandbits(20) << 12 | rng.getrandbits(12) & 0xF03, length), length] = rng.randrange(results)
    return routes


def as_changes(routes):
    return [(prefix, length, result) for (prefix, length), result in routes.items()]


def test_long_churn_in_a_narrow_window_loses_no_word():
    size, rng = 1200, random.Random(5)
    fib, pool, routes, full = FibCompiler(size), Pool(size), {}, 0
    pool.recent = set()
    universe = as_changes(random_routes(2500, 6))
    for _ in range(400):
        withdrawn = [(p, n, None) for p, n in rng.sample(sorted(routes), min(len(routes), rng.randrange(40)))]
        added = [(p, n, rng.randrange(64)) for p, n, _ in rng.sample(universe, rng.randrange(60))]
        new = changed(routes, withdrawn + added)
        try:
            writes = fib.apply(withdrawn + added)
        except FibFull:
            full += 1
            continue
        pool.rows.update(write for write in writes if write != FENCE)
        routes = new
    assert 20 < full < 380
    for address in rng.sample(sorted(borders(routes)), 500):
        assert pool.lookup(address) == fib.lookup(address) == longest_match(routes, address)
    fib.apply([(p, n, None) for p, n in routes])
    assert fib.statistics().words_used == ROOTS
    filled = FibCompiler(size)
    fill = as_changes(random_routes(900, 7))
    filled.apply(fill)
    fib.apply(fill)
    assert fib.statistics() == filled.statistics()


@pytest.mark.parametrize("seed", [1152, *range(20)])
def test_churn_in_a_window_that_is_nearly_full(seed):
    """What does not fit changes nothing, also if rows of results became free and nodes in the transaction itself."""
    rng = random.Random(seed)
    size = rng.choice([8, 10, 12, 16, 24, 32])
    fib, pool, routes = FibCompiler(size), Pool(size), {}
    for _ in range(40):
        changes = []
        for _ in range(rng.choice([1, 3, 10, 80, 100])):
            if routes and rng.random() < 0.5:
                changes.append((*rng.choice(sorted(routes)), None))
            else:
                length = rng.randint(0, 32)
                address = rng.getrandbits(6) << 26 | rng.getrandbits(26) & rng.getrandbits(26)
                changes.append((mask(address, length), length, rng.getrandbits(8)))
        image = fib.image()
        try:
            writes = fib.apply(changes)
        except FibFull:
            assert fib.image() == image
            continue
        check_hitless(pool, writes, routes, new := changed(routes, changes))
        routes = new


def test_full_window_changes_nothing_and_says_what_is_missing():
    fib = FibCompiler(20)
    routes = {(k << 24, 8): k for k in range(1, 9)}
    fib.apply(as_changes(routes))
    image = fib.image()
    with pytest.raises(FibFull, match=r"words in one piece were needed, and \d+ of 20 words are free.*larger FIB") as e:
        fib.apply([(0x01000000, 8, 9), *((k << 20, 12, 7) for k in range(0x100, 0x400, 3))])
    assert e.value.size == 20 and e.value.asked > e.value.largest <= e.value.available < 20
    assert fib.image() == image
    assert fib.lookup(0x01000000) == 1
    assert {(p, n): r for p, n, r in fib.routes()} == routes
    assert fib.commit() == []
    fib.insert(0, 0, 3)
    fib.commit()
    assert fib.lookup(0xFF000000) == 3


def test_one_change_of_a_result_is_one_write():
    routes = random_routes(500, 1)
    fib = FibCompiler(4000)
    fib.apply(as_changes(routes))
    for prefix, length in list(routes)[:100]:
        assert len(fib.apply([(prefix, length, 100)])) == 1
        assert fib.apply([(prefix, length, 100)]) == []


def test_writes_of_a_single_route_are_few():
    routes = random_routes(3000, 2)
    fib = FibCompiler(16000)
    fib.apply(as_changes(routes))
    total = 0
    for prefix, length, result in as_changes(routes)[:500]:
        for change in (None, result):
            writes = [write for write in fib.apply([(prefix, length, change)]) if write != FENCE]
            assert 1 <= len(writes) <= 16 + 15 + 1
            total += len(writes)
    assert total / 1000 <= 6


def test_first_fill_writes_each_row_once():
    fib = FibCompiler(16000)
    writes = fib.apply(as_changes(random_routes(3000, 3)))
    assert FENCE not in writes
    assert len({write.row for write in writes}) == len(writes) == len(fib.image())
    assert writes[-1].row == ROOT_ROW + 1


def leaf(bits, length, result):
    return pack(FIB_LEAF, {"leaf": 1, "length": length, "bits": bits << 46 - length, "result": result})


def test_roots_alone_hold_a_route_each():
    fib = FibCompiler(2)
    assert fib.image() == {ROOT_ROW: 0, ROOT_ROW + 1: 0}
    assert fib.apply([(0x0A000000, 8, 5)]) == [FibWrite(ROOT_ROW, leaf(0x0A, 7, 5))]
    assert (fib.lookup(0x0AFFFFFF), fib.lookup(0x0B000000)) == (5, None)
    with pytest.raises(FibFull):
        fib.apply([(0x0B000000, 8, 5)])
    assert fib.apply([(0x8A000000, 8, 6)]) == [FibWrite(ROOT_ROW + 1, leaf(0x0A, 7, 6))]
    assert fib.statistics().leaves == 2
    assert fib.apply([(0x0A000000, 8, None)]) == [FibWrite(ROOT_ROW, 0)]


def test_a_route_of_one_bit_hides_the_default_route():
    fib = FibCompiler(2)
    upper = 1 << 31
    assert fib.apply([(0, 0, 1)]) == [FibWrite(ROOT_ROW, leaf(0, 0, 1)), FibWrite(ROOT_ROW + 1, leaf(0, 0, 1))]
    assert fib.apply([(upper, 1, 2)]) == [FibWrite(ROOT_ROW + 1, leaf(0, 0, 2))]
    assert fib.apply([(0, 0, 3)]) == [FibWrite(ROOT_ROW, leaf(0, 0, 3))]
    assert fib.apply([(upper, 1, None)]) == [FibWrite(ROOT_ROW + 1, leaf(0, 0, 3))]
    assert fib.apply([(0, 1, 3)]) == []
    assert fib.apply([(0, 0, None)]) == [FibWrite(ROOT_ROW + 1, 0)]
    assert fib.apply([(0, 1, None)]) == [FibWrite(ROOT_ROW, 0)]


def test_full_window_leaves_hidden_routes_as_they_were():
    fib = FibCompiler(2)
    fib.apply([(0, 0, 1), (0, 1, 2)])
    with pytest.raises(FibFull):
        fib.apply([(0, 0, 9), (0, 1, None), (0x0B000000, 8, 5)])
    assert fib.apply([(0, 1, None)]) == [FibWrite(ROOT_ROW, leaf(0, 0, 1))]


def test_change_is_made_in_small_steps_if_there_is_no_room_for_both_tables():
    old = {(k << 16, 16): 1 for k in range(2048)}
    new = {(k << 17, 15): 2 for k in range(1024)} | {(k << 17, 16): 1 for k in range(1024)}
    fib, pool = FibCompiler(1200), Pool(1200)
    pool.rows.update(fib.apply(as_changes(old)))
    writes = fib.apply([(p, n, None) for p, n in old if (p, n) not in new] + as_changes(new))
    assert writes.count(FENCE) > 2
    pool.rows.update(write for write in writes if write != FENCE)
    assert {(p, n): r for p, n, r in fib.routes()} == new
    assert all(pool.lookup(a) == longest_match(new, a) for a in range(0, 2049 << 16, 0x8000))


def test_transaction_is_forgotten_if_its_block_fails():
    fib = FibCompiler(100)
    with pytest.raises(ZeroDivisionError), fib.transaction():
        fib.insert(0, 0, 1)
        raise ZeroDivisionError
    assert fib.commit() == []
    with fib.transaction() as writes:
        fib.insert(0, 0, 1)
    assert len(writes) == ROOTS
    assert len(fib) == 1


@pytest.mark.parametrize(("prefix", "length", "result", "message"), [
    (1, 31, 0, "zeros after the prefix"), (0, 33, 0, "0 to 32 bits"), (1 << 32, 32, 0, "address of 32 bits"),
    (0, -1, 0, "0 to 32 bits"), (0, 0, 1 << 18, "18 bits"), (0, 0, -1, "18 bits")])
def test_values_out_of_range(prefix, length, result, message):
    with pytest.raises(ValueError, match=message):
        FibCompiler(10).insert(prefix, length, result)


@pytest.mark.parametrize(("size", "address_bits"), [(1, 32), ((1 << 18) + 1, 32), (10, 129), (10, 0)])
def test_parameters_out_of_range(size, address_bits):
    with pytest.raises(ValueError, match="not"):
        FibCompiler(size, address_bits)


def test_narrow_addresses():
    fib = FibCompiler(100, address_bits=8)
    fib.apply([(0x80, 1, 1), (0xC0, 4, 2), (0xC1, 8, 3)])
    assert [fib.lookup(a) for a in (0x7F, 0x80, 0xC0, 0xC1, 0xD0)] == [None, 1, 2, 3, 1]
    assert sorted(fib.routes()) == [(0x80, 1, 1), (0xC0, 4, 2), (0xC1, 8, 3)]
    assert sorted(FibCompiler.from_image(100, fib.image(), 8).routes()) == sorted(fib.routes())


@pytest.mark.parametrize("image", [
    {},
    {0: 0},
    {0: 0, 1: pack(FIB_BRANCH, {"external": 3, "child": 2}), 2: 1},
    {0: pack(FIB_BRANCH, {"external": 3, "child": 2}), 1: 0, 2: 1},
    {0: pack(FIB_BRANCH, {"external": 3, "child": 0}), 1: 0},
    {0: pack(FIB_BRANCH, {"external": 3, "child": 2}), 1: pack(FIB_BRANCH, {"external": 3, "child": 2}), 2: 1, 3: 1},
    {0: pack(FIB_BRANCH, {"internal": 3, "result": 8}), 1: 0},
    {0: pack(FIB_BRANCH, {"internal": 1, "result": 8}), 1: 0, 2: 1},
    {0: pack(FIB_LEAF, {"leaf": 1, "length": 32}), 1: 0},
    {0: pack(FIB_LEAF, {"leaf": 1, "length": 1, "bits": 1}), 1: 0},
    {0: pack(FIB_BRANCH, {"internal": 1, "external": 1, "result": 8, "child": 2}), 1: 0, 2: 1},
])
def test_image_that_is_not_one(image):
    with pytest.raises(ValueError, match=r"row|overlaps"):
        FibCompiler.from_image(10, image)
