"""Host frames and answers to greetings on their way to the host, checked by a model of the envelope."""

import itertools
import random

import pytest
from polyrouter.hdl.hostlink.layouts import AUTH_WELCOME, DEFAULT_MAC, auth_longest
from polyrouter.hdl.hostlink.receiver import GREETING
from polyrouter.hdl.hostlink.transmitter import LinkTransmitter
from polyrouter.hdl.layouts import pack, unpack
from polyrouter.sim.auth_frames import BOARD_MAC, DATA, WELCOME, AuthFrame

from ..bench import simulate, sink, source, until
from .link_bench import CONFIG, HOST_MAC, KEY, KEY_BITS, NONCE, WithHash, beats_of, frames_of

LONGEST = auth_longest(CONFIG) - 32


def run(frames, greetings=(), rates=(1.0, 1.0, 1.0), times=None, rubbish=0):
    dut = WithHash(LinkTransmitter(CONFIG))
    rng = random.Random(len(frames))
    out, ends = [], []
    given = times if times is not None else []

    async def main(ctx):
        ctx.set(dut.key, KEY_BITS)
        ctx.set(dut.nonce, NONCE)
        ctx.set(dut.mac, DEFAULT_MAC)
        for frame in frames:
            await source(dut.i, beats_of(frame, rubbish=rubbish), rng=rng, rate=rates[0])(ctx)

    async def count(ctx):
        async for _, _, valid, ready, payload in ctx.tick().sample(dut.o.valid, dut.o.ready, dut.o.payload):
            if valid and ready and payload.last:
                ends.append(True)

    items = [pack(GREETING, greeting) for greeting in greetings]
    simulate(dut, [main, source(dut.greeting, items, rng=rng, rate=rates[2]),
                   until(lambda: len(ends) == len(frames) + len(items), limit=200_000)],
             [sink(dut.o, out, rng=rng, rate=rates[1], times=given), count], limit=300_000)
    result = [AuthFrame.from_bytes(KEY, NONCE, frame) for frame in frames_of(out)]
    assert [frame.sequence for frame in result] == list(range(1, len(result) + 1))
    assert all(frame.source == BOARD_MAC and frame.version == 1 for frame in result)
    return result


@pytest.mark.parametrize("rates", [
    (1, 1, 1), (0.6, 0.7, 0.01), pytest.param((0.2, 1, 0.1), marks=pytest.mark.slow),
    pytest.param((1, 0.15, 0.5), marks=pytest.mark.slow)])
def test_random_frames_and_greetings(rates):
    rng = random.Random(4)
    frames = [rng.randbytes(rng.choice([32, 33, 39, 40, rng.randrange(32, 300), LONGEST])) for _ in range(30)]
    greetings = [{"destination": rng.getrandbits(48), "challenge": rng.getrandbits(64), "accepted": rng.getrandbits(64)}
                 for _ in range(20)]
    result = run(frames, greetings, rates, rubbish=rng.getrandbits(64))
    sent = [frame for frame in result if frame.kind == DATA]
    assert [frame.body for frame in sent] == frames
    assert [frame.destination for frame in sent] == [frame[:6] for frame in frames]
    welcomes = [frame for frame in result if frame.kind == WELCOME]
    assert [int.from_bytes(frame.destination, "little") for frame in welcomes] == [
        greeting["destination"] for greeting in greetings]
    assert [unpack(AUTH_WELCOME, int.from_bytes(frame.body, "little")) for frame in welcomes] == [
        {"challenge": greeting["challenge"], "nonce": NONCE, "accepted": greeting["accepted"], "reserved": 0}
        for greeting in greetings]


def test_each_length():
    frames = [HOST_MAC + bytes(range(length - 6)) for length in range(32, 60)]
    assert [frame.body for frame in run(frames)] == frames


def test_in_turn():
    """A flood of greetings takes every second place, no more."""
    frames = [bytes([k]) * 32 for k in range(10)]
    greeting = {"destination": 2, "challenge": 3, "accepted": 4}
    kinds = [frame.kind for frame in run(frames, [greeting] * 30)]
    assert kinds[:20] == [DATA, WELCOME] * 10 or kinds[:20] == [WELCOME, DATA] * 10


def test_a_beat_in_four_cycles_and_no_gaps_inside():
    times = []
    run([bytes(LONGEST)] * 5, times=times)
    beats = -(-LONGEST // 8) + 4
    for k in range(5):
        frame = times[k * beats:(k + 1) * beats]
        assert all(after - before == 2 for before, after in itertools.pairwise(frame))
    ends = times[beats - 1::beats]
    assert all(after - before <= 4 * beats + 48 for before, after in itertools.pairwise(ends))
