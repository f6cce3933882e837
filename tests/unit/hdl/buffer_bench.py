"""A frame buffer with a source, readers and a control engine, for its tests."""

from collections import defaultdict
from dataclasses import dataclass

import pytest
from amaranth.sim import Simulator
from polyrouter.hdl.buffer import FrameBuffer
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import QUOTA_ROW, SHAPER_ROW, QueueStat, Reason, TrafficClass, pack

from .bench import access


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
    entropy: int = 0

    def side(self, port, config):
        """What comes out beside the bytes at a port."""
        if port == config.host_port:
            return (self.router, self.port, self.host_reason, self.tci if self.tagged else 0)
        side = (self.router, int(self.tagged), self.tci, int(self.keep_tag), int(self.own_source))
        if port == config.link_port:
            side += (int(self.port == port), self.entropy)
        return side


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
                if port == self.config.link_port:
                    names += ("from_link", "entropy")
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
                    "group", "tagged", "tci", "keep_tag", "own_source", "entropy")},
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
    {"data_width": 64, "cell_bytes": 64, "ports": 4, "circuits": 64},
    {"data_width": 128, "cell_bytes": 512, "buffer_bytes": 6144},
    {"data_width": 128, "cell_bytes": 32, "ports": 1, "routers": 1, "buffer_bytes": 3072},
    {"data_width": 256, "cell_bytes": 32, "queue_frames": 16},
    {"data_width": 256, "cell_bytes": 64},
]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s['data_width']}-{s['cell_bytes']}")
