"""Frame buffer against a model: every frame that comes in goes out whole and in order, or is counted as dropped."""

import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise

import pytest
from amaranth.sim import Simulator
from polyrouter.hdl.buffer import FrameBuffer
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import QueueStat, Reason


@dataclass(frozen=True)
class Frame:
    data: bytes
    egress: int = 0
    router: int = 0
    port: int = 0
    reason: int = Reason.FORWARDED
    group: bool = False
    peer: int | None = None


class Bench:
    """Drives a frame buffer and keeps what comes out of it."""

    def __init__(self, **parameters):
        self.config = CoreConfig(**{"ports": 2, "routers": 4, "buffer_bytes": 4096, "queue_frames": 4} | parameters)
        self.dut = FrameBuffer(self.config)
        self.out = defaultdict(list)        # port: bytes, and for the host port also router, port, reason
        self.events = []
        self.beats = defaultdict(list)      # port: cycles in which a beat was taken
        self.i_stalled = 0
        self.cycle = 0
        self.ready = [lambda: 1] * self.config.all_ports
        self.event_ready = lambda: 1
        self.sim = Simulator(self.dut)
        self.sim.add_clock(1e-6)
        for port in range(self.config.all_ports):
            self.sim.add_testbench(self._sink(port), background=True)
        self.sim.add_testbench(self._events, background=True)
        self.sim.add_testbench(self._clock, background=True)

    def run(self, process):
        self.sim.add_testbench(process)
        self.sim.run()

    async def _clock(self, ctx):
        while True:
            await ctx.tick()
            self.cycle += 1

    def _sink(self, port):
        host = port == self.config.host_port
        stream = self.dut.o_host if host else self.dut.o[port]

        async def process(ctx):
            frame, before = b"", None
            while True:
                ctx.set(stream.ready, ready := self.ready[port]())
                _, _, valid, p = await ctx.tick().sample(stream.valid, stream.payload)
                assert before is None or (valid and p == before)
                before = p if valid and not ready else None
                if not valid or not ready:
                    continue
                self.beats[port].append(self.cycle)
                frame += p.data.to_bytes(self.config.beat_bytes, "little")
                if host:
                    if p.last:
                        assert len(frame) - self.config.beat_bytes < p.length <= len(frame)
                        self.out[port].append((frame[:p.length], p.router, p.port, p.reason))
                        frame = b""
                else:
                    assert p.error == 0
                    assert p.last or p.empty == 0
                    if p.last:
                        self.out[port].append(frame[:len(frame) - p.empty])
                        frame = b""
        return process

    async def _events(self, ctx):
        stream = self.dut.event
        while True:
            ctx.set(stream.ready, ready := self.event_ready())
            _, _, valid, e = await ctx.tick().sample(stream.valid, stream.payload)
            if valid and ready:
                self.events.append((e.router, e.port, e.reason))

    async def send(self, ctx, frame, pause=lambda: 0):
        i = self.dut.i
        step = self.config.beat_bytes
        for start in range(0, len(frame.data), step):
            for _ in range(pause()):
                await ctx.tick()
            ctx.set(i.payload, {
                "data": int.from_bytes(frame.data[start:start + step], "little"),
                "last": start + step >= len(frame.data), "length": len(frame.data),
                "router": frame.router, "port": frame.port, "reason": frame.reason, "egress": frame.egress,
                "group": frame.group, "peer": frame.peer is not None, "peer_router": frame.peer or 0,
            })
            ctx.set(i.valid, 1)
            while not (await ctx.tick().sample(i.ready))[2]:
                self.i_stalled += 1
            ctx.set(i.valid, 0)

    async def stat(self, ctx, port, stat):
        table = self.dut.stats
        ctx.set(table.addr, port * 8 + stat)
        ctx.set(table.stb, 1)
        while True:
            _, _, ack, value = await ctx.tick().sample(table.ack, table.r_data)
            if ack:
                ctx.set(table.stb, 0)
                return value

    async def member(self, ctx, router, **fields):
        write = self.dut.member_write
        ctx.set(write.addr, router)
        ctx.set(write.data, fields)
        ctx.set(write.en, 1)
        await ctx.tick()
        ctx.set(write.en, 0)

    async def drained(self, ctx):
        """Wait until every cell is free and what was read has left."""
        for _ in range(20000):
            if await self.stat(ctx, 0, QueueStat.FREE_CELLS) == self.config.cells:
                await ctx.tick().repeat(200)
                return
        raise AssertionError("cells are missing")


def payload(rng, length):
    return rng.randbytes(length)


SHAPES = [
    {"data_width": 32, "cell_bytes": 32},
    {"data_width": 64, "cell_bytes": 64, "ports": 4},
    {"data_width": 128, "cell_bytes": 512, "buffer_bytes": 6144},
    {"data_width": 128, "cell_bytes": 32, "ports": 1, "routers": 1, "buffer_bytes": 3072},
    {"data_width": 256, "cell_bytes": 32, "queue_frames": 16},
    {"data_width": 256, "cell_bytes": 64},
]


@pytest.mark.parametrize("load", ["light", "heavy"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s['data_width']}-{s['cell_bytes']}")
def test_random_traffic(shape, load):
    bench = Bench(**shape)
    config = bench.config
    rng = random.Random(f"{shape} {load}")
    chance = 0.9 if load == "light" else 0.25
    bench.ready = [lambda: rng.random() < chance] * config.all_ports
    bench.event_ready = lambda: rng.random() < 0.7
    members = {}
    sent = []

    def takers(frame):
        for router, row in sorted(members.items()):
            bit = 1 << frame.port
            if (row["enable"] and not row["mode"] and row["ports"] & bit and row["group"] & bit
                    and (not row["guard"] & bit or frame.peer == router)):
                yield router

    async def traffic(ctx):
        for router in range(config.routers):
            members[router] = {"enable": rng.random() < 0.8, "mode": rng.random() < 0.1,
                               "ports": rng.getrandbits(8), "group": rng.getrandbits(8) | 1,
                               "guard": rng.getrandbits(8) & rng.getrandbits(8), "fib_base": 1234}
            await bench.member(ctx, router, **members[router])
        for n in range(100):
            length = rng.choice([14, 59, 60, 60, 61, 64, 65, rng.randrange(14, 400), 1514 if n % 4 == 0 else 128])
            frame = Frame(n.to_bytes(4, "big") + payload(rng, length - 4), egress=rng.randrange(config.all_ports),
                          router=rng.randrange(config.routers), port=rng.randrange(config.all_ports),
                          group=rng.random() < 0.2, reason=rng.randrange(10),
                          peer=rng.choice([None, *range(config.routers)]))
            sent.append(frame)
            gap = rng.randrange(40) if load == "light" and rng.random() < 0.5 else 0
            await ctx.tick().repeat(gap) if gap else None
            await bench.send(ctx, frame, pause=lambda: rng.random() < 0.1)
        await bench.drained(ctx)

        refused = 0
        for port in range(config.all_ports):
            accepted = await bench.stat(ctx, port, QueueStat.ENQUEUED)
            refused += await bench.stat(ctx, port, QueueStat.DROPPED)
            assert accepted == len(bench.out[port])
            assert await bench.stat(ctx, port, QueueStat.DEPTH) == 0
            assert await bench.stat(ctx, port, QueueStat.HIGH_WATER) <= config.queue_frames
        drops = sum(reason in (Reason.DROP_QUEUE, Reason.DROP_PUNT_QUEUE) for _, _, reason in bench.events)
        assert drops == refused
        if load == "heavy":
            assert drops

    bench.run(traffic)

    # What left, in the order in which it came. The number in the first bytes tells which frame it is.
    expected = Counter()
    numbers = {frame.data: n for n, frame in enumerate(sent)}
    gone = defaultdict(list)
    for port, frames in bench.out.items():
        for item in frames:
            if port != config.host_port:
                frame = sent[numbers[item]]
                assert frame.egress == port and not frame.group
                gone[frame.data].append((frame.router, frame.port, frame.reason))
            else:
                data, *tag = item
                frame = sent[numbers[data]]
                if frame.group:
                    assert tag[1:] == [frame.port, Reason.PUNT_GROUP]
                else:
                    assert tag == [frame.router, frame.port, frame.reason] and frame.egress == port
                gone[data].append(tuple(tag))
        for group in (True, False):
            order = [numbers[f if port != config.host_port else f[0]] for f in frames]
            order = [n for n in order if sent[n].group == group]
            assert order == sorted(order)
    for frame in sent:
        left = gone[frame.data]
        expected.update(left)
        if not frame.group:
            assert len(left) <= 1
            if not left:
                reason = Reason.DROP_PUNT_QUEUE if frame.egress == config.host_port else Reason.DROP_QUEUE
                expected[frame.router, frame.port, reason] += 1
        else:
            wanted = list(takers(frame))
            routers = [router for router, _, _ in left]
            assert routers == [r for r in wanted if r in routers]
            if not wanted:
                # Found to be nobody's, or dropped before the list was made.
                expected["nobody", frame.port] += 1
            elif left:
                expected.update((r, frame.port, Reason.DROP_PUNT_QUEUE) for r in wanted if r not in routers)
            else:
                expected["none left", frame.port, tuple(wanted)] += 1
    # Each event belongs to what was seen; the open cases are one event under router "none", or one a taker.
    events = Counter(bench.events)
    for key in [k for k in expected if k[0] in ("nobody", "none left")]:
        for _ in range(expected.pop(key)):
            early = (config.no_router, key[1], Reason.DROP_PUNT_QUEUE)
            if key[0] == "nobody":
                choice = [(config.no_router, key[1], Reason.DROP_NO_ROUTER)]
            else:
                choice = [(router, key[1], Reason.DROP_PUNT_QUEUE) for router in key[2]]
            if all(events[e] > expected[e] for e in choice):
                expected.update(choice)
            else:
                expected[early] += 1
    assert +events == +expected


def test_full_queue_drops_exactly_what_does_not_fit():
    bench = Bench(data_width=64, buffer_bytes=8192)
    bench.ready = [lambda: 0, lambda: 1, lambda: 0]
    rng = random.Random(1)
    frames = [Frame(payload(rng, 200), egress=0, router=1, port=1) for _ in range(7)]

    async def traffic(ctx):
        for frame in frames:
            await bench.send(ctx, frame)
        other = Frame(payload(rng, 60), egress=1, router=2)
        await bench.send(ctx, other)
        await ctx.tick().repeat(50)
        assert bench.out[1] == [other.data]     # a full queue doesn't hold up the other ports
        assert await bench.stat(ctx, 0, QueueStat.DEPTH) == 4
        assert await bench.stat(ctx, 0, QueueStat.HIGH_WATER) == 4
        assert await bench.stat(ctx, 0, QueueStat.ENQUEUED) == 4
        assert await bench.stat(ctx, 0, QueueStat.DROPPED) == 3
        assert await bench.stat(ctx, 1, QueueStat.DROPPED) == 0
        assert await bench.stat(ctx, 1, QueueStat.FREE_CELLS) == 128 - 4 * 4 + 1   # a cell has been read
        assert ctx.get(bench.dut.busy)
        bench.ready[0] = lambda: 1
        await bench.drained(ctx)
        assert not ctx.get(bench.dut.busy)

    bench.run(traffic)
    assert bench.out[0] == [frame.data for frame in frames[:4]]
    assert bench.events == [(1, 1, Reason.FORWARDED)] * 4 + [(1, 1, Reason.DROP_QUEUE)] * 3 + [(2, 0, 0)]


def test_frame_without_cells_is_dropped_whole():
    bench = Bench(data_width=64, buffer_bytes=3072, cell_bytes=512, queue_frames=16)
    bench.ready = [lambda: 0] * 3
    rng = random.Random(2)
    frames = [Frame(payload(rng, length), egress=2, router=3, reason=Reason.PUNT_LOCAL)
              for length in (1514, 1025, 513, 512, 1, 14)]

    async def traffic(ctx):
        for frame in frames:
            await bench.send(ctx, frame)
        assert await bench.stat(ctx, 0, QueueStat.FREE_CELLS) == 0
        bench.ready[2] = lambda: 1
        await bench.drained(ctx)

    bench.run(traffic)
    assert [data for data, *_ in bench.out[2]] == [frames[0].data, frames[1].data]
    assert [e[2] for e in bench.events] == [Reason.PUNT_LOCAL] * 2 + [Reason.DROP_PUNT_QUEUE] * 4


def test_port_that_does_not_exist_is_a_drop():
    bench = Bench(data_width=64)

    async def traffic(ctx):
        await bench.send(ctx, Frame(bytes(60), egress=7, router=1))
        await bench.drained(ctx)

    bench.run(traffic)
    assert bench.events == [(1, 0, Reason.DROP_QUEUE)]
    assert not any(bench.out.values())


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s['data_width']}-{s['cell_bytes']}")
def test_small_frames_without_gap_never_stall_the_input(shape):
    bench = Bench(**shape | {"queue_frames": 64, "buffer_bytes": 32768})
    config = bench.config
    rng = random.Random(3)
    frames = [Frame(payload(rng, config.cell_bytes), egress=n % config.all_ports) for n in range(60)]

    async def traffic(ctx):
        for frame in frames:
            await bench.send(ctx, frame)
        await bench.drained(ctx)

    bench.run(traffic)
    assert bench.i_stalled == 0
    assert sum(map(len, bench.out.values())) == 60


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s['data_width']}-{s['cell_bytes']}")
def test_every_port_gets_its_share(shape):
    """While all ports compete, each gets a beat in ``ports + 1`` cycles within a frame."""
    bench = Bench(**shape | {"buffer_bytes": 16384 if shape["cell_bytes"] < 512 else 65536})
    config = bench.config
    bench.ready = [lambda: 0] * config.all_ports
    rng = random.Random(4)

    async def traffic(ctx):
        for port in range(config.all_ports):
            await bench.send(ctx, Frame(payload(rng, 1514), egress=port))
        await ctx.tick().repeat(40)
        bench.ready = [lambda: 1] * config.all_ports
        await bench.drained(ctx)

    bench.run(traffic)
    for port in range(config.all_ports):
        beats = bench.beats[port]
        assert len(beats) == -(-1514 // config.beat_bytes)
        assert max(b - a for a, b in pairwise(beats)) <= config.all_ports


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s['data_width']}-{s['cell_bytes']}")
def test_port_alone_gets_every_cycle(shape):
    bench = Bench(**shape)
    rng = random.Random(5)

    async def traffic(ctx):
        await bench.send(ctx, Frame(payload(rng, 1500)))
        await bench.drained(ctx)

    bench.run(traffic)
    beats = bench.beats[0]
    assert beats == list(range(beats[0], beats[0] + -(-1500 // bench.config.beat_bytes)))


def test_group_frame_for_many_and_for_a_guarded_port():
    bench = Bench(data_width=64, routers=4, queue_frames=16)
    everyone = Frame(b"\xff" * 6 + bytes(200), group=True, port=1, router=4)
    known = Frame(b"\xff" * 6 + bytes(100), group=True, port=0, router=4, peer=2)

    async def traffic(ctx):
        await bench.send(ctx, everyone)         # nobody is enabled yet
        await ctx.tick().repeat(100)
        for router in range(4):
            await bench.member(ctx, router, enable=1, ports=3, group=3, guard=1)
        await bench.send(ctx, everyone)
        await bench.send(ctx, known)
        await bench.drained(ctx)
        await bench.member(ctx, 0, enable=0, ports=3, group=3)
        await bench.member(ctx, 1, enable=1, mode=1, ports=3, group=3)
        await bench.member(ctx, 2, enable=1, ports=1, group=3)
        await bench.member(ctx, 3, enable=1, ports=3, group=1)
        await bench.send(ctx, everyone)
        await bench.drained(ctx)

    bench.run(traffic)
    assert bench.out[2] == [(everyone.data, r, 1, Reason.PUNT_GROUP) for r in range(4)] + [
        (known.data, 2, 0, Reason.PUNT_GROUP)]
    assert bench.events == [
        (4, 1, Reason.DROP_NO_ROUTER), *((r, 1, Reason.PUNT_GROUP) for r in range(4)), (2, 0, Reason.PUNT_GROUP),
        (4, 1, Reason.DROP_NO_ROUTER)]


def test_copies_that_find_no_place_are_counted_one_by_one():
    bench = Bench(data_width=64, routers=8, queue_frames=4)
    bench.ready = [lambda: 0] * 3
    frame = Frame(b"\xff" * 6 + bytes(200), group=True, port=1)

    async def traffic(ctx):
        for router in range(8):
            await bench.member(ctx, router, enable=1, ports=2, group=2)
        await bench.send(ctx, frame)
        await bench.send(ctx, frame)
        await ctx.tick().repeat(150)
        assert await bench.stat(ctx, 2, QueueStat.DROPPED) == 12
        bench.ready[2] = lambda: 1
        await bench.drained(ctx)

    bench.run(traffic)
    assert bench.out[2] == [(frame.data, r, 1, Reason.PUNT_GROUP) for r in range(4)]
    assert Counter(bench.events) == Counter(
        [(r, 1, Reason.PUNT_GROUP) for r in range(4)]
        + [(r, 1, Reason.DROP_PUNT_QUEUE) for r in range(4, 8)] + [(r, 1, Reason.DROP_PUNT_QUEUE) for r in range(8)])


def test_group_frames_beyond_the_replicators_fifo():
    bench = Bench(data_width=256, routers=64, queue_frames=1024, buffer_bytes=16384)
    frame = Frame(b"\xff" * 6 + bytes(26), group=True, port=1)

    async def traffic(ctx):
        await bench.member(ctx, 63, enable=1, ports=2, group=2)
        for _ in range(40):
            await bench.send(ctx, frame)
        await bench.drained(ctx)

    bench.run(traffic)
    events = Counter(bench.events)
    assert set(events) == {(63, 1, Reason.PUNT_GROUP), (64, 1, Reason.DROP_PUNT_QUEUE)}
    assert events.total() == 40
    assert events[63, 1, Reason.PUNT_GROUP] == len(bench.out[2]) >= 16


def test_underflows_are_counted_by_port():
    bench = Bench(data_width=64)

    async def traffic(ctx):
        for bits in (1, 3, 2, 2):
            ctx.set(bench.dut.underflow, bits)
            await ctx.tick()
        ctx.set(bench.dut.underflow, 0)
        assert [await bench.stat(ctx, port, QueueStat.UNDERFLOW) for port in range(3)] == [2, 3, 0]

    bench.run(traffic)
