import random

import pytest
from amaranth.back import rtlil
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import Reason, pack, unpack
from polyrouter.hdl.records import EVENT, VERDICT, queued_layout
from polyrouter.hdl.rewrite import Rewriter
from polyrouter.hdl.stream import packet_layout

from .bench import WIDTHS, packet_beats, packets, simulate, sink, source, until

SIDE = ("router", "port", "reason", "egress", "group", "peer", "peer_router")


def random_verdict(rng, length, send):
    verdict = {str(name): rng.getrandbits(entry.width) for name, entry in VERDICT}
    return verdict | {"send": int(send), "rewrite": int(send and length >= 34 and rng.random() < 0.7),
                      "reason": rng.randrange(24)}


def rewritten(frame, verdict):
    if not verdict["rewrite"]:
        return frame
    addresses = verdict["dmac"].to_bytes(6, "big") + verdict["smac"].to_bytes(6, "big")
    if verdict["ipv6"]:
        return addresses + frame[12:21] + bytes([verdict["ttl"]]) + frame[22:]
    return (addresses + frame[12:22] + bytes([verdict["ttl"]]) + frame[23:24] + verdict["checksum"].to_bytes(2, "big")
            + frame[26:])


def run(config, frames, *, rates=(1.0, 1.0, 1.0, 1.0), seed=0):
    """What is sent, events, and the cycles of each input and output beat."""
    dut = Rewriter(config)
    width = config.data_width
    rng = random.Random(seed)
    beats = [packet_beats(packet_layout(width), frame, width) for frame, _ in frames]
    to_send = sum(len(b) for b, (_, v) in zip(beats, frames, strict=True) if v["send"])
    to_drop = sum(not verdict["send"] for _, verdict in frames)
    out, events, taken, given = [], [], [], []
    simulate(dut, [source(dut.verdict, [pack(VERDICT, verdict) for _, verdict in frames], rng=rng, rate=rates[0]),
                   source(dut.body, [beat for b in beats for beat in b], rng=rng, rate=rates[1], times=taken),
                   until(lambda: len(out) == to_send and len(events) == to_drop)],
             [sink(dut.o, out, rng=rng, rate=rates[2], times=given), sink(dut.event, events, rng=rng, rate=rates[3])])
    return packets(queued_layout(width), out, width), [unpack(EVENT, event) for event in events], taken, given


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rates", [(1.0,) * 4, (0.2, 0.9, 0.7, 0.2), (0.9, 0.6, 1.0, 0.05)])
def test_random_frames_and_verdicts(width, rates):
    rng = random.Random(width)
    frames = []
    for _ in range(80):
        frame = rng.randbytes(rng.choice([14, 33, 34, 35, 60, rng.randint(14, 200)]))
        frames.append((frame, random_verdict(rng, len(frame), rng.random() < 0.6)))
    sent, events, *_ = run(CoreConfig(data_width=width), frames, rates=rates, seed=width)
    assert sent == [(rewritten(frame, verdict), {"length": len(frame)} | {name: verdict[name] for name in SIDE})
                    for frame, verdict in frames if verdict["send"]]
    assert events == [{name: verdict[name] for name in ("router", "port", "reason")}
                      for _, verdict in frames if not verdict["send"]]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("send", [True, False])
def test_one_beat_a_cycle_without_gaps(width, send):
    verdict = dict.fromkeys((str(name) for name, _ in VERDICT), 0) | {"send": int(send)}
    frames = [(bytes([k]) * (14 + 5 * k), verdict | {"reason": Reason.DROP_FAULT}) for k in range(30)]
    sent, events, taken, given = run(CoreConfig(data_width=width), frames)
    assert taken == list(range(1, len(taken) + 1))
    if send:
        assert [frame for frame, _ in sent] == [frame for frame, _ in frames]
        assert given == [cycle + 1 for cycle in taken]
    else:
        assert len(events) == 30


@pytest.mark.parametrize("width", WIDTHS)
def test_elaborates(width):
    assert rtlil.convert(Rewriter(CoreConfig(data_width=width)))
