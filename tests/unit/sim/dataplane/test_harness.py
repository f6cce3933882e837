"""The harness with a top that loses, doubles and spoils frames on demand: each is seen as what it is."""

import subprocess

import pytest
from polyrouter.hdl.config import HOST_HEADER_BYTES, CoreConfig
from polyrouter.hdl.layouts import HostFrameType
from polyrouter.sim.dataplane.build import HARNESS
from polyrouter.sim.dataplane.script import (
    CORRUPTED,
    LOST,
    MISDELIVERED,
    PARTS,
    BenchError,
    BenchFrame,
    Outcome,
    Phase,
    run_script,
)
from polyrouter.sim.host_frames import HostFrame
from polyrouter.sim.verilated.top import StreamTop

from .faulty import BOTH, DROP, FLIP, PASS, FaultyCrossbar

CONFIG = CoreConfig(ports=2)


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    top = StreamTop(FaultyCrossbar(CONFIG), CONFIG)
    return HARNESS.compile(top, CONFIG, tmp_path_factory.mktemp("board"), macs=False)


def frame(kind, *, port=1, head=None, at=0, length=60):
    body = bytes([kind]) + bytes(length - 1)
    return BenchFrame(0, at, body, (Outcome(port, bytes([kind]) if head is None else head),))


def run(harness, *frames, **options):
    result, = run_script(harness, [Phase(list(frames), drain=500, **options)])
    return result


def test_every_fate_is_told(harness):
    result = run(harness, frame(PASS), frame(DROP), frame(FLIP), frame(PASS, port=0), frame(PASS, head=b"other"),
                 frame(PASS), frame(DROP))
    assert [fate.fate for fate in result.frames] == [1, LOST, CORRUPTED, MISDELIVERED, CORRUPTED, 1, LOST]
    assert (result.received, result.lost, result.wrong, result.duplicated) == (5, 2, 3, 0)


def test_a_frame_that_must_not_come_out_is_not_lost_but_wrong_if_it_comes(harness):
    refused, leaked = (frame(kind)._replace(outcomes=()) for kind in (DROP, PASS))
    result = run(harness, refused, leaked, frame(PASS))
    assert [fate.fate for fate in result.frames] == [LOST, MISDELIVERED, 1]
    assert (result.lost, result.wrong) == (0, 1)


def test_a_second_copy_is_wrong(harness):
    result = run(harness, frame(BOTH), frame(PASS))
    assert (result.duplicated, result.lost) == (1, 0)
    assert result.wrong >= 1


@pytest.mark.parametrize("length", [60, 61, 64, 67, 68, 1514])
def test_the_second_outcome_counts_too(harness, length):
    two = frame(PASS, length=length)._replace(outcomes=(Outcome(1, b"\0"), Outcome(1, bytes([PASS]))))
    result = run(harness, two)
    assert [fate.fate for fate in result.frames] == [2]


def test_a_head_may_take_the_place_of_more_or_fewer_bytes(harness):
    """The crossbar changes no length: so what is as long as the frame is right, and nothing else."""
    body = frame(PASS).frame
    heads = [(body[:20], 20), (body[:20], None), (b"", 0), (body[:19], 20), (body[:20], 19), (b"", 1)]
    result = run(harness, *(frame(PASS)._replace(outcomes=(Outcome(1, *head),)) for head in heads))
    assert [fate.fate for fate in result.frames] == [1, 1, 1, CORRUPTED, CORRUPTED, CORRUPTED]


def test_frames_of_the_host_port_come_and_go_without_their_header(harness):
    """What is punted is as long as its header says, and padding does not count."""
    inner = bytes([PASS]) + bytes(range(59))
    punts = [HostFrame(HostFrameType.PUNT, inner, length=length).to_bytes() for length in (60, 60, 59)]
    host = CONFIG.host_port
    sent = [BenchFrame(host, 0, octets, (Outcome(host, inner[:4], HOST_HEADER_BYTES + 4),)) for octets in punts]
    sent[1] = sent[1]._replace(outcomes=(Outcome(1, b""),))
    result = run(harness, *sent)
    assert [fate.fate for fate in result.frames] == [1, MISDELIVERED, LOST]     # whose serial number is cut off
    assert (result.lost, result.unknown, result.punted) == (1, 1, 0)
    assert run(harness, sent[1]).punted == 1        # if no frame is to be punted, punts are only counted


def test_times_are_kept(harness):
    result = run(harness, frame(PASS, at=100), frame(PASS, at=400), frame(PASS, at=100))
    assert [fate.entered for fate in result.frames[:2]] == [100, 400]
    assert result.frames[2].entered == 408          # eight beats behind the one before
    assert {fate.left - fate.entered for fate in result.frames} == {result.frames[0].left - 100}


def test_the_shortest_interval_is_found(harness):
    # The crossbar takes a beat a cycle: 60 bytes need eight.
    result = run(harness, *[frame(PASS) for _ in range(400)], search=(4 * PARTS, 20 * PARTS), slack=1)
    assert result.interval == 8 * PARTS


def test_a_request_that_nobody_answers_is_an_error(harness):
    with pytest.raises(BenchError, match="request 0 of 1 was not answered"):
        run_script(harness, [Phase(requests=[(0, 5, bytes(64))])])


def test_a_script_cut_short_is_an_error(harness, tmp_path):
    (tmp_path / "script").write_bytes(bytes(35))
    result = subprocess.run([harness, tmp_path / "script"], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "cut short" in result.stderr
