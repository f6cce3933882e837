"""Authentic frames and all that are not: what reaches the core, and what is counted."""

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polyrouter.hdl.hostlink.layouts import AUTH_LEAST_BYTES, LinkEvent, auth_longest
from polyrouter.hdl.hostlink.receiver import GREETING, LinkReceiver
from polyrouter.hdl.layouts import unpack
from polyrouter.sim.auth_frames import DATA, HELLO, TO_HOST, WELCOME, AuthFrame

from tests.effort import examples

from ..bench import simulate, sink, source, until
from .link_bench import CONFIG, HOST_MAC, KEY, KEY_BITS, NONCE, WithHash, beats_of, frames_of

LONGEST = auth_longest(CONFIG)
ACCEPTED, GREETED, FORGED = LinkEvent.ACCEPTED, LinkEvent.GREETED, LinkEvent.FORGED
REPLAYED, FOREIGN, OVERFLOW = LinkEvent.REPLAYED, LinkEvent.FOREIGN, LinkEvent.OVERFLOW


def data(sequence, body, **fields):
    return AuthFrame(DATA, sequence, body, **fields).to_bytes(KEY, NONCE)


def hello(challenge, **fields):
    return AuthFrame(HELLO, challenge, bytes(32), **fields).to_bytes(KEY, NONCE)


class Run:
    """Sends frames, each once the one before was counted unless ``rush``, and collects what comes of them."""

    def __init__(self, frames, *, rates=(1.0, 1.0), rush=False, errors=None, rubbish=0, greet_rate=1.0, nonce=NONCE,
                 held=0, seed=0):
        self.dut = WithHash(LinkReceiver(CONFIG))
        self.rng = random.Random(seed)
        self.frames, self.errors, self.rubbish, self.rush = frames, errors or {}, rubbish, rush
        self.events, self.out, greetings = [], [], []
        self.nonce, self.rate, self.held = nonce, rates[0], held
        out_sink = sink(self.dut.o, self.out, rng=self.rng, rate=rates[1])

        async def receive(ctx):
            await ctx.tick().repeat(1 + self.held)
            await out_sink(ctx)

        async def quiet(ctx):
            idle, seen = 0, 0
            while idle < 5_000:
                await ctx.tick().repeat(100)
                now = len(self.out) + len(self.events)
                idle, seen = (0, now) if now != seen else (idle + 100, seen)
                if len(self.events) >= len(self.frames) and idle >= 1_000:
                    break

        simulate(self.dut, [self.main, quiet], [
            self.watch, receive, sink(self.dut.greeting, greetings, rng=self.rng, rate=greet_rate)], limit=1_000_000)
        self.greetings = [unpack(GREETING, bits) for bits in greetings]
        self.delivered = frames_of(self.out)
        self.counts = Counter(self.events)

    async def main(self, ctx):
        ctx.set(self.dut.key, KEY_BITS)
        ctx.set(self.dut.nonce, self.nonce)
        for k, frame in enumerate(self.frames):
            beats = beats_of(frame, self.errors.get(k, 0), self.rubbish)
            await source(self.dut.i, beats, rng=self.rng, rate=self.rate)(ctx)
            while not self.rush and len(self.events) == k:
                await ctx.tick()

    async def watch(self, ctx):
        async for _, _, events, ready in ctx.tick().sample(self.dut.events, self.dut.i.ready):
            assert ready, "the port must never wait"
            self.events += [event for event in LinkEvent if events >> event & 1]


def test_every_length_around_the_limits_and_beats():
    rng = random.Random(1)
    lengths = [*range(AUTH_LEAST_BYTES - 3, AUTH_LEAST_BYTES + 20), *range(LONGEST - 9, LONGEST + 10), 2000]
    bodies = [rng.randbytes(length - 32) for length in lengths]
    run = Run([data(k + 1, body) for k, body in enumerate(bodies)], rubbish=rng.getrandbits(64))
    good = [AUTH_LEAST_BYTES <= length <= LONGEST for length in lengths]
    assert run.events == [ACCEPTED if fine else FOREIGN for fine in good]
    assert run.delivered == [body for body, fine in zip(bodies, good, strict=True) if fine]


@pytest.mark.parametrize("rates", [(1, 1), (0.2, 1), (1, 0.2), (0.5, 0.6)])
def test_random_traffic(rates):
    """Good frames among all kinds of bad ones, with back-pressure: exactly the good ones come out, in order."""
    rng = random.Random(2)
    frames, expected, delivered, errors = [], [], [], {}
    last, recorded, challenges = 0, [], []
    for k in range(80):
        body = rng.randbytes(rng.choice([32, 33, 40, rng.randrange(32, 400)]))
        kind = rng.choice(["good"] * 5 + ["forged", "replayed", "old", "hello", "foreign", "damaged", "cut",
                                          "reflected"])
        if kind in ("replayed", "old") and not recorded:
            kind = "good"
        frame = data(last + rng.choice([1, 1, 7, 1 << 40]), body)
        match kind:
            case "good":
                last = int.from_bytes(frame[16:24], "little")
                recorded.append(frame)
                delivered.append(body)
                expected.append(ACCEPTED)
            case "forged":
                bit = rng.randrange(16 * 8, 8 * len(frame))
                frame = (int.from_bytes(frame, "little") ^ 1 << bit).to_bytes(len(frame), "little")
                expected.append(FORGED)
            case "replayed":
                frame = recorded[-1]
                expected.append(REPLAYED)
            case "old":
                frame = rng.choice([rng.choice(recorded), data(rng.randrange(last + 1), body)])
                expected.append(REPLAYED)
            case "hello":
                challenges.append(rng.getrandbits(64))
                frame = hello(challenges[-1])
                expected.append(GREETED)
            case "foreign":
                frame = rng.choice([data(last + 1, body, version=2), data(last + 1, body, source=b"\1" + bytes(5)),
                                    AuthFrame(rng.choice([0, WELCOME, 4, 255]), last + 1, body).to_bytes(KEY, NONCE)])
                expected.append(FOREIGN)
            case "damaged":
                errors[k] = rng.choice([1, 2, 3])
                expected.append(FOREIGN)
            case "cut":
                frame = frame[:rng.randrange(16, len(frame))]
                expected.append(FOREIGN if len(frame) < AUTH_LEAST_BYTES else FORGED)
            case "reflected":
                frame = AuthFrame(DATA, last + 1, body).to_bytes(KEY, NONCE, TO_HOST)
                expected.append(FORGED)
        frames.append(frame)
    run = Run(frames, rates=rates, errors=errors)
    assert run.events == expected
    assert run.delivered == delivered
    assert [(greeting["challenge"], greeting["destination"]) for greeting in run.greetings] == [
        (challenge, int.from_bytes(HOST_MAC, "little")) for challenge in challenges]


@pytest.mark.parametrize("part", ["header", "body", "end"])
def test_every_single_bit(part):
    """Of the header and of a body: none reaches the core, and the frame itself is still taken afterwards."""
    frame = data(5, bytes(range(45)))
    bits = {"header": range(256), "body": range(256, 256 + 8 * 45, 3), "end": range(8 * 70, 8 * len(frame))}[part]
    flipped = [(int.from_bytes(frame, "little") ^ 1 << bit).to_bytes(len(frame), "little") for bit in bits]
    run = Run([*flipped, frame, frame])
    assert run.delivered == [bytes(range(45))]
    assert run.events[-2:] == [ACCEPTED, REPLAYED]
    foreign = {bit for bit in bits if bit == 48 or 14 * 8 <= bit < 16 * 8}      # group address, version, kind
    foreign -= {15 * 8, 15 * 8 + 1}     # DATA 1 becomes 0 or 3, both foreign
    foreign |= {15 * 8, 15 * 8 + 1} & set(bits)
    assert run.events[:-2] == [FOREIGN if bit in foreign else FORGED for bit in bits]


def test_cut_and_lengthened():
    frame = data(5, bytes(range(100)))
    others = [frame[:k] for k in range(AUTH_LEAST_BYTES, len(frame))] + [frame + bytes(k) for k in range(1, 20)]
    run = Run([*others, frame])
    assert run.events == [FORGED] * len(others) + [ACCEPTED] and run.delivered == [bytes(range(100))]


def test_spliced():
    """The header of one with the body of the other, and the tag of one with the rest of the other."""
    one, two = data(5, bytes(64)), data(6, bytes(range(64)))
    run = Run([one[:32] + two[32:], two[:24] + one[24:32] + two[32:], one[:16] + two[16:24] + one[24:], one, two])
    assert run.events == [FORGED] * 3 + [ACCEPTED] * 2


def test_reordered_repeated_and_skipped():
    frames = {k: data(k, bytes([k]) * 40) for k in range(1, 8)}
    order = [1, 3, 2, 3, 4, 7, 5, 6, 7, 1]
    run = Run([frames[k] for k in order])
    assert run.events == [ACCEPTED, ACCEPTED, REPLAYED, REPLAYED, ACCEPTED, ACCEPTED] + [REPLAYED] * 4
    assert [body[0] for body in run.delivered] == [1, 3, 4, 7]


def test_all_64_bits_of_the_number_count():
    numbers = [1 << 32, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 2, 1 << 63, (1 << 64) - 1, 0, (1 << 64) - 1]
    run = Run([data(number, bytes(40)) for number in numbers])
    assert run.events == [ACCEPTED, REPLAYED, ACCEPTED, ACCEPTED, ACCEPTED, REPLAYED, ACCEPTED, REPLAYED, REPLAYED]


def test_number_zero_is_never_new():
    assert Run([data(0, bytes(40))]).events == [REPLAYED]


def test_another_key_or_nonce():
    frame = AuthFrame(DATA, 1, bytes(40))
    others = [frame.to_bytes(bytes(16), NONCE), frame.to_bytes(KEY[::-1], NONCE), frame.to_bytes(KEY, NONCE + 1),
              frame.to_bytes(KEY, 0), AuthFrame(HELLO, 1, bytes(32)).to_bytes(bytes(16), NONCE)]
    run = Run(others)
    assert run.events == [FORGED] * 5 and not run.delivered and not run.greetings


def test_a_recording_is_worth_nothing_after_a_restart():
    recorded = [data(k, bytes(40)) for k in range(1, 5)]
    assert Run(recorded).events == [ACCEPTED] * 4
    assert Run(recorded, nonce=NONCE ^ 1).events == [FORGED] * 4


def test_a_greeting_tells_the_last_number_and_changes_nothing():
    run = Run([hello(7), data(9, bytes(40)), hello(8), hello(8), data(10, bytes(40))])
    assert run.events == [GREETED, ACCEPTED, GREETED, GREETED, ACCEPTED]
    assert [(greeting["challenge"], greeting["accepted"]) for greeting in run.greetings] == [(7, 0), (8, 9), (8, 9)]


def test_a_flood_of_greetings_that_nobody_answers():
    """Only one waits; data goes on."""
    frames = [hello(k) if k % 2 else data(k + 1, bytes([k]) * 40) for k in range(40)]
    run = Run(frames, greet_rate=0)
    assert run.counts == {ACCEPTED: 20, GREETED: 1, OVERFLOW: 19} and len(run.delivered) == 20


@pytest.mark.parametrize("lengths", [(64, 65), (64, 72, 80, 88, 96)])
def test_each_greeting_counts_when_there_is_no_room_at_all(lengths):
    """One that finds no room in the ring may do so just when another one is judged, and finds no room to wait."""
    frames = [AuthFrame(HELLO, k, bytes(lengths[k % len(lengths)] - 32)).to_bytes(KEY, NONCE) for k in range(120)]
    run = Run(frames, rush=True, greet_rate=0)
    assert run.counts == {GREETED: 1, OVERFLOW: len(frames) - 1}


def test_at_full_rate_nothing_is_lost_that_was_accepted():
    """A beat a cycle is more than can be checked: what does not fit is dropped whole."""
    rng = random.Random(9)
    bodies = [rng.randbytes(rng.randrange(32, 500)) for _ in range(120)]
    run = Run([data(k + 1, body) for k, body in enumerate(bodies)], rush=True, rates=(1, 0.5))
    assert set(run.counts) == {ACCEPTED, OVERFLOW} and run.counts.total() == 120
    assert len(run.delivered) == run.counts[ACCEPTED] > 20
    left = iter(bodies)
    assert all(body in left for body in run.delivered), "not a part of what was sent, in order"


def test_the_core_does_not_take_them():
    """Then the ring fills up; the rest comes out later."""
    bodies = [bytes([k]) * 400 for k in range(20)]
    run = Run([data(k + 1, body) for k, body in enumerate(bodies)], rush=True, held=5_000)
    assert run.counts[OVERFLOW] > 5 and run.counts.total() == 20
    assert run.delivered == bodies[:run.counts[ACCEPTED]]


def test_a_beat_in_four_cycles():
    """Of the longest frames, one beat in four cycles; besides there are 48 cycles a frame at most."""
    dut = WithHash(LinkReceiver(CONFIG))
    body = bytes(LONGEST - 32)
    out, times, frames = [], [], 6

    async def main(ctx):
        ctx.set(dut.key, KEY_BITS)
        ctx.set(dut.nonce, NONCE)
        for k in range(frames):
            for beat in beats_of(data(k + 1, body)):
                await source(dut.i, [beat])(ctx)
                await ctx.tick().repeat(3)

    beats = -(-len(body) // 8)
    simulate(dut, [main, until(lambda: len(out) == frames * beats)], [sink(dut.o, out, times=times)])
    ends = times[beats - 1::beats]
    assert all(after - before <= 4 * (beats + 4) + 48 for before, after in itertools.pairwise(ends))


@settings(max_examples=examples(12), deadline=None)
@given(st.binary(min_size=14, max_size=200), st.integers(0, 3))
def test_anything_else_is_refused(rest, error):
    run = Run([bytes.fromhex("02706f6c790002112233445588b6") + rest, data(1, bytes(32))], errors={0: error})
    assert run.events[0] in (FORGED, FOREIGN) and run.events[1] == ACCEPTED and run.delivered == [bytes(32)]
