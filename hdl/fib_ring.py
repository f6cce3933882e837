"""Walks of the FIB's tree bitmap, interleaved on one port of the node pool.

W. Eatherton, G. Varghese, Z. Dittia: Tree bitmap: hardware/software IP lookups with incremental updates, 2004; with
the root of stride 1 and the leaf words that ``docs/dataplane.md``, "FIB walk", describes.
"""

from enum import IntEnum

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import FIB_BRANCH, FIB_LEAF, FIB_LEVELS, FIB_RESULTS, FIB_WORD_BITS, RESULTS_PER_WORD
from .records import META, FibOutcome
from .table import table_addr_bits

__all__ = ["OUTCOME", "REQUEST", "RING", "FibRing"]

#: Walks that circulate, and stages that each passes through from one of its reads to the next.
RING = 8

_ADDRESS_BITS = FIB_LEAF["bits"].width
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
    "address": _ADDRESS_BITS,
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
    "level": range(FIB_LEVELS),
    "base": REQUEST["base"].width,
    "size": REQUEST["size"].width,
    "address": _ADDRESS_BITS,   # bits not yet consumed, left-aligned
    "row": _ROW_BITS,
    "best": 2,              # _Best
    "value": _ROW_BITS,
    "fault": 1,
})


def _partial_ones(bits):
    """Counts of ones in groups of four bits, to be added up in the next stage."""
    return [sum(group, start=Const(0, 1)) for group in ([*bits][k:k + 4] for k in range(0, len(bits), 4))]


class FibRing(wiring.Component):
    """Walks the FIB for a stream of requests; outcomes come in the order of the requests.

    Eight walks take turns: each is a slot that moves one stage a cycle and passes every stage once in eight cycles, so
    that the memory can be read in every cycle although a read's consequences take eight to be known. Requests are
    dealt to the slots in turn and outcomes collected in turn. Nine nodes and a result take 80 cycles, and one such
    walk ends every 10 cycles; a request waits up to seven more for its slot, and a fault is seen eight cycles late.

    The window is checked ahead of every read, and ``read_en`` is low unless the row is in it.

    Parameters
    ----------
    config : CoreConfig
        ``fib_words`` is used.

    Attributes
    ----------
    i : stream of REQUEST
    o : stream of OUTCOME
    read_en, read_addr, read_data
        Port of the pool, with a latency of one cycle.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._words = config.fib_words
        super().__init__({
            "i": In(stream.Signature(REQUEST)),
            "o": Out(stream.Signature(OUTCOME)),
            "read_en": Out(1),
            "read_addr": Out(unsigned(table_addr_bits(config.fib_words))),
            "read_data": In(unsigned(FIB_WORD_BITS)),
        })
        #: The slots, by stage. Slot ``turn`` is in the last one, from which it enters stage 0 or is collected.
        self.stages = [Signal(_WALK, name=f"stage{k}") for k in range(RING)]
        self.turn = Signal(range(RING))

    def elaborate(self, platform):
        m = Module()
        stages = self.stages
        for k in range(RING - 1):
            m.d.sync += stages[k + 1].eq(stages[k])
        m.d.sync += self.turn.eq(self.turn + 1)

        # Stage 0: the window.
        walk = stages[0]
        pool_row = Signal(_ROW_BITS + 1)
        m.d.comb += pool_row.eq(walk.base + walk.row)
        with m.If(walk.active & ((walk.row >= walk.size) | (pool_row >= self._words))):
            m.d.sync += [stages[1].active.eq(0), stages[1].fault.eq(1)]
        pool_addr = Signal.like(self.read_addr)
        m.d.sync += pool_addr.eq(pool_row)

        # Stages 1 and 2: the read. Block RAM is slow to deliver, so its output goes straight to a register.
        m.d.comb += [self.read_addr.eq(pool_addr), self.read_en.eq(stages[1].active)]
        word = Signal(FIB_WORD_BITS)
        m.d.sync += word.eq(self.read_data)

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
        covered = [bit & (k >= _ADDRESS_BITS - leaf.length) for k, bit in enumerate(walk.address ^ leaf.bits)]

        is_leaf, match4, has_child = Signal(), Signal(), Signal()
        internal4, position4 = Signal.like(branch.internal), Signal.like(position)
        child4, result4 = Signal.like(branch.child), Signal.like(branch.result)
        difference = Signal(_ADDRESS_BITS)
        direct4 = Signal(FIB_LEAF["result"].width)
        children4 = [Signal(range(5), name=f"children4_{k}") for k in range(4)]
        m.d.sync += [
            is_leaf.eq(branch.leaf), match4.eq(match), has_child.eq(branch.external.bit_select(head, 1)),
            internal4.eq(branch.internal), position4.eq(position), child4.eq(branch.child), result4.eq(branch.result),
            difference.eq(Cat(covered)),
            direct4.eq(Mux(walk.fetch, results[walk.value[:_POSITION_BITS]], leaf.result)),
            *(total.eq(ones) for total, ones in zip(children4, _partial_ones(external_below), strict=True)),
        ]

        # Stage 4: half of each count.
        internal_below = [bit & (k < position4) for k, bit in enumerate(internal4)]
        leaf5, leaf_match, match5, has_child5 = Signal(), Signal(), Signal(), Signal()
        children5 = Signal(range(len(external_below)))
        child5, result5, direct5 = Signal.like(child4), Signal.like(result4), Signal.like(direct4)
        matches5 = [Signal(range(5), name=f"matches5_{k}") for k in range(4)]
        m.d.sync += [
            leaf5.eq(is_leaf), leaf_match.eq(difference == 0), match5.eq(match4), has_child5.eq(has_child),
            children5.eq(sum(children4)), child5.eq(child4), result5.eq(result4), direct5.eq(direct4),
            *(total.eq(ones) for total, ones in zip(matches5, _partial_ones(internal_below), strict=True)),
        ]

        # Stage 5: the next node; the address moves on.
        leaf6, leaf_match6, match6, has_child6 = Signal(), Signal(), Signal(), Signal()
        matches6 = Signal(range(len(internal_below)))
        row6, result6, direct6 = Signal(_ROW_BITS), Signal.like(result4), Signal.like(direct4)
        m.d.sync += [
            leaf6.eq(leaf5), leaf_match6.eq(leaf_match), match6.eq(match5), has_child6.eq(has_child5),
            matches6.eq(sum(matches5)), row6.eq(child5 + children5), result6.eq(result5), direct6.eq(direct5),
            stages[6].address.eq(Mux(stages[5].first, stages[5].address << 1, stages[5].address << _STRIDE)),
        ]

        # Stage 6: what the word means for the walk.
        walk, after = stages[6], stages[7]
        value = Signal(_ROW_BITS)
        best = Signal(2)
        stop = Signal()
        m.d.comb += [value.eq(walk.value), best.eq(walk.best)]
        with m.If(walk.fetch | leaf6):
            m.d.comb += stop.eq(1)
            with m.If(walk.fetch | leaf_match6):
                m.d.comb += [value.eq(direct6), best.eq(_Best.DIRECT)]
        with m.Else():
            m.d.comb += stop.eq(~has_child6)
            with m.If(match6):
                m.d.comb += [value.eq(result6 + matches6), best.eq(_Best.INDIRECT)]
        with m.If(walk.active):
            m.d.sync += [after.value.eq(value), after.best.eq(best), after.first.eq(0)]
            with m.If(stop):
                m.d.sync += [
                    after.active.eq(best == _Best.INDIRECT),
                    after.fetch.eq(1),
                    after.row.eq(value >> _POSITION_BITS),
                ]
            with m.Elif(walk.level == FIB_LEVELS - 1):
                m.d.sync += [after.active.eq(0), after.fault.eq(1)]
            with m.Else():
                m.d.sync += [after.row.eq(row6), after.level.eq(walk.level + 1)]

        # Stage 7: slots are collected and dealt out, both in turn.
        walk = stages[7]
        m.submodules.outcomes = outcomes = fifo.SyncFIFOBuffered(width=OUTCOME.size, depth=RING)
        m.d.comb += [
            self.o.payload.eq(outcomes.r_data), self.o.valid.eq(outcomes.r_rdy), outcomes.r_en.eq(self.o.ready),
        ]
        collected, dealt = Signal(range(RING)), Signal(range(RING))
        collect, vacant = Signal(), Signal()
        outcome = data.View(OUTCOME, outcomes.w_data)
        m.d.comb += [
            collect.eq(walk.busy & ~walk.active & (self.turn == collected) & outcomes.w_rdy),
            outcomes.w_en.eq(collect),
            vacant.eq((~walk.busy | collect) & (self.turn == dealt)),
            self.i.ready.eq(vacant),
        ]
        with m.If(walk.fault):
            m.d.comb += outcome.fib.eq(FibOutcome.FAULT)
        with m.Elif(walk.best == _Best.DIRECT):
            m.d.comb += [outcome.fib.eq(FibOutcome.HIT), outcome.result.eq(walk.value)]
        m.d.sync += [collected.eq(collected + collect), stages[0].eq(walk)]
        with m.If(collect):
            m.d.sync += stages[0].busy.eq(0)
        with m.If(vacant & self.i.valid):
            request = self.i.payload
            m.d.sync += [
                dealt.eq(dealt + 1),
                stages[0].eq(0),
                stages[0].busy.eq(1),
                stages[0].active.eq(request.walk),
                stages[0].first.eq(1),
                stages[0].base.eq(request.base),
                stages[0].size.eq(request.size),
                stages[0].address.eq(request.address),
                stages[0].row.eq(request.root),
            ]
        return m
