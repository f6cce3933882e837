"""TXC by a clock 90 degrees behind: the same pattern as by the cell's own clock, a quarter of a cycle later."""

from random import Random

import pytest
from amaranth.hdl import ClockDomain, Module, Signal
from amaranth.sim import Simulator
from polyrouter.boards.rgmii.shifted_clock import ShiftedClockPair

PERIOD = 8e-9


@pytest.mark.parametrize("seed", range(3))
def test_a_quarter_of_a_cycle_later(seed):
    """Against a model of two DDR cells, with the level of either pin taken in each quarter of a cycle."""
    rng = Random(seed)
    m = Module()
    m.domains.inverse90 = ClockDomain(reset_less=True)
    m.submodules.dut = dut = ShiftedClockPair()
    # What a cell takes at its rising edge; it puts the first out at once, the second after half a cycle
    plain, shifted = Signal(2), Signal(2)
    m.d.tx += plain.eq(dut.i.as_value())
    m.d.inverse90 += shifted.eq(dut.o.as_value())
    pins: list[tuple[int, int]] = []

    async def drive(ctx):
        while True:
            await ctx.tick("tx")
            ctx.set(dut.i, [rng.randrange(2), rng.randrange(2)])

    async def watch(ctx):
        # tx rises at 0, 8, ... ns, the inverse of the clock 90 degrees behind at 6, 14, ... ns
        await ctx.delay(8 * PERIOD + 1e-9)
        for quarter in range(400):
            since_tx, since_inverse = quarter % 4, (quarter + 1) % 4
            pins.append((ctx.get(plain) >> since_tx // 2 & 1,
                         ctx.get(shifted) >> since_inverse // 2 & 1))
            await ctx.delay(PERIOD / 4)

    sim = Simulator(m)
    sim.add_clock(PERIOD, phase=PERIOD, domain="tx")
    sim.add_clock(PERIOD, phase=PERIOD * 0.75, domain="inverse90")
    sim.add_process(drive)
    sim.add_testbench(watch)
    sim.run_until(8 * PERIOD + 101 * PERIOD)
    assert len(pins) == 400
    assert [late for _, late in pins[1:]] == [early for early, _ in pins[:-1]]
    assert len({early for early, _ in pins}) == 2
