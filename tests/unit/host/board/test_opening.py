"""Descriptions of links, and key files: what is opened, and what is said of bad ones."""

import os
import pty
import socket

import pytest
from polyrouter.host.board import opening
from polyrouter.host.board.authenticated import AuthenticatedTransport
from polyrouter.host.board.keyfile import read_key
from polyrouter.host.board.opening import open_transport
from polyrouter.host.board.transport import TransportError
from polyrouter.host.board.uart import UartTransport
from polyrouter.host.spec import NodeSpec
from polyrouter.sim.auth_frames import BOARD_MAC, HELLO

KEY = bytes(range(1, 17))


def key_file(path, content, mode=0o600):
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [KEY, KEY.hex().encode(), KEY.hex().upper().encode() + b"\n",
                                     b" \t" + KEY.hex().encode() + b"\r\n"])
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_keys(tmp_path, content, mode):
    assert read_key(key_file(tmp_path / "key", content, mode)) == KEY


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666])
def test_a_key_that_everybody_can_read_or_change(tmp_path, mode):
    with pytest.raises(TransportError, match=f"has mode {mode:04o}.*chmod 600"):
        read_key(key_file(tmp_path / "key", KEY, mode))


@pytest.mark.parametrize("content, what", [
    (b"", "has 0 bytes that are no key"), (KEY[:-1], "32 hexadecimal digits, or 16 bytes"),
    (KEY.hex().encode()[:-1], "no key"), (KEY.hex().encode() + b"00", "no key"), (b"x" * 32, "no key"),
    (bytes(16), "is zero"), (b"0" * 32, "is zero"), (b"a" * 10_000, "no key"),
])
def test_what_is_no_key(tmp_path, content, what):
    with pytest.raises(TransportError, match=what):
        read_key(key_file(tmp_path / "key", content))


def test_no_key_file(tmp_path):
    with pytest.raises(TransportError, match=r"cannot read the board's key from .*/none: No such file"):
        read_key(tmp_path / "none")


@pytest.mark.parametrize("link, why", [
    ("", "it must be"), ("eth", "it must be"), ("eth:", "it must be"), ("tcp:x", "it must be"),
    ("eth:x?key=y", "there is no option key; eth has none"), ("auth:x", "the file of the board's key is missing"),
    ("auth:x?key=", "is missing"), ("auth:x?key", "options are NAME=VALUE"), ("auth:x?key=a&key=b", "is there twice"),
    ("auth:x?key=a&baud=1", "there is no option baud; auth has key, mac"),
    ("auth:x?key=a&mac=1:2", "mac must be like 02:70:6f:6c:79:00, not '1:2'"),
    ("uart:/dev/x?baud=fast", "baud must be a number of bits a second, not 'fast'"), ("uart:/dev/x?baud=0", "baud"),
    ("uart:/dev/polyrouter-none", "cannot open /dev/polyrouter-none.*is the cable in"),
])
def test_bad_descriptions(link, why):
    with pytest.raises(TransportError, match=why):
        open_transport(link)


class PacketSocket(socket.socket):
    """A socket pair's end that says it has an address."""

    def getsockname(self):
        return ("lan0", 0x88B6, 0, 1, bytes.fromhex("020304050607"))


def test_authenticated(tmp_path, monkeypatch):
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    asked = []

    def open_socket(*arguments, **options):
        asked.append((arguments, options))
        return PacketSocket(fileno=near.detach())

    monkeypatch.setattr(opening, "open_packet_socket", open_socket)
    transport = open_transport(f"auth:lan0?key={key_file(tmp_path / 'key', KEY)}", "net")
    assert isinstance(transport, AuthenticatedTransport) and transport.address == bytes.fromhex("020304050607")
    assert asked == [(("lan0", "net", 0x88B6), {"least_mtu": 1568})]
    hello = far.recv(2000)
    assert hello[:6] == BOARD_MAC and hello[6:12] == transport.address and hello[15] == HELLO and len(hello) == 64
    transport.close()
    far.close()


def test_uart():
    master, slave = pty.openpty()
    transport = open_transport(f"uart:{os.ttyname(slave)}?baud=115200")
    assert isinstance(transport, UartTransport)
    transport.close()
    os.close(master)
    os.close(slave)


def test_a_simulated_board_has_a_host_port():
    spec = NodeSpec(topology="t", node="n", namespace="f", core={}, macs=False, taps=[], host_tap="n-host")
    assert spec.link == "eth:n-host"
    assert spec.model_copy(update={"host_link": "uart:/dev/ttyUSB0"}).link == "uart:/dev/ttyUSB0"
