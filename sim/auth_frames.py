"""Authenticated host frames by ``docs/boards.md``, "Host link", made and checked independently of host and RTL."""

from dataclasses import dataclass

from .siphash import siphash24

__all__ = ["BOARD_MAC", "DATA", "HELLO", "TO_BOARD", "TO_HOST", "WELCOME", "AuthFrame", "tag_of"]

DATA, HELLO, WELCOME = 1, 2, 3
TO_BOARD, TO_HOST = 0, 1
BOARD_MAC = bytes.fromhex("02706f6c7900")
_ETHERTYPE = bytes.fromhex("88b6")
_HEADER = 32


def tag_of(key: bytes, frame: bytes, direction: int, nonce: int) -> int:
    """What the tag of a frame must be, whatever stands in its place; a HELLO and a WELCOME have no nonce."""
    message = frame[:24] + frame[_HEADER:]
    message += bytes(-len(message) % 8)
    trailer = len(frame).to_bytes(2, "little") + bytes([direction]) + bytes(5)
    nonce = nonce if frame[15] == DATA else 0
    return siphash24(key, message + trailer + nonce.to_bytes(8, "little"))


@dataclass(frozen=True)
class AuthFrame:
    """Fields of an envelope, and what is in it."""

    kind: int
    sequence: int
    body: bytes
    destination: bytes = BOARD_MAC
    source: bytes = bytes.fromhex("021122334455")
    version: int = 1

    def to_bytes(self, key: bytes, nonce: int, direction: int = TO_BOARD) -> bytes:
        """The frame with its tag."""
        frame = (self.destination + self.source + _ETHERTYPE + bytes([self.version, self.kind])
                 + self.sequence.to_bytes(8, "little") + bytes(8) + self.body)
        return frame[:24] + tag_of(key, frame, direction, nonce).to_bytes(8, "little") + frame[_HEADER:]

    @classmethod
    def from_bytes(cls, key: bytes, nonce: int, frame: bytes, direction: int = TO_HOST) -> "AuthFrame":
        """Take a frame apart; ValueError if it is not authentic."""
        if len(frame) < _HEADER or frame[12:14] != _ETHERTYPE:
            raise ValueError("not an authenticated frame")
        if int.from_bytes(frame[24:32], "little") != tag_of(key, frame, direction, nonce):
            raise ValueError("the tag is wrong")
        return cls(frame[15], int.from_bytes(frame[16:24], "little"), frame[_HEADER:], frame[:6], frame[6:12],
                   frame[14])
