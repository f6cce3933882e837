import random
import struct
from ipaddress import IPv6Address, ip_address, ip_network
from socket import inet_ntoa

import pytest
from amaranth.back import rtlil
from polyrouter.hdl.capture import HEADER_BYTES
from polyrouter.hdl.config import CoreConfig
from polyrouter.hdl.layouts import pack, unpack
from polyrouter.hdl.parser import Parser
from polyrouter.hdl.records import META, TAG
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from .bench import run_stage
from .header_bench import header_item_layout, parser_for

TAG_ZERO = dict.fromkeys((str(name) for name, _ in TAG), 0)
#: Fields that the tag or the parser set.
SET = [name for name, _ in META][:[name for name, _ in META].index("own")]


def reference(frame, tag):
    """All fields that the parser must set, from docs/dataplane.md."""
    fields = dict.fromkeys(SET, 0) | tag | {
        "dmac": int.from_bytes(frame[:6], "big"), "smac": int.from_bytes(frame[6:12], "big"),
        "group": frame[0] & 1, "reserved_group": int(frame[:5] == bytes.fromhex("0180c20000") and frame[5] < 16),
    }
    if len(frame) >= 18 and frame[12:14] == b"\x81\x00":
        fields |= {"tagged": 1, "tci": int.from_bytes(frame[14:16], "big")}
        frame = frame[:12] + frame[16:]
    fields["ethertype"] = int.from_bytes(frame[12:14], "big")
    fields["ipv4"] = int(fields["ethertype"] == 0x0800)
    fields["ipv6"] = int(fields["ethertype"] == 0x86DD)
    if fields["ipv4"]:
        fields |= reference_ipv4(frame[14:])
    elif fields["ipv6"]:
        fields |= reference_ipv6(frame[14:])
    if fields["good_header"]:
        fields["least_length"] = 14 + fields["total_length"] + 4 * fields["tagged"]
    return fields


def reference_ipv4(packet):
    total_length = int.from_bytes(packet[2:4], "big")
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return {}
    ihl = packet[0] & 15
    if ihl < 5 or ihl * 4 > total_length:
        return {}
    source, destination = (int.from_bytes(packet[k:k + 4], "big") for k in (12, 16))
    address = ip_address(destination)
    fragment = int.from_bytes(packet[6:8], "big")
    fields = {
        "good_header": 1, "options": int(ihl > 5), "ttl": packet[8], "protocol": packet[9], "tos": packet[1],
        "checksum": int.from_bytes(packet[10:12], "big"), "total_length": total_length,
        # RFC 1071: the ones' complement sum of a correct header is all ones.
        "checksum_ok": int(sum(struct.unpack(">10H", packet[:20])) % 0xFFFF == 0),
        "ip_source": source << 96, "ip_destination": destination << 96,
        "multicast": int(address in ip_network("224.0.0.0/4") and address not in ip_network("224.0.0.0/24")),
    }
    if ihl == 5 and not fragment & 0x3FFF and total_length >= 24:
        fields |= reference_l4(packet[9], packet[20:24])
    return fields


def reference_ipv6(packet):
    if len(packet) < 40 or packet[0] >> 4 != 6:
        return {}
    total_length = 40 + int.from_bytes(packet[4:6], "big")
    fields = {
        "good_header": 1, "options": int(packet[6] == 0), "ttl": packet[7], "protocol": packet[6],
        "tos": int.from_bytes(packet[:2], "big") >> 4 & 255, "checksum_ok": 1, "total_length": total_length,
        "ip_source": int.from_bytes(packet[8:24], "big"), "ip_destination": int.from_bytes(packet[24:40], "big"),
        "multicast": int(packet[24] == 255 and packet[25] & 15 > 2),
    }
    if total_length >= 44:
        fields |= reference_l4(packet[6], packet[40:44])
    return fields


def reference_l4(protocol, octets):
    if len(octets) < 4:
        return {}
    if protocol in (6, 17):
        source, destination = struct.unpack(">HH", octets)
        return {"l4_source": source, "l4_destination": destination, "l4_ports": 1}
    return {"l4_source": octets[0], "l4_destination": octets[1]} if protocol in (1, 58) else {}


def random_frame(rng):
    """A correct frame, a correct frame with one field changed, or noise behind an Ethernet header."""
    destination = rng.choice([bytes([rng.choice([0, 1, 2, 255])]) + rng.randbytes(5),
                              bytes.fromhex("0180c20000") + bytes([rng.choice([0, 3, 15, 16, 255])])])
    ether = Ether(dst=destination, src=rng.randbytes(6))
    if rng.random() < 0.4:
        ether /= Dot1Q(vlan=rng.randrange(4096), prio=rng.randrange(8), dei=rng.randrange(2))
    if rng.random() < 0.15:
        return damaged(rng, bytes(ether / ARP()), [12, 13, 16, 17], 30)
    l4 = rng.choice([UDP(sport=rng.getrandbits(16), dport=rng.getrandbits(16)),
                     TCP(sport=rng.getrandbits(16), dport=rng.getrandbits(16))])
    if rng.random() < 0.4:
        group = bytes([255, rng.randrange(256)]) + rng.randbytes(14)
        ip = IPv6(src=IPv6Address(rng.randbytes(16)), hlim=rng.randrange(256), tc=rng.randrange(256),
                  dst=IPv6Address(rng.choice([rng.randbytes(16), group])), fl=rng.getrandbits(20))
        l4 = rng.choice([l4, l4, ICMPv6EchoRequest(code=rng.randrange(256)), None])
        packet = ip / l4 if l4 else ip.__class__(bytes(ip)[:6] + bytes([rng.choice([0, 1, 44, 59])]) + bytes(ip)[7:])
        frame = bytes(ether / packet / rng.randbytes(rng.choice([0, 1, 3, 4, 6, 20, 300])))
        return damaged(rng, frame, [12, 13, 14, 18, 19, 20, 21], 70)
    source = inet_ntoa(rng.randbytes(4))
    destination = inet_ntoa(rng.choice([
        rng.randbytes(4), bytes([224, 0, 0, 5]), bytes([224, 0, 1, 1]), bytes([239]) + rng.randbytes(3)]))
    l4 = rng.choice([l4, l4, ICMP(type=rng.randrange(256), code=rng.randrange(256)), None])
    ip = IP(src=source, dst=destination, ttl=rng.randrange(256), tos=rng.randrange(256), id=rng.getrandbits(16),
            flags=rng.choice(["", "", "DF", "MF"]), frag=rng.choice([0, 0, 0, 0, 1, 4096]),
            options=[IPOption_NOP()] * rng.choice([0, 0, 0, 4, 8]), **({} if l4 else {"proto": rng.choice([2, 6, 50])}))
    frame = bytes(ether / (ip / l4 if l4 else ip) / rng.randbytes(rng.choice([0, 3, 4, 10, 18, 100, 300])))
    return damaged(rng, frame, [12, 13, 14, 16, 17, 20, 22, 24, 25, 30], 50)


def damaged(rng, frame, positions, cut):
    """The frame, sometimes padded, with a byte changed, or cut off within the headers."""
    if rng.random() < 0.3:
        frame += bytes(rng.randint(1, 20))
    if rng.random() < 0.4:
        position = rng.choice(positions) + rng.choice([0, 4])
        frame = frame[:position] + rng.randbytes(1) + frame[position + 1:]
    if rng.random() < 0.25:
        frame = frame[:rng.randint(14, cut)]
    return frame


def random_tag(rng):
    return {"port": rng.randrange(5), "injected": rng.randrange(2), "given": rng.randrange(2),
            "router": rng.randrange(8), "egress": rng.randrange(4)}


def header_bytes(frame, width=64):
    """Bytes of a frame that has not ended by then that an ingress must have before it offers the header."""
    tagged = 4 * (frame[12:14] == b"\x81\x00")
    ethertype = frame[12 + tagged:14 + tagged]
    other = 14 + tagged if width == 32 else 18
    return {b"\x08\x00": 38 + tagged, b"\x86\xdd": 58 + tagged}.get(ethertype, other)


def captured(frame, width):
    """What an ingress keeps of a frame, how long it says that it is, and what it tells of a tag that it takes off."""
    if width != 32:
        return frame, len(frame), {}
    if frame[12:14] != b"\x81\x00" or len(frame) < 17:
        return frame, len(frame), {"tagged": 0, "tci": 0}
    if len(frame) == 17:        # no EtherType behind it
        return frame[:16], 13, {"tagged": 0, "tci": 0}
    return frame[:12] + frame[16:], len(frame) - 4, {"tagged": 1, "tci": int.from_bytes(frame[14:16], "big")}


def item(frame, tag, rng, ended=None, width=64):
    """A header as an ingress gives it: with as little of the frame as is allowed, and rubbish behind."""
    layout = header_item_layout(CoreConfig(data_width=width), tag=True)
    least = header_bytes(frame, width)
    if ended is None:
        ended = len(frame) <= least or (len(frame) <= HEADER_BYTES and rng.random() < 0.5)
    count = len(frame) if ended else min(rng.randint(least, least + 8), len(frame), HEADER_BYTES)
    octets, length, told = captured(frame[:count], width)
    octets += rng.randbytes(HEADER_BYTES)
    return pack(layout, {
        "data": int.from_bytes(octets[:HEADER_BYTES], "little"), "length": length if ended else HEADER_BYTES, **told,
    }) | pack(TAG, tag) << layout["tag"].offset


def run(frames, *, width=64, rates=(1.0, 1.0), seed=0):
    """Records of (frame, tag), and the cycles in which headers and records were taken."""
    rng = random.Random(seed)
    out, taken, given = run_stage(
        parser_for(CoreConfig(data_width=width)), [item(*frame, rng, width=width) for frame in frames],
        rates=rates, seed=seed)
    return [unpack(META, record) for record in out], taken, given


#: That of a tag, which is taken off by the ingress then, and another one.
TAG_WIDTHS = [32, 64]


@pytest.mark.every_width
@pytest.mark.parametrize("width", TAG_WIDTHS)
@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.5, 0.2)])
def test_fields_of_random_frames(rates, width):
    rng = random.Random(7)
    frames = [(random_frame(rng), random_tag(rng)) for _ in range(700)]
    records, *_ = run(frames, width=width, rates=rates, seed=1)
    seen = set()
    for (frame, tag), record in zip(frames, records, strict=True):
        wanted = reference(frame, tag)
        assert {name: record[name] for name in wanted} == wanted, frame.hex()
        assert not any(value for name, value in record.items() if name not in SET)
        kind = (wanted["tagged"], "46"[wanted["ipv6"]] if wanted["ipv4"] | wanted["ipv6"] else "")
        seen |= {(*kind, name, bool(wanted[name])) for name in (
            "good_header", "options", "multicast", "checksum_ok", "l4_ports", "l4_source", "reserved_group")}
    for tagged in (0, 1):
        for name in ("good_header", "options", "multicast", "checksum_ok", "l4_ports", "reserved_group"):
            assert {(tagged, "4", name, True), (tagged, "4", name, False), (tagged, "6", name, True),
                    (tagged, "6", name, False)} <= seen, name
        assert {(tagged, "", "good_header", False), (tagged, "", "reserved_group", True)} <= seen


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("frame", [
    Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02") / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=7),
    Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02") / IPv6(src="fe80::1", dst="ff05::2") / TCP(sport=7),
], ids=["ipv4", "ipv6"])
@pytest.mark.every_width
@pytest.mark.parametrize("width", TAG_WIDTHS)
def test_frame_cut_off_at_every_byte(frame, tagged, width):
    """Also where its length is that of the header: a frame that has ended is not one of 64 bytes or more."""
    whole = bytes(frame)
    if tagged:
        whole = whole[:12] + b"\x81\x00\x40\x07" + whole[12:]
    frames = [(whole[:length], TAG_ZERO) for length in range(14, min(len(whole), HEADER_BYTES) + 1)]
    rng = random.Random(1)
    headers = [item(*f, rng, ended=True, width=width) for f in frames]
    out, *_ = run_stage(parser_for(CoreConfig(data_width=width)), headers)
    for (cut, tag), record in zip(frames, out, strict=True):
        wanted = reference(cut, tag)
        assert {name: unpack(META, record)[name] for name in wanted} == wanted, cut.hex()


@pytest.mark.parametrize("checksum, correct", [(0xFFFF, True), (0x0000, True), (0x0001, False), (0xFFFE, False)])
@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.every_width
@pytest.mark.parametrize("width", TAG_WIDTHS)
def test_checksum_with_both_zeros(checksum, correct, tagged, width):
    """RFC 1624, section 3: a receiver takes +0 and -0 as equal."""
    header = bytearray(bytes(IP(src="10.0.0.1", dst="10.0.0.2", ttl=9, len=20)))
    header[10:12] = b"\0\0"
    rest = sum(struct.unpack(">10H", header)) % 0xFFFF
    header[4:6] = struct.pack(">H", (0xFFFF - rest + int.from_bytes(header[4:6], "big")) % 0xFFFF)
    header[10:12] = struct.pack(">H", checksum)
    frame = bytes.fromhex("020000000001020000000002" + "81000000" * tagged + "0800") + bytes(header)
    (record,), *_ = run([(frame, TAG_ZERO)], width=width)
    assert record["good_header"] and record["tagged"] == tagged
    assert record["checksum_ok"] == correct


@pytest.mark.every_width
@pytest.mark.parametrize("width", TAG_WIDTHS)
def test_ethertype_of_a_tag_without_a_tag(width):
    frame = bytes.fromhex("020000000001020000000002" "8100" "450800")
    (record,), *_ = run([(frame, TAG_ZERO)], width=width)
    assert (record["tagged"], record["ethertype"], record["ipv4"]) == (0, 0x8100, 0)


@pytest.mark.every_width
@pytest.mark.parametrize("width, cycles, first", [(64, 3, 3), (32, 19, 1)])
def test_pace_and_latency(width, cycles, first):
    """A header is taken at the end, or, in narrow beats, at the start."""
    rng = random.Random(3)
    frames = [(random_frame(rng), random_tag(rng)) for _ in range(20)]
    _, taken, given = run(frames, width=width)
    assert taken == [cycles * k + first for k in range(20)]
    # Offered for all of the cycles, the last of which takes it.
    assert given == [cycle + cycles - first + 1 for cycle in taken]


@pytest.mark.every_width
@pytest.mark.parametrize("width", TAG_WIDTHS)
def test_elaborates(width):
    assert rtlil.convert(Parser(CoreConfig(data_width=width)))
