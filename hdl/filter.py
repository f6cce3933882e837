"""The filter table: rules with don't-care bits, compared one after the other, the lowest that matches decides."""

from itertools import pairwise

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import CoreConfig
from .layouts import ACTION_ROW, FILTER_KEY, FILTER_ROW
from .memories import NEVER_MEET, delivered
from .records import META, TableSignature
from .serialtable import SerialTable
from .table import table_addr_bits

__all__ = ["CHANGES", "OUTCOME", "REQUEST", "FilterLookup"]

#: Fields of an ACTION_ROW that ask for a rewrite of the frame.
CHANGES = ("set_dmac", "set_smac", "strip_vlan", "set_vid", "set_pcp", "set_ip_source", "set_ip_destination", "set_tos",
           "set_l4_source", "set_l4_destination")

#: What a look-up needs to know.
REQUEST = data.StructLayout({
    "walk": 1,              # if not set, there is no hit and nothing is read
    "base": META["filter_base"].width,
    "size": META["filter_size"].width,
    "key": FILTER_KEY,
})

_DECISION = data.StructLayout({
    "action": ACTION_ROW["action"].width,       # FilterAction
    "ports": ACTION_ROW["ports"].width,
    "mirror": 1,
    "set_class": 1,
    "traffic_class": 1,
    "police": 1,
    "policer": ACTION_ROW["policer"].width,     # relative to the router's window
    "changes": 1,           # any of CHANGES
    "smac": 1,              # sets the source MAC address
    "tag": 1,               # sets the VLAN id, or strips the tag
})

#: What the lowest rule that matched decides; all zero if none did. ``rule`` is its row in the table.
OUTCOME = data.StructLayout({
    "hit": 1,
    "rule": META["rule"].width,
    **{name: field.shape for name, field in _DECISION},
})

#: Look-ups that are under way, or whose outcomes wait: enough for one a cycle, if each takes one read.
_UNDER_WAY = 8
#: Words that an action is read in. It is wide, and needed whole for few frames only.
_ACTION_WORDS = 2
#: Bits that are compared in the first step.
_CHUNK = 16


def _decision(action):
    """What the look-up stages need to know of an ACTION_ROW, in the order of ``_DECISION``."""
    same = ("action", "ports", "mirror", "set_class", "traffic_class", "police", "policer")
    return Cat(*(action[name] for name in same), Cat(action[name] for name in CHANGES).any(),
               action.set_smac, action.set_vid | action.strip_vlan)


class FilterLookup(wiring.Component):
    """Compares keys with the rules of their windows; outcomes come in the order of the requests.

    Rules are in ``filter_banks`` memories, row r in memory r modulo their number, and the same place of all of them is
    compared at once, so that a window may begin at any row. Every row of the window is read, whichever matches, so
    that a frame's time depends on the size of its router's window only. Rows outside of it, or beyond the table, are
    not read.

    A window that touches n places takes n cycles, and the next one's scan follows without a gap. Latency: n + 6 cycles.
    A request that is not to be walked, or has an empty window, takes 1 cycle if no scan is under way; else it takes its
    turn behind it, as a scan with n = 1 that reads nothing.

    A write replaces a row in one cycle. An access by the control engine takes one cycle from the scan, and is
    acknowledged two cycles after it began.

    Parameters
    ----------
    config : CoreConfig
        ``filter_rules`` and ``filter_banks`` are used. Without rules there are no memories, and never a hit.

    Attributes
    ----------
    i : stream of REQUEST
    o : stream of OUTCOME
    filter_table, action_table : TableSignature
        Rules, and what they do; by row.
    changes_i, changes_o
        Streams of row numbers of the action table, and of the whole rows, two cycles later. An access of the control
        engine to an action takes two cycles from it.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.rules = config.filter_rules
        self.banks = config.filter_banks
        self._bank_bits = self.banks.bit_length() - 1
        self._depth = -(-self.rules // self.banks)
        addr_bits = table_addr_bits(self.rules)
        super().__init__({
            "i": In(stream.Signature(REQUEST)),
            "o": Out(stream.Signature(OUTCOME)),
            "filter_table": In(TableSignature(addr_bits, FILTER_ROW.size)),
            "action_table": In(TableSignature(addr_bits, ACTION_ROW.size)),
            "changes_i": In(stream.Signature(addr_bits)),
            "changes_o": Out(stream.Signature(ACTION_ROW)),
        })
        #: What the scan reads in this cycle: one bit for each bank, and the place in them.
        self.read = Signal(self.banks)
        self.place = Signal(range(max(2, self._depth)))
        #: The control engine has the rules' memories in this cycle.
        self.taken = Signal()
        #: The first request was accepted that goes through the pipeline; the last of its reads is made.
        self.load = Signal()
        self.busy = Signal()
        #: First row, and the one behind the last, of the window that is scanned.
        self.base = Signal(REQUEST["base"].width)
        self.end = Signal(range(self.rules + 1))
        self.next_place = Signal(range(self._depth + 2))
        self.first = Signal()
        #: What the banks and the decisions deliver, the cycle after they are read.
        self.rows = [Signal(FILTER_ROW, name=f"row{bank}") for bank in range(self.banks)]
        self.decision = Signal(_DECISION)
        #: Beside a read, 0 to 4 cycles after it: flags, the key (0 to 2), the rows (2) and how they compare (3, 4).
        place_bits = len(self.place)
        stage = data.StructLayout({"valid": 1, "first": 1, "last": 1, "read": self.banks, "place": place_bits})
        self.stages = [Signal(stage, name=f"stage{k}") for k in range(5)]
        self.keys = [Signal(FILTER_KEY, name=f"key{k}") for k in range(3)]
        self.words = [Signal(FILTER_ROW, name=f"word{bank}") for bank in range(self.banks)]
        self.partial = [Signal(-(-FILTER_KEY.size // _CHUNK) + 1, name=f"partial{bank}") for bank in range(self.banks)]
        self.matches = Signal(self.banks)
        #: The lowest row that matched so far, of the scan whose reads reach the last stage.
        self.found = Signal()
        self.rule = Signal(range(max(2, self.rules)))
        #: A scan ends with a hit, and this rule's decision is read.
        self.settle = Signal()
        self.settled_rule = Signal.like(self.rule)
        #: An outcome is given out.
        self.done = Signal()
        self.outcome = Signal(OUTCOME)

    def elaborate(self, platform):
        m = Module()
        m.submodules.outcomes = outcomes = fifo.SyncFIFO(width=OUTCOME.size, depth=_UNDER_WAY)
        m.d.comb += [
            outcomes.w_data.eq(self.outcome),
            outcomes.w_en.eq(self.done),
            self.o.payload.eq(outcomes.r_data),
            self.o.valid.eq(outcomes.r_rdy),
            outcomes.r_en.eq(self.o.ready),
        ]
        if self.rules:
            self._elaborate_scan(m, platform)
            self._elaborate_actions(m)
        else:
            m.d.comb += [self.i.ready.eq(outcomes.w_rdy), self.done.eq(self.i.valid & outcomes.w_rdy)]
            for table in (self.filter_table, self.action_table):
                m.d.sync += table.ack.eq(table.stb & ~table.ack)
        return m

    def _elaborate_scan(self, m, platform):
        """Requests, reads and comparisons, up to the row that matched."""
        # Whatever is accepted finds room in the FIFO when its outcome comes.
        under_way = Signal(range(_UNDER_WAY + 1))
        scanned = Signal(range(_UNDER_WAY + 1))     # of these, the ones that are not in the FIFO yet
        accept, shortcut, finished = Signal(), Signal(), Signal()
        request = self.i.payload
        walkable, final = Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq((under_way != _UNDER_WAY) & (~self.busy | (final & ~self.taken))),
            accept.eq(self.i.valid & self.i.ready),
            walkable.eq(request.walk & (request.size != 0) & (request.base < self.rules)),
            shortcut.eq(accept & ~walkable & (scanned == 0)),
            self.load.eq(accept & ~shortcut),
            self.done.eq(shortcut | finished),
        ]
        m.d.sync += [
            under_way.eq(under_way + accept - (self.o.valid & self.o.ready)),
            scanned.eq(scanned + self.load - finished),
        ]

        # The scan. An empty one reads nothing, but takes its turn.
        place_bits = len(self.place)
        first_place = request.base >> self._bank_bits
        end = Signal(REQUEST["base"].width + 1)
        at_row = [(self.place << self._bank_bits) + bank for bank in range(self.banks)]
        m.d.comb += [
            end.eq(request.base + request.size),
            final.eq((self.next_place << self._bank_bits) >= self.end),
            *(self.read[bank].eq(self.busy & ~self.taken & (row < self.end)
                                 & (~self.first | (bank >= self.base[:self._bank_bits])))
              for bank, row in enumerate(at_row)),
        ]
        with m.If(self.busy & ~self.taken):
            m.d.sync += [
                self.first.eq(0), self.place.eq(self.next_place[:place_bits]), self.next_place.eq(self.next_place + 1),
            ]
            with m.If(final):
                m.d.sync += self.busy.eq(0)
        with m.If(self.load):
            m.d.sync += [
                self.busy.eq(1),
                self.first.eq(1),
                self.base.eq(request.base),
                self.end.eq(Mux(walkable, Mux(end > self.rules, self.rules, end), 0)),
                self.place.eq(first_place[:place_bits]),
                self.next_place.eq(first_place[:place_bits] + 1),
                self.keys[0].eq(request.key),
            ]

        # The memories. Scan and control engine share the read port, so that a bank is a simple dual-port memory.
        table = self.filter_table
        fetched = Signal()
        bank_of = table.addr[:self._bank_bits]
        words = self.words
        m.d.comb += self.taken.eq(table.stb & ~fetched & ~table.ack)
        m.d.sync += [fetched.eq(self.taken), table.ack.eq(fetched)]
        for bank in range(self.banks):
            m.submodules[f"bank{bank}"] = mem = memory.Memory(
                shape=unsigned(FILTER_ROW.size), depth=max(2, self._depth), init=[], attrs=NEVER_MEET)
            write, read = mem.write_port(), mem.read_port()
            place = Signal.like(self.place, name=f"place{bank}")
            m.d.comb += [
                place.eq(Mux(self.taken, table.addr >> self._bank_bits, self.place)),
                read.addr.eq(place),
                read.en.eq(self.read[bank] | (self.taken & ~table.write)),
                write.addr.eq(place),
                write.data.eq(table.w_data),
                write.en.eq(self.taken & table.write & (bank_of == bank)),
                self.rows[bank].eq(delivered(m, platform, read, write)),
            ]
        # Block RAM is slow to deliver, so its output goes straight to a register.
        m.d.sync += [word.eq(row) for word, row in zip(words, self.rows, strict=True)]
        m.d.comb += table.r_data.eq(Array(word.as_value() for word in words)[bank_of])

        # One set of flags for each cycle after the read.
        stages = self.stages
        m.d.comb += [
            stages[0].valid.eq(self.busy & ~self.taken),
            stages[0].first.eq(self.first),
            stages[0].last.eq(final),
            stages[0].read.eq(self.read),
            stages[0].place.eq(self.place),
        ]
        m.d.sync += [
            *(after.eq(before) for before, after in pairwise(stages)),
            *(after.eq(before) for before, after in pairwise(self.keys)),
        ]

        # The comparison, first some bits of each, then all.
        matches = self.matches
        for bank, word in enumerate(words):
            different = (word.value ^ self.keys[2].as_value()) & word.mask
            partial = self.partial[bank]
            m.d.sync += [
                partial.eq(Cat(~word.valid, *(different[k:k + _CHUNK].any()
                                              for k in range(0, FILTER_KEY.size, _CHUNK)))),
                matches[bank].eq(stages[3].read[bank] & ~partial.any()),
            ]

        # The lowest row that matched, and what it decides.
        stage = stages[4]
        found, rule = self.found, self.rule
        found_now, rule_now = Signal(), Signal.like(rule)
        lowest = Signal(range(self.banks))
        for bank in reversed(range(self.banks)):
            with m.If(matches[bank]):
                m.d.comb += lowest.eq(bank)
        with m.If(found & ~stage.first):
            m.d.comb += [found_now.eq(1), rule_now.eq(rule)]
        with m.Else():
            m.d.comb += [found_now.eq(matches.any()), rule_now.eq((stage.place << self._bank_bits) + lowest)]
        with m.If(stage.valid):
            m.d.sync += [found.eq(found_now), rule.eq(rule_now)]
        m.d.sync += finished.eq(stage.valid & stage.last)
        m.d.comb += [self.settle.eq(stage.valid & stage.last & found_now), self.settled_rule.eq(rule_now)]
        with m.If(finished & found):
            m.d.comb += [
                self.outcome.hit.eq(1),
                self.outcome.rule.eq(rule),
                *(self.outcome[name].eq(self.decision[name]) for name, _ in _DECISION),
            ]

    def _elaborate_actions(self, m):
        """What the rules do: whole for the rewriter, and once more what is needed to decide."""
        m.submodules.actions = actions = SerialTable(self.rules, ACTION_ROW.size, _ACTION_WORDS)
        table = self.action_table
        wiring.connect(m, wiring.flipped(table), actions.table)
        m.d.comb += [
            actions.i.valid.eq(self.changes_i.valid),
            actions.i.payload.read.eq(1),
            actions.i.payload.row.eq(self.changes_i.payload),
            self.changes_i.ready.eq(actions.i.ready),
            self.changes_o.valid.eq(actions.o.valid),
            self.changes_o.payload.eq(actions.o.payload),
            actions.o.ready.eq(self.changes_o.ready),
        ]
        m.submodules.decisions = mem = memory.Memory(
            shape=unsigned(_DECISION.size), depth=max(2, self.rules), init=[], attrs={"rw_addr_collision": "yes"})
        write = mem.write_port()
        read = mem.read_port(transparent_for=(write,))
        m.d.comb += [
            write.addr.eq(table.addr),
            write.data.eq(_decision(data.View(ACTION_ROW, table.w_data))),
            write.en.eq(table.stb & ~table.ack & table.write),
            read.addr.eq(self.settled_rule),
            read.en.eq(self.settle),
            self.decision.eq(read.data),
        ]
