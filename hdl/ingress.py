"""Ingress of a port: sends each frame's header ahead, holds the frame until it is whole, and drops bad ones."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO, SyncFIFOBuffered
from amaranth.lib.wiring import In, Out, connect, flipped

from .capture import FATE, HeaderCapture
from .config import HOST_HEADER_BYTES, CoreConfig
from .framestore import FrameStore
from .headers import ETHERNET_BYTES
from .layouts import Reason, RxError
from .mac.gmii import FCS_BYTES
from .narrowheader import HeaderBeatsSignature, NarrowHeaderCapture, header_layout
from .stream import FrameSignature, PacketSignature

__all__ = ["Ingress"]

#: Dropped frames whose count may wait. One suffices for function; more ride out bursts of bad frames.
_EVENTS = 8


class Ingress(wiring.Component):
    """Store-and-forward buffer that lets whole, error-free frames pass, and gives their headers before.

    A frame is judged at its last beat: first its ``error``, then its length, then whether it fitted in the buffer. One
    that fails is taken out by moving the write pointer back to where the frame began, and its reason goes to ``event``.
    It also fails to fit if there are more short frames in the buffer than there is room for lengths (one frame for each
    64 bytes of buffer) or, at a data port, for fates.

    The header is offered in the cycle after the beat that completes it (:class:`.capture.HeaderCapture`), the fate in
    the cycle after the last beat; a frame that is known to be bad before its header is complete has neither. Takes and
    gives one beat a cycle. The body's first beat comes out four cycles after the last one went in, if the buffer was
    empty; then the others, without a gap inside of a frame.

    Parameters
    ----------
    config : CoreConfig
        ``ingress_bytes`` is the size of the buffer.
    host : bool
        Host port: frames may be longer by the host header, every failure counts as ``DROP_HOST``, and there is neither
        ``o_header`` nor ``o_fate``.

    Attributes
    ----------
    i : FrameSignature
        Frames from the port. Always ready, except while a drop could not be reported, and before the first beat of a
        frame as long as the previous frame's header was not taken.
    o_header : stream of header_layout
        The start of each frame.
    o_beats : HeaderBeatsSignature
        Only if beats are narrow: those of the header at ``o_header``.
    o_fate : stream of FATE
        How each frame ended whose header was given, in the same order.
    o : PacketSignature
        Whole frames.
    event : stream of Reason
        One item for each frame dropped.
    """

    def __init__(self, config: CoreConfig, *, host: bool = False) -> None:
        self.config = config
        self.host = host
        self.longest = config.max_frame - FCS_BYTES + (HOST_HEADER_BYTES if host else 0)
        members = {
            "i": In(FrameSignature(config)),
            "o": Out(PacketSignature(config)),
            "event": Out(stream.Signature(5)),
        }
        if not host:
            members |= {"o_header": Out(stream.Signature(header_layout(config))),
                        "o_fate": Out(stream.Signature(FATE))}
            if config.narrow_headers:
                members["o_beats"] = Out(HeaderBeatsSignature(config))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        beat_bytes = self.config.beat_bytes
        longest_beats = -(-self.longest // beat_bytes)
        full_beats = self.longest // beat_bytes             # whole beats of the longest frame
        least_beats = (ETHERNET_BYTES - 1) // beat_bytes    # beats before the last one of the shortest frame,
        spare_lanes = beat_bytes - (ETHERNET_BYTES - least_beats * beat_bytes)      # and empty lanes in that

        m.submodules.store = store = FrameStore(self.config)
        m.submodules.events = events = SyncFIFOBuffered(width=5, depth=_EVENTS + 1)
        connect(m, store.o, flipped(self.o))

        beats = Signal(range(longest_beats + 1))    # earlier beats of this frame; stops at the most allowed
        lost = Signal()                     # an earlier beat of this frame did not fit

        beat = self.i.payload
        fire = Signal()
        # Where in the frame this beat is, in the form in which it is needed.
        excess = Signal(init=longest_beats == 0)
        at_full = Signal(init=full_beats == 0)
        at_least = Signal(init=least_beats == 0)
        below_least = Signal(init=least_beats > 0)
        places = ((excess, longest_beats), (at_full, full_beats), (at_least, least_beats))
        following = Signal.like(beats)      # ``beats`` of the next one
        m.d.comb += following.eq(beats + ~excess)

        fits = Signal()
        room_fate = Signal(init=1)
        short = Signal()
        long = Signal()
        reason = Signal(5)
        good = Signal()
        filled = Signal(range(beat_bytes + 1))
        length = Signal.like(store.length)
        m.d.comb += [
            self.i.ready.eq(events.w_rdy),
            fire.eq(self.i.valid & self.i.ready),
            fits.eq(~lost & store.room & room_fate),
            # Limits are checked on beats and bytes of the last beat apart: adding them up first takes too long.
            short.eq(below_least | (at_least & (beat.empty > spare_lanes))),
            long.eq(excess | (at_full & (beat.empty < beat_bytes - self.longest % beat_bytes))),
            filled.eq(beat_bytes - beat.empty),
            length.eq(beats * beat_bytes + filled),
            store.data.eq(beat.data),
            store.last.eq(beat.last),
            store.length.eq(length),
            store.write.eq(fire & fits & ~excess),
            store.keep.eq(fire & beat.last & good),
            store.discard.eq(fire & beat.last & ~good),
        ]
        with m.If((beat.error == RxError.FCS) | (beat.error == RxError.PHY)):
            m.d.comb += reason.eq(Reason.DROP_FCS)
        with m.Elif((beat.error == RxError.LENGTH) | short | long):
            m.d.comb += reason.eq(Reason.DROP_LENGTH)
        with m.Elif(~fits | ~store.room_length):
            m.d.comb += reason.eq(Reason.DROP_OVERFLOW)
        with m.Else():
            m.d.comb += good.eq(1)
        m.d.comb += [
            events.w_data.eq(Reason.DROP_HOST if self.host else reason),
            events.w_en.eq(fire & beat.last & ~good),
            self.event.valid.eq(events.r_rdy),
            self.event.payload.eq(events.r_data),
            events.r_en.eq(self.event.ready),
        ]
        with m.If(fire & beat.last):
            m.d.sync += [beats.eq(0), lost.eq(0)]
            m.d.sync += [flag.eq(flag.init) for flag in (excess, at_full, at_least, below_least)]
        with m.Elif(fire):
            m.d.sync += [beats.eq(following), lost.eq(~fits), below_least.eq(following < least_beats)]
            m.d.sync += [flag.eq(following == place) for flag, place in places]

        if not self.host:
            narrow = self.config.narrow_headers
            m.submodules.capture = capture = (NarrowHeaderCapture if narrow else HeaderCapture)(self.config)
            m.submodules.fates = fates = SyncFIFO(width=FATE.size, depth=self.config.fates + 1)
            connect(m, capture.o, flipped(self.o_header))
            if narrow:
                connect(m, capture.o_beats, flipped(self.o_beats))
            fate = Signal(FATE)
            m.d.comb += [
                self.i.ready.eq(events.w_rdy & ~(capture.busy & (beats == 0))),
                capture.fire.eq(fire),
                capture.data.eq(beat.data),
                capture.last.eq(beat.last),
                capture.filled.eq(filled),
                capture.allow.eq(fits & (good | ~beat.last)),
                fate.good.eq(good),
                fate.length.eq(length),
                fates.w_data.eq(fate),
                fates.w_en.eq(fire & beat.last & capture.given),
                self.o_fate.valid.eq(fates.r_rdy),
                self.o_fate.payload.eq(fates.r_data),
                fates.r_en.eq(self.o_fate.ready),
            ]
            # Only headers that were given have fates, and at most one has none yet: that of this frame. A cycle late,
            # so there is room for one more, which may have come in that cycle.
            m.d.sync += room_fate.eq(fates.level < self.config.fates)
        return m
