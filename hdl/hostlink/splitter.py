"""Takes authenticated host frames out of what a data port receives."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..config import CoreConfig
from ..stream import FrameSignature, frame_layout
from .layouts import ETHERTYPE, check_width

__all__ = ["LinkSplitter"]


class LinkSplitter(wiring.Component):
    """Frames of ``AUTH_ETHERTYPE`` to the board's address go to the link, all others on to the core.

    A frame with a tag of 802.1Q is none of the link's, whatever is behind the tag. Latency two cycles, and of the first
    beat until the second one is there; a beat a cycle.

    Parameters
    ----------
    config : CoreConfig
        Parameters of the core; its beats must have 64 bits.

    Attributes
    ----------
    mac : Signal(48), in
        The board's address, first byte lowest; constant while frames come.
    i : FrameSignature
        Frames from the port.
    o_core, o_link : FrameSignature
        Frames for the core, and for the link.

    Raises
    ------
    ConfigError
        If a beat has another width.
    """

    def __init__(self, config: CoreConfig) -> None:
        check_width(config, "the splitter of a host link")
        self._layout = frame_layout(config.data_width)
        super().__init__({
            "mac": In(48), "i": In(FrameSignature(config)),
            "o_core": Out(FrameSignature(config)), "o_link": Out(FrameSignature(config)),
        })

    def elaborate(self, platform):
        m = Module()
        # Address and EtherType are in the first two beats. Each is compared on its way into a register, so that the
        # decision about the older beat only takes two bits.
        new, old = Signal(self._layout), Signal(self._layout)
        new_valid, new_first = Signal(), Signal(init=1)
        new_ours = Signal()         # its low 48 bits are the board's address
        new_type = Signal()         # the EtherType stands where it does in a second beat
        old_valid, old_first, old_ours = Signal(), Signal(), Signal()
        linked = Signal()           # the frame whose first beat went out before is the link's

        to_link, known = Signal(), Signal()
        taken, moves = Signal(), Signal()
        m.d.comb += [
            known.eq(old_valid & (~old_first | old.last | new_valid)),
            to_link.eq(Mux(old_first, old_ours & new_type & ~old.last, linked)),
            self.o_core.valid.eq(known & ~to_link),
            self.o_link.valid.eq(known & to_link),
            self.o_core.payload.eq(old),
            self.o_link.payload.eq(old),
            taken.eq(known & Mux(to_link, self.o_link.ready, self.o_core.ready)),
            moves.eq(new_valid & (~old_valid | taken)),
            self.i.ready.eq(~new_valid | moves),
        ]
        with m.If(taken):
            m.d.sync += [old_valid.eq(0), linked.eq(to_link)]
        with m.If(moves):
            m.d.sync += [old_valid.eq(1), old.eq(new), old_first.eq(new_first), old_ours.eq(new_ours),
                         new_first.eq(new.last), new_valid.eq(0)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                new_valid.eq(1), new.eq(self.i.payload),
                new_ours.eq(self.i.payload.data[:48] == self.mac),
                new_type.eq(self.i.payload.data[32:48] == ETHERTYPE),
            ]
        return m
