"""Free pins carry the same as an RGMII's cells, a cycle late."""

from amaranth.hdl import Module
from amaranth.lib import io
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st
from polyrouter.boards.freepins import FREE_PINS, FreeRgmiiPins


class Pins:
    """What a platform's resource has, for simulation."""

    def __init__(self):
        for name, width, direction in FREE_PINS:
            setattr(self, name, io.SimulationPort(direction, width))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1023), st.integers(0, 4095)), min_size=1, max_size=10))
def test_a_cycle_late(values):
    pins = Pins()
    dut = FreeRgmiiPins(pins)
    m = Module()
    m.submodules.dut = dut
    seen = []

    async def bench(ctx):
        for rx, tx in values:
            ctx.set(pins.rx.i, rx)
            ctx.set(dut.ddr.txd.as_value(), tx & 0xFF)
            ctx.set(dut.ddr.tx_ctl.as_value(), tx >> 8 & 3)
            ctx.set(dut.ddr.txc.as_value(), tx >> 10)
            await ctx.tick("rx")
            received = ctx.get(dut.ddr.rxd.as_value()) | ctx.get(dut.ddr.rx_ctl.as_value()) << 8
            seen.append((received, ctx.get(pins.tx.o)))

    simulator = Simulator(m)
    simulator.add_clock(8e-9, domain="rx")
    simulator.add_clock(8e-9, domain="tx")
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == values
