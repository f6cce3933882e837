"""Brings each frame together with its verdict, and lets the verdict take effect."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .capture import FATE
from .config import CoreConfig
from .layouts import Reason
from .memories import NEVER_MEET, delivered
from .records import EVENT, HIT, LEARN, PASSED, POLICE, VERDICT, paired_layout
from .roundrobin import RoundRobin
from .stream import PacketSignature

__all__ = ["Pairing"]


class Pairing(wiring.Component):
    """Executes verdicts on frames that are whole.

    Verdicts come in the order of the headers. They wait in a store for each port, so a frame that is still coming in
    does not hold up those of other ports. A frame is served when its fate and its verdict are there, round robin among
    the ports that have one.

    In this order: a frame whose fate is bad has no effect at all. One that is shorter than ``least_length`` is
    ``DROP_MALFORMED``. Then the policers are asked, if there is a copy and they have to be: ``DROP_POLICER``. What the
    frame changes goes out by the streams ``hit``, ``learn`` and ``event``, all at once and before the frame's first
    beat; a frame of which no copy is left is then thrown away, while others are served.

    The first beat is offered 3 cycles after a verdict for which the fate was there, or 5 cycles after a fate for which
    the verdict was there, if nothing else is going on; with policers, one cycle and the time of their answer more.
    The next frame is prepared while one is sent, until it only waits for ``o``: frames follow each other without a gap
    if they have at least 3 beats or, with policers, as many as their answer takes cycles, and 4.

    Parameters
    ----------
    config : CoreConfig

    Attributes
    ----------
    i : stream of VERDICT
        In the order of the headers; at most ``config.headers`` of a port that were not ``released``.
    fate : array of streams of FATE
        For each port, the host port included, and each of its headers.
    body : array of PacketSignature
        The frames with a good fate, without gaps inside of a frame.
    released : Signal, out
        One bit a port, high for one cycle for each verdict that has left the store.
    police : stream of POLICE
    passed : stream of PASSED
        The answers, in order.
    hit : stream of HIT
    learn : stream of LEARN
    event : stream of EVENT
        Dropped frames.
    o : stream of paired_layout
        Frames to be sent, without gaps inside of a frame as long as ``ready`` stays.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(VERDICT)),
            "fate": In(stream.Signature(FATE)).array(config.all_ports),
            "body": In(PacketSignature(config)).array(config.all_ports),
            "released": Out(config.all_ports),
            "police": Out(stream.Signature(POLICE)),
            "passed": In(stream.Signature(PASSED)),
            "hit": Out(stream.Signature(HIT)),
            "learn": Out(stream.Signature(LEARN)),
            "event": Out(stream.Signature(EVENT)),
            "o": Out(stream.Signature(paired_layout(config.data_width))),
        })

    def elaborate(self, platform):
        m = Module()
        count = self.config.all_ports
        slot_bits = ceil_log2(self.config.headers)
        m.submodules.store = store = memory.Memory(
            shape=unsigned(VERDICT.size), depth=count << slot_bits, init=[], attrs=NEVER_MEET)
        w_port = store.write_port()
        r_port = store.read_port()
        m.submodules.turn = turn = RoundRobin(count)

        # The frame that is next: its verdict in registers.
        verdict = Signal(VERDICT)
        fate = Signal(FATE)
        loaded = Signal()
        leaves = Signal()

        # The store. Counts and not pointers tell whether there is a verdict.
        incoming = self.i.payload
        stored = Signal()           # the verdict at ``i`` goes into the store,
        passes = Signal()           # or straight into the registers
        fetch = Signal()            # the verdict of port ``chosen`` is read
        chosen = Signal(turn.grant.shape())
        chosen_valid = Signal()
        full = Signal(count)
        can = Signal(count)
        may_pass = Signal(count)
        tails = []
        heads = []
        for k in range(count):
            head = Signal(slot_bits, name=f"head_{k}")          # next slot to be written
            tail = Signal(slot_bits, name=f"tail_{k}")          # next slot to be read
            waiting = Signal(range(self.config.headers + 1), name=f"waiting_{k}")
            enters = Signal(name=f"enters_{k}")
            served = Signal(name=f"served_{k}")
            heads.append(head)
            tails.append(tail)
            m.d.comb += [
                full[k].eq(waiting == self.config.headers),
                can[k].eq((waiting != 0) & self.fate[k].valid),
                may_pass[k].eq((waiting == 0) & self.fate[k].valid),
                enters.eq(stored & (incoming.port == k)),
                served.eq(fetch & (chosen == k)),
                self.fate[k].ready.eq(served | (passes & (incoming.port == k))),
            ]
            m.d.sync += [
                head.eq(head + enters),
                tail.eq(tail + served),
                waiting.eq(waiting + enters - served),
                self.released[k].eq(self.fate[k].valid & self.fate[k].ready),
            ]
        m.d.comb += [
            self.i.ready.eq(~full.bit_select(incoming.port, 1)),
            stored.eq(self.i.valid & self.i.ready & ~passes),
            w_port.addr.eq(Cat(Array(heads)[incoming.port], incoming.port)),
            w_port.data.eq(incoming),
            w_port.en.eq(stored),
            r_port.addr.eq(Cat(Array(tails)[chosen], chosen)),
            r_port.en.eq(fetch),
        ]

        # First cycle: choose. Second: the store is read. Third: it delivers. A verdict that finds nothing going on
        # takes none of them. It may pass those of other ports that are just being chosen, but only once: they are next
        # then.
        fetched = Signal()
        fetched_fate = Signal(FATE)
        m.d.comb += [
            turn.requests.eq(can),
            turn.advance.eq(~chosen_valid),
            fetch.eq(chosen_valid & ~fetched),
            passes.eq(self.i.valid & ~chosen_valid & ~fetched & ~loaded & may_pass.bit_select(incoming.port, 1)),
        ]
        fates = Array(source.payload.as_value() for source in self.fate)
        with m.If(~chosen_valid):
            m.d.sync += [chosen_valid.eq(turn.valid), chosen.eq(turn.grant)]
        with m.If(fetch):
            m.d.sync += [chosen_valid.eq(0), fetched.eq(1), fetched_fate.eq(fates[chosen])]
        # Taken in every cycle as long as there is none: the many bits don't wait for the decision.
        with m.If(leaves):
            m.d.sync += loaded.eq(0)
        with m.If(~loaded):
            m.d.sync += [
                loaded.eq(fetched | passes),
                fetched.eq(fetch),
                verdict.eq(Mux(fetched, delivered(m, platform, r_port, w_port), incoming)),
                fate.eq(Mux(fetched, fetched_fate, fates[incoming.port])),
            ]

        # What becomes of it.
        malformed = Signal()
        wanted = Signal()
        policed = Signal()
        send = Signal()
        reason = Signal(5)
        port = verdict.port
        m.d.comb += [
            malformed.eq(fate.length < verdict.least_length),
            wanted.eq((verdict.copies != 0) | verdict.host | verdict.group),
            policed.eq(wanted & (verdict.police_router | verdict.police_rule)),
            self.police.payload.router_en.eq(verdict.police_router),
            self.police.payload.router_row.eq(verdict.router_policer),
            self.police.payload.rule_en.eq(verdict.police_rule),
            self.police.payload.rule_row.eq(verdict.rule_policer),
            self.police.payload.length.eq(fate.length),
        ]

        hit = Signal()
        learn = Signal()
        event = Signal()
        room = Signal()             # for all of its effects
        takes_effect = Signal()
        # Frames are further apart than an effect takes, so whether one is taken in this cycle need not be known in it.
        m.d.comb += room.eq((~self.hit.valid | ~hit) & (~self.learn.valid | ~learn) & (~self.event.valid | ~event))
        for target in (self.hit, self.learn, self.event):
            with m.If(target.ready):
                m.d.sync += target.valid.eq(0)
        # Payloads, too, are taken in without waiting for the decision.
        with m.If(~self.hit.valid):
            m.d.sync += [
                self.hit.valid.eq(takes_effect & hit),
                self.hit.payload.rule.eq(verdict.rule),
                self.hit.payload.length.eq(fate.length),
            ]
        with m.If(~self.learn.valid):
            m.d.sync += [
                self.learn.valid.eq(takes_effect & learn),
                self.learn.payload.mac.eq(verdict.smac),
                self.learn.payload.port.eq(verdict.port),
                self.learn.payload.vid.eq(self._circuit(verdict)),
                self.learn.payload.base.eq(verdict.mac_base),
                self.learn.payload.size.eq(verdict.mac_size),
            ]
        with m.If(~self.event.valid):
            m.d.sync += [
                self.event.valid.eq(takes_effect & event),
                self.event.payload.router.eq(verdict.router),
                self.event.payload.port.eq(verdict.port),
                self.event.payload.reason.eq(reason),
            ]

        # Bodies: one is sent, those of any other ports may be thrown away meanwhile.
        sending = Signal()          # in the middle of a frame
        sender = Signal(range(count))
        current = Signal(range(count))
        waste = Signal(count)       # a frame of this port is being thrown away
        begin = Signal()
        ready = Signal()
        take = Signal()
        beats = Array(source.payload.as_value() for source in self.body)
        beat = Signal.like(self.body[0].payload)
        valid = Signal()
        out = self.o.payload
        m.d.comb += [
            ready.eq(~self.o.valid | self.o.ready),
            current.eq(Mux(sending, sender, port)),
            beat.eq(beats[current]),
            valid.eq(Cat(source.valid & ~waste[k] for k, source in enumerate(self.body)).bit_select(current, 1)),
            take.eq((sending | begin) & ready & valid),
        ]
        for k, source in enumerate(self.body):
            m.d.comb += source.ready.eq(waste[k] | (take & (current == k)))
            with m.If(source.valid & source.payload.last):
                m.d.sync += waste[k].eq(0)
        with m.If(ready):
            m.d.sync += [
                self.o.valid.eq(take),
                out.data.eq(beat.data),
                out.last.eq(beat.last),
            ]
            with m.If(~sending):
                m.d.sync += [out.length.eq(fate.length), out.verdict.eq(verdict)]
        with m.If(take):
            m.d.sync += [sending.eq(~beat.last), sender.eq(current)]

        with m.FSM():
            with m.State("JUDGE"):
                m.d.sync += [
                    hit.eq(verdict.rule_hit),
                    learn.eq(verdict.learn & ~malformed),
                    send.eq(wanted & ~malformed),
                    event.eq(~wanted | malformed | verdict.count_drop),
                    reason.eq(Mux(malformed, Reason.DROP_MALFORMED, verdict.reason)),
                ]
                with m.If(loaded):
                    with m.If(~fate.good):
                        m.d.comb += leaves.eq(1)
                    with m.Elif(policed & ~malformed):
                        m.next = "ASK"
                    with m.Else():
                        m.next = "EFFECT"
            with m.State("ASK"):
                m.d.comb += self.police.valid.eq(1)
                with m.If(self.police.ready):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += self.passed.ready.eq(1)
                with m.If(self.passed.valid):
                    with m.If(~self.passed.payload.passed):
                        m.d.sync += [learn.eq(0), send.eq(0), event.eq(1), reason.eq(Reason.DROP_POLICER)]
                    m.next = "EFFECT"
            with m.State("EFFECT"):
                m.d.comb += [
                    begin.eq(send & ~sending & room),
                    takes_effect.eq(leaves),
                ]
                with m.If(send):
                    m.d.comb += leaves.eq(~sending & room & ready & valid)
                with m.Else():
                    # Not while an earlier frame of this port is on its way, or is being thrown away.
                    m.d.comb += leaves.eq(room & ~waste.bit_select(port, 1) & ~(sending & (sender == port)))
                with m.If(leaves):
                    m.next = "JUDGE"
                    with m.If(~send):
                        m.d.sync += waste.bit_select(port, 1).eq(1)
        return m

    def _circuit(self, verdict):
        """The circuit by which the frame came in; zero at other ports than the link port."""
        if not self.config.circuits:
            return 0
        return Mux(verdict.port == self.config.link_port, verdict.tci[:LEARN["vid"].width], 0)
