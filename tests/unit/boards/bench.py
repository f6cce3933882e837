"""What tests of MDIO share: a bus model beside a design in the amaranth simulator."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.sim import Simulator

__all__ = ["simulate"]


def _watch(bus, pins, model, cycle, period):
    """Testbench that lets ``model`` see what MDC, MDIO and the reset pin do, when they do, and answer.

    ``pins`` has all of them. Were they several signals, the simulator would keep a waker at each that did not change,
    for every change of another.
    """
    async def testbench(ctx):
        now = 0.0
        while True:
            level = ctx.get(pins)
            model.set_reset(now, bool(level >> 3))
            ctx.set(bus.i, model.step(now, level & 1, level >> 1 & 1, level >> 2 & 1))
            due = model.next_change()
            change = ctx.changed(pins)
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
    pins = Signal(4)
    m.d.comb += pins.eq(Cat(bus.mdc, bus.o, bus.oe, Const(0, 1) if reset is None else reset))
    sim = Simulator(m)
    sim.add_clock(1 / clock_hz)
    for testbench in testbenches:
        sim.add_testbench(testbench)
    for testbench in (*background, _watch(bus, pins, model, cycle, 1 / clock_hz), watchdog):
        sim.add_testbench(testbench, background=True)
    sim.run()
