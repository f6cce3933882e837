"""Receiver: lengths, errors, gaps, clocks."""

from random import Random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import RxError
from polyrouter.hdl.mac.rx import GmiiReceiver

from .gmii_model import PREAMBLE, Line, StreamFrame, collect, fcs, line_bytes, name, receive_line, simulate

CORES = [CoreConfig(data_width=64, clock_hz=62.5e6), CoreConfig(data_width=32, clock_hz=125e6),
         CoreConfig(data_width=128, clock_hz=200e6)]


def run(config: CoreConfig, line: Line, *, expected: int, max_frame: int | None = None, ppm: float = 0,
        pause=lambda: 0) -> list[StreamFrame]:
    """Frames that come out, until there are ``expected``, and as many cycles more as any further one would need."""
    dut = GmiiReceiver(config, max_frame)
    frames: list[StreamFrame] = []

    async def feed(ctx):
        await receive_line(ctx, dut, line)

    async def wait(ctx):
        for _ in range(8 * len(line.octets) + 1000):
            if len(frames) >= expected:
                break
            await ctx.tick()
        await ctx.tick().repeat(40)

    async def sink(ctx):
        await collect(ctx, dut.o, config, frames, pause)

    simulate(dut, config, feed, wait, background=[sink], ppm={"rx": ppm})
    return frames


@pytest.mark.parametrize("config", CORES, ids=name)
def test_all_short_lengths_and_the_longest_ones(config):
    rng = Random(1)
    frames = [rng.randbytes(length) for length in [*range(60, 60 + 2 * config.beat_bytes + 1), 511, 512, 1513, 1514]]
    line = Line()
    for frame in frames:
        line.burst(line_bytes(frame))
    assert run(config, line, expected=len(frames), ppm=100) == [StreamFrame(frame) for frame in frames]


def test_every_runt_gives_a_frame_in_error():
    line = Line()
    expected = []
    for length in range(64):
        octets = Random(length).randbytes(length)
        line.burst(PREAMBLE + octets)
        expected.append((octets[:-4], RxError.FCS))
        if length >= 4:
            line.burst(PREAMBLE + octets[:-4] + fcs(octets[:-4]))
            expected.append((octets[:-4], RxError.LENGTH))
    line.burst(line_bytes(bytes(60)))
    expected.append((bytes(60), RxError.NONE))
    got = run(CORES[0], line, expected=len(expected))
    assert [frame.error for frame in got] == [error for _, error in expected]
    # A frame has at least one byte, even if nothing was received
    assert all(frame.octets == octets or (not octets and len(frame.octets) == 1)
               for frame, (octets, _) in zip(got, expected, strict=True))


def test_limits_of_length():
    config = CORES[0]
    for max_frame, more in (1518, 500), (1550, 2), (9018, 2):
        line = Line()
        for length in (63, 64, max_frame, max_frame + 1, max_frame + more):
            line.burst(line_bytes(bytes(length - 4)))
        got = run(config, line, max_frame=max_frame, expected=5)
        assert [frame.error for frame in got] == [RxError.LENGTH, 0, 0, RxError.LENGTH, RxError.LENGTH]
        assert [len(frame.octets) for frame in got[1:3]] == [60, max_frame - 4]
        # Cut, but long enough to be seen as too long even without ``error``
        assert all(max_frame - 4 < len(frame.octets) <= max_frame for frame in got[3:])


def test_any_wrong_bit_is_an_fcs_error():
    frame = Random(3).randbytes(64)
    line = Line()
    for bit in (0, 7, 100, 511, 512, 543):
        octets = bytearray(frame + fcs(frame))
        octets[bit // 8] ^= 1 << bit % 8
        line.burst(PREAMBLE + octets)
        line.burst(line_bytes(frame))
    got = run(CORES[0], line, expected=12)
    assert [frame.error for frame in got] == [RxError.FCS, RxError.NONE] * 6


@pytest.mark.parametrize(("position", "error"), [
    (0, RxError.PHY), (7, RxError.PHY), (8, RxError.PHY), (75, RxError.PHY), (76, RxError.NONE), (80, RxError.NONE)])
def test_rx_er_counts_inside_of_a_frame_only(position, error):
    line = Line()
    line.burst(line_bytes(bytes(range(64))), error_at=position)     # the burst is 76 bytes long
    line.burst(line_bytes(bytes(60)))
    got = run(CORES[0], line, expected=2)
    assert got == [StreamFrame(bytes(range(64)), error), StreamFrame(bytes(60))]


def test_precedence_of_errors():
    line = Line()
    line.burst(PREAMBLE + bytes(20), error_at=12)
    line.burst(PREAMBLE + bytes(20))
    line.burst(line_bytes(bytes(20)), error_at=12)
    line.burst(line_bytes(bytes(20)))
    got = run(CORES[0], line, expected=4)
    assert [frame.error for frame in got] == [RxError.PHY, RxError.FCS, RxError.PHY, RxError.LENGTH]


def test_bursts_without_delimiter_are_ignored_and_preambles_may_be_short():
    good = Random(5).randbytes(60)
    line = Line()
    line.burst(b"\x55" * 40)
    line.burst(b"\x55" * 20, error_at=5)
    for preamble in (b"\xd5", b"\x55\xd5", b"\x54\x55\xd5", b"\x55" * 30 + b"\xd5"):
        line.burst(preamble + good + fcs(good))
    assert run(CORES[0], line, expected=4) == [StreamFrame(good)] * 4


@pytest.mark.parametrize("gap", [1, 2, 5, 12])
def test_gaps(gap):
    rng = Random(gap)
    frames = [rng.randbytes(rng.randint(60, 90)) for _ in range(30)]
    line = Line()
    for frame in frames:
        line.burst(b"\xd5" + frame + fcs(frame) if gap == 1 else line_bytes(frame), gap)
    assert run(CORES[0], line, expected=len(frames), ppm=100) == [StreamFrame(frame) for frame in frames]


@pytest.mark.parametrize("config", CORES, ids=name)
@pytest.mark.parametrize("ppm", [-100, 100])
def test_full_rate_into_a_reader_with_pauses(config, ppm):
    rng = Random(7)
    frames = [rng.randbytes(rng.choice((60, 61, 67, 68, 1514))) for _ in range(12)]
    line = Line()
    for frame in frames:
        line.burst(line_bytes(frame))
    # On average 1 pause cycle in 4 beats, bursts of up to 8
    got = run(config, line, expected=len(frames), ppm=ppm,
              pause=lambda: rng.randint(1, 4 * int(config.clock_hz / 62.5e6)) if rng.random() < 0.05 else 0)
    assert got == [StreamFrame(frame) for frame in frames]


@pytest.mark.parametrize("seed", range(2))
def test_overflow_marks_frames_and_keeps_their_ends(seed):
    config = CORES[0]
    rng = Random(seed)
    frames = [rng.randbytes(rng.choice((60, 100, 500))) for _ in range(40)]
    line = Line()
    for frame in frames:
        line.burst(line_bytes(frame))
    stalls = [rng.randint(200, 6000) if rng.random() < 0.03 else 0 for _ in range(100000)]
    got = run(config, line, expected=len(frames), pause=iter(stalls).__next__)
    assert len(got) == len(frames)
    assert RxError.PHY in {frame.error for frame in got}
    # Rubbish of frames that could not start may come after a good one, but good ones stay whole and in order
    good = [frame.octets for frame in got if frame.error == RxError.NONE]
    assert all(frame.error in (RxError.NONE, RxError.PHY) for frame in got)
    remaining = iter(frames)
    assert all(octets in remaining for octets in good)
