"""Frames on a line of bytes: SLIP (RFC 1055) around a frame and its CRC-32 (IEEE 802.3, 3.2.9).

SLIP, as each byte is coded by itself: COBS, whose overhead has a lower bound, needs to know the next zero byte before
it sends any of up to 254 bytes, hence a buffer for them. Of frames on a host port few bytes are END or ESC; were all, a
frame would take twice the time, and nothing else.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC32_ETHERNET
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..config import HOST_HEADER_BYTES, CoreConfig
from ..framestore import FrameStore
from ..stream import FrameSignature
from .layouts import CRC_BYTES, END, ESC, ESC_END, ESC_ESC, SlipEvent

__all__ = ["SlipReceiver", "SlipTransmitter"]


class SlipReceiver(wiring.Component):
    """Frames out of bytes; each is held until it is whole, and dropped whole if it is not good.

    Whatever was lost, the next END begins a new frame. Nothing between two ENDs is no frame.

    Parameters
    ----------
    config : CoreConfig
        ``ingress_bytes`` is the size of the buffer.

    Attributes
    ----------
    data, strobe, broken : Signal, in
        Of :class:`.uart.UartReceiver`. There must be at least three cycles from one byte to the next.
    o : FrameSignature
        Host frames, for ``host_rx`` of the core.
    events : Signal, out
        One bit for each :class:`.layouts.SlipEvent`, high for a cycle for each frame that ended so.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self._longest = config.max_frame - 4 + HOST_HEADER_BYTES
        super().__init__({
            "data": In(8), "strobe": In(1), "broken": In(1),
            "o": Out(FrameSignature(config)), "events": Out(len(SlipEvent)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = FrameStore(self.config)
        m.submodules.crc = crc = CRC32_ETHERNET().create()
        m.d.comb += [
            self.o.valid.eq(store.o.valid), store.o.ready.eq(self.o.ready),
            self.o.payload.data.eq(store.o.payload.data), self.o.payload.last.eq(store.o.payload.last),
            self.o.payload.empty.eq(Mux(store.o.payload.last, -store.o.payload.length, 0)),
        ]

        escaped = Signal()
        bad = Signal()              # a byte of this frame was
        lost = Signal()             # a beat of it did not fit
        length = Signal(range(self._longest + CRC_BYTES + 2))   # with the CRC; stops at one too many
        late = Signal(8 * CRC_BYTES)        # the last four bytes, which may be the CRC
        lanes = self.config.beat_bytes
        beat = Signal(8 * lanes)    # bytes before those, the first one lowest once it is full,
        filled = Signal(range(lanes + 1))   # and how many

        byte = Signal(8)
        takes, ends = Signal(), Signal()
        with m.If(self.strobe):
            m.d.comb += byte.eq(self.data)
            m.d.sync += escaped.eq(0)
            with m.If(self.data == END):
                m.d.comb += ends.eq(~self.broken)
            with m.Elif(escaped):
                with m.Switch(self.data):
                    with m.Case(ESC_END):
                        m.d.comb += byte.eq(END)
                    with m.Case(ESC_ESC):
                        m.d.comb += byte.eq(ESC)
                    with m.Default():
                        m.d.sync += bad.eq(1)
                m.d.comb += takes.eq(1)
            with m.Elif(self.data == ESC):
                m.d.sync += escaped.eq(1)
            with m.Else():
                m.d.comb += takes.eq(1)
            with m.If(self.broken):
                m.d.sync += bad.eq(1)

        m.d.comb += [crc.data.eq(byte), crc.valid.eq(takes), store.length.eq(length - CRC_BYTES)]
        moves = takes & (length >= CRC_BYTES) & (length < self._longest + CRC_BYTES + 1)
        m.d.comb += store.data.eq(beat)
        with m.If(takes):
            m.d.sync += [late.eq(Cat(late[8:], byte)), length.eq(length + (length <= self._longest + CRC_BYTES))]
        with m.If(moves):
            # A beat leaves with the byte after it: only then it is known not to be the last one.
            m.d.comb += store.write.eq((filled == lanes) & store.room & ~lost)
            m.d.sync += [
                lost.eq(lost | ((filled == lanes) & ~store.room)),
                filled.eq(Mux(filled == lanes, 1, filled + 1)),
            ]
            with m.If(filled == lanes):
                m.d.sync += beat.eq(late[:8])
            with m.Else():
                m.d.sync += beat.word_select(filled[:exact_log2(lanes)], 8).eq(late[:8])

        begun = (length != 0) | bad | escaped
        whole, long, full, good = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            whole.eq(crc.match_detected & ~bad & ~escaped & (length > CRC_BYTES)),
            long.eq(length > self._longest + CRC_BYTES),
            full.eq(lost | ~store.room | ~store.room_length),
            good.eq(whole & ~long & ~full),
        ]
        with m.If(ends):
            m.d.comb += [
                crc.start.eq(1), store.last.eq(1),
                store.write.eq(begun & good), store.keep.eq(begun & good), store.discard.eq(begun & ~good),
                self.events[SlipEvent.ACCEPTED].eq(begun & good),
                self.events[SlipEvent.LENGTH].eq(begun & long),
                self.events[SlipEvent.DAMAGED].eq(begun & ~long & ~whole),
                self.events[SlipEvent.OVERFLOW].eq(begun & ~long & whole & full),
            ]
            m.d.sync += [bad.eq(0), lost.eq(0), length.eq(0), filled.eq(0)]
        return m


class SlipTransmitter(wiring.Component):
    """Bytes of frames, each between two ENDs: what noise made of the idle line before it is then no part of it.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core.

    Attributes
    ----------
    i : FrameSignature
        Host frames, from ``host_tx`` of the core.
    o : stream of 8 bits
        Bytes, for a :class:`.uart.UartTransmitter`.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._lanes = config.beat_bytes
        super().__init__({"i": In(FrameSignature(config)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC32_ETHERNET().create()
        beat = self.i.payload
        index = Signal(range(self._lanes))  # of the byte in the beat, or in the CRC
        final = Signal.like(index)  # of the last one
        is_crc = Signal()
        escaped = Signal()          # ESC was sent for the next byte
        byte = Signal(8)
        picked = Signal()           # ``byte`` is the one of ``index``: what is ahead of it is a long way already
        special = Signal()
        m.d.comb += [
            final.eq(Mux(is_crc, CRC_BYTES - 1, ~beat.empty)),
            special.eq(((byte == END) | (byte == ESC)) & ~escaped),
        ]

        def send(valid):
            """A byte of data; true in the cycle in which the last part of it is taken."""
            m.d.comb += [
                self.o.valid.eq(picked),
                self.o.payload.eq(Mux(special, ESC, Mux(escaped, Mux(byte == END, ESC_END, ESC_ESC), byte))),
            ]
            with m.If(~picked):
                m.d.sync += [
                    byte.eq(Mux(is_crc, crc.crc.word_select(index[:exact_log2(CRC_BYTES)], 8),
                                beat.data.word_select(index, 8))),
                    picked.eq(valid),
                ]
            with m.If(picked & self.o.ready):
                m.d.sync += escaped.eq(special)
            taken = picked & self.o.ready & ~special
            with m.If(taken):
                m.d.sync += [picked.eq(0), index.eq(Mux(index == final, 0, index + 1))]
            return taken

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [crc.start.eq(1), self.o.valid.eq(self.i.valid), self.o.payload.eq(END)]
                with m.If(self.i.valid & self.o.ready):
                    m.next = "DATA"
            with m.State("DATA"):
                taken = send(self.i.valid)
                m.d.comb += [crc.valid.eq(taken), crc.data.eq(byte)]
                with m.If(taken & (index == final)):
                    m.d.comb += self.i.ready.eq(1)
                    with m.If(beat.last):
                        m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += is_crc.eq(1)
                taken = send(1)
                with m.If(taken & (index == final)):
                    m.next = "END"
            with m.State("END"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(END)]
                with m.If(self.o.ready):
                    m.next = "IDLE"
        return m
