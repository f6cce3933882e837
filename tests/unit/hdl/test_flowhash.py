import random

import pytest
from amaranth.back import rtlil
from polyrouter.hdl.flowhash import FLOW, FlowHash
from polyrouter.hdl.layouts import pack

from .bench import run_stage


def words(address):
    return [address >> 32 * k & 0xFFFFFFFF for k in range(4)]


def flow_hash(flow):
    """As the specification tells it."""
    s, d = words(flow["source"]), words(flow["destination"])
    if flow["ipv6"]:
        s, d = s[0] ^ s[1] ^ s[2] ^ s[3], d[0] ^ d[1] ^ d[2] ^ d[3]
    else:
        s, d = s[3], d[3]
    key = flow["l4_destination"] | flow["l4_source"] << 16 | d << 32 | s << 64
    result = 0
    for k in range(96):
        if key >> k & 1:
            result ^= flow["seed"] >> k
    return result & 0xFFFF


def random_flow(rng):
    bits = {name: rng.getrandbits(entry.width) for name, entry in FLOW}
    if not bits["ipv6"] and rng.random() < 0.5:
        bits |= {name: bits[name] >> 96 << 96 for name in ("source", "destination")}
    return bits


@pytest.mark.parametrize("steps", [4, 12])
@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.3, 1.0), (1.0, 0.2), (0.5, 0.5)])
def test_random_flows(steps, rates):
    rng = random.Random(1)
    flows = [random_flow(rng) for _ in range(200)]
    out, *_ = run_stage(FlowHash(steps), [pack(FLOW, flow) for flow in flows], rates=rates)
    assert out == [flow_hash(flow) for flow in flows]


@pytest.mark.parametrize("steps", [4, 12])
def test_every_bit_of_the_key(steps):
    seed = random.Random(2).getrandbits(112)
    nothing = {"ipv6": 1, "source": 0, "destination": 0, "l4_source": 0, "l4_destination": 0, "seed": seed}
    flows = [nothing | {name: 1 << k} for name, bits in (("l4_destination", 16), ("l4_source", 16),
                                                         ("destination", 32), ("source", 32)) for k in range(bits)]
    out, *_ = run_stage(FlowHash(steps), [pack(FLOW, flow) for flow in flows])
    assert out == [seed >> k & 0xFFFF for k in range(96)]


@pytest.mark.parametrize("steps", [4, 12])
def test_cycles(steps):
    _, taken, given = run_stage(FlowHash(steps), [0] * 20)
    assert taken == [taken[0] + steps * k for k in range(20)]
    assert given == [cycle + steps + 2 for cycle in taken]


def test_elaborates():
    assert rtlil.convert(FlowHash())
