"""Frames from the host, valid and malformed, against the rules of docs/dataplane.md."""

import random

import pytest
from polyrouter.hdl.config import HOST_HEADER_BYTES, CoreConfig
from polyrouter.hdl.deframer import HostDeframer
from polyrouter.hdl.layouts import HOST_HEADER, HostFrameType, Reason, pack
from polyrouter.hdl.stream import packet_layout

from .bench import WIDTHS, packet_beats, packets, simulate, sink, source, until

SOURCE = 0x665544332211


def frame(payload, **fields):
    header = {"source": SOURCE, "ethertype": 0xB588, "version": 1, "length": len(payload)} | fields
    return pack(HOST_HEADER, header).to_bytes(HOST_HEADER_BYTES, "little") + payload


def run(width, frames, seed=0):
    """Send frames; returns injected frames with router and port, requests with their header, drops, host_mac."""
    config = CoreConfig(data_width=width, ports=4, routers=8)
    dut = HostDeframer(config)
    layout = packet_layout(width)
    rng = random.Random(seed)
    beats = [beat for f in frames for beat in packet_beats(layout, f, width)]
    injected, requests, drops, sidebands, macs = [], [], [], [], []
    sent, counted = [], []

    async def feed(ctx):
        await source(dut.i, beats, rng=rng, rate=0.8)(ctx)
        await ctx.tick().repeat(300)
        macs.append(ctx.get(dut.host_mac))
        sent.append(True)

    async def sideband(ctx):
        async for _, _, valid, ready, payload, router, port in ctx.tick().sample(
                dut.o_inject.valid, dut.o_inject.ready, dut.o_inject.payload, dut.inject_router, dut.inject_port):
            if valid and ready:
                sidebands.append(("inject", payload.last, router, port))

    async def sideband_request(ctx):
        async for _, _, valid, ready, payload, request in ctx.tick().sample(
                dut.o_request.valid, dut.o_request.ready, dut.o_request.payload, dut.request):
            if valid and ready:
                sidebands.append(("request", payload.last, request.source, request.sequence, request.reason,
                                  request.length))

    async def accepted(ctx):
        async for _, _, once in ctx.tick().sample(dut.accepted):
            counted.append(once)

    simulate(dut, [feed, until(lambda: sent)], [
        accepted,
        sink(dut.o_inject, injected, rng=rng, rate=0.7), sink(dut.o_request, requests, rng=rng, rate=0.7),
        sink(dut.event, drops, rng=rng, rate=0.5), sideband, sideband_request])

    result = []
    bodies = {"inject": iter(packets(layout, injected, width)), "request": iter(packets(layout, requests, width))}
    current = set()
    for kind, last, *fields in sidebands:
        current.add((kind, *fields))
        if last:
            assert len(current) == 1, "a side field changed within a frame"
            result.append((*current.pop(), next(bodies[kind])[0]))
            current.clear()
    assert all(drop == Reason.DROP_HOST for drop in drops)
    assert sum(counted) == len(result), "one cycle of accepted for each valid frame"
    return result, len(drops), macs[0]


@pytest.mark.parametrize("width", WIDTHS)
def test_random_frames(width):
    rng = random.Random(width)
    frames, expected, mac = [], [], (1 << 48) - 1
    for _ in range(100):
        kind = rng.choice([0, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4])
        size = rng.choice([13, 14, 16, 32, 48, 64, 61, 96, 1024, 1040, rng.randrange(14, 300)])
        body = rng.randbytes(size)
        fields = {
            "type": kind, "router": rng.choice([0, 3, 7, 7, 8]), "port": rng.choice([0, 1, 3, 3, 4]),
            "sequence": rng.getrandbits(32), "reason": rng.choice([0, 1, 77]), "source": rng.getrandbits(48),
            "length": max(0, size - rng.choice([0, 0, 0, 0, 0, 1, 16, -1])),
        } | rng.choice([{}, {}, {}, {}, {"ethertype": 0x0008}, {"version": 2}])
        f = frame(body, **fields)
        if rng.random() < 0.1:
            f = f[:rng.randrange(14, 33)]
            body = b""
        frames.append(f)
        good = (len(f) >= 32 and fields["length"] <= len(body)
                and fields.get("ethertype", 0xB588) == 0xB588 and fields.get("version", 1) == 1)
        if good and kind == HostFrameType.INJECT and fields["length"] >= 14 and fields["router"] < 8 \
                and fields["port"] < 4:
            expected.append(("inject", fields["router"], fields["port"], body))
        elif good and kind == HostFrameType.REQUEST and fields["length"] in range(16, 1025, 16):
            expected.append(("request", fields["source"], fields["sequence"], fields["reason"], fields["length"], body))
        else:
            continue
        mac = fields["source"]
    result, drops, host_mac = run(width, frames)
    assert result == expected
    assert drops == len(frames) - len(expected) > 10
    assert len(expected) > 10
    assert host_mac == mac


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("fields", [
    {"type": 1}, {"type": 4}, {"type": 0}, {"ethertype": 0x88B5}, {"version": 0}, {"router": 8}, {"port": 4},
    {"length": 13}, {"length": 61}, {"length": 65535},
    {"type": 3, "length": 0}, {"type": 3, "length": 8}, {"type": 3, "length": 17}, {"type": 3, "length": 1040},
], ids=str)
def test_each_rule_alone(width, fields):
    size = 1100 if fields.get("length") == 1040 else 60
    good = frame(bytes(range(60)), type=2, router=7, port=3)
    bad = frame(bytes(size), **{"type": 2, "router": 7, "port": 3, "source": 5} | fields)
    result, drops, mac = run(width, [bad, good, bad])
    assert result == [("inject", 7, 3, bytes(range(60)))]
    assert drops == 2
    assert mac == SOURCE


def test_before_any_valid_frame_the_host_is_everyone():
    assert run(64, [frame(bytes(60), type=9)]) == ([], 1, (1 << 48) - 1)
