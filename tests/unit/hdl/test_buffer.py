"""Frame buffer against a model: every copy of every frame goes out whole and in order, or is counted as dropped."""

import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise

import pytest
from amaranth.sim import Simulator
from polyrouter.hdl.buffer import FrameBuffer
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import QUOTA_ROW, RATE_FRACTION, SHAPER_ROW, QueueStat, Reason, TrafficClass, pack, unpack
from polyrouter.hdl.mac.gmii import LINE_OVERHEAD
from polyrouter.hdl.queues import least_quantum
from polyrouter.hdl.shapers import shaper_cycles

from .bench import access

FCS = 4
#: Frames of a test of shapers.
FRAMES = 24


@dataclass(frozen=True)
class Frame:
    data: bytes
    copies: int = 0
    host: bool = False
    router: int = 0
    port: int = 0
    reason: int = Reason.FORWARDED
    host_reason: int = Reason.PUNT_LOCAL
    traffic_class: int = TrafficClass.NORMAL
    host_class: int = TrafficClass.NORMAL
    group: bool = False
    peer: int | None = None
    segment: int | None = None
    tagged: bool = False
    tci: int = 0
    keep_tag: bool = False
    own_source: bool = False

    def side(self, port, host):
        """What comes out beside the bytes at a port."""
        if port == host:
            return (self.router, self.port, self.host_reason, self.tci if self.tagged else 0)
        return (self.router, int(self.tagged), self.tci, int(self.keep_tag), int(self.own_source))


class Bench:
    """Drives a frame buffer and keeps what comes out of it."""

    def __init__(self, **parameters):
        self.config = CoreConfig(**{"ports": 2, "routers": 4, "buffer_bytes": 4096, "queue_frames": 4} | parameters)
        self.dut = FrameBuffer(self.config)
        self.out = defaultdict(list)        # port: (bytes, side fields)
        self.events = []
        self.beats = defaultdict(list)      # port: cycles in which a beat was taken
        self.seen = {}                      # port: first cycle with a beat offered
        self.starts = []                    # cycles in which a frame's first beat was accepted
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
        async def all_(ctx):
            ctx.set(self.dut.shared_cells, self.config.cells)
            await process(ctx)
        self.sim.add_testbench(all_)
        self.sim.run()

    async def _clock(self, ctx):
        while True:
            await ctx.tick()
            self.cycle += 1

    def _sink(self, port):
        host = port == self.config.host_port
        stream = self.dut.o_host if host else self.dut.o[port]

        async def process(ctx):
            frame, before, side = b"", None, None
            while True:
                ctx.set(stream.ready, ready := self.ready[port]())
                _, _, valid, p = await ctx.tick().sample(stream.valid, stream.payload)
                assert before is None or (valid and p == before)
                before = p if valid and not ready else None
                if valid:
                    self.seen.setdefault(port, self.cycle)
                if not valid or not ready:
                    continue
                self.beats[port].append(self.cycle)
                frame += p.data.to_bytes(self.config.beat_bytes, "little")
                names = ("router", "port", "reason", "tci") if host else (
                    "router", "tagged", "tci", "keep_tag", "own_source")
                fields = (p.length, *(getattr(p, name) for name in names))
                assert side is None or fields == side, "a side field changed within a frame"
                side = fields
                if p.last:
                    assert len(frame) - self.config.beat_bytes < p.length <= len(frame)
                    self.out[port].append((frame[:p.length], side[1:]))
                    frame, side = b"", None
        return process

    async def _events(self, ctx):
        stream = self.dut.event
        while True:
            ctx.set(stream.ready, ready := self.event_ready())
            _, _, valid, e = await ctx.tick().sample(stream.valid, stream.payload)
            if valid and ready:
                self.events.append((e.router, e.port, e.reason))

    async def send(self, ctx, frame):
        """Send a frame; asserts that it is not stopped after its first beat."""
        i = self.dut.i
        step = self.config.beat_bytes
        for start in range(0, len(frame.data), step):
            ctx.set(i.payload, {
                "data": int.from_bytes(frame.data[start:start + step], "little"),
                "last": start + step >= len(frame.data), "length": len(frame.data),
                "peer": frame.peer is not None, "peer_router": frame.peer or 0,
                "segment": frame.segment is not None, "segment_router": frame.segment or 0,
                **{name: getattr(frame, name) for name in (
                    "router", "port", "copies", "reason", "host", "host_reason", "traffic_class", "host_class",
                    "group", "tagged", "tci", "keep_tag", "own_source")},
                "host_tci": frame.tci if frame.tagged else 0,
            })
            ctx.set(i.valid, 1)
            while not (await ctx.tick().sample(i.ready))[2]:
                assert start == 0, "stopped in the middle of a frame"
            if start == 0:
                self.starts.append(self.cycle)
        ctx.set(i.valid, 0)

    async def stat(self, ctx, port, stat, router=0):
        return await access(ctx, self.dut.stats, (router * self.config.all_ports + port) * 8 + stat)

    async def total(self, ctx, port, stat):
        return sum([await self.stat(ctx, port, stat, router) for router in range(self.config.routers + 1)])

    async def shape(self, ctx, router, port, **fields):
        await access(ctx, self.dut.shaper, router * self.config.all_ports + port, pack(SHAPER_ROW, fields))

    async def quota(self, ctx, router, **fields):
        await access(ctx, self.dut.quota, router, pack(QUOTA_ROW, fields))

    async def member(self, ctx, router, **fields):
        write = self.dut.member_write
        ctx.set(write.addr, router)
        ctx.set(write.data, fields)
        ctx.set(write.en, 1)
        await ctx.tick()
        ctx.set(write.en, 0)

    async def vlan(self, ctx, router, port, vid):
        write = self.dut.port_write
        ctx.set(write.router, router)
        ctx.set(write.port, port)
        ctx.set(write.vid, vid)
        ctx.set(write.en, 1)
        await ctx.tick()
        ctx.set(write.en, 0)

    async def drained(self, ctx, limit=60000):
        """Wait until the buffer is empty and what was read has left; nothing may be missing then."""
        await ctx.tick().repeat(20)
        for _ in range(limit // 50):
            await ctx.tick().repeat(50)
            if not ctx.get(self.dut.busy):
                await ctx.tick().repeat(200)
                assert await self.stat(ctx, 0, QueueStat.FREE_CELLS) == self.config.cells
                for router in range(self.config.routers + 1):
                    for port in range(self.config.all_ports):
                        assert await self.stat(ctx, port, QueueStat.DEPTH, router) == 0
                return
        raise AssertionError("cells are missing")


def drop_reason(config, port):
    return Reason.DROP_PUNT_QUEUE if port == config.host_port else Reason.DROP_QUEUE


SHAPES = [
    {"data_width": 32, "cell_bytes": 32},
    {"data_width": 64, "cell_bytes": 64, "ports": 4},
    {"data_width": 128, "cell_bytes": 512, "buffer_bytes": 6144},
    {"data_width": 128, "cell_bytes": 32, "ports": 1, "routers": 1, "buffer_bytes": 3072},
    {"data_width": 256, "cell_bytes": 32, "queue_frames": 16},
    {"data_width": 256, "cell_bytes": 64},
]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s['data_width']}-{s['cell_bytes']}")


@each_shape
@pytest.mark.parametrize("load", ["light", "heavy"])
def test_random_traffic(shape, load):
    bench = Bench(**shape)
    config = bench.config
    host = config.host_port
    rng = random.Random(f"{shape} {load}")
    # Wide ports are slower, or they would drain the buffer faster than it fills.
    chance = 0.9 if load == "light" else min(0.25, 16 / config.data_width)
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
                own_source=rng.getrandbits(1))
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
                assert side == frame.side(port, host)
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
        assert bench.out[port] == [(frame.data, frame.side(port, config.host_port))]
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


def test_control_goes_before_normal_and_each_keeps_its_order():
    bench = Bench(data_width=64, queue_frames=16, buffer_bytes=8192)
    bench.ready = [lambda: 0] * 3
    frames = [Frame(bytes([n]) * 60, copies=1, traffic_class=n % 2, router=n // 2 % 2) for n in range(14)]

    async def traffic(ctx):
        for frame in frames:
            await bench.send(ctx, frame)
        bench.ready = [lambda: 1] * 3
        await bench.drained(ctx)

    bench.run(traffic)
    order = [data[0] for data, _ in bench.out[0]]
    assert order[:2] == [0, 1]          # in the output, and on their way to it
    assert [n % 2 for n in order[2:]] == [1] * 6 + [0] * 6
    for router in range(2):
        for class_ in range(2):
            mine = [n for n in order if n % 2 == class_ and n // 2 % 2 == router]
            assert mine == sorted(mine)


@pytest.mark.parametrize(("quanta", "sizes"), [
    ((1518, 1518, 1518), (60, 700, 1514)),
    ((2000, 4000, 8000), (1514, 1514, 1514)),
    ((0, 3036, 1518), (64, 1000, 200)),
])
def test_deficit_round_robin_shares_bytes_by_quantum(quanta, sizes):
    bench = Bench(data_width=256, cell_bytes=512, queue_frames=256, buffer_bytes=1 << 18, routers=3)
    bench.ready = [lambda: 0] * 3
    rng = random.Random(8)
    quanta_used = [max(q, least_quantum(bench.config)) for q in quanta]
    most = [40000 * q // max(quanta_used) for q in quanta_used]

    async def traffic(ctx):
        for router in range(3):
            await bench.shape(ctx, router, 0, quantum=quanta[router])
            assert unpack(SHAPER_ROW, await access(ctx, bench.dut.shaper, router * 3))["quantum"] == quanta[router]
        frames = [[Frame(rng.randbytes(size), copies=1, router=r) for _ in range(min(250, most[r] // size + 1))]
                  for r, size in enumerate(sizes)]
        for k in range(max(map(len, frames))):
            for queue in frames:
                if k < len(queue):
                    await bench.send(ctx, queue[k])
        bench.ready[0] = lambda: 1
        await bench.drained(ctx)

    bench.run(traffic)
    totals = Counter()
    done = Counter()
    for _, side in bench.out[0]:
        totals[side[0]] += 1
    sent_bytes = Counter()
    # As long as all have something to send, what they take of the line follows the quanta within a turn, in the first
    # of which only one frame is sent, and a frame.
    for data, side in bench.out[0]:
        sent_bytes[side[0]] += len(data) + LINE_OVERHEAD
        done[side[0]] += 1
        if any(done[r] == totals[r] for r in range(3)):
            break
        for a in range(3):
            for b in range(3):
                rounds = (sent_bytes[a] / quanta_used[a]) - (sent_bytes[b] / quanta_used[b])
                assert rounds <= 2 + least_quantum(bench.config) / quanta_used[a] + 0.1, (sent_bytes, quanta_used)
    assert min(done[r] for r in range(3)) >= 3


@pytest.mark.parametrize(("rate", "burst", "size"), [
    (20 << 16, 1518, 60), (300 << 16, 1518, 1514), (300 << 16, 3000, 300), (50 << 16, 50, 60)])
def test_shaper_keeps_its_rate(rate, burst, size):
    bench = Bench(data_width=64, queue_frames=64, buffer_bytes=1 << 16, routers=2)
    rng = random.Random(9)
    config = bench.config
    period = shaper_cycles(config)
    assert period == 16 * 2 * 3

    async def traffic(ctx):
        await bench.shape(ctx, 1, 0, limit=1, rate=rate, burst=burst)
        # A bucket that is full already gains nothing.
        await ctx.tick().repeat(20 * period)
        for k in range(FRAMES):
            await bench.send(ctx, Frame(rng.randbytes(size), copies=1, router=1, traffic_class=k % 2))
            if k % 4 == 0:
                await bench.send(ctx, Frame(rng.randbytes(size), copies=1, router=0))
                await bench.send(ctx, Frame(rng.randbytes(size), copies=2, router=1))
        await bench.drained(ctx, limit=200_000)

    bench.run(traffic)
    assert len(bench.out[0]) == FRAMES * 5 // 4 and len(bench.out[1]) == FRAMES // 4
    beats = -(-size // 8)
    ends, done = [], 0
    for _, side in bench.out[0]:
        done += beats
        if side[0] == 1:
            ends.append(bench.beats[0][done - 1])
    bytes_ = (len(ends) - 1) * (size + FCS)
    expected = (bytes_ - burst) / (rate / 2 ** 16) * period
    wire = FRAMES * beats           # it cannot be faster than the port
    slack = (size + FCS) / (rate / 2 ** 16) * period + 2 * period
    assert max(expected, wire) - slack <= ends[-1] - ends[0] <= max(expected, wire) + slack
    # Never more than the burst and a frame in any stretch.
    for a in range(len(ends)):
        for b in range(a + 1, len(ends)):
            allowed = burst + 2 * (size + FCS) + (ends[b] - ends[a] + 2 * period) / period * rate / 2 ** 16
            assert (b - a) * (size + FCS) <= allowed


def test_taking_the_shaper_away_lets_waiting_frames_go():
    bench = Bench(data_width=64, routers=2)

    async def traffic(ctx):
        await bench.shape(ctx, 1, 0, limit=1)
        for n in range(5):
            await bench.send(ctx, Frame(bytes([n]) * 60, copies=1, router=1))
        await ctx.tick().repeat(1000)
        assert len(bench.out[0]) == 1
        await bench.shape(ctx, 1, 0)
        await bench.drained(ctx)

    bench.run(traffic)
    assert [data[0] for data, _ in bench.out[0]] == [0, 1, 2, 3, 4]


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
