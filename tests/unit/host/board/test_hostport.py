"""Sorting of the frames on a host port."""

import queue
import socket

import pytest
from polyrouter.hdl.layouts import HostFrameType, Reason
from polyrouter.host.board.hostport import HostPort
from polyrouter.sim.golden import GoldenModel
from polyrouter.sim.host_frames import HostFrame

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
