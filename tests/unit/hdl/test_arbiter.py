import random

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Value
from polyrouter.hdl.arbiter import Arbiter
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import unpack
from polyrouter.hdl.records import TAG
from polyrouter.hdl.stream import packet_layout

from .bench import WIDTHS, packet_beats, packets, simulate, sink, source, until


def host_source(dut, frames, layout, width, rng, rate):
    """Offers injected frames: tuples of (frame, router, egress port)."""
    async def testbench(ctx):
        for frame, router, port in frames:
            ctx.set(dut.inject_router, router)
            ctx.set(dut.inject_port, port)
            await source(dut.i_host, packet_beats(layout, frame, width), rng=rng, rate=rate)(ctx)
    return testbench


def run(config, frames, injected, *, rates=(1.0, 1.0), seed=0):
    """Frames with the tag of their first beat, and the cycle of each beat."""
    dut = Arbiter(config)
    width = config.data_width
    layout = packet_layout(width)
    rng = random.Random(seed)
    out, tags, times = [], [], []
    total = sum(len(f) for f in frames) + len(injected)

    async def watch_tags(ctx):
        """A tag holds for all beats of a frame."""
        first = None
        async for *_, valid, ready, beat, tag in ctx.tick().sample(
                dut.o.valid, dut.o.ready, Value.cast(dut.o.payload), Value.cast(dut.tag)):
            if valid and ready:
                assert first in (None, tag)
                first = tag
                if beat >> width & 1:
                    tags.append(unpack(TAG, tag))
                    first = None

    sources = [source(dut.i[k], [b for f in frames[k] for b in packet_beats(layout, f, width)], rng=rng, rate=rates[0])
               for k in range(config.ports)]
    sources.append(host_source(dut, injected, layout, width, rng, rates[0]))
    simulate(dut, [*sources, until(lambda: len(tags) == total)],
             [sink(dut.o, out, rng=rng, rate=rates[1], times=times), watch_tags])
    return [(frame, tag) for (frame, _), tag in zip(packets(layout, out, width), tags, strict=True)], times


@pytest.mark.parametrize("width, ports", [(32, 4), (64, 1), (128, 3), (256, 8)])
@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.4, 0.7)])
def test_frames_stay_whole_and_in_order_of_their_port(width, ports, rates):
    config = CoreConfig(data_width=width, ports=ports)
    rng = random.Random(width)
    frames = [[bytes([port]) + rng.randbytes(rng.randint(13, 150)) for _ in range(rng.randint(0, 12))]
              for port in range(ports)]
    injected = [(bytes([ports]) + rng.randbytes(rng.randint(13, 100)), rng.randrange(8), rng.randrange(ports))
                for _ in range(6)]
    out, _ = run(config, frames, injected, rates=rates, seed=width)
    for port in range(ports):
        of_port = [(frame, tag) for frame, tag in out if tag["port"] == port]
        assert [frame for frame, _ in of_port] == frames[port]
        assert all(tag == {"port": port, "injected": 0, "router": 0, "egress": 0} for _, tag in of_port)
    from_host = [(frame, tag["router"], tag["egress"]) for frame, tag in out if tag["injected"]]
    assert from_host == injected
    assert all(tag["port"] == config.host_port for _, tag in out if tag["injected"])


@pytest.mark.parametrize("width", WIDTHS)
def test_takes_turns_without_a_gap(width):
    config = CoreConfig(data_width=width)
    frames = [[bytes([port, k]) + bytes(30) for k in range(8)] for port in range(config.ports)]
    injected = [(bytes([4, k]) + bytes(30), 1, 1) for k in range(8)]
    out, times = run(config, frames, injected)
    order = [tag["port"] for _, tag in out]
    assert sorted(order[:5]) == [0, 1, 2, 3, 4]
    assert order == order[:5] * 8
    assert times == list(range(times[0], times[0] + len(times)))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_port_alone_has_one_idle_cycle_between_frames(width):
    config = CoreConfig(data_width=width)
    beats = -(-60 // (width // 8))
    _, times = run(config, [[], [bytes(60)] * 10, [], []], [])
    assert times == [times[0] + frame * (beats + 1) + beat for frame in range(10) for beat in range(beats)]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("ports", [1, 8])
def test_elaborates(width, ports):
    assert rtlil.convert(Arbiter(CoreConfig(data_width=width, ports=ports)))
