"""From where frames leave the link port to where they come in again, with scapy's idea of tunnels."""

import random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import (
    LINK_ROW,
    PORT_ROW,
    TERMINATION_KEY,
    TERMINATION_ROW,
    TUNNEL,
    LinkKind,
    Reason,
    TunnelKind,
    pack,
    unpack,
)
from polyrouter.hdl.linkengine import LinkEngine, reentering_layout
from polyrouter.hdl.records import REFUSED, egress_layout

from .bench import WIDTHS, access, packet_beats, packets, simulate, sink, source
from .test_decapsulate import outer
from .test_encapsulate import check
from .test_terminations import SEEDS, hashed

CIRCUITS = 16
#: Of a frame that comes in by a circuit.
ONLY = {"given": 0, "router": 0}
ROUTERS = 4
MACS = [0x020000000100 + router for router in range(ROUTERS)]
#: By circuit: a wire, a tunnel of each kind, a list of all three, another router's wire.
WIRE, GRE, VXLAN, LIST, FOREIGN = 1, 2, 3, 4, 5
UNDERLAY = 3


def tunnel_row(kind):
    return {"kind": kind, "key": 0x00ABCDEF, "source": 0x0A000001, "destination": 0x0A000002, "tos": 0xB8, "ttl": 65}


def link_rows():
    def link(kind, **fields):
        return {"router": 1, "kind": kind, "underlay": UNDERLAY} | fields
    return {
        WIRE: link(LinkKind.DIRECT, peer=9, next=GRE),
        GRE: link(LinkKind.TUNNEL, tunnel=pack(TUNNEL, tunnel_row(TunnelKind.GRE)), next=VXLAN),
        VXLAN: link(LinkKind.TUNNEL, tunnel=pack(TUNNEL, tunnel_row(TunnelKind.VXLAN))),
        LIST: link(LinkKind.LIST, next=WIRE),
        FOREIGN: link(LinkKind.DIRECT, peer=10) | {"router": 2},
    }


def run(width, frames, terminations=(), *, rates=(1, 1), seed=0):
    """Send (octets, fields of egress_layout) through: what comes in again, and refusals by stream."""
    dut = LinkEngine(CoreConfig(ports=3, routers=ROUTERS, data_width=width, circuits=CIRCUITS))
    rng = random.Random(seed)
    layout = egress_layout(width)
    items = [beat | pack(layout, fields)
             for octets, fields in frames for beat in packet_beats(layout, octets, width)]
    out, refused = [], {name: [] for name in ("refused", "malformed", "unknown")}

    async def main(ctx):
        ctx.set(dut.seed0, SEEDS[0])
        ctx.set(dut.seed1, SEEDS[1])
        for router, mac in enumerate(MACS):
            await access(ctx, dut.port, router, pack(PORT_ROW, {"mac": mac, "vid": LIST if router == 1 else 0}))
        for number, fields in link_rows().items():
            await access(ctx, dut.link, number, pack(LINK_ROW, fields))
        for fields in terminations:
            key = {name: fields[name] for name, _ in TERMINATION_KEY}
            row = 3 << 2 | hashed(pack(TERMINATION_KEY, key), 1, 2)
            await access(ctx, dut.termination, row, pack(TERMINATION_ROW, fields | {"valid": 1}))
        await source(dut.i, items, rng=rng, rate=rates[0])(ctx)
        quiet = 0
        while quiet < 40:
            quiet = 0 if ctx.get(dut.busy) or ctx.get(dut.o.valid) else quiet + 1
            await ctx.tick()

    simulate(dut, [main], [sink(dut.o, out, rng=rng, rate=rates[1]),
                           *(sink(getattr(dut, name), items, rng=rng, rate=rates[1])
                             for name, items in refused.items())])
    given = [(octets, {name: fields[name] for name in ONLY})
             for octets, fields in packets(reentering_layout(width), out, width)]
    return given, {
        name: [tuple(unpack(REFUSED, item).values()) for item in items] for name, items in refused.items()}


def tagged(octets, tci):
    return octets[:12] + b"\x81\x00" + tci.to_bytes(2, "big") + octets[12:]


def of(router, circuit=None, *, priority=0, **fields):
    """Side fields of a frame that has the tag of a circuit, or none."""
    return {"router": router, "keep_tag": 1, "tagged": circuit is not None,
            "tci": 0 if circuit is None else priority << 13 | circuit, **fields}


NONE = {"refused": [], "malformed": [], "unknown": []}


@pytest.mark.parametrize("rates", [(1, 1), (0.7, 0.6)])
@pytest.mark.parametrize("width", WIDTHS)
def test_circuits(width, rates):
    rng = random.Random(width)
    frames = [rng.randbytes(rng.randrange(14, 120)) for _ in range(12)]
    out, refused = run(width, [
        *((octets, of(1, WIRE, priority=5)) for octets in frames),
        (frames[0], of(1, FOREIGN)), (frames[1], of(2, FOREIGN)), (frames[2], of(2, WIRE)), (frames[3], of(1, 0)),
    ], rates=rates, seed=width)
    assert out == [*((tagged(octets, 5 << 13 | 9), ONLY) for octets in frames), (tagged(frames[1], 10), ONLY)]
    assert refused == NONE | {"refused": [(1, Reason.DROP_FAULT), (2, Reason.DROP_FAULT), (1, Reason.DROP_FAULT)]}


@pytest.mark.parametrize("width", WIDTHS)
def test_into_tunnels(width):
    """The underlay's router is given the packet, and the flow is in VXLAN's source port."""
    rng = random.Random(width)
    for circuit, kind in (GRE, TunnelKind.GRE), (VXLAN, TunnelKind.VXLAN):
        frames = [(rng.randbytes(rng.randrange(14, 200)), rng.getrandbits(14)) for _ in range(10)]
        out, refused = run(width, [(octets, of(1, circuit, entropy=entropy)) for octets, entropy in frames])
        assert refused == NONE
        assert [fields for _, fields in out] == [{"given": 1, "router": UNDERLAY}] * len(frames)
        for (octets, entropy), (packet, _) in zip(frames, out, strict=True):
            check(packet, octets, tunnel_row(kind), entropy)


def test_own_source_and_lists():
    """A routed frame without a circuit of its own has the router's address and goes to all of PORT's list; one that
    came in by a circuit does not go back there."""
    rng = random.Random(3)
    octets = rng.randbytes(80)
    own = octets[:6] + MACS[1].to_bytes(6, "big") + octets[12:]
    flood = {"router": 1, "own_source": 1}
    back = {"router": 1, "from_link": 1, "tagged": 1, "tci": 2 << 13 | WIRE}
    out, refused = run(64, [(octets, flood), (octets, back)])
    assert refused == NONE
    packets_ = [packet for packet, fields in out if fields["given"]]
    direct = [packet for packet, fields in out if not fields["given"]]
    assert direct == [tagged(own, 9)]
    for packet, inner, kind in zip(packets_, [own, own, octets, octets], [*TunnelKind, *TunnelKind], strict=True):
        check(packet, inner, tunnel_row(kind), 0)


@pytest.mark.parametrize("rates", [(1, 1), (0.6, 0.8)])
@pytest.mark.parametrize("width", WIDTHS)
def test_out_of_tunnels(width, rates):
    """By router, kind, key and the other end; a bit of any of them changed reaches nobody; what is none is dropped."""
    rng = random.Random(width)
    sent, expected, unknown, malformed = [], [], [], []
    ends = []
    for kind in TunnelKind:
        row = tunnel_row(kind)
        ends.append({"router": UNDERLAY, "kind": kind, "key": row["key"], "remote": row["source"],
                     "circuit": 7 + kind})
        for _ in range(4):
            inner = rng.randbytes(rng.randrange(14, 150))
            sent.append((outer(row, inner), of(UNDERLAY)))
            expected.append((tagged(inner, 7 + kind), ONLY))
            for change in ({"key": row["key"] ^ 1}, {"source": row["source"] ^ 1 << 31}):
                sent.append((outer(row | change, inner), of(UNDERLAY)))
                unknown.append((UNDERLAY, Reason.DROP_NO_ROUTER))
            sent.append((outer(row, inner), of(2)))
            unknown.append((2, Reason.DROP_NO_ROUTER))
            sent.append((outer(row, inner, ip_proto=6), of(UNDERLAY)))
            malformed.append((UNDERLAY, Reason.DROP_MALFORMED))
    out, refused = run(width, sent, ends, rates=rates, seed=width)
    assert out == expected
    assert refused == NONE | {"unknown": unknown, "malformed": malformed}


def test_all_ways_at_once():
    """Frames that go the same way keep their order."""
    rng = random.Random(5)
    ends = [{"router": UNDERLAY, "kind": TunnelKind.GRE, "key": 0xABCDEF, "remote": 0x0A000001, "circuit": 7}]
    sent = []
    for k in range(60):
        inner = k.to_bytes(14, "big") + rng.randbytes(rng.randrange(0, 90))
        way = rng.randrange(3)
        sent.append((way, inner, (outer(tunnel_row(TunnelKind.GRE), inner), of(UNDERLAY)) if way == 2 else (
            inner, of(1, (WIRE, VXLAN)[way]))))
    out, refused = run(64, [frame for *_, frame in sent], ends, rates=(1, 0.9))
    assert refused == NONE
    assert [octets for octets, fields in out if fields["given"]] == [
        octets for octets, _ in run(64, [frame for way, _, frame in sent if way == 1])[0]]
    for circuit, way in (9, 0), (7, 2):
        assert [octets for octets, _ in out if octets[12:16] == b"\x81\x00" + circuit.to_bytes(2, "big")] == [
            tagged(inner, circuit) for kind, inner, _ in sent if kind == way]
