import random
from collections import Counter, deque
from itertools import pairwise

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Value
from polyrouter.hdl.capture import FATE
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import Reason, pack, unpack
from polyrouter.hdl.pairing import Pairing
from polyrouter.hdl.records import EVENT, HIT, LEARN, POLICE, VERDICT, paired_layout
from polyrouter.hdl.stream import packet_layout

from .bench import WIDTHS, packet_beats, simulate, sink, source, until

#: Verdict of a frame that goes to a data port and has no other effect.
PLAIN = {"copies": 1, "reason": Reason.FORWARDED}


def passes(request):
    """What the model of the policers answers, so that each outcome is frequent."""
    return not any(request[f"{of}_en"] and request[f"{of}_row"] % 3 == 0 for of in ("router", "rule"))


class Frame:
    """A frame, its fate and its verdict, and what has to come of it by docs/dataplane.md."""

    def __init__(self, port, octets, *, good=True, link_port=None, **verdict):
        self.port = port
        self.octets = octets
        self.good = good
        self.verdict = {"port": port} | verdict
        self.fate = pack(FATE, {"good": good, "length": len(octets)})
        self.packed = pack(VERDICT, self.verdict)
        self.sent = self.police = self.hit = self.learn = self.event = None
        if not good:
            return
        field = unpack(VERDICT, self.packed)
        length = len(octets)
        wanted = field["copies"] or field["host"] or field["group"]
        reason = None
        if field["rule_hit"]:
            self.hit = {"rule": field["rule"], "length": length}
        if length < field["least_length"]:
            reason = Reason.DROP_MALFORMED
        elif wanted and (field["police_router"] or field["police_rule"]):
            self.police = {
                "router_en": field["police_router"], "router_row": field["router_policer"],
                "rule_en": field["police_rule"], "rule_row": field["rule_policer"], "length": length}
            if not passes(self.police):
                reason = Reason.DROP_POLICER
        if field["learn"] and reason is None:
            self.learn = {"mac": field["smac"], "port": port, "base": field["mac_base"], "size": field["mac_size"],
                          "vid": field["tci"] & 0xFFF if port == link_port else 0}
        if reason is None:
            if wanted:
                self.sent = (octets, self.packed)
            if self.sent is None or field["count_drop"]:
                reason = field["reason"]
        if reason is not None:
            self.event = {"router": field["router"], "port": port, "reason": reason}


class Bench:
    """A Pairing with models of all that is around it; ``run`` sends frames, listed in the order of their headers."""

    def __init__(self, config, *, seed=0):
        self.config = config
        self.dut = Pairing(config)
        self.rng = random.Random(seed)
        self.hits, self.learns, self.events, self.asked = [], [], [], []
        self.sent = {port: [] for port in range(config.all_ports)}
        self.beat_times, self.verdict_times = [], []
        self.underway = [0] * config.all_ports

    def verdicts(self, frames, rate):
        """Keeps within ``headers`` of a port, as the header arbiter does."""
        async def testbench(ctx):
            for frame in frames:
                while self.underway[frame.port] >= self.config.headers:
                    await ctx.tick()
                self.underway[frame.port] += 1
                await source(self.dut.i, [frame.packed], rng=self.rng, rate=rate)(ctx)
        return testbench

    async def watch_released(self, ctx):
        async for *_, released in ctx.tick().sample(self.dut.released):
            for port in range(self.config.all_ports):
                self.underway[port] -= released >> port & 1
                assert self.underway[port] >= 0

    def port(self, port, frames, rate, body_delay=3):
        """Fates when the frames are whole, and bodies, without gaps, some cycles later."""
        width = self.config.data_width
        whole = deque()

        async def fates(ctx):
            for frame in frames:
                while self.rng.random() >= rate:
                    await ctx.tick()
                if frame.good:
                    whole.append(frame)
                await source(self.dut.fate[port], [frame.fate])(ctx)

        async def bodies(ctx):
            body = self.dut.body[port]
            while True:
                while not whole:
                    await ctx.tick()
                for _ in range(self.rng.randint(0, body_delay)):
                    await ctx.tick()
                await source(body, packet_beats(packet_layout(width), whole.popleft().octets, width))(ctx)
        return fates, bodies

    def policers(self, latency):
        """One request at a time."""
        async def testbench(ctx):
            dut = self.dut
            while True:
                ctx.set(dut.police.ready, self.rng.random() < 0.7 or latency == 6)
                *_, valid, ready, request = await ctx.tick().sample(
                    dut.police.valid, dut.police.ready, Value.cast(dut.police.payload))
                if valid and ready:
                    ctx.set(dut.police.ready, 0)
                    request = unpack(POLICE, request)
                    self.asked.append(request)
                    for _ in range(latency - 1):
                        await ctx.tick()
                    await source(dut.passed, [passes(request)])(ctx)
        return testbench

    def output(self, rate):
        """Checks stability, and that there are no gaps inside of a frame."""
        layout = paired_layout(self.config.data_width)

        async def testbench(ctx):
            o = self.dut.o
            cycle = 0
            octets, side, offered = b"", None, None
            while True:
                ready = self.rng.random() < rate
                ctx.set(o.ready, ready)
                *_, valid, value = await ctx.tick().sample(o.valid, Value.cast(o.payload))
                cycle += 1
                assert valid or (side is None and offered is None), "gap inside of a frame"
                assert offered in (None, value), "payload changed before the transfer"
                offered = value if valid and not ready else None
                if not valid or not ready:
                    continue
                self.beat_times.append(cycle)
                fields = unpack(layout, value)
                octets += fields.pop("data").to_bytes(self.config.beat_bytes, "little")
                last = fields.pop("last")
                assert side in (None, fields), "a side field changed within a frame"
                side = fields
                if last:
                    assert 0 <= len(octets) - side["length"] < self.config.beat_bytes
                    port = unpack(VERDICT, side["verdict"])["port"]
                    self.sent[port].append((octets[:side["length"]], side["verdict"]))
                    octets, side = b"", None
        return testbench

    def run(self, frames, *, rates=None, latency=6, limit=100_000):
        """``rates``: of verdicts, fates, output, and effects."""
        rates = rates or (1.0, 1.0, 1.0, 1.0)
        dut, rng = self.dut, self.rng
        background = [self.watch_released, self.policers(latency), self.output(rates[2])]
        for stream, layout, items in (
                (dut.hit, HIT, self.hits), (dut.learn, LEARN, self.learns), (dut.event, EVENT, self.events)):
            background.append(sink(stream, _Unpacked(layout, items), rng=rng, rate=rates[3]))
        for port in range(self.config.all_ports):
            background += self.port(port, [f for f in frames if f.port == port], rates[1], 3 if rates[0] < 1 else 0)
        sent = sum(frame.sent is not None for frame in frames)

        def finished():
            return (sum(len(of_port) for of_port in self.sent.values()) == sent and not any(self.underway)
                    and all(len(got) == sum(getattr(f, name) is not None for f in frames)
                            for got, name in ((self.hits, "hit"), (self.learns, "learn"), (self.events, "event"))))

        simulate(dut, [self.verdicts(frames, rates[0]), until(finished, limit)], background, limit + 1000)
        self.check(frames)

    def check(self, frames):
        for port in range(self.config.all_ports):
            of_port = [frame for frame in frames if frame.port == port]
            assert self.sent[port] == [frame.sent for frame in of_port if frame.sent is not None]
            assert [event for event in self.events if event["port"] == port] == [
                frame.event for frame in of_port if frame.event is not None]
            assert [learn for learn in self.learns if learn["port"] == port] == [
                frame.learn for frame in of_port if frame.learn is not None]

        def bag(items):
            return Counter(tuple(item.items()) for item in items if item is not None)
        assert bag(self.hits) == bag(frame.hit for frame in frames)
        assert bag(self.asked) == bag(frame.police for frame in frames)


class _Unpacked:
    """A list that unpacks what is appended to it."""

    def __init__(self, layout, items):
        self.layout, self.items = layout, items

    def append(self, value):
        self.items.append(unpack(self.layout, value))


def random_frame(rng, config):
    """A frame with a verdict whose fields are random, the effects each with a chance of a third or so."""
    length = rng.choice([rng.randint(14, 80), 60, 60, rng.randint(14, 300)])
    verdict = {str(name): rng.getrandbits(entry.width) for name, entry in VERDICT if name != "port"}
    for name in ("host", "group", "count_drop", "rule_hit", "police_router", "police_rule", "learn"):
        verdict[name] = int(rng.random() < 0.3)
    verdict["copies"] = rng.choice([0, verdict["copies"]])
    verdict["least_length"] = rng.choice([0, 0, 0, length, length + 1, rng.getrandbits(17), 1 << 16])
    return Frame(rng.randrange(config.all_ports), rng.randbytes(length), good=rng.random() < 0.85,
                 link_port=config.link_port, **verdict)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rates, latency", [
    ((1.0, 1.0, 1.0, 1.0), 6), ((0.05, 0.5, 1.0, 1.0), 2), ((0.9, 0.03, 0.7, 0.3), 3), ((0.9, 0.9, 0.3, 0.05), 1)])
def test_random_frames(width, rates, latency):
    rng = random.Random(f"{width} {rates}")
    config = CoreConfig(data_width=width)
    frames = [random_frame(rng, config) for _ in range(120)]
    Bench(config, seed=width).run(frames, rates=rates, latency=latency)


@pytest.mark.parametrize("ports, circuits, headers", [(1, 0, 16), (2, 0, 4), (8, 0, 8), (2, 64, 4), (8, 64, 16)])
def test_any_number_of_ports_and_headers(ports, circuits, headers):
    rng = random.Random(ports)
    config = CoreConfig(data_width=128, ports=ports, circuits=circuits, headers=headers)
    Bench(config).run([random_frame(rng, config) for _ in range(80)], rates=(0.7, 0.3, 0.7, 0.7))


def test_effects_of_each_outcome_alone():
    every = {"rule_hit": 1, "rule": 5, "learn": 1, "smac": 7, "mac_base": 3, "mac_size": 8, "router": 6}
    frames = [
        Frame(0, bytes(60), **every, **PLAIN),
        Frame(1, bytes(60), **every, **PLAIN, good=False),
        Frame(2, bytes(60), **every, **PLAIN, least_length=61),
        Frame(3, bytes(60), **every, **PLAIN, least_length=60),
        Frame(4, bytes(60), **every, **PLAIN, police_router=1, router_policer=3),
        Frame(0, bytes(60), **every, **PLAIN, police_rule=1, rule_policer=4),
        Frame(1, bytes(60), **every, reason=Reason.DROP_FILTER),
        Frame(2, bytes(60), **every, reason=Reason.DROP_FILTER, host=1, count_drop=1),
        Frame(3, bytes(60), **every, reason=Reason.DROP_FILTER, host=1, count_drop=1, police_rule=1, rule_policer=3),
        Frame(4, bytes(60), router=8, group=1, host_reason=Reason.PUNT_GROUP),
        # Nothing to be sent: no bucket is charged for it
        Frame(0, bytes(60), **every, reason=Reason.DROP_FILTER, police_router=1, router_policer=3),
    ]
    assert [frame.event and frame.event["reason"] for frame in frames] == [
        None, None, Reason.DROP_MALFORMED, None, Reason.DROP_POLICER, None, Reason.DROP_FILTER, Reason.DROP_FILTER,
        Reason.DROP_POLICER, None, Reason.DROP_FILTER]
    assert [frame.learn is not None for frame in frames] == [1, 0, 0, 1, 0, 1, 1, 1, 0, 0, 1]
    assert [frame.hit is not None for frame in frames] == [1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1]
    assert [frame.sent is not None for frame in frames] == [1, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert [frame.police is not None for frame in frames] == [0, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0]
    Bench(CoreConfig()).run(frames)


def test_a_source_is_learned_with_the_circuit_that_it_came_in_by():
    """At the link port. The VLAN of a frame from elsewhere, and where its copies go, do not matter."""
    config = CoreConfig(ports=3, circuits=4096)
    learns = {"learn": 1, "smac": 7, "mac_base": 3, "mac_size": 8, "vid": 0x222}
    frames = [Frame(port, bytes(60), **PLAIN, **learns, tagged=int(tci != 0), tci=tci, link_port=2)
              for tci in (0, 0x6005, 0xF005, 0xFFFF, 0x0800) for port in range(3)]
    assert [frame.learn["vid"] for frame in frames] == [0, 0, 0, 0, 0, 5, 0, 0, 5, 0, 0, 0xFFF, 0, 0, 0x800]
    Bench(config).run(frames)


def test_a_frame_that_is_still_coming_in_does_not_hold_up_other_ports():
    """All verdicts of port 0 are there, and its frames are not."""
    config = CoreConfig()
    bench = Bench(config)
    slow = [Frame(0, bytes([k]) * 60, **PLAIN) for k in range(config.headers)]
    fast = [Frame(1 + k % 4, bytes([k]) * 60, **PLAIN) for k in range(40)]
    begin = []

    async def main(ctx):
        await ctx.tick().repeat(600)
        assert sum(len(frames) for frames in bench.sent.values()) == len(fast)
        begin.append(True)

    async def late(ctx):
        while not begin:
            await ctx.tick()
        await source(bench.dut.fate[0], [frame.fate for frame in slow])(ctx)

    bodies = [beat for frame in slow for beat in packet_beats(packet_layout(64), frame.octets, 64)]
    background = [bench.watch_released, bench.output(1.0), late, source(bench.dut.body[0], bodies)]
    for port in range(1, config.all_ports):
        background += bench.port(port, [frame for frame in fast if frame.port == port], 1.0)
    simulate(bench.dut, [bench.verdicts(slow + fast, 1.0), main, until(lambda: len(bench.sent[0]) == len(slow))],
             background)
    bench.check(slow + fast)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("policed", [False, True])
@pytest.mark.parametrize("ports", ["one", "all"])
def test_sustained_rate(width, policed, ports):
    """60-byte frames one every 10 cycles, or without any gap if they are longer than that."""
    config = CoreConfig(data_width=width)
    effects = {"rule_hit": 1, "learn": 1} | ({"police_router": 1, "router_policer": 1} if policed else {})
    frames = [Frame(k % 5 if ports == "all" else 1, bytes([k]) * 60, **PLAIN, **effects) for k in range(50)]
    bench = Bench(config)
    bench.run(frames)
    beats = -(-60 // config.beat_bytes)
    firsts = bench.beat_times[::beats]
    gaps = {b - a for a, b in pairwise(firsts[5:])}
    assert max(gaps) <= max(10, beats)
    if not policed:
        assert max(gaps) == max(3, beats)


def test_dropped_frames_of_other_ports_cost_nothing():
    """Long frames of ports 1 and 2 are thrown away while port 0 goes on."""
    frames = []
    for k in range(10):
        frames += [Frame(0, bytes([k]) * 60, **PLAIN), Frame(1 + k % 2, bytes(1500), reason=Reason.DROP_BLACKHOLE)]
    bench = Bench(CoreConfig())
    bench.run(frames)
    lasting = bench.beat_times[-1] - bench.beat_times[0]
    assert lasting < 5 * 188 + 10 * 20      # each of the two ports has to get rid of five of them


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("first, latency", [("fate", 3), ("verdict", 5)])
def test_latency(width, first, latency):
    """Cycles from when the later of verdict and fate is offered to when the first beat is."""
    config = CoreConfig(data_width=width)
    bench = Bench(config)
    dut = bench.dut
    frame = Frame(2, bytes(range(60)), **PLAIN)
    other, later = (dut.fate[2], dut.i) if first == "fate" else (dut.i, dut.fate[2])
    values = {"fate": frame.fate, "verdict": frame.packed}
    second = "verdict" if first == "fate" else "fate"
    cycles = []

    async def main(ctx):
        await ctx.tick().repeat(3)
        ctx.set(dut.o.ready, 1)
        ctx.set(other.valid, 1)
        ctx.set(Value.cast(other.payload), values[first])
        ready = 0
        for _ in range(10):
            *_, ready = await ctx.tick().sample(other.ready)
            if ready:
                ctx.set(other.valid, 0)
        ctx.set(later.valid, 1)
        ctx.set(Value.cast(later.payload), values[second])
        cycle = 0
        while not ctx.get(dut.o.valid):
            *_, ready, taken = await ctx.tick().sample(later.ready, other.ready)
            cycle += 1
            if ready:
                ctx.set(later.valid, 0)
            if taken:
                ctx.set(other.valid, 0)
        cycles.append(cycle)

    beats = packet_beats(packet_layout(width), frame.octets, width)
    simulate(dut, [main], [source(dut.body[2], beats)])
    assert cycles == [latency]


@pytest.mark.parametrize("ports", [(1, 1), (1, 2)])
def test_verdict_that_comes_as_an_earlier_one_is_chosen(ports):
    """It does not overtake the one in the store, whatever the cycle in which the fates come."""
    for offset in range(-4, 5):
        bench = Bench(CoreConfig())
        dut = bench.dut
        frames = [Frame(port, bytes([k]) * 60, router=k, **PLAIN) for k, port in enumerate(ports)]
        bodies = {port: [beat for frame in frames if frame.port == port
                         for beat in packet_beats(packet_layout(64), frame.octets, 64)] for port in ports}

        async def verdicts(ctx, dut=dut, frames=frames):
            await source(dut.i, [frames[0].packed])(ctx)
            await ctx.tick().repeat(10)
            await source(dut.i, [frames[1].packed])(ctx)

        def fates(port, bench=bench, frames=frames, offset=offset):
            async def testbench(ctx):
                await ctx.tick().repeat(11 + offset)
                await source(bench.dut.fate[port], [frame.fate for frame in frames if frame.port == port])(ctx)
            return testbench

        simulate(dut, [verdicts, until(lambda bench=bench: sum(map(len, bench.sent.values())) == 2, 200)],
                 [bench.output(1.0), *(fates(port) for port in bodies),
                  *(source(dut.body[port], beats) for port, beats in bodies.items())])
        bench.check(frames)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("ports", [1, 8])
def test_elaborates(width, ports):
    assert rtlil.convert(Pairing(CoreConfig(data_width=width, ports=ports)))
