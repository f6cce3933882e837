import random
from typing import NamedTuple

import pytest
from amaranth.back import rtlil
from polyrouter.hdl.capture import FATE, HEADER_BYTES
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.ingress import Ingress
from polyrouter.hdl.layouts import Reason, RxError, unpack
from polyrouter.hdl.stream import frame_layout, packet_layout

from .bench import WIDTHS, frame_beats, packets, simulate, sink, source, until
from .header_bench import header_item_layout, header_sink
from .test_parser import captured, header_bytes


def judge(frame, error, longest):
    """Reason to drop a frame for which there is room, or None."""
    if error in (RxError.FCS, RxError.PHY):
        return Reason.DROP_FCS
    if error == RxError.LENGTH or not 14 <= len(frame) <= longest:
        return Reason.DROP_LENGTH
    return None


class Result(NamedTuple):
    """What an ingress gave, and the cycles of each input and output beat, header and fate."""

    passed: list
    events: list
    headers: list
    fates: list
    taken: list
    given: list
    header_times: list
    fate_times: list


def run(config, frames, *, host=False, rates=(1.0, 1.0, 1.0, 1.0), seed=0):
    """Send (frame, error); ``rates`` are those of the input, of bodies, of events, and of headers and fates."""
    dut = Ingress(config, host=host)
    layout = frame_layout(config.data_width)
    beats = [beat for frame, error in frames for beat in frame_beats(layout, frame, config.data_width, error)]
    rng = random.Random(seed)
    result = Result(*([] for _ in range(8)))
    out = []

    def finished():
        lasts = sum(beat >> config.data_width & 1 for beat in out)
        return (len(result.taken) == len(beats) and lasts + len(result.events) == len(frames)
                and len(result.headers) == len(result.fates) and (host or len(result.fates) >= lasts))

    sinks = [sink(dut.o, out, rng=rng, rate=rates[1], times=result.given),
             sink(dut.event, result.events, rng=rng, rate=rates[2])]
    if not host:
        sinks += [header_sink(dut, dut.o_header, result.headers, rng=rng, rate=rates[3], times=result.header_times),
                  sink(dut.o_fate, result.fates, rng=rng, rate=rates[3], times=result.fate_times)]
    simulate(dut, [source(dut.i, beats, rng=rng, rate=rates[0], times=result.taken), until(finished)], sinks)
    result.passed.extend(f for f, _ in packets(packet_layout(config.data_width), out, config.data_width))
    return result


def beats_of(count, width):
    return -(-count // (width // 8))


def check_header(header, frame, width):
    """The header is that of the frame, as far as the parser needs it."""
    needed = header_bytes(frame, width)
    ended = beats_of(len(frame), width) <= beats_of(needed, width)
    octets, length, told = captured(frame if ended else frame[:needed], width)
    assert header["data"].to_bytes(HEADER_BYTES, "little")[:len(octets)] == octets
    assert header["length"] == (length if ended else HEADER_BYTES)
    assert {name: value for name, value in header.items() if name not in ("data", "length")} == told


def check_headers(result, frames, width, longest):
    """Each header fits the next frame that may have one, and that frame's fate."""
    rest = iter(frames)
    layout = header_item_layout(CoreConfig(data_width=width))
    for header, fate in zip(result.headers, result.fates, strict=True):
        header, fate = unpack(layout, header), unpack(FATE, fate)
        for frame, error in rest:
            good = judge(frame, error, longest) is None
            needed = beats_of(header_bytes(frame, width), width)
            if beats_of(len(frame), width) > needed or good:
                break
            # Known to be bad when its header would be complete: not given.
        check_header(header, frame, width)
        assert fate["good"] == good
        if good:
            assert fate["length"] == len(frame)
    assert not any(judge(*frame, longest) is None for frame in rest)


def random_frames(rng, count, longest):
    frames = []
    for _ in range(count):
        length = rng.choice([rng.randint(1, 80), rng.randint(14, 200), 13, 14, 60])
        if rng.random() < 0.04:
            length = rng.choice([longest - 1, longest, longest + 1, longest + 40])
        error = rng.choice(list(RxError)) if rng.random() < 0.2 else RxError.NONE
        octets = rng.randbytes(length)
        if rng.random() < 0.8:
            tag = rng.choice([b"", b"\x81\x00" + octets[14:16]])
            octets = octets[:12] + tag + rng.choice([b"\x08\x00", b"\x86\xdd", b"\x81\x00"]) + octets[14 + len(tag):]
        frames.append((octets[:length], error))
    return frames


@pytest.mark.every_width
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rates", [(1.0, 1.0, 1.0, 1.0), (0.6, 0.9, 0.3, 0.2)])
def test_passes_good_frames_and_reports_bad_ones(width, rates):
    config = CoreConfig(data_width=width)
    frames = random_frames(random.Random(width), 80, config.max_frame - 4)
    frames += [(bytes(length % 256 for _ in range(length)), RxError.NONE) for length in (1514, 1515)]
    tagged = bytes(range(12)) + b"\x81\x00\x60\x07\x81\x00" + bytes(50)
    frames += [(tagged[:length], RxError.NONE) for length in range(14, 22)]     # also cut off in the tag, and behind it
    result = run(config, frames, rates=rates, seed=width)
    longest = config.max_frame - 4
    verdicts = [judge(*frame, longest) for frame in frames]
    assert result.events == [verdict for verdict in verdicts if verdict is not None]
    assert result.passed == [frame for (frame, _), verdict in zip(frames, verdicts, strict=True) if verdict is None]
    check_headers(result, frames, width, longest)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("max_frame", [1518, 1531, 2052])
def test_limits_to_the_byte(width, max_frame):
    """Longest frames that end anywhere in a beat."""
    lengths = [12, 13, 14, 15, *range(max_frame - 6, max_frame - 1)]
    frames = [(bytes([length % 256]) * length, RxError.NONE) for length in lengths]
    passed, events, *_ = run(CoreConfig(data_width=width, max_frame=max_frame, ingress_bytes=16384), frames)
    assert [len(frame) for frame in passed] == [n for n in lengths if 14 <= n <= max_frame - 4]
    assert events == [Reason.DROP_LENGTH] * 4


@pytest.mark.parametrize("length, passes", [(13, False), (14, True), (1550, True), (1551, False), (4200, False)])
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
    """Frames that are longer than their header."""
    config = CoreConfig(data_width=width)
    beats = beats_of(18, width) + 1
    frames = [(bytes([k]) * (beats * (width // 8) - 1), RxError.NONE) for k in range(20)]
    result = run(config, frames)
    assert result.passed == [frame for frame, _ in frames]
    assert not result.events
    assert result.taken == list(range(1, 20 * beats + 1))
    assert result.given == list(range(beats + 4, 21 * beats + 4))


@pytest.mark.parametrize("width", WIDTHS)
def test_one_idle_cycle_behind_frames_that_are_not(width):
    beats = beats_of(14, width)
    result = run(CoreConfig(data_width=width), [(bytes([k]) * 14, RxError.NONE) for k in range(20)])
    assert result.passed == [bytes([k]) * 14 for k in range(20)]
    assert result.taken == [frame * (beats + 1) + beat + 1 for frame in range(20) for beat in range(beats)]


@pytest.mark.every_width
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("start, needed", [
    ("0800", 38), ("81000007" "0800", 42), ("86dd", 58), ("81000007" "86dd", 62), ("0806", 18), ("81000007" "0806", 18),
    ("81000007" "8100", 18),
])
def test_header_comes_one_cycle_after_what_the_parser_needs(width, start, needed):
    """And is not touched by what comes in while it waits."""
    frame = bytes(range(12)) + bytes.fromhex(start) + bytes(range(100, 250))
    needed = min(needed, header_bytes(frame, width))
    result = run(CoreConfig(data_width=width), [(frame, RxError.NONE)])
    assert result.header_times == [result.taken[beats_of(needed, width) - 1] + 1]
    assert result.fate_times == [result.taken[-1] + 1]
    late = run(CoreConfig(data_width=width), [(frame, RxError.NONE)], rates=(1.0, 1.0, 1.0, 0.02))
    assert late.headers == result.headers
    assert late.taken == result.taken


def test_next_frame_waits_for_the_header_to_be_taken():
    config = CoreConfig()
    dut = Ingress(config)
    frames = [bytes([k]) * 60 for k in range(3)]
    beats = [beat for frame in frames for beat in frame_beats(frame_layout(64), frame, 64)]
    taken, headers, fates = [], [], []

    async def main(ctx):
        for count in (1, 2, 3):
            await ctx.tick().repeat(20)
            assert len(taken) == 8 * count
            await sink(dut.o_header, headers, count=count)(ctx)

    simulate(dut, [main, until(lambda: len(fates) == 3)], [source(dut.i, beats, times=taken), sink(dut.o_fate, fates)])
    assert [unpack(header_item_layout(config), header)["data"] & 255 for header in headers] == [0, 1, 2]


def test_bodies_have_no_gaps_inside_of_frames():
    """However the beats came in, and however the frames before were taken."""
    config = CoreConfig()
    rng = random.Random(3)
    frames = [(rng.randbytes(rng.randint(14, 300)), RxError.NONE) for _ in range(40)]
    dut = Ingress(config)
    beats = [beat for frame, _ in frames for beat in frame_beats(frame_layout(64), frame, 64)]
    out = []

    async def take(ctx):
        while True:
            await ctx.tick().repeat(rng.randint(1, 20))
            ctx.set(dut.o.ready, 1)
            begun, last = False, False
            while not last:
                *_, valid, last = await ctx.tick().sample(dut.o.valid, dut.o.payload.last)
                assert valid or not begun
                begun |= valid
                last &= valid
            out.append(None)
            ctx.set(dut.o.ready, 0)

    simulate(dut, [source(dut.i, beats, rng=rng, rate=0.6), until(lambda: len(out) == len(frames))],
             [take, sink(dut.o_header, []), sink(dut.o_fate, [])])


def test_frames_dropped_at_their_only_beat_are_each_reported():
    result = run(CoreConfig(), [(bytes(5), RxError.NONE)] * 50)
    assert (result.passed, result.headers, result.events) == ([], [], [Reason.DROP_LENGTH] * 50)
    assert result.taken == list(range(1, 51))


def test_stops_rather_than_lose_a_report():
    config = CoreConfig()
    frames = [(bytes(5), RxError.NONE), (bytes([9]) * 60, RxError.NONE)] * 30
    passed, events, *_ = run(config, frames, rates=(1.0, 1.0, 0.04, 1.0))
    assert len(passed) == 30
    assert events == [Reason.DROP_LENGTH] * 30


def blocked(config, frames, *, fates=True):
    """Send ``frames`` while the bodies are blocked, then open them. ``fates``: take the fates meanwhile."""
    dut = Ingress(config)
    width = config.data_width
    out, events = [], []
    accepted = []

    async def main(ctx):
        for frame in frames:
            beats = frame_beats(frame_layout(width), frame, width)
            await source(dut.i, beats, times=accepted)(ctx)
            await ctx.tick().repeat(8)      # let the FIFO behind the buffer fill
        lasts = len(frames) - len(events)
        await sink(dut.o, out, count=sum(beats_of(len(frame), width) for frame in frames[:lasts]))(ctx)

    simulate(dut, [main], [sink(dut.event, events), sink(dut.o_header, []),
                           *([sink(dut.o_fate, [])] if fates else [])])
    assert len(accepted) == sum(beats_of(len(frame), width) for frame in frames)     # never stalled
    return [frame for frame, _ in packets(packet_layout(width), out, width)], events


@pytest.mark.parametrize("width", WIDTHS)
def test_frame_that_fits_to_the_last_beat_and_one_that_does_not(width):
    config = CoreConfig(data_width=width)
    beat_bytes = width // 8
    room = config.ingress_bytes // beat_bytes + 4       # and the FIFO behind it
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


def test_more_frames_than_there_is_room_for_fates():
    frames = [bytes([k]) * 60 for k in range(40)]
    passed, events = blocked(CoreConfig(), frames, fates=False)
    assert passed == frames[:CoreConfig().fates]
    assert events == [Reason.DROP_OVERFLOW] * (40 - CoreConfig().fates)


@pytest.mark.parametrize("width", [32, 256])
def test_no_frame_is_lost_uncounted_under_overload(width):
    config = CoreConfig(data_width=width)
    rng = random.Random(width)
    frames = [(rng.randbytes(rng.randint(14, 700)), RxError.NONE) for _ in range(36)]
    passed, events, _, _, taken, *_ = run(config, frames, rates=(1.0, 0.4, 0.5, 1.0), seed=width)
    assert set(events) == {Reason.DROP_OVERFLOW}
    assert len(passed) + len(events) == len(frames)
    rest = iter(frame for frame, _ in frames)
    assert all(frame in rest for frame in passed)       # in order, none changed
    assert taken == list(range(1, len(taken) + 1))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("host", [False, True])
def test_elaborates(width, host):
    assert rtlil.convert(Ingress(CoreConfig(data_width=width, max_frame=9018), host=host))
