import random

import pytest
from amaranth.back import rtlil
from polyrouter.hdl.capture import FATE
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.headertap import HeaderTap
from polyrouter.hdl.layouts import unpack
from polyrouter.hdl.stream import packet_layout

from .bench import WIDTHS, packet_beats, packets, simulate, sink, source, until
from .header_bench import header_item_layout, header_sink
from .test_ingress import beats_of, check_header


def run(width, frames, *, rates=(1.0, 1.0, 1.0, 1.0), seed=0):
    """Send (frame, router, port): headers with router and port, fates, bodies, and cycles of beats and headers."""
    dut = HeaderTap(CoreConfig(data_width=width))
    layout = packet_layout(width)
    rng = random.Random(seed)
    headers, sides, fates, out, taken, times = [], [], [], [], [], []

    async def feed(ctx):
        for frame, router, port in frames:
            ctx.set(dut.i_router, router)
            ctx.set(dut.i_port, port)
            await source(dut.i, packet_beats(layout, frame, width), rng=rng, rate=rates[0])(ctx)

    async def watch(ctx):
        cycle = 0
        async for *_, valid, ready, header_valid, header_ready, router, port in ctx.tick().sample(
                dut.i.valid, dut.i.ready, dut.o_header.valid, dut.o_header.ready, dut.router, dut.port):
            cycle += 1
            if valid and ready:
                taken.append(cycle)
            if header_valid and header_ready:
                sides.append((router, port))

    total = sum(beats_of(len(frame), width) for frame, *_ in frames)
    simulate(dut, [feed, until(lambda: len(out) == total and len(fates) == len(frames))], [
        watch,
        header_sink(dut, dut.o_header, headers, rng=rng, rate=rates[1], times=times),
        sink(dut.o_fate, fates, rng=rng, rate=rates[2]), sink(dut.o, out, rng=rng, rate=rates[3])])
    layout_of_headers = header_item_layout(dut.config)
    result = [(unpack(layout_of_headers, header), *side) for header, side in zip(headers, sides, strict=True)]
    return result, [unpack(FATE, fate) for fate in fates], packets(layout, out, width), taken, times


@pytest.mark.every_width
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rates", [(1.0, 1.0, 1.0, 1.0), (0.7, 0.1, 0.1, 0.9), (1.0, 0.9, 0.9, 0.15)])
def test_nothing_is_lost(width, rates):
    rng = random.Random(width)
    frames = []
    for _ in range(50):
        size = rng.choice([rng.randint(14, 80), rng.randint(14, 400), 60, 64])
        octets = rng.randbytes(12) + rng.choice([b"\x08\x00", b"\x86\xdd", b"\x81\x00", b"\0\0"]) + rng.randbytes(400)
        frames.append((octets[:size], rng.randrange(8), rng.randrange(4)))
    headers, fates, bodies, *_ = run(width, frames, rates=rates, seed=width)
    assert [body for body, _ in bodies] == [frame for frame, *_ in frames]
    assert fates == [{"good": 1, "length": len(frame)} for frame, *_ in frames]
    for (header, *side), (frame, router, port) in zip(headers, frames, strict=True):
        assert side == [router, port]
        check_header(header, frame, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_header_comes_while_the_frame_comes_in(width):
    frame = bytes(12) + b"\x08\x00" + bytes(1000)
    *_, taken, times = run(width, [(frame, 1, 1)])
    assert times == [taken[beats_of(38, width) - 1] + 1]
    assert taken == list(range(1, beats_of(len(frame), width) + 1))


def test_jumbo_frames_fit():
    config = CoreConfig(max_frame=9018)
    dut = HeaderTap(config)
    beats = [beat for k in range(3) for beat in packet_beats(packet_layout(64), bytes([k]) * 9014, 64)]
    out = []
    simulate(dut, [source(dut.i, beats), until(lambda: len(out) == len(beats))],
             [sink(dut.o, out), sink(dut.o_header, []), sink(dut.o_fate, [])])
    assert out == beats


@pytest.mark.parametrize("width", WIDTHS)
def test_elaborates(width):
    assert rtlil.convert(HeaderTap(CoreConfig(data_width=width)))
