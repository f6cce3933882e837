"""What a frame's look-ups find depends on nothing that belongs to other routers, neither their rows nor their frames.

Each stage is there twice, with tables and inputs that differ at will. A record that both begin at once is watched; of
the rows that both then read, those that belong to the record's router are the same in both, and the others need not be.
What comes out has to be the same, to the bit. FIB, filter and MAC table have proofs like this of their own.

Memories are taken out, so this holds for whatever they contain and whenever they are written.
"""

import pytest
from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Module, Mux, Signal, Value
from polyrouter.hdl.adjacency import AdjacencyLookup
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.context import ContextLookup
from polyrouter.hdl.layouts import AdjacencyKind, Role
from polyrouter.hdl.records import META
from polyrouter.hdl.vmac import VmacLookup

from .runner import AnyConst, AnySeq, cover, prove
from .test_streams import drive

CONFIG = CoreConfig(routers=3, adjacencies=12)
#: So many routers that their context is read a word at a time.
MANY = CoreConfig(routers=17, vmac_cycles=2, context_words=4)
#: A record stays where it is through both stages.
STAYS = CoreConfig(routers=17, vmac_cycles=2, context_words=4, stage_registers=0)
#: Upper bits of MAC addresses that are not zero in the proof of the VMAC-VE look-up.
_MAC_BITS = 1
#: At night.
_MORE_MAC_BITS = 8


class Two:
    """Two of a stage, with whatever records and whatever accesses by the control engine.

    Now and then both are given the same record, one for the whole trace: ``record``. Of the fields that the stage only
    hands on most are left out, for the sake of time: only ``fields`` are not zero. With a number, only that many upper
    bits are not.
    """

    def __init__(self, m: Module, stage: type, fields: dict[str, int | None], config: CoreConfig = CONFIG):
        self.record = Signal(META)
        upper = {name: Value.cast(self.record[name])[-(kept or 0):] for name, kept in fields.items()}
        m.d.comb += [value.eq(AnyConst(len(value))) for value in upper.values()]
        both, chosen, takes = [], [], []
        for name in ("one", "two"):
            m.submodules[name] = dut = stage(config)
            drive(m, dut.i.valid, dut.o.ready, dut.table.stb, dut.table.write, dut.table.addr, dut.table.w_data)
            choose = AnySeq(1)
            for name, value in upper.items():
                m.d.comb += Value.cast(dut.i.payload[name])[-len(value):].eq(Mux(choose, value, AnySeq(len(value))))
            both.append(dut)
            chosen.append(choose)
            # Some stages leave a record where it comes from while they work on it.
            offered = Signal(1 + len(dut.i.payload.as_value()))
            m.d.sync += offered.eq(Mux(dut.i.ready, 0, Cat(dut.i.valid, dut.i.payload)))
            m.d.comb += Assume(~offered[0] | (offered == Cat(dut.i.valid, dut.i.payload)))
            takes.append(getattr(dut, "begins", dut.i.valid & dut.i.ready))
        self.duts = both
        #: Both begin with the record in this cycle; any of them begins with any.
        self.begin, self.any_takes = Signal(), Signal()
        m.d.comb += [self.begin.eq(Cat(*chosen, *takes).all()), self.any_takes.eq(Cat(takes).any())]


def same(one, two) -> list:
    """All fields are the same in both."""
    return [Assert(Value.cast(one[name]) == Value.cast(two[name])) for name, _ in one.shape()]


def context_harness(config: CoreConfig) -> Module:
    """The row of the record's router is the same in both."""
    m = Module()
    pair = Two(m, ContextLookup, dict.fromkeys(
        ("router", "port", "injected", "peer", "peer_router", "segment_guard")), config)
    one, other = pair.duts
    reading, given = Signal(), Signal()         # the watched record waits for its row; is in ``o``
    moves = Cat(dut.rows.o.valid & dut.rows.o.ready for dut in (one, other))
    with m.If(pair.begin):
        m.d.sync += reading.eq(1)
    with m.Elif(pair.any_takes | moves.any()):
        m.d.sync += reading.eq(0)
    if not config.stage_registers:
        m.d.comb += given.eq(reading & (one.rows.step == one.rows.words))
    else:
        with m.If(moves.any()):
            m.d.sync += given.eq(reading & moves.all())
        with m.Elif(one.o.ready | other.o.ready):
            m.d.sync += given.eq(0)
    with m.If(reading):
        m.d.comb += [
            *(Assert((dut.rows.step != 0) & ~dut.rows.access) for dut in (one, other)),
            Assert(one.rows.step == other.rows.step),
            *same(one.meta, pair.record), *same(other.meta, pair.record),
            Assert(one.exists == other.exists),
            Assert(~one.exists | (one.meta.router < config.routers)),
            Assume(~one.exists | (one.rows.word == other.rows.word)),
            *(Assert(~one.exists | (one.rows.step <= k + 1) | (mine == others))
              for k, (mine, others) in enumerate(zip(one.rows.kept, other.rows.kept, strict=True))),
        ]
    with m.If(given):
        m.d.comb += [
            Assert(one.o.valid & other.o.valid), *same(one.o.payload, other.o.payload),
            Assert(one.o_seed == other.o_seed),
            Cover(one.o.payload.enable & (one.o.payload.router == 2) & one.o.payload.guarded),
            Cover(one.o.payload.guarded & one.o.payload.segment_guard),
        ]
    # For a record, each reads the row of its router alone.
    for dut in (one, other):
        rows = dut.rows
        begins, under_way = dut.begins, (rows.step != 0) & ~rows.access
        goes_on = under_way & (rows.step != rows.words)
        if config.context_words > 1:
            m.d.comb += Assert(~under_way | dut.i.valid)
        with m.If(rows.en & begins):
            m.d.comb += [Assert(rows.row == dut.i.payload.router), Assert(rows.row < config.routers)]
        m.d.comb += Assert(rows.step <= rows.words)
        with m.If(goes_on):
            m.d.comb += [
                Assert(~begins), Assert(rows.en == dut.exists),
                Assert(~dut.exists | ((rows.row == dut.meta.router) & (rows.row < config.routers))),
            ]
    return m


def adjacency_harness() -> Module:
    """The rows of the window that came with the record are the same in both."""
    m = Module()
    # Two multipliers that give the same are hard for a solver, so the flow hash has few bits.
    pair = Two(m, AdjacencyLookup, {
        **dict.fromkeys(("router", "group", "fib", "result", "adj_base", "adj_size")), "flow_hash": 3})
    one, other = pair.duts
    watched, request = Signal(), pair.record
    with m.If(pair.begin):
        m.d.sync += watched.eq(1)
    with m.Elif(pair.any_takes | (one.o.valid & one.o.ready) | (other.o.valid & other.o.ready)):
        m.d.sync += watched.eq(0)
    was_read = Signal()
    m.d.sync += was_read.eq(watched & one.rows.en & other.rows.en & (one.rows.addr == other.rows.addr))
    m.d.comb += Assume(~was_read | (one.rows.data == other.rows.data))
    accept, read, row, emit, pick, window = one.states
    with m.If(watched):
        m.d.comb += [
            Assert(one.o.valid == other.o.valid),
            Assert(one.states == other.states), Assert(~accept),
            *same(one.meta, pair.record), *same(other.meta, pair.record),
            *(Assert(getattr(one, name) == getattr(other, name)) for name in ("row", "final", "fault", "below_size")),
            Assert(~read | (one.index == other.index)),
            Assert(~row | one.fault | was_read),
            Assert(~pick | (one.product == other.product)),
            Assert(~window | (one.member == other.member)),
            Cover(one.o.valid & (one.o.payload.adj_kind == AdjacencyKind.FORWARD) & was_ecmp(m, one)),
            Cover(one.o.valid & one.o.payload.adj_fault),
        ]
        with m.If(emit & one.o.valid):
            m.d.comb += same(one.o.payload, other.o.payload)
        # Both read rows of the window alone.
        with m.If(read):
            m.d.comb += [
                Assert(one.below_size == (one.index - request.adj_base < request.adj_size)),
                Assert(one.index >= request.adj_base),
            ]
        with m.If(one.rows.en):
            m.d.comb += [
                Assert(read), Assert(one.rows.addr == one.index), Assert(one.index < CONFIG.adjacencies),
                Assert(one.index < request.adj_base + request.adj_size),
            ]
    return m


def was_ecmp(m: Module, dut: AdjacencyLookup) -> Value:
    """A second row was read for the record under way."""
    reads = Signal(2)
    with m.If(dut.i.valid & dut.i.ready):
        m.d.sync += reads.eq(0)
    with m.Elif(dut.rows.en):
        m.d.sync += reads.eq(reads + 1)
    return reads == 2


def vmac_harness(config: CoreConfig, mac_bits: int = _MAC_BITS) -> Module:
    """Where either of two slots that are read has one of the record's keys, both have it, for the same router and with
    the same ``guard``."""
    m = Module()
    # All bits of a key are compared alike; most bits of addresses are zero here, for the sake of time.
    pair = Two(m, VmacLookup, {
        **dict.fromkeys(("port", "injected", "given", "router", "group", "tci")), "dmac": mac_bits, "smac": mac_bits},
        config)
    one, other = pair.duts
    for dut in (one, other):
        drive(m, dut.seed0, dut.seed1)
        m.d.comb += [Assume(slot.mac[:-mac_bits] == 0) for slot in dut.slots]
        m.d.comb += [Assert(row.mac[:-mac_bits] == 0) for row in dut.rows]
    last, turns = one.last, one.turns
    watched, given = Signal(), Signal()
    leaves = Cat((dut.step == last) & (~dut.o.valid | dut.o.ready) for dut in (one, other))
    with m.If(pair.begin):
        m.d.sync += watched.eq(1)
    with m.Elif(pair.any_takes | leaves.any()):
        m.d.sync += watched.eq(0)
    if not config.stage_registers:
        m.d.comb += given.eq(watched & (one.step == last))
    else:
        with m.If(leaves.any()):
            m.d.sync += given.eq(watched & leaves.all())
        with m.Elif(one.o.ready | other.o.ready):
            m.d.sync += given.eq(0)

    # A role's slots are delivered in steps 2 to 4 (2 to 7), in registers and compared a step later, and known in the
    # one behind.
    def keys(meta) -> list:
        return [Cat(mac, meta.port, meta.tci[:12], Const(role, 2))
                for role, mac in ((Role.OWN, meta.dmac), (Role.PEER, meta.smac), (Role.SEGMENT, Const(0, 48)))]

    def alike(these, those) -> list:
        """Of two slots, both match or none does; then with the same content. Pairs of (matches, content)."""
        return [(has == also) & (~has | (content == same_content))
                for (has, content), (also, same_content) in zip(these, those, strict=True)]

    def content(slot) -> Value:
        return Cat(slot.router, slot.guard)

    def matches(slots, key) -> list:
        return [(slot.valid & (slot.router < config.routers) & (slot.as_value()[:len(key)] == key), content(slot))
                for slot in slots]

    for k, pair_of_keys in enumerate(zip(keys(one.meta), keys(other.meta), strict=True)):
        with m.If(watched & (one.step >= 2 + turns * k) & (one.step < 2 + turns * (k + 1))):
            m.d.comb += [Assume(value) for value in alike(
                *(matches(dut.slots, key) for dut, key in zip((one, other), pair_of_keys, strict=True)))]
        with m.If(watched & (one.step >= 3 + turns * k) & (one.step < 3 + turns * (k + 1))):
            m.d.comb += [Assert(dut.wanted == key) for dut, key in zip((one, other), pair_of_keys, strict=True)]
    with m.If(watched & (one.step >= 3) & (one.step < last)):
        m.d.comb += [Assert(value) for value in alike(*(matches(dut.rows, dut.wanted) for dut in (one, other)))]
    # In between, so that the solver need not find it: what each comparison has to come to, by the rows before it.
    expected = []
    for dut in (one, other):
        now = Cat(Cat(pair) for pair in matches(dut.rows, dut.wanted))
        known = Signal(len(now))
        with m.If(dut.step != last):
            m.d.sync += known.eq(now)
        size = len(known) // len(dut.rows)
        expected.append([(known[k], known[k + 1:k + size]) for k in range(0, len(known), size)])
    with m.If(watched & (one.step >= 4)):
        m.d.comb += [Assert(value) for value in alike(*expected)]
        for dut, known in zip((one, other), expected, strict=True):
            m.d.comb += [Assert((slot.equal.all() & slot.usable == has) & (content(slot) == wanted))
                         for slot, (has, wanted) in zip(dut.compared, known, strict=True)]
    if turns > 1:
        with m.If(watched & (one.step >= 5)):
            m.d.comb += [Assert(value) for value in alike(
                *([(dut.before[0], Cat(dut.before[1:]))] for dut in (one, other)))]
    with m.If(watched & (one.step >= 4 + turns)):
        m.d.comb += [Assert(value) for value in alike([(one.own, one.own_router)], [(other.own, other.own_router)])]
    with m.If(watched & (one.step >= 4 + 2 * turns)):
        m.d.comb += [Assert(value) for value in alike([(one.peer, one.peer_router)], [(other.peer, other.peer_router)])]
    if turns > 1:
        m.d.comb += [Assert((dut.step == 0) | dut.i.valid) for dut in (one, other)]
    with m.If(watched):
        m.d.comb += [
            Assert(one.step == other.step), Assert((one.step != 0) & (one.step <= last)),
            *same(one.meta, pair.record), *same(other.meta, pair.record),
        ]
        with m.If(one.step == last):
            m.d.comb += same(one.result, other.result)
    with m.If(given):
        m.d.comb += [
            Assert(one.o.valid & other.o.valid), *same(one.o.payload, other.o.payload),
            Cover(one.o.payload.own & one.o.payload.peer & (one.o.payload.router == 2)),
            Cover(one.o.payload.group & one.o.payload.segment & ~one.o.payload.peer),
            Cover(one.o.payload.given & one.o.payload.segment_guard & (one.o.payload.router == 2)),
        ]
    return m


@pytest.mark.parametrize("config", [CONFIG, MANY, STAYS], ids=["row", "words", "stays"])
def test_context(tmp_path, config):
    prove(context_harness(config), tmp_path, depth=3, free_memories=True)


def test_adjacency(tmp_path):
    prove(adjacency_harness(), tmp_path, depth=3, free_memories=True)


@pytest.mark.parametrize("mac_bits", [_MAC_BITS, pytest.param(_MORE_MAC_BITS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("config", [CONFIG, MANY, STAYS], ids=["at-once", "in-turn", "stays"])
def test_vmac(tmp_path, config, mac_bits):
    prove(vmac_harness(config, mac_bits), tmp_path, depth=3, free_memories=True)


def test_watched_records_can_come_out(tmp_path):
    for name, harness, depth in (
            ("context", context_harness(CONFIG), 6), ("words", context_harness(MANY), 12),
            ("adjacency", adjacency_harness(), 12), ("vmac", vmac_harness(CONFIG), 10),
            ("ways", vmac_harness(MANY), 13), ("words-stay", context_harness(STAYS), 12),
            ("ways-stay", vmac_harness(STAYS), 13)):
        cover(harness, tmp_path / name, depth=depth, free_memories=True)
