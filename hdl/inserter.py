"""Puts a source address and an 802.1Q tag into frames."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .config import CoreConfig
from .headers import ETHERTYPE_VLAN, TAG_BYTES, Ethernet, VlanTag
from .slice import RegisterSlice
from .stream import LENGTH_BITS

__all__ = ["Inserter", "inserted_layout", "insertion_layout"]

#: The tag stands where an untagged frame has its EtherType (IEEE 802.1Q, 9.6).
_TAG = Ethernet.ETHERTYPE.offset


def insertion_layout(width: int, beside: ShapeLike) -> data.StructLayout:
    """A beat of a frame, with what is to be put in; all but ``data`` and ``last`` hold for every beat of the frame."""
    return data.StructLayout({
        "data": width, "last": 1, "length": LENGTH_BITS,
        "own_source": 1, "mac": 48,     # the source address is to be ``mac``
        "push": 1, "tci": 16,           # the frame is to have this tag
        "beside": beside,
    })


def inserted_layout(width: int, beside: ShapeLike) -> data.StructLayout:
    """A beat of the frame as it is then; ``length`` and ``beside`` hold for every beat."""
    return data.StructLayout({
        "data": width, "last": 1, "length": LENGTH_BITS,
        "empty": range(width // 8),     # unused high lanes of the last beat
        "beside": beside,
    })


class Inserter(wiring.Component):
    """Puts in what is asked for. A tag moves what is behind it by four bytes, so the frame may have one beat more.

    Latency 1 cycle; a beat a cycle, and one more for the beat more.

    Parameters
    ----------
    config : CoreConfig
    beside : ShapeLike
        What else travels with a frame.

    Attributes
    ----------
    i : stream of insertion_layout
    o : stream of inserted_layout
    """

    def __init__(self, config: CoreConfig, beside: ShapeLike = 0) -> None:
        self.config = config
        self._beside = beside
        super().__init__({
            "i": In(stream.Signature(insertion_layout(config.data_width, beside))),
            "o": Out(stream.Signature(inserted_layout(config.data_width, beside))),
        })

    def elaborate(self, platform):
        m = Module()
        beat_bytes = self.config.beat_bytes
        moved_from = [max(0, -(-(_TAG + TAG_BYTES - lane) // beat_bytes)) for lane in range(beat_bytes)]
        m.submodules.register = register = RegisterSlice(self.o.payload.shape())
        connect(m, register.o, flipped(self.o))
        i, o = self.i, register.i
        beat = i.payload

        longer = Signal()               # the frame has one beat more
        length = Signal(LENGTH_BITS)
        empty = Signal(range(beat_bytes))
        tail = Signal()                 # what was pushed out of the last beat goes out now
        step = Signal()
        carry = Signal(8 * TAG_BYTES)
        after = Signal(data.StructLayout({      # of the frame that the tail belongs to
            "length": LENGTH_BITS, "empty": range(beat_bytes), "beside": self._beside}))
        position = Signal(range(max(moved_from) + 1))   # beat of the frame; stops where every lane is moved
        m.d.comb += [
            longer.eq(beat.push & ((beat.length - 1)[:exact_log2(beat_bytes)] >= beat_bytes - TAG_BYTES)),
            length.eq(beat.length + Mux(beat.push, TAG_BYTES, 0)),
            empty.eq(-length),
            o.valid.eq(tail | i.valid),
            step.eq(i.valid & ~tail & o.ready),
            i.ready.eq(~tail & o.ready),
        ]
        with m.If(step):
            m.d.sync += [
                carry.eq(beat.data[-8 * TAG_BYTES:]),
                position.eq(Mux(beat.last, 0, position + (position != max(moved_from)))),
                tail.eq(beat.last & longer),
                after.length.eq(length),
                after.empty.eq(empty),
                after.beside.eq(beat.beside),
            ]
        with m.If(tail & o.ready):
            m.d.sync += tail.eq(0)

        lanes = data.ArrayLayout(8, beat_bytes)
        now = data.View(lanes, beat.data)
        before = data.View(data.ArrayLayout(8, TAG_BYTES), carry)
        out = data.View(lanes, o.payload.data)
        inserted = [
            (beat.own_source, Ethernet.SOURCE.spread(beat.mac)),
            (beat.push, Ethernet.ETHERTYPE.spread(ETHERTYPE_VLAN)),
            (beat.push, VlanTag.TCI.spread(beat.tci)),
        ]
        m.d.comb += [
            out.eq(now),
            o.payload.last.eq(tail | (beat.last & ~longer)),
            o.payload.length.eq(Mux(tail, after.length, length)),
            o.payload.empty.eq(Mux(tail, after.empty, Mux(o.payload.last, empty, 0))),
            o.payload.beside.eq(Mux(tail, after.beside, beat.beside)),
        ]
        for lane, start in enumerate(moved_from):
            with m.If((beat.push & (position >= start)) | (tail if lane < TAG_BYTES else 0)):
                m.d.comb += out[lane].eq(before[lane] if lane < TAG_BYTES else now[lane - TAG_BYTES])
        with m.If(~tail), m.Switch(position):
            for k in range(max(moved_from) + 1):
                with m.Case(k):
                    for which, bytes_ in inserted:
                        with m.If(which):
                            m.d.comb += [out[byte % beat_bytes].eq(value)
                                         for byte, value in bytes_.items() if byte // beat_bytes == k]
        return m
