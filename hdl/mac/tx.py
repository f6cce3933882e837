"""Transmit half of a MAC: frames to GMII with preamble, padding, FCS and gap."""

from math import ceil

from amaranth.hdl import DomainRenamer, Module, Mux, Signal, ValueLike
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer, PulseSynchronizer
from amaranth.lib.crc.catalog import CRC32_ETHERNET
from amaranth.lib.fifo import AsyncFIFO
from amaranth.lib.wiring import In, Out

from ..config import CoreConfig
from ..stream import FrameSignature, frame_layout
from .gmii import FCS_BYTES, GAP_BYTES, LEAST_FRAME, LINE_RATE, PREAMBLE, PREAMBLE_BYTES, SFD

__all__ = ["GmiiTransmitter", "start_level"]

#: Both clocks may be 100 ppm off (35.5.2.3), to which some is added.
CLOCK_TOLERANCE = 500e-6
#: Beats of the FIFO besides those of the start level, for what is under way between the clocks. No more: what waits
#: here nothing can overtake.
_FIFO_BEATS = 4


def start_level(config: CoreConfig, max_frame: int) -> int:
    """Beats of a frame that must be there before it is started, so that the line never waits for the core.

    The core delivers a beat at least every ``ports + 1`` of its cycles. Where that is slower than the line, the frame
    must be ahead by what the line gains on the core over the longest frame.
    """
    line = config.data_width / LINE_RATE
    core = (config.ports + 1) / config.clock_hz * (1 + CLOCK_TOLERANCE)
    beats = ceil((max_frame - FCS_BYTES) / config.beat_bytes)
    gained = ceil((beats - 1) * max(0.0, 1 - line / core))
    # One for the beat that is being sent, two as the ports take turns and the levels cross a clock domain
    return min(beats, gained + 3)


class GmiiTransmitter(wiring.Component):
    """Sends frames on a GMII (IEEE 802.3 clause 35), in the domain ``tx``.

    Adds preamble and start frame delimiter (3.2.1, 3.2.2), zeros up to the shortest frame (3.2.8), the FCS (3.2.9), and
    keeps a gap of 12 byte times (4.4.2), never more if the next frame is there. A frame is started when it is in the
    FIFO whole, or :func:`start_level` beats of it. If the core breaks its promise and a beat is late, the frame is
    aborted with TX_ER (35.2.2.5) and the rest of it thrown away. ``error`` of a frame is ignored.

    A beat is on ``txd`` 8 bytes of preamble, 3 cycles of ``sync`` and 6 of ``tx`` after the one that completed the
    start condition.

    Parameters
    ----------
    config : CoreConfig
        Gives the width of a beat, and how fast the core is.
    max_frame : int
        Longest frame with FCS; by default the one of ``config``.

    Attributes
    ----------
    txd, tx_en, tx_er : Signal
        GMII, in the domain ``tx``. This and ``sync`` must be reset together.
    i : stream of frame_layout, in
        Frames, in the domain ``sync``.
    underflow : Signal, out
        High for a cycle of ``sync`` for each frame that was aborted.
    """

    def __init__(self, config: CoreConfig, max_frame: int | None = None):
        self._bytes = config.beat_bytes
        self._layout = frame_layout(config.data_width)
        self._start_level = start_level(config, config.max_frame if max_frame is None else max_frame)
        super().__init__({
            "txd": Out(8), "tx_en": Out(1), "tx_er": Out(1), "i": In(FrameSignature(config)), "underflow": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = AsyncFIFO(
            width=self._layout.size, depth=self._start_level + _FIFO_BEATS, w_domain="sync", r_domain="tx")
        m.d.comb += [self.i.ready.eq(fifo.w_rdy), fifo.w_en.eq(self.i.valid), fifo.w_data.eq(self.i.payload)]
        # The beat that is next stands in a register, as there are cycles enough to fetch it: what the FIFO has to offer
        # is so no part of the path from the state to the beat.
        ahead, there = Signal(self._layout), Signal()
        m.d.comb += fifo.r_en.eq(~there)
        with m.If(~there):
            m.d.tx += [ahead.eq(fifo.r_data), there.eq(fifo.r_rdy)]
        take = Signal()
        whole = self._whole_frame(m, len(fifo.r_level), take & ahead.last)
        startable = Signal()
        m.d.tx += startable.eq(whole | (there & (fifo.r_level >= self._start_level - 1)))

        m.submodules.crc = crc = DomainRenamer("tx")(CRC32_ETHERNET().create())
        byte, enable, error = Signal(8), Signal(), Signal()
        m.d.comb += crc.data.eq(byte)
        m.d.tx += [self.txd.eq(byte), self.tx_en.eq(enable), self.tx_er.eq(error)]

        m.submodules.underflow = underflow = PulseSynchronizer("tx", "sync")
        m.d.comb += self.underflow.eq(underflow.o)

        beat = Signal(8 * self._bytes)
        left = Signal(range(self._bytes))       # bytes of the beat after the one that is being sent
        last = Signal()
        least = LEAST_FRAME - FCS_BYTES
        length = Signal(range(least + 1))       # of the frame so far; stops at the least
        step = Signal(range(max(PREAMBLE_BYTES, GAP_BYTES)))

        def load():
            m.d.comb += take.eq(1)
            m.d.tx += [beat.eq(ahead.data), last.eq(ahead.last), there.eq(0),
                       left.eq(Mux(ahead.last, self._bytes - 1 - ahead.empty, self._bytes - 1))]

        with m.FSM(domain="tx"):
            with m.State("IDLE"):               # is also the last byte of a gap
                m.d.tx += [step.eq(0), length.eq(0)]
                with m.If(startable):
                    m.next = "PREAMBLE"

            with m.State("PREAMBLE"):
                m.d.comb += [byte.eq(PREAMBLE), enable.eq(1)]
                m.d.tx += step.eq(step + 1)
                with m.If(step == PREAMBLE_BYTES - 1):
                    m.next = "SFD"

            with m.State("SFD"):
                m.d.comb += [byte.eq(SFD), enable.eq(1), crc.start.eq(1)]
                m.d.tx += step.eq(0)
                load()
                m.next = "DATA"

            with m.State("DATA"):
                m.d.comb += [byte.eq(beat[:8]), enable.eq(1), crc.valid.eq(1)]
                m.d.tx += [beat.eq(beat >> 8), left.eq(left - 1)]
                with m.If(length != least):
                    m.d.tx += length.eq(length + 1)
                with m.If(left == 0):
                    with m.If(last):
                        m.next = "FCS"
                        with m.If(length < least - 1):
                            m.next = "PAD"
                    with m.Elif(there):
                        load()
                    with m.Else():
                        m.d.comb += underflow.i.eq(1)
                        m.next = "ABORT"

            with m.State("PAD"):
                m.d.comb += [enable.eq(1), crc.valid.eq(1)]
                m.d.tx += length.eq(length + 1)
                with m.If(length == least - 1):
                    m.next = "FCS"

            with m.State("FCS"):
                m.d.comb += [byte.eq(crc.crc.word_select(step, 8)), enable.eq(1)]
                m.d.tx += step.eq(step + 1)
                with m.If(step == FCS_BYTES - 1):
                    m.d.tx += step.eq(0)
                    m.next = "GAP"

            with m.State("ABORT"):
                m.d.comb += [enable.eq(1), error.eq(1)]
                m.next = "DRAIN"

            with m.State("DRAIN"), m.If(there):
                m.d.comb += take.eq(1)
                m.d.tx += there.eq(0)
                with m.If(ahead.last):
                    m.next = "GAP"

            with m.State("GAP"):
                m.d.tx += step.eq(step + 1)
                with m.If(step == GAP_BYTES - 2):
                    m.next = "IDLE"
        return m

    def _whole_frame(self, m: Module, width: int, end_taken: ValueLike) -> Signal:
        """Whether the end of a frame is here: ends written, in Gray code of so many bits, against ends taken."""
        written, written_gray, written_tx = Signal(width), Signal(width), Signal(width)
        read, whole = Signal(width), Signal()
        with m.If(self.i.valid & self.i.ready & self.i.payload.last):
            m.d.sync += written.eq(written + 1)
        # In a register of its own, as only a register changes one bit at a time
        m.d.sync += written_gray.eq(written ^ written >> 1)
        m.submodules.written = FFSynchronizer(written_gray, written_tx, o_domain="tx")
        with m.If(end_taken):
            m.d.tx += read.eq(read + 1)
        m.d.comb += whole.eq(written_tx != (read ^ read >> 1))
        return whole
