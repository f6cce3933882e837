import random
import struct
from ipaddress import IPv6Address
from socket import inet_ntoa

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Value
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import pack, unpack
from polyrouter.hdl.parser import Parser
from polyrouter.hdl.records import META, TAG
from polyrouter.hdl.stream import packet_layout
from scapy.layers.inet import IP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether

from .bench import WIDTHS, packet_beats, packets, simulate, sink, source, until


def reference(frame, tag):
    """Fields that the parser must set; those that matter, since a malformed packet is dropped as such."""
    fields = {
        **tag, "length": len(frame),
        "dmac": int.from_bytes(frame[:6], "big"), "smac": int.from_bytes(frame[6:12], "big"),
        "group": frame[0] & 1, "ipv4": int(frame[12:14] == b"\x08\x00"), "ipv6": int(frame[12:14] == b"\x86\xdd"),
    }
    if fields["ipv6"]:
        return fields | reference_ipv6(frame[14:])
    if not fields["ipv4"]:
        return fields | {"malformed": 0}
    header = frame[14:34]
    total_length = int.from_bytes(frame[16:18], "big")
    ihl = frame[14] & 15 if header else 0
    fields["malformed"] = int(len(frame) < 34 or header[0] >> 4 != 4 or ihl < 5 or ihl * 4 > total_length
                              or total_length > len(frame) - 14)
    if fields["malformed"]:
        return fields
    return fields | {
        "options": int(ihl > 5), "ttl": header[8], "checksum": int.from_bytes(header[10:12], "big"),
        # RFC 1071: the ones' complement sum of a correct header is all ones.
        "checksum_ok": int(sum(struct.unpack(">10H", header)) % 0xFFFF == 0 and any(header)),
        "total_length": total_length, "ip_source": int.from_bytes(header[12:16], "big") << 96,
        "ip_destination": int.from_bytes(header[16:20], "big") << 96,
    }


def reference_ipv6(packet):
    total_length = 40 + int.from_bytes(packet[4:6], "big")
    if len(packet) < 40 or packet[0] >> 4 != 6 or total_length > len(packet):
        return {"malformed": 1}
    return {
        "malformed": 0, "options": int(packet[6] == 0), "ttl": packet[7], "checksum_ok": 1,
        "total_length": total_length, "ip_source": int.from_bytes(packet[8:24], "big"),
        "ip_destination": int.from_bytes(packet[24:40], "big"),
    }


def random_frame(rng):
    """A correct frame, a correct frame with one field changed, or noise behind an Ethernet header."""
    ether = Ether(dst=bytes([rng.choice([0, 1, 2, 255])]) + rng.randbytes(5), src=rng.randbytes(6))
    if rng.random() < 0.15:
        return bytes(ether / ARP())
    if rng.random() < 0.4:
        ip = IPv6(src=IPv6Address(rng.randbytes(16)), dst=IPv6Address(rng.randbytes(16)), hlim=rng.randrange(256),
                  nh=rng.choice([0, 6, 17, 58]), tc=rng.randrange(256), fl=rng.getrandbits(20))
        frame = bytes(ether / ip / rng.randbytes(rng.choice([0, 6, 20, 300])))
        positions = [12, 13, 14, 18, 19, 20, 21]
        return damaged(rng, frame, positions, 60)
    source_address, destination = (inet_ntoa(rng.randbytes(4)) for _ in range(2))
    ip = IP(src=source_address, dst=destination, ttl=rng.randrange(256), tos=rng.randrange(256), id=rng.getrandbits(16),
            options=[IPOption_NOP()] * rng.choice([0, 0, 0, 4, 8]))
    frame = bytes(ether / ip / UDP() / rng.randbytes(rng.choice([0, 10, 18, 100, 300])))
    return damaged(rng, frame, [12, 13, 14, 16, 17, 20, 22, 24, 25, 30], 40)


def damaged(rng, frame, positions, cut):
    """The frame, sometimes padded, with a byte changed, or cut off within the headers."""
    if rng.random() < 0.3:
        frame += bytes(rng.randint(1, 20))
    if rng.random() < 0.5:
        position = rng.choice(positions)
        frame = frame[:position] + rng.randbytes(1) + frame[position + 1:]
    if rng.random() < 0.2:
        frame = frame[:rng.randint(14, cut)]
    return frame


def random_tag(rng):
    return {"port": rng.randrange(5), "injected": rng.randrange(2), "router": rng.randrange(8),
            "egress": rng.randrange(4)}


def run(config, frames, *, rates=(1.0, 1.0, 1.0), seed=0):
    """Records, frames behind the parser, and the cycles of each."""
    dut = Parser(config)
    width = config.data_width
    layout = packet_layout(width)
    rng = random.Random(seed)
    records, body, taken, given, emitted = [], [], [], [], []

    async def feed(ctx):
        for frame, tag in frames:
            ctx.set(Value.cast(dut.i_tag), pack(TAG, tag))
            await source(dut.i, packet_beats(layout, frame, width), rng=rng, rate=rates[0])(ctx)

    async def clock(ctx):
        cycle = 0
        async for *_, valid, ready in ctx.tick().sample(dut.i.valid, dut.i.ready):
            cycle += 1
            if valid and ready:
                taken.append(cycle)

    total = sum(len(packet_beats(layout, frame, width)) for frame, _ in frames)
    simulate(dut, [feed, until(lambda: len(records) == len(frames) and len(body) == total)],
             [clock, sink(dut.o, records, rng=rng, rate=rates[1], times=emitted),
              sink(dut.body, body, rng=rng, rate=rates[2], times=given)])
    return [unpack(META, record) for record in records], packets(layout, body, width), taken, emitted, given


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rates", [(1.0, 1.0, 1.0), (0.8, 0.2, 0.6)])
def test_fields_of_random_frames(width, rates):
    rng = random.Random(width)
    frames = [(random_frame(rng), random_tag(rng)) for _ in range(120)]
    records, body, *_ = run(CoreConfig(data_width=width), frames, rates=rates, seed=width)
    assert [frame for frame, _ in body] == [frame for frame, _ in frames]
    kinds = set()
    for (frame, tag), record in zip(frames, records, strict=True):
        wanted = reference(frame, tag)
        assert {name: record[name] for name in wanted} == wanted, frame.hex()
        kinds.add((wanted["ipv4"], wanted["ipv6"], wanted["malformed"], wanted.get("checksum_ok")))
    assert {(0, 0, 0, None), (1, 0, 1, None), (1, 0, 0, 0), (1, 0, 0, 1), (0, 1, 0, 1), (0, 1, 1, None)} <= kinds


@pytest.mark.parametrize("checksum, correct", [(0xFFFF, True), (0x0000, True), (0x0001, False), (0xFFFE, False)])
def test_checksum_with_both_zeros(checksum, correct):
    """RFC 1624, section 3: a receiver takes +0 and -0 as equal."""
    header = bytearray(bytes(IP(src="10.0.0.1", dst="10.0.0.2", ttl=9, len=20)))
    header[10:12] = b"\0\0"
    rest = sum(struct.unpack(">10H", header)) % 0xFFFF
    header[4:6] = struct.pack(">H", (0xFFFF - rest + int.from_bytes(header[4:6], "big")) % 0xFFFF)
    header[10:12] = struct.pack(">H", checksum)
    frame = bytes(Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02", type=0x800)) + bytes(header)
    records, *_ = run(CoreConfig(), [(frame, {"port": 1, "injected": 0, "router": 0, "egress": 0})])
    assert records[0]["checksum_ok"] == correct
    assert not records[0]["malformed"]


@pytest.mark.parametrize("width", WIDTHS)
def test_record_comes_four_cycles_after_the_header(width):
    """Not after the frame: a frame longer than the FIFO behind the parser must not wait for itself."""
    tag = {"port": 0, "injected": 0, "router": 0, "egress": 0}
    ipv6 = bytes(12) + b"\x86\xdd" + bytes(9000)
    frames = [(bytes(9014), tag), (ipv6, tag), (bytes(14), tag)]
    config = CoreConfig(data_width=width, max_frame=9018)

    def beats(count):
        return -(-count // (width // 8))

    _, _, taken, emitted, _ = run(config, frames)
    assert emitted == [beats(34) + 4, beats(9014) + beats(54) + 4, 2 * beats(9014) + beats(14) + 4]
    assert taken == list(range(1, len(taken) + 1))


@pytest.mark.parametrize("width", [32, 64])
def test_shortest_ethernet_frames_at_full_rate(width):
    tag = {"port": 0, "injected": 0, "router": 0, "egress": 0}
    _, _, taken, _, given = run(CoreConfig(data_width=width), [(bytes(60), tag)] * 20)
    assert taken == list(range(1, len(taken) + 1))
    assert given == list(range(given[0], given[0] + len(given)))


def test_shortest_ipv6_frames_in_ten_cycles():
    tag = {"port": 0, "injected": 0, "router": 0, "egress": 0}
    frame = bytes(12) + b"\x86\xdd" + bytes(46)
    _, _, taken, *_ = run(CoreConfig(data_width=64), [(frame, tag)] * 20)
    assert taken[-1] <= 20 * 10


@pytest.mark.parametrize("width", [128, 256])
def test_shortest_frames_on_wide_streams_need_a_few_cycles(width):
    tag = {"port": 0, "injected": 0, "router": 0, "egress": 0}
    _, _, taken, *_ = run(CoreConfig(data_width=width), [(bytes(60), tag)] * 20)
    assert taken[-1] <= 20 * 6


def test_body_waits_while_records_are_not_taken():
    """A blocked record stops the frame after the next header, and nothing is lost."""
    config = CoreConfig()
    dut = Parser(config)
    layout = packet_layout(64)
    frames = [bytes([k]) * 100 for k in range(4)]
    records, body, accepted = [], [], []

    async def main(ctx):
        await ctx.tick().repeat(300)
        assert len(accepted) == 2 * 13 and len(body) == 2 * 13
        await sink(dut.o, records, count=4)(ctx)

    beats = [beat for frame in frames for beat in packet_beats(layout, frame, 64)]
    simulate(dut, [main, source(dut.i, beats, times=accepted), until(lambda: len(body) == len(beats))],
             [sink(dut.body, body)])
    assert [frame for frame, _ in packets(layout, body, 64)] == frames


@pytest.mark.parametrize("width", WIDTHS)
def test_elaborates(width):
    assert rtlil.convert(Parser(CoreConfig(data_width=width)))
