"""Streams that carry frames between the stages of the core."""

from amaranth.lib import data, stream

from .config import CoreConfig

__all__ = ["LENGTH_BITS", "frame_layout", "packet_layout", "FrameSignature", "PacketSignature"]

#: Bits of a frame's length in bytes.
LENGTH_BITS = 14


def frame_layout(width: int) -> data.StructLayout:
    """A beat at a port: byte 0 of the frame is ``data[0:8]`` of the first beat."""
    return data.StructLayout({
        "data": width,
        "empty": range(width // 8),     # unused high lanes of the last beat
        "last": 1,
        "error": 2,                     # RxError, on the last beat
    })


def packet_layout(width: int) -> data.StructLayout:
    """A beat of a whole, error-free frame; ``length`` (bytes without FCS) holds for every beat of the frame."""
    return data.StructLayout({"data": width, "last": 1, "length": LENGTH_BITS})


def FrameSignature(config: CoreConfig) -> stream.Signature:
    """Stream of :func:`frame_layout` beats: frames as a port delivers or takes them, without FCS."""
    return stream.Signature(frame_layout(config.data_width))


def PacketSignature(config: CoreConfig) -> stream.Signature:
    """Stream of :func:`packet_layout` beats: frames inside the core."""
    return stream.Signature(packet_layout(config.data_width))
