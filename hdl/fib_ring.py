"""Walks of the FIB's tree bitmap, interleaved on one port of the node pool.

W. Eatherton, G. Varghese, Z. Dittia: Tree bitmap: hardware/software IP lookups with incremental updates, 2004; with
the two root words and the leaf words that ``docs/dataplane.md``, "FIB walk", describes.
"""

from enum import IntEnum

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .fib_pool import PoolReadSignature
from .layouts import (
    ADDRESS_BITS,
    CONTEXT_ROW,
    FIB_BRANCH,
    FIB_LEAF,
    FIB_LEVELS,
    FIB_LEVELS_IPV6,
    FIB_RESULTS,
    FIB_WORD_BITS,
    RESULTS_PER_WORD,
)
from .records import FibOutcome
from .slice import RegisterSlice
from .table import table_addr_bits

__all__ = ["OUTCOME", "REQUEST", "RING", "SETTLED_TURNS", "FibRing"]

#: Walks that circulate, and stages that each passes through from one of its reads to the next.
RING = 4
#: Turns after which an IPv4 unicast walk is given out, whether it took all of them or not: the longest takes as many.
SETTLED_TURNS = FIB_LEVELS + 1

_LEAF_BITS = FIB_LEAF["bits"].width
#: Bits of the address that a node consumes.
_STRIDE = 4
#: Prefixes of a node that are shorter than its longest ones.
_SHORTER = (1 << _STRIDE - 1) - 1
_POSITION_BITS = (RESULTS_PER_WORD - 1).bit_length()
#: Low bits of a row that a count of a node's children, or of words with a node's results, reaches.
_CHILD_BITS = 4
_RESULT_BITS = 3
#: Bits of a leaf that are compared in the first step, each group for one bit of the second.
_GROUP = 4


class _Best(IntEnum):
    NONE = 0
    DIRECT = 1              # ``value`` is the result
    INDIRECT = 2            # ``best_*`` tell where the result is


#: What a walk needs to know.
REQUEST = data.StructLayout({
    "walk": 1,              # if not set, the outcome is MISS and nothing is read
    "ipv6": 1,              # up to FIB_LEVELS_IPV6 nodes, else FIB_LEVELS
    "multicast": 1,         # the result is the root of a second trie, for ``source``
    "address": ADDRESS_BITS,    # left-aligned
    "source": ADDRESS_BITS,
    "base": CONTEXT_ROW["fib_base"].width,
    "size": CONTEXT_ROW["fib_size"].width,
    "root": CONTEXT_ROW["ipv4_root"].width,
})

#: What a walk found out; ``result`` is zero unless ``fib`` is HIT.
OUTCOME = data.StructLayout({
    "fib": range(max(FibOutcome) + 1), "result": FIB_LEAF["result"].width,
})

_BASE_BITS, _SIZE_BITS = REQUEST["base"].width, REQUEST["size"].width

#: A request with what is made of it on its way in.
_WAITING = data.StructLayout({
    "request": REQUEST,
    "row": REQUEST["root"].width + 1,   # root + first bit
    "pool_row": _BASE_BITS + 1,         # the same in the pool
    "reach": _BASE_BITS + 1,            # words of the pool from the window's first one on
})


def _walk_layout(config: CoreConfig) -> data.StructLayout:
    """A slot."""
    row_bits = table_addr_bits(config.fib_words)
    return data.StructLayout({
        "busy": 1,              # the slot is taken
        "active": 1,            # there is something to read: ``row``, which is inside the window
        "fetch": 1,             # it is the result
        "restart": 1,           # nothing to read, but the second trie begins in this turn, at ``value``
        "missed": 1,            # the pool was not to be had in this turn: the same again in the next
        "ipv6": 1,
        "again": 1,             # what is found is the root of a second trie
        "settled": 1,           # the outcome may be given out
        "fault": 1,
        "level": range(FIB_LEVELS_IPV6),
        "turns": range(SETTLED_TURNS),
        "base": _BASE_BITS,
        "limit": _SIZE_BITS,    # rows of the window that the pool has
        "address": ADDRESS_BITS,    # bits not yet consumed, left-aligned
        "source": ADDRESS_BITS,     # for the second trie
        "row": row_bits,        # in the pool
        "best": 2,              # _Best
        "value": FIB_LEAF["result"].width,
        "best_row": row_bits,   # in the pool
        "best_position": _POSITION_BITS,
        "best_inside": 1,       # ``best_row`` is inside the window
    })


def _sum(m: Module, name: str, *numbers: Value) -> Value:
    """Sum of small numbers by full adders in plain logic, which is faster than carry chains that start and end."""
    columns: list[list[Value]] = [[]]
    for number in numbers:
        for weight, bit in enumerate(number):
            columns += [[] for _ in range(weight + 1 - len(columns))]
            columns[weight].append(bit)
    total: list[Value] = []
    for weight, column in enumerate(columns):
        while len(column) > 1:
            a, b, c = (*column[:3], Const(0, 1))[:3]
            del column[:3]
            tag = f"{name}_{weight}_{len(total)}_{len(column)}"
            bit, carry = Signal(name=tag + "_sum"), Signal(name=tag + "_carry")
            m.d.comb += [bit.eq(a ^ b ^ c), carry.eq(a & b | a & c | b & c)]
            column.append(bit)
            if weight + 1 == len(columns):
                columns.append([])      # the loop goes on with it
            columns[weight + 1].append(carry)
        total += column or [Const(0, 1)]
    return Cat(*total)


def _ones(m: Module, name: str, bits) -> Value:
    return _sum(m, name, *(Cat(bit) for bit in bits))


def _less(a: Value, b: Value) -> Value:
    """``a < b`` for small numbers of equal length, in plain logic."""
    less: Value = Const(0, 1)
    for x, y in zip(a, b, strict=True):
        less = (~x & y) | (~(x ^ y) & less)
    return less


def _queue(m: Module, name: str, shape, put: Value, value, take: Value) -> tuple[Signal, Signal]:
    """A queue of RING places in registers, and how many are taken; what is next is always in the same place."""
    places = [Signal(shape, name=f"{name}{k}") for k in range(RING)]
    count = Signal(range(RING + 1), name=f"{name}_count")
    m.d.sync += count.eq(count + put - take)
    for k in range(RING):
        if k + 1 < RING:
            with m.If(take):
                m.d.sync += places[k].eq(places[k + 1])
        with m.If(put & (count - take == k)):
            m.d.sync += places[k].eq(value)
    return places[0], count


def _at_least(number: Value, least: int) -> Value:
    """``number >= least`` for a small number, in plain logic."""
    enough: Value = Const(1, 1)
    for k, bit in enumerate(number):
        enough = bit & enough if least >> k & 1 else bit | enough
    return enough


class FibRing(wiring.Component):
    """Walks the FIB for a stream of requests; outcomes come in the order of the requests.

    Four walks take turns: each is a slot that moves one stage a cycle and passes every stage once in four cycles, so
    that the memory can be read in every cycle although a read's consequences take four to be known. A request gets the
    first slot that comes by free; in which order to collect, a list tells.

    Latency: an IPv4 unicast walk is given out 39 cycles after its request was accepted by an idle ring, however long
    it took (eight nodes and a result are 9 turns), so that a frame's way does not depend on its route; an IPv6 walk
    takes 4 cycles for each word that is read (33 at most) and 3 more, a multicast walk of either family 4 more than
    that for the second trie; a request that is not to be walked 3. Sustained, one IPv4 unicast walk ends every
    10 cycles, others every (words read + 1) cycles, and one more for a second trie.

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
        #: The slots, by stage. A slot's read is in stage 0, where its outcome is collected too; new walks come into
        #: stage 0 out of stage 3.
        self.stages = [Signal(_walk_layout(config), name=f"stage{k}") for k in range(RING)]
        #: What stage 2 makes of the word, for stage 3: the first child's row in the pool, the rows that the window has
        #: from there on (two's complement), and the children with a lower number, in two parts ...
        row_bits = len(self.stages[0].row)
        self.child = Signal(row_bits)
        self.child_room = Signal(FIB_BRANCH["child"].width + 1)
        self.children = Signal(range(9)), Signal(range(8))
        #: ... and the same of the word with the first result, of which ``position`` is the first one's place in it.
        self.result = Signal(row_bits)
        self.result_room = Signal(_SIZE_BITS + 1)
        self.position = Signal(_POSITION_BITS)
        self.in_front = Signal(range(8)), Signal(range(8))
        #: What stage 3 makes of that: where the walk goes on, or its result is, and whether the window has that row.
        self.child_row, self.child_inside = Signal(row_bits), Signal()
        self.result_row, self.result_inside = Signal(row_bits), Signal()
        #: Slot ``turn`` is in stage 0.
        self.turn = Signal(range(RING))
        #: The slot in stage 3 is given to the request that waits; the outcome of the one in stage 0 is collected.
        self.deal = Signal()
        self.collect = Signal()
        #: The request that is dealt out next, as it waits.
        self.waiting = Signal(_WAITING)
        self.entrance = RegisterSlice(_WAITING, config.slices)

    def slot(self, stage: int) -> Value:
        """Number of the slot that is in a stage."""
        turn = self.turn
        return turn if stage == 0 else Mux(turn >= stage, turn - stage, turn + RING - stage)[:len(turn)]

    def elaborate(self, platform):
        m = Module()
        stages = self.stages
        for k in range(RING):
            m.d.sync += stages[(k + 1) % RING].eq(stages[k])
        m.d.sync += self.turn.eq(Mux(self.turn == RING - 1, 0, self.turn + 1))

        # Ahead of the ring: the first row and the window.
        m.submodules.entrance = entrance = self.entrance
        request, arriving = self.i.payload, entrance.i.payload
        half = request.address[-1]
        m.d.comb += [
            arriving.request.eq(request),
            arriving.row.eq((Cat(half, request.root) + Cat(half, Const(0, len(request.root))))[1:]),
            arriving.pool_row.eq((Cat(half, request.base) + Cat(half, request.root))[1:]),
            arriving.reach.eq(Mux(request.base < self._words, self._words - request.base, 0)),
            entrance.i.valid.eq(self.i.valid),
            self.i.ready.eq(entrance.i.ready),
            self.waiting.eq(entrance.o.payload),
            entrance.o.ready.eq(self.deal),
        ]

        # Stage 0: the read begins; walks that have ended are collected, in the order in which they were dealt out.
        walk, after = stages[0], stages[1]
        outcome = Signal(OUTCOME)
        eldest, _ = _queue(m, "order", range(RING), self.deal, self.slot(3), self.collect)
        first, outcomes = _queue(m, "outcome", OUTCOME, self.collect, outcome, self.o.valid & self.o.ready)
        m.d.comb += [
            self.read.addr.eq(walk.row), self.read.en.eq(walk.active),
            self.o.payload.eq(first), self.o.valid.eq(outcomes != 0),
            self.collect.eq(walk.busy & ~walk.active & ~walk.restart & walk.settled & (self.turn == eldest)
                            & (outcomes < RING)),
            self.deal.eq(~stages[3].busy & entrance.o.valid),
        ]
        with m.If(walk.fault):
            m.d.comb += outcome.fib.eq(FibOutcome.FAULT)
        with m.Elif(walk.best == _Best.DIRECT):
            m.d.comb += [outcome.fib.eq(FibOutcome.HIT), outcome.result.eq(walk.value)]
        with m.If(self.collect):
            m.d.sync += after.busy.eq(0)
        m.d.sync += after.missed.eq(self.read.miss)

        # Stage 1: block RAM is slow to deliver, so its output goes straight to a register. Meanwhile: which bits of the
        # next word will have to be counted.
        walk = stages[1]
        word = Signal(FIB_WORD_BITS)
        below = Signal((1 << _STRIDE) - 1)      # bit k: k is less than the next bits of the address
        head = walk.address[-_STRIDE:]
        m.d.sync += [
            word.eq(self.read.data),
            below.eq(Mux(walk.restart, 0, Cat(_at_least(head, k + 1) for k in range(len(below))))),
        ]

        # Stage 2: which bits are set, and where the block of children and the results begin.
        walk = stages[2]
        head = walk.address[-_STRIDE:]
        branch, leaf, results = (data.View(layout, word) for layout in (FIB_BRANCH, FIB_LEAF, FIB_RESULTS))
        # Children with a lower number, in two parts.
        lower = [branch.external[k] & below[k] for k in range(len(below))]
        children = [_ones(m, f"children{k}", part) for k, part in enumerate((lower[:8], lower[8:]))]
        # The longest prefix that is there, and those in front of it. The masks of shorter ones are every second bit of
        # the mask of the longer ones.
        internal = branch.internal
        there = [internal[(1 << length) - 1:(2 << length) - 1].bit_select(head[_STRIDE - length:], 1)
                 for length in range(_STRIDE)]
        longest = _ones(m, "longest", [internal[_SHORTER + k] & below[2 * k + 1] for k in range(_SHORTER)])
        shorter = _ones(m, "shorter", internal[:_SHORTER])
        middle = _ones(m, "middle", [*internal[:3], *(internal[3 + k] & below[4 * k + 3] for k in range(3))])
        short = _ones(m, "short", [internal[0], internal[1] & head[-1]])
        in_front = Signal(3), Signal(3)
        m.d.comb += in_front[1].eq(Mux(there[3], longest, 0))
        with m.If(there[3]):
            m.d.comb += in_front[0].eq(shorter)
        with m.Elif(there[2]):
            m.d.comb += in_front[0].eq(middle)
        with m.Elif(there[1]):
            m.d.comb += in_front[0].eq(short)
        # A leaf's bits that differ.
        covered = [bit & _at_least(leaf.length, _LEAF_BITS - k)
                   for k, bit in enumerate(walk.address[-_LEAF_BITS:] ^ leaf.bits)]
        differ = [Cat(covered[k:k + _GROUP]).any() for k in range(0, _LEAF_BITS, _GROUP)]

        pointer = Signal.like(branch.child)
        result_word = branch.result[_POSITION_BITS:]
        m.d.comb += pointer.eq(Mux(walk.restart, walk.value, branch.child))
        go3, ends3, stop3, match3 = Signal(), Signal(), Signal(), Signal()
        child3, child_room3, children3 = self.child, self.child_room, self.children
        result3, result_room3, position3, in_front3 = self.result, self.result_room, self.position, self.in_front
        differ3, direct3 = Signal(len(differ)), Signal.like(leaf.result)
        m.d.sync += [
            go3.eq(walk.active & ~walk.missed),
            ends3.eq(walk.fetch | leaf.leaf),
            stop3.eq(walk.fetch | leaf.leaf | ~branch.external.bit_select(head, 1)),
            match3.eq(~(walk.fetch | leaf.leaf) & Cat(there).any()),
            child3.eq(walk.base + pointer), child_room3.eq(walk.limit - pointer),
            result3.eq(walk.base + result_word), result_room3.eq(walk.limit - result_word),
            children3[0].eq(children[0] | (walk.restart & walk.source[-1])), children3[1].eq(children[1]),
            in_front3[0].eq(in_front[0]), in_front3[1].eq(in_front[1]),
            position3.eq(branch.result[:_POSITION_BITS]),
            differ3.eq(Cat(differ)),
            direct3.eq(Mux(walk.fetch, results[walk.best_position], leaf.result)),
        ]

        # Stage 3: the counts, and what the word means for the walk.
        walk, after = stages[3], stages[0]
        count = _sum(m, "count", *children3)
        child_low = _sum(m, "child_low", child3[:_CHILD_BITS], *children3)
        result_words = _sum(m, "result_words", position3, *in_front3)[_POSITION_BITS:]
        result_low = _sum(m, "result_low", Cat(position3, result3[:_RESULT_BITS]), *in_front3)
        child_row, child_inside = self.child_row, self.child_inside
        result_row, result_inside = self.result_row, self.result_inside
        leaf_hit, final_level = Signal(), Signal()
        m.d.comb += [
            child_row.eq(Cat(child_low[:_CHILD_BITS],
                             Mux(child_low[_CHILD_BITS], child3[_CHILD_BITS:] + 1, child3[_CHILD_BITS:]))),
            child_inside.eq(~child_room3[-1] & (child_room3[_CHILD_BITS:-1].any() | _less(
                count[:_CHILD_BITS], child_room3[:_CHILD_BITS]))),
            result_row.eq(Cat(result_low[_POSITION_BITS:][:_RESULT_BITS],
                              Mux(result_low[_POSITION_BITS + _RESULT_BITS], result3[_RESULT_BITS:] + 1,
                                  result3[_RESULT_BITS:]))),
            result_inside.eq(~result_room3[-1] & (result_room3[_RESULT_BITS:-1].any() | _less(
                result_words[:_RESULT_BITS], result_room3[:_RESULT_BITS]))),
            leaf_hit.eq(walk.fetch | ~differ3.any()),
            final_level.eq(walk.level == Mux(walk.ipv6, FIB_LEVELS_IPV6 - 1, FIB_LEVELS - 1)),
        ]
        with m.If(~walk.settled):
            m.d.sync += [after.turns.eq(walk.turns + 1), after.settled.eq(walk.turns == SETTLED_TURNS - 1)]
        with m.If(go3 | walk.restart):
            m.d.sync += [
                after.address.eq(Mux(walk.restart, walk.source << 1, walk.address << _STRIDE)),
                after.row.eq(Mux(~walk.restart & stop3, Mux(match3, result_row, walk.best_row), child_row)),
            ]
        with m.If(go3 & match3):
            m.d.sync += [
                after.best.eq(_Best.INDIRECT),
                after.best_row.eq(result_row),
                after.best_position.eq(result_low[:_POSITION_BITS]),
                after.best_inside.eq(result_inside),
            ]
        with m.If(walk.restart):
            m.d.sync += [
                after.restart.eq(0),
                after.fetch.eq(0),
                after.level.eq(0),
                after.best.eq(_Best.NONE),
                after.active.eq(child_inside),
                after.fault.eq(~child_inside),
            ]
        with m.Elif(go3):
            with m.If(ends3 & leaf_hit):
                m.d.sync += [
                    after.active.eq(0),
                    after.best.eq(_Best.DIRECT),
                    after.value.eq(direct3),
                    after.restart.eq(walk.again),
                    after.again.eq(0),
                ]
            with m.Elif(stop3):
                found, inside = Signal(), Signal()
                m.d.comb += [
                    found.eq(match3 | (walk.best == _Best.INDIRECT)),
                    inside.eq(Mux(match3, result_inside, walk.best_inside)),
                ]
                m.d.sync += [
                    after.active.eq(found & inside),
                    after.fault.eq(found & ~inside),
                    after.fetch.eq(1),
                ]
            with m.Else():
                m.d.sync += [
                    after.active.eq(child_inside & ~final_level),
                    after.fault.eq(~child_inside | final_level),
                    after.level.eq(walk.level + 1),
                ]

        waiting, request = self.waiting, self.waiting.request
        inside = (waiting.row < request.size) & (waiting.pool_row < self._words)
        with m.If(self.deal):
            m.d.sync += [
                after.eq(0),
                after.busy.eq(1),
                after.active.eq(request.walk & inside),
                after.fault.eq(request.walk & ~inside),
                after.ipv6.eq(request.ipv6),
                after.again.eq(request.multicast),
                after.settled.eq(~request.walk | request.ipv6 | request.multicast),
                after.source.eq(request.source),
                after.base.eq(request.base),
                after.limit.eq(Mux(waiting.reach < request.size, waiting.reach, request.size)),
                after.address.eq(request.address << 1),
                after.row.eq(waiting.pool_row),
            ]
        return m
