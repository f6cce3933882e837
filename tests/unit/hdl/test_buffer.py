"""Frame buffer against a model: every copy of every frame goes out whole and in order, or is counted as dropped."""

import random
from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from polyrouter.hdl.layouts import QUOTA_ROW, RATE_FRACTION, QueueStat, Reason, unpack

from .bench import access
from .buffer_bench import Bench, Frame, drop_reason, each_shape


@each_shape
@pytest.mark.parametrize("load", ["light", "heavy"])
def test_random_traffic(shape, load):
    bench = Bench(**shape)
    config = bench.config
    host = config.host_port
    rng = random.Random(f"{shape} {load}")
    # Wide ports are slower, or they would drain the buffer faster than it fills.
    chance = 0.9 if load == "light" else min(0.15, 16 / config.data_width)
    bench.ready = [lambda: rng.random() < chance] * config.all_ports
    bench.event_ready = lambda: rng.random() < 0.7
    members, vids = {}, {}
    sent = []

    def takers(frame):
        vid = frame.tci & 0xFFF if frame.tagged else 0
        for router, row in sorted(members.items()):
            bit = 1 << frame.port
            if (row["enable"] and not row["mode"] and row["ports"] & bit and row["group"] & bit
                    and (not row["guard"] & bit or frame.peer == router) and frame.segment in (None, router)
                    and vids[router, frame.port] == vid):
                yield router

    async def traffic(ctx):
        for router in range(config.routers):
            members[router] = {"enable": rng.random() < 0.8, "mode": rng.random() < 0.1,
                               "ports": rng.getrandbits(8), "group": rng.getrandbits(8) | 1,
                               "guard": rng.getrandbits(8) & rng.getrandbits(8), "fib_base": 1234}
            await bench.member(ctx, router, **members[router])
            for port in range(config.ports):
                vids[router, port] = rng.choice([0, 0, 7])
                await bench.vlan(ctx, router, port, vids[router, port])
            for port in range(config.all_ports):
                if rng.random() < 0.5:
                    await bench.shape(ctx, router, port, limit=rng.random() < 0.7, quantum=rng.choice([0, 2000, 9000]),
                                      rate=rng.choice([200, 500, 1500]) << RATE_FRACTION,
                                      burst=rng.choice([0, 300, 3000]))
        for n in range(90):
            length = rng.choice([14, 59, 60, 60, 61, 64, 65, rng.randrange(14, 400), 1514 if n % 4 == 0 else 128])
            group = rng.random() < 0.2
            some = rng.choice([1, 1, 1, 2, 2, 4, 8, 3, 7, 15, 0]) & (1 << config.ports) - 1
            frame = Frame(
                n.to_bytes(4, "big") + rng.randbytes(length - 4), copies=some, host=some == 0 or rng.random() < 0.3,
                router=config.no_router if group else rng.randrange(config.routers),
                port=rng.randrange(config.ports if group else config.all_ports),
                group=group, reason=rng.choice([0, 1, 24, 25]), host_reason=rng.choice([3, 4, 26, 27]),
                traffic_class=rng.getrandbits(1), host_class=rng.getrandbits(1),
                peer=rng.choice([None, *range(config.routers)]),
                segment=rng.choice([None, None, *range(config.routers)]),
                tagged=rng.random() < 0.5, tci=rng.choice([0x6007, 0]), keep_tag=rng.getrandbits(1),
                own_source=rng.getrandbits(1), entropy=rng.getrandbits(14))
            sent.append(frame)
            if load == "light" and rng.random() < 0.5:
                await ctx.tick().repeat(rng.randrange(1, 40))
            await bench.send(ctx, frame)
        await bench.drained(ctx)

        refused = 0
        for port in range(config.all_ports):
            accepted = await bench.total(ctx, port, QueueStat.ENQUEUED)
            refused += await bench.total(ctx, port, QueueStat.DROPPED)
            assert accepted == len(bench.out[port])
            for router in range(config.routers + 1):
                high = await bench.stat(ctx, port, QueueStat.HIGH_WATER, router)
                assert high <= config.queue_frames
                assert (high > 0) == (await bench.stat(ctx, port, QueueStat.ENQUEUED, router) > 0)
        drops = sum(reason in (Reason.DROP_QUEUE, Reason.DROP_PUNT_QUEUE) for _, _, reason in bench.events)
        assert drops == refused
        if load == "heavy":
            assert drops

    bench.run(traffic)

    # What left, in the order in which it came. The number in the first bytes tells which frame it is.
    numbers = {frame.data: n for n, frame in enumerate(sent)}
    gone = defaultdict(list)
    for port, frames in bench.out.items():
        orders = defaultdict(list)
        for bytes_, side in frames:
            frame = sent[numbers[bytes_]]
            if frame.group:
                assert port == host
                assert side[1:] == (frame.port, Reason.PUNT_GROUP, frame.tci if frame.tagged else 0)
            else:
                assert side == frame.side(port, config)
            class_ = frame.host_class if port == host else frame.traffic_class
            orders[side[0], frame.group or class_, frame.group].append(numbers[bytes_])
            gone[numbers[bytes_]].append((port, side[0]))
        for order in orders.values():
            assert order == sorted(order)

    expected = Counter()
    undecided = []
    for n, frame in enumerate(sent):
        left = gone[n]
        assert len(set(left)) == len(left)
        if not frame.group:
            wanted = [p for p in range(config.ports) if frame.copies >> p & 1] + [host] * frame.host
            assert {p for p, _ in left} <= set(wanted)
            for port in wanted:
                reason = frame.host_reason if port == host else frame.reason
                expected[frame.router, frame.port,
                         reason if (port, frame.router) in left else drop_reason(config, port)] += 1
            continue
        wanted = list(takers(frame))
        routers = [router for _, router in left]
        assert set(routers) <= set(wanted)
        expected.update((r, frame.port, Reason.PUNT_GROUP) for r in routers)
        if left:
            expected.update((r, frame.port, Reason.DROP_PUNT_QUEUE) for r in wanted if r not in routers)
        else:
            # Dropped before the list was made, or nobody's, or each copy was refused.
            undecided.append((frame.port, tuple(wanted)))
    events = Counter(bench.events)
    for port, wanted in undecided:
        early = (config.no_router, port, Reason.DROP_PUNT_QUEUE)
        late = [(r, port, Reason.DROP_PUNT_QUEUE) for r in wanted] or [(config.no_router, port, Reason.DROP_NO_ROUTER)]
        if all(events[e] > expected[e] for e in late):
            expected.update(late)
        else:
            expected[early] += 1
    assert +events == +expected


def test_the_link_port_is_told_whence_a_frame_came_and_of_its_flow():
    """Whether it came in at the link port itself, with its tag as it is, and the entropy of its flow."""
    bench = Bench(data_width=64, ports=3, circuits=16)
    rng = random.Random(3)
    frames = [Frame(rng.randbytes(60), copies=0b111, port=port, router=port, tagged=True, tci=0x6000 | 0x123 + k,
                    keep_tag=bool(k & 1), entropy=entropy)
              for k, (port, entropy) in enumerate([(2, 0x3FFF), (0, 0), (2, 0), (3, 0x2AAA), (1, 0x1555)])]

    async def traffic(ctx):
        for frame in frames:
            await bench.send(ctx, frame)
            await ctx.tick().repeat(60)
        await bench.drained(ctx)

    bench.run(traffic)
    assert [side for _, side in bench.out[2]] == [
        (2, 1, 0x6123, 0, 0, 1, 0x3FFF), (0, 1, 0x6124, 1, 0, 0, 0), (2, 1, 0x6125, 0, 0, 1, 0),
        (3, 1, 0x6126, 1, 0, 0, 0x2AAA), (1, 1, 0x6127, 0, 0, 0, 0x1555)]
    assert [data for data, _ in bench.out[2]] == [frame.data for frame in frames]
    for port in (0, 1):
        assert [side for _, side in bench.out[port]] == [frame.side(port, bench.config) for frame in frames]


@each_shape
def test_latency_on_an_idle_buffer(shape):
    bench = Bench(**shape)
    rng = random.Random(7)
    latencies = []

    async def traffic(ctx):
        for length in (14, 60, 64, 65, 128, 1514, 60):
            for k in range(3):
                await ctx.tick().repeat(400 + rng.randrange(17))
                bench.seen.clear()
                await bench.send(ctx, Frame(rng.randbytes(length), copies=1, router=k % bench.config.routers))
                await ctx.tick().repeat(40)
                latencies.append(bench.seen[0] - bench.starts[-1])

    bench.run(traffic)
    assert min(latencies) == 9
    assert max(latencies) <= 11


@each_shape
@pytest.mark.parametrize("where", ["one port", "all ports"])
def test_sustains_a_short_frame_every_ten_cycles(shape, where):
    """With queues filled before, so that nothing takes a short cut."""
    bench = Bench(**shape | {"queue_frames": 64, "buffer_bytes": 32768, "routers": 4})
    config = bench.config
    rng = random.Random(3)
    beats = -(-60 // config.beat_bytes)
    ports = config.ports if where == "all ports" and beats < 10 else 1

    def frame(n):
        return Frame(rng.randbytes(60), copies=1 << n % ports, router=n % 3)

    async def traffic(ctx):
        bench.ready = [lambda: 0] * config.all_ports
        for n in range(8 * ports):
            await bench.send(ctx, frame(n))
        bench.ready = [lambda: 1] * config.all_ports
        start = bench.cycle
        for n in range(60):
            await bench.send(ctx, frame(n))
        # Where beats follow on each other without a gap, the first one still waits for the work that is under way.
        assert bench.cycle - start <= 60 * max(10, beats) + (4 if beats > 10 else 0)
        # All of it leaves as fast.
        waiting = 60 + 8 * ports - sum(len(bench.out[p]) for p in range(ports))
        assert waiting <= 8 * ports + 8
        await bench.drained(ctx)

    bench.run(traffic)
    assert sum(map(len, bench.out.values())) == 60 + 8 * ports


def test_full_queue_drops_exactly_what_does_not_fit():
    bench = Bench(data_width=64, buffer_bytes=8192)
    bench.ready = [lambda: 0, lambda: 1, lambda: 0]
    rng = random.Random(1)
    frames = [Frame(rng.randbytes(200), copies=1, router=1, port=1) for _ in range(9)]

    async def traffic(ctx):
        for frame in frames:
            await bench.send(ctx, frame)
        other = Frame(rng.randbytes(60), copies=2, router=1)
        await bench.send(ctx, other)
        await ctx.tick().repeat(50)
        assert [data for data, _ in bench.out[1]] == [other.data]   # a full queue doesn't hold up the other ports
        # One is not in the queue any more: it is being sent, and not yet near its end.
        assert await bench.stat(ctx, 0, QueueStat.DEPTH, 1) == 4
        assert await bench.stat(ctx, 0, QueueStat.HIGH_WATER, 1) == 4
        assert await bench.stat(ctx, 0, QueueStat.ENQUEUED, 1) == 5
        assert await bench.stat(ctx, 0, QueueStat.DROPPED, 1) == 4
        assert await bench.stat(ctx, 1, QueueStat.DROPPED, 1) == 0
        assert await bench.stat(ctx, 0, QueueStat.ENQUEUED, 0) == 0
        assert await bench.stat(ctx, 1, QueueStat.FREE_CELLS) == 128 - 5 * 4 + 1    # a cell has been read
        assert ctx.get(bench.dut.busy)
        another = Frame(rng.randbytes(60), copies=1, router=2)      # another router has room at that port
        await bench.send(ctx, another)
        bench.ready[0] = lambda: 1
        await bench.drained(ctx)
        assert not ctx.get(bench.dut.busy)
        assert another.data in [data for data, _ in bench.out[0]]

    bench.run(traffic)
    assert [data for data, side in bench.out[0] if side[0] == 1] == [frame.data for frame in frames[:5]]
    assert bench.events == [(1, 1, Reason.FORWARDED)] * 5 + [(1, 1, Reason.DROP_QUEUE)] * 4 + [(1, 0, 0), (2, 0, 0)]


def test_frame_without_cells_is_dropped_whole():
    bench = Bench(data_width=64, buffer_bytes=3072, cell_bytes=512, queue_frames=16)
    bench.ready = [lambda: 0] * 3
    rng = random.Random(2)
    frames = [Frame(rng.randbytes(length), copies=1, host=True, router=3)
              for length in (1514, 1025, 513, 512, 1, 14)]

    async def traffic(ctx):
        for frame in frames:
            await bench.send(ctx, frame)
        assert await bench.stat(ctx, 0, QueueStat.FREE_CELLS) == 0
        bench.ready = [lambda: 1] * 3
        await bench.drained(ctx)
        assert await bench.stat(ctx, 0, QueueStat.DROPPED, 3) == await bench.stat(ctx, 2, QueueStat.DROPPED, 3) == 4

    bench.run(traffic)
    for port in (0, 2):
        assert [data for data, _ in bench.out[port]] == [frames[0].data, frames[1].data]
    assert Counter(e[2] for e in bench.events) == {
        Reason.FORWARDED: 2, Reason.PUNT_LOCAL: 2, Reason.DROP_QUEUE: 4, Reason.DROP_PUNT_QUEUE: 4}


def test_ports_that_do_not_exist_and_frames_without_copies():
    bench = Bench(data_width=64)

    async def traffic(ctx):
        await bench.send(ctx, Frame(bytes(60), copies=0x80, router=1))
        await bench.send(ctx, Frame(bytes(200), copies=0x42, router=1))
        await bench.send(ctx, Frame(bytes(60), router=1))
        await bench.drained(ctx)
        assert await bench.total(ctx, 0, QueueStat.DROPPED) == await bench.total(ctx, 2, QueueStat.DROPPED) == 0

    bench.run(traffic)
    assert bench.events == [(1, 0, Reason.DROP_QUEUE), (1, 0, Reason.FORWARDED), (1, 0, Reason.DROP_QUEUE)]
    assert [len(bench.out[p]) for p in range(3)] == [0, 1, 0]


@each_shape
def test_every_port_gets_its_share(shape):
    """While all ports compete, each gets a beat in ``ports + 1`` cycles within a frame."""
    bench = Bench(**shape | {"buffer_bytes": 16384 if shape["cell_bytes"] < 512 else 65536})
    config = bench.config
    bench.ready = [lambda: 0] * config.all_ports
    rng = random.Random(4)
    frame = Frame(rng.randbytes(1514), copies=(1 << config.ports) - 1, host=True)

    async def traffic(ctx):
        await bench.send(ctx, frame)
        await ctx.tick().repeat(80)
        bench.ready = [lambda: 1] * config.all_ports
        await bench.drained(ctx)

    bench.run(traffic)
    for port in range(config.all_ports):
        assert bench.out[port] == [(frame.data, frame.side(port, config))]
        beats = bench.beats[port]
        assert len(beats) == -(-1514 // config.beat_bytes)
        assert max(b - a for a, b in pairwise(beats)) <= config.all_ports


@each_shape
def test_port_alone_gets_every_cycle(shape):
    bench = Bench(**shape)
    rng = random.Random(5)

    async def traffic(ctx):
        await bench.send(ctx, Frame(rng.randbytes(1500), copies=1))
        await bench.drained(ctx)

    bench.run(traffic)
    beats = bench.beats[0]
    assert beats == list(range(beats[0], beats[0] + -(-1500 // bench.config.beat_bytes)))


def test_port_is_not_idle_with_work_to_do():
    bench = Bench(data_width=64, queue_frames=16, buffer_bytes=8192)
    rng = random.Random(6)
    bench.ready = [lambda: 0] * 3

    async def traffic(ctx):
        for _ in range(10):
            await bench.send(ctx, Frame(rng.randbytes(128), copies=1))
        bench.ready = [lambda: 1] * 3
        await bench.drained(ctx)

    bench.run(traffic)
    beats = bench.beats[0][10:]         # behind what waited in the output
    assert beats == list(range(beats[0], beats[0] + len(beats)))


def test_quota_rules_one_by_one():
    bench = Bench(data_width=64, cell_bytes=64, buffer_bytes=4096, queue_frames=64, routers=3)
    bench.ready = [lambda: 0] * 3

    async def cells(ctx, router, count):
        """Whether a frame of so many cells is accepted."""
        before = len(bench.events)
        await bench.send(ctx, Frame(bytes(64 * count - 3), copies=1, router=router))
        await ctx.tick().repeat(20)
        return bench.events[before:] == [(router, 0, Reason.FORWARDED)]

    async def traffic(ctx):
        await bench.quota(ctx, 0, reserved=10)
        await bench.quota(ctx, 1, reserved=4, limited=1, limit=12)
        await bench.quota(ctx, 2, limited=1, limit=5)
        ctx.set(bench.dut.shared_cells, 20)
        assert unpack(QUOTA_ROW, await access(ctx, bench.dut.quota, 1)) == {"reserved": 4, "limited": 1, "limit": 12}
        assert not await cells(ctx, 2, 6)           # beyond its limit
        assert await cells(ctx, 2, 5)               # shared: 15 left
        assert not await cells(ctx, 2, 1)
        assert await cells(ctx, 1, 12)              # 4 + 8: 7 left
        assert not await cells(ctx, 1, 1)
        assert not await cells(ctx, 0, 18)
        assert await cells(ctx, 0, 8)
        assert not await cells(ctx, 0, 10)
        assert await cells(ctx, 0, 9)               # 2 + 7: none left
        assert not await cells(ctx, 0, 1)
        await bench.quota(ctx, 0, reserved=12)      # gives two shared ones back
        assert not await cells(ctx, 0, 3)
        assert await cells(ctx, 0, 2)
        ctx.set(bench.dut.shared_cells, 3)          # fewer than are used: only reserved ones are to be had
        assert not await cells(ctx, 0, 1)
        await bench.quota(ctx, 0, reserved=20)
        assert await cells(ctx, 0, 1)
        await bench.quota(ctx, 0)
        ctx.set(bench.dut.shared_cells, 64)
        bench.ready = [lambda: 1] * 3
        await bench.drained(ctx)
        # Everything was given back: all cells are to be had by one.
        bench.ready = [lambda: 0] * 3
        assert not await cells(ctx, 2, 6)
        for _ in range(4):
            assert await cells(ctx, 0, 16)
        assert not await cells(ctx, 0, 1)
        bench.ready = [lambda: 1] * 3
        await bench.drained(ctx)

    bench.run(traffic)


def test_a_flood_does_not_touch_what_is_reserved_for_another():
    bench = Bench(data_width=64, cell_bytes=64, buffer_bytes=8192, queue_frames=64, routers=3)
    config = bench.config
    rng = random.Random(10)
    bench.ready = [lambda: rng.random() < 0.3] * 3
    held = [0]

    async def traffic(ctx):
        await bench.quota(ctx, 1, reserved=30)
        ctx.set(bench.dut.shared_cells, config.cells - 30)
        for n in range(200):
            await bench.send(ctx, Frame(rng.randbytes(rng.randrange(60, 400)), copies=rng.choice([1, 2, 3]),
                                        host=rng.random() < 0.5, router=rng.choice([0, 2])))
            if n % 12 == 0:
                # No more than its reserved cells at any time: 2 frames of up to 15 cells until they have left.
                done = sum(side[0] == 1 for port in range(3) for _, side in bench.out[port])
                if held[0] - done < 2:
                    await bench.send(ctx, Frame(rng.randbytes(rng.randrange(60, 900)), copies=2, router=1))
                    held[0] += 1
        await bench.drained(ctx)

    bench.run(traffic)
    mine = [reason for router, _, reason in bench.events if router == 1]
    assert len(mine) == held[0] >= 3 and set(mine) == {Reason.FORWARDED}
    assert Reason.DROP_QUEUE in [reason for router, _, reason in bench.events if router != 1]


def test_underflows_are_counted_by_port():
    bench = Bench(data_width=64)

    async def traffic(ctx):
        for bits in (1, 3, 2, 2):
            ctx.set(bench.dut.underflow, bits)
            await ctx.tick()
        ctx.set(bench.dut.underflow, 0)
        for router in range(5):
            counts = [await bench.stat(ctx, port, QueueStat.UNDERFLOW, router) for port in range(3)]
            assert counts == [2, 3, 0]

    bench.run(traffic)
