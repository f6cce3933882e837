"""The injected frames' way into the look-ups: what an ingress is for a port, but nothing is lost."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect, flipped

from .capture import FATE, HeaderCapture
from .config import CoreConfig
from .framestore import FrameStore
from .narrowheader import HeaderBeatsSignature, NarrowHeaderCapture, header_layout
from .records import PORT_BITS, ROUTER_BITS
from .stream import PacketSignature

__all__ = ["HeaderTap"]


class HeaderTap(wiring.Component):
    """Stores good frames, and gives the header of each before.

    The header is offered in the cycle after the beat that completes it, the fate (always good) in the cycle after the
    last beat, the body's first beat four cycles after the last one. One beat a cycle; a frame waits until the previous
    one's header was taken, and while there is no room for it.

    Parameters
    ----------
    config : CoreConfig
        The store is as large as that of a port: ``ingress_bytes``.

    Attributes
    ----------
    i : PacketSignature
        Frames of at least 14 bytes.
    i_router, i_port : Signal, in
        For whom, and for which egress port, the frame at ``i`` is; stable while it is valid.
    o_header : stream of header_layout
        The start of each frame.
    o_beats : HeaderBeatsSignature
        Only if beats are narrow: those of the header at ``o_header``.
    router, port : Signal, out
        For whom the header at ``o_header`` is.
    o_fate : stream of FATE
        One for each frame.
    o : PacketSignature
        The frames.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(PacketSignature(config)), "i_router": In(ROUTER_BITS), "i_port": In(PORT_BITS),
            "o_header": Out(stream.Signature(header_layout(config))), "o_fate": Out(stream.Signature(FATE)),
            "router": Out(ROUTER_BITS), "port": Out(PORT_BITS),
            "o": Out(PacketSignature(config)),
            **({"o_beats": Out(HeaderBeatsSignature(config))} if config.narrow_headers else {}),
        })

    def elaborate(self, platform):
        m = Module()
        beat_bytes = self.config.beat_bytes
        m.submodules.store = store = FrameStore(self.config)
        narrow = self.config.narrow_headers
        m.submodules.capture = capture = (NarrowHeaderCapture if narrow else HeaderCapture)(self.config)
        m.submodules.fates = fates = SyncFIFO(width=FATE.size, depth=self.config.fates)
        connect(m, store.o, flipped(self.o))
        connect(m, capture.o, flipped(self.o_header))
        if narrow:
            connect(m, capture.o_beats, flipped(self.o_beats))

        beat = self.i.payload
        first = Signal(init=1)
        fire = Signal()
        rest = Signal(range(beat_bytes))
        fate = Signal(FATE)
        m.d.comb += [
            self.i.ready.eq(store.room & store.room_length & fates.w_rdy & ~(capture.busy & first)),
            fire.eq(self.i.valid & self.i.ready),
            rest.eq(beat.length),
            capture.fire.eq(fire),
            capture.data.eq(beat.data),
            capture.last.eq(beat.last),
            capture.filled.eq(Mux(rest == 0, beat_bytes, rest)),
            capture.allow.eq(1),
            store.data.eq(beat.data),
            store.last.eq(beat.last),
            store.length.eq(beat.length),
            store.write.eq(fire),
            store.keep.eq(fire & beat.last),
            fate.good.eq(1),
            fate.length.eq(beat.length),
            fates.w_data.eq(fate),
            fates.w_en.eq(fire & beat.last),
            self.o_fate.valid.eq(fates.r_rdy),
            self.o_fate.payload.eq(fates.r_data),
            fates.r_en.eq(self.o_fate.ready),
        ]
        with m.If(fire):
            m.d.sync += first.eq(beat.last)
            with m.If(first):
                m.d.sync += [self.router.eq(self.i_router), self.port.eq(self.i_port)]
        return m
