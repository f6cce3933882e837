"""Frame buffer: what a port sends next, and how fast: classes, deficit round robin, shapers."""

import random
from collections import Counter

import pytest
from polyrouter.hdl.layouts import SHAPER_ROW, unpack
from polyrouter.hdl.mac.gmii import FCS_BYTES, LINE_OVERHEAD
from polyrouter.hdl.queues import least_quantum
from polyrouter.hdl.shapers import shaper_cycles

from .bench import access
from .buffer_bench import Bench, Frame

#: Frames of a test of shapers.
FRAMES = 24


def test_control_goes_before_normal_and_each_keeps_its_order():
    bench = Bench(data_width=64, queue_frames=16, buffer_bytes=8192)
    bench.ready = [lambda: 0] * 3
    frames = [Frame(bytes([n]) * 60, copies=1, traffic_class=n % 2, router=n // 2 % 2) for n in range(14)]

    async def traffic(ctx):
        for frame in frames:
            await bench.send(ctx, frame)
        bench.ready = [lambda: 1] * 3
        await bench.drained(ctx)

    bench.run(traffic)
    order = [data[0] for data, _ in bench.out[0]]
    assert order[:2] == [0, 1]          # in the output, and on their way to it
    assert [n % 2 for n in order[2:]] == [1] * 6 + [0] * 6
    for router in range(2):
        for class_ in range(2):
            mine = [n for n in order if n % 2 == class_ and n // 2 % 2 == router]
            assert mine == sorted(mine)


@pytest.mark.parametrize(("quanta", "sizes"), [
    pytest.param((1518, 1518, 1518), (60, 700, 1514), marks=pytest.mark.slow),
    ((2000, 4000, 8000), (1514, 1514, 1514)),
    pytest.param((0, 3036, 1518), (64, 1000, 200), marks=pytest.mark.slow),
])
def test_deficit_round_robin_shares_bytes_by_quantum(quanta, sizes):
    bench = Bench(data_width=256, cell_bytes=512, queue_frames=256, buffer_bytes=1 << 18, routers=3)
    bench.ready = [lambda: 0] * 3
    rng = random.Random(8)
    quanta_used = [max(q, least_quantum(bench.config)) for q in quanta]
    most = [40000 * q // max(quanta_used) for q in quanta_used]

    async def traffic(ctx):
        for router in range(3):
            await bench.shape(ctx, router, 0, quantum=quanta[router])
            assert unpack(SHAPER_ROW, await access(ctx, bench.dut.shaper, router * 3))["quantum"] == quanta[router]
        frames = [[Frame(rng.randbytes(size), copies=1, router=r) for _ in range(min(250, most[r] // size + 1))]
                  for r, size in enumerate(sizes)]
        for k in range(max(map(len, frames))):
            for queue in frames:
                if k < len(queue):
                    await bench.send(ctx, queue[k])
        bench.ready[0] = lambda: 1
        await bench.drained(ctx)

    bench.run(traffic)
    totals = Counter()
    done = Counter()
    for _, side in bench.out[0]:
        totals[side[0]] += 1
    sent_bytes = Counter()
    # As long as all have something to send, what they take of the line follows the quanta within a turn, in the first
    # of which only one frame is sent, and a frame.
    for data, side in bench.out[0]:
        sent_bytes[side[0]] += len(data) + LINE_OVERHEAD
        done[side[0]] += 1
        if any(done[r] == totals[r] for r in range(3)):
            break
        for a in range(3):
            for b in range(3):
                rounds = (sent_bytes[a] / quanta_used[a]) - (sent_bytes[b] / quanta_used[b])
                assert rounds <= 2 + least_quantum(bench.config) / quanta_used[a] + 0.1, (sent_bytes, quanta_used)
    assert min(done[r] for r in range(3)) >= 3


@pytest.mark.parametrize(("rate", "burst", "size"), [
    (20 << 16, 1518, 60), pytest.param(300 << 16, 1518, 1514, marks=pytest.mark.slow), (300 << 16, 3000, 300),
    (50 << 16, 50, 60)])
def test_shaper_keeps_its_rate(rate, burst, size):
    bench = Bench(data_width=64, queue_frames=64, buffer_bytes=1 << 16, routers=2)
    rng = random.Random(9)
    config = bench.config
    period = shaper_cycles(config)
    assert period == 16 * 2 * 3

    async def traffic(ctx):
        await bench.shape(ctx, 1, 0, limit=1, rate=rate, burst=burst)
        # A bucket that is full already gains nothing.
        await ctx.tick().repeat(20 * period)
        for k in range(FRAMES):
            await bench.send(ctx, Frame(rng.randbytes(size), copies=1, router=1, traffic_class=k % 2))
            if k % 4 == 0:
                await bench.send(ctx, Frame(rng.randbytes(size), copies=1, router=0))
                await bench.send(ctx, Frame(rng.randbytes(size), copies=2, router=1))
        await bench.drained(ctx, limit=200_000)

    bench.run(traffic)
    assert len(bench.out[0]) == FRAMES * 5 // 4 and len(bench.out[1]) == FRAMES // 4
    beats = -(-size // 8)
    ends, done = [], 0
    for _, side in bench.out[0]:
        done += beats
        if side[0] == 1:
            ends.append(bench.beats[0][done - 1])
    bytes_ = (len(ends) - 1) * (size + FCS_BYTES)
    expected = (bytes_ - burst) / (rate / 2 ** 16) * period
    wire = FRAMES * beats           # it cannot be faster than the port
    slack = (size + FCS_BYTES) / (rate / 2 ** 16) * period + 2 * period
    assert max(expected, wire) - slack <= ends[-1] - ends[0] <= max(expected, wire) + slack
    # Never more than the burst and a frame in any stretch.
    for a in range(len(ends)):
        for b in range(a + 1, len(ends)):
            allowed = burst + 2 * (size + FCS_BYTES) + (ends[b] - ends[a] + 2 * period) / period * rate / 2 ** 16
            assert (b - a) * (size + FCS_BYTES) <= allowed


def test_taking_the_shaper_away_lets_waiting_frames_go():
    bench = Bench(data_width=64, routers=2)

    async def traffic(ctx):
        await bench.shape(ctx, 1, 0, limit=1)
        for n in range(5):
            await bench.send(ctx, Frame(bytes([n]) * 60, copies=1, router=1))
        await ctx.tick().repeat(1000)
        assert len(bench.out[0]) == 1
        await bench.shape(ctx, 1, 0)
        await bench.drained(ctx)

    bench.run(traffic)
    assert [data[0] for data, _ in bench.out[0]] == [0, 1, 2, 3, 4]
