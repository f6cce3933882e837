"""Beats of another width: every frame comes through with its length and its error, at any pace of both sides."""

import random

import pytest
from amaranth.hdl import ClockDomain, Module
from hypothesis import given, settings
from hypothesis import strategies as st
from polyrouter.hdl.framewidth import FrameWidth
from polyrouter.hdl.layouts import RxError, unpack
from polyrouter.hdl.stream import frame_layout

from .bench import WIDTHS, frame_beats, simulate, sink, source, until

PAIRS = [(i_width, o_width) for i_width in WIDTHS for o_width in WIDTHS]


def run(pair, frames, rates=(1.0, 1.0), seed=0, times=None):
    """Beats that come out, as dictionaries, for frames with their errors; unused lanes are filled with rubbish."""
    i_width, o_width = pair
    rng = random.Random(seed)
    beats = []
    for frame, error in frames:
        beats += frame_beats(frame_layout(i_width), frame, i_width, error)
        used = (len(frame) - 1) % (i_width // 8) + 1
        beats[-1] |= rng.getrandbits(i_width) >> 8 * used << 8 * used
    m = Module()
    m.domains.sync = ClockDomain()      # without logic there would be no clock to count by
    m.submodules.dut = dut = FrameWidth(i_width, o_width)
    count = sum(-(-len(frame) // (o_width // 8)) for frame, _ in frames)
    out = []
    simulate(m, [source(dut.i, beats, rng=rng, rate=rates[0], times=times), until(lambda: len(out) >= count, 100_000)],
             [sink(dut.o, out, rng=rng, rate=rates[1])])
    assert len(out) == count
    return [unpack(frame_layout(o_width), beat) for beat in out]


def frames_of(beats, width):
    """Frames and their errors; what is not in a last beat must be zero."""
    frames, current = [], b""
    for beat in beats:
        current += beat["data"].to_bytes(width // 8, "little")[:width // 8 - beat["empty"]]
        if beat["last"]:
            frames.append((current, beat["error"]))
            current = b""
        else:
            assert not beat["empty"] and not beat["error"]
    assert not current, "frame without a last beat"
    return frames


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_each_length(pair):
    frames = [(bytes(range(1, length + 1)), length % len(RxError)) for length in range(1, 2 * max(pair) // 8 + 10)]
    assert frames_of(run(pair, frames, rates=(0.7, 0.7)), pair[1]) == frames


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(PAIRS), st.integers(0, 2**32), st.tuples(*[st.floats(0.05, 1.0)] * 2))
def test_random_frames_at_any_pace(pair, seed, rates):
    rng = random.Random(seed)
    frames = [(rng.randbytes(rng.choice([1, rng.randint(1, 20), rng.randint(1, 150)])), rng.choice(list(RxError)))
              for _ in range(12)]
    assert frames_of(run(pair, frames, rates, seed), pair[1]) == frames


@pytest.mark.parametrize("pair", [(32, 64), (64, 32), (64, 128), (128, 64)], ids=str)
def test_a_frame_takes_as_long_as_its_narrow_beats(pair):
    """So a port's frames go on as fast as they come, whatever their length."""
    rng = random.Random(1)
    frames = [(rng.randbytes(rng.randint(1, 90)), 0) for _ in range(30)]
    times = []
    run(pair, frames, times=times)
    narrow = min(pair) // 8
    assert times[-1] - times[0] <= sum(-(-len(frame) // narrow) for frame, _ in frames)
