"""A simulated FIB engine between source and sink, with its table filled and changed by the control engine's side."""

import random

from amaranth.sim import Simulator
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.fib import FibLookup
from polyrouter.hdl.fib_ring import OUTCOME, REQUEST
from polyrouter.hdl.layouts import pack
from polyrouter.hdl.records import FibOutcome

from .fib_reference import FAULT, MISS

WORDS = 150     # not a power of two


def request(address=0, *, base=0, size=WORDS, root=0, ipv6=False, source=None, walk=True):
    """A REQUEST as bits; with ``source``, for a multicast group. IPv4 addresses have 32 bits."""
    shift = 0 if ipv6 else 96
    return pack(REQUEST, {"walk": walk, "ipv6": ipv6, "multicast": source is not None, "address": address << shift,
                          "source": (source or 0) << shift, "base": base, "size": size, "root": root})


def outcome(found):
    """The OUTCOME for what the reference found, as bits."""
    fib = {MISS: FibOutcome.MISS, FAULT: FibOutcome.FAULT}.get(found, FibOutcome.HIT)
    return pack(OUTCOME, {"fib": fib, "result": found if fib == FibOutcome.HIT else 0})


class Bench:
    """A FibLookup with a source, a sink and the control engine's side of the table.

    ``i_duty`` and ``o_duty`` are the parts of the cycles in which the source has a request and the sink takes one.
    """

    def __init__(self, pool, requests, *, i_duty=1.0, o_duty=1.0, seed=1, rings=2, slices=1):
        self.dut = FibLookup(CoreConfig(fib_words=len(pool), fib_rings=rings, slices=slices))
        self.pool = pool
        self.requests = requests
        self.out = []
        self.taken = 0
        self.version = 0        # free for processes that change the pool; its values when
        self.entered = []       # each request was taken in
        self.left = []          # and when its outcome came out
        self.loaded = False
        self.cycles = 0
        self._i_duty, self._o_duty = i_duty, o_duty
        self._rng = random.Random(seed)

    async def write(self, ctx, row, word):
        table = self.dut.table
        ctx.set(table.stb, 1)
        ctx.set(table.write, 1)
        ctx.set(table.addr, row)
        ctx.set(table.w_data, word)
        while not (await ctx.tick().sample(table.ack))[2]:
            pass
        ctx.set(table.stb, 0)

    async def load(self, ctx):
        for row, word in enumerate(self.pool):
            if word:
                await self.write(ctx, row, word)
        self.loaded = True

    async def source(self, ctx):
        i, rng = self.dut.i, self._rng
        while not self.loaded:
            await ctx.tick()
        for bits in self.requests:
            while rng.random() >= self._i_duty:
                await ctx.tick()
            ctx.set(i.payload.as_value(), bits)
            ctx.set(i.valid, 1)
            while not (await ctx.tick().sample(i.ready))[2]:
                pass
            ctx.set(i.valid, 0)
            self.taken += 1
            self.entered.append(self.version)

    async def sink(self, ctx):
        o, rng = self.dut.o, self._rng
        offered = None
        while len(self.out) < len(self.requests):
            ctx.set(o.ready, rng.random() < self._o_duty)
            _, _, valid, ready, bits = await ctx.tick().sample(o.valid, o.ready, o.payload.as_value())
            assert offered is None or (valid and bits == offered), "an outcome changed before it was taken"
            offered = bits if valid and not ready else None
            if valid and ready:
                self.out.append(bits)
                self.left.append(self.version)
            if self.taken:
                self.cycles += 1

    def run(self, *processes):
        sim = Simulator(self.dut)
        sim.add_clock(8e-9)
        for process in (self.load, self.source, self.sink, *processes):
            sim.add_testbench(process)
        sim.run()
        return self.out
