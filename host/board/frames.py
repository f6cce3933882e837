"""Frames on the host port and the accesses in them, to and from bytes, by the layouts that the RTL uses.

Every punted frame goes through here, so what can be worked out from a layout once is.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

from amaranth.lib import data

from ...hdl.config import HOST_HEADER_BYTES
from ...hdl.layouts import (
    BOARD_MAC,
    CONTROL_OP,
    HOST_ETHERTYPE,
    HOST_HEADER,
    HOST_VERSION,
    HostFrameType,
    HostStatus,
    Opcode,
    OpStatus,
    Table,
)
from ..ports import circuit, physical

__all__ = ["BOARD_MAC", "OP_BYTES", "Header", "Op", "OpResult", "decode_header", "decode_results", "encode_inject",
           "encode_request"]

OP_BYTES = CONTROL_OP.size // 8
#: EtherType of a tag of 802.1Q.
_TPID = 0x8100
_TAG = struct.Struct("!HH")


class Header(NamedTuple):
    """Fields of ``HOST_HEADER``; MAC addresses and EtherType as they are on the wire."""

    destination: bytes
    source: bytes
    ethertype: bytes
    version: int
    type: int
    sequence: int
    router: int
    port: int
    reason: int
    length: int
    expected: int
    tci: int


def _header_struct() -> struct.Struct:
    """``HOST_HEADER`` as a struct format. All its fields are whole bytes, one after the other, little-endian."""
    integers = {8: "B", 16: "H", 32: "I"}
    formats: list[str] = []
    offset = 0
    for name, entry in HOST_HEADER:
        if entry.offset != offset or name != Header._fields[len(formats)]:
            raise TypeError(f"HOST_HEADER.{name} is not where the fields of Header expect it")
        on_wire = name in ("destination", "source", "ethertype")
        formats.append(f"{entry.width // 8}s" if on_wire else integers[entry.width])
        offset += entry.width
    return struct.Struct("<" + "".join(formats))


_HEADER = _header_struct()
_ETHERTYPE = HOST_ETHERTYPE.to_bytes(2, "big")
_BLANK = Header(BOARD_MAC, bytes(6), _ETHERTYPE, HOST_VERSION, 0, 0, 0, 0, 0, 0, 0, 0)


def decode_header(frame: bytes) -> Header | None:
    """Header of a frame from a board, None if it is none or is cut short."""
    if len(frame) < HOST_HEADER_BYTES:
        return None
    header = Header._make(_HEADER.unpack_from(frame))
    if (header.ethertype != _ETHERTYPE or header.version != HOST_VERSION
            or header.length > len(frame) - HOST_HEADER_BYTES):
        return None
    return header


def encode_inject(source: bytes, router: int, port: int, frame: bytes) -> bytes:
    """An INJECT: send ``frame`` out of a logical port as a router.

    A circuit's number goes in front of the frame, whatever tag that has, as a tag of its own.
    """
    if circuit(port):
        frame = frame[:12] + _TAG.pack(_TPID, circuit(port)) + frame[12:]
    return _HEADER.pack(*_BLANK._replace(source=source, type=HostFrameType.INJECT, router=router, port=physical(port),
                                         length=len(frame))) + frame


@dataclass(frozen=True, slots=True)
class Op:
    """One access of the control engine; the names are those of ``CONTROL_OP``."""

    opcode: int
    table: int = 0
    router: int = 0
    row: int = 0
    word: int = 0
    data: int = 0

    @classmethod
    def read(cls, table: Table, row: int, *, router: int = 0, word: int = 0) -> "Op":
        """Read a word of a row."""
        return cls(Opcode.READ, table, router, row, word)

    @classmethod
    def write(cls, table: Table, row: int, data: int, *, router: int = 0, word: int = 0) -> "Op":
        """Write a word of a row; the last word commits the row."""
        return cls(Opcode.WRITE, table, router, row, word, data)

    @classmethod
    def fence(cls) -> "Op":
        """Wait until every lookup that was under way has ended."""
        return cls(Opcode.FENCE)

    def describe(self) -> str:
        """The access in words, for messages."""
        if self.opcode == Opcode.FENCE:
            return "FENCE"
        verb = _name(Opcode, self.opcode)
        return f"{verb} of {_name(Table, self.table)} row {self.row} word {self.word} of router {self.router}"

    def to_bytes(self) -> bytes:
        """The 16 bytes in a frame.

        Raises
        ------
        ValueError
            If a value does not fit its field.
        """
        bits = 0
        for name, (shift, mask) in _OP_FIELDS:
            value = getattr(self, name)
            if value & mask != value:
                raise ValueError(f"{name} must fit {mask.bit_length()} bits, not {value!r}")
            bits |= value << shift
        return bits.to_bytes(OP_BYTES, "little")


@dataclass(frozen=True, slots=True)
class OpResult:
    """What became of an access."""

    status: OpStatus
    data: int = 0


def _shifts(layout: data.StructLayout) -> dict[str, tuple[int, int]]:
    return {str(name): (entry.offset, (1 << entry.width) - 1) for name, entry in layout}


_OP_SHIFTS = _shifts(CONTROL_OP)
_OP_FIELDS = tuple((name, _OP_SHIFTS[name]) for name in ("opcode", "table", "router", "row", "word", "data"))
_STATUS_SHIFT, _STATUS_MASK = _OP_SHIFTS["status"]
_DATA_SHIFT, _DATA_MASK = _OP_SHIFTS["data"]


def _name(enumeration: type, value: int) -> str:
    try:
        return enumeration(value).name
    except ValueError:
        return str(value)


def encode_request(source: bytes, sequence: int, ops: bytes, *, sync: bool = False) -> bytes:
    """A REQUEST with these accesses, each :meth:`Op.to_bytes`."""
    return _HEADER.pack(*_BLANK._replace(
        source=source, type=HostFrameType.REQUEST, sequence=sequence, length=len(ops),
        reason=HostStatus.SYNC if sync else HostStatus.OK)) + ops


def decode_results(frame: bytes, header: Header) -> list[OpResult]:
    """Outcome of each access of a RESPONSE."""
    results = []
    for offset in range(HOST_HEADER_BYTES, HOST_HEADER_BYTES + header.length, OP_BYTES):
        bits = int.from_bytes(frame[offset:offset + OP_BYTES], "little")
        results.append(OpResult(OpStatus(bits >> _STATUS_SHIFT & _STATUS_MASK), bits >> _DATA_SHIFT & _DATA_MASK))
    return results
