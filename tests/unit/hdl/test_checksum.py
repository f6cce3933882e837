"""Checksum updates against sums from scratch."""

import random
import struct

from polyrouter.hdl.checksum import CHANGED_FIELDS, CHANGES, CHECKSUMS, LATENCY, ChecksumUpdate
from polyrouter.hdl.layouts import pack, unpack

from .bench import simulate
from .packets import UDP, ipv4_frame, layer4_checksum, updated

SIZES = {"tos": 1, "ip_source": 4, "ip_destination": 4, "l4_source": 2, "l4_destination": 2}


def run(jobs):
    """Give one job each cycle; returns the checksums, each LATENCY cycles after its job."""
    dut = ChecksumUpdate()
    out = []

    async def testbench(ctx):
        for k in range(len(jobs) + LATENCY):
            if k < len(jobs):
                old, new, changes, ip, l4 = jobs[k]
                ctx.set(dut.old.as_value(), pack(CHANGED_FIELDS, old))
                ctx.set(dut.new.as_value(), pack(CHANGED_FIELDS, new))
                ctx.set(dut.changes.as_value(), pack(CHANGES, changes))
                ctx.set(dut.ip, ip)
                ctx.set(dut.l4, l4)
            ctx.set(dut.start, k < len(jobs))
            assert ctx.get(dut.done) == (k >= LATENCY)
            if k >= LATENCY:
                out.append(unpack(CHECKSUMS, ctx.get(dut.checksums.as_value())))
            await ctx.tick()

    simulate(dut, [testbench])
    return out


def test_equation_3_on_any_values():
    """Also on words of all ones and all zeros, and on wrong checksums."""
    rng = random.Random(1)

    def word(bits):
        return rng.choice([rng.getrandbits(bits), rng.getrandbits(bits), 0, (1 << bits) - 1])

    jobs = []
    for _ in range(600):
        old, new = ({name: word(8 * size) for name, size in SIZES.items()} for _ in range(2))
        changes = {name: rng.getrandbits(1) for name in (*SIZES, "l4", "udp")}
        jobs.append((old, new, changes, word(16), word(16)))
    for (old, new, changes, ip, l4), result in zip(jobs, run(jobs), strict=True):
        def octets(values, names, changes=changes):
            # The TOS' word begins with version and IHL.
            return b"".join((b"\x45" if name == "tos" else b"") + values[name].to_bytes(SIZES[name], "big")
                            for name in names if changes[name])

        in_header = "tos", "ip_source", "ip_destination"
        covered = "ip_source", "ip_destination", "l4_source", "l4_destination"
        assert result["ip"] == updated(ip, octets(old, in_header), octets(new, in_header))
        assert result["set_ip"] == any(changes[name] for name in in_header)
        assert result["set_l4"] == (changes["l4"] and not (changes["udp"] and l4 == 0))
        expected = updated(l4, octets(old, covered), octets(new, covered))
        assert result["l4"] == (0xFFFF if changes["udp"] and expected == 0 else expected)
        assert result["udp"] == changes["udp"]


def test_udp_checksum_that_comes_out_as_zero_is_all_ones():
    """The new source port is chosen so that the sum is all ones."""
    rng = random.Random(2)
    jobs, protocols = [], []
    for _ in range(40):
        frame = ipv4_frame(rng, 80, protocol=UDP)
        packet = bytearray(frame[14:])
        checksum = int.from_bytes(packet[26:28], "big")
        old = int.from_bytes(packet[20:22], "big")
        new = next(port for port in range(1 << 16)
                   if updated(checksum, struct.pack(">H", old), struct.pack(">H", port)) == 0)
        packet[20:22] = struct.pack(">H", new)
        assert layer4_checksum(bytes(packet)) == 0xFFFF
        udp = rng.getrandbits(1)
        jobs.append(({"l4_source": old}, {"l4_source": new}, {"l4_source": 1, "l4": 1, "udp": udp}, 0, checksum))
        protocols.append(udp)
    assert [result["l4"] for result in run(jobs)] == [0xFFFF if udp else 0 for udp in protocols]
