import random

import pytest
from amaranth.back import rtlil
from polyrouter.hdl.adjacency import AdjacencyLookup
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import ADJACENCY_ROW, PORT_ROW, AdjacencyKind, pack, unpack
from polyrouter.hdl.records import META, FibOutcome
from polyrouter.hdl.table import port_index_bits, port_table_rows

from .bench import WIDTHS, run_stage


def expected(config, rows, macs, frame):
    fields = dict.fromkeys(("adj_fault", "adj_kind", "adj_port", "adj_mac", "adj_mtu", "own_mac"), 0)
    if frame["fib"] == FibOutcome.HIT:
        index = frame["adj_base"] + frame["result"]
        if frame["result"] >= frame["adj_size"] or index >= config.adjacencies:
            return frame | fields | {"adj_fault": 1}
        row = rows[index]
        fields |= {"adj_" + name: value for name, value in row.items()}
        fields["own_mac"] = macs[frame["router"]][row["port"]] if row["port"] < config.ports else 0
    return frame | fields


@pytest.mark.parametrize("ports, routers, adjacencies", [(1, 1, 4), (3, 5, 37), (8, 8, 64)])
@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.3, 0.15)])
def test_random_rows_windows_and_routes(ports, routers, adjacencies, rates):
    config = CoreConfig(ports=ports, routers=routers, adjacencies=adjacencies)
    rng = random.Random(adjacencies)
    rows = [{"kind": rng.choice(list(AdjacencyKind)), "port": rng.choice([rng.randrange(ports), rng.randrange(16)]),
             "mac": rng.getrandbits(48), "mtu": rng.randrange(1 << 14)} for _ in range(adjacencies)]
    macs = [[rng.getrandbits(48) for _ in range(ports)] for _ in range(routers)]
    frames = []
    for _ in range(200):
        base = rng.choice([0, rng.randrange(adjacencies), (1 << 18) - 1])
        size = rng.choice([0, 1, 8, adjacencies, (1 << 19) - 1])
        result = rng.choice([0, 1, 7, rng.randrange(adjacencies), max(0, adjacencies - base - 1),
                             max(0, adjacencies - base), min(size, (1 << 18) - 1), (1 << 18) - 1])
        frames.append({"adj_base": base, "adj_size": size, "result": result, "router": rng.randrange(routers),
                       "fib": rng.choice([FibOutcome.MISS, FibOutcome.FAULT, *[FibOutcome.HIT] * 4]),
                       "length": rng.randrange(1 << 14)})
    dut = AdjacencyLookup(config)
    shift = port_index_bits(config)
    out, *_ = run_stage(dut, [pack(META, frame) for frame in frames], rates=rates, tables=[
        (dut.table, {k: pack(ADJACENCY_ROW, row) for k, row in enumerate(rows)}),
        (dut.port_table, {router << shift | port: pack(PORT_ROW, {"mac": mac})
                          for router, macs_of in enumerate(macs) for port, mac in enumerate(macs_of)})])
    wanted = [expected(config, rows, macs, frame) for frame in frames]
    for frame, record in zip(wanted, out, strict=True):
        assert unpack(META, record) == unpack(META, pack(META, frame))
    assert {frame["adj_fault"] for frame in wanted} == {0, 1}
    assert any(frame["own_mac"] for frame in wanted)


@pytest.mark.parametrize("fib, cycles", [(FibOutcome.HIT, 7), (FibOutcome.MISS, 2)])
def test_cycles_for_a_record(fib, cycles):
    frame = pack(META, {"fib": fib, "adj_size": 1})
    _, taken, given = run_stage(AdjacencyLookup(CoreConfig()), [frame] * 10)
    assert taken == [taken[0] + cycles * k for k in range(10)]
    assert given == [cycle + cycles for cycle in taken]


@pytest.mark.parametrize("ports, rows", [(1, 8), (2, 16), (3, 32), (4, 32), (8, 64)])
def test_rows_of_the_port_table(ports, rows):
    assert port_table_rows(CoreConfig(ports=ports)) == rows


@pytest.mark.parametrize("width, ports, routers", list(zip(WIDTHS, (1, 3, 4, 8), (1, 8, 100, 1024), strict=True)))
def test_elaborates(width, ports, routers):
    assert rtlil.convert(AdjacencyLookup(CoreConfig(data_width=width, ports=ports, routers=routers)))
