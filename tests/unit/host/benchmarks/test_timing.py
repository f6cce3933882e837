"""Placing parts of the core, without the tools that do it."""

import json

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from polyrouter.hdl.config import CoreConfig
from polyrouter.host.benchmarks import timing
from polyrouter.host.benchmarks.isolated import Isolated
from polyrouter.host.benchmarks.parts import CORE, PARTS
from polyrouter.host.benchmarks.timing import critical_path, run_timing_bench, slowest_ends
from polyrouter.host.benchmarks.tools import find_tool, run_tool
from polyrouter.sim.dataplane.script import BenchError


class Inverter(wiring.Component):
    a: In(3)
    b: In(4).array(2)
    c: Out(11)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.c.eq(~(self.a | self.b[0] << 3 | self.b[1] << 7))
        return m


def test_each_bit_of_a_part_shows():
    """A one that is shifted through all inputs changes the parity of all outputs once for each input."""
    dut = Isolated(Inverter())
    seen = []

    async def testbench(ctx):
        for cycle in range(40):
            ctx.set(dut.i, cycle == 10)
            for level in (1, 0):
                ctx.set(dut.clk, level)
                await ctx.delay(1e-9)
            seen.append(ctx.get(dut.o))

    simulator = Simulator(dut)
    simulator.add_testbench(testbench)
    simulator.run()
    usual = 11 % 2
    assert seen[8:].count(1 - usual) == 11      # eleven inputs, one after the other
    assert seen[-1] == usual


def segment(kind, delay, start=("a", "Q"), end=("b", "D"), net="n"):
    ends = {"from": {"cell": start[0], "port": start[1]}, "to": {"cell": end[0], "port": end[1]}}
    return {"type": kind, "delay": delay, **ends, **({"net": net} if kind == "routing" else {})}


PATH = [segment("clk-to-q", 0.5), segment("routing", 1.0, net="n1"), segment("logic", 0.25),
        segment("routing", 2.0, ("x", "Z"), net="n2"), segment("routing", 0.25, ("y", "Z"), ("last", "DI"), net="n2"),
        segment("setup", 0.0, ("y", "Z"), ("last", "DI"))]
REPORT = {
    "fmax": {"clk": {"achieved": 150.04, "constraint": 125.0}, "slow": {"achieved": 100.0, "constraint": 125.0}},
    "critical_paths": [
        {"from": "<async>", "to": "posedge slow", "path": PATH[:2]},
        {"from": "posedge clk", "to": "posedge clk", "path": PATH[:3]},
        {"from": "posedge slow", "to": "posedge slow", "path": PATH}],
    "detailed_net_timings": [
        {"event": "posedge clk", "endpoints": [
            {"cell": "part.fib.ring0.word_TRELLIS_FF_Q", "port": "DI", "event": "posedge clk", "delay": [1.0, 4.0]},
            {"cell": "part.fib.pool.memory.0.0", "port": "ADA3", "event": "posedge clk", "delay": [5.0, 2.0]},
            {"cell": "part.buffer.cells.0.0", "port": "WEA", "event": "posedge clk", "delay": [1.0, 8.0]},
            {"cell": "row_0_TRELLIS_FF_Q", "port": "DI", "event": "posedge clk", "delay": [9.0, 9.0]},
            {"cell": "part.fib.pool.memory.0.1", "port": "ADA3", "event": "<async>", "delay": [7.0, 7.0]}]},
        {"event": "<async>", "endpoints": [
            {"cell": "part.fib.pool.memory.0.2", "port": "ADA3", "event": "posedge clk", "delay": [7.0, 7.0]}]}],
}


def test_critical_path():
    found = critical_path(REPORT)
    assert (found.mhz, found.start, found.end) == (100.0, "a.Q", "last.DI")
    assert found.nets == ("n1", "n2")
    assert (found.logic_ns, found.wires_ns) == (0.75, 3.25)


def test_slowest_ends():
    assert slowest_ends(REPORT) == {"buffer": ("part.buffer.cells.0.0.WEA", 8.0),
                                    "fib": ("part.fib.pool.memory.0.0.ADA3", 5.0)}
    assert list(slowest_ends(REPORT)) == ["buffer", "fib"]


def test_a_report_without_a_clock_is_an_error():
    with pytest.raises(BenchError, match="no clock"):
        critical_path({"fmax": {}, "critical_paths": []})


@pytest.mark.parametrize("name", [
    # The whole core is elaborated by other tests, too.
    pytest.param(name, marks=pytest.mark.slow) if name == CORE else name for name in PARTS])
def test_parts_elaborate(name):
    top = Isolated(PARTS[name](CoreConfig(routers=2, fib_words=64)))
    assert rtlil.convert(top, ports=top.ports)


@pytest.fixture
def placed(monkeypatch):
    calls = []

    def place(title, part, device, speed, seed, *_):
        calls.append((title, device, speed, seed))
        return REPORT

    monkeypatch.setattr(timing, "_place", place)
    return calls


def test_rows(placed):
    result = run_timing_bench(part=["fib"])
    (row,) = result["results"]
    assert (row["name"], row["value"], row["unit"], row["bar"], row["ok"]) == ("fib", 100.0, "MHz", 125, False)
    assert (row["from"], row["to"], row["through"]) == ("a.Q", "last.DI", ["n1", "n2"])
    assert result["fib"] == 100.0
    row, *stages = run_timing_bench(part=[CORE], vrs=[64], speed=6, seed=3)["results"]
    assert [(stage["name"], stage["value"]) for stage in stages] == [
        ("core_64_routers[buffer]", 125.0), ("core_64_routers[fib]", 200.0)]
    assert (row["name"], row["bar"], row["ok"]) == ("core_64_routers", None, True)
    assert placed == [("fib", "45", 8, 1), ("core_64_routers", "85", 6, 3)]


def test_everything_or_all_but_the_whole_core(placed):
    run_timing_bench(quick=True)
    assert [title for title, *_ in placed] == [name for name in PARTS if name != CORE]
    placed.clear()
    run_timing_bench()
    assert [title for title, *_ in placed][-2:] == ["core_8_routers", "core_32_routers"]


def test_a_part_that_is_not_there():
    with pytest.raises(BenchError, match="no part 'wheel'; there are: front, "):
        run_timing_bench(part=["fib", "wheel"])


def test_a_tool_that_is_not_there():
    with pytest.raises(BenchError, match=r"polyrouter-nothing is not installed: pip install polyrouter$"):
        find_tool("polyrouter-nothing")


def test_a_tool_that_fails(tmp_path):
    lines = []
    run_tool("this", ["sh", "-c", "pwd; echo two >&2"], tmp_path, lines.append)
    assert lines == [f"{tmp_path}\n", "two\n"]
    with pytest.raises(BenchError, match=r"^that failed:\n6\n(.*\n)*25$") as failure:
        run_tool("that", ["sh", "-c", "seq 25; false"], tmp_path, lines.append)
    assert len(str(failure.value).splitlines()) == 21


def test_what_the_tools_are_told(monkeypatch, tmp_path):
    commands = []

    def run(_, command, directory, line):
        commands.append(command)
        line("3.2. Executing TECHMAP pass (map).\n")
        line("Info: Placed 3 cells\n")
        (directory / "report.json").write_text(json.dumps(REPORT))

    monkeypatch.setattr(timing, "find_tool", lambda program: program)
    monkeypatch.setattr(timing, "run_tool", run)
    steps = []
    run_timing_bench(part=["flowhash"], keep=str(tmp_path), progress=steps.append)
    run_timing_bench(part=["flowhash"], speed=6, seed=5)
    assert steps == ["flowhash: generating RTLIL", "flowhash: TECHMAP", "flowhash: Placed 3 cells"]
    assert (tmp_path / "flowhash" / "part.il").exists()
    fast, slow = commands[1], commands[3]
    assert "--um5g-45k" in fast and fast[fast.index("--freq") + 1] == "125"
    assert "--um-45k" in slow and slow[slow.index("--speed") + 1] == "6" and slow[slow.index("--seed") + 1] == "5"
