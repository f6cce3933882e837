"""The host's end of an authenticated link, against a model of the board's."""

import contextlib
import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from polyrouter.host.board.authenticated import PAUSE, SILENCE, AuthenticatedTransport
from polyrouter.host.board.envelope import encode
from polyrouter.sim.auth_frames import BOARD_MAC, DATA, HELLO, TO_BOARD, WELCOME, AuthFrame

from .envelope_board import HOST_MAC, KEY, EnvelopeBoard, Wire

BODY = bytes(range(40))


class Bench:
    """A transport, the wire, and the board at its other end; time stands still unless it is moved."""

    def __init__(self, nonce=0x1234, clock=1_700_000_000_000_000_000):
        self.now, self.clock = 100.0, clock
        self.wire, self.board = Wire(), EnvelopeBoard(nonce)
        self.transport = self.start()

    def start(self):
        return AuthenticatedTransport(self.wire, KEY, HOST_MAC, clock=lambda: self.clock, monotonic=lambda: self.now)

    def exchange(self):
        """Carry what is on the wire to the board, and back; returns the host frames that arrive."""
        for frame in self.wire.sent:
            answer = self.board.take(frame)
            if answer is not None:
                self.wire.arriving.append(answer)
        self.wire.sent.clear()
        return self.arrive()

    def arrive(self, *frames):
        self.wire.arriving += frames
        taken = []
        while self.wire.arriving:
            with contextlib.suppress(BlockingIOError):
                taken.append(self.transport.recv(16384))
        return taken


@pytest.fixture
def bench():
    return Bench()


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=100), st.integers(1, 2**64 - 1),
       st.integers(0, 2**64 - 1))
def test_the_tag_is_that_of_the_model(key, body, sequence, nonce):
    for kind in (DATA, HELLO):
        assert encode(key, BOARD_MAC, HOST_MAC, kind, sequence, body, 0 if kind == HELLO else nonce) == AuthFrame(
            kind, sequence, body, source=HOST_MAC).to_bytes(key, nonce, TO_BOARD)


def test_it_greets_and_then_carries_frames_both_ways(bench):
    with pytest.raises(BlockingIOError, match="not answered"):
        bench.transport.send(BODY)
    assert bench.exchange() == []
    assert bench.transport.send(BODY) == len(BODY)
    bench.exchange()
    assert bench.board.taken == [BODY] and bench.board.refused == 0
    assert bench.arrive(bench.board.data(b"x" * 60)) == [b"x" * 60]
    counters = bench.transport.counters.as_dict()
    assert counters == {"sent": 1, "received": 1, "hellos": 1, "welcomes": 1, "forged": 0, "replayed": 0,
                        "foreign": 0, "unsent": 1}


def test_numbers_rise_whatever_the_clock_does(bench):
    bench.exchange()
    for step in (0, 0, 5, -1000, -(10**9), 0, 10**6):
        bench.clock += step
        bench.transport.send(BODY)
    numbers = [int.from_bytes(frame[16:24], "little") for frame in bench.wire.sent]
    assert numbers == sorted(set(numbers))
    bench.exchange()
    assert len(bench.board.taken) == 7


def test_a_host_that_is_started_again_goes_on_even_if_its_clock_is_behind(bench):
    bench.exchange()
    bench.transport.send(BODY)
    bench.exchange()
    bench.clock -= 3600 * 10**9
    bench.transport = bench.start()
    bench.exchange()
    bench.transport.send(BODY)
    bench.exchange()
    assert bench.board.taken == [BODY] * 2 and bench.board.refused == 0


def test_a_host_that_is_started_again_takes_nothing_that_was_recorded(bench):
    bench.exchange()
    recorded = [bench.board.data(BODY) for _ in range(3)]
    assert bench.arrive(*recorded) == [BODY] * 3
    bench.transport = bench.start()
    bench.exchange()
    assert bench.arrive(*recorded) == [] and bench.transport.counters.replayed == 3
    assert bench.arrive(bench.board.data(BODY)) == [BODY]


def test_every_bit_of_a_frame(bench):
    bench.exchange()
    frame = bench.board.data(BODY)
    for bit in range(8 * len(frame)):
        bad = (int.from_bytes(frame, "little") ^ 1 << bit).to_bytes(len(frame), "little")
        assert bench.arrive(bad) == []
    counters = bench.transport.counters
    assert counters.forged + counters.foreign == 8 * len(frame) and counters.replayed == counters.received == 0
    assert bench.arrive(frame) == [BODY]


@given(st.binary(max_size=200))
def test_rubbish_is_foreign(rest):
    bench = Bench()
    bench.exchange()
    assert bench.arrive(HOST_MAC + BOARD_MAC + bytes.fromhex("88b6") + rest) == []
    assert bench.transport.counters.foreign + bench.transport.counters.forged == 1


def test_replayed_reordered_reflected_cut_and_lengthened(bench):
    bench.exchange()
    first, second, third = (bench.board.data(bytes([k]) * 40) for k in range(3))
    assert bench.arrive(first, first, third, second) == [b"\0" * 40, b"\2" * 40]
    assert bench.transport.counters.replayed == 2
    bench.transport.send(BODY)
    own = bench.wire.sent[-1]
    assert bench.arrive(own, BOARD_MAC.join((own[:6], own[12:]))) == []     # as it is, and as if from the board
    assert bench.arrive(first[:-1], first + b"\0", first[:40]) == []
    assert bench.transport.counters.received == 2


def test_another_boards_frames_are_foreign(bench):
    bench.exchange()
    frame = AuthFrame(DATA, 9, BODY, HOST_MAC, bytes.fromhex("02706f6c7901")).to_bytes(KEY, 0x1234, 1)
    assert bench.arrive(frame) == [] and bench.transport.counters.foreign == 1


def test_the_board_is_started_again_and_answers(bench):
    """Its frames are not authentic any more, which is answered with a greeting."""
    bench.exchange()
    bench.transport.send(BODY)
    bench.exchange()
    bench.board = EnvelopeBoard(0x9999)
    bench.now += 2 * PAUSE
    assert bench.arrive(bench.board.data(BODY)) == []
    assert [frame[15] for frame in bench.wire.sent] == [HELLO]
    bench.exchange()
    bench.transport.send(BODY)
    bench.exchange()
    assert bench.board.taken == [BODY]
    assert bench.arrive(bench.board.data(BODY)) == [BODY]


def test_the_board_is_started_again_and_is_silent(bench):
    """What it gets is forged for it, so it does not answer; frames without an answer lead to a greeting."""
    bench.exchange()
    bench.board = EnvelopeBoard(0x9999)
    for _ in range(8):
        bench.transport.send(BODY)
        bench.exchange()
        bench.now += SILENCE / 4
    assert 0 < len(bench.board.taken) < 8 and bench.transport.counters.welcomes == 2


def test_an_old_answer_does_not_bring_back_the_old_nonce(bench):
    hello = bench.wire.sent[0]
    old = bench.board.take(hello)
    bench.exchange()
    bench.board = EnvelopeBoard(0x9999)
    bench.now += 2 * PAUSE
    bench.arrive(bench.board.data(BODY))
    bench.exchange()
    assert bench.arrive(old) == [] and bench.transport.counters.replayed == 1
    bench.transport.send(BODY)
    bench.exchange()
    assert bench.board.taken == [BODY]


def test_an_answer_that_comes_late_still_counts(bench):
    """A slow board: further greetings meanwhile don't make the first answer void, and it counts only once."""
    answers = [bench.board.take(bench.wire.sent[0])]
    for _ in range(3):
        bench.now += 10 * PAUSE
        with pytest.raises(BlockingIOError):
            bench.transport.send(BODY)
        answers.append(bench.board.take(bench.wire.sent[-1]))
    assert bench.transport.counters.hellos == 4
    bench.arrive(*answers)
    assert bench.transport.counters.welcomes == 1 and bench.transport.counters.replayed == 3
    bench.wire.sent.clear()
    bench.transport.send(BODY)
    bench.exchange()
    assert bench.board.taken == [BODY]


def test_forged_answers_are_not_believed(bench):
    body = b"".join(value.to_bytes(8, "little") for value in (0, 0x666, 0, 0))
    forged = AuthFrame(WELCOME, 1, body, HOST_MAC, BOARD_MAC).to_bytes(bytes(16), 0, 1)
    own_key_other_challenge = AuthFrame(WELCOME, 1, body, HOST_MAC, BOARD_MAC).to_bytes(KEY, 0, 1)
    bench.arrive(forged, own_key_other_challenge)
    assert (bench.transport.counters.forged, bench.transport.counters.replayed) == (1, 1)
    with pytest.raises(BlockingIOError):
        bench.transport.send(BODY)


def test_a_flood_of_forged_frames_makes_few_greetings(bench):
    bench.exchange()
    frame = AuthFrame(DATA, 9, BODY, HOST_MAC, BOARD_MAC).to_bytes(bytes(16), 1, 1)
    for _ in range(1000):
        bench.now += PAUSE / 100
        bench.arrive(frame)
    assert bench.transport.counters.forged == 1000 and bench.transport.counters.hellos <= 12


def test_numbers_go_out_in_their_order_from_many_threads(bench):
    bench.exchange()
    threads = [threading.Thread(target=lambda: [bench.transport.send(BODY) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bench.exchange()
    assert len(bench.board.taken) == 800 and bench.board.refused == 0


def test_random_traffic_on_a_bad_network(bench):
    """Lost, repeated and late frames, restarts of both: nothing arrives twice, in another order, or changed."""
    rng = random.Random(1)
    seen, late = [], []
    for step in range(2000):
        bench.now += 0.01
        bench.clock += 10**7
        if step % 400 == 399:
            bench.board = EnvelopeBoard(rng.getrandbits(64))
            bench.board.sequence = 0
        elif step % 700 == 699:
            bench.transport = bench.start()
        with contextlib.suppress(BlockingIOError):
            bench.transport.send(step.to_bytes(40, "big"))
        for frame in bench.wire.sent:
            for arrived in [frame] * rng.choice([0, 1, 1, 1, 2]):
                answer = bench.board.take(arrived)
                if answer is not None:
                    bench.wire.arriving.append(answer)
        bench.wire.sent.clear()
        frames = [bench.board.data(step.to_bytes(40, "big"))] * rng.choice([0, 1, 1, 2])
        late += frames if rng.random() < 0.1 else []
        arriving = frames + ([late.pop(0)] if late and rng.random() < 0.2 else [])
        seen += bench.arrive(*arriving)
        assert len(set(bench.board.taken)) == len(bench.board.taken)
        assert bench.board.taken == sorted(bench.board.taken)
    assert seen == sorted(set(seen)) and len(seen) > 800


def test_the_end_of_the_wire_is_the_end(bench):
    bench.wire.arriving.append(b"")
    assert bench.transport.recv(100) == b""
    bench.transport.close()
    assert bench.wire.closed and bench.transport.fileno() == -1
