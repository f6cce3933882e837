"""The scan of the filter table reads rows of its request's window only, and its outcome depends on nothing else."""

from itertools import pairwise

from amaranth.hdl import Assert, Assume, Const, Cover, Module, Mux, Signal, Value
from amaranth.lib import data
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.filter import FilterLookup

from .runner import AnySeq, cover, prove

CONFIG = CoreConfig(filter_rules=7, filter_banks=2)     # the last place has one row only


def drive(m: Module, value) -> None:
    """Let the solver choose an input."""
    value = Value.cast(value)
    m.d.comb += value.eq(AnySeq(len(value)))


def free_lookup(m: Module, name: str) -> FilterLookup:
    """A filter with whatever requests and whatever accesses by the control engine."""
    m.submodules[name] = dut = FilterLookup(CONFIG)
    for signal in (dut.i.valid, dut.i.payload, dut.o.ready,
                   dut.changes_i.valid, dut.changes_i.payload, dut.changes_o.ready):
        drive(m, signal)
    for table in (dut.filter_table, dut.action_table):
        for signal in (table.stb, table.write, table.addr, table.w_data):
            drive(m, signal)
        m.d.comb += Assume(table.addr < CONFIG.filter_rules)
    return dut


def row_read(dut: FilterLookup, bank: int) -> Value:
    """The row that a bank is made to read by the scan."""
    return dut.place * CONFIG.filter_banks + bank


def walkable(request) -> Value:
    return request.walk & (request.size != 0) & (request.base < CONFIG.filter_rules)


def window_end(request) -> Value:
    end = request.base + request.size
    return Mux(end > CONFIG.filter_rules, CONFIG.filter_rules, end)


def scan_is_in_window(dut: FilterLookup) -> list:
    """What makes the proofs inductive: where a scan can be."""
    place, banks = dut.place, CONFIG.filter_banks
    return [
        Assert(dut.end <= CONFIG.filter_rules),
        Assert(~dut.busy | (dut.next_place == place + 1)),
        Assert(~dut.busy | (dut.end == 0) | (place * banks < dut.end)),
        Assert(~dut.busy | (dut.end == 0) | Mux(dut.first, place == dut.base // banks, place > dut.base // banks)),
        Assert(~dut.busy | dut.first | (dut.end != 0)),
    ]


def window_harness() -> Module:
    m = Module()
    dut = free_lookup(m, "dut")
    # The request whose scan is on: the last one that was accepted for the pipeline.
    request = Signal.like(dut.i.payload)
    with m.If(dut.load):
        m.d.sync += request.eq(dut.i.payload)
    m.d.comb += scan_is_in_window(dut)
    with m.If(dut.busy):
        m.d.comb += [
            Assert(dut.base == request.base),
            Assert(dut.end == Mux(walkable(request), window_end(request), 0)),
        ]
    for bank in range(CONFIG.filter_banks):
        row = row_read(dut, bank)
        with m.If(dut.read[bank]):
            m.d.comb += [
                Assert(dut.busy & request.walk & ~dut.taken),
                Assert(row >= request.base),
                Assert(row < request.base + request.size),
                Assert(row < CONFIG.filter_rules),
                Cover((row == CONFIG.filter_rules - 1) & (request.base == 2) if bank == 0 else row == 5),
            ]
    return m


def test_reads_stay_in_the_window(tmp_path):
    prove(window_harness(), tmp_path, depth=3, free_memories=True)


def test_last_row_can_be_read(tmp_path):
    cover(window_harness(), tmp_path, depth=8)


def isolation_harness() -> Module:
    """Two filters with different requests, tables and accesses; one request that both begin at once is watched.

    What they read in that request's window is the same (and :func:`window_harness` shows that they read nothing else),
    and so is what its rules do; accesses by the control engine take the same cycles from both while it is scanned.
    Everything else is up to the solver: rows outside of the window, all other requests, when outcomes are taken.
    """
    m = Module()
    one, two = free_lookup(m, "one"), free_lookup(m, "two")
    chosen = Signal()
    m.d.comb += chosen.eq(AnySeq(1))
    # Is the request being scanned, and which cycle's step of it is in which stage?
    scanning = Signal()
    steps = [Signal(name=f"step{k}") for k in range(6)]
    m.d.comb += [steps[0].eq(scanning & one.stages[0].valid), Assume(~scanning | (one.taken == two.taken))]
    m.d.sync += [after.eq(before) for before, after in pairwise(steps)]
    with m.If(chosen & one.load & two.load & (one.i.payload == two.i.payload)):
        m.d.sync += scanning.eq(1)
    with m.Elif(steps[0] & one.stages[0].last):
        m.d.sync += scanning.eq(0)
    for dut in (one, two):
        m.d.comb += scan_is_in_window(dut)

    def same(name: str) -> Value:
        return getattr(one, name) == getattr(two, name)

    with m.If(scanning):
        m.d.comb += [
            Assert(one.busy & two.busy),
            *(Assert(same(name)) for name in ("base", "end", "place", "next_place", "first")),
            Assert(one.keys[0] == two.keys[0]),
        ]
    for k in range(5):
        with m.If(steps[k]):
            m.d.comb += [Assert(one.stages[k].valid), Assert(one.stages[k].as_value() == two.stages[k].as_value())]
            if k < len(one.keys):
                m.d.comb += Assert(one.keys[k] == two.keys[k])
    # What the memories deliver the cycle after a read.
    for bank in range(CONFIG.filter_banks):
        def read(k: int, bank: int = bank) -> Value:
            return steps[k] & one.stages[k].read[bank]

        m.d.comb += [
            Assume(~read(1) | (one.rows[bank] == two.rows[bank])),
            Assert(~read(2) | (one.words[bank] == two.words[bank])),
            Assert(~read(3) | (one.partial[bank] == two.partial[bank])),
            Assert(~steps[4] | (one.matches[bank] == two.matches[bank])),
        ]
    # A step that is not the first one of its scan finds the result of those before.
    begun, ended = Signal(), Signal()
    with m.If(steps[4]):
        m.d.sync += [begun.eq(~one.stages[4].last), ended.eq(one.stages[4].last)]
    with m.Else():
        m.d.sync += ended.eq(0)
    with m.If(begun | ended):
        m.d.comb += [Assert(same("found")), Assert(same("rule"))]
    # The window that each step belongs to, and the result: base, and row behind the last.
    shape = data.StructLayout({"base": len(one.base), "end": len(one.end)})
    windows = [Signal(shape, name=f"window{k}") for k in range(6)]
    m.d.comb += [windows[0].base.eq(one.base), windows[0].end.eq(one.end)]
    m.d.sync += [after.eq(before) for before, after in pairwise(windows[:5])]
    with m.If(steps[4]):
        m.d.sync += windows[5].eq(windows[4])

    # A step that is not the first has the one before it ahead, or that one has left its result; nothing is in between.
    # And one that is not the last has another one behind it. Place 5 is that of the result.
    left = [*steps[:5], begun]
    followed = [Const(0)] * 6
    for k in range(5):
        follows = scanning & ~one.first if k == 0 else steps[k] & ~one.stages[k].first
        for ahead in range(k + 1, 6):
            if ahead < 5:
                empty = ~one.stages[ahead].valid & ~two.stages[ahead].valid
                m.d.comb += Assert(~follows | empty | (steps[ahead] & ~one.stages[ahead].last
                                                       & (windows[k] == windows[ahead])))
            else:
                m.d.comb += Assert(~follows | (begun & (windows[k] == windows[5])))
            followed[ahead] = followed[ahead] | follows
            follows = follows & ~left[ahead]
    m.d.comb += [
        *(Assert(~steps[k] | one.stages[k].last | followed[k]) for k in range(1, 5)),
        Assert(~begun | followed[5]),
    ]
    # The rule that was found is in the window, and is what the memory of decisions is asked for.
    def inside(row: Value, window) -> Value:
        return (row >= window.base) & (row < window.end)

    for k in range(1, 5):
        for bank in range(CONFIG.filter_banks):
            m.d.comb += Assert(~(steps[k] & one.stages[k].read[bank])
                               | inside(one.stages[k].place * CONFIG.filter_banks + bank, windows[k]))
    m.d.comb += [
        Assert(~(steps[4] & (one.matches & ~one.stages[4].read).any())),
        Assert(~(begun & one.found) | inside(one.rule, windows[5])),
        Assert(~(steps[4] & one.settle) | inside(one.settled_rule, windows[4])),
    ]
    with m.If(steps[4] & one.stages[4].last):
        m.d.comb += [Assert(same("settle")), Assert(~one.settle | same("settled_rule"))]
    with m.If(ended):
        m.d.comb += [
            Assume(one.decision == two.decision),
            Assert(one.done & two.done), Assert(same("outcome")),
            Cover(one.outcome.hit & (one.outcome.rule == 3)), Cover(~one.outcome.hit),
        ]
    return m


def test_an_outcome_depends_on_the_request_and_its_window(tmp_path):
    prove(isolation_harness(), tmp_path, depth=3, free_memories=True, solver="z3")


def test_a_watched_request_can_hit(tmp_path):
    cover(isolation_harness(), tmp_path, depth=10, free_memories=True)
