"""What a live board puts around its core."""

from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator
from polyrouter.hdl.config import CoreConfig
from polyrouter.sim.verilated.top import StreamTop

from ..live.crossbar import Crossbar


def test_nothing_that_was_taken_is_lost_to_the_core_s_reset():
    config = CoreConfig(ports=2, routers=1)
    top = StreamTop(Crossbar(config), config)
    m = Module()
    m.domains.sync = sync = ClockDomain("sync")
    m.submodules.top = top
    taken: list[int] = []
    left: list[int] = []

    async def sender(ctx):
        # A reset of some cycles at first, and another one while beats flow: what is under way then is lost.
        stream, number = top.rx[0], 0
        ctx.set(stream.valid, 1)
        for cycle in range(60):
            ctx.set(sync.rst, cycle < 4 or 20 <= cycle < 24)
            ctx.set(stream.payload.data, number)
            ready = ctx.get(stream.ready)
            if ready:
                taken.append(number)
            await ctx.tick()
            if cycle == 23:
                taken.clear()
                left.clear()
            number += ready

    async def receiver(ctx):
        async for *_, valid, payload in ctx.tick().sample(top.tx[1].valid, top.tx[1].payload):
            if valid:
                left.append(payload.data)

    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(sender)
    sim.add_testbench(receiver, background=True)
    sim.run()
    assert taken and left == taken[:len(left)] and len(taken) - len(left) <= 3, (taken, left)
