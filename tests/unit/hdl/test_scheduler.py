"""The scheduler against a model of strict priority, deficit round robin and shapers, frame by frame."""

import random
from collections import defaultdict, deque

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import SHAPER_ROW, Reason, pack
from polyrouter.hdl.mac.gmii import LINE_OVERHEAD
from polyrouter.hdl.queues import least_quantum
from polyrouter.hdl.scheduler import Scheduler
from polyrouter.hdl.shapers import shaper_cycles

from .bench import access, simulate


def reference(frames, quanta):
    """Order of service of ``frames`` (router, class, length, number), all of them waiting."""
    order = []
    for class_ in (1, 0):
        queues, active, deficit = defaultdict(deque), deque(), defaultdict(int)
        for router, c, length, number in frames:
            if c == class_:
                if router not in queues:
                    active.append(router)
                queues[router].append((length + LINE_OVERHEAD, number))
        while active:
            router = active.popleft()
            deficit[router] += quanta[router]
            queue = queues[router]
            while queue and queue[0][0] <= deficit[router]:
                charge, number = queue.popleft()
                deficit[router] -= charge
                order.append(number)
                # Others do not wait longer than for the part of a turn that is more than a quantum.
                if active and deficit[router] <= quanta[router]:
                    break
            if queue:
                active.append(router)
    return order


def copy_fields(config, number, router, port, class_, length, **fields):
    return {
        "row": router * config.all_ports + port, "port": port, "traffic_class": class_, "reason": Reason.FORWARDED,
        "descriptor": {"router": router, "length": length, "tci": number, "cell": number % config.cells},
    } | fields


async def offer(ctx, dut, source, fields):
    """Whether the copy was accepted."""
    stream = dut.copy[source]
    ctx.set(stream.payload, fields)
    ctx.set(stream.valid, 1)
    while not (await ctx.tick().sample(stream.ready))[2]:
        pass
    ctx.set(stream.valid, 0)
    while True:
        *_, done, refused = await ctx.tick().sample(dut.done, dut.refused)
        if done >> source & 1:
            return not refused


@pytest.mark.parametrize("seed", range(4))
def test_order_of_service_is_that_of_the_reference(seed):
    rng = random.Random(seed)
    config = CoreConfig(ports=1, routers=5, queue_frames=64)
    dut = Scheduler(config)
    # Some quanta are a whole number of some frames.
    quanta = [rng.choice([0, 3000, 3000, 9000, 65535]) for _ in range(6)]
    frames = [(rng.randrange(6), rng.getrandbits(1), rng.choice([14, 496, 1496, 1496, rng.randrange(60, 1515)]), number)
              for number in range(150)]
    out = []

    async def main(ctx):
        ctx.set(dut.event_room, 1)
        ctx.set(dut.want, -1)
        for router in range(5):
            await access(ctx, dut.table, router * config.all_ports, pack(SHAPER_ROW, {"quantum": quanta[router]}))
        quanta[5] = 0
        # What is handed out while others wait is only one frame, of a queue of its own.
        assert await offer(ctx, dut, 0, copy_fields(config, 200, 0, 0, 0, 60))
        assert ctx.get(dut.o[0].valid)
        for router, class_, length, number in frames:
            assert await offer(ctx, dut, number % 2, copy_fields(config, number, router, 0, class_, length))
        while len(out) < len(frames) + 1:
            ctx.set(dut.o[0].ready, 1)
            *_, valid, p = await ctx.tick().sample(dut.o[0].valid, dut.o[0].payload)
            if valid:
                out.append(p.tci)
        await ctx.tick().repeat(10)
        assert ctx.get(dut.idle) and not ctx.get(dut.o[0].valid)

    simulate(dut, [main])
    assert out == [200, *reference(frames, [max(q, least_quantum(config)) for q in quanta])]


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_and_buckets_are_kept(seed):
    """Random routers, ports, shapers, writes of shapers; order within queues, depth, counts and tokens are followed."""
    rng = random.Random(seed)
    config = CoreConfig(ports=2, routers=3, queue_frames=8, buffer_bytes=4096)
    dut = Scheduler(config)
    waiting = defaultdict(deque)
    counts = defaultdict(lambda: [0, 0])
    total = 400
    finished = []
    served = []

    async def copies(ctx):
        ctx.set(dut.event_room, 1)
        ctx.set(dut.want, -1)
        for number in range(total):
            router, port, class_ = rng.randrange(4), rng.randrange(3), rng.getrandbits(1)
            full = len(waiting[router, port, 0]) + len(waiting[router, port, 1])
            key = (router, port, class_)
            refused = rng.random() < 0.05
            waiting[key].append(number)
            if await offer(ctx, dut, rng.getrandbits(1),
                           copy_fields(config, number, *key, rng.randrange(14, 300), refused=refused)):
                counts[router, port][0] += 1
                assert not refused
            else:
                counts[router, port][1] += 1
                waiting[key].remove(number)
                assert refused or full >= config.queue_frames
            if rng.random() < 0.3:
                await ctx.tick().repeat(rng.randrange(1, 30))
        finished.append(1)
        for row in range(9):
            await access(ctx, dut.table, row, 0)
        while any(waiting.values()):
            await ctx.tick()
        await ctx.tick().repeat(10)
        assert ctx.get(dut.idle)
        for (router, port), (accepted, dropped) in counts.items():
            ctx.set(dut.probe.row, router * config.all_ports + port)
            ctx.set(dut.probe.stb, 1)
            while True:
                *_, ack, depth, high, got = await ctx.tick().sample(
                    dut.probe.ack, dut.probe.depth, dut.probe.high_water, dut.probe.counts)
                if ack:
                    break
            ctx.set(dut.probe.stb, 0)
            assert (depth, got.enqueued, got.dropped) == (0, accepted, dropped)
            assert (accepted > 0) <= high <= config.queue_frames

    async def shapers(ctx):
        while not finished:
            await access(ctx, dut.table, rng.randrange(9), pack(SHAPER_ROW, {
                "limit": rng.random() < 0.7, "rate": rng.choice([100, 300, 1000]) << 16,
                "quantum": rng.choice([0, 5000]), "burst": rng.choice([400, 2000])}))
            await ctx.tick().repeat(rng.randrange(1, 300))

    def port_reader(port):
        async def reader(ctx):
            while True:
                ctx.set(dut.o[port].ready, rng.random() < 0.4)
                *_, valid, ready, p = await ctx.tick().sample(dut.o[port].valid, dut.o[port].ready, dut.o[port].payload)
                if valid and ready:
                    keys = [key for key, queue in waiting.items() if queue and queue[0] == p.tci]
                    assert keys and keys[0][:2] == (p.router, port), "not the first one of its queue"
                    waiting[keys[0]].popleft()
                    served.append(p.tci)
        return reader

    simulate(dut, [copies], [shapers, *map(port_reader, range(3))])
    assert len(served) == sum(accepted for accepted, _ in counts.values()) > total // 2


def test_hold_stops_handing_out():
    config = CoreConfig(ports=1, routers=2)
    dut = Scheduler(config)

    async def main(ctx):
        ctx.set(dut.event_room, 1)
        ctx.set(dut.want, -1)
        ctx.set(dut.hold, 1)
        for number in range(3):
            assert await offer(ctx, dut, 0, copy_fields(config, number, 1, 0, 0, 60))
        await ctx.tick().repeat(50)
        assert not ctx.get(dut.o[0].valid)
        ctx.set(dut.hold, 0)
        await ctx.tick().repeat(10)
        assert ctx.get(dut.o[0].valid)

    simulate(dut, [main])


def test_no_frame_is_chosen_before_it_is_wanted():
    config = CoreConfig(ports=1, routers=2)
    dut = Scheduler(config)

    async def main(ctx):
        ctx.set(dut.event_room, 1)
        for number, class_ in enumerate((0, 0, 1)):
            assert await offer(ctx, dut, 0, copy_fields(config, number, 1, 0, class_, 60))
        await ctx.tick().repeat(50)
        assert not ctx.get(dut.o[0].valid)
        ctx.set(dut.want, -1)
        await ctx.tick().repeat(10)
        # So the one that came last, of the better class, is the first.
        assert ctx.get(dut.o[0].valid) and ctx.get(dut.o[0].payload.tci) == 2

    simulate(dut, [main])


async def serve(ctx, dut, line):
    """Take the next frame of port 0, if there is one before long; router and charge, or None."""
    ctx.set(dut.want, 1)
    ctx.set(dut.o[0].ready, 1)
    for _ in range(30):
        *_, valid, p = await ctx.tick().sample(dut.o[0].valid, dut.o[0].payload)
        if valid:
            ctx.set(dut.want, 0)
            ctx.set(dut.o[0].ready, 0)
            line.append((p.router, p.length + LINE_OVERHEAD))
            return p
    return None


@pytest.mark.parametrize("length", [60, 1514])
def test_a_router_that_begins_is_before_another_that_had_the_port_to_itself(length):
    config = CoreConfig(ports=1, routers=2, queue_frames=128)
    dut = Scheduler(config)
    line = []

    async def main(ctx):
        ctx.set(dut.event_room, 1)
        for number in range(100):
            assert await offer(ctx, dut, 0, copy_fields(config, number, 0, 0, 0, length))
        for number in range(80):
            await serve(ctx, dut, line)
            # It has its share of what was sent since it came last.
            if number % 25 == 3:
                assert await offer(ctx, dut, 0, copy_fields(config, 100 + number, 1, 0, 0, length))
                assert (await serve(ctx, dut, line)).router == 1

    simulate(dut, [main])
    assert sum(router for router, _ in line) == 4


@pytest.mark.parametrize("length", [60, 700, 1514])
def test_a_router_that_begins_again_and_again_gets_no_more_than_its_share(length):
    """Router 1 has its next frame there when the one before was sent, so that it is new in the round each time."""
    config = CoreConfig(ports=1, routers=2, queue_frames=64)
    dut = Scheduler(config)
    line = []

    async def main(ctx):
        ctx.set(dut.event_room, 1)
        ctx.set(dut.want, 0)
        waiting = [0, 0]
        for number in range(600):
            while waiting[0] < 40:
                assert await offer(ctx, dut, 0, copy_fields(config, number, 0, 0, 0, length))
                waiting[0] += 1
            while waiting[1] < 1:
                assert await offer(ctx, dut, 0, copy_fields(config, number, 1, 0, 0, 1514))
                waiting[1] += 1
            waiting[(await serve(ctx, dut, line)).router] -= 1

    simulate(dut, [main])
    share = [sum(charge for router, charge in line if router == which) for which in range(2)]
    # Within two turns of either; and the line is never idle, as every frame was there when it was asked for.
    assert abs(share[0] - share[1]) <= 2 * least_quantum(config), share


@pytest.mark.parametrize("rate", [1, 1 << 16, (1 << SHAPER_ROW["rate"].width) - 1])
def test_the_largest_bucket_stays_full(rate):
    config = CoreConfig(ports=1, routers=1)
    dut = Scheduler(config)

    async def main(ctx):
        ctx.set(dut.event_room, 1)
        ctx.set(dut.want, -1)
        burst = (1 << SHAPER_ROW["burst"].width) - 1
        await access(ctx, dut.table, 0, pack(SHAPER_ROW, {"limit": 1, "rate": rate, "burst": burst}))
        for number in range(5):
            await ctx.tick().repeat(3 * shaper_cycles(config))
            assert await offer(ctx, dut, 0, copy_fields(config, number, 0, 0, 0, 60))
            assert ctx.get(dut.o[0].valid)
            ctx.set(dut.o[0].ready, 1)
            await ctx.tick()
            ctx.set(dut.o[0].ready, 0)

    simulate(dut, [main])
