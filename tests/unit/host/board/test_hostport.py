"""Sorting of the frames on a host port."""

import queue
import socket
import threading

import pytest
from polyrouter.hdl.layouts import HostFrameType, Reason, Register, Table
from polyrouter.host.board.driver import Driver
from polyrouter.host.board.hostport import HostPort
from polyrouter.host.board.pace import WINDOW
from polyrouter.host.ports import logical
from polyrouter.sim.golden import GoldenModel
from polyrouter.sim.host_frames import HostFrame
from polyrouter.sim.packets import ethernet, with_tag

from .link import Link, small_config


@pytest.fixture
def wire():
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    far.settimeout(10)
    yield near, far
    far.close()


def test_a_punt_reaches_the_handler_without_padding(wire):
    near, far = wire
    punts = queue.Queue()
    with HostPort(near, lambda *punt: punts.put(punt)) as port:
        frame = bytes(range(40))
        far.send(HostFrame(HostFrameType.PUNT, frame + b"\xee" * 9, router=3, port=1, reason=Reason.PUNT_TTL,
                           length=len(frame)).to_bytes())
        assert punts.get(timeout=10) == (3, 1, Reason.PUNT_TTL, frame)
        assert (port.punts, port.punts_dropped) == (1, 0)


def test_a_punt_at_the_link_port_tells_its_circuit(wire):
    near, far = wire
    punts = queue.Queue()
    with HostPort(near, lambda *punt: punts.put(punt[:2]), link_port=3):
        for port, tci in ((3, 0x2011), (3, 0xE000), (1, 0x2011)):
            far.send(HostFrame(HostFrameType.PUNT, bytes(20), router=3, port=port, reason=Reason.PUNT_LOCAL,
                               tci=tci).to_bytes())
        assert [punts.get(timeout=10) for _ in range(3)] == [(3, logical(3, 0x11)), (3, 3), (3, 1)]


def test_a_circuit_goes_in_front_of_the_tag_that_a_frame_has(wire):
    near, far = wire
    frame = with_tag(ethernet(0x02AA00000001, 0x02AA00000002, 0x1234, bytes(50)), 100)
    with HostPort(near) as port:
        port.inject(5, logical(3, 0xFFF), frame)
        port.inject(5, 2, frame)
        first, second = (HostFrame.from_bytes(far.recv(4000)) for _ in range(2))
    assert (first.router, first.port) == (5, 3) and (second.router, second.port, second.payload) == (5, 2, frame)
    assert first.payload == frame[:12] + bytes.fromhex("81000fff") + frame[12:]
    assert first.length == len(frame) + 4


class SlowBoard:
    """A transport to a golden model that takes frames when it is told."""

    def __init__(self) -> None:
        self.link = Link(GoldenModel(small_config()))
        self.waiting: list[bytes] = []
        self.fileno, self.recv, self.close = self.link.fileno, self.link.recv, self.link.close

    def send(self, frame: bytes) -> int:
        self.waiting.append(frame)
        return len(frame)

    def take(self, count: int) -> None:
        for frame in self.waiting[:count]:
            self.link.send(frame)
        del self.waiting[:count]


def wait_until(condition) -> None:
    pause = threading.Event()
    for _ in range(2000):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("never so")


def test_there_is_room_for_what_the_board_has_taken():
    board = SlowBoard()
    with HostPort(board) as port:
        driver = Driver(port, timeout=30)
        done = threading.Thread(target=driver.sync)
        done.start()
        wait_until(lambda: board.waiting)
        board.take(1)
        done.join()
        sent = 0
        while port.room():
            port.inject(0, 0, bytes(60))
            sent += 1
        assert sent == WINDOW
        assert port.room() == 0
        # The board is asked on the way. It takes half of it, and later the rest.
        board.take(len(board.waiting) // 2)
        wait_until(lambda: WINDOW // 4 <= port.room() <= WINDOW // 2)
        board.take(len(board.waiting))
        wait_until(lambda: port.room() == WINDOW or not board.take(len(board.waiting)))
        # The driver has not noticed.
        reader = threading.Thread(target=lambda: driver.read_row(Table.REGISTER, Register.EPOCH))
        reader.start()
        wait_until(lambda: board.waiting)
        board.take(len(board.waiting))
        reader.join()
        assert driver.in_step()


def test_a_lost_answer_does_not_stop_who_asks():
    board = SlowBoard()
    with HostPort(board) as port:
        while port.room():
            port.inject(0, 0, bytes(60))
        board.waiting.clear()
        wait_until(lambda: port.room() or board.waiting)    # asked again after a while
        board.take(len(board.waiting))
        wait_until(lambda: port.room() == WINDOW)


@pytest.mark.parametrize("bad", [
    b"", b"\x00", bytes(31), bytes(60),
    HostFrame(HostFrameType.PUNT, bytes(20), version=2).to_bytes(),
    HostFrame(HostFrameType.PUNT, bytes(20), ethertype=0x0800).to_bytes(),
    HostFrame(HostFrameType.PUNT, bytes(20), length=21).to_bytes(),
    HostFrame(HostFrameType.INJECT, bytes(20)).to_bytes(),
    HostFrame(77, bytes(20)).to_bytes(),
][1:])
def test_what_is_not_from_a_board_is_counted_and_ignored(wire, bad):
    near, far = wire
    punts = queue.Queue()
    with HostPort(near, lambda *punt: punts.put(punt)) as port:
        far.send(bad)
        far.send(HostFrame(HostFrameType.PUNT, bytes(20), reason=Reason.PUNT_LOCAL).to_bytes())
        assert punts.get(timeout=10)[3] == bytes(20)
        assert (port.malformed, port.punts) == (1, 1)


def test_a_handler_that_fails_does_not_end_the_port(wire):
    near, far = wire
    punts = queue.Queue()

    def handler(router, port, reason, frame):
        if router == 1:
            raise LookupError("no such router")
        punts.put(router)

    with HostPort(near) as port:
        port.set_punt_handler(handler)
        for router in (1, 2):
            far.send(HostFrame(HostFrameType.PUNT, bytes(20), router=router).to_bytes())
        assert punts.get(timeout=10) == 2
        assert (port.punts, port.punts_dropped) == (2, 1)


def test_inject_is_what_the_board_expects(wire):
    near, far = wire
    with HostPort(near) as port:
        port.inject(2, 1, b"\x55" * 60)
        sent = HostFrame.from_bytes(far.recv(2000))
        assert (sent.type, sent.router, sent.port, sent.body) == (HostFrameType.INJECT, 2, 1, b"\x55" * 60)
        assert sent.source == port.address


def test_an_injected_frame_is_counted_by_the_model():
    config = small_config()
    model = GoldenModel(config)
    with HostPort(Link(model)) as port:
        port.inject(2, 1, bytes(60))
    assert model.counters == {(2, config.host_port, Reason.DROP_INJECT): 1}
    assert model.host_mac == port.address


def test_closing_ends_the_thread_and_the_socket(wire):
    near, far = wire
    port = HostPort(near)
    port.close()
    port.close()
    assert far.recv(10) == b""


def test_the_far_end_may_close(wire):
    near, far = wire
    port = HostPort(near)
    far.close()
    port.close()
