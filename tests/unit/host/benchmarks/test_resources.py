"""Counting the cells of a synthesized core."""

import pytest
from polyrouter.host.benchmarks import resources, tools
from polyrouter.host.benchmarks.resources import FAMILIES, Resources, memory_of, resources_of, run_resources_bench
from polyrouter.sim.dataplane.script import BenchError

ECP5, XC7 = FAMILIES


def netlist(**cells):
    return {"modules": {"top": {"cells": {name.replace("__", "."): {"type": kind} for name, kind in cells.items()}}}}


def test_ecp5():
    cells = netlist(a="LUT4", b="LUT4", c="CCU2C", d="TRELLIS_FF", e="PFUMX", f__memory__0__0="DP16KD",
                    f__memory__0__1="DP16KD", g__memory__0__0="PDPW16KD", h__memory__0__0="TRELLIS_DPR16X4",
                    i="MULT18X18D")
    found = resources_of(cells, ECP5)
    assert found == Resources(luts=10, registers=1, block_rams=3, dsps=1, memories={"f.memory": 2, "g.memory": 1},
                              small_memories={"h.memory": 6})


def test_xc7():
    found = resources_of(netlist(a="LUT6", b="LUT1", c="FDRE", d="FDSE", e="MUXF7", f="CARRY4", g__0="RAMB36E1",
                                 h__0="RAMB18E1", i__0="RAM32M", j="DSP48E1", k="DSP48E1"), XC7)
    assert found == Resources(6, 2, 3, 2, {"g": 2, "h": 1}, {"i": 4})


@pytest.mark.parametrize(("cell", "memory"), [
    ("fib.table.memory.0.3", "fib.table.memory"), ("counters.memory.2.0", "counters.memory"),
    ("ingress0.fifo.memory.0.0", "ingress0.fifo.memory"), ("odd", "odd"),
    ("ingress0.store.data$39.0.1", "ingress0.store.data"), ("free$175.returned.storage.0.0", "free.returned.storage"),
    ("vmac.slots.memory.0.10.genblk1.genblk1[0].genblk1.slice", "vmac.slots.memory")])
def test_a_block_ram_is_part_of_a_memory(cell, memory):
    assert memory_of(cell) == memory


def test_rows(monkeypatch):
    cores = []

    def synthesize(part, routers, family, *_):
        cores.append((part, routers, family.name))
        return Resources(100, 50, 7, 4, {"fib.memory": 6, "vmac.memory": 1},
                         {"context.rows": 340, "fifo.storage": 8, "other.storage": 4})

    monkeypatch.setattr(resources, "_synthesize", synthesize)
    result = run_resources_bench(vrs=[8])
    assert cores == [("core", 8, "ecp5"), ("core", 8, "xc7")]
    assert result["ecp5_8_routers_luts"] == 100
    assert result["xc7_8_routers_block_rams[fib.memory]"] == 6
    assert result["ecp5_8_routers_lut_ram[context.rows]"] == 340
    assert result["ecp5_8_routers_lut_ram[others]"] == 12
    assert "ecp5_8_routers_lut_ram[fifo.storage]" not in result
    assert (result["results"][0]["core"], result["results"][0]["figure"]) == ("ecp5, 8", "luts")
    assert {row["unit"] for row in result["results"]} == {"look-up tables", "flip-flops", "18 kbit"}
    assert "ok" not in result["results"][0]
    cores.clear()
    run_resources_bench()
    assert [routers for _, routers, _ in cores] == [8, 8, 64, 64, 256, 256]
    cores.clear()
    assert run_resources_bench(part=["egress"])["egress_ecp5_8_routers_luts"] == 100
    assert cores == [("egress", 8, "ecp5"), ("egress", 8, "xc7")]


def test_unknown_part():
    with pytest.raises(BenchError, match="there is no part 'nonsense'; there are: front, "):
        run_resources_bench(part=["nonsense"])


def test_without_yosys(monkeypatch):
    monkeypatch.setattr(tools.tools.shutil, "which", lambda *_, **__: None)
    with pytest.raises(BenchError, match="not installed"):
        run_resources_bench(vrs=[8])
