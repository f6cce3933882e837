"""SLIP (RFC 1055) around a frame and its CRC-32 (IEEE 802.3, 3.2.9), as a board's UART speaks it."""

import zlib

from ...hdl.hostlink.layouts import CRC_BYTES, END, ESC, ESC_END, ESC_ESC

__all__ = ["SlipDecoder", "encode_slip"]

_END, _ESC = bytes([END]), bytes([ESC])
_ESCAPED_END, _ESCAPED_ESC = bytes([ESC, ESC_END]), bytes([ESC, ESC_ESC])


def encode_slip(frame: bytes) -> bytes:
    """A frame as it goes over the line, between two ENDs."""
    body = frame + zlib.crc32(frame).to_bytes(CRC_BYTES, "little")
    return _END + body.replace(_ESC, _ESCAPED_ESC).replace(_END, _ESCAPED_END) + _END


class SlipDecoder:
    """Frames out of bytes as they come.

    Parameters
    ----------
    longest : int
        Bytes of the longest frame.

    Attributes
    ----------
    damaged : int
        Frames with a wrong CRC or a wrong byte after ESC.
    long : int
        Frames that were longer than the longest.
    """

    def __init__(self, longest: int) -> None:
        self.damaged = self.long = 0
        self._most = 2 * (longest + CRC_BYTES)      # bytes of it on the line
        self._longest = longest
        self._part = bytearray()
        self._skipping = False                      # it is longer already

    def feed(self, received: bytes) -> list[bytes]:
        """Take bytes from the line; returns the frames that they complete."""
        frames = []
        *ends, rest = received.split(_END)
        for end in ends:
            self._append(end)
            if self._part or self._skipping:
                frame = None if self._skipping else self._decode(bytes(self._part))
                if self._skipping or (frame is not None and len(frame) > self._longest):
                    self.long += 1
                elif frame is None:
                    self.damaged += 1
                else:
                    frames.append(frame)
            self._part.clear()
            self._skipping = False
        self._append(rest)
        return frames

    def _append(self, part: bytes) -> None:
        self._part += part
        if len(self._part) > self._most:            # never more than twice that in memory
            self._part.clear()
            self._skipping = True

    def _decode(self, part: bytes) -> bytes | None:
        first, *others = part.split(_ESC)
        body = bytearray(first)
        for other in others:
            if not other or other[0] not in (ESC_END, ESC_ESC):
                return None
            body.append(END if other[0] == ESC_END else ESC)
            body += other[1:]
        frame, fcs = bytes(body[:-CRC_BYTES]), bytes(body[-CRC_BYTES:])
        if not frame or zlib.crc32(frame).to_bytes(CRC_BYTES, "little") != fcs:
            return None
        return frame
