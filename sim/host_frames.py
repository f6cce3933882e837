"""Frames on the host port as a test builds and reads them."""

from dataclasses import dataclass, field
from typing import Any

from polyrouter.hdl.config import HOST_HEADER_BYTES
from polyrouter.hdl.layouts import (
    BOARD_MAC,
    CONTROL_OP,
    HOST_ETHERTYPE,
    HOST_HEADER,
    HOST_VERSION,
    HostFrameType,
    HostStatus,
    Opcode,
    Table,
    pack,
    unpack,
)

__all__ = ["BOARD_MAC", "BROADCAST", "OP_BYTES", "HostFrame", "Op"]

BROADCAST = b"\xff" * 6
OP_BYTES = CONTROL_OP.size // 8


@dataclass
class Op:
    """One access of a REQUEST or RESPONSE; the names are those of ``CONTROL_OP``."""

    opcode: int
    table: int = 0
    router: int = 0
    row: int = 0
    word: int = 0
    data: int = 0
    status: int = 0

    @classmethod
    def read(cls, table: Table, router: int, row: int, word: int = 0) -> "Op":
        """A READ of one word."""
        return cls(Opcode.READ, table, router, row, word)

    @classmethod
    def write(cls, table: Table, router: int, row: int, data: int, word: int = 0) -> "Op":
        """A WRITE of one word."""
        return cls(Opcode.WRITE, table, router, row, word, data)

    def to_bytes(self) -> bytes:
        """The 16 bytes in a frame."""
        return pack(CONTROL_OP, vars(self)).to_bytes(OP_BYTES, "little")

    @classmethod
    def from_bytes(cls, octets: bytes) -> "Op":
        """Read 16 bytes."""
        return cls(**unpack(CONTROL_OP, int.from_bytes(octets, "little")))


@dataclass
class HostFrame:
    """A frame on the host port; the names are those of ``HOST_HEADER``.

    ``payload`` is all that follows the header, padding included; ``length`` None counts all of it.
    """

    type: int
    payload: bytes = b""
    destination: bytes = BOARD_MAC
    source: bytes = BOARD_MAC
    sequence: int = 0
    router: int = 0
    port: int = 0
    reason: int = 0
    expected: int = 0
    length: int | None = None
    tci: int = 0
    version: int = HOST_VERSION
    ethertype: int = field(default=HOST_ETHERTYPE)

    @classmethod
    def request(cls, sequence: int, ops: list[Op], *, source: bytes, sync: bool = False) -> "HostFrame":
        """A REQUEST with these accesses."""
        return cls(HostFrameType.REQUEST, b"".join(op.to_bytes() for op in ops), source=source, sequence=sequence,
                   reason=HostStatus.SYNC if sync else HostStatus.OK)

    @classmethod
    def inject(cls, router: int, port: int, frame: bytes, *, source: bytes) -> "HostFrame":
        """An INJECT of ``frame``."""
        return cls(HostFrameType.INJECT, frame, source=source, router=router, port=port)

    def to_bytes(self) -> bytes:
        """The frame, without FCS."""
        header = pack(HOST_HEADER, {
            "destination": int.from_bytes(self.destination, "little"),
            "source": int.from_bytes(self.source, "little"),
            "ethertype": int.from_bytes(self.ethertype.to_bytes(2, "big"), "little"),
            "version": self.version, "type": self.type, "sequence": self.sequence, "router": self.router,
            "port": self.port, "reason": self.reason, "expected": self.expected,
            "length": len(self.payload) if self.length is None else self.length, "tci": self.tci,
        })
        return header.to_bytes(HOST_HEADER_BYTES, "little") + self.payload

    @classmethod
    def from_bytes(cls, frame: bytes) -> "HostFrame":
        """Read a frame, whatever its EtherType and version are.

        Raises
        ------
        ValueError
            If it is shorter than the header.
        """
        if len(frame) < HOST_HEADER_BYTES:
            raise ValueError(f"a host frame has at least {HOST_HEADER_BYTES} bytes, not {len(frame)}")
        values = unpack(HOST_HEADER, int.from_bytes(frame[:HOST_HEADER_BYTES], "little"))
        fields: dict[str, Any] = {
            **values,
            "destination": values["destination"].to_bytes(6, "little"),
            "source": values["source"].to_bytes(6, "little"),
            "ethertype": int.from_bytes(values["ethertype"].to_bytes(2, "little"), "big"),
        }
        return cls(payload=frame[HOST_HEADER_BYTES:], **fields)

    @property
    def body(self) -> bytes:
        """The payload without padding."""
        return self.payload[:self.length]

    @property
    def ops(self) -> list[Op]:
        """The accesses of a REQUEST or RESPONSE."""
        body = self.body
        return [Op.from_bytes(body[i:i + OP_BYTES]) for i in range(0, len(body), OP_BYTES)]
