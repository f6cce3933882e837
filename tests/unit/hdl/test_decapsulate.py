"""What comes out of a tunnel, of packets that scapy makes."""

import random

import pytest
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.decapsulate import Decapsulator, decapsulated_layout
from polyrouter.hdl.layouts import TUNNEL, Reason, TunnelKind, pack, unpack
from polyrouter.hdl.records import REFUSED, owned_layout
from polyrouter.hdl.tunnel import OUTER_BYTES
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from .bench import WIDTHS, packet_beats, packets, simulate, sink, source, until

LEAST = 60


def address(number):
    return ".".join(str(octet) for octet in number.to_bytes(4, "big"))


def outer(row, inner, padding=b"", **changes):
    """An outer frame; ``changes`` are fields of its headers, by ``<header>_<field>``."""
    fields = {name: {key.split("_", 1)[1]: value for key, value in changes.items() if key.startswith(name)}
              for name in ("ip", "udp", "vxlan", "gre")}
    head = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(**{
        "src": address(row["source"]), "dst": address(row["destination"]), "tos": row["tos"], "ttl": row["ttl"],
    } | fields["ip"])
    if row["kind"] == TunnelKind.VXLAN:
        head /= UDP(**{"sport": 50000, "dport": 4789, "chksum": 0} | fields["udp"])
        head /= VXLAN(**{"flags": 8, "vni": row["key"]} | fields["vxlan"])
    else:
        head /= GRE(**{"key_present": 1, "proto": 0x6558, "key": row["key"]} | fields["gre"])
    return bytes(head / Raw(inner)) + padding


def random_row(rng, kind=None):
    kind = rng.choice(list(TunnelKind)) if kind is None else kind
    return {
        "kind": kind, "key": rng.getrandbits(24 if kind == TunnelKind.VXLAN else 32), "source": rng.getrandbits(32),
        "destination": rng.getrandbits(32), "tos": rng.getrandbits(8), "ttl": rng.randrange(256),
    }


def run(width, frames, rates=(1, 1), seed=0):
    """Send outer frames through; gives the inner ones with what was said of them, and the events."""
    dut = Decapsulator(CoreConfig(data_width=width))
    rng = random.Random(seed)
    items = [beat | pack(owned_layout(width), {"router": number})
             for number, frame in enumerate(frames) for beat in packet_beats(owned_layout(width), frame, width)]
    out, events = [], []
    simulate(dut, [source(dut.i, items, rng=rng, rate=rates[0]),
                   until(lambda: sum(beat >> width & 1 for beat in out) + len(events) == len(frames))],
             [sink(dut.o, out, rng=rng, rate=rates[1]), sink(dut.event, events, rng=rng, rate=rates[1])])
    inner = packets(decapsulated_layout(width), out, width)
    refused = [unpack(REFUSED, item) for item in events]
    # Each frame is another router's, and all are there, in their order.
    passed, dropped = [fields["router"] for _, fields in inner], [fields["router"] for fields in refused]
    assert (passed, dropped) == (sorted(passed), sorted(dropped))
    assert sorted(passed + dropped) == list(range(len(frames)))
    return [(octets, unpack(TUNNEL, fields["tunnel"])) for octets, fields in inner], [
        fields["reason"] for fields in refused]


@pytest.mark.parametrize("rates", [(1, 1), (0.5, 0.9), (0.9, 0.4)])
@pytest.mark.parametrize("width", WIDTHS)
def test_frames(width, rates):
    """Every length, with as much padding as there may be."""
    rng = random.Random(width)
    frames, expected = [], []
    for length in [*range(14, 14 + 2 * width // 8 + 1), LEAST, 1468]:
        row, inner = random_row(rng), rng.randbytes(length)
        packet = outer(row, inner)
        frames.append(packet + rng.randbytes(max(rng.choice((0, 0, 1, 9, 40)), LEAST - len(packet))))
        expected.append((inner, row))
    order = rng.sample(range(len(frames)), len(frames))
    inner, events = run(width, [frames[k] for k in order], rates, seed=width)
    assert inner == [expected[k] for k in order]
    assert events == []


BAD = {
    "protocol": (None, {"ip_proto": 6}),
    "version": (None, {"ip_version": 6}),
    "options": (None, {"ip_ihl": 6}),
    "more fragments": (None, {"ip_flags": "MF"}),
    "last fragment": (None, {"ip_frag": 8}),
    "longer than the frame": (None, {"ip_len": 200}),
    "shorter than the header": (None, {"ip_len": 20}),
    "port": (TunnelKind.VXLAN, {"udp_dport": 4790}),
    "no VNI": (TunnelKind.VXLAN, {"vxlan_flags": 0}),
    "no key": (TunnelKind.GRE, {"gre_key_present": 0}),
    "checksum": (TunnelKind.GRE, {"gre_chksum_present": 1}),
    "sequence number": (TunnelKind.GRE, {"gre_seqnum_present": 1}),
    "version of GRE": (TunnelKind.GRE, {"gre_version": 1}),
    "not Ethernet": (TunnelKind.GRE, {"gre_proto": 0x0800}),
}


@pytest.mark.parametrize("rates", [(1, 1), (0.5, 0.5)])
@pytest.mark.parametrize("width", WIDTHS)
def test_bad_frames_are_dropped_whole(width, rates):
    """Each is counted, and the good ones between them get through."""
    rng = random.Random(width)
    frames, expected, bad = [], [], 0
    for only, changes in BAD.values():
        for kind in TunnelKind:
            if only in (None, kind):
                frames.append(outer(random_row(rng, kind), rng.randbytes(rng.randrange(14, 140)), **changes))
                bad += 1
        row, inner = random_row(rng), rng.randbytes(rng.randrange(14, 100))
        frames.append(outer(row, inner))
        expected.append((inner, row))
    not_ip = outer(random_row(rng), rng.randbytes(60))
    frames.append(not_ip[:12] + b"\x86\xdd" + not_ip[14:])
    bad += 1
    for kind in TunnelKind:         # ends within the header, or the inner frame has no header
        row = random_row(rng, kind)
        for length in (0, 1, 13):
            frames.append(outer(row, rng.randbytes(length)))
            bad += 1
        frames.append(outer(row, b"")[:38])
        bad += 1
    frames.append(outer(row, rng.randbytes(14)))
    inner, events = run(width, frames, rates, seed=width)
    assert [octets for octets, _ in inner[:-1]] == [octets for octets, _ in expected]
    assert inner[:-1] == expected
    assert len(inner[-1][0]) == 14
    assert events == [Reason.DROP_MALFORMED] * bad


@pytest.mark.parametrize("kind", TunnelKind)
def test_reserved_bits_are_passed_over(kind):
    """All that RFC 7348, section 5, and RFC 2784, section 2.3, want ignored; each of GRE's other flags is refused."""
    rng = random.Random(kind)
    row, inner = random_row(rng, kind), rng.randbytes(60)
    good = outer(row, inner)
    first, bits = (42, [*range(0, 4), *range(5, 32), *range(56, 64)]) if kind == TunnelKind.VXLAN else (
        34, range(6, 13))

    def flipped(bit):
        at = first + bit // 8
        return good[:at] + bytes([good[at] ^ 0x80 >> bit % 8]) + good[at + 1:]

    assert run(64, [flipped(bit) for bit in bits]) == ([(inner, row)] * len(bits), [])
    if kind == TunnelKind.GRE:
        others = [*range(0, 6), *range(13, 16)]
        assert run(64, [flipped(bit) for bit in others]) == ([], [Reason.DROP_MALFORMED] * len(others))


@pytest.mark.parametrize("kind", TunnelKind)
@pytest.mark.parametrize("width", WIDTHS)
def test_pace(width, kind):
    """As the docstring says: at most two cycles more than the outer frame has beats, no gap inside a frame."""
    rng = random.Random(width)
    dut = Decapsulator(CoreConfig(data_width=width))
    frame = outer(random_row(rng, kind), rng.randbytes(60))
    items = packet_beats(owned_layout(width), frame, width)
    inner_beats = -(-60 // (width // 8))
    out, taken, given = [], [], []
    simulate(dut, [source(dut.i, items * 5, times=taken), until(lambda: len(out) == 5 * inner_beats)],
             [sink(dut.o, out, times=given)])
    assert taken[-1] <= 5 * (len(items) + 2)
    starts = given[::inner_beats]
    assert starts[0] == taken[-(-OUTER_BYTES[kind] // (width // 8)) - 1] + 3
    assert all(given[k * inner_beats + n] == starts[k] + n for k in range(5) for n in range(inner_beats))
