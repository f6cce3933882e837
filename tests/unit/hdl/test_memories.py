"""Memories whose ports never meet: simulation shows who relies on it, synthesis has nothing for it."""

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Elaboratable, Module, Signal, unsigned
from amaranth.lib import data, memory
from amaranth.sim import Simulator
from polyrouter.hdl.memories import IN_BLOCKS, NEVER_MEET, Synthesis, delivered, ram_style, whole_blocks

PAIR = data.StructLayout({"low": 3, "high": 5})


class OneMemory(Elaboratable):
    def __init__(self, shape, granularity=None):
        self.memory = memory.Memory(shape=shape, depth=8, init=[], attrs=NEVER_MEET)
        self.write = self.memory.write_port(granularity=granularity)
        self.read = self.memory.read_port()
        self.o = Signal(shape)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self.memory
        with m.If(1):       # as in the middle of a state
            m.d.comb += self.o.eq(delivered(m, platform, self.read, self.write))
        return m


@pytest.mark.parametrize(("shape", "granularity"), [(unsigned(8), None), (unsigned(8), 4), (PAIR, None)])
def test_wrong_only_when_both_are_at_one_row(shape, granularity):
    dut = OneMemory(shape, granularity)
    seen = []

    async def bench(ctx):
        def set_ports(write_en, write_addr, read_en, read_addr):
            ctx.set(dut.write.en, write_en)
            ctx.set(dut.write.addr, write_addr)
            ctx.set(dut.read.en, read_en)
            ctx.set(dut.read.addr, read_addr)

        async def step(*ports):
            set_ports(*ports)
            await ctx.tick()
            seen.append(ctx.get(dut.o.as_value() if isinstance(dut.o, data.View) else dut.o))

        enable = (1 << len(dut.write.en)) - 1
        value = 0b10100101
        ctx.set(dut.write.data, shape.from_bits(value) if isinstance(shape, data.Layout) else value)
        await step(enable, 3, 0, 3)     # written, not read
        await step(0, 0, 1, 3)          # read: right
        await step(enable, 5, 1, 3)     # another row is written: right
        await step(enable & -enable, 3, 1, 3)   # this one is, in part or whole: wrong
        await step(0, 3, 0, 3)          # and stays so
        await step(enable, 3, 1, 2)     # an empty row, while another one is written: right
        await step(0, 3, 1, 3)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert seen[1] == seen[2] == 0b10100101
    assert seen[3] == seen[4] == 0b01011010
    assert seen[5] == 0
    assert seen[6] == 0b10100101


def test_synthesis_has_the_memory_only():
    dut = OneMemory(unsigned(8))
    ports = [dut.o, dut.read.addr, dut.read.en, dut.write.addr, dut.write.en, dut.write.data]
    assert "cell $xor" in rtlil.convert(dut, ports=ports)
    dut = OneMemory(unsigned(8))
    ports = [dut.o, dut.read.addr, dut.read.en, dut.write.addr, dut.write.en, dut.write.data]
    text = rtlil.convert(dut, ports=ports, platform=Synthesis())
    assert "cell $xor" not in text
    assert 'attribute \\rw_addr_collision "no"' in text


@pytest.mark.parametrize("rows, depth", [
    (1, 1), (2, 2), (3, 4), (5, 5), (6, 8), (1024, 1024), (1025, 1025), (3071, 3071), (3072, 4096), (3168, 4096)])
def test_memory_is_a_third_deeper_at_most(rows, depth):
    assert whole_blocks(rows) == depth


def test_more_rows_than_look_up_tables_have_are_block_ram():
    assert (ram_style(16), ram_style(17)) == ({}, IN_BLOCKS)
