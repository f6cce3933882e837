"""Host frames over a UART: both sides of the framing against each other, with bytes lost and flipped."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from amaranth.hdl import Module
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.hostlink.layouts import END, ESC, SlipEvent
from polyrouter.hdl.hostlink.serial import UartLink
from polyrouter.hdl.hostlink.slip import SlipReceiver, SlipTransmitter
from polyrouter.host.board.slip import SlipDecoder, encode_slip

from ..bench import WIDTHS, simulate, sink, source, until
from .link_bench import CONFIG, WIDTH, beats_of, frames_of

LONGEST = CONFIG.max_frame - 4 + 32


def random_frame(rng, least=1, most=200):
    length = rng.choice([least, 7, 8, 9, 15, 16, 17, rng.randint(least, most)])
    return bytes(rng.choice([END, ESC, 0xDC, 0xDD, rng.randrange(256)]) for _ in range(length))


def receive(line, *, rate=1.0, held=0, broken=(), seed=0, width=WIDTH):
    """Frames and events that bytes on a line make; ``broken`` are positions of bytes without a stop bit."""
    dut = SlipReceiver(replace(CONFIG, data_width=width))
    out, events = [], []
    out_sink = sink(dut.o, out, rng=random.Random(seed), rate=rate)

    async def main(ctx):
        for k, byte in enumerate(line):
            ctx.set(dut.data, byte)
            ctx.set(dut.strobe, 1)
            ctx.set(dut.broken, k in broken)
            await ctx.tick()
            ctx.set(dut.strobe, 0)
            await ctx.tick().repeat(2)
        await ctx.tick().repeat(held + 6_000)

    async def take(ctx):
        await ctx.tick().repeat(held + 1)
        await out_sink(ctx)

    async def watch(ctx):
        async for _, _, bits in ctx.tick().sample(dut.events):
            events.extend(event for event in SlipEvent if bits >> event & 1)

    simulate(dut, [main], [take, watch], limit=1_000_000)
    return frames_of(out, width=width), events


def send(frames, rates=(1.0, 1.0), rubbish=0, width=WIDTH):
    """Bytes on the line of frames."""
    dut = SlipTransmitter(replace(CONFIG, data_width=width))
    rng, line = random.Random(len(frames)), []
    count = sum(len(encode_slip(frame)) for frame in frames)
    beats = [beat for frame in frames for beat in beats_of(frame, rubbish=rubbish, width=width)]
    simulate(dut, [source(dut.i, beats, rng=rng, rate=rates[0]), until(lambda: len(line) >= count, limit=100_000)],
             [sink(dut.o, line, rng=rng, rate=rates[1])])
    return bytes(line)


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("rates", [(1, 1), (0.3, 1), (1, 0.2)])
def test_what_is_sent_is_what_the_host_sends(rates, width):
    rng = random.Random(1)
    frames = [random_frame(rng) for _ in range(40)]
    assert send(frames, rates, rng.getrandbits(256), width) == b"".join(map(encode_slip, frames))


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("rate", [1, 0.1])
def test_what_is_received(rate, width):
    rng = random.Random(2)
    frames = [random_frame(rng) for _ in range(60)] + [bytes([END]) * LONGEST, rng.randbytes(LONGEST)]
    got, events = receive(b"".join(map(encode_slip, frames)), rate=rate, width=width)
    assert got == frames and events == [SlipEvent.ACCEPTED] * len(frames)


@pytest.mark.parametrize("width", WIDTHS)
def test_each_length(width):
    frames = [bytes(range(length)) for length in range(1, width // 4 + 10)]
    assert receive(b"".join(map(encode_slip, frames)), width=width) == (frames, [SlipEvent.ACCEPTED] * len(frames))
    assert send(frames, width=width) == b"".join(map(encode_slip, frames))


@pytest.mark.parametrize("seed", range(4))
def test_noise_costs_the_frames_that_it_hits(seed):
    """Bytes lost, flipped and put in: what is not hit arrives; each frame that is hit is counted."""
    rng = random.Random(seed)
    frames = [random_frame(rng, 20) for _ in range(60)]
    line, intact, hit = bytearray(), [], 0
    for frame in frames:
        coded = bytearray(encode_slip(frame))
        if rng.random() < 0.4:
            position = rng.randrange(1, len(coded) - 1)     # an END between two frames may be lost: below
            match rng.randrange(3):
                case 0:
                    del coded[position]
                case 1:
                    coded[position] ^= 1 << rng.randrange(8)
                case 2:
                    coded.insert(position, rng.choice([x for x in range(256) if x != coded[position]]))
            hit += 1
        else:
            intact.append(frame)
        line += coded
    got, events = receive(bytes(line))
    assert got == intact
    # An END that was put in or arose makes two bad frames of one.
    counts = Counter(events)
    assert counts[SlipEvent.ACCEPTED] == len(intact) and hit <= counts[SlipEvent.DAMAGED] <= 2 * hit
    assert set(counts) <= {SlipEvent.ACCEPTED, SlipEvent.DAMAGED}
    decoder = SlipDecoder(LONGEST)
    assert decoder.feed(bytes(line)) == intact and decoder.damaged == counts[SlipEvent.DAMAGED]


def test_a_lost_end_costs_nothing():
    frames = [bytes([k]) * 20 for k in range(4)]
    coded = [encode_slip(frame) for frame in frames]
    line = coded[0][:-1] + coded[1] + coded[2] + coded[3][1:]
    assert receive(line) == (frames, [SlipEvent.ACCEPTED] * 4)


def test_bytes_without_a_stop_bit():
    frame = bytes(range(40))
    line = encode_slip(frame) * 3
    for position in (len(line) // 3 + 5, len(line) // 3 * 2 - 1):
        got, events = receive(line, broken={position})
        assert got == [frame] * 2 and Counter(events) == {SlipEvent.ACCEPTED: 2, SlipEvent.DAMAGED: 1}


def test_escape_before_the_end_and_before_rubbish():
    frame = bytes(range(40))
    coded = encode_slip(frame)
    bad = [bytes([END, ESC, END]), coded[:9] + bytes([ESC, 0x11]) + coded[9:], coded[:-1] + bytes([ESC, END]),
           bytes([END, 1, 2, 3, 4, END]), bytes([END, 0, 0, 0, 0, END])]
    got, events = receive(b"".join(line + coded for line in bad))
    assert got == [frame] * len(bad) and events == [SlipEvent.DAMAGED, SlipEvent.ACCEPTED] * len(bad)


def test_too_long():
    frames = [bytes(LONGEST + more) for more in (0, 1, 2, 9, 3000, 0)]
    got, events = receive(b"".join(map(encode_slip, frames)))
    assert got == [frames[0], frames[-1]]
    assert events == [SlipEvent.ACCEPTED] + [SlipEvent.LENGTH] * 4 + [SlipEvent.ACCEPTED]


@pytest.mark.parametrize("width", [32, 64])
def test_no_room(width):
    """Whole frames are dropped and counted until the core takes some."""
    frames = [bytes([k]) * 900 for k in range(8)]
    got, events = receive(b"".join(map(encode_slip, frames)), held=8 * 910 * 3, width=width)
    counts = Counter(events)
    assert counts[SlipEvent.OVERFLOW] > 2 and counts.total() == 8
    assert got == frames[:counts[SlipEvent.ACCEPTED]]


@pytest.mark.parametrize("clock_hz,width", [pytest.param(50e6, 64, marks=pytest.mark.slow), (62.5e6, 64), (40e6, 32)])
def test_two_links_end_to_end(clock_hz, width):
    """txd of one is rxd of the other; host_tx of it comes out at host_rx."""
    config = CoreConfig(ports=2, data_width=width, clock_hz=clock_hz)
    m = Module()
    m.submodules.a = a = UartLink(config)
    m.submodules.b = b = UartLink(config)
    m.d.comb += b.rxd.eq(a.txd)
    rng = random.Random(6)
    frames = [random_frame(rng, 20, 60) for _ in range(6)]
    out, ends, counted = [], [], []

    async def watch(ctx):
        async for _, _, valid, ready, payload in ctx.tick().sample(b.host_rx.valid, b.host_rx.ready,
                                                                   b.host_rx.payload):
            if valid and ready and payload.last:
                ends.append(True)

    async def count(ctx):
        while len(ends) < len(frames):
            await ctx.tick()
        await ctx.tick().repeat(3)
        counted.append(ctx.get(b.count))

    beats = [beat for frame in frames for beat in beats_of(frame, width=width)]
    simulate(m, [source(a.host_tx, beats), count], [sink(b.host_rx, out, rng=rng, rate=0.4), watch], limit=300_000)
    assert frames_of(out, width=width) == frames and counted == [len(frames)]
