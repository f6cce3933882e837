"""Filter look-ups against a reference, with windows anywhere, empty ones, and writes in between."""

import random
from itertools import pairwise

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.filter import CHANGES, OUTCOME, REQUEST, FilterLookup
from polyrouter.hdl.layouts import ACTION_ROW, FILTER_KEY, FILTER_ROW, pack, unpack

from .bench import access, run_stage, simulate, sink, source

#: Few values of few fields, so that rules overlap and match often.
FIELDS = ("port", "vid", "ethertype", "ip_source", "l4_destination")


def some_key(rng):
    return pack(FILTER_KEY, {name: rng.randrange(3) << rng.choice((0, FILTER_KEY[name].width - 2)) for name in FIELDS})


def some_rule(rng):
    mask = pack(FILTER_KEY, {name: rng.choice((0, 0, 0, (1 << FILTER_KEY[name].width) - 1)) for name in FIELDS})
    return pack(FILTER_ROW, {"value": some_key(rng), "mask": mask, "valid": rng.random() < 0.9})


def some_action(rng):
    row = rng.getrandbits(ACTION_ROW.size)
    if rng.random() < 0.3:      # most of them without any rewrite at all
        row = pack(ACTION_ROW, {**unpack(ACTION_ROW, row), **dict.fromkeys(CHANGES, 0)})
    elif rng.random() < 0.5:    # or with just one
        row = pack(ACTION_ROW, {**unpack(ACTION_ROW, row), **dict.fromkeys(CHANGES, 0), rng.choice(CHANGES): 1})
    return row


def look_up(rules, actions, request, banks=1):
    """The outcome, as the specification has it; and how many places of the banks the window touches."""
    fields = unpack(REQUEST, request)
    if not fields["walk"]:
        return 0, 0
    window = range(fields["base"], min(fields["base"] + fields["size"], len(rules)))
    places = len({row // banks for row in window})
    for row in window:
        rule = unpack(FILTER_ROW, rules[row])
        if rule["valid"] and not (rule["value"] ^ fields["key"]) & rule["mask"]:
            action = unpack(ACTION_ROW, actions[row])
            same = ("action", "ports", "mirror", "set_class", "traffic_class", "police", "policer")
            return pack(OUTCOME, {
                "hit": 1, "rule": row, **{name: action[name] for name in same},
                "changes": any(action[name] for name in CHANGES), "smac": action["set_smac"],
                "tag": action["set_vid"] or action["strip_vlan"],
            }), places
    return 0, places


def some_request(rng, rules, longest):
    size = rng.choice((0, 1, rng.randrange(longest + 1), rng.randrange(longest + 1), longest))
    base = rng.choice((rng.randrange(rules), rng.randrange(rules), max(0, rules - 2), rules, 4095))
    if rng.random() < 0.05:
        base, size = max(0, rules - 3), 4095
    return pack(REQUEST, {"walk": rng.random() < 0.9, "base": base, "size": size, "key": some_key(rng)})


@pytest.mark.parametrize(("rules", "banks", "rates"), [
    (1, 1, (1, 1)), (13, 1, (0.8, 0.5)), (16, 2, (1, 1)), (30, 4, (0.5, 1)), (37, 8, (1, 0.2)), (3, 8, (1, 1)),
])
def test_random_rules_and_windows(rules, banks, rates):
    rng = random.Random(rules * banks)
    table = {row: some_rule(rng) for row in range(rules)}
    actions = {row: some_action(rng) for row in range(rules)}
    dut = FilterLookup(CoreConfig(filter_rules=rules, filter_banks=banks))
    requests = [some_request(rng, rules, min(rules, 12)) for _ in range(150)]
    out, _, _ = run_stage(dut, requests, rates=rates, seed=rules,
                          tables=[(dut.filter_table, table), (dut.action_table, actions)])
    expected = [look_up(table, actions, request)[0] for request in requests]
    assert out == expected
    assert len({unpack(OUTCOME, outcome)["rule"] for outcome in out}) >= min(rules // 2, 6)


def test_every_bit_of_the_key_is_compared_where_the_mask_is_set():
    rng = random.Random(1)
    key = rng.getrandbits(FILTER_KEY.size)
    every = (1 << FILTER_KEY.size) - 1
    requests, expected, table = [], [], {}
    for bit in range(FILTER_KEY.size):
        cared = bit % 2
        table[bit] = pack(FILTER_ROW, {"value": key, "mask": 1 << bit if cared else every ^ (1 << bit), "valid": 1})
        for flipped in (key, key ^ (1 << bit), key ^ (1 << (bit + 1) % FILTER_KEY.size)):
            requests.append(pack(REQUEST, {"walk": 1, "base": bit, "size": 1, "key": flipped}))
        expected += [1, not cared, cared]
    dut = FilterLookup(CoreConfig(filter_rules=FILTER_KEY.size, filter_banks=4))
    out, _, _ = run_stage(dut, requests, tables=[(dut.filter_table, table)])
    assert [unpack(OUTCOME, outcome)["hit"] for outcome in out] == expected


@pytest.mark.parametrize("banks", [1, 4])
def test_latency_and_throughput(banks):
    """n places take n cycles, back to back, and n + 6 from request to outcome; an empty look-up takes one."""
    config = CoreConfig(filter_rules=40, filter_banks=banks)
    sizes = [1, 4, 5, 8, 1, 1, 1, 12, 33, 2]
    requests = [pack(REQUEST, {"walk": 1, "base": 3, "size": size}) for size in sizes]
    places = [look_up([0] * 40, [0] * 40, request, banks)[1] for request in requests]

    out, taken, given = run_stage(FilterLookup(config), requests)
    assert out == [0] * len(sizes)
    assert given[0] - taken[0] == places[0] + 6
    assert [b - a for a, b in pairwise(given)] == places[1:]

    empty = [pack(REQUEST, {"walk": 0, "base": 3, "size": 9}), pack(REQUEST, {"walk": 1, "base": 3, "size": 0}),
             pack(REQUEST, {"walk": 1, "base": 40, "size": 9})] * 5
    _, taken, given = run_stage(FilterLookup(config), empty)
    assert [b - a for a, b in zip(taken, given, strict=True)] == [1] * len(empty)
    assert taken[-1] - taken[0] == len(empty) - 1

    # Behind a scan that is under way, an empty look-up takes one cycle of it.
    mixed = [requests[1], empty[0], requests[1], empty[1], requests[1], empty[2], requests[1]]
    _, taken, given = run_stage(FilterLookup(config), mixed)
    step = look_up([0] * 40, [0] * 40, requests[1], banks)[1]
    assert [b - a for a, b in pairwise(given)] == [1, step] * 3


def test_rules_change_whole_while_frames_are_looked_up():
    """Each outcome is that of the rule before or after a write, and the accesses read what was written."""
    rng = random.Random(5)
    config = CoreConfig(filter_rules=12, filter_banks=4)
    dut = FilterLookup(config)
    key = rng.getrandbits(FILTER_KEY.size)
    every = (1 << FILTER_KEY.size) - 1
    # Row 5 is one of two rules of which both have bits that the key has not; half of each together would match.
    low, high = every >> 122, every ^ (every >> 122)
    one = pack(FILTER_ROW, {"value": key ^ low, "mask": low, "valid": 1})
    two = pack(FILTER_ROW, {"value": key ^ high, "mask": high, "valid": 1})
    last = pack(FILTER_ROW, {"value": key, "mask": every, "valid": 1})
    requests = [pack(REQUEST, {"walk": 1, "base": 4, "size": 4, "key": key})] * 150
    out, ended = [], []

    async def main(ctx):
        await ctx.tick()
        await access(ctx, dut.filter_table, 5, one)
        await access(ctx, dut.filter_table, 7, last)
        await source(dut.i, requests, rng=rng, rate=0.8)(ctx)
        ended.append(True)

    async def writer(ctx):
        rows = random.Random(6)
        await ctx.tick().repeat(20)
        while not ended:
            row = rows.choice((one, two))
            await access(ctx, dut.filter_table, 5, row)
            await access(ctx, dut.filter_table, rows.choice((3, 8)), rows.getrandbits(FILTER_ROW.size))
            assert await access(ctx, dut.filter_table, 5) == row
            assert await access(ctx, dut.filter_table, 7) == last
            await ctx.tick().repeat(1 + rows.randrange(4))

    simulate(dut, [main, writer, sink(dut.o, out, rng=random.Random(7), rate=0.7, count=len(requests))])
    assert out == [pack(OUTCOME, {"hit": 1, "rule": 7})] * len(requests)


def test_the_rewriter_reads_whole_actions():
    config = CoreConfig(filter_rules=20)
    dut = FilterLookup(config)
    rng = random.Random(8)
    actions = {row: some_action(rng) for row in range(20)}
    out, asked = [], []

    async def main(ctx):
        for row, action in actions.items():
            await access(ctx, dut.action_table, row, action)
        for row in (*range(20), 3, 19):
            await source(dut.changes_i, [row])(ctx)
            await ctx.tick().repeat(4)
            assert out.pop() == actions[row] and not out
            assert await access(ctx, dut.action_table, row) == actions[row]
        await source(dut.changes_i, [*range(20)], times=asked)(ctx)
        await ctx.tick().repeat(4)

    async def monitor(ctx):
        await sink(dut.changes_o, out)(ctx)

    simulate(dut, [main], [monitor])
    assert out == [*actions.values()]
    assert [after - before for before, after in pairwise(asked)] == [2] * 19


def test_no_rules_never_hit():
    dut = FilterLookup(CoreConfig(filter_rules=0))
    requests = [pack(REQUEST, {"walk": 1, "base": 0, "size": size}) for size in range(9)]
    out, taken, given = run_stage(dut, requests, tables=[(dut.filter_table, {0: 0}), (dut.action_table, {0: 0})])
    assert out == [0] * 9
    assert given[0] - taken[0] == 1 and given[-1] - given[0] == 8
