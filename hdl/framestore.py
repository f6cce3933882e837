"""Buffer of frames in block RAM, from which a frame comes out once it is whole."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.fifo import SyncFIFO, SyncFIFOBuffered
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import CoreConfig
from .memories import NEVER_MEET, delivered
from .stream import LENGTH_BITS, PacketSignature, packet_layout

__all__ = ["FrameStore"]

#: Beats that are ready to go; one is on its way in for each one that leaves, and one is being read.
_FRONT = 4


class FrameStore(wiring.Component):
    """Ring of beats with a write pointer that can be moved back to where the frame began.

    Takes and gives one beat a cycle, without a gap between frames or inside of one. The first beat comes out four
    cycles after the last one went in, if the store was empty: what is decided of a frame goes to the pointers at once,
    and to the memories, which are a long way off, a cycle later.

    Parameters
    ----------
    config : CoreConfig
        ``ingress_bytes`` is the size of the store; it also holds at most one frame for each 64 bytes.

    Attributes
    ----------
    write : Signal, in
        ``data`` and ``last`` are a beat of the frame; only if there is ``room``.
    keep : Signal, in
        The frame is whole, with the beat that is written now; ``length`` is its length. Only if there is
        ``room_length``.
    discard : Signal, in
        Forget the frame so far, and the beat that is written now.
    room, room_length : Signal, out
        There is room for a beat, and for one more frame.
    o : PacketSignature
        Whole frames.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "write": In(1), "data": In(config.data_width), "last": In(1),
            "keep": In(1), "length": In(LENGTH_BITS), "discard": In(1),
            "room": Out(1), "room_length": Out(1),
            "o": Out(PacketSignature(config)),
        })

    def elaborate(self, platform):
        m = Module()
        layout = packet_layout(self.config.data_width)
        depth = self.config.ingress_bytes // self.config.beat_bytes
        addr_bits = ceil_log2(depth)
        m.submodules.data = data = memory.Memory(
            shape=unsigned(self.config.data_width + 1), depth=depth, init=[], attrs=NEVER_MEET)
        w_port = data.write_port()
        r_port = data.read_port()
        beat = delivered(m, platform, r_port, w_port)
        # One more than a power of two: the FIFO keeps the extra entry in its output register.
        m.submodules.lengths = lengths = SyncFIFOBuffered(
            width=LENGTH_BITS, depth=max(16, self.config.ingress_bytes // 64) + 1)

        # Pointers have one bit more than an address, which tells full from empty.
        head = Signal(addr_bits + 1)        # next beat to be written
        start = Signal(addr_bits + 1)       # first beat of the frame that is being received
        tail = Signal(addr_bits + 1)        # next beat to be read
        written = Signal(addr_bits + 1)     # ``start``, as far as the memory has it
        kept = Signal()                     # the cycle before was one with ``keep``, and ``length``
        length = Signal(LENGTH_BITS)
        frames = Signal(range(lengths.depth + 1))   # in ``lengths``, with the one of ``kept``
        m.d.comb += [
            self.room.eq((head ^ tail) != depth),
            self.room_length.eq(frames != lengths.depth),
            lengths.w_data.eq(length),
            lengths.w_en.eq(kept),
        ]
        m.d.sync += [
            w_port.addr.eq(head),
            w_port.data.eq(self.data << 1 | self.last),
            w_port.en.eq(self.write),
            length.eq(self.length),
            kept.eq(self.keep),
            written.eq(start),
            frames.eq(frames + self.keep - (lengths.r_en & lengths.r_rdy)),
        ]
        with m.If(self.keep | self.discard):
            m.d.sync += [
                start.eq(Mux(self.keep, head + 1, start)),
                head.eq(Mux(self.keep, head + 1, start)),
            ]
        with m.Elif(self.write):
            m.d.sync += head.eq(head + 1)

        # Only whole frames lie between tail and written. The small FIFO keeps the block RAMs' access times out of all
        # paths behind it, and ``o.ready`` out of those before it.
        m.submodules.front = front = SyncFIFO(width=layout.size, depth=_FRONT)
        item = Signal(layout)
        taken = Signal(layout)
        loaded = Signal()           # the block RAM puts out a beat
        moves = Signal()            # into the FIFO
        read = Signal()
        m.d.comb += [
            # There is room for every beat that was read, so it only waits for its frame's length.
            moves.eq(loaded & lengths.r_rdy),
            read.eq((tail != written) & (~loaded | moves) & (front.level + loaded < _FRONT)),
            r_port.addr.eq(tail),
            r_port.en.eq(read),
            item.data.eq(beat[1:]),
            item.last.eq(beat[0]),
            item.length.eq(lengths.r_data),
            front.w_data.eq(item),
            front.w_en.eq(moves),
            lengths.r_en.eq(loaded & item.last),
            taken.eq(front.r_data),
            self.o.valid.eq(front.r_rdy),
            self.o.payload.eq(taken),
            front.r_en.eq(self.o.ready),
        ]
        with m.If(read):
            m.d.sync += tail.eq(tail + 1)
        with m.If(read | moves):
            m.d.sync += loaded.eq(read)
        return m
