"""What goes into a tunnel, as scapy reads it."""

import random
from itertools import pairwise

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.encapsulate import Encapsulator, inner_layout
from polyrouter.hdl.layouts import TUNNEL, TunnelKind, pack
from polyrouter.hdl.records import owned_layout
from polyrouter.hdl.tunnel import OUTER_BYTES
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN

from .bench import WIDTHS, chunks, packets, simulate, sink, source, until

LONGEST = 1518


def random_row(rng, kind):
    """A tunnel of any addresses, all of whose fields are drawn."""
    return {
        "kind": kind, "key": rng.getrandbits(24 if kind == TunnelKind.VXLAN else 32), "source": rng.getrandbits(32),
        "destination": rng.getrandbits(32), "tos": rng.getrandbits(8), "ttl": rng.randrange(1, 256),
    }


def run(width, frames, rates=(1, 1), seed=0):
    """Send (inner frame, row, entropy) through; gives the outer frames, and the cycles of the beats in and out."""
    dut = Encapsulator(CoreConfig(data_width=width))
    rng = random.Random(seed)
    layout = inner_layout(width)
    items, out, taken, given = [], [], [], []
    for frame, row, entropy in frames:
        parts = chunks(frame, width)
        items += [pack(layout, {
            "data": int.from_bytes(part, "little"), "last": k == len(parts) - 1, "length": len(frame),
            "tunnel": pack(TUNNEL, row), "entropy": entropy,
            "underlay": row["key"] % 1024,
        }) for k, part in enumerate(parts)]
    expected = sum(-(-(len(frame) + OUTER_BYTES[row["kind"]]) // (width // 8)) for frame, row, _ in frames)
    simulate(dut, [source(dut.i, items, rng=rng, rate=rates[0], times=taken), until(lambda: len(out) == expected)],
             [sink(dut.o, out, rng=rng, rate=rates[1], times=given)])
    outer = packets(owned_layout(width), out, width)
    assert [fields["router"] for _, fields in outer] == [row["key"] % 1024 for _, row, _ in frames]
    return [octets for octets, _ in outer], taken, given


def check(octets, frame, row, entropy):
    """The outer frame says what the row says, its lengths and checksum are right, and the inner one is untouched."""
    outer = Ether(octets)
    ip = outer[IP]
    assert octets[:12] == bytes(12)
    assert (outer.type, ip.version, ip.ihl, ip.id, ip.flags, ip.frag) == (0x0800, 4, 5, 0, "DF", 0)
    assert (ip.tos, ip.ttl, ip.len) == (row["tos"], row["ttl"], len(octets) - 14)
    assert int.from_bytes(octets[26:30], "big") == row["source"]
    assert int.from_bytes(octets[30:34], "big") == row["destination"]
    rebuilt = ip.copy()
    del rebuilt.chksum
    assert IP(bytes(rebuilt)).chksum == ip.chksum
    if row["kind"] == TunnelKind.VXLAN:
        udp, vxlan = outer[UDP], outer[VXLAN]
        assert (udp.sport, udp.dport, udp.len, udp.chksum) == (0xC000 | entropy, 4789, len(frame) + 16, 0)
        assert (vxlan.flags, vxlan.reserved1, vxlan.reserved2, vxlan.vni) == ("Instance", 0, 0, row["key"])
    else:
        gre = outer[GRE]
        assert (gre.key_present, gre.chksum_present, gre.seqnum_present, gre.version) == (1, 0, 0, 0)
        assert (gre.proto, gre.key) == (0x6558, row["key"])
    assert octets[OUTER_BYTES[row["kind"]]:] == frame


@pytest.mark.parametrize("rates", [(1, 1), (0.5, 0.9), (0.9, 0.4)])
@pytest.mark.parametrize("width", WIDTHS)
def test_frames(width, rates):
    rng = random.Random(width)
    lengths = [*range(14, 14 + 2 * width // 8 + 1), 60, LONGEST]
    frames = [(rng.randbytes(length), random_row(rng, rng.choice(list(TunnelKind))), rng.getrandbits(14))
              for length in rng.sample(lengths, len(lengths))]
    out, _, _ = run(width, frames, rates, seed=width)
    assert len(out) == len(frames)
    for octets, (frame, row, entropy) in zip(out, frames, strict=True):
        check(octets, frame, row, entropy)


def test_checksums_with_carries():
    """Sums of 16-bit words whose low half is just below and just above a carry, when the high half is added to it."""
    rng = random.Random(1)
    frames = []
    for kind in TunnelKind:
        for low in (0, 1, 0xFFFC, 0xFFFD, 0xFFFE, 0xFFFF):
            row = random_row(rng, kind) | {"source": 0xFFFF0000, "destination": 0xFFFFFFFF}
            frame = rng.randbytes(60)
            protocol = 17 if kind == TunnelKind.VXLAN else 47
            words = (0x4500 | row["tos"], len(frame) + OUTER_BYTES[kind] - 14, 0x4000, row["ttl"] << 8 | protocol,
                     0xFFFF, 0xFFFF, 0xFFFF)
            row["source"] |= (low - sum(words)) & 0xFFFF
            frames.append((frame, row, 0))
    out, _, _ = run(64, frames)
    for octets, (frame, row, entropy) in zip(out, frames, strict=True):
        check(octets, frame, row, entropy)


@pytest.mark.parametrize("kind", TunnelKind)
@pytest.mark.parametrize("width", WIDTHS)
def test_pace(width, kind):
    """As the docstring says: first beat after 4 cycles, 3 cycles a frame more than its beats, no gap inside."""
    rng = random.Random(width)
    frame = rng.randbytes(60)
    beats = -(-(len(frame) + OUTER_BYTES[kind]) // (width // 8))
    _, _, given = run(width, [(frame, random_row(rng, kind), 0)] * 5)
    assert given[0] == 5        # taken at the end of the cycle in which it is offered
    starts = given[::beats]
    assert [later - earlier for earlier, later in pairwise(starts)] == [beats + 3] * 4
    assert all(given[k * beats + n] == starts[k] + n for k in range(5) for n in range(beats))
