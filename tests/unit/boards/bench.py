"""What tests of MDIO share: a bus model beside a design in the amaranth simulator."""

from amaranth.sim import Simulator

__all__ = ["simulate", "wire"]


def wire(bus, model, clock_hz, reset=None):
    """Testbench that lets ``model`` watch the pads of ``bus``, and the reset pin, and answer."""
    async def testbench(ctx):
        cycle = 0
        pins = [bus.mdc, bus.o, bus.oe] + ([] if reset is None else [reset])
        async for _, _, mdc, o, oe, *in_reset in ctx.tick().sample(*pins):
            cycle += 1
            now = cycle / clock_hz * 1e9
            if in_reset:
                model.set_reset(now, bool(in_reset[0]))
            ctx.set(bus.i, model.step(now, mdc, o, oe))
    return testbench


def simulate(dut, clock_hz, testbenches, background=(), limit=200_000):
    """Run until all ``testbenches`` have ended; more than ``limit`` cycles are a failure."""
    async def watchdog(ctx):
        await ctx.delay(limit / clock_hz)
        raise AssertionError(f"not finished after {limit} cycles")

    sim = Simulator(dut)
    sim.add_clock(1 / clock_hz)
    for testbench in testbenches:
        sim.add_testbench(testbench)
    for testbench in (*background, watchdog):
        sim.add_testbench(testbench, background=True)
    sim.run()
