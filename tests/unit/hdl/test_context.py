import random

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Cat, Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.context import ContextLookup
from polyrouter.hdl.layouts import CONTEXT_ROW, pack, unpack
from polyrouter.hdl.records import META

from .bench import WIDTHS, access, run_stage, simulate, sink, source, until

COPIED = ("mode", "ports", "fib_base", "fib_size", "ipv4_root", "ipv6_root", "adj_base", "adj_size", "mirror", "learn",
          "tunnels", "filter_base", "filter_size", "policer_base", "policer_size", "mac_base", "mac_size")
#: Fields of the record that this stage sets.
SET = (*COPIED, "enable", "guarded", "asks", "takes_multicast")
SEED_BITS = CONTEXT_ROW["ecmp_seed"].width
SEEDED = data.StructLayout({"meta": META, "seed": SEED_BITS})


class Seeded(wiring.Component):
    """The stage with ``o_seed`` as a part of the payload, so that the sink checks its stability too."""

    def __init__(self, config):
        self.dut = ContextLookup(config)
        super().__init__({"i": In(stream.Signature(META)), "o": Out(stream.Signature(SEEDED)),
                          "disable": In(1), "table": self.dut.signature.members["table"]})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        wiring.connect(m, wiring.flipped(self.table), dut.table)
        wiring.connect(m, wiring.flipped(self.i), dut.i)
        m.d.comb += [
            dut.disable.eq(self.disable),
            self.o.valid.eq(dut.o.valid),
            dut.o.ready.eq(self.o.ready),
            self.o.payload.as_value().eq(Cat(dut.o.payload.as_value(), dut.o_seed)),
        ]
        return m


def random_row(rng):
    row = {str(name): rng.getrandbits(entry.width) for name, entry in CONTEXT_ROW}
    return row | {"enable": rng.random() < 0.8}


def expected(config, rows, frame):
    row = rows[frame["router"]] if frame["router"] < config.routers else dict.fromkeys(rows[0], 0)
    fields = {name: row[name] for name in COPIED}
    on = 1 << frame["port"] if frame["port"] < config.ports else 0
    fields |= {
        "enable": int(row["enable"] and row["mode"] != 3),
        "guarded": int(row["guard"] & on != 0 or frame["segment_guard"]),
        "asks": int(row["group"] & on != 0),
        "takes_multicast": row["multicast"],
    }
    return frame | fields, row["ecmp_seed"]


#: A record stays at ``i`` until it leaves.
STAYS = {"vmac_cycles": 2, "stage_registers": 0}


@pytest.mark.parametrize("ports, routers, words, parameters", [
    (1, 1, 1, {}), (4, 8, 2, {}), (8, 11, 1, {}), (4, 17, 4, {}), (1, 4, 4, STAYS), (4, 17, 2, STAYS)])
@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.5, 0.3)])
def test_random_rows_and_frames(ports, routers, words, parameters, rates):
    config = CoreConfig(ports=ports, routers=routers, context_words=words, **parameters)
    rng = random.Random(routers)
    rows = [random_row(rng) for _ in range(routers)]
    frames = []
    for _ in range(250):
        injected = rng.random() < 0.3
        # What the record says of the context before is replaced, whatever it is.
        frames.append({name: rng.getrandbits(META[name].width) for name in SET} | {
            "port": config.host_port if injected else rng.randrange(ports), "injected": injected,
            "own": rng.getrandbits(1), "segment_guard": rng.random() < 0.2,
            "router": rng.randrange(config.no_router + 1), "dmac": rng.getrandbits(48),
            "ip_destination": rng.getrandbits(128)})
    dut = Seeded(config)
    out, *_ = run_stage(dut, [pack(META, frame) for frame in frames], rates=rates,
                        tables=[(dut.table, {k: pack(CONTEXT_ROW, row) for k, row in enumerate(rows)})])
    found = []
    for frame, record in zip(frames, out, strict=True):
        fields, seed = expected(config, rows, frame)
        record = unpack(SEEDED, record)
        found.append(unpack(META, record["meta"]))
        assert found[-1] == unpack(META, pack(META, fields))
        assert record["seed"] == seed
    for name in SET if routers > 1 else ():
        assert len({fields[name] for fields in found}) > 1, name


def test_every_field_of_the_row_goes_somewhere():
    assert {str(name) for name, _ in CONTEXT_ROW} == (
        {*COPIED, "enable", "guard", "group", "multicast", "ecmp_seed"})


@pytest.mark.parametrize("words, parameters", [(1, {}), (2, {}), (4, {}), (2, STAYS), (4, STAYS)])
def test_pace_and_latency(words, parameters):
    dut = ContextLookup(CoreConfig(routers=17, context_words=words, **parameters))
    _, taken, given = run_stage(dut, [pack(META, {"own": 1})] * 20)
    # With several words a record is taken when its row was read, not before.
    behind = 0 if parameters else 1
    assert given[0] == taken[0] + (2 if words == 1 else behind)
    assert given == [given[0] + (words + 1) * k for k in range(20)]
    assert words == 1 or given == [cycle + behind for cycle in taken]


@pytest.mark.parametrize("words, parameters", [(1, {}), (2, {}), (4, {}), (4, STAYS)])
def test_a_row_that_is_written_meanwhile_is_seen_whole(words, parameters):
    dut = Seeded(CoreConfig(routers=8, context_words=words, **parameters))
    names = [name for name in COPIED if CONTEXT_ROW[name].width >= 8]
    old, new = (pack(CONTEXT_ROW, {"enable": 1, "ecmp_seed": value} | {name: value for name in names})
                for value in (0x11, 0xEE))
    out = []

    async def writer(ctx):
        for k in range(120):
            await access(ctx, dut.table, 5, new if k % 2 else old)
            await ctx.tick().repeat(k % 3 + 1)

    async def frames(ctx):
        await ctx.tick().repeat(3)
        await source(dut.i, [pack(META, {"own": 1, "router": 5})] * 200)(ctx)

    simulate(dut, [writer, frames, until(lambda: len(out) == 200)], [sink(dut.o, out)])
    seen = set()
    for record in out:
        record = unpack(SEEDED, record)
        fields = unpack(META, record["meta"])
        seen.add((record["seed"], *(fields[name] for name in names)))
    assert seen == {(0x11,) * (len(names) + 1), (0xEE,) * (len(names) + 1)}


@pytest.mark.parametrize("width, routers", list(zip(WIDTHS, (1, 8, 100, 1024), strict=True)))
def test_elaborates(width, routers):
    assert rtlil.convert(ContextLookup(CoreConfig(data_width=width, routers=routers)))


@pytest.mark.parametrize("parameters", [{}, STAYS | {"context_words": 4}])
def test_disable_takes_enable_from_every_router_and_nothing_else(parameters):
    config = CoreConfig(ports=4, routers=8, **parameters)
    rng = random.Random(8)
    rows = [random_row(rng) | {"enable": 1, "mode": rng.randrange(3)} for _ in range(8)]
    frames = [{"port": rng.randrange(4), "router": rng.randrange(8), "segment_guard": rng.getrandbits(1)}
              for _ in range(60)]
    dut = Seeded(config)
    out = []

    async def main(ctx):
        for router, row in enumerate(rows):
            await access(ctx, dut.table, router, pack(CONTEXT_ROW, row))
        for disable in (0, 1, 0):
            ctx.set(dut.disable, disable)
            await source(dut.i, [pack(META, frame) for frame in frames])(ctx)
            await ctx.tick().repeat(10)

    simulate(dut, [main, until(lambda: len(out) == 180)], [sink(dut.o, out, rng=rng, rate=0.9)])
    found = [unpack(META, unpack(SEEDED, record)["meta"]) for record in out]
    before, disabled, after = found[:60], found[60:120], found[120:]
    right = [unpack(META, pack(META, expected(config, rows, frame)[0])) for frame in frames]
    assert all(fields["enable"] for fields in right)
    assert before == after == right
    assert disabled == [fields | {"enable": 0} for fields in right]
