"""Transmitter: framing, padding, gaps, clocks, underflow."""

from random import Random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.mac.tx import GmiiTransmitter, start_level

from .gmii_model import LineFrame, line_bytes, name, send, simulate

CORES = [CoreConfig(data_width=64, clock_hz=62.5e6), CoreConfig(data_width=32, clock_hz=125e6),
         CoreConfig(data_width=128, clock_hz=200e6)]


def padded(frame: bytes) -> bytes:
    return line_bytes(frame.ljust(60, b"\0"))


def run(config: CoreConfig, frames: list[bytes], *, expected: int, max_frame: int | None = None, ppm: float = 0,
        pause=lambda: 0, between=lambda: 0) -> tuple[list[LineFrame], int]:
    """Bursts on the line, and the number of underflows."""
    dut = GmiiTransmitter(config, max_frame)
    bursts: list[LineFrame] = []
    underflows = 0

    async def feed(ctx):
        for frame in frames:
            await ctx.tick().repeat(1 + between())
            await send(ctx, dut.i, config, frame, pause)

    async def line(ctx):
        octets, error, gap = b"", False, 0
        idle = 0
        while idle < 40 or len(bursts) < expected:
            assert idle < 5000, "nothing was sent for 5000 byte times"
            _, _, enable, octet, er = await ctx.tick("tx").sample(dut.tx_en, dut.txd, dut.tx_er)
            if enable:
                octets += bytes((octet,))
                error |= bool(er)
                idle = 0
                continue
            assert not er
            if octets:
                bursts.append(LineFrame(octets, gap, error))
                octets, error, gap = b"", False, 0
            gap += 1
            idle += 1

    async def watch(ctx):
        nonlocal underflows
        async for _, _, underflow in ctx.tick().sample(dut.underflow):
            underflows += underflow

    simulate(dut, config, feed, line, background=[watch], ppm={"tx": ppm})
    return bursts, underflows


@pytest.mark.parametrize("config", CORES, ids=name)
def test_lengths_with_the_least_gap(config):
    rng = Random(1)
    frames = [rng.randbytes(length) for length in [*range(1, 70 + config.beat_bytes), 511, 512, 1513, 1514]]
    got, underflows = run(config, frames, expected=len(frames), ppm=100)
    assert [burst.octets for burst in got] == [padded(frame) for frame in frames]
    assert {burst.gap for burst in got[1:]} == {12}
    assert not underflows and not any(burst.error for burst in got)


@pytest.mark.parametrize(("config", "max_frame", "ppm"), [
    (CORES[0], 1518, 100), (CORES[0], 9018, 100), (CORES[0], 1518, -100), (CORES[1], 1518, 100), (CORES[2], 1550, 100),
    (CoreConfig(ports=1, data_width=32, clock_hz=31.25e6), 1518, 100),
    (CoreConfig(ports=8, data_width=128, clock_hz=62.5e6), 1550, 100),
], ids=name)
def test_a_beat_every_so_often_is_enough(config, max_frame, ppm):
    """The core's least rate, longest frames, with the waits where they hurt the most."""
    assert config.data_width * config.clock_hz >= config.ports * 1e9
    frames = [Random(length).randbytes(length) for length in (60, max_frame - 4)]
    got, underflows = run(config, frames, expected=len(frames), max_frame=max_frame, ppm=ppm,
                          pause=lambda: config.ports)
    assert [burst.octets for burst in got] == [padded(frame) for frame in frames]
    assert not underflows


def test_start_level_is_small_where_the_core_is_faster_than_the_line():
    assert start_level(CoreConfig(ports=4, data_width=128, clock_hz=125e6), 9018) == 3
    # 190 beats of 64 ns, of which the core delivers one in 80 ns
    assert start_level(CORES[0], 1518) == 38 + 3


@pytest.mark.parametrize("seed", range(2))
def test_random_traffic(seed):
    rng = Random(seed)
    frames = [rng.randbytes(rng.choice((14, 60, 64, 65, rng.randint(60, 1514)))) for _ in range(25)]
    got, underflows = run(CORES[0], frames, expected=len(frames), pause=lambda: rng.randint(0, 3),
                          between=lambda: rng.choice((0, 0, 30, 300)))
    assert [burst.octets for burst in got] == [padded(frame) for frame in frames]
    assert min(burst.gap for burst in got[1:]) == 12
    assert not underflows


@pytest.mark.parametrize("position", [45, 188])
def test_a_late_beat_aborts_the_frame_and_only_this_one(position):
    config = CORES[0]
    rng = Random(9)
    frames = [rng.randbytes(length) for length in (100, 1514, 60, 200)]
    beats = 0

    def pause() -> int:
        nonlocal beats
        beats += 1
        return 2000 if beats == 13 + position else 0

    got, underflows = run(config, frames, expected=len(frames), pause=pause)
    assert [burst.octets for burst in got[:1] + got[2:]] == [padded(frame) for frame in frames[:1] + frames[2:]]
    assert [burst.error for burst in got] == [False, True, False, False]
    assert underflows == 1
    aborted = got[1].octets[:-1]
    assert padded(frames[1]).startswith(aborted) and len(aborted) < 1500 + 8
    assert all(burst.gap >= 12 for burst in got[1:])
