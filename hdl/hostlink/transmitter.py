"""Host frames on their way to the host: puts each in an authenticated envelope, and answers greetings."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..config import CoreConfig
from ..stream import LENGTH_BITS, FrameSignature
from .lanes import lanes_used, spread
from .layouts import (
    AUTH_HEADER_BEATS,
    AUTH_VERSION,
    ETHERTYPE,
    STORED_BEAT,
    AuthKind,
    Direction,
    auth_longest,
    check_width,
)
from .receiver import GREETING
from .sharedhash import HashSignature

__all__ = ["LinkTransmitter"]

_TAG_BEAT = AUTH_HEADER_BEATS - 1


class LinkTransmitter(wiring.Component):
    """Puts :data:`.layouts.AUTH_HEADER` before each frame; its destination is the frame's own.

    A frame goes through the hash, at four cycles a beat, into a ring in block RAM, whole with its envelope, and leaves
    once its tag is in its place: 40 cycles after its last beat was taken, if nothing is before it, and then at two
    cycles a beat. Meanwhile the next one goes in. Frames and answers to greetings take turns if there are both.

    Parameters
    ----------
    config : CoreConfig
        ``ingress_bytes`` is the size of the ring; its beats must have 64 bits.

    Attributes
    ----------
    nonce : Signal(64), in
        Of this start of the board; constant from the first frame on.
    mac : Signal(48), in
        The board's address, first byte lowest; constant while frames go.
    i : FrameSignature
        Host frames, from ``host_tx`` of the core.
    greeting : stream of GREETING
        Each is answered with a WELCOME.
    hash : HashSignature
        To a SipHash with the board's key.
    o : FrameSignature
        Authenticated frames, for the port. Without gaps of more than a cycle inside of a frame, if it is ready.

    Raises
    ------
    ConfigError
        If a beat has another width.
    """

    def __init__(self, config: CoreConfig) -> None:
        check_width(config, "the transmitter of a host link")
        self.config = config
        super().__init__({
            "nonce": In(64), "mac": In(48), "hash": Out(HashSignature),
            "i": In(FrameSignature(config)), "greeting": In(stream.Signature(GREETING)),
            "o": Out(FrameSignature(config)),
        })

    def elaborate(self, platform):
        m = Module()
        depth = self.config.ingress_bytes // self.config.beat_bytes
        longest_beats = -(-auth_longest(self.config) // 8)
        address_bits = ceil_log2(depth)
        m.submodules.store = store = memory.Memory(
            shape=STORED_BEAT, depth=depth, init=[], attrs={"rw_addr_collision": "yes"})
        w_port = store.write_port()
        # They never meet at a beat, but yosys must be told that it does not matter, or it adds registers and a bypass.
        r_port = store.read_port(transparent_for=(w_port,))

        # Pointers have one bit more than an address, which tells full from empty.
        head = Signal(address_bits + 1)         # next beat to be written
        start = Signal(address_bits + 1)        # first beat of the frame that is going in
        written = Signal(address_bits + 1)      # end of what can leave: a cycle late, as the memory is
        tail = Signal(address_bits + 1)         # next beat to leave
        m.d.sync += written.eq(start)

        greet = Signal()                        # a WELCOME is going in, or was the last to do so
        sequence = Signal(64, init=1)           # of the next frame
        length = Signal(LENGTH_BITS)            # of the frame up to the beat that is hashed
        beats = Signal(range(longest_beats + 1))
        room = Signal()                         # for the longest frame
        beat = self.i.payload
        word = Signal(64)                       # the next one
        offered = Signal()                      # it is there,
        taken = Signal()                        # and taken over into the write port's register, from where it is hashed
        held = Signal()                         # there is one that is not hashed yet
        stored = Signal()                       # the next word goes into the ring, too
        last, empty = Signal(), Signal(3)
        final = Signal()                        # of what is hashed
        # What the next word is made of. Sources are masked by a register each and joined by OR, which takes a third of
        # the logic of choosing among so many by the state.
        of_first, of_greeted, of_board, of_kind, of_sequence, of_body, of_challenge, of_nonce, of_accepted, of_length, \
            of_tag = selects = [Signal() for _ in range(11)]
        whole = Signal(LENGTH_BITS)             # bytes of the frame
        words, tag = self.hash.words, self.hash.tag
        greeting = self.greeting.payload
        body_lanes = lanes_used(beat.empty, 64) & (of_body.replicate(8) | of_first.replicate(6))
        address_rest = Cat(self.mac[16:], Const(ETHERTYPE, 16), Const(AUTH_VERSION, 8),
                           Mux(greet, AuthKind.WELCOME, AuthKind.DATA))

        def masked(value, chosen):
            return value & chosen.replicate(len(value))

        m.d.comb += [
            word.eq(beat.data & spread(body_lanes)
                    | masked(greeting.destination, of_greeted)
                    | masked(self.mac[:16], of_board) << 48
                    | masked(address_rest, of_kind)
                    | masked(sequence, of_sequence)
                    | masked(greeting.challenge, of_challenge)
                    | masked(self.nonce, of_nonce)
                    | masked(greeting.accepted, of_accepted)
                    | masked(whole | Direction.TO_HOST << 16, of_length)
                    | masked(tag.payload, of_tag)),
            words.valid.eq(held),
            words.payload.data.eq(w_port.data.data),
            taken.eq(offered & (~held | words.ready)),
            length.eq(beats * 8 + 8 - empty),
        ]
        m.d.sync += [
            room.eq((head - tail)[:address_bits + 1] <= depth - longest_beats),
            w_port.en.eq(taken & stored | tag.valid & tag.ready),
        ]
        with m.If(taken | tag.ready):
            m.d.sync += [
                w_port.addr.eq(Mux(tag.ready, start + _TAG_BEAT, head)),
                w_port.data.data.eq(word), w_port.data.empty.eq(empty), w_port.data.last.eq(last),
            ]
        with m.If(taken):
            m.d.sync += [held.eq(1), words.payload.last.eq(final)]
        with m.Elif(words.ready):
            m.d.sync += held.eq(0)
        with m.If(taken & stored):
            m.d.sync += [head.eq(head + 1), beats.eq(beats + 1)]

        def follow(state, *chosen):
            """The next state, and what its word is made of."""
            m.next = state
            m.d.sync += [select.eq(any(select is one for one in chosen)) for select in selects]

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += beats.eq(0)
                with m.If(room & (self.i.valid | self.greeting.valid)):
                    answers = Signal()
                    m.d.comb += answers.eq(self.greeting.valid & (~self.i.valid | ~greet))
                    m.d.sync += greet.eq(answers)
                    # The first beat of a host frame is not taken yet.
                    follow("ADDRESSES", of_board)
                    m.d.sync += [of_first.eq(~answers), of_greeted.eq(answers)]
            with m.State("ADDRESSES"):
                m.d.comb += [offered.eq(1), stored.eq(1)]
                with m.If(taken):
                    follow("KIND", of_kind)
            with m.State("KIND"):
                m.d.comb += [offered.eq(1), stored.eq(1)]
                with m.If(taken):
                    follow("SEQUENCE", of_sequence)
            with m.State("SEQUENCE"):
                m.d.comb += [offered.eq(1), stored.eq(1)]
                with m.If(taken):
                    # The tag's place is left free.
                    m.d.sync += [head.eq(head + 2), beats.eq(AUTH_HEADER_BEATS)]
                    with m.If(greet):
                        follow("CHALLENGE", of_challenge)
                    with m.Else():
                        follow("BODY", of_body)
            with m.State("BODY"):
                m.d.comb += [
                    offered.eq(self.i.valid), stored.eq(1),
                    last.eq(beat.last), empty.eq(beat.empty),
                    self.i.ready.eq(~held | words.ready),
                ]
                with m.If(taken & last):
                    m.d.sync += whole.eq(length)
                    follow("LENGTH", of_length)
            # Words of AUTH_WELCOME.
            with m.State("CHALLENGE"):
                m.d.comb += [offered.eq(1), stored.eq(1)]
                with m.If(taken):
                    follow("TOLD NONCE", of_nonce)
            with m.State("TOLD NONCE"):
                m.d.comb += [offered.eq(1), stored.eq(1)]
                with m.If(taken):
                    follow("ACCEPTED", of_accepted)
            with m.State("ACCEPTED"):
                m.d.comb += [offered.eq(1), stored.eq(1)]
                with m.If(taken):
                    follow("RESERVED")
            with m.State("RESERVED"):
                m.d.comb += [offered.eq(1), stored.eq(1), last.eq(1), self.greeting.ready.eq(taken)]
                with m.If(taken):
                    m.d.sync += whole.eq(length)
                    follow("LENGTH", of_length)
            with m.State("LENGTH"):
                m.d.comb += offered.eq(1)
                with m.If(taken):
                    follow("NONCE")
                    m.d.sync += of_nonce.eq(~greet)
            with m.State("NONCE"):
                m.d.comb += [offered.eq(1), final.eq(1)]
                with m.If(taken):
                    follow("TAG", of_tag)
            with m.State("TAG"):
                m.d.comb += tag.ready.eq(~held)
                with m.If(tag.valid & tag.ready):
                    m.d.sync += [start.eq(head), sequence.eq(sequence + 1)]
                    follow("IDLE")

        loaded = Signal()           # the memory puts out a beat
        moves = Signal()            # to ``o``
        read = Signal()
        m.d.comb += [
            moves.eq(loaded & (~self.o.valid | self.o.ready)),
            # Not in the same cycle: that keeps ``o.ready`` away from the block RAM.
            read.eq((tail != written) & ~loaded),
            r_port.addr.eq(tail),
            r_port.en.eq(read),
        ]
        with m.If(read):
            m.d.sync += [tail.eq(tail + 1), loaded.eq(1)]
        with m.Elif(moves):
            m.d.sync += loaded.eq(0)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(moves):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.payload.data.eq(r_port.data.data),
                self.o.payload.empty.eq(r_port.data.empty),
                self.o.payload.last.eq(r_port.data.last),
            ]
        return m
