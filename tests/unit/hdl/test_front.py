"""Ingress to pairing, all ports and the injected frames, with a model of the look-ups in between."""

import random
from collections import deque

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect
from polyrouter.hdl.arbiter import HeaderArbiter
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.headertap import HeaderTap
from polyrouter.hdl.ingress import Ingress
from polyrouter.hdl.layouts import Reason, RxError, pack, unpack
from polyrouter.hdl.pairing import Pairing
from polyrouter.hdl.parser import Parser
from polyrouter.hdl.records import META, VERDICT, paired_layout
from polyrouter.hdl.stream import frame_layout, packet_layout

from .bench import WIDTHS, frame_beats, packet_beats, packets, simulate, sink, source, until
from .test_ingress import beats_of, judge


class Front(wiring.Component):
    """The stages, connected as in the core."""

    def __init__(self, config):
        self.config = config
        self.ingress = [Ingress(config) for _ in range(config.ports)]
        self.tap = HeaderTap(config)
        self.arbiter = HeaderArbiter(config)
        self.parser = Parser(config)
        self.pairing = Pairing(config)
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules += [*self.ingress, self.tap, self.arbiter, self.parser, self.pairing]
        for port, stage in enumerate([*self.ingress, self.tap]):
            header = self.arbiter.i[port] if port < self.config.ports else self.arbiter.i_host
            connect(m, stage.o_header, header)
            connect(m, stage.o_fate, self.pairing.fate[port])
            connect(m, stage.o, self.pairing.body[port])
            if self.config.narrow_headers:
                beats = self.arbiter.i_beats[port] if port < self.config.ports else self.arbiter.i_host_beats
                connect(m, stage.o_beats, beats)
        m.d.comb += [
            self.arbiter.inject_router.eq(self.tap.router),
            self.arbiter.inject_port.eq(self.tap.port),
            self.arbiter.released.eq(self.pairing.released),
        ]
        connect(m, self.arbiter.o, self.parser.i)
        if self.config.narrow_headers:
            connect(m, self.arbiter.o_beats, self.parser.i_beats)
        return m


class Bench:
    """Look-ups take ``delay`` cycles; their verdict carries the header's source address, router and egress port."""

    def __init__(self, config, *, delay=60, seed=0):
        self.config = config
        self.dut = Front(config)
        self.delay = delay
        self.rng = random.Random(seed)
        self.out, self.times, self.events, self.dropped = [], [], [], []
        self.beat_times = [[] for _ in range(config.all_ports)]
        self.meta_times, self.verdict_times = [], []

    def verdict(self, meta):
        copies = 0 if meta["smac"] & 7 == 0 else 1 << meta["egress"]
        return pack(VERDICT, {
            "smac": meta["smac"], "port": meta["port"], "router": meta["router"], "copies": copies,
            "reason": Reason.DROP_FAULT, "least_length": meta["least_length"]})

    async def lookup(self, ctx):
        due = deque()
        parser, pairing = self.dut.parser.o, self.dut.pairing.i
        cycle = 0
        while True:
            ctx.set(parser.ready, len(due) < 40)
            offered = bool(due) and due[0][0] <= cycle
            ctx.set(pairing.valid, offered)
            if offered:
                ctx.set(pairing.payload.as_value(), due[0][1])
            *_, valid, ready, taken, meta = await ctx.tick().sample(
                parser.valid, parser.ready, pairing.ready, parser.payload.as_value())
            cycle += 1
            if offered and taken:
                due.popleft()
                self.verdict_times.append(cycle)
            if valid and ready:
                self.meta_times.append(cycle)
                due.append((cycle + self.delay, self.verdict(unpack(META, meta))))

    def run(self, ports, injected=(), *, rates=(1.0, 1.0), limit=20_000):
        """``ports``: for each a list of (frame, error); ``injected``: (frame, router, port)."""
        config, dut = self.config, self.dut
        width = config.data_width
        sending = []
        for port, frames in enumerate(ports):
            beats = [beat for frame in frames for beat in frame_beats(frame_layout(width), frame[0], width, frame[1])]
            sending.append(source(dut.ingress[port].i, beats, rng=self.rng, rate=rates[0], times=self.beat_times[port]))

        async def inject(ctx):
            for frame, router, port in injected:
                ctx.set(dut.tap.i_router, router)
                ctx.set(dut.tap.i_port, port)
                await source(dut.tap.i, packet_beats(packet_layout(width), frame, width), rng=self.rng,
                             rate=rates[0])(ctx)

        total = sum(len(frames) for frames in ports) + len(injected)
        lasts = []

        async def count_lasts(ctx):
            o = dut.pairing.o
            async for *_, valid, ready, last in ctx.tick().sample(o.valid, o.ready, o.payload.last):
                if valid and ready and last:
                    lasts.append(None)

        background = [self.lookup, count_lasts,
                      sink(dut.pairing.o, self.out, rng=self.rng, rate=rates[1], times=self.times),
                      sink(dut.pairing.event, self.dropped), *(sink(stage.event, self.events) for stage in dut.ingress)]
        simulate(dut, [*sending, inject,
                       until(lambda: len(lasts) + len(self.events) + len(self.dropped) == total, limit)],
                 background, limit + 1000)
        sent = [[] for _ in range(config.all_ports)]
        for frame, side in packets(paired_layout(width), self.out, width):
            verdict = unpack(VERDICT, side["verdict"])
            sent[verdict["port"]].append((frame, verdict))
        return sent


def random_frames(rng, count):
    frames = []
    for _ in range(count):
        length = rng.choice([rng.randint(1, 80), rng.randint(14, 400), 60, 60, 1515 if rng.random() < 0.2 else 64])
        octets = rng.randbytes(12) + rng.choice([b"\x81\x00" + rng.randbytes(2), b"", b""])
        octets += rng.choice([b"\x08\x00\x45\0\0\x40", b"\x86\xdd\x60", b"\x08\x06"]) + rng.randbytes(1600)
        frames.append((octets[:length], rng.choice(list(RxError)) if rng.random() < 0.2 else RxError.NONE))
    return frames


def outcome(frame):
    """Whether it is sent, if good: the model of the look-ups drops some, and the pairing what is not whole."""
    if int.from_bytes(frame[6:12], "big") & 7 == 0:
        return False
    tag = 4 * (len(frame) >= 18 and frame[12:14] == b"\x81\x00")
    packet = frame[14 + tag:]
    if frame[12 + tag:14 + tag] == b"\x08\x00":
        return len(packet) < 20 or int.from_bytes(packet[2:4], "big") <= len(packet)
    if frame[12 + tag:14 + tag] == b"\x86\xdd":
        return len(packet) < 40 or int.from_bytes(packet[4:6], "big") + 40 <= len(packet)
    return True


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rates, delay", [((1.0, 1.0), 60), ((0.15, 1.0), 100), ((1.0, 0.4), 5)])
def test_each_frame_meets_its_own_verdict(width, rates, delay):
    config = CoreConfig(data_width=width, ports=3, ingress_bytes=16384)
    rng = random.Random(f"{width} {delay}")
    ports = [random_frames(rng, 40) for _ in range(config.ports)]
    injected = [(frame + bytes(14), rng.randrange(8), rng.randrange(3)) for frame, _ in random_frames(rng, 20)]
    bench = Bench(config, delay=delay, seed=width)
    sent = bench.run(ports, injected, rates=rates)
    judged = [judge(*frame, config.max_frame - 4) for frames in ports for frame in frames]
    assert sorted(bench.events) == sorted(verdict for verdict in judged if verdict is not None)
    for port, frames in enumerate([*ports, [(frame, RxError.NONE) for frame, *_ in injected]]):
        good = [frame for frame, error in frames
                if (port == config.host_port or judge(frame, error, config.max_frame - 4) is None) and outcome(frame)]
        assert [frame for frame, _ in sent[port]] == good
        for frame, verdict in sent[port]:
            assert verdict["smac"] == int.from_bytes(frame[6:12], "big")
    wanted = [(router, 1 << port) for frame, router, port in injected if outcome(frame)]
    assert [(verdict["router"], verdict["copies"]) for _, verdict in sent[config.host_port]] == wanted


FRAME = bytes(range(12)) + b"\x08\x00" + bytes.fromhex("4500002e") + bytes(42)


@pytest.mark.every_width
@pytest.mark.parametrize("width", WIDTHS)
def test_latencies(width):
    """From the beat that completes the header to the record; and from verdict or last beat to the first beat out."""
    config = CoreConfig(data_width=width)
    bench = Bench(config, delay=100)
    bench.run([[(FRAME, RxError.NONE)]])
    # A header in narrow beats is taken and read in 16 cycles, where another one takes a cycle to a register.
    parsed = 21 if config.narrow_headers else 6
    assert bench.meta_times[0] == bench.beat_times[0][beats_of(38, width) - 1] + parsed
    assert bench.times[0] == bench.verdict_times[0] + 3
    long = FRAME + bytes(1200)
    bench = Bench(config, delay=5)
    bench.run([[(long, RxError.NONE)]])
    assert bench.times[0] == bench.beat_times[0][-1] + 6


@pytest.mark.parametrize("width", WIDTHS)
def test_sustained_rate_of_shortest_frames(width):
    """At four ports at once: one in 10 cycles, or as fast as the beats of one stream go by, or narrow headers."""
    config = CoreConfig(data_width=width, ingress_bytes=16384)
    bench = Bench(config, delay=80)
    bench.run([[(FRAME, RxError.NONE)] * 30] * 4)
    beats = beats_of(60, width)
    firsts = bench.times[::beats]
    assert not bench.events
    assert firsts[-1] - firsts[20] <= max(10, beats, config.header_cycles) * (len(firsts) - 21)
    if width == 64:
        assert firsts[-1] - firsts[20] <= 8 * (len(firsts) - 21) + 8
