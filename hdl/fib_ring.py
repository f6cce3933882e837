"""Walks of the FIB's tree bitmap, interleaved on one port of the node pool.

W. Eatherton, G. Varghese, Z. Dittia: Tree bitmap: hardware/software IP lookups with incremental updates, 2004; with
the root of stride 1 and the leaf words that ``docs/dataplane.md``, "FIB walk", describes.
"""

from enum import IntEnum

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .fib_pool import PoolReadSignature
from .layouts import (
    ADDRESS_BITS,
    FIB_BRANCH,
    FIB_LEAF,
    FIB_LEVELS,
    FIB_LEVELS_IPV6,
    FIB_RESULTS,
    FIB_WORD_BITS,
    RESULTS_PER_WORD,
)
from .records import META, FibOutcome
from .slice import RegisterSlice
from .table import table_addr_bits

__all__ = ["OUTCOME", "REQUEST", "RING", "SETTLED_TURNS", "FibRing"]

#: Walks that circulate, and stages that each passes through from one of its reads to the next.
RING = 6
#: Turns after which an IPv4 walk is given out, whether it took all of them or not: the longest takes as many.
SETTLED_TURNS = FIB_LEVELS + 1

_LEAF_BITS = FIB_LEAF["bits"].width
#: Bits of the address that a node consumes, other than the root, which consumes one.
_STRIDE = 4
#: A pointer plus the most that can be counted in a bitmap, without wrapping.
_ROW_BITS = FIB_BRANCH["child"].width + 1
_POSITION_BITS = (RESULTS_PER_WORD - 1).bit_length()


class _Best(IntEnum):
    NONE = 0
    DIRECT = 1              # ``value`` is the result
    INDIRECT = 2            # ``value`` is where the result is


#: What a walk needs to know.
REQUEST = data.StructLayout({
    "walk": 1,              # if not set, the outcome is MISS and nothing is read
    "ipv6": 1,              # up to 33 levels, else 9
    "address": ADDRESS_BITS,    # left-aligned
    "base": META["fib_base"].width,
    "size": META["fib_size"].width,
    "root": META["ipv4_root"].width,
})

#: What a walk found out; ``result`` is zero unless ``fib`` is HIT.
OUTCOME = data.StructLayout({"fib": META["fib"].width, "result": META["result"].width})

_WALK = data.StructLayout({
    "busy": 1,              # the slot is taken
    "active": 1,            # there is something to read
    "fetch": 1,             # it is the result
    "first": 1,             # it is the root
    "missed": 1,            # the pool was not to be had in this turn: the same again in the next
    "ipv6": 1,
    "settled": 1,           # the outcome may be given out
    "level": range(FIB_LEVELS_IPV6),
    "turns": range(SETTLED_TURNS + 1),
    "base": REQUEST["base"].width,
    "size": REQUEST["size"].width,
    "address": ADDRESS_BITS,    # bits not yet consumed, left-aligned
    "row": _ROW_BITS,
    "best": 2,              # _Best
    "value": _ROW_BITS,
    "fault": 1,
})

#: A request with what the first stage makes of it.
_WAITING = data.StructLayout({"request": REQUEST, "pool_row": _ROW_BITS + 1, "inside": 1})


def _partial_ones(bits):
    """Counts of ones in groups of four bits, to be added up in the next stage."""
    return [sum(group, start=Const(0, 1)) for group in ([*bits][k:k + 4] for k in range(0, len(bits), 4))]


def _behind(slot):
    """The slot after this one."""
    return Mux(slot == RING - 1, 0, slot + 1)


class FibRing(wiring.Component):
    """Walks the FIB for a stream of requests; outcomes come in the order of the requests.

    Six walks take turns: each is a slot that moves one stage a cycle and passes every stage once in six cycles, so
    that the memory can be read in every cycle although a read's consequences take six to be known. Requests are
    dealt to the slots in turn and outcomes collected in turn.

    Latency: an IPv4 walk is given out 63 cycles after its request was accepted by an idle ring, however long it took
    (nine nodes and a result are 10 turns), so that a frame's way does not depend on its route; an IPv6 walk takes
    6 cycles for each word that is read (34 at most) and 3 more; a request that is not to be walked 9. In a busy ring a
    request waits for its slot. Sustained, one walk ends every 10 cycles (IPv4), or for each word read one cycle (IPv6).

    The window is checked ahead of every read, and ``read.en`` is low unless the row is in it. A walk whose read misses
    tries again, a turn later.

    Parameters
    ----------
    config : CoreConfig
        ``fib_words`` is used.

    Attributes
    ----------
    i : stream of REQUEST
    o : stream of OUTCOME
    read : PoolReadSignature
        Port of the pool.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._words = config.fib_words
        super().__init__({
            "i": In(stream.Signature(REQUEST)),
            "o": Out(stream.Signature(OUTCOME)),
            "read": Out(PoolReadSignature(config)),
        })
        #: The slots, by stage; slot ``turn`` is in stage 0, where it is collected or dealt out anew.
        self.stages = [Signal(_WALK, name=f"stage{k}") for k in range(RING)]
        self.turn = Signal(range(RING))
        #: A request is dealt out in this cycle, a walk's outcome is collected.
        self.deal = Signal()
        self.collect = Signal()
        #: The request that is dealt out next, as it waits.
        self.waiting = Signal(_WAITING)
        self.entrance = RegisterSlice(_WAITING)
        #: What stage 1 reads.
        self.pool_addr = Signal(table_addr_bits(config.fib_words))

    def elaborate(self, platform):
        m = Module()
        stages = self.stages
        for k in range(RING):
            m.d.sync += stages[(k + 1) % RING].eq(stages[k])
        m.d.sync += self.turn.eq(_behind(self.turn))

        # Ahead of the ring: the window of a request's first row.
        m.submodules.entrance = entrance = self.entrance
        request, root_row = self.i.payload, Signal(_ROW_BITS + 1)
        m.d.comb += [
            root_row.eq(request.base + request.root),
            entrance.i.valid.eq(self.i.valid),
            entrance.i.payload.request.eq(request),
            entrance.i.payload.pool_row.eq(root_row),
            entrance.i.payload.inside.eq((request.root < request.size) & (root_row < self._words)),
            self.i.ready.eq(entrance.i.ready),
            self.waiting.eq(entrance.o.payload),
            entrance.o.ready.eq(self.deal),
        ]

        # Stage 0: slots are collected and dealt out, both in turn; the window of those that go on.
        walk, after = stages[0], stages[1]
        m.submodules.outcomes = outcomes = fifo.SyncFIFOBuffered(width=OUTCOME.size, depth=RING)
        m.d.comb += [
            self.o.payload.eq(outcomes.r_data), self.o.valid.eq(outcomes.r_rdy), outcomes.r_en.eq(self.o.ready),
        ]
        collected, dealt = Signal(range(RING)), Signal(range(RING))
        held = Signal(range(RING + 1))          # slots taken
        collect, vacant = self.collect, Signal()
        outcome = data.View(OUTCOME, outcomes.w_data)
        m.d.comb += [
            collect.eq(walk.busy & ~walk.active & walk.settled & (self.turn == collected) & outcomes.w_rdy),
            outcomes.w_en.eq(collect),
            # An empty ring need not wait until the next slot comes by.
            vacant.eq((~walk.busy | collect) & ((self.turn == dealt) | (held == 0))),
            self.deal.eq(vacant & entrance.o.valid),
        ]
        with m.If(walk.fault):
            m.d.comb += outcome.fib.eq(FibOutcome.FAULT)
        with m.Elif(walk.best == _Best.DIRECT):
            m.d.comb += [outcome.fib.eq(FibOutcome.HIT), outcome.result.eq(walk.value)]
        m.d.sync += held.eq(held + self.deal - collect)
        with m.If(collect):
            m.d.sync += [collected.eq(_behind(collected)), after.busy.eq(0)]

        pool_row = Signal(_ROW_BITS + 1)
        pool_addr = self.pool_addr
        m.d.comb += pool_row.eq(walk.base + walk.row)
        m.d.sync += pool_addr.eq(pool_row)
        with m.If(walk.active & ((walk.row >= walk.size) | (pool_row >= self._words))):
            m.d.sync += [after.active.eq(0), after.fault.eq(1)]
        with m.If(self.deal):
            request = self.waiting.request
            m.d.sync += [
                dealt.eq(_behind(self.turn)),
                pool_addr.eq(self.waiting.pool_row),
                after.eq(0),
                after.busy.eq(1),
                after.active.eq(request.walk & self.waiting.inside),
                after.fault.eq(request.walk & ~self.waiting.inside),
                after.ipv6.eq(request.ipv6),
                after.settled.eq(~request.walk | request.ipv6),
                after.first.eq(1),
                after.base.eq(request.base),
                after.size.eq(request.size),
                after.address.eq(request.address),
                after.row.eq(request.root),
            ]
            with m.If(held == 0):
                m.d.sync += collected.eq(self.turn)

        # Stages 1 and 2: the read. Block RAM is slow to deliver, so its output goes straight to a register.
        m.d.comb += [self.read.addr.eq(pool_addr), self.read.en.eq(stages[1].active)]
        m.d.sync += stages[2].missed.eq(self.read.miss)
        word = Signal(FIB_WORD_BITS)
        m.d.sync += word.eq(self.read.data)

        # Stage 3: which bits are set.
        walk = stages[3]
        branch, leaf, results = (data.View(layout, word) for layout in (FIB_BRANCH, FIB_LEAF, FIB_RESULTS))
        head = Signal(_STRIDE)
        m.d.comb += head.eq(Mux(walk.first, walk.address[-1], walk.address[-_STRIDE:]))
        match = Signal()
        position = Signal(range(len(branch.internal)))
        for length in range(_STRIDE):           # the longest comes last, so it prevails
            with m.If(~walk.first if length else Const(1)):
                candidate = Signal.like(position, name=f"position{length}")
                m.d.comb += candidate.eq((1 << length) - 1 + (walk.address[-length:] if length else 0))
                with m.If(branch.internal.bit_select(candidate, 1)):
                    m.d.comb += [match.eq(1), position.eq(candidate)]
        external_below = [bit & (k < head) for k, bit in enumerate(branch.external)]
        covered = [bit & (k >= _LEAF_BITS - leaf.length)
                   for k, bit in enumerate(walk.address[-_LEAF_BITS:] ^ leaf.bits)]

        leaf4, match4, has_child4 = Signal(), Signal(), Signal()
        internal4, position4 = Signal.like(branch.internal), Signal.like(position)
        child4, result4 = Signal.like(branch.child), Signal.like(branch.result)
        difference = Signal(_LEAF_BITS)
        direct4 = Signal(FIB_LEAF["result"].width)
        children4 = [Signal(range(5), name=f"children4_{k}") for k in range(4)]
        m.d.sync += [
            leaf4.eq(branch.leaf), match4.eq(match), has_child4.eq(branch.external.bit_select(head, 1)),
            internal4.eq(branch.internal), position4.eq(position), child4.eq(branch.child), result4.eq(branch.result),
            difference.eq(Cat(covered)),
            direct4.eq(Mux(walk.fetch, results[walk.value[:_POSITION_BITS]], leaf.result)),
            *(total.eq(ones) for total, ones in zip(children4, _partial_ones(external_below), strict=True)),
        ]

        # Stage 4: the counts, and the next node's row.
        internal_below = [bit & (k < position4) for k, bit in enumerate(internal4)]
        leaf5, leaf_match5, match5, has_child5 = Signal(), Signal(), Signal(), Signal()
        row5, result5, direct5 = Signal(_ROW_BITS), Signal.like(result4), Signal.like(direct4)
        matches5 = Signal(range(len(internal_below)))
        m.d.sync += [
            leaf5.eq(leaf4), leaf_match5.eq(difference == 0), match5.eq(match4), has_child5.eq(has_child4),
            row5.eq(child4 + sum(children4)), result5.eq(result4), direct5.eq(direct4),
            matches5.eq(sum(_partial_ones(internal_below))),
        ]

        # Stage 5: what the word means for the walk.
        walk, after = stages[5], stages[0]
        value = Signal(_ROW_BITS)
        best = Signal(2)
        stop = Signal()
        final_level = Signal()
        m.d.comb += [
            value.eq(walk.value),
            best.eq(walk.best),
            final_level.eq(walk.level == Mux(walk.ipv6, FIB_LEVELS_IPV6 - 1, FIB_LEVELS - 1)),
        ]
        with m.If(walk.fetch | leaf5):
            m.d.comb += stop.eq(1)
            with m.If(walk.fetch | leaf_match5):
                m.d.comb += [value.eq(direct5), best.eq(_Best.DIRECT)]
        with m.Else():
            m.d.comb += stop.eq(~has_child5)
            with m.If(match5):
                m.d.comb += [value.eq(result5 + matches5), best.eq(_Best.INDIRECT)]
        with m.If(walk.busy & ~walk.settled):
            m.d.sync += [after.turns.eq(walk.turns + 1), after.settled.eq(walk.turns == SETTLED_TURNS - 1)]
        with m.If(walk.active & ~walk.missed):
            m.d.sync += [after.value.eq(value), after.best.eq(best), after.first.eq(0)]
            with m.If(stop):
                m.d.sync += [
                    after.active.eq(best == _Best.INDIRECT),
                    after.fetch.eq(1),
                    after.row.eq(value >> _POSITION_BITS),
                ]
            with m.Elif(final_level):
                m.d.sync += [after.active.eq(0), after.fault.eq(1)]
            with m.Else():
                m.d.sync += [
                    after.row.eq(row5),
                    after.level.eq(walk.level + 1),
                    after.address.eq(Mux(walk.first, walk.address << 1, walk.address << _STRIDE)),
                ]
        return m
