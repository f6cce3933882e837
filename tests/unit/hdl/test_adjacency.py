import random

import pytest
from amaranth.back import rtlil
from polyrouter.hdl.adjacency import AdjacencyLookup
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import ADJACENCY_ECMP, ADJACENCY_ROW, AdjacencyKind, pack, unpack
from polyrouter.hdl.records import META, FibOutcome

from .bench import WIDTHS, run_stage

FIELDS = ("adj_fault", "adj_kind", "adj_port", "adj_mac", "adj_mtu", "adj_vid")


def expected(config, rows, frame):
    """As the specification tells it; rows are as bits."""
    fields = dict.fromkeys(FIELDS, 0)
    if frame["fib"] != FibOutcome.HIT:
        return frame | fields

    def read(result):
        index = frame["adj_base"] + result
        return None if result >= frame["adj_size"] or index >= config.adjacencies else rows[index]

    row = read(frame["result"])
    if row is not None and unpack(ADJACENCY_ROW, row)["kind"] == AdjacencyKind.ECMP and not frame["group"]:
        group = unpack(ADJACENCY_ECMP, row)
        if group["count"]:
            row = read(group["first"] + (frame["flow_hash"] * group["count"] >> 16))
    if row is None:
        return frame | fields | {"adj_fault": 1}
    fields |= {"adj_" + name: value for name, value in unpack(ADJACENCY_ROW, row).items()}
    return frame | fields | {"adj_fault": int(fields["adj_kind"] == AdjacencyKind.ECMP)}


def random_row(rng, adjacencies):
    if rng.random() < 0.3:
        return pack(ADJACENCY_ECMP, {
            "kind": AdjacencyKind.ECMP, "port": rng.randrange(16), "reserved": rng.getrandbits(44),
            "first": rng.choice([rng.randrange(adjacencies)] * 6 + [(1 << 18) - 1]),
            "count": rng.choice([0, 1, 2, 3, 5, 8, rng.randrange(1 << 12)])})
    return pack(ADJACENCY_ROW, {"kind": rng.choice(list(AdjacencyKind)), "port": rng.randrange(16),
                                "mac": rng.getrandbits(48), "mtu": rng.randrange(1 << 14), "vid": rng.getrandbits(12)})


@pytest.mark.parametrize("adjacencies", [4, 37, 64])
@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.3, 0.15)])
def test_random_rows_windows_and_routes(adjacencies, rates):
    config = CoreConfig(adjacencies=adjacencies)
    rng = random.Random(adjacencies)
    rows = [random_row(rng, adjacencies) for _ in range(adjacencies)]
    frames = []
    for _ in range(300):
        base = rng.choice([0, rng.randrange(adjacencies), (1 << 18) - 1])
        size = rng.choice([0, 1, 8, adjacencies, (1 << 19) - 1])
        result = rng.choice([0, 1, 7, rng.randrange(adjacencies), max(0, adjacencies - base - 1),
                             max(0, adjacencies - base), min(size, (1 << 18) - 1), (1 << 18) - 1])
        frames.append({"adj_base": base, "adj_size": size, "result": result, "router": rng.randrange(8),
                       "group": rng.random() < 0.2, "flow_hash": rng.choice([0, 0xFFFF, rng.getrandbits(16)]),
                       "fib": rng.choice([FibOutcome.MISS, FibOutcome.FAULT, *[FibOutcome.HIT] * 4]),
                       "dmac": rng.getrandbits(48), **{name: rng.getrandbits(META[name].width) for name in FIELDS}})
    dut = AdjacencyLookup(config)
    out, *_ = run_stage(dut, [pack(META, frame) for frame in frames], rates=rates,
                        tables=[(dut.table, dict(enumerate(rows)))])
    wanted = [expected(config, rows, frame) for frame in frames]
    for frame, record in zip(wanted, out, strict=True):
        assert unpack(META, record) == unpack(META, pack(META, frame))
    assert {frame["adj_fault"] for frame in wanted} == {0, 1}


@pytest.mark.parametrize("base, size", [(0, 8), (16, 8), (30, 7)])
def test_members_outside_of_the_window_are_faults(base, size):
    """The last row of the window and the one behind it, which the table has or, at its end, has not."""
    config = CoreConfig(adjacencies=37)
    member = pack(ADJACENCY_ROW, {"kind": AdjacencyKind.FORWARD, "port": 2, "mac": 5, "mtu": 1500})
    rows = [member] * config.adjacencies
    rows[base] = pack(ADJACENCY_ECMP, {"kind": AdjacencyKind.ECMP, "first": size - 1, "count": 2})
    frames = [{"adj_base": base, "adj_size": size, "result": 0, "flow_hash": flow, "fib": FibOutcome.HIT}
              for flow in (0, 0x7FFF, 0x8000, 0xFFFF)]
    dut = AdjacencyLookup(config)
    out, *_ = run_stage(dut, [pack(META, frame) for frame in frames],
                        tables=[(dut.table, dict(enumerate(rows)))])
    found = [unpack(META, record) for record in out]
    assert [(record["adj_fault"], record["adj_kind"]) for record in found] == [
        (0, AdjacencyKind.FORWARD)] * 2 + [(1, AdjacencyKind.INVALID)] * 2


@pytest.mark.parametrize("count", [1, 3, 7, 8, 4095])
def test_each_member_has_its_share(count):
    config = CoreConfig(adjacencies=4096)
    rows = {0: pack(ADJACENCY_ECMP, {"kind": AdjacencyKind.ECMP, "first": 1, "count": count})}
    hashes = sorted({-(-(k << 16) // count) - back for k in range(count + 1) for back in (0, 1)} - {-1, 1 << 16})
    if len(hashes) > 40:
        hashes = [*hashes[:10], *hashes[-10:]]
    frames = [{"fib": FibOutcome.HIT, "adj_size": 4096, "flow_hash": value} for value in hashes]
    members = [1 + (value * count >> 16) for value in hashes]
    rows |= {row: pack(ADJACENCY_ROW, {"kind": AdjacencyKind.FORWARD, "mac": row}) for row in members}
    dut = AdjacencyLookup(config)
    out, *_ = run_stage(dut, [pack(META, frame) for frame in frames], tables=[(dut.table, rows)])
    assert [unpack(META, record)["adj_mac"] for record in out] == members
    assert members[0] == 1 and members[-1] == count


@pytest.mark.parametrize("fib, row, cycles", [
    (FibOutcome.HIT, {0: pack(ADJACENCY_ROW, {"kind": AdjacencyKind.FORWARD})}, 3),
    (FibOutcome.HIT, {0: pack(ADJACENCY_ECMP, {"kind": AdjacencyKind.ECMP, "count": 1})}, 8),
    (FibOutcome.MISS, {}, 1),
])
def test_cycles_for_a_record(fib, row, cycles):
    frame = pack(META, {"fib": fib, "adj_size": 1})
    dut = AdjacencyLookup(CoreConfig())
    _, taken, given = run_stage(dut, [frame] * 10, tables=[(dut.table, row)])
    assert taken == [taken[0] + cycles * k for k in range(10)]
    assert given == [cycle + cycles for cycle in taken]


@pytest.mark.parametrize("width, adjacencies", [
    *zip(WIDTHS[:-1], (4, 1000, 1024), strict=True), pytest.param(WIDTHS[-1], 1 << 18, marks=pytest.mark.slow)])
def test_elaborates(width, adjacencies):
    assert rtlil.convert(AdjacencyLookup(CoreConfig(data_width=width, adjacencies=adjacencies)))
