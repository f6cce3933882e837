"""What leaves by a data port: source address and tag."""

import random
from itertools import pairwise

import pytest
from amaranth.back import rtlil
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.egress import Egress
from polyrouter.hdl.layouts import PORT_ROW, pack, unpack
from polyrouter.hdl.records import egress_layout
from polyrouter.hdl.stream import frame_layout

from .bench import WIDTHS, access, packet_beats, simulate, sink, source, until

ROUTERS = 5


def random_rows(rng, routers=ROUTERS):
    return [{"mac": rng.getrandbits(48), "vid": rng.choice([0, rng.randrange(1, 4096)])} for _ in range(routers)]


def random_case(rng, length, routers=ROUTERS):
    return rng.randbytes(length), {
        "router": rng.randrange(routers), "tci": rng.getrandbits(16),
        **{name: rng.getrandbits(1) for name in ("tagged", "keep_tag", "own_source")}}


def sent(frame, fields, rows):
    """The spec's egress tag (step 11), and the source address of step 7."""
    row = rows[fields["router"]]
    if fields["own_source"]:
        frame = frame[:6] + row["mac"].to_bytes(6, "big") + frame[12:]
    if fields["keep_tag"]:
        tci = fields["tci"] if fields["tagged"] else None
    else:
        priority = fields["tci"] >> 13 if fields["tagged"] else 0
        tci = priority << 13 | row["vid"] if row["vid"] else None
    return frame if tci is None else frame[:12] + b"\x81\x00" + tci.to_bytes(2, "big") + frame[12:]


def run(config, cases, rows, *, rates=(1.0, 1.0), seed=0):
    """Frames at the port, and the cycles in which beats came and went."""
    dut = Egress(config)
    width = config.data_width
    rng = random.Random(seed)
    beats = [beat | pack(egress_layout(width), fields) for frame, fields in cases
             for beat in packet_beats(egress_layout(width), frame, width)]
    expected = [sent(frame, fields, rows) for frame, fields in cases]
    total = sum(-(-len(frame) * 8 // width) for frame in expected)
    out, came, went = [], [], []

    async def main(ctx):
        for router, row in enumerate(rows):
            await access(ctx, dut.table, router, pack(PORT_ROW, row))
            assert await access(ctx, dut.table, router) == pack(PORT_ROW, row)
        await source(dut.i, beats, rng=rng, rate=rates[0], times=came)(ctx)

    async def monitor(ctx):
        await ctx.changed(dut.i.valid)      # count cycles from the first item, as ``source`` does
        await sink(dut.o, out, rng=rng, rate=rates[1], times=went)(ctx)

    simulate(dut, [main, until(lambda: len(out) == total)], [monitor])
    frames, current = [], b""
    for beat in out:
        fields = unpack(frame_layout(width), beat)
        assert fields["error"] == 0
        assert fields["last"] or not fields["empty"]
        current += fields["data"].to_bytes(width // 8, "little")
        if fields["last"]:
            frames.append(current[:len(current) - fields["empty"]])
            current = b""
    assert not current
    assert frames == expected
    return came, went


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.4, 1.0), (1.0, 0.4), (0.7, 0.8)])
def test_random_frames(width, rates):
    """With gaps inside of frames, too: the frame buffer serves all ports in turn."""
    rng = random.Random(f"{width} {rates}")
    cases = [random_case(rng, rng.choice([rng.randint(14, 70), 60, rng.randint(60, 200)])) for _ in range(200)]
    run(CoreConfig(data_width=width, routers=ROUTERS), cases, random_rows(rng), rates=rates, seed=width)


@pytest.mark.parametrize("width", WIDTHS)
def test_every_length(width):
    """Every length of short frames, with and without a tag, and the longest ones."""
    rng = random.Random(width)
    rows = [{"mac": 1, "vid": 0}, {"mac": 2, "vid": 3}]
    cases = [(rng.randbytes(length), {"router": router, "own_source": 1, "tci": 0, "tagged": 0, "keep_tag": 0})
             for length in [*range(14, 82), 1513, 1514] for router in (0, 1)]
    rng.shuffle(cases)
    run(CoreConfig(data_width=width, routers=2), cases, rows, rates=(1.0, 0.9))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("vid", [0, 7])
def test_latency_and_rate(width, vid):
    """Three cycles, and one cycle more for each frame than it has beats, whether or not it gets one more."""
    for length in 60, 61, 64:
        fields = {"router": 1, "own_source": 1, "tci": 0, "tagged": 0, "keep_tag": 0}
        cases = [(bytes([k]) * length, fields) for k in range(20)]
        config = CoreConfig(data_width=width, routers=ROUTERS)
        came, went = run(config, cases, [{"mac": 5, "vid": vid}] * ROUTERS)
        beats_in = -(-length * 8 // width)
        beats_out = -(-(length + 4 * bool(vid)) * 8 // width)
        first_in, first_out = came[::beats_in], went[::beats_out]
        assert [b - a for a, b in pairwise(first_in)] == [beats_in + 1] * 19
        assert [b - a for a, b in zip(first_in, first_out, strict=True)] == [3] * 20


@pytest.mark.parametrize("stands", [False, True])
def test_accesses_between_frames(stands):
    """Of a row that nobody uses, while frames flow, or while one stands at the port: none waits for long."""
    rng = random.Random(stands)
    config = CoreConfig(routers=ROUTERS)
    dut = Egress(config)
    rows = random_rows(rng)
    cases = [random_case(rng, rng.choice([14, 60, 64]), ROUTERS - 1) for _ in range(60)]
    beats = [beat | pack(egress_layout(64), fields) for frame, fields in cases
             for beat in packet_beats(egress_layout(64), frame, 64)]
    expected = [sent(frame, fields, rows) for frame, fields in cases]
    total = sum(-(-len(frame) // 8) for frame in expected)
    out: list[int] = []
    waits: list[int] = []

    async def main(ctx):
        for router, row in enumerate(rows):
            await access(ctx, dut.table, router, pack(PORT_ROW, row))
        await source(dut.i, beats)(ctx)

    async def accesses(ctx):
        await ctx.tick().until(dut.i.valid)
        for k in range(100):
            row = pack(PORT_ROW, {"mac": k, "vid": k})
            await access(ctx, dut.table, ROUTERS - 1, row)
            ctx.set(dut.table.stb, 1)
            ctx.set(dut.table.write, 0)
            ack, waited = 0, 0
            while not ack:
                *_, ack, found = await ctx.tick().sample(dut.table.ack, dut.table.r_data)
                waited += 1
            ctx.set(dut.table.stb, 0)
            assert found == row
            waits.append(waited - 2)    # one in which it is read, one in which it is acknowledged
            await ctx.tick().repeat(rng.randrange(1, 4))
        ctx.set(dut.o.ready, 1)
        await sink(dut.o, out)(ctx)

    async def flow(ctx):
        ctx.set(dut.o.ready, 0)
        if not stands:
            await sink(dut.o, out)(ctx)

    simulate(dut, [main, until(lambda: len(out) == total)], [accesses, flow])
    assert max(waits) <= 2
    assert stands or any(waits)
    assert b"".join(unpack(frame_layout(64), beat)["data"].to_bytes(8, "little")
                    [:8 - unpack(frame_layout(64), beat)["empty"]] for beat in out) == b"".join(expected)


def test_one_router():
    rng = random.Random(1)
    run(CoreConfig(routers=1), [random_case(rng, 60, 1) for _ in range(20)], random_rows(rng, 1))


@pytest.mark.parametrize("width", WIDTHS)
def test_elaborates(width):
    assert rtlil.convert(Egress(CoreConfig(data_width=width)))
