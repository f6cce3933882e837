"""What tests of MDIO share: a bus model beside a design in the amaranth simulator."""

from amaranth.sim import Simulator

__all__ = ["simulate", "wire"]


def wire(bus, model, clock_hz, reset=None):
    """Testbench that lets ``model`` watch the pads of ``bus``, and the reset pin, and answer."""
    async def testbench(ctx):
        cycle = 0
        while True:
            await ctx.tick()
            cycle += 1
            now = start = cycle / clock_hz * 1e9
            if reset is not None:
                model.set_reset(now, bool(ctx.get(reset)))
            pins = [ctx.get(pin) for pin in (bus.mdc, bus.o, bus.oe)]
            ctx.set(bus.i, model.step(now, *pins))
            # The PHYs' bits come when they come, not with the clock.
            while model.next_change() is not None and (due := model.next_change()) < start + 1e9 / clock_hz:
                await ctx.delay((due - now) * 1e-9)
                now = due
                ctx.set(bus.i, model.step(now, *pins))
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
