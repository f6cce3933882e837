"""Authenticated frames from the host: holds each until its tag is checked, then gives it on or drops it whole."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..config import CoreConfig
from ..layouts import RxError
from ..stream import LENGTH_BITS, FrameSignature
from .lanes import lanes_used, spread
from .layouts import (
    AUTH_HEADER_BEATS,
    AUTH_LEAST_BYTES,
    AUTH_VERSION,
    STORED_BEAT,
    AuthKind,
    Direction,
    LinkEvent,
    auth_longest,
    check_width,
)
from .sharedhash import HashSignature

__all__ = ["GREETING", "LinkReceiver"]

#: What the transmitter needs to answer a HELLO.
GREETING = data.StructLayout({"destination": 48, "challenge": 64, "accepted": 64})



class LinkReceiver(wiring.Component):
    """Checks frames of :data:`.layouts.AUTH_HEADER`, and takes the envelope off those that are authentic and new.

    A frame goes into a ring in block RAM, where it is first checked, at four cycles a beat, and then read again. It is
    *foreign* if it is damaged, has another version or kind, is shorter than ``AUTH_LEAST_BYTES`` or longer than the
    longest host frame in its envelope, or comes from a group address, which could not be answered. One that is not and
    finds no room is an overflow. Both are taken out at their last beat. Then the tag tells whether it is forged, and
    after that its number whether it is replayed. So nothing of a frame that was refused ever reaches ``o``, and it
    changes nothing but a counter.

    The verdict comes 33 cycles after a frame's last beat was hashed. While one frame goes out, at three or four cycles
    a beat, the next one is checked. What is in the unused lanes of a last beat is hashed as zeros, and given on as it
    came.

    Parameters
    ----------
    config : CoreConfig
        ``ingress_bytes`` is the size of the ring; its beats must have 64 bits.

    Attributes
    ----------
    nonce : Signal(64), in
        Of this start of the board; constant from the first frame on.
    i : FrameSignature
        Frames of ``AUTH_ETHERTYPE`` to the board's address; always ready.
    o : FrameSignature
        Host frames, for ``host_rx`` of the core.
    greeting : stream of GREETING
        A HELLO to be answered. Further ones are an overflow until it was taken.
    hash : HashSignature
        To a SipHash with the board's key.
    events : Signal, out
        One bit for each :class:`.layouts.LinkEvent`, high for a cycle for each frame that ended so. If two overflow at
        once, that bit is high for two cycles.

    Raises
    ------
    ConfigError
        If a beat has another width.
    """

    def __init__(self, config: CoreConfig) -> None:
        check_width(config, "the receiver of a host link")
        self.config = config
        super().__init__({
            "nonce": In(64), "hash": Out(HashSignature),
            "i": In(FrameSignature(config)), "o": Out(FrameSignature(config)),
            "greeting": Out(stream.Signature(GREETING)),
            "events": Out(len(LinkEvent)),
        })

    def elaborate(self, platform):
        m = Module()
        depth = self.config.ingress_bytes // self.config.beat_bytes
        address_bits = ceil_log2(depth)
        m.submodules.store = store = memory.Memory(
            shape=STORED_BEAT, depth=depth, init=[], attrs={"rw_addr_collision": "yes"})
        w_port = store.write_port()
        # They never meet at a beat, but yosys must be told that it does not matter, or it adds registers and a bypass.
        r_port = store.read_port(transparent_for=(w_port,))

        # Pointers have one bit more than an address, which tells full from empty.
        head = Signal(address_bits + 1)         # next beat to be written
        start = Signal(address_bits + 1)        # first beat of the frame that is being received
        written = Signal(address_bits + 1)      # end of what can be read: a cycle late, as the memory is
        cursor = Signal(address_bits + 1)       # next beat to be checked
        tail = Signal(address_bits + 1)         # next beat to go out; what is before it is free

        # There are two ways to overflow. If both come together, one counts in the next cycle, when there is neither:
        # frames that count here have several beats, and verdicts are further apart than that.
        lost_frame, lost_greeting, uncounted = Signal(), Signal(), Signal()
        m.d.comb += self.events[LinkEvent.OVERFLOW].eq(lost_frame | lost_greeting | uncounted)
        m.d.sync += uncounted.eq(lost_frame & lost_greeting)

        self._write(m, w_port, head, start, tail, depth, lost_frame)
        m.d.sync += written.eq(start)

        # A beat that was read for the check is taken over in the next cycle, one for the way out likewise: so the two
        # share a port of the memory, and the check comes first.
        check = Signal()
        send = Signal()
        m.d.comb += [
            r_port.addr.eq(Mux(check, cursor, tail)),
            r_port.en.eq(check | send),
        ]
        verdict = Signal()          # there is one, about the frame at ``tail``
        good = Signal()
        end = Signal.like(cursor)   # where that frame ends
        settled = Signal()          # the way out is done with it
        with m.If(settled):
            m.d.sync += verdict.eq(0)
        self._check(m, r_port.data, check, cursor, written, verdict, good, end, lost_greeting)
        self._send(m, r_port.data, check, send, tail, verdict, good, end, settled)
        return m

    def _write(self, m: Module, w_port, head, start, tail, depth: int, lost_frame) -> None:
        """From ``i`` into the ring."""
        longest = auth_longest(self.config)
        beat = self.i.payload
        beats = Signal(range(longest // 8 + 3))     # before this one; stops at more than the longest frame has
        length = Signal(LENGTH_BITS + 1)
        foreign = Signal()                      # an earlier beat says so
        lost = Signal()                         # an earlier beat did not fit
        strange = Signal()                      # this beat says that the frame is foreign
        room = Signal()
        refused, full, keep = Signal(), Signal(), Signal()
        version, kind = beat.data[48:56], beat.data[56:64]
        m.d.comb += [
            self.i.ready.eq(1),
            room.eq((head ^ tail) != depth),
            length.eq(beats * 8 + 8 - beat.empty),
            strange.eq(((beats == 0) & beat.data[48])       # the source is a group address
                       | ((beats == 1) & ((version != AUTH_VERSION)
                                          | ((kind != AuthKind.DATA) & (kind != AuthKind.HELLO))))
                       | (length > longest)),
            refused.eq(foreign | strange | (beat.error != RxError.NONE) | (length < AUTH_LEAST_BYTES)),
            full.eq(lost | ~room),
            keep.eq(~refused & ~full),
        ]
        m.d.sync += [
            w_port.addr.eq(head),
            w_port.data.data.eq(beat.data),
            w_port.data.empty.eq(beat.empty),
            w_port.data.last.eq(beat.last),
            w_port.en.eq(self.i.valid & ~full),
        ]
        with m.If(self.i.valid):
            with m.If(beat.last):
                m.d.comb += [
                    self.events[LinkEvent.FOREIGN].eq(refused),
                    lost_frame.eq(~refused & full),
                ]
                m.d.sync += [
                    beats.eq(0), foreign.eq(0), lost.eq(0),
                    start.eq(Mux(keep, head + 1, start)), head.eq(Mux(keep, head + 1, start)),
                ]
            with m.Else():
                m.d.sync += [
                    foreign.eq(foreign | strange), lost.eq(full),
                    beats.eq(beats + (length <= longest)), head.eq(head + ~full),
                ]

    def _check(self, m: Module, stored, check, cursor, written, verdict, good, end, lost_greeting) -> None:
        """From the ring through the hash to a verdict."""
        word = Signal(STORED_BEAT)          # the beat that is hashed
        full, pending = Signal(), Signal()
        index = Signal(range(auth_longest(self.config) // 8 + 2))   # of that beat in its frame
        take = Signal()
        header = Signal(data.StructLayout({"source": 48, "kind": 8, "sequence": 64, "tag": 64}))
        length = Signal(LENGTH_BITS)
        accepted = Signal(64)           # sequence number of the last frame
        match, newer = Signal(), Signal()

        m.d.sync += pending.eq(check)
        with m.If(check):
            m.d.sync += cursor.eq(cursor + 1)
        with m.If(pending):
            m.d.sync += [word.eq(stored), full.eq(1)]
        with m.Elif(take):
            m.d.sync += full.eq(0)

        ends_hello = header.kind == AuthKind.HELLO
        words, tag = self.hash.words, self.hash.tag
        length_word, nonce_word = Signal(), Signal()
        m.d.comb += words.payload.data.eq(
            word.data & spread(lanes_used(word.empty, 64) & (~length_word & ~nonce_word).replicate(8))
            | Mux(length_word, length | Direction.TO_BOARD << 16, 0)
            | self.nonce & (nonce_word & ~ends_hello).replicate(64))
        is_tag = index == AUTH_HEADER_BEATS - 1
        with m.If(self.greeting.valid & self.greeting.ready):
            m.d.sync += self.greeting.valid.eq(0)
        with m.FSM():
            with m.State("BEATS"):
                m.d.comb += [
                    # Read so early that the next beat is there just when this one was hashed.
                    check.eq((cursor != written) & ~(full & word.last) & ((~full & ~pending) | self.hash.soon)),
                    words.valid.eq(full & ~is_tag),
                    take.eq(full & (is_tag | words.ready)),
                ]
                with m.If(take):
                    with m.Switch(index):
                        with m.Case(0):
                            m.d.sync += header.source[:16].eq(word.data[48:])
                        with m.Case(1):
                            m.d.sync += [header.source[16:].eq(word.data[:32]), header.kind.eq(word.data[56:])]
                        with m.Case(2):
                            m.d.sync += header.sequence.eq(word.data)
                        with m.Case(3):
                            m.d.sync += header.tag.eq(word.data)
                    m.d.sync += [index.eq(index + 1), length.eq(index * 8 + 8 - word.empty)]
                    with m.If(word.last):
                        m.next = "LENGTH"
            with m.State("LENGTH"):
                m.d.comb += [words.valid.eq(1), length_word.eq(1)]
                with m.If(words.ready):
                    m.next = "NONCE"
            with m.State("NONCE"):
                m.d.comb += [words.valid.eq(1), nonce_word.eq(1), words.payload.last.eq(1)]
                with m.If(words.ready):
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.comb += tag.ready.eq(1)
                m.d.sync += [match.eq(tag.payload == header.tag), newer.eq(header.sequence > accepted), index.eq(0)]
                with m.If(tag.valid):
                    m.next = "JUDGE"
            with m.State("JUDGE"), m.If(~verdict):
                m.d.sync += [verdict.eq(1), good.eq(0), end.eq(cursor)]
                with m.If(~match):
                    m.d.comb += self.events[LinkEvent.FORGED].eq(1)
                with m.Elif(ends_hello):
                    m.d.comb += [
                        lost_greeting.eq(self.greeting.valid),
                        self.events[LinkEvent.GREETED].eq(~self.greeting.valid),
                    ]
                    with m.If(~self.greeting.valid):
                        m.d.sync += [
                            self.greeting.valid.eq(1),
                            self.greeting.payload.destination.eq(header.source),
                            self.greeting.payload.challenge.eq(header.sequence),
                            self.greeting.payload.accepted.eq(accepted),
                        ]
                with m.Elif(~newer):
                    m.d.comb += self.events[LinkEvent.REPLAYED].eq(1)
                with m.Else():
                    m.d.comb += self.events[LinkEvent.ACCEPTED].eq(1)
                    m.d.sync += [good.eq(1), accepted.eq(header.sequence)]
                m.next = "BEATS"

    def _send(self, m: Module, stored, check, send, tail, verdict, good, end, settled) -> None:
        """From the ring to ``o``, or past the frame."""
        loaded = Signal()           # the memory puts out a beat for ``o``, which is free
        m.d.sync += loaded.eq(send)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(loaded):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.payload.data.eq(stored.data),
                self.o.payload.empty.eq(stored.empty),
                self.o.payload.last.eq(stored.last),
            ]
        with m.If(send):
            m.d.sync += tail.eq(tail + 1)
        with m.FSM():
            with m.State("WAIT"), m.If(verdict):
                with m.If(good):
                    m.d.sync += tail.eq(tail + AUTH_HEADER_BEATS)
                    m.next = "SEND"
                with m.Else():
                    m.d.sync += tail.eq(end)
                    m.d.comb += settled.eq(1)
            with m.State("SEND"):
                m.d.comb += send.eq((tail != end) & ~self.o.valid & ~loaded & ~check)
                with m.If(tail == end):
                    m.d.comb += settled.eq(1)
                    m.next = "WAIT"
