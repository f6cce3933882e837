"""Layouts and constants of the host port that are not part of a frame."""

from amaranth.lib import data

from .config import HOST_HEADER_BYTES, CoreConfig
from .layouts import BOARD_MAC as _BOARD_MAC
from .layouts import HOST_HEADER
from .stream import LENGTH_BITS

__all__ = ["BROADCAST", "BOARD_MAC", "ETHERTYPE", "REQUEST", "header_beats", "response_layout"]

#: Source address of all frames to the host, 02:70:6f:6c:79:00, and the broadcast address, as in HOST_HEADER.
BOARD_MAC = int.from_bytes(_BOARD_MAC, "little")
BROADCAST = (1 << 48) - 1
#: HOST_ETHERTYPE as in HOST_HEADER: its first byte is the low one.
ETHERTYPE = 0xB588

#: What the control engine needs of the header of a request.
REQUEST = data.StructLayout({
    "source": HOST_HEADER["source"].shape,
    "sequence": HOST_HEADER["sequence"].shape,
    "reason": HOST_HEADER["reason"].shape,
    "length": LENGTH_BITS,          # bytes of operations
})


def response_layout(width: int) -> data.StructLayout:
    """A beat of operations on their way back; all but ``data`` and ``last`` hold for the whole frame."""
    return data.StructLayout({
        "data": width, "last": 1, "length": LENGTH_BITS,
        "destination": HOST_HEADER["destination"].shape,
        "sequence": HOST_HEADER["sequence"].shape,
        "expected": HOST_HEADER["expected"].shape,
        "reason": HOST_HEADER["reason"].shape,
    })


def header_beats(config: CoreConfig) -> int:
    """Beats of HOST_HEADER; it fills them for every width."""
    return HOST_HEADER_BYTES // config.beat_bytes
