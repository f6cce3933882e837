"""Guard of a reset: at will before a core was used, for good after it."""

from random import Random

import pytest
from amaranth.hdl import ClockDomain, Module, ResetSignal, Signal
from amaranth.sim import Simulator
from polyrouter.boards.resetguard import ResetGuard


def simulate(steps):
    """Gives ``reset`` and ``stale`` after each step, of (reset, used, wait)."""
    m = Module()
    m.submodules.dut = dut = ResetGuard()
    m.domains.sync = ClockDomain()
    asserted = Signal()
    m.d.comb += ResetSignal("sync").eq(asserted)
    seen = []

    async def testbench(ctx):
        for reset, used, wait in steps:
            ctx.set(asserted, reset)
            ctx.set(dut.used, used)
            ctx.set(dut.wait, wait)
            await ctx.tick()
            seen.append((ctx.get(dut.reset), ctx.get(dut.stale)))

    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()
    return seen


@pytest.mark.parametrize("seed", range(8))
def test_follows_its_rules(seed):
    rng = Random(seed)
    steps, wait = [(1, 0, 1)], 1
    used_from = rng.randrange(20, 200)
    for cycle in range(300):
        reset = rng.random() < 0.05
        wait = 1 if reset else wait and rng.random() < 0.8
        steps.append((int(reset), int(cycle >= used_from and rng.random() < 0.1 and not reset), int(wait)))
    was_used = stale = False
    expected = []
    for reset, used, wait in steps:
        # Outputs belong to the inputs of this step, after its clock edge.
        stale |= bool(reset) and was_used
        was_used |= bool(used)
        expected.append((bool(reset) or bool(wait) or stale, stale))
    assert [(bool(reset), bool(stale)) for reset, stale in simulate(steps)] == expected
    assert stale
