"""Frames that wait for checksums which are only known when their headers have passed."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from .checksum import CHECKSUMS, LATENCY, TCP_CHECKSUM, UDP_CHECKSUM
from .config import CoreConfig
from .headers import Ipv4
from .records import queued_layout

__all__ = ["HeldFrames", "held_layout"]

#: Beats and frames that may wait. The beats that hold the headers must fit in, or their frame would wait for ever.
_BEATS = 16
_FRAMES = 8


def held_layout(width: int) -> data.StructLayout:
    """A beat, and whether its frame waits for checksums; all but ``data`` and ``last`` hold for the whole frame."""
    return data.StructLayout({"beat": queued_layout(width), "waits": 1})


class HeldFrames(wiring.Component):
    """A queue of frames, some of which begin to leave only when their new checksums are there, and get them.

    Latency 1 cycle, one beat a cycle. A frame that waits begins so early that its checksums are there just when they
    are needed. Within a frame ``o`` has no gaps if ``i`` has none.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i : stream of held_layout
    start, done, checksums : in
        Of :class:`.checksum.ChecksumUpdate`: once for each frame that waits, in their order, when its first beat was
        taken or later.
    o : stream of queued_layout
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(held_layout(config.data_width))),
            "start": In(1),
            "done": In(1),
            "checksums": In(CHECKSUMS),
            "o": Out(stream.Signature(queued_layout(config.data_width))),
        })

    def elaborate(self, platform):
        m = Module()
        width = self.config.data_width
        beat_bytes = self.config.beat_bytes
        side_layout = data.StructLayout({
            **{str(name): entry.shape for name, entry in queued_layout(width) if name not in ("data", "last")},
            "waits": 1,
        })
        m.submodules.beats = beats = fifo.SyncFIFO(width=width + 1, depth=_BEATS)
        m.submodules.sides = sides = fifo.SyncFIFO(width=side_layout.size, depth=_FRAMES)
        m.submodules.results = results = fifo.SyncFIFO(width=CHECKSUMS.size, depth=_FRAMES)

        beat = self.i.payload.beat
        first = Signal(init=1)
        side = Signal(side_layout)
        m.d.comb += [
            self.i.ready.eq(beats.w_rdy & (sides.w_rdy | ~first)),
            beats.w_en.eq(self.i.valid & self.i.ready),
            beats.w_data.eq(Cat(beat.data, beat.last)),
            sides.w_en.eq(beats.w_en & first),
            sides.w_data.eq(side),
            *(side[name].eq(beat[name]) for name, _ in side_layout if name != "waits"),
            side.waits.eq(self.i.payload.waits),
            results.w_en.eq(self.done),
            results.w_data.eq(self.checksums),
        ]
        with m.If(beats.w_en):
            m.d.sync += first.eq(beat.last)

        soon = self.start
        for k in range(LATENCY - min(LATENCY, Ipv4.CHECKSUM.offset // beat_bytes)):
            before, soon = soon, Signal(name=f"soon_{k}")
            m.d.sync += soon.eq(before)
        ready = Signal(range(_FRAMES + 1))      # frames that waited and may begin, or have begun
        out_side = data.View(side_layout, sides.r_data)
        taken = Signal()
        ends = Signal()
        out = self.o.payload
        m.d.comb += [
            self.o.valid.eq(beats.r_rdy & (~out_side.waits | (ready != 0))),
            Cat(out.data, out.last).eq(beats.r_data),
            *(out[name].eq(out_side[name]) for name, _ in side_layout if name != "waits"),
            taken.eq(self.o.valid & self.o.ready),
            ends.eq(taken & out.last),
            beats.r_en.eq(taken),
            sides.r_en.eq(ends),
            results.r_en.eq(ends & out_side.waits),
        ]
        m.d.sync += ready.eq(ready + soon - results.r_en)

        result = data.View(CHECKSUMS, results.r_data)
        changes = [
            (result.set_ip, Ipv4.CHECKSUM.spread(result.ip)),
            (result.set_l4 & result.udp, UDP_CHECKSUM.spread(result.l4)),
            (result.set_l4 & ~result.udp, TCP_CHECKSUM.spread(result.l4)),
        ]
        header_beats = max(max(bytes_) for _, bytes_ in changes) // beat_bytes + 1
        position = Signal(range(header_beats + 1))      # beat of the frame; stops behind the headers
        with m.If(taken):
            m.d.sync += position.eq(Mux(out.last, 0, position + (position != header_beats)))
        lanes = data.View(data.ArrayLayout(8, beat_bytes), out.data)
        with m.If(out_side.waits), m.Switch(position):
            for k in range(header_beats):
                with m.Case(k):
                    for which, bytes_ in changes:
                        with m.If(which):
                            m.d.comb += [lanes[byte % beat_bytes].eq(value)
                                         for byte, value in bytes_.items() if byte // beat_bytes == k]
        return m
