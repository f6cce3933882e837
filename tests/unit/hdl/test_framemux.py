"""Two streams of frames into one."""

import random
from itertools import pairwise

import pytest
from polyrouter.hdl.framemux import FrameMux
from polyrouter.hdl.layouts import pack
from polyrouter.hdl.stream import packet_layout

from .bench import packet_beats, packets, simulate, sink, source, until

WIDTH = 64
LAYOUT = packet_layout(WIDTH)


@pytest.mark.parametrize("rates", [(1, 1, 1), (0.5, 0.7, 0.6), (0.2, 1, 0.9), (1, 0.1, 1)])
def test_frames_stay_whole_and_in_order(rates):
    rng = random.Random(1)
    frames = [[bytes([side]) + rng.randbytes(rng.randrange(13, 60)) for _ in range(40)] for side in (0, 1)]
    dut = FrameMux(LAYOUT)
    out = []
    beats = [[beat for frame in side for beat in packet_beats(LAYOUT, frame, WIDTH)] for side in frames]
    simulate(dut, [*(source(stream, items, rng=rng, rate=rate)
                     for stream, items, rate in zip(dut.i, beats, rates, strict=False)),
                   until(lambda: len(out) == sum(map(len, beats)))],
             [sink(dut.o, out, rng=rng, rate=rates[2])])
    given = [frame for frame, _ in packets(LAYOUT, out, WIDTH)]
    for side in (0, 1):
        assert [frame for frame in given if frame[0] == side] == frames[side]


def test_in_turn():
    """If both have frames, neither waits for more than one of the other's."""
    dut = FrameMux(LAYOUT)
    out = []
    items = [[pack(LAYOUT, {"data": side, "last": 1, "length": 8})] * 20 for side in (0, 1)]
    simulate(dut, [*(source(stream, beats) for stream, beats in zip(dut.i, items, strict=True)),
                   until(lambda: len(out) == 40)], [sink(dut.o, out)])
    sides = [item & 1 for item in out]
    assert all(left != right for left, right in pairwise(sides[1:]))
