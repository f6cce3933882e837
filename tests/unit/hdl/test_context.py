import random

import pytest
from amaranth.back import rtlil
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.context import ContextLookup
from polyrouter.hdl.layouts import CONTEXT_ROW, pack, unpack
from polyrouter.hdl.records import META

from .bench import WIDTHS, access, run_stage, simulate, sink, source, until

COPIED = ("ports", "fib_base", "fib_size", "ipv4_root", "ipv6_root", "adj_base", "adj_size")


def random_row(rng):
    row = {str(name): rng.getrandbits(entry.width) for name, entry in CONTEXT_ROW}
    return row | {"enable": rng.random() < 0.8, "mode": rng.choice([0, 0, 0, 1, 2, 3])}


def expected(config, rows, frame):
    fields = dict.fromkeys((*COPIED, "enable", "guarded"), 0)
    if frame["own"] or frame["injected"]:
        row = rows[frame["router"]]
        fields = {name: row[name] for name in COPIED}
        fields["enable"] = int(row["enable"] and row["mode"] == 0)
        fields["guarded"] = row["guard"] >> frame["port"] & 1 if frame["port"] < config.ports else 0
    return frame | fields


@pytest.mark.parametrize("ports, routers", [(1, 1), (4, 8), (8, 11)])
@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.5, 0.3)])
def test_random_rows_and_frames(ports, routers, rates):
    config = CoreConfig(ports=ports, routers=routers)
    rng = random.Random(routers)
    rows = [random_row(rng) for _ in range(routers)]
    frames = []
    for _ in range(150):
        injected, own = rng.choice([(1, 0), (0, 1), (0, 1), (0, 0)])
        router = rng.randrange(routers) if injected or own else config.no_router
        frames.append({"port": config.host_port if injected else rng.randrange(ports), "injected": injected,
                       "own": own, "router": router, "dmac": rng.getrandbits(48),
                       "ip_destination": rng.getrandbits(128)})
    dut = ContextLookup(config)
    out, *_ = run_stage(dut, [pack(META, frame) for frame in frames], rates=rates,
                        tables=[(dut.table, {k: pack(CONTEXT_ROW, row) for k, row in enumerate(rows)})])
    for frame, record in zip(frames, out, strict=True):
        assert unpack(META, record) == unpack(META, pack(META, expected(config, rows, frame)))


def test_one_record_every_three_cycles():
    _, taken, given = run_stage(ContextLookup(CoreConfig()), [pack(META, {"own": 1})] * 10)
    assert taken == [taken[0] + 3 * k for k in range(10)]
    assert given == [cycle + 3 for cycle in taken]


def test_a_row_that_is_written_meanwhile_is_seen_whole():
    dut = ContextLookup(CoreConfig())
    old, new = (pack(CONTEXT_ROW, {"enable": 1} | {name: value for name in COPIED}) for value in (0x11, 0xEE))
    out = []

    async def writer(ctx):
        for k in range(120):
            await access(ctx, dut.table, 5, new if k % 2 else old)
            await ctx.tick().repeat(k % 3 + 1)

    async def frames(ctx):
        await ctx.tick().repeat(3)
        await source(dut.i, [pack(META, {"own": 1, "router": 5})] * 100)(ctx)

    simulate(dut, [writer, frames, until(lambda: len(out) == 100)], [sink(dut.o, out)])
    seen = {tuple(unpack(META, record)[name] for name in COPIED) for record in out}
    assert seen == {(0x11,) * len(COPIED), (0xEE,) * len(COPIED)}


@pytest.mark.parametrize("width, routers", list(zip(WIDTHS, (1, 8, 100, 1024), strict=True)))
def test_elaborates(width, routers):
    assert rtlil.convert(ContextLookup(CoreConfig(data_width=width, routers=routers)))
