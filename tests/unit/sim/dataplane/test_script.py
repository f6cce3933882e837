"""Scripts as the harness reads them, and what is read from its answers."""

import json
import struct

import pytest
from polyrouter.sim.dataplane.script import (
    BenchError,
    BenchFrame,
    Fate,
    Outcome,
    Phase,
    PhaseResult,
    encode,
    run_script,
)

FRAME = BenchFrame(2, 700, bytes(range(60)), (Outcome(3, b"head"), Outcome(1, b"")))
TOTALS = {"interval": 0, "cycles": 900, "received": 2, "lost": 1, "wrong": 0, "duplicated": 0, "bad_fcs": 0,
          "unknown": 0, "punted": 0, "last_in": 5, "last_out": 9}


def result(frames, requests=(), reads=()):
    return PhaseResult.from_json(json.dumps(
        {**TOTALS, "frames": frames, "requests": list(requests), "reads": list(reads)}))


def test_a_script_has_what_script_h_takes():
    data = encode([Phase([FRAME, FRAME], [(5, 9, b"request")], drain=100, search=(16, 32), slack=7)])
    assert struct.unpack_from("<QQQQI", data) == (100, 32, 16, 7, 2)
    frames = b"".join(
        struct.pack("<BQH", 2, 700, 60) + bytes(range(56)) + serial.to_bytes(4, "little")
        + b"\2" + struct.pack("<BHH", 3, 4, 4) + b"head" + struct.pack("<BHH", 1, 0, 0) for serial in (0, 1))
    assert data[36:] == frames + struct.pack("<IQIH", 1, 5, 9, 7) + b"request"


def test_phases_come_one_after_the_other():
    assert encode([Phase(), Phase()]) == 2 * encode([Phase()])


def test_a_head_over_the_serial_number_is_refused():
    with pytest.raises(ValueError, match="serial number"):
        encode([Phase([FRAME._replace(outcomes=(Outcome(0, bytes(57)),))])])


def test_a_result_is_read():
    found = result([[1, 3, 250], [0, 18446744073709551615, 0]], [[1, 40]], [(1 << 64) - 1, 7])
    assert found.frames == [Fate(1, 3, 250), Fate(0, (1 << 64) - 1, 0)]
    assert found.requests == [(1, 40)]
    assert found.reads == [(1 << 64) - 1, 7]
    assert found.lost == 1


def test_rates_are_those_of_what_came_out_right():
    frames = [BenchFrame(0, 0, b"", (Outcome(port, b""),)) for port in (1, 1, 1, 2, 2, 3)]
    found = result([[1, 0, 100], [1, 0, 184], [1, 0, 268], [1, 0, 50], [-1, 0, 60], [1, 0, 70]])
    assert found.spacing(frames, 125e6) == {1: 125e6 / 84}


@pytest.fixture
def program(tmp_path):
    def make(text):
        path = tmp_path / "board"
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)
        return path

    return make


def test_a_harness_that_gives_up_is_an_error_in_its_words(program):
    with pytest.raises(BenchError, match="code 2: board: request 3 of 7 was not answered"):
        run_script(program("echo board: request 3 of 7 was not answered >&2; exit 2"), [Phase()])


def test_a_phase_without_a_report_is_an_error(program):
    line = json.dumps({**TOTALS, "frames": [], "requests": [], "reads": []})
    assert len(run_script(program(f"echo '{line}'"), [Phase()])) == 1
    with pytest.raises(BenchError, match="1 of 2 phases"):
        run_script(program(f"echo '{line}'"), [Phase(), Phase()])
