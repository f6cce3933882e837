"""Receive half of a MAC: GMII to frames without preamble and FCS."""

from amaranth.hdl import Cat, DomainRenamer, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.crc.catalog import CRC32_ETHERNET
from amaranth.lib.data import View
from amaranth.lib.fifo import AsyncFIFO
from amaranth.lib.wiring import In, Out

from ..config import CoreConfig
from ..layouts import RxError
from ..stream import FrameSignature, frame_layout
from .gmii import FCS_BYTES, LEAST_FRAME, SFD

__all__ = ["GmiiReceiver"]


class GmiiReceiver(wiring.Component):
    """Receives frames from a GMII (IEEE 802.3 clause 35), in the domain ``rx``.

    Whatever comes before the start frame delimiter is ignored, a burst without one altogether (4.2.9). The FCS
    (3.2.9) is checked and taken off. Every other burst gives a frame, at least one beat long. What is wrong with it is
    in ``error`` of its last beat: ``PHY`` if RX_ER was high in it (35.2.1.5), else ``FCS``, else ``LENGTH`` if it had
    fewer than 64 or more than ``max_frame`` bytes (3.2.7, 4.2.4.2.1). What is longer than ``max_frame`` is cut.

    ``o`` should always be ready. If it is not for so long that the FIFO fills up, frames are cut or reduced to a beat
    of rubbish, and marked ``PHY``; the end of each still arrives (after 255 in a row, the number is no longer exact).

    The last beat is in ``o`` 3 cycles of ``rx`` and 3 of ``sync`` after RX_DV has fallen.

    Parameters
    ----------
    config : CoreConfig
        Gives the width of a beat.
    max_frame : int
        Longest frame with FCS; by default the one of ``config``.

    Attributes
    ----------
    rxd, rx_dv, rx_er : Signal
        GMII, in the domain ``rx``. This and ``sync`` must be reset together.
    o : stream of frame_layout, out
        Frames, in the domain ``sync``.
    """

    DEPTH = 32
    # Entries that are kept free for the ends of frames; w_level is up to three writes behind
    RESERVE = 6

    def __init__(self, config: CoreConfig, max_frame: int | None = None):
        self._bytes = config.beat_bytes
        self._layout = frame_layout(config.data_width)
        self._max_frame = config.max_frame if max_frame is None else max_frame
        super().__init__({"rxd": In(8), "rx_dv": In(1), "rx_er": In(1), "o": Out(FrameSignature(config))})

    def elaborate(self, platform):
        m = Module()
        rxd, rx_dv, rx_er = Signal(8), Signal(), Signal()
        delimits = Signal()     # by itself, as what it decides about is wide
        m.d.rx += [
            rxd.eq(self.rxd), rx_dv.eq(self.rx_dv), rx_er.eq(self.rx_er),
            delimits.eq(self.rx_dv & (self.rxd == SFD)),
        ]

        m.submodules.fifo = fifo = AsyncFIFO(width=self._layout.size, depth=self.DEPTH, w_domain="rx", r_domain="sync")
        m.d.comb += [self.o.valid.eq(fifo.r_rdy), self.o.payload.eq(fifo.r_data), fifo.r_en.eq(self.o.ready)]

        push = Signal()
        entry = Signal(self._layout)
        has_room = Signal()
        m.d.rx += [push.eq(0), has_room.eq(fifo.w_level < self.DEPTH - self.RESERVE)]
        m.d.comb += [fifo.w_en.eq(push), fifo.w_data.eq(entry)]

        m.submodules.crc = crc = DomainRenamer("rx")(CRC32_ETHERNET().create())
        m.d.comb += crc.data.eq(rxd)

        # The last four bytes are the FCS, so that what goes on is four bytes late
        late = Signal(8 * FCS_BYTES)
        late_bytes = Signal(range(FCS_BYTES + 1))
        beat = Signal(8 * self._bytes)
        beat_bytes = Signal(range(self._bytes + 1))
        length = Signal(range(self._max_frame + 2))     # of the frame so far; stops at one too many
        phy_error = Signal()
        cut = Signal()
        owed = Signal(8)                                # frames of which nothing could be stored yet
        # Taken in every cycle: its many bits don't wait for the decision to push.
        view = View(self._layout, entry)
        m.d.rx += view.data.eq(beat)

        with m.FSM(domain="rx", init="WAIT"):
            with m.State("WAIT"):  # noqa: SIM117 - an If inside of a State is not one condition
                # The end of something that is ignored
                with m.If(~rx_dv):
                    m.next = "IDLE"

            with m.State("IDLE"):
                m.d.comb += crc.start.eq(1)
                m.d.rx += [
                    late_bytes.eq(0), beat_bytes.eq(0), length.eq(0), cut.eq(0),
                    phy_error.eq(rx_dv & (phy_error | rx_er)),
                ]
                with m.If(delimits):
                    with m.If(has_room & (owed == 0)):
                        m.next = "DATA"
                    with m.Else():
                        with m.If(~owed.all()):
                            m.d.rx += owed.eq(owed + 1)
                        m.next = "WAIT"
                with m.Elif(has_room & (owed != 0)):
                    m.d.rx += [owed.eq(owed - 1), push.eq(1)]
                    self._end(m, view, RxError.PHY, self._bytes - 1)

            with m.State("DATA"):
                with m.If(rx_dv):
                    m.d.comb += crc.valid.eq(1)
                    m.d.rx += [late.eq(Cat(late[8:], rxd)), phy_error.eq(phy_error | rx_er)]
                    with m.If(late_bytes != FCS_BYTES):
                        m.d.rx += late_bytes.eq(late_bytes + 1)
                    with m.If(length != self._max_frame + 1):
                        m.d.rx += length.eq(length + 1)
                    with m.If((late_bytes == FCS_BYTES) & (length <= self._max_frame)):
                        with m.If(beat_bytes != self._bytes):
                            m.d.rx += [beat.word_select(beat_bytes, 8).eq(late[:8]), beat_bytes.eq(beat_bytes + 1)]
                        with m.Else():
                            # Only now is it known that this beat is not the last one
                            m.d.rx += [
                                beat[:8].eq(late[:8]), beat_bytes.eq(1),
                                push.eq(has_room & ~cut), cut.eq(cut | ~has_room),
                                view.empty.eq(0), view.last.eq(0), view.error.eq(RxError.NONE),
                            ]
                with m.Else():
                    m.next = "IDLE"
                    bad_length = (length < LEAST_FRAME) | (length > self._max_frame)
                    error = Mux(phy_error | cut, RxError.PHY, Mux(
                        ~crc.match_detected, RxError.FCS, Mux(bad_length, RxError.LENGTH, RxError.NONE)))
                    empty = Mux(beat_bytes == 0, self._bytes - 1, self._bytes - beat_bytes)
                    m.d.rx += [phy_error.eq(0), push.eq(1)]
                    self._end(m, view, error, empty)
        return m

    def _end(self, m: Module, view, error, empty) -> None:
        m.d.rx += [view.empty.eq(empty), view.last.eq(1), view.error.eq(error)]
