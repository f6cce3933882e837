"""Which frames are the link's, and that all stay whole and in order."""

import random

import pytest
from polyrouter.hdl.config import ConfigError, CoreConfig
from polyrouter.hdl.hostlink.layouts import DEFAULT_MAC
from polyrouter.hdl.hostlink.splitter import LinkSplitter
from polyrouter.sim.auth_frames import BOARD_MAC

from ..bench import simulate, sink, source, until
from .link_bench import CONFIG, beats_of

TYPE = bytes.fromhex("88b6")


def run(frames, rates=(1.0, 1.0, 1.0), mac=DEFAULT_MAC, errors=None, times=None):
    dut = LinkSplitter(CONFIG)
    rng = random.Random(len(frames))
    beats = [beat for k, frame in enumerate(frames) for beat in beats_of(frame, (errors or {}).get(k, 0))]
    core, link = [], []
    taken, given = times or ([], [])

    async def main(ctx):
        ctx.set(dut.mac, mac)
        await source(dut.i, beats, rng=rng, rate=rates[0], times=taken)(ctx)

    simulate(dut, [main, until(lambda: len(core) + len(link) == len(beats))],
             [sink(dut.o_core, core, rng=rng, rate=rates[1], times=given),
              sink(dut.o_link, link, rng=rng, rate=rates[2])])
    return core, link


@pytest.mark.parametrize("rates", [(1, 1, 1), (0.4, 1, 1), (1, 0.4, 0.8), (0.7, 0.8, 0.3)])
def test_random_frames(rates):
    rng = random.Random(5)
    frames = []
    for _ in range(150):
        mac = rng.choice([BOARD_MAC, BOARD_MAC, BOARD_MAC[:5] + b"\1", b"\xff" * 6, b"\3" + BOARD_MAC[1:]])
        kind = rng.choice([TYPE, TYPE, TYPE[::-1], b"\x88\xb5", b"\x81\x00"])
        frame = mac + rng.randbytes(6) + kind + rng.randbytes(rng.randrange(100))
        frames.append(frame[:rng.choice([len(frame)] * 6 + [1, 6, 8, 9, 13])])
    linked = [frame for frame in frames if frame[12:14] == TYPE and frame[:6] == BOARD_MAC]
    others = [frame for frame in frames if frame not in linked]
    assert len(linked) > 10 and len(others) > 20
    core, link = run(frames, rates)
    assert core == [beat for frame in others for beat in beats_of(frame)]
    assert link == [beat for frame in linked for beat in beats_of(frame)]


def test_errors_stay_with_their_frames():
    frame = BOARD_MAC + bytes(6) + TYPE + bytes(50)
    other = bytes(64)
    core, link = run([frame, other, frame], errors={0: 1, 1: 2})
    assert core == beats_of(other, 2) and link == beats_of(frame, 1) + beats_of(frame)


def test_a_frame_with_a_tag_is_not_the_links():
    frame = BOARD_MAC + bytes(6) + bytes.fromhex("81000001") + TYPE + bytes(50)
    assert run([frame]) == (beats_of(frame), [])


def test_another_address():
    mac = bytes.fromhex("02aabbccddee")
    mine, other = (address + bytes(6) + TYPE + bytes(50) for address in (mac, BOARD_MAC))
    assert run([mine, other], mac=int.from_bytes(mac, "little")) == (beats_of(other), beats_of(mine))


def test_a_beat_a_cycle():
    taken, given = [], []
    run([bytes(64)] * 10, times=(taken, given))
    assert taken == list(range(taken[0], taken[0] + 80)) and given == list(range(given[0], given[0] + 80))


def test_another_width_is_refused():
    with pytest.raises(ConfigError, match="needs a data_width of 64, not 128"):
        LinkSplitter(CoreConfig(data_width=128))
