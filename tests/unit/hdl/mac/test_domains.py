"""Domains of lines: each has a reset of its own."""

from amaranth.hdl import ClockDomain, ClockSignal, Module, ResetSignal, Signal
from amaranth.sim import Simulator
from polyrouter.hdl.mac.domains import add_line_domain


def test_a_line_is_reset_two_cycles_after_the_one_before_it():
    m = Module()
    m.domains.sync = ClockDomain()
    reset = Signal()
    m.d.comb += ResetSignal("sync").eq(reset)
    clock = Signal()
    m.domains.line = ClockDomain(reset_less=True)
    m.d.comb += clock.eq(ClockSignal("line"))
    names = ["a", "b", "c"]
    counts = [Signal(8, name=f"count_{name}") for name in names]
    for name, before, count in zip(names, [None, *names], counts, strict=False):
        add_line_domain(m, name, clock, after=before)
        m.d[name] += count.eq(count + 1)

    async def bench(ctx):
        for _ in range(2):
            ctx.set(reset, 1)
            await ctx.tick("line").repeat(10)
            assert [ctx.get(count) for count in counts] == [0, 0, 0]
            ctx.set(reset, 0)
            await ctx.tick("line").repeat(20)
            first, second, third = (ctx.get(count) for count in counts)
            assert (first - second, second - third) == (2, 2) and third > 10

    simulator = Simulator(m)
    simulator.add_clock(19e-9, domain="sync")
    simulator.add_clock(8e-9, domain="line")
    simulator.add_testbench(bench)
    simulator.run()
