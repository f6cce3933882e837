"""Frames to the host: header, order, fairness."""

import random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.enframer import HostEnframer
from polyrouter.hdl.hostframe import response_layout
from polyrouter.hdl.layouts import HOST_HEADER, pack, unpack
from polyrouter.hdl.records import punted_layout
from polyrouter.hdl.stream import frame_layout

from .bench import WIDTHS, chunks, simulate, sink, source, until

HOST = int.from_bytes(bytes.fromhex("0200000000fe"), "little")


def beats(layout, body, width, fields):
    parts = chunks(body, width)
    return [pack(layout, fields | {
        "data": int.from_bytes(part, "little"), "last": k == len(parts) - 1, "length": len(body),
    }) for k, part in enumerate(parts)]


def port_frames(out, width):
    """Frames out of beats at a port."""
    frames, current = [], b""
    for beat in out:
        fields = unpack(frame_layout(width), beat)
        assert fields["error"] == 0
        assert fields["last"] or not fields["empty"]
        current += fields["data"].to_bytes(width // 8, "little")
        if fields["last"]:
            frames.append(current[:len(current) - fields["empty"]])
            current = b""
    assert not current
    return frames


def run(width, punts, responses, rates):
    config = CoreConfig(data_width=width)
    dut = HostEnframer(config)
    rng = random.Random(width)
    out = []
    punt_beats = [b for body, fields in punts for b in beats(punted_layout(width), body, width, fields)]
    response_beats = [b for body, fields in responses for b in beats(response_layout(width), body, width, fields)]
    total = len(punt_beats) + len(response_beats) + (len(punts) + len(responses)) * 32 * 8 // width

    async def host(ctx):
        ctx.set(dut.host_mac, HOST)

    simulate(dut, [
        host, source(dut.i_punt, punt_beats, rng=rng, rate=rates[0]),
        source(dut.i_response, response_beats, rng=rng, rate=rates[0]), until(lambda: len(out) == total),
    ], [sink(dut.o, out, rng=rng, rate=rates[1])])
    return port_frames(out, width)


@pytest.mark.parametrize("rates", [(1, 1), (0.5, 0.9), (0.9, 0.4)])
@pytest.mark.parametrize("width", WIDTHS)
def test_headers_and_contents(width, rates):
    rng = random.Random(width)
    punts = [(rng.randbytes(rng.choice([14, 60, 61, 63, 64, 65, 300])), {
        "router": rng.randrange(9), "port": rng.randrange(5), "reason": rng.randrange(32),
        "tci": rng.getrandbits(16)}) for _ in range(15)]
    responses = [(rng.randbytes(16 * rng.randrange(1, 12)), {
        "destination": rng.getrandbits(48), "sequence": rng.getrandbits(32), "expected": rng.getrandbits(32),
        "reason": rng.choice([0, 2])}) for _ in range(15)]
    common = {"source": int.from_bytes(bytes.fromhex("02706f6c7900"), "little"), "ethertype": 0xB588, "version": 1}
    expected = {
        1: [(body, common | fields | {"type": 1, "destination": HOST, "length": len(body)}) for body, fields in punts],
        4: [(body, common | fields | {"type": 4, "length": len(body)}) for body, fields in responses],
    }
    frames = run(width, punts, responses, rates)
    seen = {1: [], 4: []}
    for f in frames:
        header = {name: value for name, value in unpack(HOST_HEADER, int.from_bytes(f[:32], "little")).items()}
        seen[header["type"]].append((f[32:], header))
    for kind, items in expected.items():
        full = [(body, unpack(HOST_HEADER, pack(HOST_HEADER, fields))) for body, fields in items]
        assert seen[kind] == full


def test_both_kinds_alternate_while_both_wait():
    fields = {"router": 1, "port": 2, "reason": 3}
    frames = run(64, [(bytes(60), fields)] * 6, [(bytes(64), {"sequence": 1})] * 6, (1, 1))
    kinds = [f[15] for f in frames]
    assert sorted(kinds) == [1] * 6 + [4] * 6
    assert kinds in ([1, 4] * 6, [4, 1] * 6)
