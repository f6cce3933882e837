"""Takes the 802.1Q tag out of frames."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .config import CoreConfig
from .headers import TAG_BYTES, Ethernet
from .records import paired_layout

__all__ = ["Untagger"]

#: The tag lies where an untagged frame has its EtherType (IEEE 802.1Q, 9.6).
_TAG = Ethernet.ETHERTYPE.offset


class Untagger(wiring.Component):
    """Takes the tag out of frames whose verdict has ``tagged`` set.

    Everything behind the tag moves up by four bytes, so the frame may have one beat less; ``length`` is four less.
    Latency 1 cycle, one beat a cycle; a beat that vanishes leaves a gap behind its frame. Within a frame ``o`` has no
    gaps if ``i`` has none: a beat is given out together with what it needs from the next one.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i, o : streams of paired_layout
        ``valid`` and the data of ``o`` follow ``i`` in the same cycle for tagged frames.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        layout = paired_layout(config.data_width)
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(stream.Signature(layout))})

    def elaborate(self, platform):
        m = Module()
        beat_bytes = self.config.beat_bytes
        moved_from = [max(0, -(-(_TAG - lane) // beat_bytes)) for lane in range(beat_bytes)]    # beat, for each lane
        i, o = self.i, self.o

        beat = Signal(i.payload.shape())
        valid = Signal()
        position = Signal(range(max(moved_from) + 1))   # beat of the frame; stops where every lane is moved
        short_tail = Signal()       # no more bytes in the last beat than the tag has
        ahead = Signal()            # needs the next beat
        end = Signal()              # nothing of the next beat, which is the last one, remains
        m.d.comb += [
            ahead.eq(beat.verdict.tagged & (position >= moved_from[-1]) & ~beat.last),
            end.eq(ahead & i.payload.last & short_tail),
            o.valid.eq(valid & (~ahead | i.valid)),
            o.payload.eq(beat),
            o.payload.last.eq(beat.last | end),
            o.payload.length.eq(beat.length - Mux(beat.verdict.tagged, TAG_BYTES, 0)),
            i.ready.eq(~valid | (o.valid & o.ready)),
        ]
        with m.If(i.ready):
            m.d.sync += valid.eq(i.valid & ~(valid & end))
            with m.If(i.valid):
                m.d.sync += [
                    beat.eq(i.payload),
                    short_tail.eq((i.payload.length - 1)[:exact_log2(beat_bytes)] < TAG_BYTES),
                ]
        with m.If(o.valid & o.ready):
            m.d.sync += position.eq(Mux(o.payload.last, 0, position + (position != max(moved_from))))

        lanes = data.ArrayLayout(8, beat_bytes)
        now = data.View(lanes, beat.data)
        following = data.View(lanes, i.payload.data)
        out = data.View(lanes, o.payload.data)
        for lane, start in enumerate(moved_from):
            source = lane + TAG_BYTES
            with m.If(beat.verdict.tagged & (position >= start)):
                m.d.comb += out[lane].eq(now[source] if source < beat_bytes else following[source - beat_bytes])
        return m
