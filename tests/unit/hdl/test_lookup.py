"""Records through the look-up stage, with engines that take their time: what they are asked and what they answer."""

import random
from collections import Counter

import pytest
from amaranth.hdl import Value
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import CONTEXT_ROW, FILTER_KEY, RouterMode, pack, unpack
from polyrouter.hdl.lookup import ADDRESS_BITS_KEPT, ENGINES, Lookup
from polyrouter.hdl.records import META

from .bench import simulate, sink, source

FIB_REQUEST, FIB_OUTCOME = ENGINES["fib"]
FILTER_REQUEST, FILTER_OUTCOME = ENGINES["filter"]
MAC_REQUEST, MAC_OUTCOME = ENGINES["mac"]
FLOW, _ = ENGINES["hash"]
SEED_BITS = CONTEXT_ROW["ecmp_seed"].width


def some_record(rng):
    """Any record, with flags mostly as they are for a frame that is let through."""
    fields = unpack(META, rng.getrandbits(META.size))
    for name, often in (("enable", 0.9), ("injected", 0.1), ("guarded", 0.2), ("good_header", 0.8), ("group", 0.3),
                        ("own", 0.6), ("takes_multicast", 0.7), ("multicast", 0.7), ("peer", 0.7)):
        fields[name] = rng.random() < often
    fields["mode"] = rng.randrange(3)
    fields["port"] = rng.choice((0, 3, 8, 15)) if rng.random() < 0.1 else rng.randrange(8)
    if rng.random() < 0.85 and fields["port"] < 8:
        fields["ports"] |= 1 << fields["port"]
    fields["router"] = rng.randrange(1024)
    if rng.random() < 0.7:
        fields["peer_router"] = fields["router"]
    fields["ipv6"] = not fields["ipv4"] and rng.random() < 0.8
    return pack(META, fields)


def requests(record, seed):
    """What the engines are asked, by the specification."""
    r = unpack(META, record)
    admitted = r["enable"] and r["ports"] >> r["port"] & 1 and not (
        r["guarded"] and not (r["peer"] and r["peer_router"] == r["router"]))
    if r["injected"] or not admitted:
        goes_on = False
    elif r["group"]:
        goes_on = r["mode"] != RouterMode.ROUTED or bool(r["takes_multicast"] and r["multicast"])
    else:
        goes_on = r["mode"] != RouterMode.ROUTED or bool(r["own"])
    routed = goes_on and r["mode"] == RouterMode.ROUTED and (r["ipv4"] or r["ipv6"]) and r["good_header"]
    key = {"port": r["port"], "tagged": r["tagged"], "vid": r["tci"] & 0xFFF, "pcp": r["tci"] >> 13,
           "dmac": r["dmac"], "smac": r["smac"], "ethertype": r["ethertype"]}
    if r["good_header"]:
        key |= {"ip_source": r["ip_source"] >> 96, "ip_destination": r["ip_destination"] >> 96,
                **{name: r[name] for name in ("protocol", "tos", "l4_source", "l4_destination")}}
    return {
        "fib": pack(FIB_REQUEST, {
            "walk": bool(routed), "ipv6": r["ipv6"], "multicast": bool(routed and r["group"]),
            "address": r["ip_destination"], "source": r["ip_source"], "base": r["fib_base"], "size": r["fib_size"],
            "root": r["ipv6_root"] if r["ipv6"] else r["ipv4_root"]}),
        "filter": pack(FILTER_REQUEST, {
            "walk": goes_on, "base": r["filter_base"], "size": r["filter_size"], "key": pack(FILTER_KEY, key)}),
        "mac": pack(MAC_REQUEST, {
            "walk": goes_on and r["mode"] == RouterMode.BRIDGED and not r["group"] and not r["own"],
            "base": r["mac_base"], "size": r["mac_size"], "mac": r["dmac"]}),
        "hash": pack(FLOW, {
            "ipv6": r["ipv6"], "source": r["ip_source"], "destination": r["ip_destination"],
            "l4_source": r["l4_source"], "l4_destination": r["l4_destination"], "seed": seed}),
    }


def joined(record, answers):
    """The record as it leaves the stage."""
    fields = unpack(META, record)
    for name in ("fib_base", "fib_size", "ipv4_root", "ipv6_root", "filter_base", "filter_size",
                 "adj_fault", "adj_kind", "adj_port", "adj_mac", "adj_mtu", "adj_vid"):
        fields[name] = 0
    for name in ("ip_source", "ip_destination"):
        fields[name] = fields[name] >> 128 - ADDRESS_BITS_KEPT << 128 - ADDRESS_BITS_KEPT
    fields |= unpack(FIB_OUTCOME, answers["fib"])
    rule = unpack(FILTER_OUTCOME, answers["filter"])
    fields |= {"rule_hit": rule.pop("hit"), "rule": rule.pop("rule"), "action": rule.pop("action")}
    plain = ("set_class", "traffic_class", "police")
    fields |= {name if name in plain else f"rule_{name}": value for name, value in rule.items()}
    fields |= {f"mac_{name}": value for name, value in unpack(MAC_OUTCOME, answers["mac"]).items()}
    fields["flow_hash"] = answers["hash"]
    return pack(META, fields)


def engine(asked, answers, request, outcome, *, rng, capacity, longest):
    """An engine that holds some requests and answers each after a time of its own, in order."""
    async def testbench(ctx):
        held, offered, cycle, before = [], False, 0, None
        while True:
            ready = len(held) < capacity and rng.random() < 0.8
            due = bool(held) and (offered or cycle >= held[0])
            ctx.set(request.ready, ready)
            ctx.set(outcome.valid, due)
            if due:
                ctx.set(Value.cast(outcome.payload), answers[len(asked) - len(held)])
            offered = due
            _, _, given, payload, taken = await ctx.tick().sample(
                request.valid, Value.cast(request.payload), outcome.ready)
            if before is not None:
                assert given and payload == before, "a request changed before it was taken"
            before = payload if given and not ready else None
            if taken and due:
                held.pop(0)
                offered = False
            if given and ready:
                asked.append(payload)
                held.append(cycle + 1 + rng.randrange(longest))
            cycle += 1
    return testbench


#: A record stays at ``i`` until all engines have it.
STAYS = {"vmac_cycles": 2, "context_words": 4, "stage_registers": 0}


def run(records, *, seed, longest, capacity, rates, parameters):
    rng = random.Random(seed)
    dut = Lookup(CoreConfig(**parameters))
    seeds = [rng.getrandbits(SEED_BITS) for _ in records]
    answers = {
        "fib": [pack(FIB_OUTCOME, {"fib": rng.randrange(3), "result": rng.getrandbits(18)}) for _ in records],
        "filter": [rng.getrandbits(FILTER_OUTCOME.size) for _ in records],
        "mac": [rng.getrandbits(MAC_OUTCOME.size) for _ in records],
        "hash": [rng.getrandbits(16) for _ in records],
    }
    asked = {name: [] for name in ENGINES}
    out, taken, given = [], [], []

    async def feed(ctx):
        cycle = 0
        for record, hash_seed in zip(records, seeds, strict=True):
            while rng.random() >= rates[0]:
                ctx.set(dut.i.valid, 0)
                await ctx.tick()
                cycle += 1
            ctx.set(dut.i.valid, 1)
            ctx.set(Value.cast(dut.i.payload), record)
            ctx.set(dut.i_seed, hash_seed)
            ready = 0
            while not ready:
                *_, ready = await ctx.tick().sample(dut.i.ready)
                cycle += 1
            taken.append(cycle)
        ctx.set(dut.i.valid, 0)

    engines = [
        engine(asked[name], answers[name], getattr(dut, f"{name}_i"), getattr(dut, f"{name}_o"),
               rng=random.Random(seed + k), longest=longest[name], capacity=capacity)
        for k, name in enumerate(ENGINES)]
    simulate(dut, [feed, sink(dut.o, out, rng=random.Random(seed), rate=rates[1], times=given, count=len(records))],
             engines)
    expected = [requests(record, hash_seed) for record, hash_seed in zip(records, seeds, strict=True)]
    assert asked == {name: [each[name] for each in expected] for name in ENGINES}
    assert out == [joined(record, {name: answers[name][k] for name in ENGINES}) for k, record in enumerate(records)]
    return asked, taken, given


@pytest.mark.parametrize(("slow", "rates"), [
    (None, (1, 1)), ("fib", (1, 0.6)), ("filter", (0.7, 1)), ("mac", (1, 1)), ("hash", (0.9, 0.9)),
])
@pytest.mark.parametrize(("capacity", "parameters"), [
    (2, {}), (40, {}), (40, {"record_rows": 64}), (2, STAYS), (40, STAYS | {"record_rows": 64})])
def test_all_engines_answer_each_record(slow, rates, capacity, parameters):
    """With room for many records in one engine (more than the stage has), or for few, and engines of any speed."""
    rng = random.Random(capacity)
    records = [some_record(rng) for _ in range(200)]
    longest = {name: 30 if name == slow else 5 for name in ENGINES}
    asked, _, _ = run(records, seed=rng.randrange(1000), longest=longest, capacity=capacity, rates=rates,
                      parameters=parameters)
    walked = Counter(name for name in ("fib", "filter", "mac") for request in asked[name] if request & 1)
    assert all(5 < walked[name] < 195 for name in walked) and len(walked) == 3
    assert any(unpack(FIB_REQUEST, request)["multicast"] for request in asked["fib"])


@pytest.mark.parametrize(("parameters", "engines_take", "latency", "period"), [
    ({}, 1, 3, 2), ({}, 2, 4, 2), ({}, 3, 5, 2), ({}, 9, 11, 2), (STAYS, 1, 2, 1), (STAYS, 9, 10, 1)])
def test_latency_and_throughput(parameters, engines_take, latency, period):
    """With fast engines there is a record every other cycle; it takes as long as they do, and two cycles more."""
    dut = Lookup(CoreConfig(**parameters))
    rng = random.Random(1)
    records = [some_record(rng) for _ in range(40)]
    asked, out, taken, given = {name: [] for name in ENGINES}, [], [], []

    class Always:
        """Not random at all."""

        @staticmethod
        def random():
            return 0

        @staticmethod
        def randrange(_):
            return engines_take - 1

    engines = [engine(asked[name], [0] * len(records), getattr(dut, f"{name}_i"), getattr(dut, f"{name}_o"),
                      rng=Always, longest=None, capacity=16) for name in ENGINES]
    simulate(dut, [source(dut.i, records, times=taken), sink(dut.o, out, times=given, count=len(records))], engines)
    assert given[0] - taken[0] == latency
    assert given[-1] - given[0] == period * (len(records) - 1)


def test_an_engine_that_holds_few_records_does_not_slow_down_one_that_holds_many():
    """The FIB has 18 records under way for 39 cycles each; the others, which are quick, hold two."""
    dut = Lookup(CoreConfig())
    rng = random.Random(2)
    records = [some_record(rng) for _ in range(80)]
    out, given = [], []

    class Steady:
        """Not random at all."""

        def __init__(self, cycles):
            self.cycles = cycles

        @staticmethod
        def random():
            return 0

        def randrange(self, _):
            return self.cycles - 1

    engines = [engine([], [0] * len(records), getattr(dut, f"{name}_i"), getattr(dut, f"{name}_o"),
                      rng=Steady(39 if name == "fib" else 2), longest=None, capacity=18 if name == "fib" else 2)
               for name in ENGINES]
    simulate(dut, [source(dut.i, records), sink(dut.o, out, times=given, count=len(records))], engines)
    assert given[-1] - given[0] <= (len(records) - 1) * 39 / 18 + 39
