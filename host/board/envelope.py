"""Authenticated frames to and from bytes, by the layouts that the RTL uses; see ``docs/boards.md``, "Host link"."""

import hmac
import struct
from typing import NamedTuple

import siphashc
from amaranth.lib import data

from ...hdl.hostlink.layouts import (
    AUTH_ETHERTYPE,
    AUTH_HEADER,
    AUTH_HEADER_BYTES,
    AUTH_LEAST_BYTES,
    AUTH_TRAILER,
    AUTH_VERSION,
    AUTH_WELCOME,
    AuthKind,
    Direction,
)

__all__ = ["Envelope", "Welcome", "decode", "encode", "is_authentic"]

_FORMATS = {8: "B", 16: "H", 40: "5s", 48: "6s", 64: "Q"}


def _struct_of(layout: data.StructLayout, on_wire: tuple[str, ...] = ()) -> struct.Struct:
    """A layout whose fields are whole bytes, one after the other, as a struct format; little-endian."""
    formats, offset = [], 0
    for name, entry in layout:
        if entry.offset != offset:
            raise TypeError(f"{name} is not where the field before it ends")
        formats.append(f"{entry.width // 8}s" if name in on_wire else _FORMATS[entry.width])
        offset += entry.width
    return struct.Struct("<" + "".join(formats))


class Envelope(NamedTuple):
    """Fields of ``AUTH_HEADER``; MAC addresses and EtherType as they are on the wire."""

    destination: bytes
    source: bytes
    ethertype: bytes
    version: int
    kind: int
    sequence: int
    tag: int


class Welcome(NamedTuple):
    """Fields of ``AUTH_WELCOME``."""

    challenge: int
    nonce: int
    accepted: int
    reserved: int

    @classmethod
    def from_bytes(cls, body: bytes) -> "Welcome":
        """Of the body of a WELCOME, which is as long as it must be if it is authentic."""
        return cls._make(_WELCOME.unpack_from(body))


_HEADER = _struct_of(AUTH_HEADER, ("destination", "source", "ethertype"))
_TRAILER = _struct_of(AUTH_TRAILER)
_WELCOME = _struct_of(AUTH_WELCOME)
if Envelope._fields != tuple(name for name, _ in AUTH_HEADER) or Welcome._fields != tuple(
        name for name, _ in AUTH_WELCOME):
    raise TypeError("AUTH_HEADER or AUTH_WELCOME has other fields than are known here")
_ETHERTYPE = AUTH_ETHERTYPE.to_bytes(2, "big")
_TAG = AUTH_HEADER_BYTES - 8        # where it stands: last
_WORD = 8


def _tag(key: bytes, before: bytes, body: bytes, direction: Direction, nonce: int) -> int:
    length = AUTH_HEADER_BYTES + len(body)
    return siphashc.siphash(key, b"".join((before, body, bytes(-length % _WORD),
                                           _TRAILER.pack(length, direction, bytes(5), nonce))))


def encode(key: bytes, destination: bytes, source: bytes, kind: AuthKind, sequence: int, body: bytes,
           nonce: int) -> bytes:
    """A frame to the board with its tag; ``nonce`` is the board's, zero for a HELLO."""
    header = _HEADER.pack(destination, source, _ETHERTYPE, AUTH_VERSION, kind, sequence, 0)[:_TAG]
    tag = _tag(key, header, body, Direction.TO_BOARD, nonce)
    return b"".join((header, tag.to_bytes(_WORD, "little"), body))


def decode(frame: bytes) -> Envelope | None:
    """Header of an authenticated frame; None if it is none that a board sends."""
    if len(frame) < AUTH_LEAST_BYTES:
        return None
    envelope = Envelope._make(_HEADER.unpack_from(frame))
    if (envelope.ethertype != _ETHERTYPE or envelope.version != AUTH_VERSION
            or envelope.kind not in (AuthKind.DATA, AuthKind.WELCOME)):
        return None
    return envelope


def is_authentic(key: bytes, frame: bytes, nonce: int) -> bool:
    """Whether a frame from the board has the right tag; ``nonce`` is the board's, zero for a WELCOME."""
    tag = _tag(key, frame[:_TAG], frame[AUTH_HEADER_BYTES:], Direction.TO_HOST, nonce)
    return hmac.compare_digest(tag.to_bytes(_WORD, "little"), frame[_TAG:AUTH_HEADER_BYTES])
