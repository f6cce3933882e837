"""Frame buffer: group frames, of which the replicator makes a copy for each router that wants one."""

from collections import Counter

from polyrouter.hdl.layouts import QueueStat, Reason

from .buffer_bench import Bench, Frame


def test_group_frame_for_many_and_for_a_guarded_port():
    bench = Bench(data_width=64, routers=4, queue_frames=16)
    everyone = Frame(b"\xff" * 6 + bytes(200), group=True, port=1, router=4)
    known = Frame(b"\xff" * 6 + bytes(100), group=True, port=0, router=4, peer=2)
    tagged = Frame(b"\xff" * 6 + bytes(50), group=True, port=1, router=4, tagged=True, tci=0x2009)
    owned = Frame(b"\xff" * 6 + bytes(51), group=True, port=1, router=4, segment=3)

    async def traffic(ctx):
        await bench.send(ctx, everyone)         # nobody is enabled yet
        await ctx.tick().repeat(100)
        for router in range(4):
            await bench.member(ctx, router, enable=1, ports=3, group=3, guard=1)
        await bench.send(ctx, everyone)
        await bench.send(ctx, known)
        await bench.drained(ctx)
        await bench.vlan(ctx, 2, 1, 9)
        await bench.send(ctx, tagged)
        await bench.send(ctx, owned)
        await bench.drained(ctx)
        await bench.vlan(ctx, 2, 1, 0)
        await bench.member(ctx, 0, enable=0, ports=3, group=3)
        await bench.member(ctx, 1, enable=1, mode=1, ports=3, group=3)
        await bench.member(ctx, 2, enable=1, ports=1, group=3)
        await bench.member(ctx, 3, enable=1, ports=3, group=1)
        await bench.send(ctx, everyone)
        await bench.drained(ctx)

    bench.run(traffic)
    assert Counter(bench.out[2]) == Counter([(everyone.data, (r, 1, Reason.PUNT_GROUP, 0)) for r in range(4)] + [
        (known.data, (2, 0, Reason.PUNT_GROUP, 0)), (tagged.data, (2, 1, Reason.PUNT_GROUP, 0x2009)),
        (owned.data, (3, 1, Reason.PUNT_GROUP, 0))])
    assert bench.events == [
        (4, 1, Reason.DROP_NO_ROUTER), *((r, 1, Reason.PUNT_GROUP) for r in range(4)), (2, 0, Reason.PUNT_GROUP),
        (2, 1, Reason.PUNT_GROUP), (3, 1, Reason.PUNT_GROUP), (4, 1, Reason.DROP_NO_ROUTER)]


def test_copies_that_find_no_place_are_counted_one_by_one():
    bench = Bench(data_width=64, routers=8, queue_frames=4, buffer_bytes=8192)
    bench.ready = [lambda: 0] * 3
    frame = Frame(b"\xff" * 6 + bytes(200), group=True, port=1, router=8)

    async def traffic(ctx):
        for router in range(8):
            await bench.member(ctx, router, enable=1, ports=2, group=2)
        for _ in range(6):
            await bench.send(ctx, frame)
            await ctx.tick().repeat(100)
        # One copy is in the output; the first router's.
        dropped = [await bench.stat(ctx, 2, QueueStat.DROPPED, router) for router in range(9)]
        assert sum(dropped) == 6 * 8 - 8 * 4 - 1 and dropped[8] == 0
        bench.ready = [lambda: 1] * 3
        await bench.drained(ctx)

    bench.run(traffic)
    events = Counter(bench.events)
    assert len(bench.out[2]) == 8 * 4 + 1
    for router in range(8):
        assert events[router, 1, Reason.PUNT_GROUP] + events[router, 1, Reason.DROP_PUNT_QUEUE] == 6


def test_group_frames_beyond_the_replicators_fifo():
    bench = Bench(data_width=256, routers=64, queue_frames=1024, buffer_bytes=16384)
    frame = Frame(b"\xff" * 6 + bytes(26), group=True, port=1, router=64)

    async def traffic(ctx):
        await bench.member(ctx, 63, enable=1, ports=2, group=2)
        for _ in range(40):
            await bench.send(ctx, frame)
        await bench.drained(ctx)
        assert await bench.stat(ctx, 2, QueueStat.DROPPED, 64) == 40 - len(bench.out[2])

    bench.run(traffic)
    events = Counter(bench.events)
    assert set(events) == {(63, 1, Reason.PUNT_GROUP), (64, 1, Reason.DROP_PUNT_QUEUE)}
    assert events.total() == 40
    assert events[63, 1, Reason.PUNT_GROUP] == len(bench.out[2]) >= 16


def test_while_disabled_nobody_takes_a_group_frame():
    bench = Bench(data_width=64, routers=4, queue_frames=16)
    frames = [Frame(b"\xff" * 6 + bytes(100 + k), group=True, port=1, router=4) for k in range(3)]

    async def traffic(ctx):
        for router in range(4):
            await bench.member(ctx, router, enable=1, ports=3, group=3)
        for frame, disable in zip(frames, (0, 1, 0), strict=True):
            ctx.set(bench.dut.disable, disable)
            await bench.send(ctx, frame)
            await bench.drained(ctx)

    bench.run(traffic)
    taken = [(r, 1, Reason.PUNT_GROUP) for r in range(4)]
    assert bench.events == [*taken, (4, 1, Reason.DROP_NO_ROUTER), *taken]
    assert Counter(data for data, _ in bench.out[2]) == {frames[0].data: 4, frames[2].data: 4}
