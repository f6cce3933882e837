"""What tests of MDIO share: a bus model beside a design in the amaranth simulator."""

from amaranth.hdl import Const, Module, Signal
from amaranth.sim import Simulator

__all__ = ["simulate"]


def _watch(bus, model, reset, cycle, period):
    """Testbench that lets ``model`` see what the pads of ``bus`` and the reset pin do, when they do, and answer."""
    pins = (bus.mdc, bus.o, bus.oe)

    async def testbench(ctx):
        now = 0.0
        while True:
            model.set_reset(now, bool(ctx.get(reset)))
            ctx.set(bus.i, model.step(now, *(ctx.get(pin) for pin in pins)))
            due = model.next_change()
            change = ctx.changed(*pins, reset)
            if due is None:
                await change
                now = ctx.get(cycle) * period * 1e9
            else:
                # The PHYs' bits come when they come, not with the clock.
                *_, waited = await change.delay((due - now) * 1e-9)
                now = due if waited else ctx.get(cycle) * period * 1e9
    return testbench


def simulate(dut, clock_hz, testbenches, background=(), *, bus, model, reset=None, limit=200_000):
    """Run until all ``testbenches`` have ended; more than ``limit`` cycles are a failure.

    ``model`` is at the pads of ``bus``, and at the reset pin, if there is one.
    """
    async def watchdog(ctx):
        await ctx.delay(limit / clock_hz)
        raise AssertionError(f"not finished after {limit} cycles")

    m = Module()
    m.submodules.dut = dut
    cycle = Signal(48)
    m.d.sync += cycle.eq(cycle + 1)
    if reset is None:
        reset = Signal()
        m.d.comb += reset.eq(Const(0))
    sim = Simulator(m)
    sim.add_clock(1 / clock_hz)
    for testbench in testbenches:
        sim.add_testbench(testbench)
    for testbench in (*background, _watch(bus, model, reset, cycle, 1 / clock_hz), watchdog):
        sim.add_testbench(testbench, background=True)
    sim.run()
