"""The live board as a process: forwards what its tables say, survives its parent, and is found again."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import QueueStat, Reason, Register, Table
from polyrouter.host.board.errors import BoardOutOfStep
from polyrouter.sim.frames import RxFrame
from polyrouter.sim.golden import GoldenModel
from polyrouter.sim.live.bench import SocketBoard
from polyrouter.sim.live.board import LiveBoard
from polyrouter.sim.live.build import build_board
from polyrouter.sim.tablegen import simple_scenario
from polyrouter.sim.workload import forwarding_frames

CONFIG = CoreConfig()
SCENARIO = simple_scenario(CONFIG)


@pytest.fixture(scope="module")
def executable() -> Path:
    return build_board(CONFIG)


@pytest.fixture
def sockets(executable, tmp_path):
    with SocketBoard(executable, CONFIG, tmp_path) as sockets:
        for port in sockets.ports:
            port.settimeout(60)
        yield sockets


def program(sockets: SocketBoard) -> GoldenModel:
    """Fill the tables of a board, and of a model to compare with."""
    sockets.driver.write_rows(SCENARIO.writes)
    model = GoldenModel(CONFIG)
    for write in SCENARIO.writes:
        model.tables.write(write.table, write.router, write.row, write.value)
    return model


def forwards(sockets: SocketBoard, model: GoldenModel, frames: list[RxFrame]) -> None:
    """Every frame comes out where and how the model says."""
    for frame in frames:
        sockets.ports[frame.port].send(frame.frame)
        for expected in model.receive(frame.port, frame.frame.ljust(60, b"\0")):
            assert sockets.ports[expected.port].recv(2000) == expected.frame


def wait_for_end(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    try:
        assert select.select([descriptor], [], [], 60)[0]
    finally:
        os.close(descriptor)


def test_forwards_like_the_model(sockets):
    model = program(sockets)
    forwards(sockets, model, list(forwarding_frames(SCENARIO, 100)))
    for router in range(CONFIG.routers + 1):
        counted = {key: value for key, value in sockets.driver.read_counters(router).items() if value}
        assert counted == {(port, Reason(reason)): value
                           for (number, port, reason), value in model.counters.items() if number == router}
    queues = [sockets.driver.read_queues(router) for router in range(CONFIG.routers)]
    assert sum(queue[port, QueueStat.ENQUEUED] for queue in queues for port in range(CONFIG.ports)) == 100
    assert queues[0][0, QueueStat.FREE_CELLS] == CONFIG.cells


def test_says_what_it_was_built_with(sockets):
    info = sockets.driver.info()
    assert info.config == CONFIG
    assert not info.has_macs


def test_short_and_long_frames_keep_their_bytes(sockets):
    model = program(sockets)
    own = SCENARIO.routers[3].own[0].to_bytes(6, "big")
    start = own + next(forwarding_frames(SCENARIO, 1)).frame[6:]
    lengths = [60, 61, 63, 64, 65, 127, 128, 1000, 1513, 1514]
    forwards(sockets, model, [RxFrame(0, start + Random(length).randbytes(length - len(start))) for length in lengths])
    # Padded as a MAC would, so that the total length is still right
    forwards(sockets, model, [RxFrame(0, start[:50])])


def test_punt_and_inject(sockets):
    program(sockets)
    punts, near = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with punts, near:
        punts.settimeout(60)
        sockets.driver.hostport.set_punt_handler(
            lambda router, port, reason, frame: near.send(json.dumps([router, port, reason, frame.hex()]).encode()))
        arp = SCENARIO.routers[2].own[1].to_bytes(6, "big") + bytes(6) + b"\x08\x06" + bytes(46)
        sockets.ports[1].send(arp)
        assert json.loads(punts.recv(8000)) == [2, 1, Reason.PUNT_NOT_IP, arp.hex()]
    sockets.driver.hostport.inject(5, 3, b"\xaa" * 100)
    assert sockets.ports[3].recv(2000) == b"\xaa" * 100


def test_many_frames_at_once_are_all_forwarded(sockets):
    """More than all buffers hold: what does not fit waits outside, as the board takes no more than it can."""
    program(sockets)
    load = list(forwarding_frames(SCENARIO, 2000))
    received = [0] * CONFIG.ports
    poll = select.poll()
    for port in sockets.ports:
        poll.register(port, select.POLLIN)
    for frame in load:
        sockets.ports[frame.port].send(frame.frame)
        while poll.poll(0):
            take(sockets.ports, received)
    while sum(received) < len(load):
        assert poll.poll(60_000), f"only {received} of {len(load)} frames arrived"
        take(sockets.ports, received)
    assert received == [500] * 4


def take(ports: list[socket.socket], received: list[int]) -> None:
    for port, end in enumerate(ports):
        if select.select([end], [], [], 0)[0]:
            end.recv(2000)
            received[port] += 1


def test_killed_and_started_again(sockets):
    model = program(sockets)
    driver, board = sockets.driver, sockets.board
    driver.epoch = 7
    pid = board.pid
    os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)
    assert not board.alive()
    board.start()
    assert board.alive() and board.pid != pid
    with pytest.raises(BoardOutOfStep):
        driver.read_row(Table.REGISTER, Register.EPOCH)
    driver.sync()
    assert driver.epoch == 0
    driver.write_rows(SCENARIO.writes)
    forwards(sockets, model, list(forwarding_frames(SCENARIO, 20)))


def test_sleeps_when_nothing_moves(sockets):
    sockets.driver.sync()
    first = sockets.board.stats()
    second = sockets.board.stats()
    # Each signal wakes it for as long as it takes to see that there is nothing to do
    assert second["cycles"] - first["cycles"] < 2000
    assert second["ports"][-1] == {"port": "host", "rx_frames": 1, "tx_frames": 1, "tx_dropped": 0}


def test_ends_when_all_interfaces_are_gone(executable, tmp_path):
    sockets = SocketBoard(executable, CONFIG, tmp_path)
    sockets.board.start()
    pid = sockets.board.pid
    sockets.driver.close()
    for end in (*sockets.ports, *sockets._far):
        end.close()
    wait_for_end(pid)
    assert not sockets.board.alive()
    sockets.board.stop()


STARTER = """
import os, socket, sys
from pathlib import Path
from polyrouter.sim.live.board import LiveBoard
fds = [int(word) for word in sys.argv[3:]]
LiveBoard(sys.argv[1], fds[:-1], fds[-1], Path(sys.argv[2], "log"), Path(sys.argv[2], "pid")).start()
os.kill(os.getpid(), 9)
"""


def test_outlives_its_parent_and_is_adopted(executable, tmp_path):
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(CONFIG.all_ports)]
    far = [end.fileno() for _, end in pairs]
    command = [sys.executable, "-c", STARTER, str(executable), str(tmp_path), *map(str, far)]
    ended = subprocess.run(command, pass_fds=far, check=False)
    assert ended.returncode == -signal.SIGKILL
    board = LiveBoard.adopt(tmp_path / "pid")
    assert board is not None and board.alive()
    assert board.stats()["pid"] == board.pid
    board.stop()
    assert not board.alive()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    for pair in pairs:
        for end in pair:
            end.close()


@pytest.mark.parametrize("changes", [{"started": 1}, {"executable": "/bin/true"}, {"pid": 2**22 - 1}])
def test_another_process_with_the_same_number_is_not_adopted(sockets, changes):
    saved = json.loads(sockets.board.pid_file.read_text())
    other = sockets.board.pid_file.with_name("other.pid")
    other.write_text(json.dumps({**saved, **changes}))
    assert LiveBoard.adopt(other) is None
    other.write_text("not json")
    assert LiveBoard.adopt(other) is None
    assert LiveBoard.adopt(other.with_name("missing.pid")) is None
    assert LiveBoard.adopt(sockets.board.pid_file).pid == sockets.board.pid


def test_is_adopted_by_its_program_and_not_by_its_command_line(tmp_path):
    """A process that was just started has no command line yet, and a newer build may have replaced its program."""
    program = tmp_path / "board"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    with subprocess.Popen(["", "60"], executable=program) as process:
        try:
            started = int(Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
            (tmp_path / "pid").write_text(json.dumps({"pid": process.pid, "started": started,
                                                      "executable": str(program), "stats": str(tmp_path / "stats")}))
            assert LiveBoard.adopt(tmp_path / "pid").pid == process.pid
            program.unlink()
            assert LiveBoard.adopt(tmp_path / "pid").pid == process.pid
        finally:
            process.kill()


@pytest.mark.slow
def test_forwards_through_its_macs(tmp_path):
    with SocketBoard(build_board(CONFIG, macs=True), CONFIG, tmp_path) as sockets:
        for port in sockets.ports:
            port.settimeout(60)
        assert sockets.driver.info().has_macs
        model = program(sockets)
        forwards(sockets, model, list(forwarding_frames(SCENARIO, 50)))
        start = SCENARIO.routers[3].own[0].to_bytes(6, "big") + next(forwarding_frames(SCENARIO, 1)).frame[6:]
        forwards(sockets, model, [RxFrame(0, start + Random(length).randbytes(length - len(start)))
                                  for length in range(60, 1515, 97)])
        queues = sockets.driver.read_queues(0)
        assert not any(queues[port, QueueStat.UNDERFLOW] for port in range(CONFIG.ports))
