"""The board's end of an authenticated link, by the model of the envelope: what a host's transport is tested with."""

from polyrouter.sim.auth_frames import BOARD_MAC, DATA, HELLO, TO_HOST, WELCOME, AuthFrame, tag_of

KEY = bytes(range(16))
HOST_MAC = bytes.fromhex("021122334455")


class Wire:
    """A transport whose far end is a list in each direction."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.arriving: list[bytes] = []
        self.closed = False

    def send(self, frame: bytes) -> int:
        self.sent.append(frame)
        return len(frame)

    def recv(self, size: int) -> bytes:
        if not self.arriving:
            raise BlockingIOError
        return self.arriving.pop(0)[:size]

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self.closed = True


class EnvelopeBoard:
    """Judges frames as docs/boards.md says, and makes those of the board."""

    def __init__(self, nonce: int, key: bytes = KEY) -> None:
        self.nonce, self.key = nonce, key
        self.accepted = self.sequence = 0
        self.taken: list[bytes] = []
        self.refused = 0

    def take(self, frame: bytes) -> bytes | None:
        """A frame from the host; returns the answer if there is one."""
        if int.from_bytes(frame[24:32], "little") != tag_of(self.key, frame, 0, self.nonce):
            self.refused += 1
            return None
        sequence = int.from_bytes(frame[16:24], "little")
        if frame[15] == HELLO:
            body = b"".join(value.to_bytes(8, "little") for value in (sequence, self.nonce, self.accepted, 0))
            return self._make(WELCOME, body, frame[6:12])
        if sequence <= self.accepted:
            self.refused += 1
            return None
        self.accepted = sequence
        self.taken.append(frame[32:])
        return None

    def data(self, body: bytes) -> bytes:
        """A host frame from the board."""
        return self._make(DATA, body, HOST_MAC)

    def _make(self, kind: int, body: bytes, destination: bytes) -> bytes:
        self.sequence += 1
        return AuthFrame(kind, self.sequence, body, destination, BOARD_MAC).to_bytes(self.key, self.nonce, TO_HOST)
