import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from polyrouter.hdl.layouts import ECMP_HASH_BITS, ECMP_KEY_BITS, VMAC_KEY_BITS
from polyrouter.hdl.toeplitz import toeplitz

#: Key of Microsoft's verification suite for receive side scaling, and hashes of it.
RSS_KEY = bytes.fromhex(
    "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
RSS = [
    ("420995bb a18e6450 0aea 06e6", 0x51CCC178),
    ("420995bb a18e6450", 0x323E8FC2),
    ("c75c6f02 41458c53 3796 1283", 0xC626B0EA),
    ("c75c6f02 41458c53", 0xD718262A),
]


class Hash(wiring.Component):
    def __init__(self, seed_bits, key_bits, bits):
        self.bits = bits
        super().__init__({"seed": In(seed_bits), "key": In(key_bits), "hash": Out(bits)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.hash.eq(toeplitz(self.seed, self.key, self.bits))
        return m


def hashes(dut, pairs):
    out = []

    async def testbench(ctx):
        for seed, key in pairs:
            ctx.set(dut.seed, seed)
            ctx.set(dut.key, key)
            await ctx.delay(1e-9)
            out.append(ctx.get(dut.hash))

    sim = Simulator(dut)
    sim.add_testbench(testbench)
    sim.run()
    return out


def backwards(value, bits):
    return int(f"{value:0{bits}b}"[::-1], 2)


@pytest.mark.parametrize("text, wanted", RSS)
def test_microsoft_s_verification_suite(text, wanted):
    """It takes bits from the other end: of seed, key and hash."""
    key = bytes.fromhex(text)
    bits = 8 * len(key)
    seed = backwards(int.from_bytes(RSS_KEY, "big"), 8 * len(RSS_KEY))
    (found,) = hashes(Hash(8 * len(RSS_KEY), bits, 32), [(seed, backwards(int.from_bytes(key, "big"), bits))])
    assert backwards(found, 32) == wanted


@pytest.mark.parametrize("seed_bits, key_bits, bits", [
    (128, VMAC_KEY_BITS, 2), (128, VMAC_KEY_BITS, 12), (112, ECMP_KEY_BITS, ECMP_HASH_BITS), (20, 30, 9)])
def test_random_keys_by_the_specification(seed_bits, key_bits, bits):
    rng = random.Random(bits)
    pairs = [(rng.getrandbits(seed_bits), rng.getrandbits(key_bits)) for _ in range(100)]
    pairs += [(rng.getrandbits(seed_bits), 1 << k) for k in range(key_bits)]
    wanted = []
    for seed, key in pairs:
        value = 0
        for k in range(key_bits):
            if key >> k & 1:
                value ^= seed >> k
        wanted.append(value & (1 << bits) - 1)
    assert hashes(Hash(seed_bits, key_bits, bits), pairs) == wanted


def test_of_its_width():
    assert len(toeplitz(Signal(128), Signal(VMAC_KEY_BITS), 5)) == 5
