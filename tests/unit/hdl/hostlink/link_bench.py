"""What the tests of the host link share."""

from amaranth.hdl import Elaboratable, Module
from amaranth.lib import wiring
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.hostlink.siphash import SipHash
from polyrouter.hdl.layouts import unpack
from polyrouter.hdl.stream import frame_layout

from ..bench import frame_beats

WIDTH = 64
CONFIG = CoreConfig(ports=2, data_width=WIDTH)
KEY = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
KEY_BITS = int.from_bytes(KEY, "little")
NONCE = 0x1122334455667788
HOST_MAC = bytes.fromhex("021122334455")


class WithHash(Elaboratable):
    """A receiver or a transmitter with a hash of its own; its ports are this one's."""

    def __init__(self, inner):
        self._inner, self._hash = inner, SipHash()
        self.key = self._hash.key

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = inner = self._inner
        m.submodules.hash = sip = self._hash
        wiring.connect(m, inner.hash.words, sip.i)
        wiring.connect(m, sip.o, inner.hash.tag)
        m.d.comb += inner.hash.soon.eq(sip.soon)
        return m


def beats_of(frame, error=0, rubbish=0, *, width=WIDTH):
    """Beats of a frame, with ``rubbish`` in the unused lanes of the last one."""
    beats = frame_beats(frame_layout(width), frame, width, error)
    lanes = width // 8
    empty = -len(frame) % lanes
    if empty:
        beats[-1] |= (rubbish & (1 << 8 * empty) - 1) << 8 * (lanes - empty)
    return beats


def frames_of(beats, *, width=WIDTH):
    """Frames out of ``frame_layout`` beats, none of which may be in error."""
    layout, lanes = frame_layout(width), width // 8
    frames, current = [], b""
    for beat in beats:
        fields = unpack(layout, beat)
        assert fields["error"] == 0
        assert fields["last"] or not fields["empty"]
        current += fields["data"].to_bytes(lanes, "little")[:lanes - fields["empty"]]
        if fields["last"]:
            frames.append(current)
            current = b""
    assert not current, "frame without a last beat"
    return frames
