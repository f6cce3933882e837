"""Drivers and monitors of streams for the amaranth simulator."""

import random

from amaranth.hdl import Module, Signal, Value
from amaranth.sim import Simulator
from polyrouter.hdl.layouts import pack, unpack

WIDTHS = (32, 64, 128, 256)
PERIOD = 1e-6


def simulate(dut, testbenches, background=(), limit=100_000):
    """Run until all ``testbenches`` have ended; more than ``limit`` cycles are a failure."""
    async def watchdog(ctx):
        await ctx.delay(limit * PERIOD)
        raise AssertionError(f"not finished after {limit} cycles")

    # Testbenches need a clock, and a component of plain logic has none.
    top = Module()
    top.submodules.dut = dut
    toggle = Signal()
    top.d.sync += toggle.eq(~toggle)
    sim = Simulator(top)
    sim.add_clock(PERIOD)
    for testbench in testbenches:
        sim.add_testbench(testbench)
    for testbench in (*background, watchdog):
        sim.add_testbench(testbench, background=True)
    sim.run()


def source(stream, items, *, rng=None, rate=1.0, times=None):
    """Testbench that offers ``items`` (integers); ``times`` gets the cycle number of each transfer."""
    async def testbench(ctx):
        cycle = 0
        payload = Value.cast(stream.payload)
        for item in items:
            while rng is not None and rng.random() >= rate:
                ctx.set(stream.valid, 0)
                await ctx.tick()
                cycle += 1
            ctx.set(stream.valid, 1)
            ctx.set(payload, item)
            ready = 0
            while not ready:
                *_, ready = await ctx.tick().sample(stream.ready)
                cycle += 1
            if times is not None:
                times.append(cycle)
        ctx.set(stream.valid, 0)
    return testbench


def sink(stream, items, *, rng=None, rate=1.0, times=None, count=None):
    """Testbench that appends what it takes to ``items``, for ever or until it has ``count``.

    It checks the rules of streams: what is offered stays offered, unchanged, until it is taken.
    """
    async def testbench(ctx):
        cycle = 0
        offered = None
        payload = Value.cast(stream.payload)
        while count is None or len(items) < count:
            ready = rng is None or rng.random() < rate
            ctx.set(stream.ready, ready)
            *_, valid, value = await ctx.tick().sample(stream.valid, payload)
            cycle += 1
            if offered is not None:
                assert valid, "valid fell before the transfer"
                assert value == offered, "payload changed before the transfer"
            offered = value if valid and not ready else None
            if valid and ready:
                items.append(value)
                if times is not None:
                    times.append(cycle)
        ctx.set(stream.ready, 0)
    return testbench


def until(condition, limit=20_000):
    """Testbench that ends when ``condition()`` holds, and some cycles later."""
    async def testbench(ctx):
        for _ in range(limit):
            if condition():
                break
            await ctx.tick()
        assert condition()
        await ctx.tick().repeat(30)
    return testbench


def chunks(frame, width):
    step = width // 8
    return [frame[k:k + step] for k in range(0, len(frame), step)]


def frame_beats(layout, frame, width, error=0):
    """Beats at a port (``frame_layout``)."""
    parts = chunks(frame, width)
    return [pack(layout, {
        "data": int.from_bytes(part, "little"),
        "empty": width // 8 - len(part),
        "last": last,
        "error": error if last else 0,
    }) for k, part in enumerate(parts) for last in [k == len(parts) - 1]]


def packet_beats(layout, frame, width):
    """Beats inside the core (``packet_layout``)."""
    parts = chunks(frame, width)
    return [pack(layout, {
        "data": int.from_bytes(part, "little"), "last": k == len(parts) - 1, "length": len(frame),
    }) for k, part in enumerate(parts)]


def packets(layout, beats, width):
    """Frames out of beats that have ``data``, ``last`` and ``length``: a list of (bytes, first beat's other fields)."""
    frames, current, first = [], b"", None
    for beat in beats:
        fields = unpack(layout, beat)
        current += fields.pop("data").to_bytes(width // 8, "little")
        last = fields.pop("last")
        first = first or fields
        assert fields == first, "a side field changed within a frame"
        if last:
            assert 0 <= len(current) - fields["length"] < width // 8, "length does not fit the number of beats"
            frames.append((current[:fields["length"]], first))
            current, first = b"", None
    assert not current, "frame without a last beat"
    return frames


async def access(ctx, table, addr, data=None):
    """Read a row through a control port, or write it if there is ``data``; returns what was read."""
    ctx.set(table.stb, 1)
    ctx.set(table.write, data is not None)
    ctx.set(table.addr, addr)
    ctx.set(table.w_data, data or 0)
    ack = 0
    while not ack:
        *_, ack, row = await ctx.tick().sample(table.ack, table.r_data)
    ctx.set(table.stb, 0)
    return row


def run_stage(dut, items, *, tables=(), rates=(1.0, 1.0), seed=0):
    """Send ``items`` through a stage that makes one output of each.

    ``tables`` are pairs of a control port and its rows, written before. Returns the outputs and the cycles of inputs
    and outputs.
    """
    rng = random.Random(seed)
    out, given, taken = [], [], []

    async def main(ctx):
        await ctx.tick()
        for table, rows in tables:
            for addr, row in rows.items():
                await access(ctx, table, addr, row)
                assert await access(ctx, table, addr) == row
        await source(dut.i, items, rng=rng, rate=rates[0], times=taken)(ctx)

    async def monitor(ctx):
        await ctx.changed(dut.i.valid)      # count cycles from the first item, as ``source`` does
        await sink(dut.o, out, rng=rng, rate=rates[1], times=given)(ctx)

    simulate(dut, [main, until(lambda: len(out) == len(items))], [monitor])
    return out, taken, given


def pieces_of(signature, row):
    """The pieces that a row is delivered in, for a :class:`.PieceSignature`."""
    return [row >> number * signature.bits & (1 << signature.bits) - 1 for number in range(signature.words)]
