"""One SipHash for both directions of a link."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .siphash import SIPHASH_WORD, SipHash

__all__ = ["HashSignature", "SharedHash"]

#: Of who uses the hash: words of a message out, the tag back in, and ``soon``, a word will be taken in the next cycle.
HashSignature = wiring.Signature({
    "words": Out(stream.Signature(SIPHASH_WORD)), "soon": In(1), "tag": In(stream.Signature(64)),
})


class SharedHash(wiring.Component):
    """Hashes whole messages of two users, in turn if both have one.

    Half of an FPGA's logic for a link would be a second hash; one does 2 bytes a cycle, 1 Gb/s at 62.5 MHz, for both
    directions together. A message waits for one of the other user at most, and a cycle more if the hash was idle.

    Attributes
    ----------
    key : Signal(128), in
        First byte lowest. Read at the beginning of each message.
    users : array of two HashSignature
    """

    def __init__(self) -> None:
        super().__init__({"key": In(128), "users": In(HashSignature).array(2)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.hash = sip = SipHash()
        first, second = self.users
        busy = Signal()             # from before a message until its tag was taken
        owner = Signal()            # of that message, or of the last one
        word = Signal(SIPHASH_WORD)     # choosing it and the hash's adders are too much for one cycle
        held = Signal()
        ready = Signal()            # for a word of the owner
        m.d.comb += [
            sip.key.eq(self.key),
            ready.eq(busy & (~held | sip.i.ready)),
            sip.i.valid.eq(held),
            sip.i.payload.eq(word),
            sip.o.ready.eq(Mux(owner, second.tag.ready, first.tag.ready)),
        ]
        for user, owns in ((first, ~owner), (second, owner)):
            m.d.comb += [
                user.words.ready.eq(owns & ready),
                user.soon.eq(owns & sip.soon & user.words.valid),
                user.tag.valid.eq(owns & sip.o.valid),
                user.tag.payload.eq(sip.o.payload),
            ]
        with m.If(ready):
            m.d.sync += [
                held.eq(Mux(owner, second.words.valid, first.words.valid)),
                word.last.eq(Mux(owner, second.words.payload.last, first.words.payload.last)),
                word.data.eq(Mux(owner, second.words.payload.data, first.words.payload.data)),
            ]
        with m.If(~busy):
            m.d.sync += [
                owner.eq(Mux(owner, ~first.words.valid, second.words.valid)),
                busy.eq(first.words.valid | second.words.valid),
            ]
        with m.Elif(sip.o.valid & sip.o.ready):
            m.d.sync += busy.eq(0)
        return m
