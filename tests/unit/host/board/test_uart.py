"""The host's end of a UART: framing, and a transport over a pseudo terminal."""

import contextlib
import os
import pty
import random
import select
import tty

import pytest
from hypothesis import given
from hypothesis import strategies as st
from polyrouter.hdl.layouts import HostFrameType, Reason
from polyrouter.host.board.hostport import HostPort
from polyrouter.host.board.slip import SlipDecoder, encode_slip
from polyrouter.host.board.transport import TransportError
from polyrouter.host.board.uart import UartTransport
from polyrouter.sim.host_frames import HostFrame

special = st.sampled_from([0xC0, 0xDB, 0xDC, 0xDD])
frames = st.lists(st.lists(special | st.integers(0, 255), min_size=1, max_size=60).map(bytes), max_size=10)


@given(frames, st.randoms(use_true_random=False))
def test_frames_in_pieces(sent, rng):
    line = b"".join(map(encode_slip, sent))
    decoder, got = SlipDecoder(60), []
    while line:
        size = rng.randint(1, 40)
        got += decoder.feed(line[:size])
        line = line[size:]
    assert got == sent and decoder.damaged == decoder.long == 0


@given(frames, st.binary(max_size=30), frames)
def test_rubbish_costs_no_frame_besides_itself(before, rubbish, after):
    decoder = SlipDecoder(100)
    got = decoder.feed(b"".join(map(encode_slip, before)) + rubbish + b"".join(map(encode_slip, after)))
    assert got[:len(before)] == before and (not after or got[-len(after):] == after)
    assert len(got) <= len(before) + len(after) + 1


def test_too_long_and_without_an_end():
    decoder = SlipDecoder(100)
    assert decoder.feed(encode_slip(bytes(101)) + encode_slip(bytes(100))) == [bytes(100)]
    assert decoder.long == 1
    for _ in range(1000):
        assert decoder.feed(b"\xdb\xdd" * 500) == []
    assert len(decoder._part) <= 2 * 104 + 1000
    assert decoder.feed(encode_slip(bytes(3))) == [bytes(3)] and decoder.long == 2


@pytest.fixture
def line():
    master, slave = pty.openpty()
    tty.setraw(slave)
    transport = UartTransport(os.ttyname(slave), 115200)
    yield master, transport
    transport.close()
    os.close(slave)
    os.close(master)


def readable(transport):
    return bool(select.select([transport.fileno()], [], [], 0)[0])


def take(transport):
    assert select.select([transport.fileno()], [], [], 10)[0]
    return transport.recv(16384)


def test_several_frames_in_one_read(line):
    """Those that are left must show at once, though there is nothing on the line any more."""
    master, transport = line
    sent = [bytes([k]) * 20 for k in range(5)]
    os.write(master, b"".join(map(encode_slip, sent)))
    got = []
    while len(got) < 5:
        with contextlib.suppress(BlockingIOError):
            got.append(take(transport))
    assert got == sent and not readable(transport)
    with pytest.raises(BlockingIOError):
        transport.recv(100)


def test_parts_and_damage(line):
    master, transport = line
    coded = encode_slip(bytes(range(30)))
    os.write(master, coded[:10])
    with pytest.raises(BlockingIOError):
        take(transport)
    os.write(master, coded[11:] + encode_slip(b"good"))
    while True:
        try:
            assert take(transport) == b"good"
            break
        except BlockingIOError:
            pass
    assert (transport.damaged, transport.long) == (1, 0)


def test_what_is_sent(line):
    master, transport = line
    rng = random.Random(1)
    sent = [rng.randbytes(rng.randint(1, 300)) for _ in range(8)]
    decoder, got = SlipDecoder(300), []
    for frame in sent:
        assert transport.send(frame) == len(frame)
        while len(got) < len(sent) and got[-1:] != [frame]:
            got += decoder.feed(os.read(master, 4096))
    assert got == sent


def test_a_host_port_over_it(line):
    master, transport = line
    punts = []
    arrived = []
    read, write = os.pipe()

    def take_punt(*punt):
        punts.append(punt)
        os.write(write, b"x")

    with HostPort(transport, take_punt) as port:
        port.inject(2, 1, bytes(60))
        decoder = SlipDecoder(2000)
        while not arrived:
            arrived += decoder.feed(os.read(master, 4096))
        frame = HostFrame.from_bytes(arrived[0])
        assert (frame.router, frame.port, frame.payload) == (2, 1, bytes(60))
        punt = HostFrame(HostFrameType.PUNT, bytes(range(50)), router=3, port=1, reason=Reason.PUNT_TTL, length=50)
        os.write(master, encode_slip(punt.to_bytes()))
        assert os.read(read, 1) == b"x"
    assert punts == [(3, 1, Reason.PUNT_TTL, bytes(range(50)))]
    os.close(read)
    os.close(write)


def test_the_cable_is_pulled():
    master, slave = pty.openpty()
    transport = UartTransport(os.ttyname(slave), 115200)
    os.close(slave)
    os.close(master)
    with pytest.raises(TransportError, match="is gone"):
        transport.recv(100)
    transport.close()


def test_the_cable_is_pulled_while_a_host_port_uses_it():
    master, slave = pty.openpty()
    tty.setraw(slave)
    port = HostPort(UartTransport(os.ttyname(slave), 115200))
    assert port.gone is None
    os.close(slave)
    os.close(master)
    port._thread.join(10)
    assert port.gone is not None and "is gone" in port.gone
    port.inject(0, 0, bytes(60))            # lost, as on a wire
    assert (port.injected, port.lost) == (0, 1)
    with pytest.raises(TransportError, match="is gone"):
        port.request(0, b"")
    port.close()


def test_one_user_at_a_time(line):
    _, transport = line
    with pytest.raises(TransportError, match="another program uses it"):
        UartTransport(transport._line.port, 115200)
