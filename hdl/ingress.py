"""Ingress buffer of a port: holds each frame until it is whole, and drops bad ones."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .config import HOST_HEADER_BYTES, CoreConfig
from .headers import ETHERNET_BYTES
from .layouts import Reason, RxError
from .slice import RegisterSlice
from .stream import LENGTH_BITS, FrameSignature, PacketSignature

__all__ = ["Ingress"]

#: The frame check sequence counts in ``max_frame``, but is not in the core's frames.
_FCS_BYTES = 4
#: Dropped frames whose count may wait. One suffices for function; more ride out bursts of bad frames.
_EVENTS = 8


class Ingress(wiring.Component):
    """Store-and-forward buffer that lets whole, error-free frames pass.

    A frame is judged at its last beat: first its ``error``, then its length, then whether it fitted in the buffer. One
    that fails is taken out by moving the write pointer back to where the frame began, and its reason goes to ``event``.
    It also fails to fit if there are more short frames in the buffer than there is room for lengths (one frame for each
    64 bytes of buffer).

    Takes and gives one beat a cycle, without a gap between frames. The first beat comes out three cycles after the
    last one went in, if the buffer was empty.

    Parameters
    ----------
    config : CoreConfig
        ``ingress_bytes`` is the size of the buffer.
    host : bool
        Host port: frames may be longer by the host header, and every failure counts as ``DROP_HOST``.

    Attributes
    ----------
    i : FrameSignature
        Frames from the port. Always ready, except while a drop could not be reported.
    o : PacketSignature
        Whole frames.
    event : stream of Reason
        One item for each frame dropped.
    """

    def __init__(self, config: CoreConfig, *, host: bool = False) -> None:
        self.config = config
        self.host = host
        self.longest = config.max_frame - _FCS_BYTES + (HOST_HEADER_BYTES if host else 0)
        super().__init__({
            "i": In(FrameSignature(config)),
            "o": Out(PacketSignature(config)),
            "event": Out(stream.Signature(5)),
        })

    def elaborate(self, platform):
        m = Module()
        beat_bytes = self.config.beat_bytes
        depth = self.config.ingress_bytes // beat_bytes
        addr_bits = ceil_log2(depth)
        longest_beats = -(-self.longest // beat_bytes)
        full_beats = self.longest // beat_bytes             # whole beats of the longest frame
        least_beats = (ETHERNET_BYTES - 1) // beat_bytes    # beats before the last one of the shortest frame,
        spare_lanes = beat_bytes - (ETHERNET_BYTES - least_beats * beat_bytes)      # and empty lanes in that

        m.submodules.data = data = memory.Memory(
            shape=unsigned(self.config.data_width + 1), depth=depth, init=[], attrs={"rw_addr_collision": "yes"})
        w_port = data.write_port()
        r_port = data.read_port()
        # One more than a power of two: the FIFO keeps the extra entry in its output register.
        m.submodules.lengths = lengths = SyncFIFOBuffered(
            width=LENGTH_BITS, depth=max(16, self.config.ingress_bytes // 64) + 1)
        m.submodules.events = events = SyncFIFOBuffered(width=5, depth=_EVENTS + 1)

        # Pointers have one bit more than an address, which tells full from empty.
        head = Signal(addr_bits + 1)        # next beat to be written
        start = Signal(addr_bits + 1)       # first beat of the frame that is being received
        tail = Signal(addr_bits + 1)        # next beat to be read
        beats = Signal(range(longest_beats + 1))    # earlier beats of this frame; stops at the most allowed
        lost = Signal()                     # an earlier beat of this frame did not fit

        beat = self.i.payload
        fire = Signal()
        excess = Signal()
        fits = Signal()
        short = Signal()
        long = Signal()
        reason = Signal(5)
        good = Signal()
        m.d.comb += [
            self.i.ready.eq(events.w_rdy),
            fire.eq(self.i.valid & self.i.ready),
            excess.eq(beats == longest_beats),
            fits.eq(~lost & ((head ^ tail) != depth)),
            # Limits are checked on beats and bytes of the last beat apart: adding them up first takes too long.
            short.eq((beats < least_beats) | ((beats == least_beats) & (beat.empty > spare_lanes))),
            long.eq(excess | ((beats == full_beats) & (beat.empty < beat_bytes - self.longest % beat_bytes))),
            w_port.addr.eq(head),
            w_port.data.eq(beat.data << 1 | beat.last),
            w_port.en.eq(fire & fits & ~excess),
        ]
        with m.If((beat.error == RxError.FCS) | (beat.error == RxError.PHY)):
            m.d.comb += reason.eq(Reason.DROP_FCS)
        with m.Elif((beat.error == RxError.LENGTH) | short | long):
            m.d.comb += reason.eq(Reason.DROP_LENGTH)
        with m.Elif(~fits | ~lengths.w_rdy):
            m.d.comb += reason.eq(Reason.DROP_OVERFLOW)
        with m.Else():
            m.d.comb += good.eq(1)
        m.d.comb += [
            lengths.w_data.eq(beats * beat_bytes + beat_bytes - beat.empty),
            lengths.w_en.eq(fire & beat.last & good),
            events.w_data.eq(Reason.DROP_HOST if self.host else reason),
            events.w_en.eq(fire & beat.last & ~good),
        ]
        with m.If(fire & beat.last):
            m.d.sync += [
                start.eq(Mux(good, head + 1, start)),
                head.eq(Mux(good, head + 1, start)),
                beats.eq(0),
                lost.eq(0),
            ]
        with m.Elif(fire):
            m.d.sync += [
                head.eq(head + w_port.en),
                beats.eq(beats + ~excess),
                lost.eq(~fits),
            ]

        # Only whole frames lie between tail and start. The slice keeps the block RAM's access time out of all paths.
        m.submodules.slice = register = RegisterSlice(unsigned(self.config.data_width + 1))
        loaded = Signal()
        taken = Signal()
        read = Signal()
        m.d.comb += [
            read.eq((tail != start) & (~loaded | taken)),
            r_port.addr.eq(tail),
            r_port.en.eq(read),
            register.i.valid.eq(loaded),
            register.i.payload.eq(r_port.data),
            taken.eq(register.i.valid & register.i.ready),
            self.o.valid.eq(register.o.valid & lengths.r_rdy),
            self.o.payload.data.eq(register.o.payload[1:]),
            self.o.payload.last.eq(register.o.payload[0]),
            self.o.payload.length.eq(lengths.r_data),
            register.o.ready.eq(self.o.ready & lengths.r_rdy),
            lengths.r_en.eq(register.o.valid & self.o.ready & self.o.payload.last),
            self.event.valid.eq(events.r_rdy),
            self.event.payload.eq(events.r_data),
            events.r_en.eq(self.event.ready),
        ]
        with m.If(read):
            m.d.sync += tail.eq(tail + 1)
        with m.If(read | taken):
            m.d.sync += loaded.eq(read)
        return m
