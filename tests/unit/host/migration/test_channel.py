"""Two agents talk: who else comes, and what is damaged on its way, is noticed."""

import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from polyrouter.host.migration.channel import Channel, ChannelError, Listener, connect


@pytest.fixture
def listener():
    listener = Listener()
    yield listener
    listener.close()


def pair(listener):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(listener.accept, 10)
        return connect(listener.place), waiting.result()


@pytest.fixture
def two(listener):
    here, there = pair(listener)
    with here, there:
        yield here, there


def test_messages_both_ways(two):
    here, there = two
    here.send(call="reserve", number=3)
    assert there.receive() == {"call": "reserve", "number": 3}
    there.send(ok=None)
    assert here.receive() == {"ok": None}


@pytest.mark.parametrize("size", [0, 1, 1 << 18, (1 << 18) + 1, 3_000_000])
def test_data_come_as_they_were_sent(two, size):
    here, there = two
    data = bytes(range(256)) * (size // 256 + 1)
    parts, progress = [data[:size // 2], data[size // 2:size]], []
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(here.send_data, parts, progress.append)
        assert b"".join(there.receive_data()) == data[:size]
        assert sending.result() == size
    assert progress == sorted(progress) and (not size or progress[-1] == size)
    here.send(after=1)
    assert there.receive() == {"after": 1}


def test_damaged_data_are_noticed(two):
    here, there = two

    def parts():
        yield b"abc"
        here._send(1, b"x")         # what nobody counted
        yield b"def"

    here.send_data(parts())
    with pytest.raises(ChannelError, match="7 bytes came, of 6"):
        list(there.receive_data())


def test_the_other_side_goes(two):
    here, there = two
    there._connection.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ChannelError, match=r"closed the connection|is gone"):
        here.receive()


def test_it_goes_in_the_midst_of_data(two):
    here, there = two
    here._send(1, b"half")
    here._connection.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ChannelError):
        list(there.receive_data())


def test_what_is_no_message(two):
    here, there = two
    for body in (b"{", b"[]", b"\xff"):
        here._send(0, body)
        with pytest.raises(ChannelError, match="no message"):
            there.receive()
    here._send(1, b"data")
    with pytest.raises(ChannelError, match="and not a message"):
        there.receive()


def test_too_much_at_once(two):
    here, there = two
    here._connection.sendall(b"\0\xff\xff\xff\xff")
    with pytest.raises(ChannelError, match="wants to send 4294967295 bytes at once"):
        there.receive()


def test_who_does_not_know_the_token_is_turned_away(listener):
    wrong = listener.place.model_copy(update={"token": "0" * 64})

    def intrude():
        with connect(wrong) as channel, pytest.raises(ChannelError):
            channel.send(call="reserve")
            while True:
                assert "token is wrong" in channel.receive()["error"]

    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(listener.accept, 10)
        pool.submit(intrude).result()
        with socket.create_connection((listener.place.address, listener.place.port)) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")        # no TLS at all
            with contextlib.suppress(ConnectionResetError):
                plain.recv(1000)
        with connect(listener.place) as channel, waiting.result() as there:
            channel.send(hello=1)
            assert there.receive() == {"hello": 1}


def test_who_is_another_agent_is_told_nothing(listener):
    other = Listener()
    try:
        place = other.place.model_copy(update={"digest": listener.place.digest})
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(other.accept, 2)
            with pytest.raises(ChannelError, match="its certificate is another one"):
                connect(place)
            with pytest.raises(ChannelError, match="no agent called"):
                waiting.result()
    finally:
        other.close()


def test_nobody_listens(listener):
    listener.close()
    with pytest.raises(ChannelError, match=r"no agent answers at 127\.0\.0\.1"):
        connect(listener.place)


def test_what_goes_over_the_wire_is_not_readable(listener):
    """Nothing of a message is in what a tap of the line sees."""
    seen = bytearray()
    server = socket.create_server(("127.0.0.1", 0))

    def relay():
        client, _ = server.accept()
        far = socket.create_connection((listener.place.address, listener.place.port))

        def pump(source, sink):
            with contextlib.suppress(ConnectionResetError):
                while data := source.recv(65536):
                    seen.extend(data)
                    sink.sendall(data)

        threading.Thread(target=pump, args=(far, client), daemon=True).start()
        pump(client, far)

    threading.Thread(target=relay, daemon=True).start()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(listener.accept, 10)
        channel = connect(listener.place.model_copy(update={"port": server.getsockname()[1]}))
        there = waiting.result()
    with channel, there:
        channel.send(secret="routes-of-red")
        assert there.receive() == {"secret": "routes-of-red"}
        assert isinstance(channel, Channel) and channel._connection.version() == "TLSv1.3"
    server.close()
    assert seen and b"routes-of-red" not in seen and listener.place.token.encode() not in seen
