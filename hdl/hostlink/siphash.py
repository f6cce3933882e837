"""SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012), half a round a cycle."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SIPHASH_WORD", "SipHash"]

#: The constants that the key is mixed with, v0 to v3 ("somepseudorandomlygeneratedbytes", section 2.1 of the paper).
_INITIAL = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
_FINAL = 0xFF

SIPHASH_WORD = data.StructLayout({"data": 64, "last": 1})


class SipHash(wiring.Component):
    """Hash of a message of whole 64-bit words, little-endian.

    A word takes four cycles, two halves of a round each twice: ``i.ready`` is high in the last one. The tag is
    offered 13 cycles after the last word was taken; the first word of the next message is begun two cycles after the
    tag was taken.

    Both halves of a SipRound are the same with v0 and v2 exchanged, but for two distances of rotation. So the halves
    share two adders: ``p`` and ``q`` hold v0 and v2 before a first half, v2 and v0 before a second one.

    Attributes
    ----------
    key : Signal(128), in
        First byte lowest. Read at the beginning of each message.
    i : stream of SIPHASH_WORD
        Words of a message, at least one. The payload is used in the first cycle of a word and in the last one.
    soon : Signal, out
        A word will be taken in the next cycle.
    o : stream of 64 bits
        The tag, first byte lowest.
    """

    def __init__(self) -> None:
        super().__init__({
            "key": In(128), "i": In(stream.Signature(SIPHASH_WORD)), "soon": Out(1),
            "o": Out(stream.Signature(64)),
        })

    def elaborate(self, platform):
        m = Module()
        # Each message sets them; without a reset besides, a constant key is what they are reset to, without logic.
        p, b, q, d = (Signal(64, name=name, reset_less=True) for name in "pbqd")
        half = Signal(2)            # which of the four halves that a word takes
        rounds = Signal()           # which of the two times four halves of the end
        words = Signal(5)           # modulo 32: the length in bytes modulo 256, divided by 8

        step = Signal()
        first = Signal()            # a word is mixed in before this half,
        last = Signal()             # and after this half
        word = Signal(64)
        marked = Signal()           # the constant of the end is mixed in after this half

        mixed = Signal(64)          # v3 with the word in it
        sum_p, sum_q = Signal(64), Signal(64)
        second = half[0]            # half of a round
        m.d.comb += [
            mixed.eq(d ^ Mux(first, word, 0)),
            sum_p.eq(p + b),
            sum_q.eq(q + mixed),
            self.o.payload.eq(p ^ b ^ q ^ d),
        ]
        with m.If(step):
            m.d.sync += [
                half.eq(half + 1),
                b.eq(Mux(second, b.rotate_left(17), b.rotate_left(13)) ^ sum_p),
                d.eq(Mux(second, mixed.rotate_left(21), mixed.rotate_left(16)) ^ sum_q),
                p.eq(sum_q ^ Mux(last, word, 0)),
                q.eq(sum_p.rotate_left(32) ^ Mux(marked, _FINAL, 0)),
            ]

        with m.FSM():
            with m.State("KEY"):
                low, high = self.key[:64], self.key[64:]
                m.d.sync += [p.eq(low ^ _INITIAL[0]), b.eq(high ^ _INITIAL[1]), q.eq(low ^ _INITIAL[2]),
                             d.eq(high ^ _INITIAL[3]), half.eq(0), words.eq(0), rounds.eq(0)]
                m.next = "WORDS"
            with m.State("WORDS"):
                m.d.comb += [
                    step.eq(self.i.valid), word.eq(self.i.payload.data),
                    first.eq(half == 0), last.eq(half == 3),
                    self.soon.eq(self.i.valid & (half == 2)), self.i.ready.eq(half == 3),
                ]
                with m.If(self.i.valid & self.i.ready):
                    m.d.sync += words.eq(words + 1)
                    with m.If(self.i.payload.last):
                        m.next = "LENGTH"
            with m.State("LENGTH"):
                m.d.comb += [
                    step.eq(1), word.eq(Cat(Const(0, 59), words)),
                    first.eq(half == 0), last.eq(half == 3), marked.eq(half == 3),
                ]
                with m.If(half == 3):
                    m.next = "FINISH"
            with m.State("FINISH"):
                m.d.comb += step.eq(1)
                with m.If(half == 3):
                    m.d.sync += rounds.eq(1)
                    with m.If(rounds):
                        m.next = "TAG"
            with m.State("TAG"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "KEY"
        return m
