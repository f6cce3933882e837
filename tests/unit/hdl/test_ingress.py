import random

import pytest
from amaranth.back import rtlil
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.ingress import Ingress
from polyrouter.hdl.layouts import Reason, RxError
from polyrouter.hdl.stream import frame_layout, packet_layout

from .bench import WIDTHS, frame_beats, packets, simulate, sink, source, until


def judge(frame, error, longest):
    """Reason to drop a frame for which there is room, or None."""
    if error in (RxError.FCS, RxError.PHY):
        return Reason.DROP_FCS
    if error == RxError.LENGTH or not 14 <= len(frame) <= longest:
        return Reason.DROP_LENGTH
    return None


def run(config, frames, *, host=False, rates=(1.0, 1.0, 1.0), seed=0):
    """Frames that came out, events, and the cycles of each input and output beat."""
    dut = Ingress(config, host=host)
    layout = frame_layout(config.data_width)
    beats = [beat for frame, error in frames for beat in frame_beats(layout, frame, config.data_width, error)]
    rng = random.Random(seed)
    taken, given, out, events = [], [], [], []

    def finished():
        lasts = sum(beat >> config.data_width & 1 for beat in out)
        return len(taken) == len(beats) and lasts + len(events) == len(frames)

    simulate(dut, [source(dut.i, beats, rng=rng, rate=rates[0], times=taken), until(finished)],
             [sink(dut.o, out, rng=rng, rate=rates[1], times=given), sink(dut.event, events, rng=rng, rate=rates[2])])
    return [f for f, _ in packets(packet_layout(config.data_width), out, config.data_width)], events, taken, given


def random_frames(rng, count, longest):
    frames = []
    for _ in range(count):
        length = rng.choice([rng.randint(1, 80), rng.randint(14, 200), 13, 14, 60])
        if rng.random() < 0.04:
            length = rng.choice([longest - 1, longest, longest + 1, longest + 40])
        error = rng.choice(list(RxError)) if rng.random() < 0.2 else RxError.NONE
        frames.append((rng.randbytes(length), error))
    return frames


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rates", [(1.0, 1.0, 1.0), (0.6, 0.9, 0.3)])
def test_passes_good_frames_and_reports_bad_ones(width, rates):
    config = CoreConfig(data_width=width)
    frames = random_frames(random.Random(width), 80, config.max_frame - 4)
    frames += [(bytes(length % 256 for _ in range(length)), RxError.NONE) for length in (1514, 1515)]
    passed, events, *_ = run(config, frames, rates=rates, seed=width)
    verdicts = [judge(*frame, config.max_frame - 4) for frame in frames]
    assert events == [verdict for verdict in verdicts if verdict is not None]
    assert passed == [frame for (frame, _), verdict in zip(frames, verdicts, strict=True) if verdict is None]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("max_frame", [1518, 1531, 2052])
def test_limits_to_the_byte(width, max_frame):
    """Longest frames that end anywhere in a beat."""
    lengths = [12, 13, 14, 15, *range(max_frame - 6, max_frame - 1)]
    frames = [(bytes([length % 256]) * length, RxError.NONE) for length in lengths]
    passed, events, *_ = run(CoreConfig(data_width=width, max_frame=max_frame, ingress_bytes=16384), frames)
    assert [len(frame) for frame in passed] == [n for n in lengths if 14 <= n <= max_frame - 4]
    assert events == [Reason.DROP_LENGTH] * 4


@pytest.mark.parametrize("length, passes", [(13, False), (14, True), (1546, True), (1547, False), (4200, False)])
def test_host_port_allows_for_its_header_and_has_one_reason(length, passes):
    config = CoreConfig()
    frames = [(bytes([7]) * 60, RxError.PHY), (bytes([1]) * length, RxError.NONE), (bytes([2]) * 60, RxError.FCS)]
    passed, events, *_ = run(config, frames, host=True)
    assert [len(frame) for frame in passed] == [length] * passes
    assert events == [Reason.DROP_HOST] * (3 - passes)


@pytest.mark.parametrize("error, reason", [
    (RxError.FCS, Reason.DROP_FCS), (RxError.PHY, Reason.DROP_FCS), (RxError.LENGTH, Reason.DROP_LENGTH),
    (RxError.NONE, Reason.DROP_LENGTH)])
def test_order_of_checks_on_a_frame_that_fails_them_all(error, reason):
    """Longer than the buffer, too: the error comes first, then the length, then the room."""
    passed, events, *_ = run(CoreConfig(), [(bytes(5000), error), (bytes(60), RxError.NONE)])
    assert events == [reason]
    assert passed == [bytes(60)]


@pytest.mark.parametrize("width", WIDTHS)
def test_one_beat_a_cycle_without_gaps(width):
    config = CoreConfig(data_width=width)
    beat_bytes = width // 8
    size = max(14, beat_bytes)              # one beat at 128 and 256 bits
    frames = [(bytes([k]) * size, RxError.NONE) for k in range(100)]
    passed, events, taken, given = run(config, frames)
    assert passed == [frame for frame, _ in frames]
    assert not events
    beats = 100 * -(-size // beat_bytes)
    assert taken == list(range(1, beats + 1))
    first = given[0]
    assert first == -(-size // beat_bytes) + 3
    assert given == list(range(first, first + beats))


def test_frames_dropped_at_their_only_beat_are_each_reported():
    passed, events, taken, _ = run(CoreConfig(), [(bytes(5), RxError.NONE)] * 50)
    assert (passed, events) == ([], [Reason.DROP_LENGTH] * 50)
    assert taken == list(range(1, 51))


def test_stops_rather_than_lose_a_report():
    config = CoreConfig()
    frames = [(bytes(5), RxError.NONE), (bytes([9]) * 60, RxError.NONE)] * 30
    passed, events, *_ = run(config, frames, rates=(1.0, 1.0, 0.04))
    assert len(passed) == 30
    assert events == [Reason.DROP_LENGTH] * 30


def blocked(config, frames):
    """Send ``frames`` while the output is blocked, then open it."""
    dut = Ingress(config)
    width = config.data_width
    out, events = [], []
    accepted = []

    async def main(ctx):
        for frame in frames:
            beats = frame_beats(frame_layout(width), frame, width)
            await source(dut.i, beats, times=accepted)(ctx)
            await ctx.tick().repeat(4)      # let the output registers fill
        lasts = len(frames) - len(events)
        await sink(dut.o, out, count=sum(-(-len(frame) // (width // 8)) for frame in frames[:lasts]))(ctx)

    simulate(dut, [main], [sink(dut.event, events)])
    assert len(accepted) == sum(-(-len(frame) // (width // 8)) for frame in frames)     # never stalled
    return [frame for frame, _ in packets(packet_layout(width), out, width)], events


@pytest.mark.parametrize("width", WIDTHS)
def test_frame_that_fits_to_the_last_beat_and_one_that_does_not(width):
    config = CoreConfig(data_width=width)
    beat_bytes = width // 8
    room = config.ingress_bytes // beat_bytes + 2       # and two output registers
    filler = [bytes([k]) * 1024 for k in range(3)]
    rest = room - 3 * 1024 // beat_bytes
    exact = bytes([3]) * (rest * beat_bytes)
    assert blocked(config, [*filler, exact]) == ([*filler, exact], [])
    over = exact + b"\x55"
    assert blocked(config, [*filler, over]) == (filler, [Reason.DROP_OVERFLOW])


def test_more_short_frames_than_there_is_room_for_lengths():
    config = CoreConfig(data_width=256)
    frames = [bytes([k]) * 14 for k in range(100)]
    passed, events = blocked(config, frames)
    assert passed == frames[:len(passed)]
    assert events == [Reason.DROP_OVERFLOW] * (100 - len(passed))
    assert 64 <= len(passed) < 100


@pytest.mark.parametrize("width", [32, 256])
def test_no_frame_is_lost_uncounted_under_overload(width):
    config = CoreConfig(data_width=width)
    rng = random.Random(width)
    frames = [(rng.randbytes(rng.randint(14, 700)), RxError.NONE) for _ in range(36)]
    passed, events, taken, _ = run(config, frames, rates=(1.0, 0.4, 0.5), seed=width)
    assert set(events) == {Reason.DROP_OVERFLOW}
    assert len(passed) + len(events) == len(frames)
    rest = iter(frame for frame, _ in frames)
    assert all(frame in rest for frame in passed)       # in order, none changed
    assert taken == list(range(1, len(taken) + 1))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("host", [False, True])
def test_elaborates(width, host):
    assert rtlil.convert(Ingress(CoreConfig(data_width=width, max_frame=9018), host=host))
