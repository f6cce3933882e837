"""The harness with a top that only passes frames on: every width of a beat, every length of a last beat."""

import signal
import socket
import subprocess
from random import Random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.sim.live.board import LiveBoard
from polyrouter.sim.live.build import compile_board
from polyrouter.sim.verilated.top import StreamTop

from .crossbar import Crossbar

WIDTHS = (32, 256)


@pytest.fixture(scope="module", params=WIDTHS)
def crossbar(request, tmp_path_factory):
    config = CoreConfig(ports=2, data_width=request.param)
    return compile_board(StreamTop(Crossbar(config), config), config, tmp_path_factory.mktemp("board"))


@pytest.fixture
def ends(crossbar, tmp_path):
    """Near ends of both ports and the host port of a running board, and the board."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(3)]
    board = LiveBoard(crossbar, [far.fileno() for _, far in pairs[:2]], pairs[2][1].fileno(), tmp_path / "log",
                      tmp_path / "pid")
    board.start()
    for near, _ in pairs:
        near.settimeout(60)
    yield [near for near, _ in pairs], board
    board.stop()
    for pair in pairs:
        for end in pair:
            end.close()


def test_frames_of_every_length_keep_their_bytes(ends):
    (first, second, host), _ = ends
    rng = Random(1)
    for length in (*range(1, 200), 1513, 1514, 9014):
        frame = rng.randbytes(length)
        for sender, receiver in ((first, second), (second, first), (host, host)):
            sender.send(frame)
            assert receiver.recv(16384) == frame.ljust(60, b"\0")


def test_what_the_other_side_does_not_take_is_lost_and_counted(ends):
    (first, second, _), board = ends
    for _ in range(3000):
        first.send(bytes(1000))
    # The last one is in, or lost, when the board has done what it was asked before
    second.send(bytes(60))
    first.recv(2000)
    ports = board.stats()["ports"]
    while ports[0]["rx_frames"] < 3000:
        ports = board.stats()["ports"]
    assert ports[1]["tx_dropped"] > 0
    received = 0
    second.setblocking(False)
    with pytest.raises(BlockingIOError):
        while second.recv(2000):
            received += 1
    assert received == ports[1]["tx_frames"]
    assert received + ports[1]["tx_dropped"] == 3000


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "no --port 0=fd:K"),
    (["--port", "2=fd:3"], "N below 2"),
    (["--port", "0=3"], "expected --port N=fd:K"),
    (["--port"], "--port needs a value"),
    (["--port", "0=fd:1", "--port", "1=fd:1"], "no --host fd:K"),
    (["--port", "0=fd:998", "--port", "1=fd:998", "--host", "fd:998"], "Bad file descriptor"),
])
def test_bad_arguments(crossbar, arguments, message):
    result = subprocess.run([crossbar, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert message in result.stderr


def test_ends_by_sigterm(ends):
    _, board = ends
    child = board._child
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 0
