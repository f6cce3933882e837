"""What two agents tell each other while a router moves: calls and bulk data, over TLS.

The agent that is to get the router listens, for one caller. Its certificate is made for that and known to the caller by
its digest, which the network's own store hands over; the caller says a secret that came the same way. So each knows
who the other is, and nobody else can read or change what is sent. Files end with their SHA-256, so that what was
damaged before it was sent, or after it came, is noticed, too.
"""

import hashlib
import json
import secrets
import socket
import ssl
import struct
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import BaseModel

__all__ = ["Channel", "ChannelError", "Listener", "Place", "connect"]

#: Kind of what follows, and its length in bytes.
_HEAD = struct.Struct("!BI")
_JSON, _DATA, _ZEROS = 0, 1, 2
#: How many zeros.
_HOLE = struct.Struct("!I")
#: Of a process's memory, a good part has never been written: pages of zeros are not sent as such.
_PAGE = 4096
_NOTHING = bytes(_PAGE)
#: Bytes of data that are sent at once, and of anything that is taken at once.
_PART, _MOST = 1 << 18, 64 << 20
#: Seconds that the other side may leave us without a word.
TIMEOUT = 30.0


class ChannelError(ConnectionError):
    """The other agent is gone, or is not who it should be."""


class Place(BaseModel):
    """Where an agent listens for a router, and how it is known.

    Attributes
    ----------
    address, port : str, int
    digest : str
        SHA-256 of its certificate.
    token : str
        What the caller has to say.
    """

    address: str
    port: int
    digest: str
    token: str


class Channel:
    """A connection between two agents. One thread at a time may use it.

    Parameters
    ----------
    connection : ssl.SSLSocket
    """

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection
        connection.settimeout(TIMEOUT)
        self._reader = connection.makefile("rb", buffering=_PART)

    def set_patience(self, seconds: float) -> None:
        """How long the other side may leave us without a word, from now on."""
        self._connection.settimeout(seconds)

    def close(self) -> None:
        """End it; the other side notices."""
        self._reader.close()
        self._connection.close()

    def __enter__(self) -> "Channel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Messages

    def send(self, **message: Any) -> None:
        """Send a message.

        Raises
        ------
        ChannelError
            If the other side is gone.
        """
        self._send(_JSON, json.dumps(message).encode())

    def receive(self) -> dict[str, Any]:
        """The next message.

        Raises
        ------
        ChannelError
            If the other side is gone, or what comes is none.
        """
        kind, body = self._receive()
        if kind != _JSON:
            raise ChannelError("the other agent sent data, and not a message")
        try:
            message = json.loads(body)
        except ValueError as error:
            raise ChannelError(f"the other agent sent what is no message: {error}") from None
        if not isinstance(message, dict):
            raise ChannelError("the other agent sent what is no message")
        return message

    def send_data(self, parts: Iterator[bytes] | list[bytes], progress: Callable[[int], None] | None = None) -> int:
        """Send bytes, which end with their digest; returns how many.

        Parameters
        ----------
        parts : iterable of bytes
        progress : callable, optional
            Is told how many were sent so far.
        """
        digest, sent = hashlib.sha256(), 0
        for part in parts:
            for start in range(0, len(part), _PART):
                for piece in _pieces(part[start:start + _PART]):
                    if isinstance(piece, int):
                        digest.update(_HOLE.pack(piece))
                        self._send(_ZEROS, _HOLE.pack(piece))
                        sent += piece
                    else:
                        digest.update(piece)
                        self._send(_DATA, piece)
                        sent += len(piece)
                if progress is not None:
                    progress(sent)
        self.send(bytes=sent, sha256=digest.hexdigest())
        return sent

    def receive_data(self) -> Iterator[bytes]:
        """Bytes that :meth:`send_data` sent, to the last.

        Raises
        ------
        ChannelError
            If they are not what was sent.
        """
        for part in self.receive_parts():
            yield bytes(part) if isinstance(part, int) else part

    def receive_parts(self) -> Iterator[bytes | int]:
        """The same; pages of zeros are told by how many bytes they are."""
        digest, received = hashlib.sha256(), 0
        while True:
            kind, body = self._receive()
            if kind == _DATA:
                digest.update(body)
                received += len(body)
                yield body
            elif kind == _ZEROS:
                digest.update(body)
                length, = _HOLE.unpack(body)
                if length > _PART:
                    raise ChannelError(f"the other agent sent {length} zeros at once")
                received += length
                yield length
            else:
                end = json.loads(body)
                if (end.get("bytes"), end.get("sha256")) != (received, digest.hexdigest()):
                    raise ChannelError(f"{received} bytes came, of {end.get('bytes')}, or they are not those that were "
                                       "sent: their digests differ")
                return

    def _send(self, kind: int, body: bytes) -> None:
        try:
            self._connection.sendall(_HEAD.pack(kind, len(body)) + body)
        except (OSError, ValueError) as error:
            raise ChannelError(f"the other agent is gone: {error}") from error

    def _receive(self) -> tuple[int, bytes]:
        try:
            kind, length = _HEAD.unpack(self._exactly(_HEAD.size))
            if length > _MOST:
                raise ChannelError(f"the other agent wants to send {length} bytes at once")
            return kind, self._exactly(length)
        except (OSError, ValueError) as error:
            if isinstance(error, ChannelError):
                raise
            raise ChannelError(f"the other agent is gone: {error}") from error

    def _exactly(self, count: int) -> bytes:
        data = self._reader.read(count)
        if data is None or len(data) != count:
            raise ChannelError("the other agent has closed the connection")
        return data


def _pieces(data: bytes) -> Iterator[bytes | int]:
    """Data as runs of pages that are not all zeros, and lengths of those that are."""
    if len(data) < _PAGE:
        yield data
        return
    begin, zero = 0, data[:_PAGE] == _NOTHING
    for start in range(_PAGE, len(data), _PAGE):
        if (data[start:start + _PAGE] == _NOTHING) != zero:
            yield start - begin if zero else data[begin:start]
            begin, zero = start, not zero
    yield len(data) - begin if zero else data[begin:]


class Listener:
    """Waits for one caller.

    Parameters
    ----------
    address : str
        To listen at, in the network namespace of the calling thread.

    Attributes
    ----------
    place : Place
        What the caller must know.
    """

    def __init__(self, address: str = "127.0.0.1") -> None:
        certificate, key = _identity()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        with tempfile.NamedTemporaryFile() as file:     # which only root can read; ssl takes no bytes
            file.write(key + certificate.public_bytes(serialization.Encoding.PEM))
            file.flush()
            self._context.load_cert_chain(file.name)
        self._socket = socket.create_server((address, 0))
        self.place = Place(address=address, port=self._socket.getsockname()[1],
                           digest=certificate.fingerprint(hashes.SHA256()).hex(), token=secrets.token_hex(32))

    def accept(self, timeout: float = TIMEOUT) -> Channel:
        """The caller's channel; who does not know the token is turned away.

        Raises
        ------
        ChannelError
            If nobody comes in time.
        """
        self._socket.settimeout(timeout)
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError as error:
                raise ChannelError(f"no agent called: {error}") from error
            plain.settimeout(TIMEOUT)
            try:
                channel = Channel(self._context.wrap_socket(plain, server_side=True))
            except OSError:
                plain.close()
                continue
            try:
                if secrets.compare_digest(str(channel.receive().get("token")), self.place.token):
                    return channel
                channel.send(error="the token is wrong")
            except ChannelError:
                pass
            channel.close()

    def close(self) -> None:
        """Wait for nobody any more."""
        self._socket.close()


def connect(place: Place) -> Channel:
    """Call the agent that listens at a place.

    Raises
    ------
    ChannelError
        If there is none, or it is another one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # There is no authority: the one certificate that will do is known by its digest.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        plain = socket.create_connection((place.address, place.port), timeout=TIMEOUT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = context.wrap_socket(plain)
    except OSError as error:
        raise ChannelError(f"no agent answers at {place.address}, port {place.port}: {error}") from error
    certificate = connection.getpeercert(binary_form=True) or b""
    if not secrets.compare_digest(hashlib.sha256(certificate).hexdigest(), place.digest):
        connection.close()
        raise ChannelError(f"who answers at {place.address}, port {place.port}, is not the agent that was to: its "
                           "certificate is another one")
    channel = Channel(connection)
    channel.send(token=place.token)
    return channel


def _identity() -> tuple[x509.Certificate, bytes]:
    """A certificate for this one time, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "polyrouter agent")])
    now = datetime.now(UTC)
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
                   .not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256()))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                            serialization.NoEncryption())
    return certificate, pem
